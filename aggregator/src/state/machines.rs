//! Which nodes run on the same kernel, by the boot id of their reports: each of them says that it has the whole machine (minikube, kind).

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_contract::NodeName;

/// Nodes by machine.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    boot_of: BTreeMap<NodeName, String>,
    nodes_of: BTreeMap<String, BTreeSet<NodeName>>,
}

impl Machines {
    /// The boot id in the last report of a node. An empty one says nothing.
    pub(super) fn observe(&mut self, node: &NodeName, boot: &str) {
        if self.boot_of.get(node).is_some_and(|known| known == boot) {
            return;
        }
        self.forget(node);
        if !boot.is_empty() {
            self.boot_of.insert(node.clone(), boot.to_owned());
            self.nodes_of.entry(boot.to_owned()).or_default().insert(node.clone());
        }
    }

    /// A node is gone, or is another machine.
    pub(super) fn forget(&mut self, node: &NodeName) {
        let Some(boot) = self.boot_of.remove(node) else { return };
        if let Some(nodes) = self.nodes_of.get_mut(&boot) {
            nodes.remove(node);
            if nodes.is_empty() {
                self.nodes_of.remove(&boot);
            }
        }
    }

    /// The other nodes of its machine.
    pub(crate) fn others<'a>(&'a self, node: &'a NodeName) -> impl Iterator<Item = &'a NodeName> {
        let nodes = self.boot_of.get(node).and_then(|boot| self.nodes_of.get(boot));
        nodes.into_iter().flatten().filter(move |other| *other != node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn others(machines: &Machines, name: &str) -> Vec<String> {
        machines.others(&node(name)).map(ToString::to_string).collect()
    }

    #[test]
    fn nodes_that_share_a_boot_id_are_one_machine_until_one_reboots_or_goes() {
        let mut machines = Machines::default();
        for (name, boot) in [("a", "1"), ("b", "1"), ("c", "1"), ("d", "2"), ("e", ""), ("f", "")] {
            machines.observe(&node(name), boot);
        }
        assert_eq!(others(&machines, "a"), ["b", "c"]);
        assert!(others(&machines, "d").is_empty());
        assert!(others(&machines, "e").is_empty(), "a boot id that is not known is no common one");
        machines.observe(&node("b"), "2");
        machines.forget(&node("c"));
        assert!(others(&machines, "a").is_empty());
        assert_eq!(others(&machines, "d"), ["b"]);
        for name in ["a", "b", "d"] {
            machines.forget(&node(name));
        }
        assert!(machines.boot_of.is_empty() && machines.nodes_of.is_empty());
    }
}
