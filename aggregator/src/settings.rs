//! The settings of the core: where it writes, and every duration, rate and threshold it decides with. `Default` is what the
//! documentation promises.

use std::collections::BTreeSet;
use std::time::Duration;

use plimsoll_contract::keys;
use plimsoll_sizing::urgency::Weights;
use serde::{Deserialize, Serialize};

/// Where the bands are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// As labels
    #[default]
    Labels,
    /// As annotations under the same keys, for systems that are keyed by label sets (Cilium, VPA)
    Annotations,
    /// Nowhere: no pod is written to, and only metrics and the HTTP API show the bands
    Metrics,
}

impl Output {
    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Output::Labels => "labels",
            Output::Annotations => "annotations",
            Output::Metrics => "metrics",
        }
    }
}

/// The settings of the core.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Where the bands are written.
    pub output: Output,
    /// Namespaces in which no pod is written to.
    pub left_alone: BTreeSet<String>,
    /// Namespace of the agents, for the hint of Events about them.
    pub agent_namespace: String,
    /// Identifies the process among all others: a random number.
    pub process: u64,
    /// A node without a report for this long is late.
    pub late_after: Duration,
    /// A node without a report, or a load that was unknown, for this long makes the band unknown.
    pub silent_after: Duration,
    /// How long a reason that does not go away by itself must last beside a known band before it is labeled `unknown`.
    pub settle_after: Duration,
    /// How long another basis under the same band must last before it is written.
    pub basis_after: Duration,
    /// The shortest time from a write to the repair of labels that another client removed; it doubles up to `repair_most` with each repair that
    /// is undone, for the pod and for its owner.
    pub repair_every: Duration,
    /// Longest wait for a repair.
    pub repair_most: Duration,
    /// How long an own write is believed although the watch does not show it.
    pub confirm_within: Duration,
    /// A write without an outcome for this long is given up.
    pub outcome_within: Duration,
    /// How far the sequence number of a report may be ahead of the clock.
    pub ahead_at_most: Duration,
    /// Reports with foreign pods, within `foreign_within`, that quarantine a node for `quarantine`.
    pub foreign_reports: usize,
    /// The time within which `foreign_reports` are counted.
    pub foreign_within: Duration,
    /// How long a quarantine lasts.
    pub quarantine: Duration,
    /// The write budget.
    pub budget: BudgetSettings,
    /// When the labels of silent nodes' pods are not yet set to `unknown`.
    pub silence: SilenceSettings,
    /// Resizing.
    pub resize: ResizeSettings,
}

/// How headroom is divided among those that want more than there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Division {
    /// One class after the other, each leaving a tenth to those below it
    #[default]
    Tiered,
    /// All classes at once, by urgency times the weight of the class
    Weighted,
}

/// Resizing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ResizeSettings {
    /// Whether pods are resized at all: without it no SLA class, autoscaler, quota or limit range is watched.
    pub enabled: bool,
    /// Who gets what when growth is wanted for more than there is.
    pub division: Division,
    /// How much each criterion of need counts for who is served first.
    pub weights: Weights,
}

/// The write budget: a token bucket for the whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BudgetSettings {
    /// Writes per second, in thousandths, for a cluster without nodes.
    pub base_milli: u64,
    /// Writes per second and node, in thousandths.
    pub per_node_milli: u64,
    /// Writes per second at most, in thousandths.
    pub most_milli: u64,
    /// Writes that may be saved up.
    pub burst: u64,
    /// Writes in flight at one time. One namespace leaves one of them to the others, and the slow ones together leave half.
    pub in_flight: usize,
    /// A namespace is slow once a write to one of its pods took this long.
    pub slow: Duration,
    /// How long it counts as slow after that.
    pub slow_for: Duration,
    /// From the last throttled write to the full rate.
    pub recovery: Duration,
    /// First wait after a failed write; it doubles up to `back_off_most`, for the pod and for its owner.
    pub back_off: Duration,
    /// Longest wait after a failed write.
    pub back_off_most: Duration,
}

/// When silence of many nodes is taken for a fault of ours: `unknown` is withheld for a while.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SilenceSettings {
    /// The share of nodes, in percent, that must be exceeded.
    pub percent: usize,
    /// The least number of nodes.
    pub least: usize,
    /// Once a node is silent, nodes that will be within this time count too: reports come at intervals, so what silences many
    /// shows one by one, and the first must not be written before the last is counted.
    pub foresight: Duration,
    /// How long `unknown` is withheld; after that the silence is taken for the truth.
    pub hold: Duration,
    /// How long fewer nodes must be silent before `unknown` is no longer withheld.
    pub calm: Duration,
}

impl ResizeSettings {
    /// The defaults, with resizing on or off.
    pub fn new(enabled: bool) -> ResizeSettings {
        ResizeSettings { enabled, ..ResizeSettings::default() }
    }
}

impl Settings {
    /// [`Settings::process`] as text, for agents and in tags.
    pub(crate) fn process_text(&self) -> String {
        format!("{:016x}", self.process)
    }

    /// The number that roster versions start at. A reader of JSON may take whole numbers above 2^53 inexactly.
    pub(crate) fn roster_base(&self) -> u64 {
        (self.process >> 12).max(1)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            output: Output::Labels,
            left_alone: ["kube-system", keys::SYSTEM_NAMESPACE, keys::AGENT_NAMESPACE]
                .map(String::from)
                .into(),
            agent_namespace: keys::AGENT_NAMESPACE.to_owned(),
            process: 1,
            late_after: Duration::from_secs(30),
            silent_after: Duration::from_secs(120),
            settle_after: Duration::from_secs(15),
            basis_after: Duration::from_secs(10),
            repair_every: Duration::from_secs(60),
            repair_most: Duration::from_secs(5 * 60),
            confirm_within: Duration::from_secs(90),
            outcome_within: Duration::from_secs(30),
            ahead_at_most: Duration::from_secs(24 * 60 * 60),
            foreign_reports: 3,
            foreign_within: Duration::from_secs(5 * 60),
            quarantine: Duration::from_secs(10 * 60),
            budget: BudgetSettings::default(),
            silence: SilenceSettings::default(),
            resize: ResizeSettings::default(),
        }
    }
}

impl Default for BudgetSettings {
    fn default() -> Self {
        BudgetSettings {
            base_milli: 5_000,
            per_node_milli: 10,
            most_milli: 50_000,
            burst: 20,
            in_flight: 4,
            slow: Duration::from_secs(1),
            slow_for: Duration::from_secs(10 * 60),
            recovery: Duration::from_secs(60),
            back_off: Duration::from_secs(1),
            back_off_most: Duration::from_secs(60),
        }
    }
}

impl Default for SilenceSettings {
    fn default() -> Self {
        SilenceSettings {
            percent: 20,
            least: 3,
            foresight: Duration::from_secs(15),
            hold: Duration::from_secs(10 * 60),
            calm: Duration::from_secs(30),
        }
    }
}
