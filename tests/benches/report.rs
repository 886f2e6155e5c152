//! The cost of a full report on the aggregator: TLS, token, parsing, admission, planning and the answer, over loopback. The client and the
//! aggregator are one process with one thread, whose CPU time is measured; so is that of an echo of the same bytes, and of
//! parsing them.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Collected, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nix::time::{ClockId, clock_gettime};
use plimsoll_aggregator::Listeners;
use plimsoll_aggregator::config::Config;
use plimsoll_contract::{Report, keys};
use plimsoll_process::crypto::install_crypto_provider;
use plimsoll_process::http::{Limits, serve};
use plimsoll_process::metrics::{HttpMetrics, registry};
use plimsoll_process::shutdown::Shutdown;
use plimsoll_sandbox::api::{ApiOptions, ApiServer, BoundPod, Resource};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use crate::summary::Summary;

const PODS: usize = 110;
/// Of each kind, per round.
const REPORTS: usize = 10;
/// From one report to the next: the aggregator accepts 10 a second from one node.
const APART: Duration = Duration::from_millis(110);
const NODE: &str = "n1";
const SERVICE: &str = "plimsoll-aggregator.plimsoll-system.svc";

type Sender = SendRequest<Full<Bytes>>;

/// Measures and prints.
pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(rounds))
}

async fn measure(rounds: usize) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    let api = cluster().await?;
    let token = token(&api)?;
    let any = "127.0.0.1:0".parse()?;
    let listeners = Listeners::bind(any, any, any)?;
    let port = listeners.agents.local_addr()?;
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&api.kubeconfig())?;
    let config = Config::new(kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?);
    let running = tokio::spawn(plimsoll_aggregator::run(config, listeners, shutdown.clone()));
    let mut body = report(&api)?;
    let mut sender = ready(&api, port, &token, &mut body).await?;

    let listener = TcpListener::bind(any).await?;
    let mut echo = connection(TcpStream::connect(listener.local_addr()?).await?).await?;
    let counts = HttpMetrics::register(&registry(), "bench")?;
    let limits = Limits { max_body_bytes: 2 << 20, ..Limits::reports() };
    tokio::spawn(serve(listener, service_fn(echoed), None, limits, shutdown.clone(), counts));

    let forged =
        format!("{}.{}", token.rsplit_once('.').context("a token has three parts")?.0, "A".repeat(86));
    let length = body.to_string().len();
    let mut costs: [Vec<f64>; 4] = Default::default();
    // The first round is the warm-up.
    for round in 0..=rounds {
        let mut times = [Duration::ZERO; 4];
        for _ in 0..REPORTS {
            sleep(APART).await;
            body["seq"] = json!(body["seq"].as_u64().unwrap_or_default() + 1);
            let text = body.to_string();
            // A body that is not read would close the connection if it were long.
            let requests =
                [(&token, text.as_str(), StatusCode::OK), (&forged, "{}", StatusCode::UNAUTHORIZED)];
            for (index, (token, text, expected)) in requests.into_iter().enumerate() {
                let start = cpu()?;
                let status = post(&mut sender, token, text.to_owned()).await?;
                times[index] += cpu()?.saturating_sub(start);
                ensure!(status == expected, "a report was answered {status}");
            }
            let start = cpu()?;
            post(&mut echo, &token, text.clone()).await?;
            times[2] += cpu()?.saturating_sub(start);
            let start = cpu()?;
            black_box(serde_json::from_str::<Report>(&text)?);
            times[3] += cpu()?.saturating_sub(start);
        }
        for (costs, time) in costs.iter_mut().zip(times).filter(|_| round > 0) {
            costs.push(time.as_secs_f64() * 1e6 / REPORTS as f64);
        }
    }
    shutdown.trigger();
    running.await??;

    println!(
        "\n4. A report on the aggregator: {PODS} pods, {} KiB, {rounds} rounds of {REPORTS}; CPU of client and server\n",
        length >> 10
    );
    let names = [
        "accepted, over TLS, us",
        "refused: a forged signature, over TLS, us",
        "echo of the same bytes, plain, us",
        "parsing the same JSON, us",
    ];
    for (name, costs) in names.iter().zip(&costs) {
        println!("   {name:<42} {}", text(costs, 0));
    }
    let ratio = |to: usize| costs[0].iter().zip(&costs[to]).map(|(a, b)| a / b).collect::<Vec<_>>();
    println!("   accepted / echo                            {}", text(&ratio(2), 1));
    println!("   accepted / parsing                         {}", text(&ratio(3), 1));
    Ok(())
}

fn text(values: &[f64], digits: usize) -> String {
    Summary::of(values.iter().copied()).map_or("-".into(), |summary| summary.text(digits))
}

fn cpu() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from)?)
}

async fn echoed(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    Ok(Response::new(Full::new(body)))
}

