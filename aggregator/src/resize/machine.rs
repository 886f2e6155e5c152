//! The state machine of one pod: plans, records and the API server's answers. What the kubelet and the kernel say is in [`super::follow`], what
//! time does in [`super::next`].

use std::collections::BTreeMap;
use std::mem::take;
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::{Moment, Resource};
use plimsoll_sizing::size::{Size, Sizes};

use super::annotations::{original_on, record};
use super::down::Started;
use super::drift::{Difference, Drifts};
use super::history::History;
use super::phase::{Accepted, Phase, RecordVersion, Resize, VERIFIED_WITHIN};
use super::queries::Blocked;
use super::rejected::{RejectionKind, Rejections};
use super::sizes::{same_shape, spec_is};
use super::undo::RecentShrink;
use super::yielding::Yielding;
use super::{Happened, Purpose, ResizeRefusal, Wanted, What, spec_of};
use crate::facts::PodFacts;
use crate::input::PodVersion;
use crate::writes::doubled;

/// Tries of one resize, before it is given up.
const TRIES: u32 = 5;
/// The longest wait between two of them, unless the API server asks for a longer one.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The resizing of one pod.
#[derive(Debug, Default)]
pub(crate) struct PodResize {
    pub(super) phase: Phase,
    pub(super) history: History,
    pub(super) yielding: Yielding,
    pub(super) shrunk: Vec<RecentShrink>,
    pub(super) rejected: Rejections,
    pub(super) drift: Drifts,
    pub(super) stale: Difference,
    /// By resource.
    pub(super) held: [Option<Held>; 2],
    pub(super) unsupported: Option<String>,
    /// Failures in a row.
    pub(super) failures: u32,
    /// Whether the last resize that ended is in the kernel.
    pub(super) last: Option<bool>,
    pub(super) taken_over: Option<Moment>,
    /// A resize that was accepted and not verified in time. Until the kernel holds it, or the spec says something else, nothing more is asked for, but the
    /// way back from harm.
    pub(super) unverified: Option<Box<Accepted>>,
    /// A resize of containers that are down: the kubelet has set it aside, and they start with it. It is verified then, and until then nothing
    /// waits for it.
    pub(super) set_aside: Option<Box<Accepted>>,
    /// What containers were started with for which sizes were set aside that were not verified since.
    pub(super) started: BTreeMap<String, Started>,
    /// The resize that was accepted lowers a memory limit, and the node was not told yet.
    pub(super) takes_memory: bool,
    /// Annotations that were written, until the watch shows them.
    pub(super) written: Option<BTreeMap<String, String>>,
    /// The last way back that was accepted, and when, if nothing else was since: its record is read after a takeover.
    pub(super) way_back: Option<(Purpose, Moment)>,
    pub(super) happened: Vec<Happened>,
}

/// After a failure, a resource is not resized for a while.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    pub(super) until: Moment,
    pub(super) message: String,
    pub(super) ended_by: EndedBy,
}

/// What ends the time for which a resource is not resized, beside time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndedBy {
    Nothing,
    /// There was no room: what its node gives back.
    FreedNode,
    /// A quota or limit range of the namespace refused it: what it leaves more.
    FreedQuota,
}

/// Why a wanted size was not taken on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NotPlanned {
    /// A resize is under way.
    Busy,
    Blocked(Blocked),
    /// This size was not given before, or it needs as much as one that was deferred or infeasible.
    Rejected {
        message: String,
    },
    /// It is the size that the spec has.
    Unchanged,
    /// A shrink like this one did harm within the last day: what does not shrink.
    Harmful {
        text: String,
    },
    /// It names a container that is not there, or would set or remove what must stay as it is.
    Shape {
        container: String,
    },
}

