use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq, proptest};

use super::{matches, names, with_etag, with_weak_etag};
use crate::http::answer::text;

fn request(lists: &[&str]) -> HeaderMap {
    lists.iter().map(|list| (super::IF_NONE_MATCH, list.parse::<HeaderValue>().unwrap())).collect()
}

fn respond(lists: &[&str], etag: &str) -> Response<Full<Bytes>> {
    with_etag(&request(lists), etag, text(StatusCode::OK, "state"))
}

#[tokio::test]
async fn a_client_with_the_state_gets_an_empty_304_with_the_tag() {
    let response = respond(&["\"boot-7\""], "boot-7");
    assert_eq!(response.status(), 304);
    assert_eq!(response.headers()["etag"], "\"boot-7\"");
    assert!(!response.headers().contains_key("content-type"));
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn a_client_with_another_state_gets_this_one_with_its_tag() {
    for lists in [&[][..], &["\"boot-6\""], &["boot-7"], &["\"boot-7"], &["\"boot-77\", \"oot-7\""]] {
        let response = respond(lists, "boot-7");
        assert_eq!(response.status(), 200, "{lists:?}");
        assert_eq!(response.headers()["etag"], "\"boot-7\"");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "state");
    }
}

#[test]
fn lists_weak_tags_stars_and_commas_inside_a_tag_are_understood() {
    for lists in
        [&["*"][..], &["W/\"a,b\""], &["\"x\",\"a,b\""], &["W/\"x\" , W/\"a,b\""], &["\"x\"", "\"a,b\""]]
    {
        assert_eq!(respond(lists, "a,b").status(), 304, "{lists:?}");
    }
}

#[test]
fn only_a_200_is_replaced() {
    let rejected = with_etag(&request(&["*"]), "boot-7", text(StatusCode::SERVICE_UNAVAILABLE, "not yet"));
    assert_eq!(rejected.status(), 503);
    assert!(!rejected.headers().contains_key("etag"));
}

#[test]
fn a_weak_tag_is_sent_as_one_and_matched_like_any_other() {
    let respond = |lists: &[&str]| with_weak_etag(&request(lists), "7-42", text(StatusCode::OK, "state"));
    let first = respond(&[]);
    assert_eq!(
        (first.status().as_u16(), &first.headers()["etag"]),
        (200, &HeaderValue::from_static("W/\"7-42\""))
    );
    assert_eq!(respond(&["W/\"7-42\""]).status(), 304);
    assert!(matches(&request(&["W/\"7-42\""]), "7-42") && !matches(&request(&["W/\"7-41\""]), "7-42"));
}

#[test]
fn a_tag_that_http_cannot_carry_is_left_out() {
    for bad in ["", "a\"b", "a b", "a\nb", "é"] {
        let response = respond(&["*"], bad);
        assert_eq!(response.status(), 200, "{bad:?}");
        assert!(!response.headers().contains_key("etag"), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn a_list_names_exactly_its_members(tags in vec("[a-c,*/]{1,3}", 1..6), wanted in "[a-c,*/]{1,3}", weak in any::<bool>()) {
        let prefix = if weak { "W/" } else { "" };
        let list: Vec<_> = tags.iter().map(|tag| format!("{prefix}\"{tag}\"")).collect();
        prop_assert_eq!(names(list.join(", ").as_bytes(), wanted.as_bytes()), tags.contains(&wanted));
    }

    #[test]
    fn no_header_breaks_the_parser(list in vec(any::<u8>(), 0..60), wanted in "[!-~&&[^\"]]{1,8}") {
        let found = names(&list, wanted.as_bytes());
        let quoted = format!("\"{wanted}\"");
        let occurs = list.windows(quoted.len()).any(|window| window == quoted.as_bytes());
        assert!(!found || occurs || list.trim_ascii() == b"*");
    }
}
