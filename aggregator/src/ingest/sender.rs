//! Whether the pod that a token is bound to is one of our agents. The core's view says so; a pod that it does not know
//! yet, at the start of a node, is asked for by name, not too often.

use std::sync::{Mutex, PoisonError};

use kube::{Api, Client};
use tokio::time::Instant;

use super::denial::Denial;
use crate::calls;
use crate::cluster::pod::PodLite;
use crate::config::Agents;
use crate::engine::Engine;
use crate::input::PodFacts;
use crate::review::Caller;
use crate::review::bucket::Bucket;

/// Pods asked for in a second.
const ASKED_PER_SECOND: u32 = 10;

/// Checks senders.
#[derive(Debug)]
pub struct Senders {
    agents: Agents,
    pods: Api<PodLite>,
    asked: Mutex<Bucket>,
}

impl Senders {
    /// The client must not retry.
    pub fn new(client: Client, agents: Agents) -> Senders {
        let pods = Api::namespaced(client, &agents.namespace);
        Senders { agents, pods, asked: Mutex::new(Bucket::new(ASKED_PER_SECOND, Instant::now())) }
    }

    /// Whether the caller is an agent.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self, engine: &Engine, caller: &Caller) -> Result<(), Denial> {
        let known = engine
            .ask(|core, _| core.find_agent_pod(&caller.uid).map(|pod| is_agent(pod, caller, &self.agents)));
        match known {
            Some(verdict) => verdict,
            None => is_agent(&self.ask(caller).await?, caller, &self.agents),
        }
    }

    async fn ask(&self, caller: &Caller) -> Result<PodFacts, Denial> {
        if !self.asked.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()) {
            return Err(Denial::ReviewsBusy);
        }
        match calls::write(self.pods.get(&caller.pod)).await {
            Ok(pod) => pod.facts().map_err(|_| Denial::UnknownPod),
            Err(error) if error.is_missing() => Err(Denial::UnknownPod),
            Err(_) => Err(Denial::ReviewsDown),
        }
    }
}

fn is_agent(pod: &PodFacts, caller: &Caller, agents: &Agents) -> Result<(), Denial> {
    if pod.uid != caller.uid || *pod.pod.name != *caller.pod {
        return Err(Denial::UnknownPod);
    }
    let ours = *pod.pod.namespace == *agents.namespace
        && pod.service_account == agents.account
        && pod.controller.as_deref() == Some(agents.controller().as_str());
    if !ours {
        return Err(Denial::NotAnAgent);
    }
    if pod.node.as_ref() != Some(&caller.node) {
        return Err(Denial::Elsewhere);
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

    fn verdict(pod: &PodFacts) -> Result<(), &'static str> {
        let caller = Caller { node: NodeName::new("n1").unwrap(), pod: "agent-x".into(), uid: "u".into() };
        is_agent(pod, &caller, &Agents::default()).map_err(|denial| denial.as_str())
    }

    #[test]
    fn an_agent_is_one_by_uid_namespace_account_controller_and_node() {
        assert_eq!(verdict(&pod()), Ok(()));
        assert_eq!(verdict(&PodFacts { uid: "v".into(), ..pod() }), Err("unknown_pod"));
        let elsewhere = PodName::new("default", "agent-x");
        assert_eq!(verdict(&PodFacts { pod: elsewhere, ..pod() }), Err("not_an_agent"));
        assert_eq!(verdict(&PodFacts { controller: None, ..pod() }), Err("not_an_agent"));
        let other = Some("ReplicaSet/plimsoll-agent".to_owned());
        assert_eq!(verdict(&PodFacts { controller: other, ..pod() }), Err("not_an_agent"));
        assert_eq!(verdict(&PodFacts { service_account: "default".into(), ..pod() }), Err("not_an_agent"));
        assert_eq!(verdict(&PodFacts { node: NodeName::new("n2").ok(), ..pod() }), Err("elsewhere"));
        assert_eq!(verdict(&PodFacts { node: None, ..pod() }), Err("elsewhere"));
    }
}
