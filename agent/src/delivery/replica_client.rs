//! The client of one replica: when to send a report, which one, and how to process the answer.

use std::collections::BTreeSet;
use std::mem::{Discriminant, discriminant};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use plimsoll_contract::PodUid;
use plimsoll_contract::rejection::RejectionBody;
use plimsoll_contract::report::{MAX_BODY, Report};
use plimsoll_contract::roster::Answer;
use tokio::sync::mpsc;
use tokio::time::{Instant as TokioInstant, sleep_until};
use tracing::Instrument;

use super::connection::{Connection, ConnectionError, HttpAnswer};
use super::credentials::{Ca, CredentialError, authorization};
use crate::config::Delivery;
use crate::metrics::{DeliveryResult, Metrics};
use crate::report::encode;
use crate::shared::{RosterPosition, Shared};
use crate::state::{AcceptedEvents, ReportedEvents};

/// Interval of full reports; they are also the heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Pauses are up to this share longer or shorter, so that the agents of a cluster do not report in step.
const JITTER: f64 = 0.1;
/// After failures the pause doubles from the first to the second.
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Pause while the CA or the token is missing: the interval at which the CA file is read.
const CREDENTIALS_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct ReplicaClient {
    address: SocketAddr,
    delivery: Arc<Delivery>,
    shared: Arc<Shared>,
    metrics: Metrics,
    ca: Ca,
    connection: Option<Connection>,
    /// What the last answer of this replica brought the roster to.
    roster: RosterPosition,
    /// The memory events that this replica has accepted.
    accepted_events: AcceptedEvents,
    /// The `urgency_seq` up to which urgent pods were reported to this replica.
    reported_urgency: u64,
    pause: Duration,
    /// Whether the last full report had to be shortened; logged when it changes.
    shortened: bool,
    /// Of the last delivery; only a change is logged.
    logged: Option<LoggedResult>,
}

/// A report that was sent, and the memory events that were found for it.
#[derive(Debug)]
struct SentReport {
    report: Report,
    events: Vec<ReportedEvents>,
}

/// Why a delivery failed.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("answered {} {}", .0.status.as_u16(), .0.excerpt())]
    Rejected(HttpAnswer),
    #[error("the answer is not a roster: {0}")]
    InvalidAnswer(serde_json::Error),
    #[error("cannot write the report as JSON: {0}")]
    Encode(serde_json::Error),
}

/// The result of a delivery, and what distinguishes it from others with the same result.
type LoggedResult = (DeliveryResult, Option<Discriminant<CredentialError>>, Option<StatusCode>);

fn logged(result: &Result<(), DeliveryError>) -> LoggedResult {
    let simple = |result| (result, None, None);
    match result {
        Ok(()) => simple(DeliveryResult::Accepted),
        Err(DeliveryError::Credentials(error)) => (DeliveryResult::NotReady, Some(discriminant(error)), None),
        Err(DeliveryError::Connection(ConnectionError::Tls(_))) => simple(DeliveryResult::Untrusted),
        Err(DeliveryError::Connection(ConnectionError::Timeout)) => simple(DeliveryResult::Timeout),
        Err(DeliveryError::Connection(_)) => simple(DeliveryResult::Unreachable),
        Err(DeliveryError::Rejected(answer)) => {
            let result = match answer.status {
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => DeliveryResult::Throttled,
                _ => DeliveryResult::Rejected,
            };
            (result, None, Some(answer.status))
        }
        Err(DeliveryError::InvalidAnswer(_) | DeliveryError::Encode(_)) => simple(DeliveryResult::BadAnswer),
    }
}

impl ReplicaClient {
    /// A client that has not connected yet.
    pub(super) fn new(
        address: SocketAddr,
        delivery: Arc<Delivery>,
        shared: Arc<Shared>,
        metrics: Metrics,
    ) -> ReplicaClient {
        let ca = Ca::new(&delivery.ca);
        let accepted_events = shared.accepted_events();
        ReplicaClient {
            address,
            delivery,
            shared,
            metrics,
            ca,
            connection: None,
            roster: RosterPosition::default(),
            accepted_events,
            reported_urgency: 0,
            pause: MIN_PAUSE,
            shortened: false,
            logged: None,
        }
    }

    /// Delivers until it is aborted. `failed` is notified when a connection fails, so that the name is resolved again.
    pub(super) async fn run(self, failed: mpsc::Sender<()>) {
        let span = tracing::info_span!("deliver", aggregator = %self.address);
        self.deliver_all(failed).instrument(span).await;
    }

    async fn deliver_all(mut self, failed: mpsc::Sender<()>) {
        let mut urgency = self.shared.urgency.subscribe();
        let mut due = TokioInstant::now() + jitter(MIN_PAUSE);
        let mut healthy = false;
        loop {
            let full = tokio::select! {
                biased;
                () = sleep_until(due) => true,
                // while deliveries fail, the pause is kept: the next report is a full one and contains everything
                Ok(()) = urgency.changed(), if healthy => false,
            };
            let delivered = self.deliver(full).await;
            healthy = delivered.is_ok();
            match delivered {
                Ok(()) if full => due = TokioInstant::now() + jitter(HEARTBEAT),
                Ok(()) => {}
                Err(error) => {
                    due = TokioInstant::now() + self.back_off(&error);
                    if matches!(error, DeliveryError::Connection(_)) {
                        // if the channel is full, a lookup is due anyway
                        let _ = failed.try_send(());
                    }
                }
            }
        }
    }

