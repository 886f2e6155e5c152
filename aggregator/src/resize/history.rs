//! What containers went through: their last growth, the last call for growth, and the memory events since. By name: a container keeps its history
//! through its restarts.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use plimsoll_contract::report::ContainerReport;
use plimsoll_contract::{Limit, Moment, Resource};
use plimsoll_sizing::cpu::{THROTTLED2_FROM, THROTTLED3_FROM};
use plimsoll_sizing::memory::{NEAR_LIMIT, PRESSURE_FROM};
use plimsoll_sizing::size::{Size, Sizes};

use super::annotations::decided_on;
use super::sizes::{grows, resizable, shrinks, sizes_of};
use super::verify::Seen;
use super::{CpuGrowth, Wanted};
use crate::facts::{ContainerFacts, PodFacts};
use crate::input::Now;

/// What happened to one container.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ContainerHistory {
    grown: [Option<Moment>; 2],
    shrunk: [Option<Moment>; 2],
    pressed: [Option<Moment>; 2],
    /// What its CPU grew for in each hour of the last day: the largest of each.
    cpu_growths: BTreeMap<u64, CpuGrowth>,
    /// All that were told.
    events: MemoryEventCounts,
    /// Its memory in the spec at the last of them.
    size_at_event: Size,
    /// The size before shrinks that did harm, in millicores or bytes, and when the last of them did.
    undone: [Option<(Moment, Size)>; 2],
    /// Those that its memory has not grown for.
    hits: Recent,
    kills: Recent,
    /// Those of the kills that the newest report told, or the newest state of the pod.
    newest_kills: u64,
    /// The last kill that its status told.
    killed_at: Option<Timestamp>,
    /// Kills that its status told while it was down. On cgroup v2 its agent tells them once more when it runs again.
    told_by_status: Recent,
    /// When it was last said that a resource is at its maximum.
    maximum_said: [Option<Moment>; 2],
}

/// Hits of the memory limit call for growth for so long: one of them is soon answered, by reclaim.
const HITS_FOR: Duration = Duration::from_secs(60);
/// Kills do for so long: between two starts of a container that is killed again and again are up to 5 minutes.
const KILLS_FOR: Duration = Duration::from_secs(600);
/// A kill that its agent told within so long before its status did is the same.
const SAME_KILL: Duration = Duration::from_secs(10);
/// That a resource is at its maximum is said again after so long.
const MAXIMUM_SAID_FOR: Duration = Duration::from_secs(3600);

/// Events by the second in which they were reported.
#[derive(Debug, Clone, Default, PartialEq)]
struct Recent(BTreeMap<u64, u64>);

impl Recent {
    fn add(&mut self, now: Moment, count: u64, kept: Duration) {
        self.0.retain(|second, _| Duration::from_secs(*second) + kept >= now.0);
        if count > 0 {
            let of_second = self.0.entry(now.0.as_secs()).or_default();
            *of_second = of_second.saturating_add(count);
        }
    }

    /// Forgets at most so many, the oldest first, and those that are older than `kept`: how many were left to be forgotten.
    fn take(&mut self, now: Moment, most: u64, kept: Duration) -> u64 {
        self.add(now, 0, kept);
        let mut left = most;
        for count in self.0.values_mut() {
            let taken = left.min(*count);
            *count -= taken;
            left -= taken;
        }
        self.0.retain(|_, count| *count > 0);
        most - left
    }

    fn count(&self, now: Moment, within: Duration) -> u64 {
        let since = now.0.saturating_sub(within).as_secs();
        self.0.range(since..).fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

/// Hours for which growths of CPU are remembered.
const REMEMBERED: u64 = 24;
/// How long harm is remembered that less did.
pub(super) const HARM_REMEMBERED: Duration = Duration::from_secs(REMEMBERED * 3600);

fn hour(at: Moment) -> u64 {
    at.0.as_secs() / 3600
}

/// Memory events of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MemoryEventCounts {
    /// Hits of the limit.
    pub(crate) max: u64,
    /// Processes killed for memory.
    pub(crate) oom_kill: u64,
}

/// What a report or the pod's status says of a container that calls for growth.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Pressure {
    /// Throttling and pressure, in words.
    pub(super) cpu: Option<String>,
    /// Memory events and pressure, in words.
    pub(super) memory: Option<String>,
    /// It is near its memory limit. That calls for growth, and shows no harm.
    near_limit: bool,
}

