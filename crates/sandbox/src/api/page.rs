//! Lists in pages: limit, continue tokens that see the first page's state, and how many items remain.

use std::ops::Bound;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::collection::{Collection, Key};
use super::selector::Selector;
use super::status::ApiError;

/// What to list. The default lists everything, newest state, in one page.
#[derive(Debug, Clone, Default)]
pub struct ListOptions<'a> {
    /// One namespace, or all.
    pub namespace: Option<&'a str>,
    /// Which objects.
    pub selector: Selector,
    /// Most items in the page; 0 is no limit.
    pub limit: usize,
    /// The token of the page before.
    pub token: Option<&'a str>,
    /// The list as of this version, or newer unless `exact`.
    pub version: Option<u64>,
    /// Exactly `version`.
    pub exact: bool,
}

/// One page.
#[derive(Debug, Clone)]
pub struct List {
    /// Ordered by namespace and name.
    pub items: Vec<Arc<Value>>,
    /// The version the list shows.
    pub version: u64,
    /// The token for the next page; absent on the last.
    pub token: Option<String>,
    /// How many items follow; unknown with a selector.
    pub remaining: Option<usize>,
}

pub(super) fn page(
    collection: &Collection,
    current: u64,
    options: &ListOptions<'_>,
) -> Result<List, ApiError> {
    let (version, after) = start(current, options)?;
    let past = if version < current { collection.as_of(version)? } else { None };
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

fn start(current: u64, options: &ListOptions<'_>) -> Result<(u64, Option<Key>), ApiError> {
    if let Some(token) = options.token {
        let (version, key) = read_token(token)
            .ok_or_else(|| ApiError::bad_request(format!("continue key is not valid: {token:?}")))?;
        return Ok((version, Some(key)));
    }
    match options.version {
        Some(version) if version > current => Err(ApiError::too_large(version, current)),
        Some(version) if options.exact && version > 0 => Ok((version, None)),
        _ => Ok((current, None)),
    }
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