impl PodResize {
    /// A size is wanted. It replaces one that is not recorded yet.
    pub(crate) fn plan(
        &mut self,
        now: Moment,
        facts: &PodFacts,
        mut wanted: Wanted,
    ) -> Result<(), NotPlanned> {
        match &self.phase {
            Phase::Idle => {}
            Phase::Planned(planned) if !planned.purpose().is_way_back() || wanted.purpose.is_way_back() => {}
            _ => return Err(NotPlanned::Busy),
        }
        let grows_any = matches!(wanted.purpose, Purpose::Grow | Purpose::Birth);
        let original = original_on(facts).err();
        if let Some(blocked) = self.blocked(now, original.as_deref()).filter(|blocked| match blocked {
            Blocked::Unsupported { .. } | Blocked::Original { .. } => true,
            Blocked::PodCgroupStale { .. } => grows_any,
            _ => !wanted.purpose.is_way_back(),
        }) {
            return Err(NotPlanned::Blocked(blocked));
        }
        let spec = spec_of(facts);
        let kept = self.keep_above_harm(now, &spec, &mut wanted);
        let mut from = BTreeMap::new();
        for (name, to) in &wanted.sizes {
            let before = spec.get(name).copied().filter(|before| same_shape(before, to));
            let Some(before) = before else { return Err(NotPlanned::Shape { container: name.clone() }) };
            from.insert(name.clone(), before);
        }
        if from == wanted.sizes {
            return Err(kept.map_or(NotPlanned::Unchanged, |text| NotPlanned::Harmful { text }));
        }
        if let Some(message) = self.rejected.covering(&wanted, &spec) {
            return Err(NotPlanned::Rejected { message: message.to_owned() });
        }
        if let Some(held) = self.held_of(now, &wanted, &from) {
            return Err(NotPlanned::Blocked(held));
        }
        if let Some(text) = self.drift_in(&wanted, &from) {
            return Err(NotPlanned::Blocked(Blocked::Drift { text }));
        }
        let mut resize = Resize::new(now, wanted, from);
        // A plan that is renewed waits no less than the one before, and is not tried more often.
        if let Phase::Planned(before) = &self.phase
            && !before.purpose().is_way_back()
        {
            (resize.tries, resize.not_before) = (before.tries, before.not_before.max(now));
        }
        // Whether it can be recorded does not depend on when.
        if let Err(message) = record(Timestamp::UNIX_EPOCH, &resize, self.original_text(), facts) {
            return Err(NotPlanned::Blocked(Blocked::Original { message }));
        }
        self.phase = Phase::Planned(Box::new(resize));
        Ok(())
    }

    /// Nothing is wanted any more: a plan that waits is dropped.
    pub(crate) fn unplan(&mut self) {
        if self.takes_plans() {
            self.phase = Phase::Idle;
        }
    }

    /// What did harm when it shrank keeps the size that it had before: what was kept.
    fn keep_above_harm(
        &self,
        now: Moment,
        spec: &BTreeMap<String, Sizes>,
        wanted: &mut Wanted,
    ) -> Option<String> {
        let mut kept = Vec::new();
        for (name, to) in wanted.sizes.iter_mut().filter(|_| !wanted.purpose.is_way_back()) {
            let Some(from) = spec.get(name) else { continue };
            for resource in Resource::ALL {
                let Some(floor) = self.history.floor(now, name, resource) else { continue };
                let (from, to) = (from[resource], &mut to[resource]);
                let least = |floor: Option<u64>, from: Option<u64>| floor.min(from);
                let above = Size {
                    request: to.request.max(least(floor.request, from.request)),
                    limit: to.limit.max(least(floor.limit, from.limit)),
                };
                if above != *to {
                    *to = above;
                    kept.push(format!("{name} {resource} not below what it had when a shrink did harm"));
                }
            }
        }
        wanted.why.extend(kept.iter().cloned());
        (!kept.is_empty()).then(|| kept.join(", "))
    }

    /// The record was written; the version of the pod with it. Without one the resize could arrive late, over what somebody wrote meanwhile: that
    /// is no record.
    pub(crate) fn recorded(&mut self, now: Moment, version: PodVersion) {
        let PodVersion { resource_version, generation } = version;
        let Some(resource_version) = resource_version else {
            return self.record_failed(now, "the response does not say the version of the pod");
        };
        let version = RecordVersion { resource_version, generation };
        match take(&mut self.phase) {
            Phase::Recording(resize) => self.phase = Phase::Recorded(resize.entering(now), version),
            other => self.phase = other,
        }
    }

    /// The record was not written: no resize without it.
    pub(crate) fn record_failed(&mut self, now: Moment, message: &str) {
        match take(&mut self.phase) {
            Phase::Recording(resize) => {
                self.written = None;
                self.retry(now, *resize, None, &format!("its decision could not be recorded: {message}"));
            }
            other => self.phase = other,
        }
    }

    /// The API server accepted the resize; the pod's generation with it.
    pub(crate) fn accepted(&mut self, now: Moment, generation: Option<i64>) {
        match take(&mut self.phase) {
            Phase::Sent(resize) | Phase::Unanswered(resize) => self.follow_accepted(now, *resize, generation),
            other => self.phase = other,
        }
    }