impl Pressure {
    /// Harm that was done, in words.
    pub(super) fn harm(&self, resource: Resource) -> Option<&String> {
        match resource {
            Resource::Cpu => self.cpu.as_ref(),
            Resource::Memory => self.memory.as_ref(),
        }
    }
}

/// The histories of a pod's containers, by name. Those that nothing happened to are not kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct History(BTreeMap<String, ContainerHistory>);

impl History {
    pub(super) fn grown(&self, container: &str, resource: Resource) -> Option<Moment> {
        self.0.get(container)?.grown[resource as usize]
    }

    pub(super) fn shrunk(&self, container: &str, resource: Resource) -> Option<Moment> {
        self.0.get(container)?.shrunk[resource as usize]
    }

    pub(super) fn pressed(&self, container: &str, resource: Resource) -> Option<Moment> {
        self.0.get(container)?.pressed[resource as usize]
    }

    /// The largest of what a container's CPU grew for in the last day.
    pub(super) fn cpu_growth(&self, now: Moment, container: &str) -> Option<CpuGrowth> {
        let since = hour(now).saturating_sub(REMEMBERED);
        let growths = self.0.get(container)?.cpu_growths.range(since..).map(|(_, growth)| *growth);
        growths.reduce(CpuGrowth::larger)
    }

    /// A shrink of it did harm; its size before.
    pub(super) fn undone(&mut self, at: Moment, container: &str, resource: Resource, before: Size) {
        let floor = self.floor(at, container, resource).unwrap_or_default();
        let floor = Size { request: floor.request.max(before.request), limit: floor.limit.max(before.limit) };
        self.0.entry(container.to_owned()).or_default().undone[resource as usize] = Some((at, floor));
    }

    /// Below which size shrinks did harm in the last day.
    pub(super) fn floor(&self, now: Moment, container: &str, resource: Resource) -> Option<Size> {
        let (at, floor) = self.0.get(container)?.undone[resource as usize]?;
        (now.since(at) < HARM_REMEMBERED).then_some(floor)
    }

    pub(super) fn events(&self, container: &str) -> MemoryEventCounts {
        self.0.get(container).map(|history| history.events).unwrap_or_default()
    }

    /// The recent ones that its memory has not grown for.
    pub(super) fn recent_events(&self, now: Moment, container: &str) -> MemoryEventCounts {
        let Some(history) = self.0.get(container) else { return MemoryEventCounts::default() };
        MemoryEventCounts {
            max: history.hits.count(now, HITS_FOR),
            oom_kill: history.kills.count(now, KILLS_FOR),
        }
    }

    /// Whether it is to be said that a resource is at its maximum: not since it grew last, and not within the hour.
    pub(super) fn is_maximum_news(&mut self, now: Moment, container: &str, resource: Resource) -> bool {
        let history = self.0.entry(container.to_owned()).or_default();
        let said = history.maximum_said[resource as usize].filter(|said| {
            now.since(*said) < MAXIMUM_SAID_FOR && Some(*said) >= history.grown[resource as usize]
        });
        if said.is_none() {
            history.maximum_said[resource as usize] = Some(now);
        }
        said.is_none()
    }

    pub(super) fn press(&mut self, now: Moment, container: &str, resource: Resource) {
        self.0.entry(container.to_owned()).or_default().pressed[resource as usize] = Some(now);
    }

    /// A resize from one size to the other was accepted: the time between growths counts from here.
    pub(super) fn accepted(&mut self, now: Moment, from: &BTreeMap<String, Sizes>, wanted: &Wanted) {
        for (name, growth) in &wanted.growths {
            let growths = &mut self.0.entry(name.clone()).or_default().cpu_growths;
            let this_hour = hour(now);
            let largest = growths.get(&this_hour).map_or(*growth, |before| before.larger(*growth));
            growths.insert(this_hour, largest);
            growths.retain(|then, _| then + REMEMBERED >= this_hour);
        }
        for (name, to) in &wanted.sizes {
            let from = from.get(name).copied().unwrap_or_default();
            for resource in Resource::ALL {
                if grows(from[resource], to[resource]) {
                    self.0.entry(name.clone()).or_default().grown[resource as usize] = Some(now);
                }
                if shrinks(from[resource], to[resource]) {
                    self.0.entry(name.clone()).or_default().shrunk[resource as usize] = Some(now);
                }
            }
        }
    }

