//! Lists in pages: limit, continue tokens that show the state of the first page, and the number of remaining items.

use std::ops::Bound;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::selector::Selector;
use super::state::{Collection, Key};
use super::status::ApiError;

/// What to list. The default is everything, the newest state, in one page.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListOptions<'a> {
    /// One namespace, or all.
    pub(crate) namespace: Option<&'a str>,
    pub(crate) selector: Selector,
    /// Maximum number of items in the page; 0 is no limit.
    pub(crate) limit: usize,
    /// The token of the previous page.
    pub(crate) token: Option<&'a str>,
    /// The list as of this version, or newer unless `exact`.
    pub(crate) version: Option<u64>,
    /// Exactly `version`.
    pub(crate) exact: bool,
}

/// One page.
#[derive(Debug, Clone)]
pub(crate) struct List {
    /// Ordered by namespace and name.
    pub(crate) items: Vec<Arc<Value>>,
    /// The version that the list shows.
    pub(crate) version: u64,
    /// The token for the next page; absent on the last.
    pub(crate) token: Option<String>,
    /// Number of items that follow; unknown with a selector.
    pub(crate) remaining: Option<usize>,
}

pub(super) fn page(
    collection: &Collection,
    current: u64,
    options: &ListOptions<'_>,
) -> Result<List, ApiError> {
    let (version, after) = match (options.token, options.version) {
        (Some(token), _) => {
            let invalid = || ApiError::bad_request(format!("continue key is not valid: {token:?}"));
            let (version, key) = read_token(token).ok_or_else(invalid)?;
            (version, Some(key))
        }
        (None, Some(version)) if version > current => return Err(ApiError::too_large(version, current)),
        (None, Some(version)) if options.exact && version > 0 => (version, None),
        (None, _) => (current, None),
    };
    let past = if version < current { Some(collection.as_of(version)?) } else { None };
    let objects = past.as_ref().unwrap_or(&collection.objects);
    let from = match (after, options.namespace) {
        (Some(key), _) => Bound::Excluded(key),
        (None, Some(namespace)) => Bound::Included((namespace.to_owned(), String::new())),
        (None, None) => Bound::Unbounded,
    };
    let in_namespace = |key: &Key| options.namespace.is_none_or(|namespace| key.0 == namespace);
    let mut rest = objects
        .range((from, Bound::Unbounded))
        .take_while(|(key, _)| in_namespace(key))
        .filter(|(_, object)| options.selector.matches(object))
        .peekable();
    let mut items = Vec::new();
    let mut last = None;
    while let Some((key, object)) = rest.next_if(|_| options.limit == 0 || items.len() < options.limit) {
        items.push(object.clone());
        last = Some(key);
    }
    let more = rest.peek().is_some();
    let token = last.filter(|_| more).map(|key| write_token(version, key));
    let remaining = (more && options.selector.is_all()).then(|| rest.count());
    Ok(List { items, version, token, remaining })
}

fn write_token(version: u64, (namespace, name): &Key) -> String {
    URL_SAFE_NO_PAD
        .encode(json!({"v": "meta.k8s.io/v1", "rv": version, "start": [namespace, name]}).to_string())
}

fn read_token(token: &str) -> Option<(u64, Key)> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let value: Value = serde_json::from_slice(&bytes).ok()?;
    let text = |index: usize| value["start"][index].as_str().map(str::to_owned);
    Some((value["rv"].as_u64()?, (text(0)?, text(1)?)))
}
