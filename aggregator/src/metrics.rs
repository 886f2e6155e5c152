//! The aggregator's metrics, all under `plimsoll_aggregator_`. Label values come from closed lists.
//!
//! Counters are incremented where things happen; gauges of the cluster are computed by the core at scrape time ([`CoreCollector`]), so
//! that they always agree with what it decides with.

use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::status::Withheld;
use plimsoll_contract::{Band, Resource};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::core::{Core, Gauges};
use crate::engine::Engine;
use crate::plan::queue::Order;
use crate::readiness::Part;
use crate::rejection::Rejection;

/// Write outcomes.
const OUTCOMES: [&str; 6] = ["written", "conflict", "gone", "throttled", "failed", "timeout"];
const WATCHED: [Part; 4] = [Part::Pods, Part::Nodes, Part::Namespaces, Part::Control];

/// Whether a token was accepted, and because of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenResult {
    /// One of the API server's keys signed it.
    Verified,
    /// The API server confirmed it, now or before.
    Reviewed,
    /// It was not accepted.
    Refused,
}

impl TokenResult {
    const ALL: [TokenResult; 3] = [TokenResult::Verified, TokenResult::Reviewed, TokenResult::Refused];

    fn as_str(self) -> &'static str {
        match self {
            TokenResult::Verified => "verified",
            TokenResult::Reviewed => "reviewed",
            TokenResult::Refused => "refused",
        }
    }
}

/// The result of a TokenReview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReviewResult {
    /// The API server confirmed the token.
    Accepted,
    /// The API server did not confirm it.
    Refused,
    /// The API server did not answer.
    Failed,
    /// Not asked: the rate is exhausted.
    Limited,
}

impl ReviewResult {
    const ALL: [ReviewResult; 4] =
        [ReviewResult::Accepted, ReviewResult::Refused, ReviewResult::Failed, ReviewResult::Limited];

    fn as_str(self) -> &'static str {
        match self {
            ReviewResult::Accepted => "accepted",
            ReviewResult::Refused => "refused",
            ReviewResult::Failed => "failed",
            ReviewResult::Limited => "limited",
        }
    }
}

/// The counters. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    reports: IntCounterVec,
    rejections: IntCounterVec,
    tokens: IntCounterVec,
    reviews: IntCounterVec,
    signing_key_reads: IntCounterVec,
    writes: IntCounterVec,
    write_seconds: Histogram,
    events: IntCounterVec,
    watch_restarts: IntCounterVec,
    watch_failures: IntCounterVec,
    unreadable: IntGaugeVec,
    certificate: IntGauge,
}

fn name(noun: &str) -> String {
    format!("plimsoll_aggregator_{noun}")
}