    /// The API server has accepted this resize.
    pub(super) fn follow_accepted(&mut self, now: Moment, mut resize: Resize, generation: Option<i64>) {
        resize.withdraws = None;
        self.way_back = Some((resize.purpose(), now)).filter(|(purpose, _)| purpose.is_way_back());
        self.history.accepted(now, &resize.from, &resize.wanted);
        self.yielding.asked(resize.wanted.sizes.clone(), generation);
        self.shrunk.retain_mut(|shrunk| shrunk.leave_to(&resize));
        self.unverified.take_if(|before| before.resize.overlaps(&resize));
        self.set_aside.take_if(|before| !before.resize.leave_to(&resize));
        self.takes_memory |= resize.lowers_memory_limit();
        self.drift.resized(&resize.from, &resize.wanted.sizes);
        let until = now + VERIFIED_WITHIN;
        self.phase = Phase::Accepted(Box::new(Accepted::new(resize, Some(now), until, generation)));
    }

    /// The API server did not accept the resize.
    pub(crate) fn refused(&mut self, now: Moment, facts: &PodFacts, refusal: ResizeRefusal) {
        let resize = match take(&mut self.phase) {
            Phase::Sent(resize) => resize,
            other => {
                self.phase = other;
                return;
            }
        };
        match refusal {
            // What was decided still holds if the sizes are as they were: it is recorded anew, for the version that this returns.
            ResizeRefusal::Conflict if !spec_is(facts, &resize.from) => {}
            ResizeRefusal::Conflict => {
                let again = Some(Duration::ZERO);
                self.retry(now, *resize, again, "the pod changes all the time: each resize came too late");
            }
            ResizeRefusal::Overloaded(message, wait) => self.retry(now, *resize, wait, &message),
            ResizeRefusal::NoAnswer => self.phase = Phase::Unanswered(resize.entering(now)),
            // The watch is about to say so.
            ResizeRefusal::Gone => self.hold(now, Duration::from_secs(10), "the pod is gone"),
            ResizeRefusal::MemoryLimitsFixed(message) if resize.purpose() == Purpose::Revert => {
                self.revert_without_memory_limits(now, *resize, message);
            }
            // Nobody else would put the spec back.
            ResizeRefusal::OverQuota(message)
            | ResizeRefusal::Forbidden(message)
            | ResizeRefusal::Infeasible(message)
            | ResizeRefusal::Invalid(message)
                if resize.purpose() == Purpose::Revert =>
            {
                self.retry(now, *resize, Some(LONGEST_WAIT), &message);
            }
            ResizeRefusal::Infeasible(message) => {
                self.rejected.add(&resize, RejectionKind::Infeasible, &message);
                self.last = Some(false);
                self.say(Some(resize.purpose()), What::Infeasible { message });
            }
            ResizeRefusal::OverQuota(message) => {
                self.hold_until(now, Duration::from_secs(60), &message, &resize, EndedBy::FreedQuota);
                self.say(Some(resize.purpose()), What::OverQuota { message });
            }
            ResizeRefusal::MemoryLimitsFixed(message) => {
                self.rejected.add(&resize, RejectionKind::Refused, &message);
                self.last = Some(false);
                self.say(Some(resize.purpose()), What::MemoryLimitsFixed { message });
            }
            ResizeRefusal::Unsupported(message) => {
                self.unsupported = Some(message.clone());
                self.say_failed(resize.purpose(), message);
            }
            ResizeRefusal::Forbidden(message) => {
                self.hold(now, Duration::from_secs(300), &message);
                self.say_failed(resize.purpose(), message);
            }
            ResizeRefusal::Invalid(message) => {
                self.rejected.add(&resize, RejectionKind::Refused, &message);
                self.hold(now, Duration::from_secs(600), &message);
                self.say_failed(resize.purpose(), message);
            }
        }
    }

    /// The cluster does not lower memory limits: everything else is put back. With a size that its node cannot give in its spec, a pod would
    /// never be resized again.
    fn revert_without_memory_limits(&mut self, now: Moment, resize: Resize, message: String) {
        let sizes = resize.keeping_memory_limits();
        if sizes == resize.wanted.sizes {
            return self.retry(now, resize, Some(LONGEST_WAIT), &message);
        }
        self.last = Some(false);
        self.say(Some(Purpose::Revert), What::MemoryLimitsFixed { message });
        if sizes != resize.from {
            let wanted = Wanted { sizes, ..resize.wanted };
            self.phase = Phase::Planned(Box::new(Resize { wanted, not_before: now, entered: now, ..resize }));
        }
    }

