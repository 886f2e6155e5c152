//! Whether the pod that a token is bound to is one of our agents. The core knows the pods; one that it does not know yet, when a node
//! has just started, is read from the API server by name, at a limited rate.

use std::sync::{Mutex, PoisonError};

use kube::{Api, Client};
use plimsoll_process::rate_limit::RateLimiter;
use tokio::time::Instant;

use super::Caller;
use crate::cluster::client;
use crate::cluster::pods::PodObject;
use crate::config::Agents;
use crate::engine::Engine;
use crate::facts::PodFacts;
use crate::rejection::Rejection;

/// Pods read from the API server per second.
const LOOKUPS_PER_SECOND: u32 = 10;

/// Checks the pods of callers.
#[derive(Debug)]
pub(crate) struct AgentPods {
    agents: Agents,
    pods: Api<PodObject>,
    limiter: Mutex<RateLimiter>,
}

impl AgentPods {
    /// The client must not retry.
    pub(crate) fn new(client: Client, agents: Agents) -> AgentPods {
        let pods = Api::namespaced(client, &agents.namespace);
        AgentPods {
            agents,
            pods,
            limiter: Mutex::new(RateLimiter::new(LOOKUPS_PER_SECOND, Instant::now().into_std())),
        }
    }

    /// Whether the caller is an agent.
    ///
    /// # Errors
    /// Why not.
    pub(crate) async fn check(&self, engine: &Engine, caller: &Caller) -> Result<(), Rejection> {
        let known = engine
            .ask(|core, _| core.find_agent_pod(&caller.uid).map(|pod| is_agent(pod, caller, &self.agents)));
        match known {
            Some(result) => result,
            None => is_agent(&self.look_up(caller).await?, caller, &self.agents),
        }
    }

    async fn look_up(&self, caller: &Caller) -> Result<PodFacts, Rejection> {
        if !self.limiter.lock().unwrap_or_else(PoisonError::into_inner).try_acquire(Instant::now().into_std())
        {
            return Err(Rejection::ReviewsBusy);
        }
        match client::write(self.pods.get(&caller.pod)).await {
            Ok(pod) => pod.facts().map_err(|_| Rejection::UnknownPod),
            Err(error) if error.is_missing() => Err(Rejection::UnknownPod),
            Err(_) => Err(Rejection::ReviewsDown),
        }
    }
}

fn is_agent(pod: &PodFacts, caller: &Caller, agents: &Agents) -> Result<(), Rejection> {
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

    fn check(pod: &PodFacts) -> Result<(), &'static str> {
        let caller = Caller { node: NodeName::new("n1").unwrap(), pod: "agent-x".into(), uid: "u".into() };
        is_agent(pod, &caller, &Agents::default()).map_err(|rejection| rejection.as_str())
    }

    #[test]
    fn an_agent_is_one_by_uid_namespace_account_controller_and_node() {
        assert_eq!(check(&pod()), Ok(()));
        assert_eq!(check(&PodFacts { uid: "v".into(), ..pod() }), Err("unknown_pod"));
        let elsewhere = PodName::new("default", "agent-x");
        assert_eq!(check(&PodFacts { pod: elsewhere, ..pod() }), Err("not_an_agent"));
        assert_eq!(check(&PodFacts { controller: None, ..pod() }), Err("not_an_agent"));
        let other = Some("ReplicaSet/plimsoll-agent".to_owned());
        assert_eq!(check(&PodFacts { controller: other, ..pod() }), Err("not_an_agent"));
        assert_eq!(check(&PodFacts { service_account: "default".into(), ..pod() }), Err("not_an_agent"));
        assert_eq!(check(&PodFacts { node: NodeName::new("n2").ok(), ..pod() }), Err("elsewhere"));
        assert_eq!(check(&PodFacts { node: None, ..pod() }), Err("elsewhere"));
    }
}
