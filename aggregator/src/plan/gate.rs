//! Whether this replica may write: it leads, knows the cluster, and is not paused.

use std::fmt;

use serde::Serialize;

/// What the gate depends on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gate {
    /// The epoch, while this replica leads.
    pub(crate) epoch: Option<u64>,
    /// The position of the pause switch, once it is known.
    pub(crate) paused: Option<bool>,
}

/// Why nothing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Withheld {
    /// Pods, nodes and namespaces are not all listed yet.
    NotSynced,
    /// Another replica leads, or the position of the pause switch is not known yet.
    NotLeading,
    /// The pause switch is on.
    Paused,
}

impl Gate {
    /// Why nothing is written, if nothing is: the first reason that holds. A replica that does not lead says that it is paused too,
    /// so that an operator can see that every replica has read the switch.
    pub(crate) fn withheld(self, synced: bool) -> Option<Withheld> {
        match (self.paused, self.epoch) {
            _ if !synced => Some(Withheld::NotSynced),
            (Some(true), _) => Some(Withheld::Paused),
            (None, _) | (_, None) => Some(Withheld::NotLeading),
            (Some(false), Some(_)) => None,
        }
    }

    /// The epoch to write with, where writing is allowed.
    pub(crate) fn epoch_to_write(self, synced: bool) -> Option<u64> {
        self.epoch.filter(|_| self.withheld(synced).is_none())
    }
}

impl Withheld {
    /// Every reason.
    pub(crate) const ALL: [Withheld; 3] = [Withheld::NotSynced, Withheld::NotLeading, Withheld::Paused];

    /// The word in logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Withheld::NotSynced => "not_synced",
            Withheld::NotLeading => "not_leading",
            Withheld::Paused => "paused",
        }
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
