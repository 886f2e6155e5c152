//! How load scripts write values and times in JSON.

/// A number, or a Kubernetes quantity as text.
pub(super) mod value {
    use plimsoll_contract::Quantity;
    use serde::{Deserialize, Deserializer, Serializer, de};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Notation {
        Number(f64),
        Text(String),
    }

    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(*value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match Notation::deserialize(deserializer)? {
            Notation::Number(value) => Ok(value),
            Notation::Text(text) => text.parse::<Quantity>().map(Quantity::as_f64).map_err(de::Error::custom),
        }
    }
}

/// A number of seconds, or a text such as `500ms`.
pub(super) mod span {
    use std::time::Duration;

    use jiff::SignedDuration;
    use serde::{Deserialize, Deserializer, Serializer, de};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Notation {
        Seconds(f64),
        Text(String),
    }

    pub(crate) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        match SignedDuration::try_from(*span) {
            Ok(span) => serializer.serialize_str(&format!("{span:#}")),
            Err(_) => serializer.serialize_f64(span.as_secs_f64()),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        match Notation::deserialize(deserializer)? {
            Notation::Seconds(seconds) => Duration::try_from_secs_f64(seconds).map_err(de::Error::custom),
            Notation::Text(text) => {
                let span: SignedDuration = text.parse().map_err(de::Error::custom)?;
                Duration::try_from(span)
                    .map_err(|_| de::Error::custom(format!("{text:?} is a time before the start")))
            }
        }
    }
}

/// As [`span`], where the time may be absent.
pub(super) mod optional_span {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Inner(#[serde(with = "super::span")] Duration);

    pub(crate) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        span.map(Inner).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Inner>::deserialize(deserializer)?.map(|inner| inner.0))
    }
}
