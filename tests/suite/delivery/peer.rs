//! Servers in place of the aggregator: with any certificate and any answers, or without TLS.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use plimsoll_contract::Report;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// The answers, by the number of the request.
pub(super) type Answers = fn(usize) -> Response<Full<Bytes>>;

/// A received request.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) at: Instant,
    pub(super) authorization: String,
    pub(super) report: Report,
}

#[derive(Debug, Default)]
struct Seen {
    requests: Vec<Received>,
    handshakes: usize,
    failed: usize,
    bytes: Vec<u8>,
}

/// A server that runs until it is dropped.
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// The CA of its certificate, PEM.
    pub(super) ca: String,
    seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

impl Peer {
    /// A server with a certificate for `name`.
    pub(super) async fn tls(name: &str, answers: Answers) -> Peer {
        let (ca, acceptor) = identity(name);
        Peer::run(ca, move |stream, seen| serve(acceptor.clone(), stream, seen, answers)).await
    }

    /// A server that reads and never answers.
    pub(super) async fn silent() -> Peer {
        Peer::run(identity("localhost").0, listen).await
    }

    async fn run<F>(ca: String, serve: impl Fn(TcpStream, Arc<Mutex<Seen>>) -> F + Send + 'static) -> Peer
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let shared = seen.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, shared.clone()));
            }
        });
        Peer { address, ca, seen, _tasks: tasks }
    }

    /// The requests so far.
    pub(super) fn requests(&self) -> Vec<Received> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// Handshakes that succeeded, and that failed.
    pub(super) fn handshakes(&self) -> (usize, usize) {
        let seen = self.seen.lock().unwrap();
        (seen.handshakes, seen.failed)
    }

    /// The bytes that a silent server received.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap().bytes.clone()
    }
}

fn identity(name: &str) -> (String, TlsAcceptor) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    (pem, TlsAcceptor::from(Arc::new(config)))
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, seen: Arc<Mutex<Seen>>, answers: Answers) {
    let Ok(stream) = acceptor.accept(stream).await else {
        seen.lock().unwrap().failed += 1;
        return;
    };
    seen.lock().unwrap().handshakes += 1;
    let service = service_fn(move |request| answer(request, seen.clone(), answers));
    // The agent decides how the connection ends.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Seen>>,
    answers: Answers,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let authorization = request.headers()["authorization"].to_str().unwrap().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let report = serde_json::from_slice(&body).unwrap();
    let mut seen = seen.lock().unwrap();
    seen.requests.push(Received { at: Instant::now(), authorization, report });
    Ok(answers(seen.requests.len() - 1))
}

async fn listen(mut stream: TcpStream, seen: Arc<Mutex<Seen>>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        seen.lock().unwrap().bytes.extend_from_slice(&buffer[..count]);
    }
}
