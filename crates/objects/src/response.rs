//! The client. kube holds a response in memory, twice while it decodes it: one that is too large is refused instead.
//!
//! Watches are not bounded: they never end, and the API server bounds the single object.

use std::error::Error;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use http::{Request, Response};
use http_body_util::{Either, LengthLimitError, Limited};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::{Layer, Service};

/// The largest response, in bytes: some 30 pages of ordinary pods.
pub const MAX_RESPONSE: usize = 32 << 20;

/// A client that refuses a response larger than [`MAX_RESPONSE`].
///
/// # Errors
/// If the configuration's TLS material or proxy cannot be used.
pub fn client(config: Config) -> kube::Result<Client> {
    Ok(ClientBuilder::try_from(config)?.with_layer(&Bound(MAX_RESPONSE)).build())
}

/// Whether a response was refused because it is too large.
pub fn is_too_large(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<LengthLimitError>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// Bounds the responses of a service, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound(pub(crate) usize);

impl<S> Layer<S> for Bound {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded { inner, most: self.0 }
    }
}

/// A service whose responses are bounded.
#[derive(Debug, Clone)]
pub(crate) struct Bounded<S> {
    inner: S,
    most: usize,
}

impl<S, B> Service<Request<Body>> for Bounded<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<Either<Limited<B>, B>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (is_watch, most) = (is_watch(&request), self.most);
        let bounded = move |response: Response<B>| {
            response.map(|body| match is_watch {
                true => Either::Right(body),
                false => Either::Left(Limited::new(body, most)),
            })
        };
        self.inner.call(request).map_ok(bounded).boxed()
    }
}

fn is_watch<B>(request: &Request<B>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|parameter| matches!(parameter, "watch=true" | "watch=1"))
}

#[cfg(test)]
mod tests;
