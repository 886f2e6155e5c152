//! Why a pod, or one resource of a container, is not resized: a closed list, with a word for metrics and JSON and words for people.

use std::borrow::Cow;

use plimsoll_contract::Moment;
use plimsoll_sizing::verdict::time;

use crate::state::PolicyProblem;

/// Why something is not resized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    // of the pod
    /// Neither the pod nor its namespace chooses a class.
    NoClass,
    /// The class that is chosen does not exist; in words.
    UnknownClass(String),
    /// The class that is chosen cannot be read, and never could; in words.
    BrokenClass(String),
    /// Not everything that bounds sizes is listed yet.
    BoundsUnknown,
    /// `plimsoll.dev/ignore` on the pod or its namespace.
    Ignored,
    /// It is in a namespace that is left alone by default.
    SystemNamespace,
    Finished,
    Terminating,
    /// It is bound to no node, or none of its containers runs yet.
    NotRunning,
    /// It has neither requests nor limits.
    BestEffort,
    /// The kubelet runs it from a file: the API server has only a copy.
    StaticPod,
    /// For it the kubelet would evict other pods; its priority class.
    CriticalPod(String),
    /// It has `spec.resources`.
    PodLevelResources,
    /// A LimitRange that came after it has a default for what it does not set; which.
    LimitRangeDefault(String),
    /// A resize of it is not done yet.
    InFlight,
    /// The kubelet has not finished a resize that is none of ours; its words.
    PendingResize(String),
    /// Another writer put its own sizes back.
    Yielding {
        /// Field manager of that writer.
        owner: String,
        until: Moment,
    },
    /// The last resize failed; its words.
    Failed {
        message: String,
        until: Moment,
    },
    /// Its node cannot resize it; in the API server's words.
    Unsupported(String),
    /// The size before our first resize cannot be read: there is no way back; in words.
    OriginalUnreadable(String),

    // of the node
    /// The API server does not list it.
    NodeUnknown,
    NodeNotReady,
    /// Its agent has not reported for too long.
    NodeSilent,

    // of one resource of a container
    ContainerNotRunning,
    /// The agent has reported no numbers of it.
    NoReport,
    /// What called for the change was seen too long ago.
    StaleReport,
    /// It grew too recently; when it may grow again.
    Cooldown(Moment),
    /// A resize of it restarts the container, and the class does not allow that.
    RestartContainer,
    /// The kernel's size is not that of the spec, and nobody asked for it; in words.
    Drift(String),
    /// The pod's own cgroup has less than its containers: more for one of them changes nothing; in words.
    PodCgroupStale(String),
    /// What its owner allows cannot be read; what is wrong with it.
    BadBounds(String),
    /// A HorizontalPodAutoscaler uses its request; the name.
    Autoscaled(String),
    /// Kueue has admitted it with its requests.
    QueueManaged,
    /// The namespace's ResourceQuota has no room.
    Quota,
    /// A LimitRange of the namespace does not allow it.
    LimitRange,
    /// The node has no room.
    NoRoom,
    /// What is left is kept for pods that wait for their cooldown.
    RoomKept,
    /// What the node could give is not known.
    RoomUnknown,
    /// Sizes are not decreased now: too many would be.
    DecreasesPaused(Moment),
    /// The class decreases sizes at other times.
    OutsideSchedule,
    /// The node became unready after memory was taken from its pods.
    MemoryShrinksStopped,
}

impl From<PolicyProblem<'_>> for Refusal {
    fn from(problem: PolicyProblem<'_>) -> Refusal {
        match problem {
            PolicyProblem::NotListed => Refusal::BoundsUnknown,
            PolicyProblem::Unknown(_) => Refusal::UnknownClass(problem.to_string()),
            PolicyProblem::Broken { .. } => Refusal::BrokenClass(problem.to_string()),
        }
    }
}

impl Refusal {
    /// The words of [`Refusal::as_str`].
    pub(crate) const WORDS: [&str; 41] = [
        "no_class",
        "unknown_class",
        "broken_class",
        "bounds_unknown",
        "ignored",
        "system_namespace",
        "finished",
        "terminating",
        "not_running",
        "best_effort",
        "static_pod",
        "critical_pod",
        "pod_level_resources",
        "limit_range_default",
        "in_flight",
        "pending_resize",
        "yielding",
        "failed",
        "unsupported",
        "original_unreadable",
        "drift",
        "node_unknown",
        "node_not_ready",
        "node_silent",
        "container_not_running",
        "no_report",
        "stale_report",
        "cooldown",
        "restart_container",
        "pod_cgroup_stale",
        "bad_bounds",
        "autoscaled",
        "queue_managed",
        "quota",
        "limit_range",
        "no_room",
        "room_kept",
        "room_unknown",
        "decreases_paused",
        "outside_schedule",
        "memory_shrinks_stopped",
    ];

    /// Whether it ends by itself and soon: the time between two growths, or a resize that is under way.
    pub(crate) fn is_wait(&self) -> bool {
        matches!(self, Refusal::Cooldown(_) | Refusal::InFlight)
    }

