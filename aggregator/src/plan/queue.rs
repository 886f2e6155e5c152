//! Which pods wait: for their turn to be written to, or for a time. A pod waits at most once for each. What is written is planned
//! when its turn comes, so the newest plan always wins.
//!
//! ```text
//! order       namespaces, in turn        pods, the oldest first
//! Transition  shop, bank                 shop/web-1, shop/web-2, ...
//! First       bank                       bank/db-0
//! ```
//!
//! Orders are served from the first to the last, but three of four writes only. After three of growth in a row one goes to the others, also
//! when so little of the budget is left that it is kept for growth. Of every four of the others one goes to the next order in which something
//! waits, of every sixteen one to the order after that, and so on, so that none waits for ever. Only the second half of a resize is never
//! passed over, nor counted: each follows a write that was, so they take half of the writes at most. Within an order the namespaces take
//! turns, so that a thousand pods of one delay a pod of another by one write. Each operation takes logarithmic time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plimsoll_contract::{Moment, PodName};

use crate::action::Reason;

/// Where a write stands among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// The second half of a resize: it is recorded on the pod, and the longer it waits, the likelier the pod changes meanwhile.
    Resize,
    /// A resize is to be recorded that gives a pod more, or takes back what its node has no room for: seconds matter.
    Growth,
    Transition,
    First,
    /// A resize is to be recorded that gives a pod less, or back what it had.
    Shrink,
    Silence,
    /// After everything that labels pods in use: nobody is misled by the labels of a pod that finished or is to be ignored. Before repairs
    /// and retries: it is done once, and those may go on for ever.
    Withdrawal,
    Repair,
    /// A write whose last try failed, for whatever reason it is made.
    Retry,
    /// A dry run: it changes nothing.
    Probe,
}

impl Order {
    pub(crate) const ALL: [Order; 10] = [
        Order::Resize,
        Order::Growth,
        Order::Transition,
        Order::First,
        Order::Shrink,
        Order::Silence,
        Order::Withdrawal,
        Order::Repair,
        Order::Retry,
        Order::Probe,
    ];

    /// Of a write made for this reason, of a resize its first half; whether its last try failed.
    pub(crate) fn of(reason: Reason, failed: bool) -> Order {
        match reason {
            _ if failed => Order::Retry,
            Reason::Transition => Order::Transition,
            Reason::First => Order::First,
            Reason::Silence => Order::Silence,
            Reason::Withdrawn => Order::Withdrawal,
            Reason::Repair => Order::Repair,
            Reason::Grow | Reason::Birth | Reason::Undo | Reason::Revert => Order::Growth,
            Reason::Shrink => Order::Shrink,
            Reason::Recommend => Order::Probe,
        }
    }

    /// Whether it may take what others must leave: growth, and the second half of a resize.
    pub(crate) fn is_urgent(self) -> bool {
        matches!(self, Order::Resize | Order::Growth)
    }

    /// The word in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Order::Resize => "resize",
            Order::Growth => "growth",
            Order::Transition => "transition",
            Order::First => "first",
            Order::Shrink => "shrink",
            Order::Silence => "silence",
            Order::Withdrawal => "withdrawal",
            Order::Repair => "repair",
            Order::Retry => "retry",
            Order::Probe => "probe",
        }
    }
}

/// Writes of growth in a row, after which one of others goes first.
const GROWTH_IN_A_ROW: u32 = 3;

type Namespace = Arc<str>;

/// The pods that wait.
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    waiting: BTreeMap<(Order, Namespace), Waiting>,
    /// Slow namespaces apart, so that they can be passed over at once; by turn.
    turns: BTreeSet<(Order, Slow, u64, Namespace)>,
    order_of: BTreeMap<PodName, (Order, Moment)>,
    /// Namespaces to whose pods writes are slow, until when they count as such.
    slow: BTreeMap<Namespace, Moment>,
    last_turn: u64,
    /// Writes of growth sent since the last of another order.
    growth_in_a_row: u32,
    /// Writes sent so far that are not urgent.
    others: u64,
    by_time: BTreeSet<(Moment, PodName)>,
    time_of: BTreeMap<PodName, Moment>,
}

type Slow = bool;

/// What waits in one order in one namespace; never nothing.
#[derive(Debug)]
struct Waiting {
    turn: u64,
    pods: BTreeSet<(Moment, PodName)>,
}

impl WriteQueue {
    /// How many pods wait for their turn in each order in which any does.
    pub(crate) fn waiting(&self) -> BTreeMap<Order, u64> {
        let mut counts = BTreeMap::new();
        for ((order, _), waiting) in &self.waiting {
            *counts.entry(*order).or_default() += waiting.pods.len() as u64;
        }
        counts
    }

    /// Queues a pod to be written to. It keeps its place unless the order changed.
    pub(crate) fn push(&mut self, now: Moment, pod: &PodName, order: Order) {
        if self.order_of.get(pod).is_some_and(|(before, _)| *before == order) {
            return;
        }
        self.remove(pod);
        self.order_of.insert(pod.clone(), (order, now));
        let namespace = &pod.namespace;
        let slow = self.is_slow(namespace);
        let waiting = self.waiting.entry((order, namespace.clone())).or_insert_with(|| {
            self.last_turn += 1;
            self.turns.insert((order, slow, self.last_turn, namespace.clone()));
            Waiting { turn: self.last_turn, pods: BTreeSet::new() }
        });
        waiting.pods.insert((now, pod.clone()));
    }

