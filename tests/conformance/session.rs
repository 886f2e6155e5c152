//! Plays the script with an API server. Changes only the objects that the script names, and its own namespaces, which it removes.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use http::{Request, header};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::AuthInfo;
use kube::{Client, Config};
use plimsoll_contract::keys;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::normal::{Answer, look, normal};
use super::recorded::Answers;
use super::script::{Part, Script, Step, fill};

/// Longest wait for an answer or a change: pods start and end slowly on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Plays all parts concurrently; those that need a node only if one is Ready.
///
/// # Errors
/// When the server cannot be reached, or the objects of a part cannot be removed.
pub async fn play(mut config: Config, script: &Script) -> anyhow::Result<Answers> {
    config.default_retry = false;
    let mut anonymous = config.clone();
    anonymous.auth_info = AuthInfo::default();
    let session = Session { admin: Client::try_from(config)?, anonymous: Client::try_from(anonymous)? };
    let node = session.ready_node().await?;
    let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut playing = JoinSet::new();
    for (name, part) in script.0.iter().filter(|(_, part)| node.is_some() || !part.needs_node) {
        let namespace = format!("conformance-{name}-{stamp}");
        let mut values = BTreeMap::from([
            ("core".to_owned(), format!("/api/v1/namespaces/{namespace}")),
            ("ns".to_owned(), namespace),
            ("node".to_owned(), node.clone().unwrap_or_default()),
            ("uid-of-nobody".to_owned(), "00000000-0000-4000-8000-000000000000".to_owned()),
        ]);
        let (name, part, session) = (name.clone(), part.clone(), session.clone());
        playing.spawn(async move {
            let played = session.part(&part, &mut values).await;
            let removed = session.remove(&part, &values).await;
            let played = played.with_context(|| format!("playing {name}"))?;
            removed.with_context(|| format!("removing the objects of {name}"))?;
            Ok::<_, anyhow::Error>((name, played))
        });
    }
    // wait for all of them, so that each removes its objects
    let played: anyhow::Result<_> = playing.join_all().await.into_iter().collect();
    Ok(Answers(played?))
}

#[derive(Clone)]
struct Session {
    admin: Client,
    anonymous: Client,
}

impl Session {
    async fn part(
        &self,
        part: &Part,
        values: &mut BTreeMap<String, String>,
    ) -> anyhow::Result<BTreeMap<String, Value>> {
        // an aggregator in the same cluster must not write to its pods
        let labels = json!({keys::IGNORE: "true"});
        let namespace = json!({"metadata": {"name": values["ns"], "labels": labels}});
        self.send("POST", "/api/v1/namespaces", Some(namespace)).await?;
        let account = format!("/api/v1/namespaces/{}/serviceaccounts/default", values["ns"]);
        self.until(&account, 200).await?;
        let mut answers = BTreeMap::new();
        for step in &part.steps {
            let answer = match self.step(step, values).await {
                Ok(answer) => answer,
                // The other steps are played too.
                Err(error) => {
                    answers.insert(step.id.clone(), json!({"unanswered": format!("{error:#}")}));
                    continue;
                }
            };
            for (name, pointer) in &step.save {
                if let Some(value) = answer.body.pointer(pointer).and_then(Value::as_str) {
                    values.insert(name.clone(), value.to_owned());
                }
            }
            answers.insert(step.id.clone(), normal(step, &answer, values));
        }
        Ok(answers)
    }

    async fn remove(&self, part: &Part, values: &BTreeMap<String, String>) -> anyhow::Result<()> {
        let own = format!("/api/v1/namespaces/{}", values["ns"]);
        for path in part.leaves.iter().chain([&own]) {
            let path = fill(path, values)?;
            self.send("DELETE", &path, None).await?;
            self.until(&path, 404).await?;
        }
        Ok(())
    }

    async fn step(&self, step: &Step, values: &BTreeMap<String, String>) -> anyhow::Result<Answer> {
        let begun = Instant::now();
        loop {
            let answer = self.request(step, values).await?;
            let is_so = |(pointer, want): (&String, &Value)| match pointer.as_str() {
                "code" => json!(answer.code) == *want,
                pointer => look(&answer.body, pointer) == *want,
            };
            if step.until.iter().all(is_so) {
                return Ok(answer);
            }
            ensure!(begun.elapsed() < PATIENCE, "still not {:?}: {answer:?}", step.until);
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn request(&self, step: &Step, values: &BTreeMap<String, String>) -> anyhow::Result<Answer> {
        let send = fill(&step.send, values)?;
        let (method, path) = send.split_once(' ').context("`send` is a method and a path")?;
        let body = match (&step.raw, &step.body) {
            (Some(raw), _) => raw.clone().into_bytes(),
            (None, Some(body)) => fill(&body.to_string(), values)?.into_bytes(),
            (None, None) => Vec::new(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::USER_AGENT, "conformance/1")
            .header(header::ACCEPT, step.accept.as_deref().unwrap_or("application/json"));
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, step.content_type());
        }
        let mut client = &self.admin;
        if let Some(token) = &step.r#as {
            client = &self.anonymous;
            let token = fill(token, values)?;
            if !token.is_empty() {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
        }
        let sent = exchange(client, request.body(Body::from(body))?, step.events);
        timeout(PATIENCE, sent).await.with_context(|| format!("no answer to {send}"))?
    }

    async fn send(&self, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<Answer> {
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request =
            Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        exchange(&self.admin, request.body(Body::from(bytes))?, None).await
    }

    /// Waits until a GET has this status.
    async fn until(&self, path: &str, code: u16) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.send("GET", path, None).await?.code != code {
            ensure!(begun.elapsed() < PATIENCE, "GET {path} is still not answered with {code}");
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn ready_node(&self) -> anyhow::Result<Option<String>> {
        let nodes = self.send("GET", "/api/v1/nodes", None).await?.body;
        let is_ready = |node: &&Value| {
            let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
            conditions.into_iter().any(|it| it["type"] == "Ready" && it["status"] == "True")
        };
        let ready = nodes["items"].as_array().into_iter().flatten().find(is_ready);
        Ok(ready.and_then(|node| node["metadata"]["name"].as_str()).map(str::to_owned))
    }
}

async fn exchange(client: &Client, request: Request<Body>, events: Option<usize>) -> anyhow::Result<Answer> {
    let response = client.send(request).await.context("sending")?;
    let code = response.status().as_u16();
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().to_owned();
    let mut body = response.into_body();
    let watched = events.filter(|_| code == 200);
    let mut bytes = Vec::new();
    let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
    while watched.is_none_or(|most| lines(&bytes) < most) {
        let Some(frame) = body.frame().await else { break };
        bytes.extend_from_slice(&frame.context("reading the answer")?.into_data().unwrap_or_default());
    }
    let text = String::from_utf8_lossy(&bytes);
    let whole = serde_json::from_str::<Value>(&text).ok();
    let body = match (watched, whole) {
        (None, whole) => whole.unwrap_or_else(|| json!(text)),
        // a watch that was answered with an object
        (Some(_), Some(whole)) if whole.get("type").is_none() => whole,
        (Some(most), _) => {
            text.lines().take(most).map(serde_json::from_str::<Value>).collect::<Result<_, _>>()?
        }
    };
    Ok(Answer { code, content_type, body })
}
