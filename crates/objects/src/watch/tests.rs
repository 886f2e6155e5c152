//! Pages that are too large, against a server that is a function.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::client::Body;
use serde::Deserialize;
use serde_json::json;
use tower::ServiceBuilder;

use super::*;
use crate::response::{Bound, MAX_RESPONSE};

#[derive(Debug, Clone, Deserialize)]
struct Nothing {}

impl Content for Nothing {
    type Kind = Pod;
}

/// How many objects are asked for, and from which on: the token of a page is the number of its first object.
fn limit_and_start(query: &str) -> (usize, usize) {
    let number = |name: &str| {
        let mut parts = query.split('&').filter_map(|part| part.split_once('='));
        parts.find(|(key, _)| *key == name).map(|(_, value)| value.parse::<usize>().unwrap())
    };
    (number("limit").unwrap(), number("continue").unwrap_or_default())
}

/// Lists `count` pods of `size` bytes to a client that reads at most 10,000 bytes at once; the limits that were asked for.
fn server(count: usize, size: usize) -> (Client, Arc<Mutex<Vec<usize>>>) {
    let limits = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&limits);
    let service = tower::service_fn(move |request: Request<Body>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let (limit, from) = limit_and_start(&query);
        asked.lock().unwrap().push(limit);
        let to = (from + limit).min(count);
        let pod =
            |n: usize| json!({"metadata": {"name": format!("p{n}"), "annotations": {"a": "x".repeat(size)}}});
        let token = if to < count { to.to_string() } else { String::new() };
        let list = json!({"kind": "PodList", "apiVersion": "v1",
            "metadata": {"resourceVersion": "1", "continue": token}, "items": (from..to).map(pod).collect::<Vec<_>>()});
        let body = Body::from(list.to_string().into_bytes());
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    (Client::new(ServiceBuilder::new().layer(Bound(10_000)).service(service), "default"), limits)
}

/// What the first list says.
async fn listed(client: Client) -> Result<Vec<String>, Error> {
    listed_in_pages_of(8, client).await
}

async fn listed_in_pages_of(page: u32, client: Client) -> Result<Vec<String>, Error> {
    let mut events = Box::pin(watch::<Nothing>(Api::all(client), Config::default().page_size(page)));
    let mut names = Vec::new();
    loop {
        match events.next().await.unwrap()? {
            Event::Init => names.clear(),
            Event::InitApply(object) => names.extend(object.names().name.clone()),
            _ => return Ok(names),
        }
    }
}

#[tokio::test]
async fn large_objects_are_listed_in_smaller_pages() {
    let (client, limits) = server(5, 3000);
    assert_eq!(listed(client).await.unwrap(), ["p0", "p1", "p2", "p3", "p4"]);
    assert_eq!(*limits.lock().unwrap(), [8, 4, 2, 2, 2]);
    let (client, limits) = server(20, 10);
    assert_eq!(listed(client).await.unwrap().len(), 20);
    assert_eq!(*limits.lock().unwrap(), [8, 8, 8], "small ones are not");
}

#[tokio::test]
async fn one_object_that_is_too_large_by_itself_is_an_error_that_says_so() {
    let (client, limits) = server(2, 20_000);
    let Err(Error::InitialListFailed(error)) = listed(client).await else { panic!("it was listed") };
    assert!(crate::describe(&error).contains("larger than"), "{error:?}");
    assert_eq!(*limits.lock().unwrap(), [8, 4, 2, 1]);
}

/// Lists as many pods as asked for, each with an environment of 1.2 MiB, without holding a page itself.
fn server_of_large_pods(count: usize) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let (limit, from) = limit_and_start(&query);
        let to = (from + limit).min(count);
        let token = if to < count { to.to_string() } else { String::new() };
        let head = format!(
            r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"1","continue":"{token}"}},"items":["#
        );
        let pod = move |n: usize| {
            let comma = if n > from { "," } else { "" };
            let value = "x".repeat(1200 << 10);
            format!(r#"{comma}{{"metadata":{{"name":"p{n}"}},"spec":{{"env":[{{"value":"{value}"}}]}}}}"#)
        };
        let parts = std::iter::once(head).chain((from..to).map(pod)).chain(["]}".to_owned()]);
        let body = StreamBody::new(stream::iter(
            parts.map(|part| Ok::<_, Infallible>(Frame::data(Bytes::from(part)))),
        ));
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    Client::new(ServiceBuilder::new().layer(Bound(MAX_RESPONSE)).service(service), "default")
}

/// What this thread allocates is counted, because it does everything here: the process's memory is also that of the tests beside this one.
#[test]
fn pods_of_more_than_a_megabyte_need_less_than_a_hundred_at_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let memory = allocation_counter::measure(|| {
        // More of them are only more pages: 500 take as much memory.
        let names =
            runtime.block_on(async { listed_in_pages_of(50, server_of_large_pods(120)).await.unwrap() });
        assert_eq!(names.len(), 120);
    });
    let most = memory.bytes_max >> 20;
    assert!(most < 100, "{most} MiB");
    assert!(
        most > 25,
        "{most} MiB are too few for a page of 25 pods, which was in memory: not everything is counted"
    );
}
