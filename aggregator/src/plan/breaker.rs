//! What is too much at once to be true: then everything is withheld, also `unknown`, until it was quiet for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll_contract::PodName;

use crate::settings::BreakerSettings;

/// The breaker.
#[derive(Debug)]
pub(crate) struct Breaker {
    settings: BreakerSettings,
    /// When a pod last changed from one known band to another: by time, and by pod.
    order: BTreeSet<(Duration, PodName)>,
    when: BTreeMap<PodName, Duration>,
    /// While open: why, and since when it is quiet.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    why: String,
    quiet_since: Option<Duration>,
}

/// How much there is, and how much of it is silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Census {
    /// Nodes.
    pub(crate) nodes: usize,
    /// Silent nodes.
    pub(crate) silent: usize,
    /// Pods that have not finished.
    pub(crate) pods: usize,
}

/// The breaker changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flip {
    /// It opened, and why.
    Opened(String),
    /// It closed.
    Closed,
}

impl Breaker {
    /// Closed.
    pub(crate) fn new(settings: BreakerSettings) -> Breaker {
        Breaker { settings, order: BTreeSet::new(), when: BTreeMap::new(), open: None }
    }

    /// Why it is open, if it is.
    pub(crate) fn open(&self) -> Option<&str> {
        self.open.as_ref().map(|open| open.why.as_str())
    }

    /// A pod changed from one known band to another. It counts once within the window.
    pub(crate) fn count(&mut self, now: Duration, pod: &PodName) {
        if let Some(before) = self.when.insert(pod.clone(), now) {
            self.order.remove(&(before, pod.clone()));
        }
        self.order.insert((now, pod.clone()));
    }

    /// Looks at how much is wrong now.
    pub(crate) fn look(&mut self, now: Duration, census: Census) -> Option<Flip> {
        self.expire(now);
        let why = self.too_much(census);
        match (&mut self.open, why) {
            (None, Some(why)) => {
                self.open = Some(Open { why: why.clone(), quiet_since: None });
                return Some(Flip::Opened(why));
            }
            (Some(open), Some(_)) => open.quiet_since = None,
            (Some(open), None) => {
                let since = *open.quiet_since.get_or_insert(now);
                if now >= since + self.settings.quiet {
                    self.open = None;
                    return Some(Flip::Closed);
                }
            }
            (None, None) => {}
        }
        None
    }

    fn too_much(&self, census: Census) -> Option<String> {
        let s = &self.settings;
        let Census { nodes, silent, pods } = census;
        let changing = self.order.len();
        if silent >= s.silent_least && silent * 100 > nodes * s.silent_percent {
            Some(format!("{silent} of {nodes} nodes are silent"))
        } else if changing >= s.changing_least && changing * 100 > pods * s.changing_percent {
            Some(format!("{changing} of {pods} pods changed band within {} s", s.window.as_secs()))
        } else {
            None
        }
    }

    fn expire(&mut self, now: Duration) {
        while let Some((at, pod)) =
            self.order.first().filter(|(at, _)| *at + self.settings.window <= now).cloned()
        {
            self.order.remove(&(at, pod.clone()));
            self.when.remove(&pod);
        }
    }
}