    /// A neighbor shrank or went, or the node grew: what was deferred or infeasible may be asked for again.
    pub(crate) fn node_freed(&mut self) {
        self.rejected.free();
        self.end_holds(EndedBy::FreedNode);
    }

    /// The quotas and limit ranges of the namespace leave more than when one of them refused.
    pub(crate) fn quota_freed(&mut self) {
        self.end_holds(EndedBy::FreedQuota);
    }

    fn end_holds(&mut self, by: EndedBy) {
        for held in &mut self.held {
            held.take_if(|held| held.ended_by == by);
        }
    }

    /// The plan found that something calls for growth which reports alone do not show.
    pub(crate) fn pressed(&mut self, now: Moment, container: &str, resource: Resource) {
        self.history.press(now, container, resource);
    }

    /// The same resize again, after a wait that doubles unless it is given. After [`TRIES`] that is said, and a plan is given up: another one is
    /// made from newer numbers. A way back is tried for as long as the spec is what it leads away from: nobody plans it again.
    pub(super) fn retry(&mut self, now: Moment, resize: Resize, wait: Option<Duration>, message: &str) {
        let tries = resize.tries.saturating_add(1);
        if tries == TRIES {
            self.say_failed(resize.purpose(), message.to_owned());
        }
        if tries >= TRIES && !resize.purpose().is_way_back() {
            return self.hold(now, LONGEST_WAIT, message);
        }
        let longer = doubled(Duration::from_secs(1), tries, LONGEST_WAIT);
        let wait = match wait {
            Some(wait) if tries < TRIES => wait,
            wait => wait.unwrap_or_default().max(longer),
        };
        let resize = Resize { tries, not_before: now + wait, entered: now, ..resize };
        self.phase = Phase::Planned(Box::new(resize));
    }

    /// Nothing is resized for a while.
    pub(super) fn hold(&mut self, now: Moment, first: Duration, message: &str) {
        self.hold_resources(now, first, message, [true; 2]);
    }

    /// What this resize changed is not resized for a while: a quota of CPU says nothing about memory.
    pub(super) fn hold_changed(&mut self, now: Moment, first: Duration, message: &str, resize: &Resize) {
        self.hold_resources(now, first, message, resize.changes());
    }

    /// The same, but only until something is given back.
    pub(super) fn hold_until(
        &mut self,
        now: Moment,
        first: Duration,
        message: &str,
        resize: &Resize,
        ended_by: EndedBy,
    ) {
        self.hold_changed(now, first, message, resize);
        for (held, changes) in self.held.iter_mut().zip(resize.changes()) {
            held.as_mut().filter(|_| changes).into_iter().for_each(|held| held.ended_by = ended_by);
        }
    }

    fn hold_resources(&mut self, now: Moment, first: Duration, message: &str, which: [bool; 2]) {
        self.failures = self.failures.saturating_add(1);
        self.last = Some(false);
        let until = now + doubled(first, self.failures, Duration::from_secs(1800));
        for (held, _) in self.held.iter_mut().zip(which).filter(|(_, is_held)| *is_held) {
            *held = Some(Held { until, message: message.to_owned(), ended_by: EndedBy::Nothing });
        }
    }

    /// The plan found that a container needs more of a resource than it may ever have. Said once an hour, until it grows.
    pub(crate) fn at_maximum(&mut self, now: Moment, container: &str, resource: Resource, text: String) {
        if self.history.is_maximum_news(now, container, resource) {
            self.say(None, What::AtMaximum { text });
        }
    }

    pub(super) fn say_failed(&mut self, purpose: Purpose, message: String) {
        self.last = Some(false);
        self.say(Some(purpose), What::Failed { message });
    }

    /// `purpose` is that of the resize it happened to; absent where it happened to none.
    pub(super) fn say(&mut self, purpose: Option<Purpose>, what: What) {
        self.happened.push(Happened { purpose, why: String::new(), what });
    }

    /// The same, with the arithmetic of the resize it happened to.
    pub(super) fn say_with_why(&mut self, resize: &Resize, what: What) {
        let why = resize.wanted.why.join("; ");
        self.happened.push(Happened { purpose: Some(resize.purpose()), why, what });
    }
}
