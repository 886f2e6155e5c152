//! Amounts with their unit in the type.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::quantity::Quantity;

/// CPU in cores: 0.25 is a quarter of one CPU's time.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cores(pub f64);

/// Memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// An upper bound that may be absent on purpose. In JSON a number, or `"max"` (the kernel's word for unlimited).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum Limit<T> {
    /// Nothing is enforced.
    Unlimited,
    /// At most this much.
    Of(T),
}

impl<T> Limit<T> {
    /// The bound, where there is one.
    pub fn bound(self) -> Option<T> {
        match self {
            Limit::Unlimited => None,
            Limit::Of(value) => Some(value),
        }
    }
}

impl Bytes {
    /// As a floating-point number of bytes, for ratios.
    pub fn as_f64(self) -> f64 {
        self.0 as f64
    }

    /// This less `other`, never below zero.
    pub fn saturating_sub(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_sub(other.0))
    }
}

/// In millicores, as Kubernetes people read it: `412m`, `1500m`.
impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.0}m", self.0 * 1000.0))
    }
}

/// In the largest binary unit that keeps three digits: `120Mi`, `1.5Gi`, `512Ki`.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [(1 << 40, "Ti"), (1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")];
        let text = match UNITS.iter().find(|(size, _)| self.0 >= *size) {
            Some((size, unit)) => {
                let value = self.0 as f64 / *size as f64;
                let digits = usize::from(value < 10.0 && (value * 10.0).round() % 10.0 != 0.0);
                format!("{value:.digits$}{unit}")
            }
            None => format!("{}", self.0),
        };
        f.pad(&text)
    }
}

impl From<Quantity> for Cores {
    fn from(quantity: Quantity) -> Self {
        Cores(quantity.as_f64())
    }
}

impl From<Quantity> for Bytes {
    fn from(quantity: Quantity) -> Self {
        Bytes(u64::try_from(quantity.value().max(0)).unwrap_or(u64::MAX))
    }
}

impl<T: Serialize> Serialize for Limit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Limit::Unlimited => serializer.serialize_str("max"),
            Limit::Of(value) => value.serialize(serializer),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Notation<T> {
    Word(String),
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Limit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Notation::deserialize(deserializer)? {
            Notation::Value(value) => Ok(Limit::Of(value)),
            Notation::Word(word) if word == "max" => Ok(Limit::Unlimited),
            Notation::Word(word) => {
                Err(de::Error::custom(format!("a limit is a number or \"max\", not {word:?}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_kubernetes_people_write_them() {
        assert_eq!(Cores(0.412).to_string(), "412m");
        assert_eq!(Cores(1.5).to_string(), "1500m");
        assert_eq!(Bytes(120 << 20).to_string(), "120Mi");
        assert_eq!(Bytes(3 << 29).to_string(), "1.5Gi");
        assert_eq!(Bytes(512).to_string(), "512");
    }

    #[test]
    fn unlimited_is_a_word_and_never_a_number() {
        assert_eq!(serde_json::to_string(&Limit::<Bytes>::Unlimited).unwrap(), "\"max\"");
        assert_eq!(serde_json::from_str::<Limit<Bytes>>("\"max\"").unwrap(), Limit::Unlimited);
        assert_eq!(serde_json::from_str::<Limit<Cores>>("0.5").unwrap(), Limit::Of(Cores(0.5)));
        for bad in ["\"none\"", "\"Max\"", "null", "-1", "1.5", "{}"] {
            assert!(serde_json::from_str::<Limit<Bytes>>(bad).is_err(), "{bad}");
        }
        assert_eq!((Limit::<u8>::Unlimited.bound(), Limit::Of(3).bound()), (None, Some(3)));
    }
}
