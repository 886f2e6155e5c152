//! The aggregator's metrics, under `plimsoll_aggregator_`, and under `plimsoll_resize` those of resizing. Label values come from closed lists,
//! and from the names of SLA classes.
//!
//! Counters are incremented where things happen; gauges of the cluster are what the core says when they are scraped ([`CoreGauges`]).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::status::Withheld;
use plimsoll_contract::{Band, Resource};
use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::core::{Counts, Gauges, Note};
use crate::engine::Engine;
use crate::plan::queue::Order;
use crate::plan::resize::Refusal;
use crate::readiness::Part;
use crate::rejection::Rejection;
use crate::resize::{PodResize, Purpose};

/// The shortest time between two counts of all pods.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// Write outcomes.
const OUTCOMES: [&str; 7] = ["written", "conflict", "gone", "throttled", "refused", "failed", "timeout"];
const WATCHED: [Part; 8] = [
    Part::Pods,
    Part::Nodes,
    Part::Namespaces,
    Part::Control,
    Part::Classes,
    Part::Autoscalers,
    Part::Quotas,
    Part::LimitRanges,
];

/// The classes that ship.
const SHIPPED: [&str; 3] = ["gold", "silver", "bronze"];

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
    resizes: IntCounterVec,
    actuation_seconds: Histogram,
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
        let resizes = Opts::new("plimsoll_resizes_total", "Resizes, by class, purpose and outcome.");
        let actuation = "Time from the API server's acceptance of a resize until the node's cgroups hold it.";
        let actuation = HistogramOpts::new("plimsoll_resize_actuation_seconds", actuation)
            .buckets(vec![0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0]);
        let resizes = registered(registry, IntCounterVec::new(resizes, &["class", "purpose", "outcome"])?)?;
        for (class, purpose) in SHIPPED.iter().flat_map(|class| Purpose::ALL.map(|purpose| (*class, purpose)))
        {
            resizes.with_label_values(&[class, purpose.as_str(), "verified"]).inc_by(0);
        }
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
            resizes,
            actuation_seconds: registered(registry, Histogram::with_opts(actuation)?)?,
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

    /// Counts what a step of the core says that is to be counted.
    pub(crate) fn note(&self, note: &Note) {
        if let Note::Resize { class, purpose, outcome, took } = note {
            self.resizes.with_label_values(&[class.as_str(), purpose, outcome]).inc();
            if let Some(took) = took {
                self.actuation_seconds.observe(took.as_secs_f64());
            }
        }
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

/// The gauges of what the core knows. What needs no counting is read at every scrape; what needs a look at every pod is counted at most once
/// in [`COUNT_EVERY`], and all scrapes share it. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct CoreGauges(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pods: GaugeVec,
    nodes: GaugeVec,
    pending: GaugeVec,
    backing_off: GaugeVec,
    resize_states: GaugeVec,
    resize_refusals: GaugeVec,
    conflicts: Gauge,
    withheld: GaugeVec,
    known_pods: Gauge,
    in_flight: Gauge,
    slow_namespaces: Gauge,
    rate: Gauge,
    unknown_withheld: Gauge,
    /// When it was last counted.
    counted: Mutex<Option<Instant>>,
}

