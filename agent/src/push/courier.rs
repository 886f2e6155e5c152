//! One courier serves one replica: when to send, what, and what to do with the answer.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plimsoll_contract::PodUid;
use plimsoll_contract::report::{MAX_BODY, Report};
use plimsoll_contract::roster::{Answer, Complaint};
use plimsoll_process::shutdown::Shutdown;
use tokio::sync::mpsc;
use tokio::time::{Instant as TokioInstant, sleep_until};
use tracing::Instrument;

use super::connection::{Answered, Connection, Undelivered};
use super::trust::{NotReady, Trust, authorization};
use crate::config::Delivery;
use crate::metrics::{Delivered, Metrics};
use crate::report::encode;
use crate::sweep::Shared;

/// A full report is due after so long: it is the heartbeat too.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Heartbeats are so far from even, so that the agents of a cluster do not beat together.
const JITTER: f64 = 0.1;
/// The pauses after failures double from the first to the second.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// While the CA or the token is not there yet, that is looked for as often as the CA is read.
const NOT_READY_PAUSE: Duration = Duration::from_secs(2);

/// One courier.
#[derive(Debug)]
pub(super) struct Courier {
    address: SocketAddr,
    delivery: Arc<Delivery>,
    shared: Arc<Shared>,
    metrics: Metrics,
    trust: Trust,
    connection: Option<Connection>,
    /// The newest roster version that this replica told us. Versions of another process mean nothing.
    roster_version: u64,
    /// The urgency up to which this replica has been told.
    told: u64,
    pause: Duration,
    /// Whether the last full report had to be shortened; logged when it changes.
    shortened: bool,
    /// `None`: nothing was delivered yet.
    standing: Option<Standing>,
}

/// How the last delivery ended: only a change is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    delivered: Delivered,
    /// What tells one refusal, or one missing file, from another.
    detail: u16,
}

/// Why a delivery failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    NotReady(#[from] NotReady),
    #[error(transparent)]
    Undelivered(#[from] Undelivered),
    #[error("answered {} {}", .0.status.as_u16(), .0.complaint())]
    Refused(Answered),
    #[error("the answer is not a roster: {0}")]
    BadAnswer(serde_json::Error),
    #[error("cannot write the report as JSON: {0}")]
    Encode(serde_json::Error),
}

impl Standing {
    fn after(result: &Result<(), Failure>) -> Standing {
        let (delivered, detail) = match result {
            Ok(()) => (Delivered::Accepted, 0),
            Err(Failure::NotReady(what)) => (Delivered::NotReady, what.number()),
            Err(Failure::Undelivered(Undelivered::Tls(_))) => (Delivered::Untrusted, 0),
            Err(Failure::Undelivered(Undelivered::Timeout)) => (Delivered::Timeout, 0),
            Err(Failure::Undelivered(_)) => (Delivered::Unreachable, 0),
            Err(Failure::Refused(answered)) => match answered.status.as_u16() {
                status @ (429 | 503) => (Delivered::Throttled, status),
                status => (Delivered::Refused, status),
            },
            Err(Failure::BadAnswer(_) | Failure::Encode(_)) => (Delivered::BadAnswer, 0),
        };
        Standing { delivered, detail }
    }
}

impl Courier {
    /// A courier for one address. It has not connected yet.
    pub(super) fn new(
        address: SocketAddr,
        delivery: Arc<Delivery>,
        shared: Arc<Shared>,
        metrics: Metrics,
    ) -> Courier {
        let trust = Trust::new(&delivery.ca);
        Courier {
            address,
            delivery,
            shared,
            metrics,
            trust,
            connection: None,
            roster_version: 0,
            told: 0,
            pause: SHORTEST_PAUSE,
            shortened: false,
            standing: None,
        }
    }

    /// Delivers until the shutdown, or until the address is gone. `failed` is told when a connection fails, so that
    /// the name is resolved anew.
    pub(super) async fn run(self, failed: mpsc::Sender<()>, stop: Shutdown) {
        let span = tracing::info_span!("deliver", aggregator = %self.address);
        self.deliver_on(failed, stop).instrument(span).await;
    }

    async fn deliver_on(mut self, failed: mpsc::Sender<()>, stop: Shutdown) {
        let mut urgency = self.shared.urgency.subscribe();
        let mut due = TokioInstant::now() + jitter(SHORTEST_PAUSE);
        let mut healthy = false;
        loop {
            let full = tokio::select! {
                biased;
                () = stop.triggered() => return,
                () = sleep_until(due) => true,
                // While deliveries fail, the pause stands: the next report is a full one and holds everything.
                Ok(()) = urgency.changed(), if healthy => false,
            };
            let delivered = tokio::select! {
                biased;
                () = stop.triggered() => return,
                delivered = self.deliver(full) => delivered,
            };
            healthy = delivered.is_ok();
            match delivered {
                Ok(()) if full => due = TokioInstant::now() + jitter(HEARTBEAT),
                Ok(()) => {}
                Err(failure) => {
                    due = TokioInstant::now() + self.back_off(&failure);
                    if matches!(failure, Failure::Undelivered(_)) {
                        // Full means that a look-up is due anyway.
                        let _ = failed.try_send(());
                    }
                }
            }
        }
    }

