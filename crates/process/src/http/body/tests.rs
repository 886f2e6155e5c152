use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq, proptest};

use super::{BodyError, read_body};
use crate::http::Limits;

fn limits(max_body_bytes: usize) -> Limits {
    Limits { max_body_bytes, body_timeout: Duration::from_secs(5), ..Limits::default() }
}

type Chunk = Result<Frame<Bytes>, Infallible>;

/// A body of unknown length.
fn chunked(chunks: &[Vec<u8>]) -> StreamBody<stream::Iter<std::vec::IntoIter<Chunk>>> {
    let frames: Vec<_> = chunks.iter().map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk)))).collect();
    StreamBody::new(stream::iter(frames))
}

proptest! {
    #[test]
    fn a_body_is_read_whole_or_rejected_however_it_is_chunked(chunks in vec(vec(any::<u8>(), 0..20), 0..10), limit in 0..200_usize) {
        let whole = chunks.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let read = runtime.block_on(read_body(chunked(&chunks), &limits(limit)));
        match read {
            Ok(bytes) => {
                assert!(whole.len() <= limit);
                prop_assert_eq!(bytes, whole);
            }
            Err(error) => {
                assert!(matches!(error, BodyError::TooLarge { .. }), "{error}");
                assert!(whole.len() > limit);
            }
        }
    }
}

#[tokio::test]
async fn an_announced_length_is_rejected_unread() {
    let error = read_body(Full::new(Bytes::from_static(b"12345")), &limits(4)).await.unwrap_err();
    assert!(matches!(error, BodyError::TooLarge { limit: 4 }));
    assert_eq!(error.status(), 413);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_is_too_slow() {
    let endless = StreamBody::new(stream::pending::<Chunk>());
    let error = read_body(endless, &limits(4)).await.unwrap_err();
    assert!(matches!(error, BodyError::TooSlow { .. }));
    assert_eq!(error.status(), 408);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_too_slow_as_a_whole() {
    let trickle = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Chunk::Ok(Frame::data(Bytes::from_static(b"x"))), ()))
    });
    let error = read_body(StreamBody::new(Box::pin(trickle)), &limits(1000)).await.unwrap_err();
    assert!(matches!(error, BodyError::TooSlow { .. }), "{error}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error() {
    let broken = stream::iter([Ok(Frame::data(Bytes::from_static(b"x"))), Err(io::Error::other("reset"))]);
    let error = read_body(StreamBody::new(broken), &limits(1000)).await.unwrap_err();
    assert!(matches!(error, BodyError::Broken(_)));
    assert_eq!((error.status().as_u16(), error.to_string().as_str()), (400, "the body broke off: reset"));
}
