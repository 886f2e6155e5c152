//! What a response that is too large does, and that no body reaches the log.

use std::io;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, WatchParams};
use plimsoll_process::telemetry::{Captured, LogFormat, TelemetryArgs};
use serde_json::{Value, json};
use tower::ServiceBuilder;
use tracing::instrument::WithSubscriber;

use super::*;
use crate::describe;

/// A client of a server that says this to everything, bounded to 1,000 bytes.
fn saying(text: String) -> Client {
    let service = tower::service_fn(move |_: Request<Body>| {
        let body = Body::from(text.clone().into_bytes());
        async move { Ok::<_, io::Error>(Response::new(body)) }
    });
    Client::new(ServiceBuilder::new().layer(Bound(1000)).service(service), "default")
}

fn pods_of(metadata: &Value) -> String {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata});
    json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod]}).to_string()
}

#[tokio::test]
async fn a_response_that_is_too_large_is_refused_and_named() {
    let list = async |text: String| Api::<Pod>::all(saying(text)).list(&ListParams::default()).await;
    assert_eq!(list(pods_of(&json!({"name": "web"}))).await.unwrap().items.len(), 1);
    let error = list(pods_of(&json!({"name": "x".repeat(1000)}))).await.unwrap_err();
    assert!(is_too_large(&error), "{error:?}");
    assert!(describe(&error).contains("larger than 32 MiB"), "{}", describe(&error));
    assert!(!is_too_large(&kube::Error::TlsRequired));
}

#[tokio::test]
async fn a_watch_is_not_bounded() {
    let event = json!({"type": "ADDED", "object": {"metadata": {"name": "x".repeat(2000)}}}).to_string();
    let client = saying(format!("{event}\n{event}\n"));
    let events = Api::<Pod>::all(client).watch(&WatchParams::default(), "0").await.unwrap();
    let count = futures_util::StreamExt::count(futures_util::TryStreamExt::into_stream(events)).await;
    assert_eq!(count, 2);
}

#[tokio::test]
async fn no_body_is_logged_whatever_the_filter_says() {
    for filter in ["warn", "trace", "trace,kube_client=trace", "info,kube_client::client=trace"] {
        let captured = Captured::default();
        let args = TelemetryArgs { log_format: LogFormat::Json, log_filter: filter.to_owned() };
        let subscriber = args.subscriber(captured.clone(), false).unwrap();
        let requests = async {
            // The time does not fit any type: kube cannot decode this pod, and says so with the whole body.
            let odd = pods_of(&json!({"name": "s3cr3t", "creationTimestamp": "yesterday"}));
            let api = Api::<Pod>::all(saying(odd));
            api.list(&ListParams::default()).await.unwrap_err();
            api.get("web").await.unwrap_err();
            let _either = api.delete("web", &Default::default()).await;
            let _events = api.watch(&WatchParams::default(), "0").await;
            tracing::warn!("the log works");
        };
        requests.with_subscriber(subscriber).await;
        let text = captured.text();
        assert!(text.contains("the log works") && !text.contains("s3cr3t"), "{filter}: {text}");
    }
}
