//! What is announced as Kubernetes Events, beside conflicts: silent nodes, pauses, objects that cannot be read, and labels of
//! people that mean nothing.
//!
//! Each transition is announced once, and only by the leader. What many objects may cause at once is bounded: while `unknown` is
//! withheld because many nodes are silent, one Event on the Deployment says it instead of one for each node. Nodes that are still silent
//! when the silence guard returns to normal are announced then. Events on nodes are at most [`MOST`] in [`WITHIN`], and so are Events
//! about invalid labels, those about objects that cannot be read, and those about invalid classes; the others wait. That memory is not
//! decreased on a node any more, or is again, counts among those on nodes. Those about resizes are as
//! many, and as many again about those that went wrong; what is left out is in the decision log.

use std::collections::VecDeque;
use std::time::Duration;

use plimsoll_contract::status::AgentState;
use plimsoll_contract::{Moment, keys};

use super::{Core, Note};
use crate::action::{Action, KubeEvent, Subject};
use crate::plan::silence::Phase;
use crate::settings::Output;
use crate::state::{ObjectName, SHRINK_HARMS_WITHIN, SHRINKS_STOPPED_FOR};

/// Events of one kind on single objects within [`WITHIN`].
const MOST: usize = 10;
const WITHIN: Duration = Duration::from_secs(60);

/// What was announced.
#[derive(Debug, Default)]
pub(super) struct Announced {
    /// The phase of the silence guard.
    phase: Phase,
    paused: bool,
    on_nodes: EventBudget,
    /// One that is left out is published at the next conflict on that pod.
    pub(super) on_conflicts: EventBudget,
    on_labels: EventBudget,
    on_unreadable: EventBudget,
    on_classes: EventBudget,
    /// What happens to resizes: the decision log and the log have what is left out.
    pub(super) on_resizes: EventBudget,
    pub(super) on_resize_problems: EventBudget,
}

/// When the latest Events of one kind were published.
#[derive(Debug, Default)]
pub(super) struct EventBudget {
    recent: VecDeque<Moment>,
}

impl EventBudget {
    /// Whether one more Event may be published now; it counts.
    pub(super) fn spend(&mut self, now: Moment) -> bool {
        self.recent.retain(|at| *at + WITHIN > now);
        let allowed = self.recent.len() < MOST;
        if allowed {
            self.recent.push_back(now);
        }
        allowed
    }
}

impl Core {
    /// Publishes what changed since the last step.
    pub(super) fn announce(&mut self, actions: &mut Vec<Action>) {
        let is_speaker = self.gate.may_announce(self.state.synced());
        let mut events = self.node_events(is_speaker);
        events.extend(self.memory_shrink_events(is_speaker));
        if is_speaker {
            events.extend(self.silence_event());
            events.extend(self.pause_event());
            events.extend(self.invalid_ignores());
            events.extend(self.unreadable_objects());
            events.extend(self.invalid_classes());
        }
        actions.extend(events.into_iter().map(Action::Publish));
    }

    /// The phase of the silence guard.
    fn silence_event(&mut self) -> Option<KubeEvent> {
        let phase = self.silence.phase();
        if std::mem::replace(&mut self.announced.phase, phase) == phase {
            return None;
        }
        let minutes = self.settings.silence.hold.as_secs() / 60;
        let warning = |note: String| Some(KubeEvent::warning(Subject::Aggregator, "ManyNodesSilent", note));
        match phase {
            Phase::Withholding(_) => warning(format!(
                "Many nodes are silent: the labels of their pods stay as they are for {minutes} min. Check the agents and the network \
                 path to the aggregator."
            )),
            Phase::Lasting => warning(format!(
                "Many nodes have been silent for {minutes} min: their pods are labeled unknown."
            )),
            Phase::Normal => {
                let note = "Enough nodes report again.".to_owned();
                Some(KubeEvent::normal(Subject::Aggregator, "NodesReport", note))
            }
        }
    }