    /// The word in JSON and metrics.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Refusal::NoClass => "no_class",
            Refusal::UnknownClass(_) => "unknown_class",
            Refusal::BrokenClass(_) => "broken_class",
            Refusal::BoundsUnknown => "bounds_unknown",
            Refusal::Ignored => "ignored",
            Refusal::SystemNamespace => "system_namespace",
            Refusal::Finished => "finished",
            Refusal::Terminating => "terminating",
            Refusal::NotRunning => "not_running",
            Refusal::BestEffort => "best_effort",
            Refusal::StaticPod => "static_pod",
            Refusal::CriticalPod(_) => "critical_pod",
            Refusal::PodLevelResources => "pod_level_resources",
            Refusal::LimitRangeDefault(_) => "limit_range_default",
            Refusal::InFlight => "in_flight",
            Refusal::PendingResize(_) => "pending_resize",
            Refusal::Yielding { .. } => "yielding",
            Refusal::Failed { .. } => "failed",
            Refusal::Unsupported(_) => "unsupported",
            Refusal::OriginalUnreadable(_) => "original_unreadable",
            Refusal::Drift(_) => "drift",
            Refusal::NodeUnknown => "node_unknown",
            Refusal::NodeNotReady => "node_not_ready",
            Refusal::NodeSilent => "node_silent",
            Refusal::ContainerNotRunning => "container_not_running",
            Refusal::NoReport => "no_report",
            Refusal::StaleReport => "stale_report",
            Refusal::Cooldown(_) => "cooldown",
            Refusal::RestartContainer => "restart_container",
            Refusal::PodCgroupStale(_) => "pod_cgroup_stale",
            Refusal::BadBounds(_) => "bad_bounds",
            Refusal::Autoscaled(_) => "autoscaled",
            Refusal::QueueManaged => "queue_managed",
            Refusal::Quota => "quota",
            Refusal::LimitRange => "limit_range",
            Refusal::NoRoom => "no_room",
            Refusal::RoomKept => "room_kept",
            Refusal::RoomUnknown => "room_unknown",
            Refusal::DecreasesPaused(_) => "decreases_paused",
            Refusal::OutsideSchedule => "outside_schedule",
            Refusal::MemoryShrinksStopped => "memory_shrinks_stopped",
        }
    }

    /// The words for people, at `now`.
    pub(crate) fn words(&self, now: Moment) -> Cow<'static, str> {
        let minutes = |until: &Moment| until.since(now).as_secs().div_ceil(60);
        Cow::Borrowed(match self {
            Refusal::NoClass => {
                "no class is chosen: set the label plimsoll.dev/sla on the pod or its namespace"
            }
            Refusal::UnknownClass(problem) | Refusal::BrokenClass(problem) => return problem.clone().into(),
            Refusal::BoundsUnknown => "classes, autoscalers, quotas and limit ranges are not all known yet",
            Refusal::Ignored => "plimsoll.dev/ignore is set on the pod or its namespace",
            Refusal::SystemNamespace => "its namespace is left alone",
            Refusal::Finished => "it has finished",
            Refusal::Terminating => "it is being deleted",
            Refusal::NotRunning => "it is not running yet",
            Refusal::BestEffort => "not resizable: BestEffort; set initial requests",
            Refusal::StaticPod => "a static pod: change its manifest on the node",
            Refusal::CriticalPod(class) => {
                let why = "the kubelet would evict other pods to make room";
                return format!("its priority class is {class}: {why}").into();
            }
            Refusal::PodLevelResources => "it has pod-level resources (spec.resources)",
            Refusal::LimitRangeDefault(what) => {
                let why = "a LimitRange of the namespace has a default for that";
                return format!("the API server would set the {what} with any resize: {why}").into();
            }
            Refusal::InFlight => "a resize of it is in flight",
            Refusal::PendingResize(said) => {
                let end = if said.is_empty() { String::new() } else { format!(" ({said})") };
                return format!("its node has not finished a resize that Plimsoll does not follow{end}")
                    .into();
            }
            Refusal::Yielding { owner, until } => {
                return format!("{owner} set its own sizes back; left to it for {} min", minutes(until))
                    .into();
            }
            Refusal::Failed { message, until } => {
                return format!("the last resize failed, next try in {} min: {message}", minutes(until))
                    .into();
            }
            Refusal::Unsupported(problem) | Refusal::OriginalUnreadable(problem) => {
                return problem.clone().into();
            }
            Refusal::Drift(problem) | Refusal::PodCgroupStale(problem) => {
                return problem.clone().into();
            }
            Refusal::NodeUnknown => "its node is not listed",
            Refusal::NodeNotReady => "its node is not ready",
            Refusal::NodeSilent => "its node has not reported for 30 s",
            Refusal::ContainerNotRunning => "the container is not running",
            Refusal::NoReport => "the agent has reported no numbers of it yet",
            Refusal::StaleReport => "the agent has not reported it for some seconds",
            Refusal::Cooldown(until) => {
                return format!("it grew too recently: may grow again in {}", time(until.since(now))).into();
            }
            Refusal::RestartContainer => "a resize restarts the container, and the class does not allow that",
            Refusal::BadBounds(problem) => {
                return format!("the annotation plimsoll.dev/bounds cannot be read: {problem}").into();
            }
            Refusal::Autoscaled(name) => {
                return format!("HorizontalPodAutoscaler {name} uses its request").into();
            }
            Refusal::QueueManaged => "Kueue admitted it with its requests: they are not raised",
            Refusal::Quota => "the namespace's ResourceQuota has no room",
            Refusal::LimitRange => "a LimitRange of the namespace does not allow it",
            Refusal::NoRoom => "the node has no room",
            Refusal::RoomKept => {
                "what is left is kept for pods that grew a moment ago and may need more within 30 s"
            }
            Refusal::RoomUnknown => "what the node has free is not known",
            Refusal::DecreasesPaused(until) => {
                let why = "many pods would be decreased at once";
                return format!("decreases are paused for {} min: {why}", minutes(until)).into();
            }
            Refusal::OutsideSchedule => "the class decreases sizes at other times",
            Refusal::MemoryShrinksStopped => {
                "its node became unready twice right after a decrease of memory: none for a day"
            }
        })
    }
}
