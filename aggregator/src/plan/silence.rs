//! Many silent nodes at once are more likely a fault of ours than of theirs: `unknown` labels for their pods are withheld for a
//! while. After that the silence is taken for the truth. Labels of reporting nodes are never withheld.

use plimsoll_contract::Moment;

use crate::settings::SilenceSettings;

/// The guard against labeling many pods `unknown` by mistake.
#[derive(Debug)]
pub(crate) struct SilenceGuard {
    settings: SilenceSettings,
    phase: Phase,
}

/// Where the guard stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Few nodes are silent.
    Normal,
    /// Many nodes are silent: `unknown` is withheld until then.
    Withholding(Moment),
    /// Many nodes are still silent, and their pods are labeled `unknown`.
    Lasting,
}

impl SilenceGuard {
    pub(crate) fn new(settings: SilenceSettings) -> SilenceGuard {
        SilenceGuard { settings, phase: Phase::Normal }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Until when `unknown` is withheld from silent nodes' pods, if it is.
    pub(crate) fn withheld_until(&self) -> Option<Moment> {
        match self.phase {
            Phase::Withholding(until) => Some(until),
            Phase::Normal | Phase::Lasting => None,
        }
    }

    /// Counts again; whether the phase changed.
    pub(crate) fn observe(&mut self, now: Moment, nodes: usize, silent: usize) -> bool {
        let many = silent >= self.settings.least && silent * 100 > nodes * self.settings.percent;
        let phase = match self.phase {
            _ if !many => Phase::Normal,
            Phase::Normal => Phase::Withholding(now + self.settings.hold),
            Phase::Withholding(until) if until <= now => Phase::Lasting,
            phase => phase,
        };
        std::mem::replace(&mut self.phase, phase) != phase
    }
}
