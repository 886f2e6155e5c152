//! `plimsoll-demo replay`: a recording, run again (`recording`), or, with `--usage FILE`, rules that size a container, compared on a trace of its
//! usage. The arithmetic is `plimsoll_sizing::replay`; here are the files and the tables.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use plimsoll_sizing::model::Excess;
use plimsoll_sizing::policy::Policy;
use plimsoll_sizing::replay::recorded::Ranker;
use plimsoll_sizing::replay::{Ours, Outcome, Rule, Setup, StaticAtPeak, Trace, UsageOverTarget, Vpa, run};

mod recording;

/// The largest trace that is read: a year of minutes has 10 MiB.
const LARGEST_FILE: u64 = 64 << 20;

/// What is run.
#[derive(Debug, Clone, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["file", "usage"]))]
pub struct ReplayArgs {
    /// A recording: what the agent or the aggregator wrote with --record
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// A trace of usage instead
    #[arg(long, value_name = "FILE")]
    pub usage: Option<PathBuf>,

    /// Class of the pods; by default that which they had when they were recorded, and gold for a trace
    #[arg(long, value_enum, value_name = "NAME")]
    pub class: Option<ClassName>,

    /// Who goes first among the containers of a recording that want more at the same time; by default topsis
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "usage")]
    pub ranker: Option<RankerName>,

    /// Seconds from one value to the next, in a trace without times
    #[arg(long, default_value_t = 60, value_name = "SECONDS", conflicts_with = "file", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub interval: u32,

    /// CPU request of the pod's template, millicores; by default the mean of the first hour of the trace
    #[arg(long, value_name = "MILLICORES", conflicts_with = "file", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub request: Option<u64>,

    /// CPU limit of the pod's template, millicores; by default one and a half times the request
    #[arg(long, value_name = "MILLICORES", conflicts_with = "file", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub limit: Option<u64>,

    /// What becomes of demand above the limit: it waits and is done later, or it is lost
    #[arg(long, value_enum, default_value_t = ExcessName::Queued, value_name = "WHAT", conflicts_with = "file")]
    pub excess: ExcessName,

    /// Print JSON: one object for each rule, or for each event of a recording
    #[arg(long)]
    pub json: bool,
}

/// The classes that ship.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClassName {
    /// Throttled least.
    Gold,
    /// In between.
    Silver,
    /// Reserves least.
    Bronze,
}

impl ClassName {
    fn as_str(self) -> &'static str {
        match self {
            ClassName::Gold => "gold",
            ClassName::Silver => "silver",
            ClassName::Bronze => "bronze",
        }
    }

    fn policy(self) -> anyhow::Result<Policy> {
        let name = self.as_str();
        Policy::builtin(name).with_context(|| format!("the class {name} does not ship"))
    }
}

/// How urgency is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RankerName {
    /// Fixed-range TOPSIS, by which the aggregator decides.
    Topsis,
    /// PROMETHEE II.
    Promethee,
}

impl From<RankerName> for Ranker {
    fn from(name: RankerName) -> Ranker {
        match name {
            RankerName::Topsis => Ranker::Topsis,
            RankerName::Promethee => Ranker::Promethee,
        }
    }
}

/// What becomes of demand above the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExcessName {
    /// A queue of requests.
    Queued,
    /// Clients that give up.
    Lost,
}

/// Runs the recording or the trace, and prints what came of it.
///
/// # Errors
/// As [`run_to`].
pub fn start(args: &ReplayArgs) -> anyhow::Result<()> {
    run_to(args, &mut io::stdout().lock())
}

/// The same, with another output.
///
/// # Errors
/// Names the file, the line and the cure.
pub fn run_to(args: &ReplayArgs, out: &mut impl Write) -> anyhow::Result<()> {
    match (&args.file, &args.usage) {
        (Some(file), _) => recording::start(file, args, out),
        (None, Some(usage)) => compare_on(usage, args, out),
        (None, None) => bail!("nothing to run: pass a recording, or --usage with a trace"),
    }
}

