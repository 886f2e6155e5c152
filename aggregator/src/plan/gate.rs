//! Whether this replica may write: it leads, knows the cluster, and is not paused.

pub(crate) use plimsoll_contract::status::Withheld;

/// What the gate depends on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gate {
    /// The epoch, while this replica leads.
    pub(crate) epoch: Option<u64>,
    /// The position of the pause switch, once it is known.
    pub(crate) paused: Option<bool>,
}

impl Gate {
    /// Whether this replica speaks for all: it leads and knows the cluster and the pause switch. Only then it publishes Events.
    pub(crate) fn may_announce(self, synced: bool) -> bool {
        synced && self.epoch.is_some() && self.paused.is_some()
    }

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
