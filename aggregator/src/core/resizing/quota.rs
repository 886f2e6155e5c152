//! Namespaces whose ResourceQuota refused a growth: the API server counts `used` late and the plan of one node does not see the others, so
//! a namespace that was refused once is asked again by one pod at a time, ever more slowly, or once its quota leaves more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_contract::{Moment, PodName, Resource};

use crate::facts::PodFacts;
use crate::resize::Purpose;
use crate::state::{Counted, LimitRanges, State};
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
    /// What the quotas left for the pod that was refused, or tries; the least since.
    left: Left,
    /// That pod.
    of: PodName,
    /// The pod that tries.
    trying: Option<PodName>,
}

/// What the quotas leave for a pod: requests and limits, of CPU and memory; all that there is where none bounds it.
type Left = [u64; 4];

/// What bounded a pod when a quota or limit range of its namespace refused a growth of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefusedAt {
    /// By a limit range; else by a quota.
    by_range: bool,
    left: Left,
    ranges: LimitRanges,
}

impl RefusedAt {
    pub(super) fn new(state: &State, facts: &PodFacts, by_range: bool) -> RefusedAt {
        RefusedAt { by_range, left: left(state, facts), ranges: state.limit_range(&facts.pod.namespace) }
    }

    /// Whether more may be had now: the quotas leave more than at any time since, or the limit range is another one.
    pub(super) fn is_over(&mut self, state: &State, facts: &PodFacts) -> bool {
        let now = RefusedAt::new(state, facts, self.by_range);
        let is_over = if self.by_range { now.ranges != self.ranges } else { has_more(now.left, self.left) };
        // `used` was counted late: from there on less use is more room.
        self.left = least(self.left, now.left);
        is_over
    }
}

fn has_more(now: Left, then: Left) -> bool {
    now.into_iter().zip(then).any(|(now, then)| now > then)
}

fn least(a: Left, b: Left) -> Left {
    let mut least = a;
    least.iter_mut().zip(b).for_each(|(a, b)| *a = b.min(*a));
    least
}

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
        Some(hold.until).filter(|until| *until > now && !has_more(left(state, facts), hold.left))
    }

    /// Looks at what the quotas leave for the pod that was refused: they count what is used late.
    pub(super) fn observe(&mut self, state: &State, facts: &PodFacts) {
        if let Some(hold) = self.0.get_mut(&facts.pod.namespace).filter(|hold| hold.of == facts.pod) {
            let now = left(state, facts);
            if !has_more(now, hold.left) {
                hold.left = now;
            }
        }
    }

    /// A growth of this pod is tried: where one was refused before, the others wait for its outcome.
    pub(super) fn tried(&mut self, now: Moment, state: &State, facts: &PodFacts, purpose: Purpose) {
        if let Some(hold) = self.0.get_mut(&facts.pod.namespace).filter(|_| is_growth(purpose)) {
            (hold.until, hold.left) = (now + TRIED_WITHIN, left(state, facts));
            (hold.of, hold.trying) = (facts.pod.clone(), Some(facts.pod.clone()));
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
        let hold = Hold { until, refusals, left: left(state, facts), of: facts.pod.clone(), trying: None };
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
    let of = |resource, counted| {
        state.quota_room(facts, resource, counted).map_or(u64::MAX, |room| room.left.unwrap_or(0))
    };
    [
        of(Resource::Cpu, Counted::Requests),
        of(Resource::Cpu, Counted::Limits),
        of(Resource::Memory, Counted::Requests),
        of(Resource::Memory, Counted::Limits),
    ]
}
