//! Reading a request's body without trusting its sender.

use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Body;
use thiserror::Error;
use tokio::time::timeout;

use super::{BoxError, Limits};

/// Why a body could not be read. What was read of it is gone.
#[derive(Debug, Error)]
pub enum BodyError {
    /// It is longer than allowed, or says that it will be.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// It did not end in time.
    #[error("the body did not arrive within {limit:?}")]
    TooSlow {
        /// The time allowed for all of it.
        limit: Duration,
    },
    /// The connection broke, or what came is not a body.
    #[error("the body broke off: {0}")]
    Broken(#[source] BoxError),
}

impl BodyError {
    /// What to answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// The whole body, within `limits.max_body_bytes` and `limits.body_timeout`. Memory grows with what has arrived, not
/// with what was announced.
///
/// # Errors
///
/// See [`BodyError`]. A body that announces too much is refused before a byte of it is read.
pub async fn read_body<B>(body: B, limits: &Limits) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let limit = limits.max_body_bytes;
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(BodyError::TooLarge { limit });
    }
    timeout(limits.body_timeout, collect(body, limit))
        .await
        .unwrap_or(Err(BodyError::TooSlow { limit: limits.body_timeout }))
}

async fn collect<B>(body: B, limit: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = pin!(body);
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(error.into()))?;
        // Trailers are nothing we asked for.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - whole.len() {
            return Err(BodyError::TooLarge { limit });
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests;