fn compare_on(usage: &Path, args: &ReplayArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let trace = read(usage, args.interval)?;
    if let (Some(request), Some(limit)) = (args.request, args.limit)
        && limit < request
    {
        bail!(
            "--limit {limit} is less than --request {request}; Kubernetes allows no such pod: raise the limit"
        );
    }
    let excess = match args.excess {
        ExcessName::Queued => Excess::Queued,
        ExcessName::Lost => Excess::Lost,
    };
    let setup = Setup::new(&trace, args.request, args.limit, excess);
    let class = args.class.unwrap_or(ClassName::Gold).policy()?;
    let outcomes = compare(&trace, &setup, &class);
    if args.json {
        for outcome in &outcomes {
            writeln!(out, "{}", serde_json::to_string(outcome)?)?;
        }
    } else {
        write!(out, "{}", table(&trace, &setup, &outcomes))?;
    }
    Ok(())
}

/// What comes of each rule: a class, static at peak, VPA, and usage / target with the targets of the class.
pub fn compare(trace: &Trace, setup: &Setup, class: &Policy) -> Vec<Outcome> {
    let mut rules: [Box<dyn Rule + '_>; 4] = [
        Box::new(Ours::new(class, setup)),
        Box::new(StaticAtPeak::new(trace)),
        Box::new(Vpa::new(setup)),
        Box::new(UsageOverTarget::new(class, setup)),
    ];
    rules.iter_mut().map(|rule| run(trace, setup, rule.as_mut())).collect()
}

fn read(path: &Path, interval: u32) -> anyhow::Result<Trace> {
    let reading = || format!("reading the trace {}", path.display());
    let mut text = String::new();
    let file = File::open(path).with_context(reading)?;
    file.take(LARGEST_FILE + 1).read_to_string(&mut text).with_context(reading)?;
    if text.len() as u64 > LARGEST_FILE {
        bail!("the trace {} has more than {} MiB: split it", path.display(), LARGEST_FILE >> 20);
    }
    Trace::parse(&text, interval).with_context(|| format!("the trace {} cannot be replayed", path.display()))
}

/// The heads of the columns of [`row`].
pub const HEADS: [&str; 8] = [
    "RULE",
    "RESERVED, CORE-HOURS",
    "OF STATIC",
    "UNUSED",
    "WITHHELD, CORE-SECONDS",
    "THROTTLED TIME",
    "RESIZES PER DAY",
    "REQUEST, CORES",
];

/// One rule as cells; `fixed` is what static at peak reserved, core-hours.
pub fn row(outcome: &Outcome, fixed: f64) -> [String; 8] {
    let cores = |millicores: u64| millicores as f64 / 1000.0;
    [
        outcome.rule.clone(),
        format!("{:.1}", outcome.reserved_core_hours),
        percent(outcome.reserved_core_hours / fixed),
        percent(outcome.slack()),
        format!("{:.1}", outcome.withheld_core_seconds),
        format!("{:.3}%", outcome.throttled_share() * 100.0),
        format!("{:.1}", outcome.resizes_per_day()),
        format!("{:.2} to {:.2}", cores(outcome.least_request), cores(outcome.most_request)),
    ]
}

fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// What static at peak reserved, core-hours.
pub fn reserved_at_peak(trace: &Trace, outcomes: &[Outcome]) -> f64 {
    let fixed = outcomes.iter().find(|outcome| outcome.rule == StaticAtPeak::new(trace).name());
    fixed.map_or(f64::NAN, |outcome| outcome.reserved_core_hours)
}

fn table(trace: &Trace, setup: &Setup, outcomes: &[Outcome]) -> String {
    let fixed = reserved_at_peak(trace, outcomes);
    let rows: Vec<[String; 8]> = outcomes.iter().map(|outcome| row(outcome, fixed)).collect();
    let mut text = format!(
        "{:.1} days, peak {:.2} cores; template: request {}m, limit {}m\n",
        trace.length_seconds() as f64 / 86_400.0,
        trace.peak(),
        setup.original.request.unwrap_or(0),
        setup.original.limit.unwrap_or(0),
    );
    text.push_str(&columns(HEADS, rows));
    text.push_str("RESERVED: the request over time. OF STATIC: relative to the peak of the trace, which nobody knows beforehand. UNUSED: share of what was reserved.\n");
    text.push_str("WITHHELD: demanded in a second and not given in it. THROTTLED TIME: seconds, by the share of throttled periods.\n");
    text
}

/// Rows as text, each column as wide as its widest cell.
fn columns<const N: usize>(heads: [&str; N], rows: Vec<[String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(heads.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