    async fn deliver(&mut self, full: bool) -> Result<(), DeliveryError> {
        let (urgency, pods) = self.shared.urgent_since(self.reported_urgency);
        if !full && pods.is_empty() {
            return Ok(());
        }
        let sent = self.send((!full).then_some(&pods)).await;
        let result = sent.and_then(|(answer, sent)| self.process(answer, &sent));
        self.record(&result);
        if result.is_ok() {
            self.reported_urgency = urgency;
            self.pause = MIN_PAUSE;
        }
        result
    }

    /// Sends a report of these pods, or of every pod.
    async fn send(
        &mut self,
        pods: Option<&BTreeSet<PodUid>>,
    ) -> Result<(HttpAnswer, SentReport), DeliveryError> {
        let authorization = authorization(&self.delivery.token)?;
        // a new connection where there is none, it was closed, or the CA has changed
        let (tls, changed) = self.ca.current(Instant::now())?;
        let mut connection = match self.connection.take() {
            Some(open) if !changed && !open.is_closed() => open,
            _ => Connection::open(self.address, &self.delivery, tls).await?,
        };
        // built only now, when it can be sent: it is the newest there is
        let (report, events) = self.shared.report(pods, &self.roster, &self.accepted_events);
        let (body, report) = self.encode(report)?;
        let answer = connection.post(authorization, body).await?;
        self.connection = Some(connection);
        Ok((answer, SentReport { report, events }))
    }

    /// The report as JSON, and what it says. Logs when full reports begin or cease to be shortened.
    fn encode(&mut self, report: Report) -> Result<(Vec<u8>, Report), DeliveryError> {
        let (full, pods) = (report.full, report.pods.len());
        let encoded =
            encode(report, || self.shared.managed_pods(), MAX_BODY).map_err(DeliveryError::Encode)?;
        let left_out = encoded.left_out;
        if full && (left_out > 0) != std::mem::replace(&mut self.shortened, left_out > 0) {
            match left_out {
                0 => tracing::info!(pods, "the report is complete again"),
                _ => tracing::warn!(
                    pods,
                    left_out,
                    max_bytes = MAX_BODY,
                    "the report would be too large: containers are left out of it; bands are not affected"
                ),
            }
        }
        Ok((encoded.body, encoded.report))
    }

    fn process(&mut self, answer: HttpAnswer, sent: &SentReport) -> Result<(), DeliveryError> {
        if !answer.status.is_success() {
            if let Ok(rejection) = serde_json::from_slice::<RejectionBody>(&answer.body) {
                self.correct_seq(&rejection);
            }
            return Err(DeliveryError::Rejected(answer));
        }
        let answer: Answer = serde_json::from_slice(&answer.body).map_err(DeliveryError::InvalidAnswer)?;
        tracing::debug!(version = answer.roster_version, pods = answer.roster.len(), "roster");
        let rejected = answer.rejected.iter().map(|pod| &pod.uid).collect();
        self.accepted_events.accept(&sent.report, &sent.events, &rejected);
        self.shared.accept_events(&sent.report, &sent.events, &rejected);
        // an empty one is information too: the pods of this report are not listed
        self.shared.apply_roster(&answer);
        self.roster = RosterPosition::after(&answer);
        Ok(())
    }

    /// A replica that has a newer report of this node, or to whose clock this sequence number is far in the future, names the number to
    /// continue from.
    fn correct_seq(&self, rejection: &RejectionBody) {
        if let Some(from) = rejection.continue_from {
            self.shared.lower_seq_to(from);
        }
        if let Some(newest) = rejection.newest {
            self.shared.raise_seq_above(newest);
        }
    }

    fn back_off(&mut self, error: &DeliveryError) -> Duration {
        let requested = match error {
            DeliveryError::Credentials(_) => return jitter(CREDENTIALS_PAUSE),
            DeliveryError::Rejected(answer) => answer.retry_after.unwrap_or_default().min(MAX_PAUSE),
            _ => Duration::ZERO,
        };
        let pause = jitter(self.pause);
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        requested.max(pause)
    }

    fn record(&mut self, result: &Result<(), DeliveryError>) {
        let logged = logged(result);
        self.metrics.record_delivery(logged.0);
        if self.logged == Some(logged) {
            return;
        }
        self.logged = Some(logged);
        match result {
            Ok(()) => tracing::info!("reports are accepted"),
            Err(problem) => tracing::warn!(%problem, "reports are not delivered; retrying"),
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

    use super::*;

    fn rejected(status: StatusCode, body: &'static str) -> LoggedResult {
        let answer = HttpAnswer { status, retry_after: None, body: body.into() };
        logged(&Err(DeliveryError::Rejected(answer)))
    }

    #[test]
    fn another_status_or_another_missing_file_is_logged_and_another_wording_is_not() {
        let (forbidden, conflict) = (StatusCode::FORBIDDEN, StatusCode::CONFLICT);
        assert_ne!(rejected(forbidden, ""), rejected(conflict, ""));
        assert_eq!(rejected(conflict, "seq 1 is older than 2"), rejected(conflict, "seq 3 is older than 4"));
        let missing = |error| logged(&Err(DeliveryError::Credentials(error)));
        let none = || ErrorKind::NotFound.into();
        assert_ne!(
            missing(CredentialError::NoCa { path: "ca".into(), source: none() }),
            missing(CredentialError::NoToken { path: "token".into(), source: none() })
        );
    }
}
