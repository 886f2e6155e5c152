//! Namespaces whose ResourceQuota refused a growth: the API server counts `used` late and the plan of one node does not see the others, so
//! a namespace that was refused once is asked again by one pod at a time, ever more slowly, or once its quota leaves more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_contract::{Moment, PodName, Resource};

use crate::facts::PodFacts;
use crate::resize::Purpose;
use crate::state::{Counted, State};
use crate::writes::doubled;

/// The first wait after a refusal; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(1800);
/// The others wait so long for the one that tries.
const TRIED_WITHIN: Duration = Duration::from_secs(30);

/// The namespaces.
#[derive(Debug, Default)]
pub(super) struct QuotaHolds(BTreeMap<Arc<str>, Hold>);

#[derive(Debug)]
struct Hold {
    until: Moment,
    refusals: u32,
    /// What the quotas left then.
    left: Left,
    /// The pod that tries.
    trying: Option<PodName>,
}

/// What the quotas leave for a pod: requests and limits, of CPU and memory.
type Left = [Option<u64>; 4];

impl QuotaHolds {
    /// Until when this pod may not grow because of its namespace.
    pub(super) fn until(
        &self,
        now: Moment,
        state: &State,
        facts: &PodFacts,
        purpose: Purpose,
    ) -> Option<Moment> {
        let hold = self.0.get(&facts.pod.namespace).filter(|_| is_growth(purpose))?;
        if hold.trying.as_ref() == Some(&facts.pod) {
            return None;
        }
        let freed = left(state, facts).into_iter().zip(hold.left).any(|(now, then)| now > then);
        Some(hold.until).filter(|until| *until > now && !freed)
    }

    /// A growth of this pod is tried: where one was refused before, the others wait for its outcome.
    pub(super) fn tried(&mut self, now: Moment, state: &State, facts: &PodFacts, purpose: Purpose) {
        if let Some(hold) = self.0.get_mut(&facts.pod.namespace).filter(|_| is_growth(purpose)) {
            (hold.until, hold.left) = (now + TRIED_WITHIN, left(state, facts));
            hold.trying = Some(facts.pod.clone());
        }
    }

    /// A quota refused the growth of this pod.
    pub(super) fn refused(&mut self, now: Moment, state: &State, facts: &PodFacts) {
        let before = self.0.get(&facts.pod.namespace);
        // What was on its way together is refused together: that is one refusal.
        if before.is_some_and(|hold| hold.until > now && hold.trying.as_ref() != Some(&facts.pod)) {
            return;
        }
        let refusals = before.map_or(0, |hold| hold.refusals) + 1;
        let until = now + doubled(FIRST, refusals, LONGEST);
        let hold = Hold { until, refusals, left: left(state, facts), trying: None };
        self.0.insert(facts.pod.namespace.clone(), hold);
    }

    /// A growth of this pod was accepted.
    pub(super) fn accepted(&mut self, pod: &PodName, purpose: Purpose) {
        if is_growth(purpose) {
            self.0.remove(&pod.namespace);
        }
    }

    /// Forgets namespaces that nobody asked for since long.
    pub(super) fn forget(&mut self, now: Moment) {
        self.0.retain(|_, hold| now < hold.until + LONGEST);
    }
}

fn is_growth(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Grow | Purpose::Birth)
}

fn left(state: &State, facts: &PodFacts) -> Left {
    let of = |resource, counted| state.quota_room(facts, resource, counted).and_then(|room| room.left);
    [
        of(Resource::Cpu, Counted::Requests),
        of(Resource::Cpu, Counted::Limits),
        of(Resource::Memory, Counted::Requests),
        of(Resource::Memory, Counted::Limits),
    ]
}
