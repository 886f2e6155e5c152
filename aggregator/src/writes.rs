//! The life of one write to a pod, and what earlier writes left behind. Pure; shared by every kind of change.
//!
//! ```text
//!             sent             written                 shown by the watch, or `until`
//!   Idle ------------> InFlight -------> Confirming ------------------------------------> Idle
//!    ^                    |                                                                 ^
//!    |                    | failed, throttled, gone                                         |
//!    |                    +------------------------> BackingOff -------- `until` -----------+
//!    +----- conflict -----+
//! ```
//!
//! A pod has at most one write in flight. What was written is believed until the watch shows it or `until` passes, also while the
//! next write is in flight or backs off: `confirmation` travels with the state.

mod given_back;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll_contract::Moment;
use plimsoll_contract::status::KeyConflict;

use crate::facts::PodFacts;
use crate::labels::PodLabels;
use crate::settings::{Output, Settings};
use given_back::GivenBack;

/// A wait of `first` that doubles with each time in a row, the first one included, up to `most`.
pub(crate) fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    first.saturating_mul(1 << times.saturating_sub(1).min(16)).min(most)
}

/// Labels that were written and that the watch has not shown yet; believed until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Confirmation {
    pub(crate) labels: PodLabels,
    pub(crate) until: Moment,
}

/// Where a pod's write stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteState {
    /// Nothing is under way.
    Idle,
    /// Sent, without a response yet.
    InFlight { confirmation: Option<Confirmation> },
    /// Done, and not yet shown by the watch.
    Confirming(Confirmation),
    /// The last write did not succeed: nothing is sent before `until`.
    BackingOff { until: Moment, confirmation: Option<Confirmation> },
}

impl WriteState {
    pub(crate) fn in_flight(self) -> bool {
        matches!(self, WriteState::InFlight { .. })
    }

    /// When the next write may be sent, if that is later than `now`.
    pub(crate) fn not_before(self, now: Moment) -> Option<Moment> {
        match self {
            WriteState::BackingOff { until, .. } if until > now => Some(until),
            _ => None,
        }
    }

    /// What was written and is believed at `now`.
    pub(crate) fn believed(self, now: Moment) -> Option<Confirmation> {
        self.confirmation().filter(|confirmation| confirmation.until > now)
    }

    fn confirmation(self) -> Option<Confirmation> {
        match self {
            WriteState::Idle => None,
            WriteState::Confirming(confirmation) => Some(confirmation),
            WriteState::InFlight { confirmation } | WriteState::BackingOff { confirmation, .. } => {
                confirmation
            }
        }
    }

    /// The write is sent.
    pub(crate) fn sent(&mut self) {
        *self = WriteState::InFlight { confirmation: self.confirmation() };
    }

    /// The write was done; without a confirmation the watch shows it already.
    pub(crate) fn written(&mut self, confirmation: Option<Confirmation>) {
        *self = confirmation.map_or(WriteState::Idle, WriteState::Confirming);
    }

    /// The write was not done, and nothing is to be waited for.
    pub(crate) fn released(&mut self) {
        *self = self.confirmation().map_or(WriteState::Idle, WriteState::Confirming);
    }

    /// The write was not done; the next one waits.
    pub(crate) fn backs_off(&mut self, until: Moment) {
        *self = WriteState::BackingOff { until, confirmation: self.confirmation() };
    }

    /// The watch shows these labels.
    fn shown(&mut self, labels: PodLabels) {
        match self {
            WriteState::Confirming(confirmation) if confirmation.labels == labels => *self = WriteState::Idle,
            WriteState::InFlight { confirmation } | WriteState::BackingOff { confirmation, .. } => {
                *confirmation = confirmation.filter(|confirmation| confirmation.labels != labels);
            }
            WriteState::Idle | WriteState::Confirming(_) => {}
        }
    }
}

/// That another field manager owns a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owned {
    /// Its name, as the API server said it.
    pub(crate) manager: Option<String>,
    /// Whether the watch has shown the key since.
    pub(crate) shown: bool,
}

/// The writes of one pod.
#[derive(Debug)]
pub(crate) struct PodWrites {
    pub(crate) state: WriteState,
    /// Failed writes in a row.
    pub(crate) failures: u32,
    /// Repairs in a row, each after the one before was undone.
    repairs: u32,
    /// The last labels written, and when.
    pub(crate) last: Option<(PodLabels, Moment)>,
    /// Our keys were removed, and that was the last thing done.
    pub(crate) withdrawn: bool,
    /// Keys that another field manager owns, or that were given back and are not to be written yet.
    pub(crate) conflicts: BTreeMap<String, Owned>,
    given_back: GivenBack,
    /// A conflict made wrong what the pod carries of ours beside its bands: one more write is due.
    pub(crate) outdated: bool,
    /// Sets of conflicting keys, with their managers, that an Event has reported.
    pub(crate) published_conflicts: BTreeSet<Vec<KeyConflict>>,
}

