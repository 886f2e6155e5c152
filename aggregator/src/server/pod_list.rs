//! `/v1/pods`: one JSON array, made and sent page by page. The list of a large cluster is some ten megabytes: as a whole it would be in
//! memory once for each client, and the core would be locked while it is made.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, stream};
use http::StatusCode;
use plimsoll_contract::PodName;
use plimsoll_contract::status::PodStatus;
use plimsoll_process::http::answer;

use crate::engine::Engine;

/// Pods in one page: the core is locked for some milliseconds.
const PAGE: usize = 500;

/// The position in the list.
enum Position {
    Begin,
    After(PodName),
    End,
}

/// Every known pod, by namespace and name. A pod that is created or deleted meanwhile may be in it or not.
pub(super) fn response(engine: Engine) -> Response {
    let head = answer::with_type(StatusCode::OK, "application/json", Bytes::new()).into_response();
    let (mut parts, _empty) = head.into_parts();
    parts.headers.remove(http::header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from_stream(pages(engine)))
}

fn pages(engine: Engine) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(Position::Begin, move |position| {
        let page = page(&engine, position);
        async move { page.map(|(text, next)| (Ok(text), next)) }
    })
}

/// The text of the next page and what follows it; nothing after the last.
fn page(engine: &Engine, position: Position) -> Option<(Bytes, Position)> {
    let (opening, after) = match position {
        Position::Begin => ("[", None),
        Position::After(pod) => (",", Some(pod)),
        Position::End => return None,
    };
    let pods = engine.ask(|core, _| core.pods_after(after.as_ref(), PAGE));
    let next = match pods.last() {
        Some(last) if pods.len() == PAGE => Position::After(PodName::new(&last.namespace, &last.name)),
        _ => Position::End,
    };
    let opening = if pods.is_empty() && after.is_some() { "" } else { opening };
    let closing = if matches!(next, Position::End) { "]" } else { "" };
    let text = format!("{opening}{}{closing}", items(&pods));
    Some((text.into(), next))
}

fn items(pods: &[PodStatus]) -> String {
    let items = pods.iter().filter_map(|pod| serde_json::to_string(pod).ok());
    items.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use jiff::Timestamp;

    use super::*;
    use crate::core::Core;
    use crate::facts::PodFacts;
    use crate::input::{Input, Now, WatchEvent};
    use crate::settings::Settings;

    fn pod(number: usize) -> PodFacts {
        PodFacts::bare("shop", &format!("pod-{number:05}"), &number.to_string())
    }

    async fn listed(count: usize) -> (Vec<PodStatus>, usize) {
        let mut core = Core::new(Settings::default());
        let now = Now { at: Default::default(), wall: Timestamp::UNIX_EPOCH };
        core.step(now, Input::Pods(WatchEvent::Listed((0..count).map(pod).collect())));
        let (engine, _outputs) = Engine::new(core, None);
        let pages: Vec<_> = pages(engine).map(|page| page.unwrap()).collect().await;
        (serde_json::from_slice(&pages.concat()).unwrap(), pages.len())
    }

    #[tokio::test]
    async fn any_number_of_pods_is_one_array_in_pages_each_pod_once() {
        for (count, pages) in [(0, 1), (1, 1), (PAGE - 1, 1), (PAGE, 2), (PAGE + 1, 2), (3 * PAGE + 7, 4)] {
            let (pods, sent) = listed(count).await;
            let names: Vec<_> = pods.into_iter().map(|pod| pod.name).collect();
            let want: Vec<_> = (0..count).map(|number| format!("pod-{number:05}")).collect();
            assert_eq!((names, sent), (want, pages), "{count} pods");
        }
    }
}
