//! Label and field selectors, as `labelSelector` and `fieldSelector` write them.
//!
//! Pure. A selector that cannot be read, or a field the server does not index for that type, is a 400.

use serde_json::Value;

use super::kinds::Resource;
use super::status::ApiError;

/// Which objects a list or a watch wants. The default wants all.
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
    /// Everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// From a label selector: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    ///
    /// # Errors
    /// 400 when it cannot be read.
    pub fn labels(text: &str) -> Result<Self, ApiError> {
        Ok(Self { labels: parse_labels(text)?, fields: Vec::new() })
    }

    /// From a field selector on a type: `spec.nodeName=n1,status.phase!=Running`.
    ///
    /// # Errors
    /// 400 when it cannot be read, or names a field that the type is not indexed by.
    pub fn fields(resource: &Resource, text: &str) -> Result<Self, ApiError> {
        Ok(Self { labels: Vec::new(), fields: parse_fields(resource, text)? })
    }

    /// Both at once, from the query of a request; absent is all.
    ///
    /// # Errors
    /// 400, as for each of the two.
    pub fn parse(resource: &Resource, labels: Option<&str>, fields: Option<&str>) -> Result<Self, ApiError> {
        let labels = parse_labels(labels.unwrap_or_default())?;
        Ok(Self { labels, fields: parse_fields(resource, fields.unwrap_or_default())? })
    }

    /// Whether it leaves anything out.
    pub fn is_all(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether the object is wanted.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|rule| rule.matches(labels))
            && self.fields.iter().all(|rule| rule.matches(object))
    }
}

impl LabelRule {
    fn matches(&self, labels: &Value) -> bool {
        let value = |key: &String| labels.get(key).and_then(Value::as_str);
        match self {
            Self::Exists(key) => value(key).is_some(),
            Self::Missing(key) => value(key).is_none(),
            Self::In(key, values) => value(key).is_some_and(|value| values.iter().any(|want| want == value)),
            Self::NotIn(key, values) => {
                !value(key).is_some_and(|value| values.iter().any(|want| want == value))
            }
        }
    }
}

impl FieldRule {
    fn matches(&self, object: &Value) -> bool {
        let found = self.path.iter().fold(object, |value, part| &value[part.as_str()]);
        let equal = match found {
            Value::String(text) => *text == self.value,
            Value::Null => self.value.is_empty() || self.value == "false",
            Value::Bool(flag) => self.value == if *flag { "true" } else { "false" },
            other => serde_json::from_str(&self.value).is_ok_and(|value: Value| value == *other),
        };
        equal == self.equal
    }
}

fn parse_labels(text: &str) -> Result<Vec<LabelRule>, ApiError> {
    let mut rules = Vec::new();
    for part in split_outside_parentheses(text) {
        rules.push(parse_label(part.trim()).ok_or_else(|| {
            ApiError::bad_request(format!("unable to parse requirement: {part:?} in label selector {text:?}"))
        })?);
    }
    Ok(rules)
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let separator = move |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    };
    text.split(separator).filter(|part| !part.trim().is_empty()).collect()
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
        let (path, value, equal) = if let Some((path, value)) = part.split_once("!=") {
            (path, value, false)
        } else if let Some((path, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            (path, value, true)
        } else {
            return Err(ApiError::bad_request(format!(
                "invalid field selector {text:?}: {part:?} has no operator"
            )));
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

/// The fields a real server can select by.
fn is_indexed(resource: &Resource, path: &str) -> bool {
    if matches!(path, "metadata.name" | "metadata.namespace") {
        return true;
    }
    match &*resource.plural {
        "pods" => matches!(
            path,
            "spec.nodeName"
                | "spec.restartPolicy"
                | "spec.schedulerName"
                | "spec.serviceAccountName"
                | "spec.hostNetwork"
                | "status.phase"
                | "status.podIP"
                | "status.nominatedNodeName"
        ),
        "events" => {
            path.starts_with("involvedObject.")
                || path.starts_with("regarding.")
                || matches!(path, "reason" | "type" | "source" | "reportingComponent" | "reportingController")
        }
        "nodes" => path == "spec.unschedulable",
        "namespaces" => path == "status.phase",
        "secrets" => path == "type",
        "replicasets" | "replicationcontrollers" => path == "status.replicas",
        _ => false,
    }
}
