//! The metadata of pods, listed in pages of 500, so that neither side holds the whole list. Specs and statuses are not
//! transferred.
//!
//! A pod that cannot be read is named and keeps nobody from reading the others.

use std::fmt;

use kube::Client;
use kube::api::{Api, ListParams};
use kube::core::ObjectMeta;
use plimsoll_objects::{Content, Object, is_too_large};

use crate::connect::{Failure, Operation, escaped};

/// Pods per page.
pub(crate) const PAGE: u32 = 500;
/// How often a list is restarted after its continue token expired.
const MAX_RESTARTS: u32 = 3;

pub(crate) const LIST_PODS: Operation = Operation::on_api_server("listing pods", "list pods");

/// A pod that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnreadablePod {
    /// Empty where it cannot be told, as the name.
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The field and the reason.
    pub(crate) problem: String,
}

/// Safe for a terminal.
impl fmt::Display for UnreadablePod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnreadablePod { namespace, name, problem } = self;
        f.write_str(&escaped(&format!("pod {namespace}/{name} cannot be read ({problem})")))
    }
}

/// The content of a pod, or which one cannot be read.
pub(crate) fn content<C: Content>(pod: &Object<C>) -> Result<&C, UnreadablePod> {
    let (namespace, name) = names(pod.names());
    pod.content.as_ref().map_err(|problem| UnreadablePod { namespace, name, problem: problem.to_string() })
}

/// Namespace and name.
pub(crate) fn names(names: &ObjectMeta) -> (String, String) {
    (names.namespace.clone().unwrap_or_default(), names.name.clone().unwrap_or_default())
}

/// The pods of one namespace, or of all.
pub(crate) fn api<C: Content>(client: &Client, namespace: Option<&str>) -> Api<Object<C>>
where
    Object<C>: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// What was picked of the pods that can be read, and the others.
#[derive(Debug)]
pub(crate) struct Collected<T> {
    pub(crate) picked: Vec<T>,
    pub(crate) unreadable: Vec<UnreadablePod>,
}

/// What `pick` returns for each pod. Each page is dropped once it was read.
pub(crate) async fn collect<C: Content, T>(
    api: &Api<Object<C>>,
    selector: Option<&str>,
    pick: impl Fn(&ObjectMeta, &C) -> Option<T>,
) -> Result<Collected<T>, Failure> {
    let mut limit = PAGE;
    let mut params = ListParams { label_selector: selector.map(str::to_owned), ..ListParams::default() };
    let mut all = Collected { picked: Vec::new(), unreadable: Vec::new() };
    let mut restarts = 0;
    loop {
        params.limit = Some(limit);
        match LIST_PODS.run(async { Ok(api.list(&params).await) }).await? {
            Ok(page) => {
                for pod in &page.items {
                    match content(pod) {
                        Ok(content) => all.picked.extend(pick(pod.names(), content)),
                        Err(unreadable) => all.unreadable.push(unreadable),
                    }
                }
                params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
                if params.continue_token.is_none() {
                    return Ok(all);
                }
            }
            // 410: the continue token expired, and the pages read so far may be out of date as well.
            Err(kube::Error::Api(status)) if status.code == 410 && restarts < MAX_RESTARTS => {
                restarts += 1;
                params.continue_token = None;
                all = Collected { picked: Vec::new(), unreadable: Vec::new() };
            }
            // The same page again, with fewer pods.
            Err(error) if is_too_large(&error) && limit > 1 => limit /= 2,
            Err(error) => return Err(LIST_PODS.failure(&error)),
        }
    }
}
