//! Reading a request's body without trusting its sender.

use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use thiserror::Error;
use tokio::time::timeout;

use super::{BoxError, Limits};

/// Why a body could not be read. The part that was read is discarded.
#[derive(Debug, Error)]
pub enum BodyError {
    /// It is longer than allowed, or its announced length is.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The maximum, in bytes.
        limit: usize,
    },
    /// It did not end in time.
    #[error("the body did not arrive within {limit:?}")]
    TooSlow {
        /// The time allowed for the whole body.
        limit: Duration,
    },
    /// The connection broke, or the bytes are not a body.
    #[error("the body broke off: {0}")]
    Broken(#[source] BoxError),
}

impl BodyError {
    /// The status to answer with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// The whole body, within `limits.max_body_bytes` and `limits.body_timeout`. Memory grows with the bytes that arrived,
/// not with the announced length.
///
/// # Errors
///
/// See [`BodyError`]. A body that announces too much is rejected before a byte of it is read.
pub async fn read_body<B>(body: B, limits: &Limits) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let limit = limits.max_body_bytes;
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(BodyError::TooLarge { limit });
    }
    let read = async {
        let mut body = pin!(Limited::new(body, limit));
        // Copied frame by frame: `collect` keeps every frame, and a body in chunks of one byte would take 32 times its size.
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            // Trailers are ignored.
            if let Ok(data) = frame?.into_data() {
                whole.extend_from_slice(&data);
            }
        }
        Ok::<_, BoxError>(whole.freeze())
    };
    match timeout(limits.body_timeout, read).await {
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { limit }),
        Ok(read) => read.map_err(BodyError::Broken),
        Err(_elapsed) => Err(BodyError::TooSlow { limit: limits.body_timeout }),
    }
}

#[cfg(test)]
mod tests;
