//! Fields of a content that are lenient or bounded, for what nothing depends on and for what strangers choose.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A field that is absent where it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lenient<T>(pub Option<T>);

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Lenient(None)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?;
        Ok(Lenient(serde_json::from_str::<Option<T>>(text.get()).unwrap_or_default()))
    }
}

/// A count: what is negative or no number counts as 0.
///
/// # Errors
/// None of its own.
pub fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let Lenient(count) = Lenient::<i64>::deserialize(deserializer)?;
    Ok(u32::try_from(count.unwrap_or_default().max(0)).unwrap_or(u32::MAX))
}

/// A list, which may be `null`.
///
/// # Errors
/// If it is something else, or an item cannot be read.
pub fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The longest name of a Kubernetes object, in bytes.
const MAX_NAME: usize = 253;

/// A text that is a name: one that is longer than any name is an error, so that nobody fills our memory with it.
///
/// # Errors
/// If it is no text, or longer.
pub fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    match name.len() {
        0..=MAX_NAME => Ok(name),
        _ => Err(D::Error::custom(format_args!("longer than {MAX_NAME} bytes, which no name is"))),
    }
}

/// At most the first `most` bytes of a text.
pub fn shortened(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text.shrink_to_fit();
    text
}

/// Of a map of texts the entries with some keys; the others are skipped. A value of more than `most` bytes is empty: that the key is
/// there is known, what it says is not.
///
/// # Errors
/// If it is no map, or one of these values is no text.
pub fn entries<'de, D: Deserializer<'de>>(
    deserializer: D,
    wanted: fn(&str) -> bool,
    most: usize,
) -> Result<BTreeMap<String, String>, D::Error> {
    struct Entries(fn(&str) -> bool, usize);

    impl<'de> Visitor<'de> for Entries {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of texts")
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let Entries(wanted, most) = self;
            let mut entries = BTreeMap::new();
            while let Some(key) = map.next_key::<String>()? {
                if wanted(&key) {
                    let value: String = map.next_value()?;
                    entries.insert(key, if value.len() <= most { value } else { String::new() });
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(entries)
        }
    }

    deserializer.deserialize_any(Entries(wanted, most))
}
