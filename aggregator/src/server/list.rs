//! Lists of pods and of nodes: one JSON array, made and sent page by page. The list of a large cluster is some ten megabytes: as a whole
//! it would be in memory once for each client, and the core would be locked while it is made.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, stream};
use http::StatusCode;
use plimsoll_contract::status::{NodeStatus, PodStatus};
use plimsoll_contract::{NodeName, PodName};
use plimsoll_process::http::answer;
use serde::Serialize;

use super::one_at_a_time::OneAtATime;
use crate::core::Core;
use crate::engine::{Engine, PAGE};
use crate::input::Now;

/// A document that is listed.
pub(super) trait Listed: Serialize + Sized + Send + 'static {
    /// What the list is ordered by.
    type Key: Send + 'static;

    /// At most [`PAGE`] of them after this key.
    fn after(core: &Core, now: Now, key: Option<&Self::Key>) -> Vec<Self>;
    /// Its key.
    fn key(&self) -> Self::Key;
}

impl Listed for PodStatus {
    type Key = PodName;

    fn after(core: &Core, _now: Now, key: Option<&PodName>) -> Vec<PodStatus> {
        core.pods_after(key, PAGE)
    }

    fn key(&self) -> PodName {
        PodName::new(&self.namespace, &self.name)
    }
}

impl Listed for NodeStatus {
    type Key = NodeName;

    fn after(core: &Core, now: Now, key: Option<&NodeName>) -> Vec<NodeStatus> {
        core.nodes_after(now, key, PAGE)
    }

    fn key(&self) -> NodeName {
        self.node.clone()
    }
}

/// The position in the list.
enum Position<K> {
    Begin,
    After(K),
    End,
}

/// All that are known, in order. One that is created or deleted meanwhile may be in it or not.
pub(super) fn response<T: Listed>(engine: Engine, pages_made: OneAtATime) -> Response {
    let head = answer::with_type(StatusCode::OK, "application/json", Bytes::new()).into_response();
    let (mut parts, _empty) = head.into_parts();
    parts.headers.remove(http::header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from_stream(pages::<T>(engine, pages_made)))
}

fn pages<T: Listed>(engine: Engine, pages_made: OneAtATime) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(Position::Begin, move |position| {
        let (engine, pages_made) = (engine.clone(), pages_made.clone());
        async move {
            let _permit = pages_made.permit().await;
            page::<T>(&engine, position).map(|(text, next)| (Ok(text), next))
        }
    })
}

/// The text of the next page and what follows it; nothing after the last.
fn page<T: Listed>(engine: &Engine, position: Position<T::Key>) -> Option<(Bytes, Position<T::Key>)> {
    let (opening, after) = match position {
        Position::Begin => ("[", None),
        Position::After(key) => (",", Some(key)),
        Position::End => return None,
    };
    let items = engine.ask(|core, now| T::after(core, now, after.as_ref()));
    let next = match items.last() {
        Some(last) if items.len() == PAGE => Position::After(last.key()),
        _ => Position::End,
    };
    let opening = if items.is_empty() && after.is_some() { "" } else { opening };
    let closing = if matches!(next, Position::End) { "]" } else { "" };
    let texts = items.iter().filter_map(|item| serde_json::to_string(item).ok());
    let text = format!("{opening}{}{closing}", texts.collect::<Vec<_>>().join(","));
    Some((text.into(), next))
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use jiff::Timestamp;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::facts::{NodeFacts, PodFacts};
    use crate::input::{Input, WatchEvent};
    use crate::settings::Settings;

    fn name(number: usize) -> String {
        format!("name-{number:05}")
    }

    async fn listed<T: Listed + DeserializeOwned>(input: Input) -> (Vec<T>, usize) {
        let mut core = Core::new(Settings::default());
        core.step(Now { at: Default::default(), wall: Timestamp::UNIX_EPOCH }, input);
        let (engine, _outputs) = Engine::new(core, None);
        let pages: Vec<_> =
            pages::<T>(engine, OneAtATime::default()).map(|page| page.unwrap()).collect().await;
        (serde_json::from_slice(&pages.concat()).unwrap(), pages.len())
    }

    #[tokio::test]
    async fn any_number_of_pods_or_nodes_is_one_array_in_pages_each_object_once() {
        for (count, pages) in [(0, 1), (1, 1), (PAGE - 1, 1), (PAGE, 2), (PAGE + 1, 2), (3 * PAGE + 7, 4)] {
            let names: Vec<String> = (0..count).map(name).collect();
            let pods = names.iter().map(|name| PodFacts::bare("shop", name, name)).collect();
            let (pods, sent) = listed::<PodStatus>(Input::Pods(WatchEvent::Listed(pods))).await;
            let pods: Vec<_> = pods.into_iter().map(|pod| pod.name).collect();
            assert_eq!((&pods, sent), (&names, pages), "{count} pods");
            let nodes = names.iter().map(|name| NodeFacts::bare(name)).collect();
            let (nodes, sent) = listed::<NodeStatus>(Input::Nodes(WatchEvent::Listed(nodes))).await;
            let nodes: Vec<_> = nodes.iter().map(|node| node.node.as_str().to_owned()).collect();
            assert_eq!((&nodes, sent), (&names, pages), "{count} nodes");
        }
    }
}
