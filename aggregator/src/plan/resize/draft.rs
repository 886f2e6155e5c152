//! One resource of one container while it is planned: what is wanted, what is left of it after each rule, and which rule took the rest.

use plimsoll_contract::{Moment, Resource};
use plimsoll_sizing::size::Size;
use plimsoll_sizing::verdict::{Change, Trigger, Verdict};
use plimsoll_sizing::{cpu, least_change, memory};

use super::refusal::Refusal;
use super::urgency::Urgency;
use crate::resize::Purpose;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// Its place among the pods of the node, and among the pod's containers.
    pub(super) pod: usize,
    pub(super) container: usize,
    pub(super) resource: Resource,
    pub(super) verdict: Verdict,
    pub(super) from: Size,
    /// The limit is at most so many times the request: what a LimitRange of containers says.
    pub(super) max_ratio: Option<f64>,
    /// As large as all rules so far allow; `from` where nothing changes.
    pub(super) to: Size,
    /// Absent where nothing was wanted.
    pub(super) purpose: Option<Purpose>,
    /// Until when a growth waits for its cooldown: it is not made in this plan, but takes part in the division, so that its share is kept for it.
    pub(super) waits: Option<Moment>,
    /// The last rule that took something.
    pub(super) refusal: Option<Refusal>,
    /// Why its request is not raised, though it is less than what is used. Nothing else of it waits for that.
    pub(super) missed: Option<Refusal>,
    /// What calls for growth now, whether or not it may grow.
    pub(super) pressure: Option<Trigger>,
    /// Of a birth: how many siblings it is sized by.
    pub(super) siblings: usize,
    /// Of a decrease that is only recommended: how many steps it is the result of.
    pub(super) steps: u32,
    pub(super) urgency: Urgency,
    pub(super) share: Option<Share>,
}

/// What a growth was a share of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// What there was, in millicores or bytes.
    pub(super) headroom: u64,
    /// How many others asked for some of it.
    pub(super) others: usize,
}

impl Draft {
    pub(super) fn new(
        pod: usize,
        container: usize,
        resource: Resource,
        from: Size,
        verdict: Verdict,
    ) -> Draft {
        let (to, purpose) = match verdict {
            Verdict::Keep(_) => (from, None),
            Verdict::Grow(Change { to, .. }) | Verdict::Cooldown { growth: Change { to, .. }, .. } => {
                (to, Some(Purpose::Grow))
            }
            Verdict::Shrink(Change { to, .. }) => (to, Some(Purpose::Shrink)),
        };
        Draft {
            pod,
            container,
            resource,
            verdict,
            from,
            max_ratio: None,
            to,
            purpose,
            waits: None,
            refusal: None,
            missed: None,
            pressure: None,
            siblings: 0,
            steps: 0,
            urgency: Urgency::default(),
            share: None,
        }
    }

    /// Whether something changes for this purpose, in a resize that is made now.
    pub(super) fn is_part_of(&self, purpose: Purpose) -> bool {
        self.purpose == Some(purpose) && self.changes() && self.waits.is_none()
    }

    /// The size after a resize for this purpose.
    pub(super) fn after(&self, purpose: Purpose) -> Size {
        if self.is_part_of(purpose) { self.to } else { self.from }
    }

    /// Whether it is to grow, and something is left of that.
    pub(super) fn grows(&self) -> bool {
        matches!(self.purpose, Some(Purpose::Grow | Purpose::Birth)) && self.changes()
    }

    pub(super) fn shrinks(&self) -> bool {
        self.purpose == Some(Purpose::Shrink) && self.changes()
    }

    pub(super) fn changes(&self) -> bool {
        self.from != self.to
    }

    /// Whether request and limit are the same, and must stay so.
    pub(super) fn is_equal(&self) -> bool {
        self.from.request.is_some() && self.from.request == self.from.limit
    }

    pub(super) fn step(&self) -> u64 {
        match self.resource {
            Resource::Cpu => cpu::STEP,
            Resource::Memory => memory::STEP,
        }
    }

    /// The least growth of a value that is worth a resize.
    pub(super) fn least(&self, value: Option<u64>) -> u64 {
        self.step().max(least_change(value.unwrap_or(0)))
    }

    /// Adds the step that follows on this decrease, as it is planned from its result. Says whether there is one.
    pub(super) fn follow(&mut self, next: Draft) -> bool {
        let (Verdict::Shrink(change), Verdict::Shrink(further)) = (&mut self.verdict, next.verdict) else {
            return false;
        };
        change.to = further.to;
        let follows = next.shrinks();
        (self.to, self.refusal) = (next.to, next.refusal);
        self.steps += u32::from(follows);
        follows
    }

