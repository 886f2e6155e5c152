//! The metadata of pods, listed in pages of 500, so that neither side holds the whole list. Specs and statuses are not
//! transferred.

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams, PartialObjectMeta};

use crate::connect::{Failure, Operation};

/// Pods per page.
pub(crate) const PAGE: u32 = 500;
/// How often a list is restarted after its continue token expired.
const MAX_RESTARTS: u32 = 3;

pub(crate) const LIST_PODS: Operation = Operation::on_api_server("listing pods", "list pods");

/// The pods of one namespace, or of all.
pub(crate) fn api(client: &Client, namespace: Option<&str>) -> Api<PartialObjectMeta<Pod>> {
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// What `pick` returns for each pod. Each page is dropped once it was read.
pub(crate) async fn collect<T>(
    api: &Api<PartialObjectMeta<Pod>>,
    selector: Option<&str>,
    pick: impl Fn(&PartialObjectMeta<Pod>) -> Option<T>,
) -> Result<Vec<T>, Failure> {
    let mut params = ListParams::default().limit(PAGE);
    params.label_selector = selector.map(str::to_owned);
    let mut picked = Vec::new();
    let mut restarts = 0;
    loop {
        match LIST_PODS.run(async { Ok(api.list(&params).await) }).await? {
            Ok(page) => {
                picked.extend(page.items.iter().filter_map(&pick));
                params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
                if params.continue_token.is_none() {
                    return Ok(picked);
                }
            }
            // 410: the continue token expired, and the pages read so far may be out of date as well.
            Err(kube::Error::Api(status)) if status.code == 410 && restarts < MAX_RESTARTS => {
                restarts += 1;
                params.continue_token = None;
                picked.clear();
            }
            Err(error) => return Err(LIST_PODS.failure(&error)),
        }
    }
}
