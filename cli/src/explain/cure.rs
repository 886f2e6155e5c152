//! What a person can do about a reason for which a pod is not resized.

/// By the word of the reason; absent where nothing needs to be done, or the words say it already.
pub(super) fn cure(refusal: &str) -> Option<&'static str> {
    Some(match refusal {
        "no_class" => "`kubectl get slaclasses` lists the classes",
        "unknown_class" => "`kubectl get slaclasses` lists the classes; correct the label plimsoll.dev/sla",
        "broken_class" => "`kubectl describe slaclass NAME` says which field to correct",
        "ignored" => "remove the label plimsoll.dev/ignore from the pod or its namespace",
        "best_effort" => "set a request or a limit in the template: a resize may not add the first one",
        "pod_level_resources" => "set resources of the containers instead of spec.resources",
        "limit_range_default" => {
            "set it in the template: pods that are created after the LimitRange have it already"
        }
        "pending_resize" => {
            "let the other resize finish, or put the size in the spec back: `kubectl describe pod` names it"
        }
        "yielding" => "remove the label plimsoll.dev/sla, or let the other writer leave cpu and memory alone",
        "original_unreadable" => "correct or remove the annotation plimsoll.dev/original-resources",
        "node_unknown" | "node_not_ready" => "see `kubectl describe node`",
        "node_silent" => "see the agent on its node: `kubectl -n plimsoll-agents get pods -o wide`",
        "restart_container" => "set resizePolicy NotRequired for the resource in the template",
        "bad_bounds" => "correct the annotation plimsoll.dev/bounds",
        "autoscaled" => "let the HorizontalPodAutoscaler use another metric than this resource",
        "queue_managed" => "ask for more in the Job, so that Kueue can admit it",
        "quota" => "raise the ResourceQuota, or lower the requests of other pods in the namespace",
        "limit_range" => {
            "change the LimitRange, or the template: all containers of the pod must be within, also those that do not change"
        }
        "no_room" => {
            "it is tried again when pods leave the node; `kubectl describe node` says what they request"
        }
        "room_kept" => "it is tried again every few seconds, and gets what the others do not need",
        _ => return None,
    })
}