    /// A resize from one size to the other is done: memory has grown for the events so far, where the limit grew that they are of. Kills that are
    /// told with it may have been made by the new limit. Hits are not worth that: until the limit grows there are always some.
    pub(super) fn verified(
        &mut self,
        now: Moment,
        from: &BTreeMap<String, Sizes>,
        to: &BTreeMap<String, Sizes>,
    ) {
        for (name, to) in to {
            let from = from.get(name).copied().unwrap_or_default();
            if let Some(history) = self.0.get_mut(name).filter(|_| to.memory.limit > from.memory.limit) {
                history.forget_events();
                history.kills.add(now, history.newest_kills, KILLS_FOR);
            }
        }
    }

    /// Kills that are told from now on are new.
    pub(super) fn forget_newest_kills(&mut self) {
        self.0.values_mut().for_each(|history| history.newest_kills = 0);
    }

    /// Takes in what the watch shows. A container that is down has no cgroup that its agent could read: that it was killed for memory is what
    /// its status says. What calls for growth, by container.
    pub(super) fn observe(&mut self, now: Moment, facts: &PodFacts) -> Vec<(String, Pressure)> {
        let mut pressures = Vec::new();
        for container in resizable(facts) {
            let Some(killed_at) = container.oom_killed_at else { continue };
            if self.0.get(&container.name).is_some_and(|history| history.killed_at == Some(killed_at)) {
                continue;
            }
            let history = self.0.entry(container.name.clone()).or_default();
            history.killed_at = Some(killed_at);
            // Of one that runs again its agent tells it.
            if container.running || history.kills.count(now, SAME_KILL) > 0 {
                continue;
            }
            history.told_by_status.add(now, 1, KILLS_FOR);
            if has_grown_after(facts, container, killed_at) {
                continue;
            }
            let rises = MemoryEventCounts { max: 0, oom_kill: 1 };
            history.add(now, container, rises);
            history.pressed[Resource::Memory as usize] = Some(now);
            let memory = Some("killed for memory".to_owned());
            pressures.push((container.name.clone(), Pressure { memory, ..Pressure::default() }));
        }
        pressures
    }

    /// Takes in a report. What calls for growth, by container.
    pub(super) fn report(&mut self, now: Moment, facts: &PodFacts, seen: &Seen) -> Vec<(String, Pressure)> {
        let mut pressures = Vec::new();
        for container in resizable(facts) {
            let Some(read) = seen.of(container) else { continue };
            let rises = self.count(now, container, read);
            let pressure = pressure_of(read, rises);
            for resource in Resource::ALL {
                let near = resource == Resource::Memory && pressure.near_limit;
                if near || pressure.harm(resource).is_some() {
                    self.press(now, &container.name, resource);
                }
            }
            if pressure != Pressure::default() {
                pressures.push((container.name.clone(), pressure));
            }
        }
        pressures
    }

    /// Takes in the memory events of a report to a replica that does not lead: its agent does not tell them again to the next leader.
    pub(super) fn witness(&mut self, now: Now, facts: &PodFacts, seen: &Seen) {
        for container in resizable(facts) {
            let Some(read) = seen.of(container) else { continue };
            self.forget_answered(container);
            self.expect_answered(now, facts, container);
            if self.count(now.at, container, read).oom_kill > 0
                && let Some(history) = self.0.get_mut(&container.name)
            {
                history.killed_at = container.oom_killed_at;
            }
        }
    }

    /// A recent kill that a leader saw in the status and let the memory grow for: what the agent still tells of it calls for nothing.
    fn expect_answered(&mut self, now: Now, facts: &PodFacts, container: &ContainerFacts) {
        let is_recent = |killed_at: &Timestamp| {
            now.wall.duration_since(*killed_at) < SignedDuration::try_from(KILLS_FOR).unwrap_or_default()
        };
        let answered = container.oom_killed_at.filter(is_recent);
        let Some(killed_at) = answered.filter(|at| has_grown_after(facts, container, *at)) else { return };
        let history = self.0.entry(container.name.clone()).or_default();
        if history.killed_at.replace(killed_at) != Some(killed_at) {
            history.told_by_status.add(now.at, 1, KILLS_FOR);
        }
    }

    /// What is left of it in a new leader: the memory events.
    pub(super) fn taken_over(mut self, now: Now, facts: &PodFacts) -> History {
        let kept = resizable(facts).filter_map(|container| {
            let ContainerHistory { events, hits, kills, size_at_event, killed_at, told_by_status, .. } =
                self.0.remove(&container.name)?;
            let kept = ContainerHistory {
                events,
                hits,
                kills,
                size_at_event,
                killed_at,
                told_by_status,
                ..ContainerHistory::default()
            };
            Some((container.name.clone(), kept))
        });
        let mut kept = History(kept.collect());
        for container in resizable(facts) {
            kept.forget_answered(container);
            kept.expect_answered(now, facts, container);
        }
        kept.0.retain(|_, history| *history != ContainerHistory::default());
        kept
    }

