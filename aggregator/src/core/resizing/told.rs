//! What happens to resizes, as people are told: one text for the Event on the pod, the decision log and the log; and the numbers for metrics
//! and for the status of classes.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::status::Decision;
use plimsoll_contract::{Bytes, Moment, PodName, Quantity, Resource};
use plimsoll_sizing::size::{Size, Sizes};

use crate::action::{Action, KubeEvent, Subject};
use crate::core::{Core, Note};
use crate::facts::PodFacts;
use crate::input::Now;
use crate::resize::{Happened, Purpose, What, sizes_of};

/// What is said of something that happened.
struct Told {
    /// Reason of the Event.
    event: &'static str,
    /// The outcome in metrics; in the decision log the reason is `resize_` and this.
    word: &'static str,
    warning: bool,
    text: String,
}

impl Core {
    /// Tells what happened to the resize of a pod since the last call.
    pub(in crate::core) fn tell_resizes(&mut self, now: Now, name: &PodName, actions: &mut Vec<Action>) {
        let Some(pod) = self.state.pods.get_mut(name) else { return };
        let happened = pod.resize.take_happened();
        if happened.is_empty() {
            return;
        }
        self.state.revision += 1;
        let facts = pod.facts.clone();
        for Happened { purpose, why, what } in happened {
            let told = told(&what, &why, self.now);
            let took = match what {
                What::Verified { took, .. } => took,
                _ => None,
            };
            self.count_what(name, &what);
            let (class, purpose) = (self.class_of(name), purpose.map_or("none", Purpose::as_str));
            self.notes.push(Note::Resize { class, purpose, outcome: told.word, took });
            self.tell(now, &facts, told, took, actions);
        }
    }

    fn tell(
        &mut self,
        now: Now,
        facts: &PodFacts,
        told: Told,
        took: Option<Duration>,
        actions: &mut Vec<Action>,
    ) {
        let PodName { namespace, name } = &facts.pod;
        let decision = Decision {
            at: now.wall,
            action: "resize".into(),
            namespace: namespace.as_ref().into(),
            pod: name.as_ref().into(),
            node: facts.node.clone(),
            from: String::new(),
            to: told.text.clone(),
            reason: format!("resize_{}", told.word),
            outcome: told.word.into(),
            took_ms: took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        };
        self.decisions.add(decision.clone());
        let problem = told.warning.then(|| told.text.clone());
        self.notes.push(Note::Decided { decision: Box::new(decision), problem });
        let budget = match told.warning {
            true => &mut self.announced.on_resize_problems,
            false => &mut self.announced.on_resizes,
        };
        if self.gate.may_announce(self.state.synced()) && budget.spend(self.now) {
            let about = Subject::Pod { pod: facts.pod.clone(), uid: facts.uid.clone() };
            actions.push(Action::Publish(match told.warning {
                true => KubeEvent::warning(about, told.event, told.text),
                false => KubeEvent::normal(about, told.event, told.text),
            }));
        }
    }

    /// A resize was accepted, or was not.
    pub(super) fn count_resize(&mut self, name: &PodName, purpose: Purpose, outcome: &'static str) {
        let class = self.class_of(name);
        self.notes.push(Note::Resize { class, purpose: purpose.as_str(), outcome, took: None });
    }

    /// Processes of a pod were killed for memory.
    pub(super) fn count_kills(&mut self, name: &PodName, killed: u64) {
        if killed > 0 {
            let class = self.class_of(name);
            let oom = &mut self.class_counts.entry(class).or_default().oom;
            *oom = oom.saturating_add(i64::try_from(killed).unwrap_or(i64::MAX));
        }
    }

    fn count_what(&mut self, name: &PodName, what: &What) {
        let class = self.class_of(name);
        let counts = self.class_counts.entry(class).or_default();
        match what {
            What::Verified { purpose: Purpose::Grow | Purpose::Birth, .. } => counts.grown += 1,
            What::Verified { purpose: Purpose::Shrink, .. } => counts.shrunk += 1,
            What::Undone { .. } => counts.undone += 1,
            _ => {}
        }
    }

    /// The name of a pod's class; empty where it has none any more.
    fn class_of(&self, name: &PodName) -> String {
        let policy = self.state.pods.get(name).and_then(|pod| self.state.policy(&pod.facts));
        policy.and_then(Result::ok).map(|policy| policy.class.clone()).unwrap_or_default()
    }
}