impl Metrics {
    /// Registers everything; every series exists from the start, at zero.
    ///
    /// # Errors
    /// If a name is already registered.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Metrics> {
        let counters = |noun: &str, help: &str, label: &str, values: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name(noun), help), &[label])?;
            for value in values {
                counters.with_label_values(&[value]).inc_by(0);
            }
            registered(registry, counters)
        };
        let tokens = TokenResult::ALL.map(TokenResult::as_str);
        let results = ReviewResult::ALL.map(ReviewResult::as_str);
        let watched = WATCHED.map(Part::as_str);
        let seconds = HistogramOpts::new(name("write_seconds"), "Time from sending a write to its outcome.")
            .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0]);
        let unreadable = Opts::new(
            name("unreadable_objects"),
            "Objects that cannot be read: nothing is known of them. The log and an Event name each.",
        );
        let unreadable = registered(registry, IntGaugeVec::new(unreadable, &["resource"])?)?;
        for value in watched {
            unreadable.with_label_values(&[value]).set(0);
        }
        let certificate = Opts::new(
            name("tls_cert_not_after_seconds"),
            "When the certificate expires, in seconds since the epoch; 0 before there is one.",
        );
        Ok(Metrics {
            reports: counters("reports_total", "Reports, by result.", "result", &["accepted", "refused"])?,
            rejections: counters(
                "refusals_total",
                "Reports rejected, by reason.",
                "reason",
                &Rejection::WORDS,
            )?,
            tokens: counters("tokens_total", "Tokens checked, by result.", "result", &tokens)?,
            reviews: counters("reviews_total", "TokenReviews, by result.", "result", &results)?,
            signing_key_reads: counters(
                "signing_key_reads_total",
                "Reads of the API server's keys, by result.",
                "result",
                &["succeeded", "failed"],
            )?,
            writes: counters("writes_total", "Writes to pods, by outcome.", "outcome", &OUTCOMES)?,
            write_seconds: registered(registry, Histogram::with_opts(seconds)?)?,
            events: counters("events_total", "Events, by result.", "result", &["published", "failed"])?,
            watch_restarts: counters("watch_restarts_total", "Lists after the first.", "resource", &watched)?,
            watch_failures: counters(
                "watch_failures_total",
                "Lists and watches that failed.",
                "resource",
                &watched,
            )?,
            unreadable,
            certificate: registered(registry, IntGauge::with_opts(certificate)?)?,
        })
    }

    /// A report was accepted.
    pub(crate) fn accepted(&self) {
        self.reports.with_label_values(&["accepted"]).inc();
    }

    /// A report was rejected; `reason` is one of [`Rejection::WORDS`].
    pub(crate) fn rejected(&self, reason: &'static str) {
        self.reports.with_label_values(&["refused"]).inc();
        self.rejections.with_label_values(&[reason]).inc();
    }

    /// A token was checked.
    pub(crate) fn token(&self, result: TokenResult) {
        self.tokens.with_label_values(&[result.as_str()]).inc();
    }

    /// The API server's keys were read, or not.
    pub(crate) fn signing_keys_read(&self, succeeded: bool) {
        self.signing_key_reads.with_label_values(&[if succeeded { "succeeded" } else { "failed" }]).inc();
    }

    /// A token was to be reviewed.
    pub(crate) fn review(&self, result: ReviewResult) {
        self.reviews.with_label_values(&[result.as_str()]).inc();
    }

    /// A write has its outcome.
    pub(crate) fn write(&self, outcome: &'static str, took: Duration) {
        self.writes.with_label_values(&[outcome]).inc();
        self.write_seconds.observe(took.as_secs_f64());
    }

    /// An Event was published, or not.
    pub(crate) fn event(&self, published: bool) {
        self.events.with_label_values(&[if published { "published" } else { "failed" }]).inc();
    }

    /// A watch was lost and its objects are listed again.
    pub(crate) fn watch_restarted(&self, part: Part) {
        self.watch_restarts.with_label_values(&[part.as_str()]).inc();
    }

    /// A list or a watch failed.
    pub(crate) fn watch_failed(&self, part: Part) {
        self.watch_failures.with_label_values(&[part.as_str()]).inc();
    }

    /// How many objects cannot be read now.
    pub(crate) fn unreadable(&self, part: Part, count: usize) {
        self.unreadable.with_label_values(&[part.as_str()]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A certificate was loaded.
    pub(crate) fn certificate(&self, not_after: Timestamp) {
        self.certificate.set(not_after.as_second());
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// The gauges that the core computes at scrape time.
#[derive(Debug)]
pub(crate) struct CoreCollector {
    engine: Engine,
    pods: GaugeVec,
    nodes: GaugeVec,
    withheld: GaugeVec,
    pending: GaugeVec,
    backing_off: GaugeVec,
    plain: [Gauge; 6],
}

impl CoreCollector {
    /// Of one engine.
    ///
    /// # Errors
    /// Never: the names are constants.
    pub(crate) fn new(engine: Engine) -> prometheus::Result<CoreCollector> {
        let vector =
            |noun: &str, help: &str, labels: &[&str]| GaugeVec::new(Opts::new(name(noun), help), labels);
        let plain = |noun: &str, help: &str| Gauge::with_opts(Opts::new(name(noun), help));
        Ok(CoreCollector {
            engine,
            pods: vector("pods", "Pods by the band of a resource.", &["resource", "band"])?,
            nodes: vector("nodes", "Nodes by whether their agent reports.", &["state"])?,
            withheld: vector("withheld", "1 for the reason why nothing is written.", &["reason"])?,
            pending: vector("pending_writes", "Pods that wait to be written, by order.", &["order"])?,
            backing_off: vector(
                "backing_off_owners",
                "Owners whose pods are tried one at a time, because writes are refused or repairs undone.",
                &["reason"],
            )?,
            plain: [
                plain("known_pods", "Pods that the API server lists.")?,
                plain("conflicts", "Pods on which another field manager owns a key of ours.")?,
                plain("in_flight_writes", "Writes without an outcome.")?,
                plain("slow_namespaces", "Namespaces to whose pods a write was slow lately.")?,
                plain("write_rate", "Writes per second allowed now.")?,
                plain("unknown_withheld", "1 while `unknown` is withheld because many nodes are silent.")?,
            ],
        })
    }

    fn vectors(&self) -> [&GaugeVec; 5] {
        [&self.pods, &self.nodes, &self.withheld, &self.pending, &self.backing_off]
    }

    fn set(&self, gauges: &Gauges) {
        for resource in Resource::ALL {
            for band in Band::ALL {
                let count = gauges.bands.get(&(resource, band)).copied().unwrap_or_default();
                self.pods.with_label_values(&[resource.as_str(), band.as_str()]).set(count as f64);
            }
        }
        let nodes = gauges.nodes;
        for (word, count) in [("reporting", nodes.reporting), ("late", nodes.late), ("silent", nodes.silent)]
        {
            self.nodes.with_label_values(&[word]).set(count as f64);
        }
        for reason in Withheld::ALL {
            let is = gauges.withheld == Some(reason);
            self.withheld.with_label_values(&[reason.as_str()]).set(f64::from(u8::from(is)));
        }
        for order in Order::ALL {
            let count = gauges.pending.get(&order).copied().unwrap_or_default();
            self.pending.with_label_values(&[order.as_str()]).set(count as f64);
        }
        for (reason, count) in ["refused", "undone"].into_iter().zip(gauges.backing_off) {
            self.backing_off.with_label_values(&[reason]).set(count as f64);
        }
        let values = [
            gauges.pods as f64,
            gauges.conflicts as f64,
            gauges.in_flight as f64,
            gauges.slow_namespaces as f64,
            gauges.rate,
            f64::from(u8::from(gauges.unknown_withheld)),
        ];
        self.plain.iter().zip(values).for_each(|(gauge, value)| gauge.set(value));
    }
}

impl Collector for CoreCollector {
    fn desc(&self) -> Vec<&Desc> {
        let vectors = self.vectors().into_iter().flat_map(Collector::desc);
        vectors.chain(self.plain.iter().flat_map(Collector::desc)).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let gauges = self.engine.ask(Core::gauges);
        self.set(&gauges);
        let vectors = self.vectors().into_iter().flat_map(Collector::collect);
        vectors.chain(self.plain.iter().flat_map(Collector::collect)).collect()
    }
}
