//! The API server of the sandbox: a Kubernetes API in memory, over real HTTPS on loopback.
//!
//! ```text
//!    kube, kubectl, agents --- HTTPS ---> http -> route, tokens, faults -> verbs -> Store <--- kubelet, tests (in-process)
//!                                           |                               |
//!                                        Journal                    answer, stream (watches)
//! ```
//!
//! Its answers are those of a real server as far as Plimsoll's requests can tell: field ownership and conflicts of server-side
//! apply, uids as preconditions, the rules of `pods/resize`, resourceVersions and 410, bound tokens and their review. It has no
//! controllers, admission plugins, RBAC, protobuf (which `kubectl create namespace` needs, and `kubectl apply` does not) or
//! schemas, and no validation except that of `shape`, `pod`, `resize`, `secret`, `lease` and `events`. [`Faults`] are scripted;
//! the [`Journal`] contains the requests.
//!
//! It binds a loopback port and has no other effect outside of the process. Tests: `api/tests/`, and `tests/conformance`, which
//! sends the same requests to the sandbox and to a real Kubernetes and lists the differences.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

mod answer;
mod discovery;
mod events;
mod faults;
mod http;
mod journal;
mod kinds;
mod lease;
mod options;
mod page;
mod patch;
mod pod;
mod quantity;
mod remove;
mod resize;
mod route;
mod rules;
mod secret;
mod selector;
mod shape;
mod signing;
mod state;
mod status;
mod store;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod tokens;
mod verbs;
mod watch;
mod write;

pub use faults::{Fault, FaultId, Faults, Matching};
pub use journal::{Entry, Journal};
pub use kinds::Resource;
pub use patch::Patch;
pub use route::Verb;
pub use selector::Selector;
pub use status::ApiError;
pub use store::Store;
pub use tokens::BoundPod;
pub(crate) use watch::Subscription;
pub use write::{Subresource, Write, Written};

use http::Shared;

/// Options of a server. The defaults are for tests.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// The loopback port; 0 is any free port.
    pub port: u16,
    /// Interval between the bookmarks of a watch that allows them.
    pub bookmark_every: Duration,
    /// Duration of a watch without `timeoutSeconds`.
    pub watch_timeout: Duration,
    /// Whether a kubelet must complete the deletion of a bound pod: see [`Store::new`].
    pub graceful_deletion: bool,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            port: 0,
            bookmark_every: Duration::from_secs(15),
            watch_timeout: Duration::from_secs(30 * 60),
            graceful_deletion: false,
        }
    }
}

/// A running server. Clones share it; it stops when the last one is dropped.
#[derive(Debug, Clone)]
pub struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    ca_pem: Arc<str>,
    admin_token: Arc<str>,
    stop: CancellationToken,
    tasks: TaskTracker,
    _last: Arc<DropGuard>,
}

impl ApiServer {
    /// Binds the port and serves until stopped or dropped.
    ///
    /// # Errors
    /// When the port cannot be bound or the certificate cannot be generated.
    pub async fn start(options: ApiOptions) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await.with_context(|| {
            format!("cannot bind port {} of loopback for the sandbox API server", options.port)
        })?;
        let address = listener.local_addr().context("cannot determine the port of the sandbox API server")?;
        let identity = tls::identity()?;
        let shared = Arc::new(Shared {
            store: Store::new(options.graceful_deletion),
            tokens: tokens::Tokens::new()?,
            journal: Journal::default(),
            faults: Faults::default(),
            bookmark_every: options.bookmark_every,
            watch_timeout: options.watch_timeout,
        });
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let accepting = accept(listener, identity.acceptor, shared.clone(), stop.clone(), tasks.clone());
        tasks.spawn(accepting);
        let admin_token = Arc::from(shared.tokens.issue_admin());
        let last = Arc::new(stop.clone().drop_guard());
        Ok(Self {
            shared,
            address,
            ca_pem: Arc::from(identity.ca_pem),
            admin_token,
            stop,
            tasks,
            _last: last,
        })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The certificate of its CA, PEM.
    pub fn ca_pem(&self) -> String {
        self.ca_pem.to_string()
    }

    /// The token of the kubeconfig, which does not expire.
    pub fn admin_token(&self) -> String {
        self.admin_token.to_string()
    }

    /// A kubeconfig of the administrator, YAML.
    pub fn kubeconfig(&self) -> String {
        let (url, ca, token) = (self.url(), STANDARD.encode(self.ca_pem.as_bytes()), &self.admin_token);
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: plimsoll-sandbox\n\
             clusters:\n- name: plimsoll-sandbox\n  cluster:\n    server: {url}\n    certificate-authority-data: {ca}\n\
             users:\n- name: admin\n  user:\n    token: {token}\n\
             contexts:\n- name: plimsoll-sandbox\n  context:\n    cluster: plimsoll-sandbox\n    user: admin\n    namespace: default\n"
        )
    }

    /// A token of a service account, as in a projected volume. The default audience is the API server. A token that is bound to
    /// a pod is valid only while the store contains that pod, with that uid.
    pub fn token_for(
        &self,
        namespace: &str,
        service_account: &str,
        pod: Option<BoundPod>,
        audiences: &[&str],
        ttl: Duration,
    ) -> String {
        let audiences = audiences.iter().map(|&audience| audience.to_owned()).collect();
        let claim = tokens::Claim { namespace, account: service_account, pod, audiences, ttl };
        self.shared.tokens.issue(&self.shared.store, claim)
    }

    /// Signs tokens with a new key from now on. The former keys stay served, as in a server that is given both, or not. Tokens
    /// that were issued before stay valid for this server.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn rotate_token_keys(&self, old_stay: bool) -> anyhow::Result<()> {
        self.shared.tokens.rotate_keys(old_stay)
    }

    /// The times in new tokens are this many seconds ahead of this machine's clock, or behind it.
    pub fn set_token_clock_ahead(&self, seconds: i64) {
        self.shared.tokens.set_clock_ahead(seconds);
    }

    /// The objects of the cluster.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The requests.
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// The scripted faults.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Closes all connections and the port, even if there are other handles.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let serving = serve(stream, acceptor.clone(), shared.clone());
                let stop = stop.clone();
                tasks.spawn(async move { stop.run_until_cancelled(serving).await });
            }
            Err(error) => {
                tracing::warn!(%error, "the sandbox API server cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    // Answers are small, and clients wait for them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let stream = match acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, "a TLS handshake with the sandbox API server failed"),
    };
    let service = service_fn(move |request| http::handle(shared.clone(), request));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new());
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection to the sandbox API server was interrupted");
    }
}