    async fn deliver(&mut self, full: bool) -> Result<(), Failure> {
        let (urgency, pods) = self.shared.urgent_since(self.told);
        if !full && pods.is_empty() {
            return Ok(());
        }
        let answered = self.send(full, &pods).await;
        let result = answered.and_then(|answer| self.take_in(answer));
        self.note(&result);
        if result.is_ok() {
            self.told = urgency;
            self.pause = SHORTEST_PAUSE;
        }
        result
    }

    async fn send(&mut self, full: bool, pods: &BTreeSet<PodUid>) -> Result<Answered, Failure> {
        let authorization = authorization(&self.delivery.token)?;
        let mut connection = self.connected().await?;
        // Built only now, with a connection at hand: what is sent is the newest there is.
        let report = match full {
            true => self.shared.full_report(self.roster_version),
            false => self.shared.partial_report(pods, self.roster_version),
        };
        let body = self.encode(report)?;
        let answered = connection.post(authorization, body).await?;
        self.connection = Some(connection);
        Ok(answered)
    }

    /// The open connection, or a new one where there is none, it was closed, or the CA has changed.
    async fn connected(&mut self) -> Result<Connection, Failure> {
        let (tls, changed) = self.trust.current(Instant::now())?;
        match self.connection.take() {
            Some(open) if !changed && !open.is_closed() => Ok(open),
            _ => Ok(Connection::open(self.address, &self.delivery, tls).await?),
        }
    }

    /// The report as JSON. A partial one need not say how a full one would do.
    fn encode(&mut self, report: Report) -> Result<Vec<u8>, Failure> {
        let (full, pods) = (report.full, report.pods.len());
        let encoded = encode(report, || self.shared.managed_pods(), MAX_BODY).map_err(Failure::Encode)?;
        let left_out = encoded.left_out;
        if full && (left_out > 0) != std::mem::replace(&mut self.shortened, left_out > 0) {
            match left_out {
                0 => tracing::info!(pods, "the report is whole again"),
                _ => tracing::warn!(
                    pods,
                    left_out,
                    most = MAX_BODY,
                    "the report would be too large, containers are left out of it; bands are not affected"
                ),
            }
        }
        Ok(encoded.body)
    }

    fn take_in(&mut self, answered: Answered) -> Result<(), Failure> {
        if !answered.status.is_success() {
            self.catch_up(&answered);
            return Err(Failure::Refused(answered));
        }
        let answer: Answer = serde_json::from_slice(&answered.body).map_err(Failure::BadAnswer)?;
        tracing::debug!(version = answer.roster_version, pods = answer.roster.len(), "roster");
        // An empty one says something too: that the pods of this report are not listed.
        self.shared.apply_roster(&answer);
        self.roster_version = answer.roster_version;
        Ok(())
    }

    /// A replica that had a newer report of this node names its number; ours go on above it.
    fn catch_up(&self, answered: &Answered) {
        let complaint = serde_json::from_slice(&answered.body).ok();
        if let Some(newest) = complaint.and_then(|complaint: Complaint| complaint.newest) {
            self.shared.go_on_from(newest);
        }
    }

    fn back_off(&mut self, failure: &Failure) -> Duration {
        let asked = match failure {
            Failure::NotReady(_) => return jitter(NOT_READY_PAUSE),
            Failure::Refused(answered) => answered.retry_after.map(|pause| pause.min(LONGEST_PAUSE)),
            Failure::Undelivered(_) | Failure::BadAnswer(_) | Failure::Encode(_) => None,
        };
        let pause = jitter(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        asked.map_or(pause, |asked| asked.max(pause))
    }

    fn note(&mut self, result: &Result<(), Failure>) {
        let standing = Standing::after(result);
        self.metrics.delivered(standing.delivered);
        if self.standing.replace(standing) == Some(standing) {
            return;
        }
        match result {
            Ok(()) => tracing::info!("reports are accepted"),
            Err(problem) => tracing::warn!(%problem, "reports are not delivered; trying on"),
        }
    }
}

/// Up to a tenth more or less.
fn jitter(span: Duration) -> Duration {
    span.mul_f64(1.0 + JITTER * (2.0 * fastrand::f64() - 1.0))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use http::StatusCode;

    use super::*;

    fn refused(status: StatusCode, complaint: &'static str) -> Standing {
        let body = complaint.into();
        Standing::after(&Err(Failure::Refused(Answered { status, retry_after: None, body })))
    }

    #[test]
    fn another_refusal_or_another_missing_file_is_news_and_another_wording_is_not() {
        let (forbidden, conflict) = (StatusCode::FORBIDDEN, StatusCode::CONFLICT);
        assert_ne!(refused(forbidden, ""), refused(conflict, ""));
        assert_eq!(refused(conflict, "seq 1 is older than 2"), refused(conflict, "seq 3 is older than 4"));
        let missing = |what| Standing::after(&Err(Failure::NotReady(what)));
        let none = || ErrorKind::NotFound.into();
        assert_ne!(
            missing(NotReady::NoCa { path: "ca".into(), source: none() }),
            missing(NotReady::NoToken { path: "token".into(), source: none() })
        );
    }
}
