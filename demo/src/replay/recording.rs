//! A recording of an agent or of an aggregator, run again and shown.
//!
//! ```text
//! FILE -> the program's own code, fed with it -> snapshots -> plimsoll_sizing::replay::recorded -> lines, tables
//! ```
//!
//! Both kinds take the same path from the snapshots on. An agent says more: a snapshot for each sweep, of all pods. An aggregator knows
//! only what was reported, of quiet pods every 10 s, but it knows classes and original sizes, and made decisions of its own.

use std::io::Write;
use std::path::Path;

use anyhow::bail;
use jiff::Timestamp;
use plimsoll_agent::record as agent;
use plimsoll_aggregator::record as aggregator;
use plimsoll_contract::report::ContainerReport;
use plimsoll_contract::roster::RosterPod;
use plimsoll_contract::{Cores, Limit, Moment, Report};
use plimsoll_process::recording::Recording;
use plimsoll_sizing::replay::recorded::{ContainerSnapshot, PodSnapshot, Ranker, Run, Snapshot};
use plimsoll_sizing::size::Size;

use super::ReplayArgs;
use show::{Ending, Show};

mod show;

/// What one line of a recording gave.
#[derive(Default)]
struct Step {
    /// Since the start of the recording's clock, and for people.
    at: Option<(Moment, Timestamp)>,
    snapshot: Option<Snapshot>,
    /// Whether something was decided or reported anew.
    compared: bool,
    /// Where that is not what was recorded.
    differs: Option<String>,
    resized: Option<aggregator::Resized>,
}

enum Source {
    Agent(Box<agent::Replay>),
    Aggregator(Box<aggregator::Replay>),
}

/// Runs the recording and prints what came of it.
///
/// # Errors
/// Names the file, the line and the cure.
pub(super) fn start(file: &Path, args: &ReplayArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let mut source = Source::open(file)?;
    let class = args.class.map(super::ClassName::policy).transpose()?;
    // another class or order is for looking at what another version would have done, too
    let must_be_same = class.is_none() && args.ranker.is_none();
    let mut run = Run::new(class, args.ranker.map_or(Ranker::Topsis, Ranker::from));
    let mut show = Show::new(out, args.json, source.kind());
    let (mut compared, mut different) = (0, 0);
    while let Some(step) = source.step()? {
        compared += u64::from(step.compared);
        if let Some(differs) = step.differs {
            if must_be_same {
                bail!(
                    "{differs}\nThis version does not do what was recorded. Run the recording with --class or --ranker to look at it anyway."
                );
            }
            different += 1;
        }
        if let Some((at, wall)) = step.at {
            run.pass(at.0);
            show.at(at, wall)?;
        }
        if let Some(resized) = &step.resized {
            show.resized(resized)?;
        }
        if let Some(snapshot) = step.snapshot {
            show.events(&run.see(snapshot))?;
        }
    }
    let (events, summary) = run.finish();
    show.events(&events)?;
    show.end(&summary, &Ending { file, compared, different, truncated: source.truncated() })
}

impl Source {
    fn open(file: &Path) -> anyhow::Result<Source> {
        let recording = Recording::open(file)?;
        match recording.kind() {
            agent::KIND => Ok(Source::Agent(Box::new(agent::Replay::of(recording)?))),
            aggregator::KIND => Ok(Source::Aggregator(Box::new(aggregator::Replay::of(recording)?))),
            other => bail!(
                "{}:1: a recording of `{other}`, and only those of an agent or an aggregator can be run",
                file.display()
            ),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Source::Agent(_) => agent::KIND,
            Source::Aggregator(_) => aggregator::KIND,
        }
    }

    fn step(&mut self) -> anyhow::Result<Option<Step>> {
        Ok(match self {
            Source::Agent(replay) => replay.step()?.map(|step| of_agent(replay, step)),
            Source::Aggregator(replay) => replay.step()?.map(|step| Step {
                at: Some((step.at, step.wall)),
                snapshot: step.snapshot,
                compared: true,
                differs: step.differs,
                resized: step.resized,
            }),
        })
    }

    fn truncated(&self) -> bool {
        match self {
            Source::Agent(replay) => replay.truncated(),
            Source::Aggregator(replay) => replay.truncated(),
        }
    }
}

fn of_agent(replay: &agent::Replay, step: agent::Step) -> Step {
    match step {
        agent::Step::Swept { at, wall, report } => Step {
            at: Some((at, wall)),
            snapshot: report.map(|report| snapshot(at, *report, replay)),
            ..Step::default()
        },
        agent::Step::Reported { differs } => Step { compared: true, differs, ..Step::default() },
        agent::Step::Fed => Step::default(),
    }
}

/// All pods of a node, as its agent saw them. It knows no classes, and of sizes the requests of the roster and the limits of the kernel.
fn snapshot(at: Moment, report: Report, replay: &agent::Replay) -> Snapshot {
    let pods = report.pods.into_iter().map(|pod| {
        let listed = replay.listed(&pod.uid);
        let hottest = pod.cpu.container.as_ref();
        let containers = pod.containers.iter().filter_map(|container| {
            let is_hottest = hottest.is_none_or(|hottest| *hottest == container.id);
            seen(container, listed, replay.expects_roster(), is_hottest)
        });
        PodSnapshot {
            uid: pod.uid.as_str().to_owned(),
            name: listed
                .map_or_else(|| pod.uid.as_str().to_owned(), |pod| format!("{}/{}", pod.namespace, pod.name)),
            cpu: pod.cpu.band,
            memory: pod.memory.band,
            class: None,
            containers: containers.collect(),
        }
    });
    Snapshot {
        at: at.0,
        node: report.node.to_string(),
        allocatable: Some(millicores(report.capacity.cores)),
        full: report.full,
        pods: pods.collect(),
    }
}

/// A container; none while its size is not known: neither its limit was read yet, nor did a roster list it.
fn seen(
    container: &ContainerReport,
    listed: Option<&RosterPod>,
    expects_roster: bool,
    hottest: bool,
) -> Option<ContainerSnapshot> {
    let limit = container.cpu.limit_cores?;
    let listed = listed.and_then(|pod| pod.containers.iter().find(|listed| listed.id == container.id));
    if listed.is_none() && expects_roster {
        return None;
    }
    let size = Size {
        request: listed.and_then(|listed| listed.cpu_request).map(millicores),
        limit: match limit {
            Limit::Unlimited => None,
            Limit::Of(cores) => Some(millicores(cores)),
        },
    };
    Some(ContainerSnapshot {
        name: listed.map_or_else(|| container.id.as_str().chars().take(12).collect(), |c| c.name.clone()),
        size,
        original: size,
        hottest,
        usage: container.cpu.clone(),
    })
}

fn millicores(cores: Cores) -> u64 {
    (cores.0 * 1000.0).round() as u64
}