/// The objects that the manifests ship, and a node with its agent and pods.
async fn cluster() -> anyhow::Result<ApiServer> {
    let api = ApiServer::start(ApiOptions::default()).await?;
    let create = |resource: &Resource, object: Value| api.store().create(resource, object).map(drop);
    for name in [keys::SYSTEM_NAMESPACE, keys::AGENT_NAMESPACE, "bench"] {
        create(&Resource::NAMESPACES, json!({"metadata": {"name": name}}))?;
    }
    create(&Resource::NODES, json!({"metadata": {"name": NODE}}))?;
    let (system, agents) = (keys::SYSTEM_NAMESPACE, keys::AGENT_NAMESPACE);
    for (resource, namespace, name) in [
        (Resource::SERVICE_ACCOUNTS, agents, keys::AGENT_ACCOUNT),
        (Resource::SECRETS, system, keys::AGGREGATOR),
        (Resource::CONFIG_MAPS, agents, keys::CA_CONFIG_MAP),
        (Resource::CONFIG_MAPS, system, keys::CONTROL_CONFIG_MAP),
        (Resource::LEASES, system, keys::AGGREGATOR),
    ] {
        create(&resource, json!({"metadata": {"namespace": namespace, "name": name}}))?;
    }
    let pod = |namespace: &str, name: &str| {
        json!({
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"nodeName": NODE, "containers": [{"name": "app", "image": "app:1"}]},
            "status": {"phase": "Running"},
        })
    };
    let mut agent = pod(agents, "agent");
    agent["spec"]["serviceAccountName"] = json!(keys::AGENT_ACCOUNT);
    agent["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "DaemonSet", "name": keys::AGENT_DAEMON_SET, "uid": "d", "controller": true,
    }]);
    create(&Resource::PODS, agent)?;
    for number in 0..PODS {
        create(&Resource::PODS, pod("bench", &format!("web-{number}")))?;
    }
    Ok(api)
}

fn uid(api: &ApiServer, namespace: &str, name: &str) -> anyhow::Result<String> {
    let pod = api.store().get(&Resource::PODS, namespace, name)?;
    pod["metadata"]["uid"].as_str().map(str::to_owned).context("a pod has a uid")
}

fn token(api: &ApiServer) -> anyhow::Result<String> {
    let uid = uid(api, keys::AGENT_NAMESPACE, "agent")?;
    let pod = BoundPod { name: "agent".to_owned(), uid, node: NODE.to_owned() };
    let lifetime = Duration::from_secs(3600);
    Ok(api.token_for(
        keys::AGENT_NAMESPACE,
        keys::AGENT_ACCOUNT,
        Some(pod),
        &[keys::TOKEN_AUDIENCE],
        lifetime,
    ))
}

/// A full report, as the agent makes it, of the same loads again and again: nothing is written because of it.
fn report(api: &ApiServer) -> anyhow::Result<Value> {
    let mut pods = Vec::new();
    for number in 0..PODS {
        pods.push(json!({
            "uid": uid(api, "bench", &format!("web-{number}"))?,
            "cpu": {"band": "low", "basis": "node", "utilization": 0.0125, "cores": 0.05, "of": 4.0},
            "memory": {"band": "low", "basis": "node", "utilization": 0.01, "bytes": 80 << 20, "of": 8_u64 << 30},
            "containers": [{
                "id": format!("{number:064x}"),
                "cpu": {"cores": 0.05, "throttled": 0.0, "pressure": 0.1, "p95": 0.06, "peak": 0.08},
                "memory": {"workingSet": 80 << 20, "unreclaimable": 60 << 20, "pressure": 0.0, "peak": 90 << 20,
                           "events": {"high": 0, "max": 0, "oomKill": 0}},
                "limitsAge": 3.0, "window": 60.0,
            }],
        }));
    }
    Ok(json!({
        "version": 3, "node": NODE, "boot": "6f1f4c5e-0000-4000-8000-000000000001", "seq": 1, "full": true,
        "rosterVersion": 0, "capacity": {"cores": 4.0, "bytes": 8_u64 << 30}, "pods": pods,
    }))
}

/// A connection on which reports are accepted, with the roster received and the labels written.
async fn ready(
    api: &ApiServer,
    port: std::net::SocketAddr,
    token: &str,
    body: &mut Value,
) -> anyhow::Result<Sender> {
    for _ in 0..400 {
        sleep(Duration::from_millis(50)).await;
        let map = api.store().get(&Resource::CONFIG_MAPS, keys::AGENT_NAMESPACE, keys::CA_CONFIG_MAP)?;
        let Some(bundle) = map["data"]["ca.crt"].as_str() else { continue };
        let mut sender = tls(port, bundle).await?;
        body["seq"] = json!(body["seq"].as_u64().unwrap_or_default() + 1);
        let (status, answer) = exchange(&mut sender, token, body.to_string()).await?;
        let labeled = api.store().get(&Resource::PODS, "bench", &format!("web-{}", PODS - 1))?;
        if status == StatusCode::OK && !labeled["metadata"]["labels"][keys::CPU_BAND].is_null() {
            let answer: Value = serde_json::from_slice(&answer)?;
            body["rosterVersion"] = answer["rosterVersion"].clone();
            return Ok(sender);
        }
    }
    anyhow::bail!("the aggregator did not accept reports and write labels within 20 s")
}

async fn tls(port: std::net::SocketAddr, bundle: &str) -> anyhow::Result<Sender> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(port).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(SERVICE)?;
    connection(TlsConnector::from(Arc::new(config)).connect(name, stream).await?).await
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> anyhow::Result<Sender> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn post(sender: &mut Sender, token: &str, body: String) -> anyhow::Result<StatusCode> {
    Ok(exchange(sender, token, body).await?.0)
}

async fn exchange(sender: &mut Sender, token: &str, body: String) -> anyhow::Result<(StatusCode, Bytes)> {
    let request = Request::post("/v1/reports")
        .header("host", SERVICE)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"));
    sender.ready().await?;
    let response = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}
