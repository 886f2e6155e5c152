//! Label and field selectors, in the notation of `labelSelector` and `fieldSelector`. Pure.

use serde_json::Value;

use super::kinds::Resource;
use super::status::ApiError;

/// The objects that a list or a watch includes. The default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<LabelRule>,
    fields: Vec<FieldRule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LabelRule {
    Exists(String),
    Missing(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldRule {
    path: Vec<String>,
    value: String,
    equal: bool,
}

impl Selector {
    /// A label selector `a=b,c!=d,e in (f,g),h notin (i),j,!k` and a field selector `spec.nodeName=n1,status.phase!=Running`.
    /// 400 when one is malformed, or names a field that the type is not indexed by.
    pub(super) fn parse(
        resource: &Resource,
        labels: Option<&str>,
        fields: Option<&str>,
    ) -> Result<Self, ApiError> {
        let labels = parse_labels(labels.unwrap_or_default())?;
        Ok(Self { labels, fields: parse_fields(resource, fields.unwrap_or_default())? })
    }

    pub(super) fn is_all(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|rule| rule.matches(labels))
            && self.fields.iter().all(|rule| rule.matches(object))
    }
}

impl LabelRule {
    fn matches(&self, labels: &Value) -> bool {
        let value = |key: &String| labels.get(key).and_then(Value::as_str);
        let is_in = |key: &String, values: &[String]| {
            value(key).is_some_and(|value| values.iter().any(|want| want == value))
        };
        match self {
            Self::Exists(key) => value(key).is_some(),
            Self::Missing(key) => value(key).is_none(),
            Self::In(key, values) => is_in(key, values),
            Self::NotIn(key, values) => !is_in(key, values),
        }
    }
}

impl FieldRule {
    fn matches(&self, object: &Value) -> bool {
        let found = self.path.iter().fold(object, |value, part| &value[part.as_str()]);
        (found.as_str().unwrap_or_default() == self.value) == self.equal
    }
}

fn parse_labels(text: &str) -> Result<Vec<LabelRule>, ApiError> {
    let mut depth = 0_i32;
    let separator = move |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    };
    let parts = text.split(separator).filter(|part| !part.trim().is_empty());
    let rules = parts.map(|part| {
        parse_label(part.trim()).ok_or_else(|| {
            ApiError::bad_request(format!("unable to parse requirement: {part:?} in label selector {text:?}"))
        })
    });
    rules.collect()
}

fn parse_label(text: &str) -> Option<LabelRule> {
    let key = |text: &str| {
        let text = text.trim();
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        (!text.is_empty() && text.chars().all(legal)).then(|| text.to_owned())
    };
    let one = |text: &str| vec![text.trim().to_owned()];
    if let Some(rest) = text.strip_prefix('!') {
        return key(rest).map(LabelRule::Missing);
    }
    if let Some(open) = text.find('(') {
        let list = text[open + 1..].strip_suffix(')')?;
        let values = list.split(',').map(|value| value.trim().to_owned()).collect();
        let (name, operator) = text[..open].trim().rsplit_once(char::is_whitespace)?;
        return match operator {
            "in" => Some(LabelRule::In(key(name)?, values)),
            "notin" => Some(LabelRule::NotIn(key(name)?, values)),
            _ => None,
        };
    }
    if let Some((name, value)) = text.split_once("!=") {
        return Some(LabelRule::NotIn(key(name)?, one(value)));
    }
    if let Some((name, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Some(LabelRule::In(key(name)?, one(value)));
    }
    key(text).map(LabelRule::Exists)
}

fn parse_fields(resource: &Resource, text: &str) -> Result<Vec<FieldRule>, ApiError> {
    let mut rules = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let unequal = part.split_once("!=").map(|(path, value)| (path, value, false));
        let equal = || part.split_once("==").or_else(|| part.split_once('='));
        let Some((path, value, equal)) = unequal.or_else(|| equal().map(|(path, value)| (path, value, true)))
        else {
            let message = format!("invalid field selector {text:?}: {part:?} has no operator");
            return Err(ApiError::bad_request(message));
        };
        if !is_indexed(resource, path) {
            let at = format!("{}/{}, Resource={}", resource.group, resource.version, resource.plural);
            let message = format!(
                "Unable to find {at:?} that match label selector \"\", field selector {text:?}: field label not supported: {path}"
            );
            return Err(ApiError::bad_request(message));
        }
        let path = path.split('.').map(str::to_owned).collect();
        rules.push(FieldRule { path, value: value.to_owned(), equal });
    }
    Ok(rules)
}

/// The fields that a request of ours selects by, among those that a real server supports.
fn is_indexed(resource: &Resource, path: &str) -> bool {
    match (&*resource.plural, path) {
        (_, "metadata.name" | "metadata.namespace") => true,
        ("pods", path) => matches!(path, "spec.nodeName" | "status.phase"),
        ("events", path) => path.starts_with("involvedObject.") || matches!(path, "reason" | "type"),
        _ => false,
    }
}
