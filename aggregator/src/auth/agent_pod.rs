//! Whether the pod that a token is bound to is one of our agents, as the watch shows it. Pure.

use super::Caller;
use crate::config::Agents;
use crate::facts::PodFacts;
use crate::rejection::Rejection;

/// Whether `pod`, found by the caller's uid, is an agent, and the caller.
///
/// # Errors
/// Why not.
pub(crate) fn check(pod: &PodFacts, caller: &Caller, agents: &Agents) -> Result<(), Rejection> {
    if pod.uid != caller.uid || *pod.pod.name != *caller.pod {
        return Err(Rejection::UnknownPod);
    }
    let ours = *pod.pod.namespace == *agents.namespace
        && pod.service_account == agents.account
        && pod.controller.as_deref() == Some(agents.controller().as_str());
    if !ours {
        return Err(Rejection::NotAnAgent);
    }
    if pod.node.as_ref() != Some(&caller.node) {
        return Err(Rejection::Elsewhere);
    }
    // An evicted pod keeps its object, and its token stays valid until it expires.
    if pod.finished {
        return Err(Rejection::FinishedPod);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_contract::{NodeName, PodName};

    fn pod() -> PodFacts {
        PodFacts {
            node: NodeName::new("n1").ok(),
            controller: Some("DaemonSet/plimsoll-agent".into()),
            service_account: "plimsoll-agent".into(),
            ..PodFacts::bare("plimsoll-agents", "agent-x", "u")
        }
    }

    fn checked(pod: &PodFacts) -> Result<(), &'static str> {
        let caller = Caller { node: NodeName::new("n1").unwrap(), pod: "agent-x".into(), uid: "u".into() };
        check(pod, &caller, &Agents::default()).map_err(|rejection| rejection.as_str())
    }

    #[test]
    fn an_agent_is_one_by_uid_namespace_account_controller_and_node_until_it_has_finished() {
        assert_eq!(checked(&pod()), Ok(()));
        assert_eq!(checked(&PodFacts { uid: "v".into(), ..pod() }), Err("unknown_pod"));
        let elsewhere = PodName::new("default", "agent-x");
        assert_eq!(checked(&PodFacts { pod: elsewhere, ..pod() }), Err("not_an_agent"));
        assert_eq!(checked(&PodFacts { controller: None, ..pod() }), Err("not_an_agent"));
        let other = Some("ReplicaSet/plimsoll-agent".to_owned());
        assert_eq!(checked(&PodFacts { controller: other, ..pod() }), Err("not_an_agent"));
        assert_eq!(checked(&PodFacts { service_account: "default".into(), ..pod() }), Err("not_an_agent"));
        assert_eq!(checked(&PodFacts { node: NodeName::new("n2").ok(), ..pod() }), Err("elsewhere"));
        assert_eq!(checked(&PodFacts { node: None, ..pod() }), Err("elsewhere"));
        assert_eq!(checked(&PodFacts { finished: true, ..pod() }), Err("finished_pod"));
        assert_eq!(checked(&PodFacts { terminating: true, ..pod() }), Ok(()), "it reports until it ends");
    }
}