    /// The position of the pause switch.
    fn pause_event(&mut self) -> Option<KubeEvent> {
        let paused = self.gate.paused?;
        if std::mem::replace(&mut self.announced.paused, paused) == paused {
            return None;
        }
        let (pauses, resumes) = match self.settings.output {
            Output::Labels | Output::Annotations => ("no label is written", "labels are written again"),
            Output::Metrics => (
                "nothing changes, because bands are only in metrics (--output metrics)",
                "bands are only in metrics (--output metrics)",
            ),
        };
        Some(match paused {
            true => KubeEvent::warning(
                Subject::Aggregator,
                "Paused",
                format!(
                    "ConfigMap {} pauses Plimsoll: {pauses}. `plimsoll pause --off` ends it.",
                    keys::CONTROL_CONFIG_MAP
                ),
            ),
            false => {
                KubeEvent::normal(Subject::Aggregator, "Resumed", format!("No longer paused: {resumes}."))
            }
        })
    }

    /// Nodes that fell silent or report again; one without a slot in the budget waits. A replica that does not lead remembers them too, so
    /// that it repeats none once it leads.
    fn node_events(&mut self, is_speaker: bool) -> Vec<KubeEvent> {
        let mut events = Vec::new();
        let is_told_for_all = self.silence.withheld_until().is_some();
        for name in std::mem::take(&mut self.state.agents_changed) {
            let Some(node) = self.state.nodes.get_mut(&name) else { continue };
            let Some(facts) = &node.facts else { continue };
            let silent = node.agent == AgentState::Silent;
            let says_nothing = silent && (is_told_for_all || !node.has_labels_to_lose);
            if silent == node.announced_silent || says_nothing {
                continue;
            }
            if is_speaker && !self.announced.on_nodes.spend(self.now) {
                self.state.agents_changed.insert(name);
                continue;
            }
            node.announced_silent = silent;
            if !is_speaker {
                continue;
            }
            let about = Subject::Node { node: name.clone(), uid: facts.uid.clone() };
            events.push(match silent {
                true => {
                    let seconds = self.settings.silent_after.as_secs();
                    let note = format!(
                        "No report of this node was accepted for {seconds} s: the bands of its pods are unknown. Check its agent: \
                         kubectl get pods -n {} -o wide --field-selector spec.nodeName={name}",
                        self.settings.agent_namespace
                    );
                    KubeEvent::warning(about, "AgentSilent", note)
                }
                false => {
                    KubeEvent::normal(about, "AgentReports", "Reports of this node are accepted again.".to_owned())
                }
            });
        }
        events
    }

    /// Nodes where memory is not decreased any more because that made them unready, or is again; one without a slot in the budget waits.
    fn memory_shrink_events(&mut self, is_speaker: bool) -> Vec<KubeEvent> {
        let (now, mut events) = (self.now, Vec::new());
        for name in std::mem::take(&mut self.state.memory_shrinks_changed) {
            let Some(node) = self.state.nodes.get_mut(&name) else { continue };
            let Some(facts) = node.facts.as_ref().filter(|_| node.memory_shrinks.is_news(now)) else {
                continue;
            };
            if is_speaker && !self.announced.on_nodes.spend(now) {
                self.state.memory_shrinks_changed.insert(name);
                continue;
            }
            node.memory_shrinks.announced(now);
            if !is_speaker {
                continue;
            }
            let about = Subject::Node { node: name.clone(), uid: facts.uid.clone() };
            events.push(match node.memory_shrinks.stopped(now) {
                true => {
                    let note = format!(
                        "This node became unready twice within {} s after the memory of one of its pods was decreased (kubernetes/kubernetes#141100): \
                         no memory is decreased here for {} h. Upgrade its kubelet; a node that is added anew starts without this.",
                        SHRINK_HARMS_WITHIN.as_secs(),
                        SHRINKS_STOPPED_FOR.as_secs() / 3600
                    );
                    KubeEvent::warning(about, "MemoryShrinksStopped", note)
                }
                false => {
                    let note = "The memory of pods of this node may be decreased again. If that makes it unready once more, it ends for another day.";
                    KubeEvent::normal(about, "MemoryShrinksResumed", note.to_owned())
                }
            });
        }
        events
    }