impl Default for PodWrites {
    fn default() -> Self {
        PodWrites {
            state: WriteState::Idle,
            failures: 0,
            repairs: 0,
            last: None,
            withdrawn: false,
            conflicts: BTreeMap::new(),
            given_back: GivenBack::default(),
            outdated: false,
            published_conflicts: BTreeSet::new(),
        }
    }
}

impl PodWrites {
    /// The keys that other field managers own, with their managers.
    pub(crate) fn conflicts(&self) -> impl Iterator<Item = KeyConflict> {
        self.conflicts
            .iter()
            .map(|(key, owned)| KeyConflict { key: key.clone(), manager: owned.manager.clone() })
    }

    /// When labels that another client removed may be written again.
    pub(crate) fn repair_at(&self, settings: &Settings) -> Option<Moment> {
        self.last.map(|(_, at)| at + self.repair_wait(settings))
    }

    fn repair_wait(&self, settings: &Settings) -> Duration {
        doubled(settings.repair_every, self.repairs + 1, settings.repair_most)
    }

    /// The labels written last are still there, and have been for the shortest time between two repairs.
    pub(crate) fn lasted(&self, facts: &PodFacts, now: Moment, settings: &Settings) -> bool {
        let shown = PodLabels::of(facts, settings.output).without(&self.conflicts);
        self.last.is_some_and(|(labels, at)| at + settings.repair_every <= now && shown.satisfies(&labels))
    }

    /// Counts a repair; whether the one before was undone. One that was not for several times its wait begins anew.
    pub(crate) fn count_repair(&mut self, now: Moment, settings: &Settings) -> bool {
        let wait = self.repair_wait(settings);
        if self.last.is_none_or(|(_, at)| now >= at + wait * 4) {
            self.repairs = 0;
        }
        self.repairs = self.repairs.saturating_add(1);
        self.repairs > 1
    }

    /// No repair was undone any more.
    pub(crate) fn end_repairs(&mut self) {
        self.repairs = 0;
    }

    /// Applies what the watch shows: own writes that arrived, other managers' keys that are gone. After a relist (`relisted`) a key
    /// may have come and gone unseen.
    pub(crate) fn observe(&mut self, facts: &PodFacts, output: Output, relisted: bool) {
        let is_gone = |key: &String, owned: &mut Owned| {
            let shown = facts.carries(key);
            let gone = !shown && (owned.shown || relisted);
            owned.shown |= shown;
            gone
        };
        let gone: Vec<_> = self.conflicts.extract_if(.., is_gone).collect();
        gone.into_iter().for_each(|(key, owned)| self.give_back(key, owned));
        self.state.shown(PodLabels::of(facts, output).without(&self.conflicts));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use plimsoll_contract::Band;

    use super::*;
    use crate::labels::BandLabel;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn labels(band: Band) -> PodLabels {
        let label = BandLabel { band: Some(band), ..BandLabel::default() };
        PodLabels { cpu: label, memory: label }
    }

    #[test]
    fn a_wait_doubles_up_to_the_longest() {
        let wait = |times| doubled(Duration::from_secs(1), times, Duration::from_secs(60)).as_secs();
        assert_eq!([1, 2, 3, 6, 7, 90].map(wait), [1, 2, 4, 32, 60, 60]);
    }

    #[test]
    fn what_was_written_is_believed_through_a_failed_second_write_until_it_is_shown() {
        let low = Confirmation { labels: labels(Band::Low), until: at(90) };
        let mut state = WriteState::Idle;
        state.sent();
        state.written(Some(low));
        state.sent();
        assert!(state.in_flight());
        state.backs_off(at(20));
        assert_eq!((state.not_before(at(10)), state.believed(at(10))), (Some(at(20)), Some(low)));
        assert_eq!((state.not_before(at(20)), state.believed(at(90))), (None, None));
        state.shown(labels(Band::High));
        assert_eq!(state.believed(at(10)), Some(low), "an older state of the pod confirms nothing");
        state.shown(low.labels);
        assert_eq!(state.believed(at(10)), None);
    }
}
