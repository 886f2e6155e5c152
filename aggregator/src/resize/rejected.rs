//! Sizes that the node or the API server did not give. What there was no room for is not asked for again before there is more; what was refused
//! as it is, not at all while it is remembered.

use std::collections::BTreeMap;

use plimsoll_contract::Resource;
use plimsoll_sizing::size::Sizes;

use super::phase::Resize;
use super::{Purpose, Wanted};

/// As many are remembered.
const MOST: usize = 16;

/// A size that the node or the API server did not give.
#[derive(Debug, Clone, PartialEq)]
struct Rejected {
    from: BTreeMap<String, Sizes>,
    to: BTreeMap<String, Sizes>,
    kind: RejectionKind,
    message: String,
}

/// Why it was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RejectionKind {
    /// No room now.
    Deferred,
    /// Never room on this node, as it is.
    Infeasible,
    /// The request as it is.
    Refused,
}

/// The newest of them.
#[derive(Debug, Default)]
pub(super) struct Rejections(Vec<Rejected>);

impl Rejections {
    pub(super) fn add(&mut self, resize: &Resize, kind: RejectionKind, message: &str) {
        let Resize { from, wanted, .. } = resize;
        self.forget(resize);
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        let (from, to, message) = (from.clone(), wanted.sizes.clone(), message.to_owned());
        self.0.push(Rejected { from, to, kind, message });
    }

    /// Something shrank: what did not fit may fit now.
    pub(super) fn free(&mut self) {
        self.0.retain(|rejected| rejected.kind == RejectionKind::Refused);
    }

    /// This size was given after all.
    pub(super) fn forget(&mut self, resize: &Resize) {
        self.0.retain(|rejected| rejected.to != resize.wanted.sizes);
    }

    pub(super) fn last(&self, kind: RejectionKind) -> Option<&BTreeMap<String, Sizes>> {
        self.0.iter().rev().find(|rejected| rejected.kind == kind).map(|rejected| &rejected.to)
    }

    /// Why a wanted size need not be tried, in the words of who rejected it.
    pub(super) fn covering(&self, wanted: &Wanted, spec: &BTreeMap<String, Sizes>) -> Option<&str> {
        self.0.iter().find(|rejected| rejected.covers(wanted, spec)).map(|rejected| rejected.message.as_str())
    }
}

impl Rejected {
    /// Whether a wanted size need not be tried: it is the same, or it needs at least as much of everything that was too much.
    fn covers(&self, wanted: &Wanted, spec: &BTreeMap<String, Sizes>) -> bool {
        if wanted.purpose == Purpose::Revert {
            return false;
        }
        let same = self.to.iter().all(|(name, to)| wanted.sizes.get(name).or(spec.get(name)) == Some(to));
        let by_plan = matches!(wanted.purpose, Purpose::Grow | Purpose::Birth);
        same || (by_plan && self.kind != RejectionKind::Refused && self.needs_as_much(wanted, spec))
    }

    fn needs_as_much(&self, wanted: &Wanted, spec: &BTreeMap<String, Sizes>) -> bool {
        let mut grown = Vec::new();
        for (name, to) in &self.to {
            for resource in Resource::ALL {
                let from = self.from.get(name).map(|from| from[resource].request);
                let to = to[resource].request;
                let wants = wanted.sizes.get(name).or(spec.get(name)).map(|sizes| sizes[resource].request);
                if from.is_some_and(|from| to > from) {
                    grown.push(wants.is_some_and(|wants| wants >= to));
                }
            }
        }
        !grown.is_empty() && grown.into_iter().all(|as_much| as_much)
    }
}