impl CoreGauges {
    /// Registers them; they are 0 until [`CoreGauges::refresh`].
    ///
    /// # Errors
    /// If a name is already registered.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<CoreGauges> {
        let vector = |noun: &str, help: &str, labels: &[&str]| {
            registered(registry, GaugeVec::new(Opts::new(name(noun), help), labels)?)
        };
        let plain =
            |noun: &str, help: &str| registered(registry, Gauge::with_opts(Opts::new(name(noun), help))?);
        Ok(CoreGauges(Arc::new(Shared {
            pods: vector("pods", "Pods by the band of a resource.", &["resource", "band"])?,
            nodes: vector("nodes", "Nodes by whether their agent reports.", &["state"])?,
            pending: vector("pending_writes", "Pods that wait to be written, by order.", &["order"])?,
            backing_off: vector(
                "backing_off_owners",
                "Owners whose pods are tried one at a time: writes are refused, repairs undone, or keys taken again.",
                &["reason"],
            )?,
            resize_states: registered(
                registry,
                GaugeVec::new(
                    Opts::new("plimsoll_resize_state", "Pods with a class by where their resize stands."),
                    &["state"],
                )?,
            )?,
            resize_refusals: registered(
                registry,
                GaugeVec::new(
                    Opts::new(
                        "plimsoll_resize_refusals",
                        "Pods with a class that are not resized, by reason.",
                    ),
                    &["reason"],
                )?,
            )?,
            conflicts: plain("conflicts", "Pods on which another field manager owns a key of ours.")?,
            withheld: vector("withheld", "1 for the reason why nothing is written.", &["reason"])?,
            known_pods: plain("known_pods", "Pods that the API server lists.")?,
            in_flight: plain("in_flight_writes", "Writes without an outcome.")?,
            slow_namespaces: plain("slow_namespaces", "Namespaces to whose pods a write was slow lately.")?,
            rate: plain("write_rate", "Writes per second allowed now.")?,
            unknown_withheld: plain(
                "unknown_withheld",
                "1 while `unknown` is withheld because many nodes are silent.",
            )?,
            counted: Mutex::new(None),
        })))
    }

    /// Sets them for a scrape.
    pub(crate) async fn refresh(&self, engine: &Engine) {
        let mut counted = self.0.counted.lock().await;
        let now = Instant::now();
        if counted.is_none_or(|at| now >= at + COUNT_EVERY) {
            self.set_counts(&engine.count().await);
            *counted = Some(now);
        }
        self.set_gauges(&engine.ask(|core, _| core.gauges()));
    }

    fn set_counts(&self, counts: &Counts) {
        for resource in Resource::ALL {
            for band in Band::ALL {
                let count = counts.bands.get(&(resource, band)).copied().unwrap_or_default();
                self.0.pods.with_label_values(&[resource.as_str(), band.as_str()]).set(count as f64);
            }
        }
        let nodes = counts.nodes;
        for (word, count) in [("reporting", nodes.reporting), ("late", nodes.late), ("silent", nodes.silent)]
        {
            self.0.nodes.with_label_values(&[word]).set(count as f64);
        }
        for order in Order::ALL {
            let count = counts.pending.get(&order).copied().unwrap_or_default();
            self.0.pending.with_label_values(&[order.as_str()]).set(count as f64);
        }
        for (reason, count) in ["refused", "undone", "taken"].into_iter().zip(counts.backing_off) {
            self.0.backing_off.with_label_values(&[reason]).set(count as f64);
        }
        for (gauges, words, counts) in [
            (&self.0.resize_states, PodResize::STATES.as_slice(), &counts.resize_states),
            (&self.0.resize_refusals, &Refusal::WORDS, &counts.resize_refusals),
        ] {
            gauges.reset();
            for word in words {
                gauges.with_label_values(&[word]).set(0.0);
            }
            for (word, count) in counts {
                gauges.with_label_values(&[word]).set(*count as f64);
            }
        }
        self.0.conflicts.set(counts.conflicts as f64);
    }

    fn set_gauges(&self, gauges: &Gauges) {
        for reason in Withheld::ALL {
            let is = gauges.withheld == Some(reason);
            self.0.withheld.with_label_values(&[reason.as_str()]).set(f64::from(u8::from(is)));
        }
        self.0.known_pods.set(gauges.pods as f64);
        self.0.in_flight.set(gauges.in_flight as f64);
        self.0.slow_namespaces.set(gauges.slow_namespaces as f64);
        self.0.rate.set(gauges.rate);
        self.0.unknown_withheld.set(f64::from(u8::from(gauges.unknown_withheld)));
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_process::metrics::render;

    use super::*;
    use crate::core::Core;
    use crate::facts::PodFacts;
    use crate::input::{Input, WatchEvent};
    use crate::settings::Settings;

    /// The number of pods without a band, which is counted, and of known pods, which is not.
    async fn scraped(gauges: &CoreGauges, engine: &Engine, registry: &Registry) -> [String; 2] {
        gauges.refresh(engine).await;
        let text = render(registry);
        let value = |series: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).unwrap().to_owned()
        };
        let unknown = "plimsoll_aggregator_pods{band=\"unknown\",resource=\"cpu\"}";
        [value(unknown), value("plimsoll_aggregator_known_pods")]
    }

    #[tokio::test(start_paused = true)]
    async fn pods_are_counted_once_for_all_scrapes_of_a_second() {
        let (engine, _outputs) = Engine::new(Core::new(Settings::default()), None);
        let registry = Registry::new();
        let gauges = CoreGauges::register(&registry).unwrap();
        let add = |number: usize| {
            let name = format!("pod-{number}");
            engine.submit(Input::Pods(WatchEvent::Changed(Box::new(PodFacts::bare("shop", &name, &name)))));
        };
        add(0);
        assert_eq!(scraped(&gauges, &engine, &registry).await, ["1", "1"]);
        for number in 1..=300 {
            add(number);
            let known = (number + 1).to_string();
            assert_eq!(scraped(&gauges, &engine, &registry).await, ["1", known.as_str()]);
        }
        tokio::time::advance(COUNT_EVERY - Duration::from_millis(1)).await;
        assert_eq!(scraped(&gauges, &engine, &registry).await, ["1", "301"]);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(scraped(&gauges, &engine, &registry).await, ["301", "301"], "of four pages");
    }
}
