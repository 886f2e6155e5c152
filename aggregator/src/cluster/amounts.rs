//! Amounts of CPU and memory as objects of the API hold them. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use plimsoll_contract::{Bytes, Cores, Quantity};
use plimsoll_objects::field::Lenient;
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::facts::Resources;

/// The amounts of the two resources; others are not read.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Amounts {
    cpu: Option<Amount>,
    memory: Option<Amount>,
}

/// The same, where no label depends on them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct LenientAmounts {
    cpu: Lenient<Amount>,
    memory: Lenient<Amount>,
}

/// An amount in JSON. Servers send strings; an object made by hand may hold a number.
#[derive(Debug, Clone, Copy)]
struct Amount(Quantity);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "not an amount, such as 500m or 1.5Gi")]
        enum Form {
            Text(String),
            Number(serde_json::Number),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Text(text) => text,
            Form::Number(number) => number.to_string(),
        };
        text.parse().map(Amount).map_err(|_| D::Error::custom("not an amount, such as 500m or 1.5Gi"))
    }
}

impl Amounts {
    /// The amount of CPU; zero is none.
    fn cores(&self) -> Option<Cores> {
        self.cpu.map(|Amount(amount)| Cores::from(amount)).filter(|cores| cores.0 > 0.0)
    }

    /// The amount of memory; zero is none.
    fn bytes(&self) -> Option<Bytes> {
        self.memory.map(|Amount(amount)| Bytes::from(amount)).filter(|bytes| bytes.0 > 0)
    }

    /// They are requests.
    pub(super) fn requests(&self) -> Resources {
        Resources { cpu_request: self.cores(), memory_request: self.bytes(), ..Resources::default() }
    }
}

impl LenientAmounts {
    /// Zero is none.
    pub(super) fn amounts(&self) -> (Option<Cores>, Option<Bytes>) {
        let amounts = Amounts { cpu: self.cpu.0, memory: self.memory.0 };
        (amounts.cores(), amounts.bytes())
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Requirements {
    pub(super) requests: Option<Amounts>,
    pub(super) limits: Limits,
}

/// Limits. No label depends on them.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits {
    amounts: LenientAmounts,
    /// Whether there is one of something else than CPU, memory and ephemeral storage.
    pub(super) extended: bool,
}

impl<'de> Deserialize<'de> for Limits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        let amounts = serde_json::from_str::<Option<LenientAmounts>>(text).ok().flatten().unwrap_or_default();
        let all = serde_json::from_str::<Option<BTreeMap<Cow<'_, str>, IgnoredAny>>>(text)
            .ok()
            .flatten()
            .unwrap_or_default();
        let extended =
            all.keys().any(|name| !["cpu", "memory", "ephemeral-storage"].contains(&name.as_ref()));
        Ok(Limits { amounts, extended })
    }
}

impl Requirements {
    pub(super) fn resources(&self) -> Resources {
        let (cpu_limit, memory_limit) = self.limits.amounts.amounts();
        Resources { cpu_limit, memory_limit, ..self.requests.unwrap_or_default().requests() }
    }
}
