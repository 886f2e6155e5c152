//! Everything but the network: the real client, reader and authenticator on a paused clock, with an API server that is a function.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use plimsoll_contract::PodUid;
use plimsoll_process::metrics::registry;
use plimsoll_process::shutdown::Shutdown;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::signing_key_reader::SigningKeyReader;
use super::*;
use crate::core::Core;
use crate::engine::Outputs;
use crate::facts::PodFacts;
use crate::input::{Input, WatchEvent};
use crate::readiness::Readiness;
use crate::settings::Settings;

pub(super) const NOW: i64 = 1_000_000;
pub(super) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// The kubelet replaces a token of 600 s after 480 s.
const ROTATION: u64 = 480;

/// A key of an API server.
pub(super) struct Signer {
    kid: String,
    algorithm: &'static str,
    pair: EcdsaKeyPair,
}

impl Signer {
    pub(super) fn p256(kid: &str) -> Signer {
        Signer::new(kid, "ES256", &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    pub(super) fn p384(kid: &str) -> Signer {
        Signer::new(kid, "ES384", &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn new(
        kid: &str,
        algorithm: &'static str,
        signing: &'static ring::signature::EcdsaSigningAlgorithm,
    ) -> Signer {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(signing, document.as_ref(), &random).unwrap();
        Signer { kid: kid.to_owned(), algorithm, pair }
    }

    pub(super) fn jwk(&self) -> Value {
        let point = &self.pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let curve = if x.len() == 32 { "P-256" } else { "P-384" };
        json!({
            "use": "sig", "kty": "EC", "kid": self.kid, "crv": curve, "alg": self.algorithm,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let sign =
            |signed: &str| self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec();
        sign_with(&json!({"alg": self.algorithm, "kid": self.kid}), claims, sign)
    }
}

pub(super) fn sign_with(header: &Value, claims: &Value, sign: impl Fn(&str) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(&signed));
    format!("{signed}.{signature}")
}

pub(super) fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn uid(node: usize) -> String {
    format!("{node:08x}-0000-4000-8000-000000000000")
}

/// What the token of the agent on a node says that is issued at `start`.
pub(super) fn claims_of(node: usize, start: i64) -> Value {
    json!({
        "aud": ["plimsoll-aggregator"], "iss": ISSUER, "exp": start + 600, "nbf": start, "iat": start,
        "sub": "system:serviceaccount:plimsoll-agents:plimsoll-agent",
        "kubernetes.io": {
            "namespace": "plimsoll-agents", "serviceaccount": {"name": "plimsoll-agent", "uid": "s"},
            "pod": {"name": format!("agent-{node}"), "uid": uid(node)}, "node": {"name": format!("n{node}"), "uid": "n"},
        },
    })
}

/// An API server that is a function.
#[derive(Default)]
struct Api {
    /// What it answers for both paths; 200 if it is zero.
    status: u16,
    jwks: Vec<Value>,
    /// The tokens that a review confirms.
    issued: Vec<String>,
    reviews_fail: bool,
    calls: BTreeMap<String, usize>,
}

impl Api {
    fn answer(&mut self, path: &str, body: &[u8]) -> (u16, Value) {
        *self.calls.entry(path.to_owned()).or_default() += 1;
        let status = if self.status == 0 { 200 } else { self.status };
        match path {
            "/openid/v1/jwks" => (status, json!({"keys": self.jwks})),
            "/.well-known/openid-configuration" => (status, json!({"issuer": ISSUER})),
            _ if self.reviews_fail => (500, json!({})),
            _ => {
                let review: Value = serde_json::from_slice(body).unwrap();
                let token = review["spec"]["token"].as_str().unwrap();
                let status = if self.issued.iter().any(|issued| issued == token) {
                    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
                    let bound = &serde_json::from_slice::<Value>(&payload).unwrap()["kubernetes.io"];
                    let one = |value: &Value| json!([value]);
                    let extra = json!({
                        "authentication.kubernetes.io/pod-name": one(&bound["pod"]["name"]),
                        "authentication.kubernetes.io/pod-uid": one(&bound["pod"]["uid"]),
                        "authentication.kubernetes.io/node-name": one(&bound["node"]["name"]),
                    });
                    let user = json!({"username": "system:serviceaccount:plimsoll-agents:plimsoll-agent", "extra": extra});
                    json!({"authenticated": true, "audiences": ["plimsoll-aggregator"], "user": user})
                } else {
                    json!({"error": "invalid bearer token"})
                };
                (
                    201,
                    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {}, "status": status}),
                )
            }
        }
    }
}

/// An aggregator's authenticator with its reader, and the API server that they ask.
struct Harness {
    api: Arc<Mutex<Api>>,
    engine: Engine,
    authenticator: Authenticator,
    shutdown: Shutdown,
    start: Instant,
    _outputs: Outputs,
}

impl Harness {
    /// With an agent on each of `nodes` nodes.
    fn start(api: &Arc<Mutex<Api>>, nodes: usize, start: Instant) -> Harness {
        let server = Arc::clone(api);
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = Arc::clone(&server);
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let (status, answer) = server.lock().unwrap().answer(&path, &body);
                let answer = Full::new(bytes::Bytes::from(answer.to_string()));
                Ok::<_, Infallible>(Response::builder().status(status).body(answer).unwrap())
            }
        });
        let client = Client::new(service, "default");
        let (engine, outputs) = Engine::new(Core::new(Settings::default()), None);
        let agent = |node: usize| PodFacts {
            node: NodeName::new(&format!("n{node}")).ok(),
            cgroup_uid: PodUid::new(&uid(node)).ok(),
            controller: Some("DaemonSet/plimsoll-agent".into()),
            service_account: "plimsoll-agent".into(),
            ..PodFacts::bare("plimsoll-agents", &format!("agent-{node}"), &uid(node))
        };
        engine.submit(Input::Pods(WatchEvent::Listed((0..nodes).map(agent).collect())));
        engine.submit(Input::Nodes(WatchEvent::Listed(Vec::new())));
        engine.submit(Input::Namespaces(WatchEvent::Listed(Vec::new())));
        let (keys, metrics) = (SigningKeys::default(), Metrics::register(&registry()).unwrap());
        let shutdown = Shutdown::new();
        let reader = SigningKeyReader::new(client.clone(), keys.clone(), Readiness::new(), metrics.clone());
        tokio::spawn(reader.run(shutdown.clone()));
        let authenticator = Authenticator::new(client, Agents::default(), keys, metrics);
        Harness { api: Arc::clone(api), engine, authenticator, shutdown, start, _outputs: outputs }
    }

