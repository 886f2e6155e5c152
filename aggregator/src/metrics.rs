//! What the aggregator counts, all under `plimsoll_aggregator_`. Label values come from closed lists.
//!
//! Counters are touched where things happen; gauges of the cluster are asked of the core when somebody scrapes
//! ([`CoreCollector`]), so that they cannot drift from what it decides with.

use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::status::NodeState;
use plimsoll_contract::{Band, Resource};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use crate::core::{Core, Gauges, Withheld};
use crate::engine::Engine;
use crate::ingest::denial::Denial;
use crate::readiness::Part;

/// Write outcomes.
const OUTCOMES: [&str; 6] = ["written", "conflict", "gone", "throttled", "failed", "timeout"];
const WATCHED: [Part; 4] = [Part::Pods, Part::Nodes, Part::Namespaces, Part::Control];
const WITHHELD: [Withheld; 4] =
    [Withheld::NotSynced, Withheld::NotLeading, Withheld::Paused, Withheld::BreakerOpen];

/// What became of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewResult {
    /// Known already.
    Cached,
    /// The API server vouched for it.
    Accepted,
    /// The API server did not.
    Refused,
    /// The API server did not answer.
    Failed,
    /// Not asked: too many at once.
    Limited,
}

impl ReviewResult {
    const ALL: [ReviewResult; 5] = [
        ReviewResult::Cached,
        ReviewResult::Accepted,
        ReviewResult::Refused,
        ReviewResult::Failed,
        ReviewResult::Limited,
    ];

    fn as_str(self) -> &'static str {
        match self {
            ReviewResult::Cached => "cached",
            ReviewResult::Accepted => "accepted",
            ReviewResult::Refused => "refused",
            ReviewResult::Failed => "failed",
            ReviewResult::Limited => "limited",
        }
    }
}

/// The counters. A cheap clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    reports: IntCounterVec,
    refusals: IntCounterVec,
    reviews: IntCounterVec,
    writes: IntCounterVec,
    write_seconds: Histogram,
    events: IntCounterVec,
    watch_restarts: IntCounterVec,
    watch_failures: IntCounterVec,
    certificate: IntGauge,
    streams: IntGauge,
    streams_refused: IntCounter,
}

fn name(noun: &str) -> String {
    format!("plimsoll_aggregator_{noun}")
}

fn counters(noun: &str, help: &str, label: &str, values: &[&str]) -> prometheus::Result<IntCounterVec> {
    let counters = IntCounterVec::new(Opts::new(name(noun), help), &[label])?;
    for value in values {
        counters.with_label_values(&[value]).inc_by(0);
    }
    Ok(counters)
}

impl Metrics {
    /// Registers everything; every series exists from the start, at zero.
    ///
    /// # Errors
    /// If a name is taken.
    pub fn register(registry: &Registry) -> prometheus::Result<Metrics> {
        let gauge = |noun: &str, help: &str| IntGauge::with_opts(Opts::new(name(noun), help));
        let results = ReviewResult::ALL.map(ReviewResult::as_str);
        let watched = WATCHED.map(Part::as_str);
        let seconds = HistogramOpts::new(name("write_seconds"), "Time from sending a write to its answer.")
            .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0]);
        let metrics = Metrics {
            reports: counters("reports_total", "Reports, by result.", "result", &["accepted", "refused"])?,
            refusals: counters("refusals_total", "Reports refused, by reason.", "reason", &Denial::WORDS)?,
            reviews: counters("reviews_total", "Tokens looked at, by result.", "result", &results)?,
            writes: counters("writes_total", "Writes on pods, by outcome.", "outcome", &OUTCOMES)?,
            write_seconds: Histogram::with_opts(seconds)?,
            events: counters("events_total", "Events, by result.", "result", &["published", "failed"])?,
            watch_restarts: counters("watch_restarts_total", "Lists after the first.", "resource", &watched)?,
            watch_failures: counters(
                "watch_failures_total",
                "Lists and watches that failed.",
                "resource",
                &watched,
            )?,
            certificate: gauge(
                "tls_cert_not_after_seconds",
                "When the certificate ends, in seconds since the epoch; 0 before there is one.",
            )?,
            streams: gauge("streams", "Clients of /v1/stream.")?,
            streams_refused: IntCounter::with_opts(Opts::new(
                name("streams_refused_total"),
                "Clients of /v1/stream that found no place.",
            ))?,
        };
        for collector in metrics.collectors() {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    /// A report was taken in.
    pub fn accepted(&self) {
        self.reports.with_label_values(&["accepted"]).inc();
    }

    /// A report was refused; `reason` is one of [`Denial::WORDS`].
    pub fn refused(&self, reason: &'static str) {
        self.reports.with_label_values(&["refused"]).inc();
        self.refusals.with_label_values(&[reason]).inc();
    }

    /// A token was looked at.
    pub fn review(&self, result: ReviewResult) {
        self.reviews.with_label_values(&[result.as_str()]).inc();
    }

    /// A write was answered, or not.
    pub fn write(&self, outcome: &'static str, took: Duration) {
        self.writes.with_label_values(&[outcome]).inc();
        self.write_seconds.observe(took.as_secs_f64());
    }

    /// An Event was published, or not.
    pub fn event(&self, published: bool) {
        self.events.with_label_values(&[if published { "published" } else { "failed" }]).inc();
    }

    /// A watch was lost and its objects are listed again.
    pub fn watch_restarted(&self, part: Part) {
        self.watch_restarts.with_label_values(&[part.as_str()]).inc();
    }

    /// A list or a watch failed.
    pub fn watch_failed(&self, part: Part) {
        self.watch_failures.with_label_values(&[part.as_str()]).inc();
    }

    /// A certificate was loaded.
    pub fn certificate(&self, not_after: Timestamp) {
        self.certificate.set(not_after.as_second());
    }

    /// Clients of the stream.
    pub fn streams(&self) -> &IntGauge {
        &self.streams
    }

    /// A client of the stream found no place.
    pub fn stream_refused(&self) {
        self.streams_refused.inc();
    }

    fn collectors(&self) -> [Box<dyn Collector>; 11] {
        [
            Box::new(self.reports.clone()),
            Box::new(self.refusals.clone()),
            Box::new(self.reviews.clone()),
            Box::new(self.writes.clone()),
            Box::new(self.write_seconds.clone()),
            Box::new(self.events.clone()),
            Box::new(self.watch_restarts.clone()),
            Box::new(self.watch_failures.clone()),
            Box::new(self.certificate.clone()),
            Box::new(self.streams.clone()),
            Box::new(self.streams_refused.clone()),
        ]
    }
}

