//! The metadata of pods, page by page: 500 a page, so that neither side ever holds all of it; specs and environment
//! variables never cross the wire.

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams, PartialObjectMeta};

use crate::connect::{Failure, Question};

/// Pods a page.
pub const PAGE: u32 = 500;
/// How often a list is begun again when the API server has forgotten where it was.
const RESTARTS: u32 = 3;

/// Listing pods.
pub const LISTING: Question =
    Question { asked: "listing pods", whom: "API server", right: "list pods", of_aggregator: false };

/// The pods of one namespace, or of all.
pub fn api(client: &Client, namespace: Option<&str>) -> Api<PartialObjectMeta<Pod>> {
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// What `pick` takes of every pod. A page is forgotten once it was picked from.
///
/// # Errors
/// The failure of a page.
pub async fn collect<T>(
    api: &Api<PartialObjectMeta<Pod>>,
    selector: Option<&str>,
    pick: impl Fn(&PartialObjectMeta<Pod>) -> Option<T>,
) -> Result<Vec<T>, Failure> {
    let mut picked = Vec::new();
    let mut next: Option<String> = None;
    let mut restarts = 0;
    loop {
        let page = ListParams { continue_token: next.take(), ..first_page(selector) };
        match LISTING.answer(async { Ok(api.list(&page).await) }).await? {
            Ok(page) => {
                picked.extend(page.items.iter().filter_map(&pick));
                match page.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => next = Some(token),
                    None => return Ok(picked),
                }
            }
            // 410: the list took longer than the API server remembers; what was read may be out of date as well.
            Err(kube::Error::Api(status)) if status.code == 410 && restarts < RESTARTS => {
                restarts += 1;
                picked.clear();
            }
            Err(error) => return Err(LISTING.failure(&error)),
        }
    }
}

fn first_page(selector: Option<&str>) -> ListParams {
    let params = ListParams::default().limit(PAGE);
    match selector {
        Some(selector) => params.labels(selector),
        None => params,
    }
}