    /// Seconds since the start of the test.
    fn seconds(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_secs()).unwrap()
    }

    async fn send(&self, token: &str) -> Result<Caller, &'static str> {
        let now = Timestamp::from_second(NOW).unwrap() + SignedDuration::from_secs(self.seconds());
        let result = self.authenticator.authenticate(&self.engine, token, now).await;
        result.map_err(|rejection| rejection.as_str())
    }

    /// A token of the agent on a node, issued now.
    fn token(&self, signer: &Signer, node: usize) -> String {
        signer.sign(&claims_of(node, NOW + self.seconds()))
    }

    fn calls(&self, path: &str) -> usize {
        self.api.lock().unwrap().calls.get(path).copied().unwrap_or_default()
    }

    fn key_reads(&self) -> usize {
        self.calls("/openid/v1/jwks")
    }

    fn reviews(&self) -> usize {
        self.calls("/apis/authentication.k8s.io/v1/tokenreviews")
    }

    fn set(&self, change: impl FnOnce(&mut Api)) {
        change(&mut self.api.lock().unwrap());
    }
}

async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}

fn serving(signer: &Signer) -> Arc<Mutex<Api>> {
    Arc::new(Mutex::new(Api { jwks: vec![signer.jwk()], ..Api::default() }))
}

/// Each token is presented once, when it is new: nothing is remembered of it, so that the later reports with it are checked alike. For the
/// same reason only every 25th node presents its tokens during the hour; all of them do after the restart.
#[tokio::test(start_paused = true)]
async fn of_5000_nodes_no_token_is_refused_in_an_hour_with_a_restart_and_there_is_one_call_in_ten_minutes() {
    const NODES: usize = 5000;
    const SAMPLE: usize = 25;
    const RESTART: u64 = 1800;
    let signer = Signer::p256("k");
    let (api, start) = (serving(&signer), Instant::now());
    let mut harness = Harness::start(&api, NODES, start);
    let mut accepted = 0;
    for second in 1..3600 {
        seconds(1).await;
        if second == RESTART {
            harness.shutdown.trigger();
            harness = Harness::start(&api, NODES, start);
        }
        // All agents report within 10 s after the restart, with tokens of any age.
        let tenth = second.checked_sub(RESTART + 1).filter(|tenth| *tenth < 10);
        let returning = tenth.into_iter().flat_map(|tenth| (tenth as usize..NODES).step_by(10));
        let aged = returning.map(|node| (node, (node as u64 % ROTATION).cast_signed()));
        let rotates = |node: &usize| (second + *node as u64).is_multiple_of(ROTATION) && second != RESTART;
        let rotating = (0..NODES).step_by(SAMPLE).filter(rotates).map(|node| (node, 0));
        for (node, age) in rotating.chain(aged) {
            let token = signer.sign(&claims_of(node, NOW + harness.seconds() - age));
            assert_eq!(harness.send(&token).await.unwrap().pod, format!("agent-{node}"));
            accepted += 1;
        }
    }
    assert!(accepted > NODES + NODES / SAMPLE * 7, "{accepted}");
    // At 0, 600, 1200 and perhaps 1800 s; and at 1800, 2400 and 3000 s by the second process.
    assert!((6..=7).contains(&harness.key_reads()), "{}", harness.key_reads());
    assert_eq!(harness.calls("/.well-known/openid-configuration"), 2, "once in each process");
    assert_eq!(harness.reviews(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_keys_and_reviews_refuses_no_agent_however_long_it_lasts() {
    let signer = Signer::p256("k");
    let api = serving(&signer);
    let harness = Harness::start(&api, 20, Instant::now());
    seconds(1).await;
    harness.set(|api| (api.status, api.reviews_fail) = (500, true));
    for _ in 0..3 * 60 {
        seconds(60).await;
        for node in 0..20 {
            assert!(harness.send(&harness.token(&signer, node)).await.is_ok());
        }
    }
    assert_eq!(harness.reviews(), 0);
    assert!(harness.key_reads() < 3 * 60 * 5, "tries go on, every 15 s: {}", harness.key_reads());
}

#[tokio::test(start_paused = true)]
async fn forged_tokens_cause_no_reviews_and_unknown_keys_at_most_one_read_in_ten_seconds() {
    let (signer, other) = (Signer::p256("k"), Signer::p256("other"));
    let api = serving(&signer);
    let harness = Harness::start(&api, 2, Instant::now());
    seconds(1).await;
    let honest = harness.token(&signer, 1);
    let (unknown, bad) = (harness.token(&other, 0), harness.token(&Signer::p256("k"), 0));
    for _ in 0..60 {
        seconds(1).await;
        for _ in 0..20 {
            assert_eq!(harness.send(&unknown).await, Err("unknown_signing_key"));
            assert_eq!(harness.send(&bad).await, Err("bad_signature"));
        }
        assert!(harness.send(&honest).await.is_ok());
    }
    let reads = harness.key_reads();
    assert!((6..=8).contains(&reads), "{reads}");
    assert_eq!(harness.reviews(), 0);
}

#[tokio::test(start_paused = true)]
async fn tokens_of_a_new_key_are_accepted_as_soon_as_their_agent_comes_back_and_those_of_the_old_one_all_the_time()
 {
    let (old, new) = (Signer::p256("old"), Signer::p256("new"));
    let api = serving(&old);
    let harness = Harness::start(&api, 2, Instant::now());
    seconds(1).await;
    harness.set(|api| api.jwks = vec![new.jwk()]);
    let token = harness.token(&new, 0);
    assert_eq!(harness.send(&token).await, Err("unknown_signing_key"));
    seconds(2).await;
    assert!(harness.send(&token).await.is_ok());
    assert!(harness.send(&harness.token(&old, 1)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_serves_no_keys_reviews_each_token_once_and_a_flood_that_names_one_pod_stops_no_other()
{
    let (signer, forger) = (Signer::p256("k"), Signer::p256("k"));
    for status in [403, 404] {
        let api = serving(&signer);
        api.lock().unwrap().status = status;
        let harness = Harness::start(&api, 40, Instant::now());
        seconds(1).await;
        for node in 1..40 {
            for _ in 0..20 {
                assert_ne!(harness.send(&forger.sign(&claims_of(0, NOW))).await, Err("reviews_down"));
            }
            let token = harness.token(&signer, node);
            harness.set(|api| api.issued.push(token.clone()));
            for _ in 0..10 {
                assert!(harness.send(&token).await.is_ok());
                seconds(1).await;
            }
        }
        let (honest, flood) = (39, 39 * 10 / 5);
        assert!((honest..=honest + flood).contains(&harness.reviews()), "{}", harness.reviews());
        assert!(harness.key_reads() <= 8, "once a minute: {}", harness.key_reads());
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_confirmed_stands_while_reviews_fail_until_the_token_expires() {
    let signer = Signer::p256("k");
    let api = serving(&signer);
    api.lock().unwrap().status = 404;
    let harness = Harness::start(&api, 2, Instant::now());
    seconds(1).await;
    let token = harness.token(&signer, 0);
    harness.set(|api| api.issued.push(token.clone()));
    assert!(harness.send(&token).await.is_ok());
    harness.set(|api| api.reviews_fail = true);
    assert_eq!(harness.send(&harness.token(&signer, 1)).await, Err("reviews_down"));
    for _ in 0..14 {
        seconds(60).await;
        assert!(harness.send(&token).await.is_ok());
    }
    seconds(2 * 60).await;
    assert_eq!(harness.send(&token).await, Err("expired"), "600 s and 5 minutes after it was issued");
}

#[tokio::test(start_paused = true)]
async fn a_start_while_keys_cannot_be_read_is_got_over_with_reviews() {
    let signer = Signer::p256("k");
    let api = serving(&signer);
    api.lock().unwrap().status = 500;
    let harness = Harness::start(&api, 1, Instant::now());
    let token = harness.token(&signer, 0);
    harness.set(|api| api.issued.push(token.clone()));
    assert_eq!(harness.send(&token).await, Err("no_signing_keys"), "the first read goes on");
    seconds(1).await;
    assert!(harness.send(&token).await.is_ok());
    harness.set(|api| api.status = 0);
    seconds(15).await;
    let reviews = harness.reviews();
    assert!(harness.send(&harness.token(&signer, 0)).await.is_ok());
    assert_eq!(harness.reviews(), reviews, "by key again");
}

#[tokio::test(start_paused = true)]
async fn a_token_of_no_agent_costs_neither_a_signature_nor_a_call() {
    let signer = Signer::p256("k");
    let api = serving(&signer);
    api.lock().unwrap().status = 404;
    let harness = Harness::start(&api, 1, Instant::now());
    seconds(1).await;
    for (claim, value, reason) in [
        ("/kubernetes.io/pod/uid", json!(uid(7)), "unknown_pod"),
        ("/kubernetes.io/pod/name", json!("other"), "unknown_pod"),
        ("/kubernetes.io/node/name", json!("n2"), "elsewhere"),
        ("/sub", json!("system:serviceaccount:default:default"), "account"),
        ("/exp", json!(NOW - 1000), "expired"),
    ] {
        let mut claims = claims_of(0, NOW);
        *claims.pointer_mut(claim).unwrap() = value;
        assert_eq!(harness.send(&signer.sign(&claims)).await, Err(reason));
    }
    assert_eq!(harness.reviews(), 0);
}