/// The gauges that are asked of the core at scrape time.
#[derive(Debug)]
pub struct CoreCollector {
    engine: Engine,
    pods: GaugeVec,
    nodes: GaugeVec,
    withheld: GaugeVec,
    plain: [Gauge; 6],
}

impl CoreCollector {
    /// Of one engine.
    ///
    /// # Errors
    /// Never: the names are constants.
    pub fn new(engine: Engine) -> prometheus::Result<CoreCollector> {
        let vector =
            |noun: &str, help: &str, labels: &[&str]| GaugeVec::new(Opts::new(name(noun), help), labels);
        let plain = |noun: &str, help: &str| Gauge::with_opts(Opts::new(name(noun), help));
        Ok(CoreCollector {
            engine,
            pods: vector("pods", "Pods by the band of a resource.", &["resource", "band"])?,
            nodes: vector("nodes", "Nodes by how it stands with their agent.", &["state"])?,
            withheld: vector("withheld", "1 for the reason why nothing is written.", &["reason"])?,
            plain: [
                plain("known_pods", "Pods that the API server told of.")?,
                plain("conflicts", "Pods on which somebody else owns a key of ours.")?,
                plain("pending_writes", "Pods that wait to be written.")?,
                plain("in_flight_writes", "Writes without an answer.")?,
                plain("write_rate", "Writes per second allowed now.")?,
                plain("breaker_open", "1 while the breaker is open.")?,
            ],
        })
    }

    fn set(&self, gauges: &Gauges) {
        for resource in Resource::ALL {
            for band in Band::ALL {
                let count = gauges.bands.get(&(resource, band)).copied().unwrap_or_default();
                self.pods.with_label_values(&[resource.as_str(), band.as_str()]).set(count as f64);
            }
        }
        for (state, word) in
            [(NodeState::Reporting, "reporting"), (NodeState::Late, "late"), (NodeState::Silent, "silent")]
        {
            let count = gauges.nodes.get(&state).copied().unwrap_or_default();
            self.nodes.with_label_values(&[word]).set(count as f64);
        }
        for reason in WITHHELD {
            let is = gauges.withheld == Some(reason);
            self.withheld.with_label_values(&[reason.as_str()]).set(f64::from(u8::from(is)));
        }
        let values = [
            gauges.pods as f64,
            gauges.conflicts as f64,
            gauges.pending as f64,
            gauges.in_flight as f64,
            gauges.rate,
            f64::from(u8::from(gauges.breaker_open)),
        ];
        self.plain.iter().zip(values).for_each(|(gauge, value)| gauge.set(value));
    }
}

impl Collector for CoreCollector {
    fn desc(&self) -> Vec<&Desc> {
        let vectors = [&self.pods, &self.nodes, &self.withheld].into_iter().flat_map(Collector::desc);
        vectors.chain(self.plain.iter().flat_map(Collector::desc)).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let gauges = self.engine.ask(Core::gauges);
        self.set(&gauges);
        let vectors = [&self.pods, &self.nodes, &self.withheld].into_iter().flat_map(Collector::collect);
        vectors.chain(self.plain.iter().flat_map(Collector::collect)).collect()
    }
}