    /// Removes a pod that is not to be written to now.
    pub(crate) fn remove(&mut self, pod: &PodName) {
        let Some((order, since)) = self.order_of.remove(pod) else { return };
        let (namespace, slow) = (&pod.namespace, self.is_slow(&pod.namespace));
        let key = (order, namespace.clone());
        let Some(waiting) = self.waiting.get_mut(&key) else { return };
        waiting.pods.remove(&(since, pod.clone()));
        if waiting.pods.is_empty() {
            self.turns.remove(&(order, slow, waiting.turn, namespace.clone()));
            self.waiting.remove(&key);
        }
    }

    /// The pod whose turn it is: of no order and namespace of which `is_full` says that it has enough in flight, and of no slow namespace
    /// unless `slow_allowed`. While the budget `is_scarce`, what is left of it is kept for growth, but for the share of the others.
    pub(crate) fn next(
        &self,
        slow_allowed: bool,
        is_scarce: bool,
        is_full: impl Fn(Order, &str) -> bool,
    ) -> Option<PodName> {
        let first_in =
            |order: Order| self.first_in(order, slow_allowed, |namespace| is_full(order, namespace));
        if let Some(pod) = first_in(Order::Resize) {
            return Some(pod.clone());
        }
        let growth = first_in(Order::Growth);
        let may_pass = match growth {
            Some(_) => self.growth_in_a_row >= GROWTH_IN_A_ROW,
            None => !is_scarce,
        };
        if !may_pass {
            return growth.cloned();
        }
        let others = Order::ALL.into_iter().filter(|order| !order.is_urgent()).filter_map(first_in);
        // Trailing zeros: 2 or more in one number of four, 4 or more in one of sixteen.
        let passed_over = (self.others + 1).trailing_zeros() / 2;
        others.take(passed_over as usize + 1).last().or(growth).cloned()
    }

    fn first_in(&self, order: Order, slow_allowed: bool, is_full: impl Fn(&str) -> bool) -> Option<&PodName> {
        let first = |slow: Slow| {
            let from = (order, slow, 0, Namespace::default());
            let turns = self.turns.range(from..).take_while(|turn| (turn.0, turn.1) == (order, slow));
            turns.map(|(.., turn, namespace)| (*turn, namespace)).find(|(_, namespace)| !is_full(namespace))
        };
        let slow = if slow_allowed { first(true) } else { None };
        let (_, namespace) = [first(false), slow].into_iter().flatten().min()?;
        let waiting = self.waiting.get(&(order, namespace.clone()))?;
        waiting.pods.first().map(|(_, pod)| pod)
    }

    /// A write to this pod is sent: it waits no longer, and the turn of its namespace is over.
    pub(crate) fn sent(&mut self, pod: &PodName) {
        let order = self.order_of.get(pod).map(|(order, _)| *order);
        self.remove(pod);
        let Some(order) = order else { return };
        match order {
            Order::Resize => {}
            Order::Growth => self.growth_in_a_row = self.growth_in_a_row.saturating_add(1),
            _ => {
                self.growth_in_a_row = 0;
                self.others += 1;
            }
        }
        let (namespace, slow) = (&pod.namespace, self.is_slow(&pod.namespace));
        if let Some(waiting) = self.waiting.get_mut(&(order, namespace.clone())) {
            self.turns.remove(&(order, slow, waiting.turn, namespace.clone()));
            self.last_turn += 1;
            waiting.turn = self.last_turn;
            self.turns.insert((order, slow, waiting.turn, namespace.clone()));
        }
    }

    /// Whether writes to the pods of a namespace are slow.
    pub(crate) fn is_slow(&self, namespace: &str) -> bool {
        self.slow.contains_key(namespace)
    }

    /// Namespaces to whose pods writes are slow.
    pub(crate) fn slow_namespaces(&self) -> usize {
        self.slow.len()
    }

    /// Writes to the pods of a namespace are slow; whether that is new. It keeps its turns.
    pub(crate) fn set_slow(&mut self, namespace: &Namespace, until: Moment) -> bool {
        let is_new = self.slow.insert(namespace.clone(), until).is_none();
        if is_new {
            self.move_turns(namespace, true);
        }
        is_new
    }

    /// Writes to the pods of these namespaces have not been slow for long.
    pub(crate) fn forget_slow(&mut self, now: Moment) -> Vec<Namespace> {
        let over: Vec<_> =
            self.slow.iter().filter(|(_, until)| **until <= now).map(|(n, _)| n.clone()).collect();
        for namespace in &over {
            self.slow.remove(namespace);
            self.move_turns(namespace, false);
        }
        over
    }

    fn move_turns(&mut self, namespace: &Namespace, slow: Slow) {
        for order in Order::ALL {
            if let Some(waiting) = self.waiting.get(&(order, namespace.clone())) {
                self.turns.remove(&(order, !slow, waiting.turn, namespace.clone()));
                self.turns.insert((order, slow, waiting.turn, namespace.clone()));
            }
        }
    }

    /// Sets when a pod is to be planned for again because of time; `None`: not because of time.
    pub(crate) fn plan_at(&mut self, pod: &PodName, at: Option<Moment>) {
        if self.time_of.get(pod).copied() == at {
            return;
        }
        if let Some(before) = self.time_of.remove(pod) {
            self.by_time.remove(&(before, pod.clone()));
        }
        if let Some(at) = at {
            self.time_of.insert(pod.clone(), at);
            self.by_time.insert((at, pod.clone()));
        }
    }

    /// Removes and returns the pods whose time has come.
    pub(crate) fn due(&mut self, now: Moment) -> Vec<PodName> {
        let mut due = Vec::new();
        while self.by_time.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, pod)) = self.by_time.pop_first() {
                self.time_of.remove(&pod);
                due.push(pod);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests;
