//! One object of a list or a watch.
//!
//! The text is read twice: strictly as the content, and leniently for the four names without which nobody could say which object it is.
//! Fields that the content does not name, `managedFields` among them, are skipped without being interpreted.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use kube::Resource;
use kube::core::ObjectMeta;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::field::{Lenient, shortened};

/// Bytes of a reason that are kept.
const MAX_REASON: usize = 200;
/// Bytes of the path of a field that are kept.
const MAX_FIELD: usize = 200;

/// What a program reads of the objects of one kind.
pub trait Content: DeserializeOwned + Clone + fmt::Debug + Send + Sync + 'static {
    /// The kind.
    type Kind: Resource<DynamicType = ()>;
    /// Whether the API server is asked for the metadata alone.
    const METADATA_ONLY: bool = false;
}

/// An object: its names, and its content or why that cannot be read.
#[derive(Debug, Clone)]
pub struct Object<T> {
    names: ObjectMeta,
    /// What was read.
    pub content: Result<T, Unreadable>,
}

/// Why an object cannot be read. It holds no value of the object: a value may be a secret of its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The path of the first field that cannot be read, such as `spec.containers[0].name`; `.` for the whole object.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

impl<T> Object<T> {
    /// Name, namespace, uid and resourceVersion, each absent where it cannot be read; nothing else.
    pub fn names(&self) -> &ObjectMeta {
        &self.names
    }
}

impl<T: Content> Object<T> {
    /// Reads the text of one object.
    fn read(text: &str) -> Self {
        Object { names: names(text), content: serde_json::from_str(text).map_err(|_| unreadable::<T>(text)) }
    }
}

impl<'de, T: Content> Deserialize<'de> for Object<T> {
    /// Fails only where the text is not JSON. In a watch event `type` must come before `object`, as API servers send it: serde
    /// buffers what comes before the tag, and a buffer has no text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|text| Object::read(text.get()))
    }
}

impl<T: Content> Resource for Object<T> {
    type DynamicType = ();
    type Scope = <T::Kind as Resource>::Scope;

    fn kind(_: &()) -> Cow<'_, str> {
        T::Kind::kind(&())
    }
    fn group(_: &()) -> Cow<'_, str> {
        T::Kind::group(&())
    }
    fn version(_: &()) -> Cow<'_, str> {
        T::Kind::version(&())
    }
    fn plural(_: &()) -> Cow<'_, str> {
        T::Kind::plural(&())
    }
    fn metadata_api() -> bool {
        T::METADATA_ONLY
    }
    fn meta(&self) -> &ObjectMeta {
        &self.names
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.names
    }
}

/// The content of an object of which nothing but the names is read.
#[derive(Debug, Clone, Default)]
pub struct Nothing<K>(PhantomData<fn() -> K>);

impl<'de, K> Deserialize<'de> for Nothing<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Nothing(PhantomData))
    }
}

impl<K: Resource<DynamicType = ()> + Clone + fmt::Debug + 'static> Content for Nothing<K> {
    type Kind = K;
    const METADATA_ONLY: bool = true;
}

/// A field whose content may be unreadable by itself: the rest of the object is known all the same. The path starts at the field.
#[derive(Debug, Clone)]
pub struct Checked<T>(pub Result<T, Unreadable>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Checked<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        Ok(Checked(serde_json::from_str(text).map_err(|_| unreadable::<T>(text))))
    }
}

fn names(text: &str) -> ObjectMeta {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Outer {
        metadata: Lenient<Names>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Names {
        name: Lenient<String>,
        namespace: Lenient<String>,
        uid: Lenient<String>,
        resource_version: Lenient<String>,
    }
    let outer: Outer = serde_json::from_str(text).unwrap_or_default();
    let names = outer.metadata.0.unwrap_or_default();
    ObjectMeta {
        name: names.name.0,
        namespace: names.namespace.0,
        uid: names.uid.0,
        resource_version: names.resource_version.0,
        ..ObjectMeta::default()
    }
}

/// The first field that cannot be read. Another pass, because following the path costs time.
fn unreadable<T: DeserializeOwned>(text: &str) -> Unreadable {
    match serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_str(text)) {
        Ok(_) => Unreadable { field: ".".to_owned(), reason: "it is followed by other text".to_owned() },
        Err(error) => Unreadable {
            field: shortened(error.path().to_string(), MAX_FIELD),
            reason: shortened(without_values(&error.inner().to_string()), MAX_REASON),
        },
    }
}

/// A message of serde without the value that was found: `invalid type: string "s3cr3t", expected u32 at line 1 column 9` becomes
/// `invalid type: string, expected u32`. What follows the last `, expected ` is a text of ours.
fn without_values(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    match message.rsplit_once(", expected ") {
        Some((found, expected)) => {
            let found = found.split(['"', '`']).next().unwrap_or_default().trim_end();
            format!("{found}, expected {expected}")
        }
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests;