    /// Values of `plimsoll.dev/ignore` that are neither `true` nor `false`, each once; namespaces take turns.
    fn invalid_ignores(&mut self) -> Vec<KubeEvent> {
        let mut events = Vec::new();
        while self.state.invalid_ignores.is_any_untold() && self.announced.on_labels.spend(self.now) {
            let Some((object, value)) = self.state.invalid_ignores.next_untold() else { break };
            let about = self.subject(&object);
            let object = match object {
                ObjectName::Namespace(name) => name,
                ObjectName::Node(node) => node.to_string(),
                ObjectName::Pod(pod) => pod.to_string(),
            };
            let note = format!(
                "The label {} is {value:?}, which is neither \"true\" nor \"false\": nothing is ignored because of it.",
                keys::IGNORE
            );
            events.push(KubeEvent::warning(about, "InvalidIgnore", note));
            self.notes.push(Note::InvalidIgnore { object, value });
        }
        events
    }

    /// Objects that cannot be read, each problem once; namespaces take turns.
    fn unreadable_objects(&mut self) -> Vec<KubeEvent> {
        let mut events = Vec::new();
        while self.state.unreadable.is_any_untold() && self.announced.on_unreadable.spend(self.now) {
            let Some((object, problem)) = self.state.unreadable.next_untold() else { break };
            let known = || problem.uid.clone().filter(|uid| !uid.is_empty());
            let (about, effect) = match object {
                ObjectName::Pod(pod) => (
                    Subject::Pod { pod, uid: known().unwrap_or_default() },
                    "its load is not known to Plimsoll, and its labels do not change",
                ),
                ObjectName::Node(node) => (
                    Subject::Node { node, uid: known() },
                    "its reports are not accepted, as if it did not exist",
                ),
                ObjectName::Namespace(name) => (
                    Subject::Namespace { name, uid: known() },
                    "nothing is written to its pods, because they may have to be ignored",
                ),
            };
            let note = format!(
                "Plimsoll cannot read this object: {}. Until that field is corrected, {effect}. Others are not affected.",
                problem.text
            );
            events.push(KubeEvent::warning(about, "Unreadable", note));
        }
        events
    }

    /// SLA classes that say something that cannot be used, each problem once.
    fn invalid_classes(&mut self) -> Vec<KubeEvent> {
        let mut events = Vec::new();
        while self.state.classes.is_any_untold() && self.announced.on_classes.spend(self.now) {
            let Some((name, class)) = self.state.classes.next_untold() else { break };
            let Some(problem) = class.problem else { continue };
            let held = class.policy.is_some();
            let effect = match held {
                true => "what it said before stays in force",
                false => "no pod is sized by it",
            };
            let note = format!("{problem}. Until that field is corrected, {effect}.");
            let about = Subject::Class { name: name.clone(), uid: class.uid };
            events.push(KubeEvent::warning(about, "InvalidClass", note));
            self.notes.push(Note::InvalidClass { class: name, problem, held });
        }
        events
    }

    /// An object that is known, for an Event about it.
    fn subject(&self, object: &ObjectName) -> Subject {
        match object.clone() {
            ObjectName::Namespace(name) => {
                let uid = self.state.namespaces.get(&name).and_then(|facts| facts.uid.clone());
                Subject::Namespace { name, uid }
            }
            ObjectName::Node(node) => {
                let facts = self.state.nodes.get(&node).and_then(|node| node.facts.as_ref());
                Subject::Node { uid: facts.and_then(|facts| facts.uid.clone()), node }
            }
            ObjectName::Pod(pod) => {
                let uid = self.state.pods.get(&pod).map(|pod| pod.facts.uid.clone()).unwrap_or_default();
                Subject::Pod { pod, uid }
            }
        }
    }
}
