//! The port for the kubelet's probes: `/livez` and `/readyz`, and nothing else. It has a thread and connections of its own, so that
//! a flood on the other ports makes no probe fail, which would restart the aggregator or take it out of its Service. For the same
//! reason the answers are made from what the engine published last; they do not wait for the core.
//!
//! The port for people answers both paths too.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use plimsoll_process::http::answer;

use crate::core::Standing;
use crate::engine::Engine;
use crate::readiness::Readiness;

/// The engine ticks every second; a process whose last tick is older than this hangs.
const MAX_TICK_AGE: Duration = Duration::from_secs(10);

/// What the answers are made from. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct Probes {
    pub(crate) engine: Engine,
    pub(crate) readiness: Readiness,
}

impl Probes {
    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return answer::method_not_allowed("GET, HEAD");
        }
        match request.uri().path() {
            "/livez" => self.livez(),
            "/readyz" => self.readyz(),
            path => answer::not_found(path),
        }
    }

    /// 200 while the engine ticks.
    pub(super) fn livez(&self) -> Response<Full<Bytes>> {
        let age = self.engine.heartbeat().age(Instant::now());
        if age <= MAX_TICK_AGE {
            return answer::text(StatusCode::OK, "ok\n");
        }
        let text = format!("the engine has not ticked for {age:?}\n");
        answer::text(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// 200 once reports can be accepted; the body says what is missing, and why nothing is written.
    pub(super) fn readyz(&self) -> Response<Full<Bytes>> {
        let Standing { synced, withheld } = self.engine.standing();
        let ready = synced && self.readiness.is_ready();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let writes = withheld.map_or("allowed".to_owned(), |why| format!("withheld ({why})"));
        answer::text(status, format!("{}writes: {writes}\n", self.readiness.text()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::engine::tests::leading;

    #[tokio::test]
    async fn probes_are_answered_while_the_core_is_busy() {
        let (engine, _outputs) = leading();
        let probes = Probes { engine: engine.clone(), readiness: Readiness::new() };
        let (sender, answers) = mpsc::channel();
        // The core is locked until the answers are there.
        engine.ask(|_, _| {
            std::thread::spawn(move || {
                sender.send([probes.livez(), probes.readyz()].map(|answer| answer.status()))
            });
            let codes = answers.recv_timeout(Duration::from_secs(10));
            assert_eq!(codes, Ok([StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE]), "no certificate yet");
        });
    }

    #[tokio::test]
    async fn readyz_says_what_the_core_decided_last() {
        let (engine, _outputs) = leading();
        let probes = Probes { engine: engine.clone(), readiness: Readiness::new() };
        let said = async || {
            let body = http_body_util::BodyExt::collect(probes.readyz().into_body()).await.unwrap();
            String::from_utf8(body.to_bytes().to_vec()).unwrap().lines().last().unwrap_or_default().to_owned()
        };
        assert_eq!(said().await, "writes: allowed");
        engine.submit(crate::input::Input::Paused(true));
        assert_eq!(said().await, "writes: withheld (paused)");
    }
}
