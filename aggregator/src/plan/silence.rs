//! Many silent nodes at once are more likely a fault of ours than of theirs: `unknown` labels for their pods are withheld for a
//! while. After that the silence is taken for the truth. Labels of reporting nodes are never withheld.

use plimsoll_contract::Moment;

use crate::settings::SilenceSettings;

/// The guard against labeling many pods `unknown` by mistake.
#[derive(Debug)]
pub(crate) struct SilenceGuard {
    settings: SilenceSettings,
    phase: Phase,
    /// Since when few nodes are silent, while the phase says that many are.
    few_since: Option<Moment>,
}

/// Where the guard stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Phase {
    /// Few nodes are silent.
    #[default]
    Normal,
    /// Many nodes are silent: `unknown` is withheld until then.
    Withholding(Moment),
    /// Many nodes are still silent, and their pods are labeled `unknown`.
    Lasting,
}

impl SilenceGuard {
    pub(crate) fn new(settings: SilenceSettings) -> SilenceGuard {
        SilenceGuard { settings, phase: Phase::Normal, few_since: None }
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

    /// Counts again; whether the phase changed. It returns to normal only after few nodes have been silent for a while: when a
    /// partition ends, nodes report again one by one, and the last of them are not to be labeled `unknown` a moment before.
    pub(crate) fn observe(&mut self, now: Moment, nodes: usize, silent: usize) -> bool {
        let SilenceSettings { percent, least, hold, calm, .. } = self.settings;
        let many = silent >= least && silent * 100 > nodes * percent;
        self.few_since = if many { None } else { self.few_since.or(Some(now)) };
        let calm = self.few_since.is_some_and(|since| now >= since + calm);
        let phase = match self.phase {
            Phase::Normal if many => Phase::Withholding(now + hold),
            Phase::Withholding(_) | Phase::Lasting if calm => Phase::Normal,
            Phase::Withholding(until) if until <= now => Phase::Lasting,
            phase => phase,
        };
        std::mem::replace(&mut self.phase, phase) != phase
    }
}