/// `why` is the arithmetic of the resize it happened to.
fn told(what: &What, why: &str, now: Moment) -> Told {
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    let (event, word, warning, text) = match what {
        What::Verified { purpose, took } => {
            let took =
                took.map(|took| format!(", {:.1} s after the API server accepted it", took.as_secs_f64()));
            let took = took.unwrap_or_default();
            let text = format!("Resized in place ({}), as its node says{took}{why}", purpose.as_str());
            ("ResizeVerified", "verified", false, text)
        }
        What::SetAside { containers } => {
            let text = format!(
                "The node has set the new size aside, with which {containers} is to start: it is down{why}"
            );
            ("ResizeSetAside", "set_aside", false, text)
        }
        What::Deferred { message } => {
            let text = format!("The node has no room for the new size now: {message}");
            ("ResizeDeferred", "deferred", false, text)
        }
        What::Infeasible { message } => {
            let text = format!(
                "The new size never fits this node as it is, and is not asked for again before something shrinks there: {message}"
            );
            ("ResizeInfeasible", "infeasible", true, text)
        }
        What::Failed { message } => ("ResizeFailed", "failed", true, format!("Not resized: {message}")),
        What::PutBack { why } => ("ResizePutBack", "put_back", false, format!("The size is put back: {why}")),
        What::Undone { seen } => {
            let text = format!("The decrease did harm and is undone: {seen}");
            ("ResizeUndone", "undone", true, text)
        }
        What::Yielded { owner, until } => {
            let minutes = until.since(now).as_secs().div_ceil(60);
            let text = format!(
                "Another writer, {owner}, put its own size back: Plimsoll does not resize this pod for {minutes} min. Let only one of the \
                 two size it: remove the label plimsoll.dev/sla, or the other's setting"
            );
            ("ResizeYielded", "yielded", true, text)
        }
        What::Drift { text } => {
            let text = format!(
                "The node enforces another size than the pod's spec, and nobody asked for it: {text}"
            );
            ("ResizeDrift", "drift", true, text)
        }
        What::PodCgroupStale { text } => {
            let text =
                format!("A resize left the pod's own cgroup behind (kubernetes/kubernetes#138760): {text}");
            ("ResizePodCgroupStale", "pod_cgroup_stale", true, text)
        }
        What::MemoryLimitsFixed { message } => {
            let text = format!("This cluster does not change memory limits like this: {message}");
            ("ResizeMemoryLimitsFixed", "memory_limits_fixed", true, text)
        }
        What::AtMaximum { text } => {
            let text = format!(
                "{text}. Look for a leak, or raise what bounds it: maxAllowed of its class, its annotation plimsoll.dev/bounds, or a LimitRange"
            );
            ("ResizeAtMaximum", "at_maximum", true, text)
        }
        What::OverQuota { message } => {
            let text =
                format!("A quota or limit range of the namespace does not allow the new size: {message}");
            ("ResizeOverQuota", "over_quota", true, text)
        }
    };
    Told { event, word, warning, text }
}

/// The resources of a pod that change, before and after, for people: `app cpu=250m/500m`, request and limit.
pub(in crate::core) fn described(facts: &PodFacts, sizes: &BTreeMap<String, Sizes>) -> (String, String) {
    let (mut from, mut to) = (Vec::new(), Vec::new());
    for (name, after) in sizes {
        let Some(container) = facts.containers.iter().find(|container| container.name == *name) else {
            continue;
        };
        let before = sizes_of(&container.spec);
        let both = [(Resource::Cpu, before.cpu, after.cpu), (Resource::Memory, before.memory, after.memory)];
        for (resource, before, after) in both.into_iter().filter(|(_, before, after)| before != after) {
            from.push(format!("{name} {}", amounts(resource, before)));
            to.push(format!("{name} {}", amounts(resource, after)));
        }
    }
    (from.join(", "), to.join(", "))
}

fn amounts(resource: Resource, size: Size) -> String {
    let amount = |amount: Option<u64>| match (resource, amount) {
        (_, None) => "-".to_owned(),
        (Resource::Cpu, Some(amount)) => Quantity::from_millicores(amount).to_string(),
        (Resource::Memory, Some(amount)) => Quantity::from_bytes(Bytes(amount)).to_string(),
    };
    format!("{resource}={}/{}", amount(size.request), amount(size.limit))
}
