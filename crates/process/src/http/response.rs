//! The body of a response, with the permit of its request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::limiter::RequestPermit;

/// Bytes that are handed to hyper at a time. It takes a whole frame into its buffer, however slowly the peer reads.
const PIECE: usize = 16 * 1024;

/// A body in pieces. It is dropped, and the permit returned, once the last piece is on its way: while the peer does not read,
/// its request stays in flight, and counts.
pub(super) struct ResponseBody<B> {
    body: Pin<Box<B>>,
    /// What is left of the latest frame.
    rest: Bytes,
    _permit: Option<RequestPermit>,
}

impl<B> ResponseBody<B> {
    pub(super) fn new(body: B, permit: Option<RequestPermit>) -> Self {
        Self { body: Box::pin(body), rest: Bytes::new(), _permit: permit }
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.rest.is_empty() {
            let frame = ready!(self.body.as_mut().poll_frame(cx)).transpose()?;
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(trailers)) => return Poll::Ready(Some(Ok(trailers))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), u64::try_from(self.rest.len()).unwrap_or(u64::MAX));
        match hint.exact() {
            Some(exact) => hint.set_exact(exact.saturating_add(rest)),
            None => hint.set_lower(hint.lower().saturating_add(rest)),
        }
        hint
    }
}