    /// After the division: what waits changes nothing. What nobody has measured yet is no need, so nothing of it was refused.
    pub(super) fn end_wait(&mut self) {
        let until = self.waits.take().filter(|_| self.changes());
        if matches!(
            self.verdict,
            Verdict::Cooldown { growth: Change { trigger: Trigger::NotMeasuredYet, .. }, .. }
        ) {
            (self.to, self.purpose, self.refusal) = (self.from, None, None);
        } else if let Some(until) = until {
            self.refuse(Refusal::Cooldown(until));
        }
    }

    /// Why it gets less than it needs.
    pub(super) fn refused(&self) -> Option<&Refusal> {
        self.refusal.as_ref().or(self.missed.as_ref())
    }

    /// Nothing changes, for this reason.
    pub(super) fn refuse(&mut self, reason: Refusal) {
        self.to = self.from;
        self.refusal = Some(reason);
    }

    /// The request stays, for this reason.
    pub(super) fn keep_request(&mut self, reason: Refusal) {
        if self.to.request == self.from.request {
            return;
        }
        if self.is_equal() {
            return self.refuse(reason);
        }
        self.to.request = self.from.request;
        self.refusal = Some(reason);
        self.keep_limit_above_request();
    }

    /// A limit that would fall to the request or below it stays a step above it: else the QoS class might change.
    fn keep_limit_above_request(&mut self) {
        let above = self.to.request.map_or(0, |request| request.saturating_add(self.step()));
        self.to.limit = self.to.limit.zip(self.from.limit).map(|(to, from)| to.max(above.min(from)));
    }

    /// The values grow at most to these, in whole steps that are worth it; for this reason where that takes something. The ratio is kept.
    pub(super) fn cap(&mut self, request: u64, limit: u64, reason: Refusal) {
        let before = self.to;
        self.trim(request, limit);
        if self.to != before {
            self.refusal = Some(reason);
        }
        self.keep_ratio();
    }

    /// The limit stays within its ratio to the request, which is broken also by less growth of the request: the limit grows less, or the
    /// request shrinks less.
    pub(super) fn keep_ratio(&mut self) {
        let Some(ratio) = self.max_ratio else { return };
        let values = |size: Size| size.request.zip(size.limit);
        let fits = |size| values(size).is_none_or(|(request, limit)| limit as f64 <= request as f64 * ratio);
        let Some((request, limit)) = values(self.to).filter(|_| self.changes() && !fits(self.to)) else {
            return;
        };
        if self.grows() {
            self.trim(u64::MAX, (request as f64 * ratio) as u64);
        } else {
            let least = (limit as f64 / ratio).ceil() as u64;
            let least = least.div_ceil(self.step()).saturating_mul(self.step());
            let worth_it = |from: u64| least.saturating_add(least_change(from)) <= from;
            self.to.request = self.from.request.map(|from| if worth_it(from) { least } else { from });
            self.keep_limit_above_request();
        }
        self.refusal = Some(Refusal::LimitRange);
        if !fits(self.to) {
            self.to = self.from;
        }
    }

    /// As [`Draft::cap`], whatever becomes of the ratio.
    fn trim(&mut self, request: u64, limit: u64) {
        if self.is_equal() {
            let both = self.capped(self.from.request, self.to.request, request.min(limit));
            self.to = Size { request: both, limit: both };
        } else {
            self.to.request = self.capped(self.from.request, self.to.request, request);
            self.to.limit = self.capped(self.from.limit, self.to.limit, limit);
            // Below the limit, where it was: else the QoS class might change.
            if let (Some(to), Some(limit)) = (self.to.request, self.to.limit)
                && to >= limit
            {
                let below = limit.saturating_sub(self.step());
                self.to.request = self.capped(self.from.request, Some(to), below);
            }
        }
    }

    /// The values become at most twice what they are: the admission policy refuses more at once.
    pub(super) fn cap_at_twice(&mut self) {
        let least = |to: Option<u64>, from: Option<u64>| Some(to?.min(from?.saturating_mul(2)));
        self.to = Size {
            request: least(self.to.request, self.from.request),
            limit: least(self.to.limit, self.from.limit),
        };
    }

    fn capped(&self, from: Option<u64>, to: Option<u64>, most: u64) -> Option<u64> {
        let (from, to) = (from?, to?);
        if to <= most || to <= from {
            return Some(to);
        }
        let whole = most / self.step() * self.step();
        let worth_it = whole >= from.saturating_add(self.least(Some(from)));
        Some(if worth_it { whole } else { from })
    }
}
