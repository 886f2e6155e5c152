//! The bands: ranges of utilization, and what a utilization is relative to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Bytes, Cores};

/// Utilization from which a load is `moderate`.
pub const MODERATE_FROM: f64 = 0.33;
/// Utilization from which a load is `high`.
pub const HIGH_FROM: f64 = 0.66;

/// The range of a pod's utilization. Ordered by load; `Unknown` sorts below all, and never means `Low`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Band {
    /// Not enough data, or none that can be trusted.
    #[default]
    Unknown,
    /// Below [`MODERATE_FROM`].
    Low,
    /// From [`MODERATE_FROM`], below [`HIGH_FROM`].
    Moderate,
    /// From [`HIGH_FROM`] on; a utilization may exceed 1.
    High,
}

/// What a utilization is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The limit that the kernel enforces.
    Limit,
    /// The request the owner wrote.
    Request,
    /// The node's capacity.
    Node,
}

/// The two resources that have bands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// CPU time, in cores.
    Cpu,
    /// Memory, in bytes.
    Memory,
}

/// A word that is none of those expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not a {what}: use one of {valid}")]
pub struct UnknownWord {
    word: String,
    what: &'static str,
    valid: &'static str,
}

impl Band {
    /// Every band, in order.
    pub const ALL: [Band; 4] = [Band::Unknown, Band::Low, Band::Moderate, Band::High];

    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Band::Unknown => "unknown",
            Band::Low => "low",
            Band::Moderate => "moderate",
            Band::High => "high",
        }
    }

    /// The value of the metric `plimsoll_pod_band`: 0 unknown, 1 low, 2 moderate, 3 high.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Whether the band says something about the load.
    pub fn is_known(self) -> bool {
        self != Band::Unknown
    }
}

impl Basis {
    /// Every basis.
    pub const ALL: [Basis; 3] = [Basis::Limit, Basis::Request, Basis::Node];

    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Basis::Limit => "limit",
            Basis::Request => "request",
            Basis::Node => "node",
        }
    }
}

impl Resource {
    /// Both resources, CPU first.
    pub const ALL: [Resource; 2] = [Resource::Cpu, Resource::Memory];

    /// The word in labels, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Resource::Cpu => "cpu",
            Resource::Memory => "memory",
        }
    }

    /// An amount of it, cores or bytes, as a quantity for people: `412m`, `120Mi`.
    pub fn quantity(self, amount: f64) -> String {
        match self {
            Resource::Cpu => Cores(amount).to_string(),
            Resource::Memory => Bytes(amount as u64).to_string(),
        }
    }
}

fn find<T: Copy>(
    all: &[T],
    name: fn(T) -> &'static str,
    word: &str,
    what: &'static str,
    valid: &'static str,
) -> Result<T, UnknownWord> {
    all.iter().copied().find(|t| name(*t) == word).ok_or_else(|| UnknownWord {
        word: word.into(),
        what,
        valid,
    })
}

impl FromStr for Band {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        find(&Self::ALL, Self::as_str, word, "band", "unknown, low, moderate, high")
    }
}

impl FromStr for Basis {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        find(&Self::ALL, Self::as_str, word, "basis", "limit, request, node")
    }
}

impl FromStr for Resource {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        find(&Self::ALL, Self::as_str, word, "resource", "cpu, memory")
    }
}

impl fmt::Display for Band {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_ordered_by_load_and_unknown_is_below_all() {
        assert!(Band::ALL.is_sorted());
        assert!(Band::Unknown < Band::Low);
    }

    #[test]
    fn words_read_back_and_others_are_refused_by_name() {
        for band in Band::ALL {
            assert_eq!(band.as_str().parse(), Ok(band));
        }
        for basis in Basis::ALL {
            assert_eq!(basis.as_str().parse(), Ok(basis));
        }
        for resource in Resource::ALL {
            assert_eq!(resource.as_str().parse(), Ok(resource));
        }
        let refusal = "HIGH".parse::<Band>().unwrap_err().to_string();
        assert!(refusal.contains("`HIGH`") && refusal.contains("moderate"), "{refusal}");
    }

    #[test]
    fn json_and_label_use_the_same_word() {
        for band in Band::ALL {
            assert_eq!(serde_json::to_string(&band).unwrap(), format!("\"{band}\""));
        }
    }
}
