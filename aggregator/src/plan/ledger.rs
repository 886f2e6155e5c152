//! What was decided and what became of it: the newest thousand, for people.

use std::collections::VecDeque;
use std::time::Duration;

use plimsoll_contract::status::Decision;

/// How many decisions are kept.
pub(crate) const KEPT: usize = 1000;

/// The decisions.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: VecDeque<Decision>,
    first: u64,
}

impl Ledger {
    /// Writes a decision down; the number names it.
    pub(crate) fn enter(&mut self, decision: Decision) -> u64 {
        if self.entries.len() == KEPT {
            self.entries.pop_front();
            self.first += 1;
        }
        self.entries.push_back(decision);
        self.first + self.entries.len() as u64 - 1
    }

    /// Writes down what became of one; the whole, unless it is no longer kept.
    pub(crate) fn settle(&mut self, number: u64, outcome: &str, took: Option<Duration>) -> Option<Decision> {
        let entry = self.entries.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)?;
        entry.outcome = outcome.into();
        entry.took_ms = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        Some(entry.clone())
    }

    /// All, newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Decision> {
        self.entries.iter().rev()
    }
}
