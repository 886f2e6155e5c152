use std::collections::BTreeMap;

use http::StatusCode;
use http_body_util::BodyExt;

use super::{json, method_not_allowed, not_found, text};

async fn body(response: http::Response<super::Full<super::Bytes>>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn json_declares_its_content_type() {
    let response = json(StatusCode::CREATED, &BTreeMap::from([("pods", 3)]));
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(body(response).await, r#"{"pods":3}"#);
}

#[test]
fn a_value_without_a_json_form_is_an_internal_error() {
    assert_eq!(json(StatusCode::OK, &BTreeMap::from([(Some([1, 2]), 3)])).status(), 500);
}

#[test]
fn no_response_lets_a_browser_guess_its_type() {
    for response in [text(StatusCode::OK, "x"), not_found("/<script>"), method_not_allowed("GET")] {
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    }
}

#[tokio::test]
async fn error_responses_say_what_is_allowed() {
    let response = method_not_allowed("GET, HEAD");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["allow"]),
        (405, &"GET, HEAD".parse().unwrap())
    );
    assert_eq!(body(response).await, "use GET, HEAD\n");
    assert_eq!(body(not_found("/v2/x")).await, "nothing at /v2/x\n");
    assert!(body(not_found(&"é".repeat(100_000))).await.len() < 500, "a long path is cut");
}