    /// Forgets the memory events of a container whose memory grew since the last of them.
    fn forget_answered(&mut self, container: &ContainerFacts) {
        let memory = sizes_of(&container.spec).memory;
        if let Some(history) = self.0.get_mut(&container.name).filter(|history| {
            history.events != MemoryEventCounts::default() && grows(history.size_at_event, memory)
        }) {
            history.forget_events();
        }
    }

    /// Adds the memory events since the last report; returns them.
    fn count(
        &mut self,
        now: Moment,
        container: &ContainerFacts,
        read: &ContainerReport,
    ) -> MemoryEventCounts {
        let rises = read.memory.events_delta.unwrap_or_default();
        let mut rises =
            MemoryEventCounts { max: rises.max.unwrap_or(0), oom_kill: rises.oom_kill.unwrap_or(0) };
        if rises != MemoryEventCounts::default() {
            let history = self.0.entry(container.name.clone()).or_default();
            rises.oom_kill -= history.told_by_status.take(now, rises.oom_kill, KILLS_FOR);
            history.add(now, container, rises);
        }
        rises
    }
}

impl ContainerHistory {
    /// Its memory grew for those so far.
    fn forget_events(&mut self) {
        (self.hits, self.kills) = (Recent::default(), Recent::default());
    }

    fn add(&mut self, now: Moment, container: &ContainerFacts, rises: MemoryEventCounts) {
        if rises == MemoryEventCounts::default() {
            return;
        }
        self.size_at_event = sizes_of(&container.spec).memory;
        self.events.max = self.events.max.saturating_add(rises.max);
        self.events.oom_kill = self.events.oom_kill.saturating_add(rises.oom_kill);
        self.hits.add(now, rises.max, HITS_FOR);
        self.kills.add(now, rises.oom_kill, KILLS_FOR);
        self.newest_kills = self.newest_kills.saturating_add(rises.oom_kill);
    }
}

/// Whether the memory of a container grew after it was killed, as the record on its pod says: also where another leader saw to it.
fn has_grown_after(facts: &PodFacts, container: &ContainerFacts, killed_at: Timestamp) -> bool {
    decided_on(facts).is_some_and(|decided| {
        let memory = |sizes: &BTreeMap<String, Sizes>| sizes.get(&container.name).map(|sizes| sizes.memory);
        let grew = memory(&decided.from)
            .zip(memory(&decided.to))
            .is_some_and(|(from, to)| to.limit > from.limit && to == sizes_of(&container.spec).memory);
        grew && decided.at >= killed_at
    })
}

fn pressure_of(read: &ContainerReport, rises: MemoryEventCounts) -> Pressure {
    let above = |value: Option<f64>, threshold: f64| value.filter(|value| *value > threshold);
    // An agent of an earlier version knows only the last sweep.
    let last = read.cpu.throttled.filter(|_| read.cpu.throttled2.is_none() && read.cpu.throttled3.is_none());
    let throttled = above(read.cpu.throttled3, THROTTLED3_FROM);
    let throttled =
        throttled.or(above(read.cpu.throttled2, THROTTLED2_FROM)).or(above(last, THROTTLED2_FROM));
    let throttled = throttled.map(|share| format!("throttled in {:.0} % of the periods", share * 100.0));
    let starved =
        above(read.cpu.pressure, PRESSURE_FROM).map(|percent| format!("CPU pressure {percent:.0} %"));
    let killed = (rises.oom_kill > 0).then(|| format!("{} processes killed for memory", rises.oom_kill));
    let hit = (rises.max > 0).then(|| format!("memory limit hit {} times", rises.max));
    let pressed =
        above(read.memory.pressure, PRESSURE_FROM).map(|percent| format!("memory pressure {percent:.0} %"));
    let near = read.memory.unreclaimable.zip(read.memory.limit.and_then(Limit::bound));
    let near_limit = near.is_some_and(|(used, limit)| used.as_f64() >= NEAR_LIMIT * limit.as_f64());
    Pressure { cpu: throttled.or(starved), memory: killed.or(hit).or(pressed), near_limit }
}
