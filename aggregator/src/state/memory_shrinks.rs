//! Whether taking memory from the pods of a node makes it unready (kubernetes/kubernetes#141100): after the second time none is taken there.

use std::time::Duration;

use plimsoll_contract::Moment;

/// A node that becomes unready within this time of a decrease became so because of it.
const WITHIN: Duration = Duration::from_secs(30);
/// So often, and memory is not decreased there any more.
const TIMES: u8 = 2;

/// The decreases of memory on one node.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MemoryShrinks {
    last: Option<Moment>,
    harmful: u8,
}

impl MemoryShrinks {
    /// Memory of one of its pods is decreased.
    pub(crate) fn shrunk(&mut self, now: Moment) {
        self.last = Some(now);
    }

    /// The node was ready and is not any more. One decrease is to blame once.
    pub(super) fn became_unready(&mut self, now: Moment) {
        if self.last.take().is_some_and(|last| now.since(last) <= WITHIN) {
            self.harmful = self.harmful.saturating_add(1);
        }
    }

    /// Whether none are made any more.
    pub(crate) fn stopped(&self) -> bool {
        self.harmful >= TIMES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn a_node_that_became_unready_twice_within_30_s_of_a_decrease_gets_no_more_of_them() {
        let mut shrinks = MemoryShrinks::default();
        shrinks.shrunk(at(100));
        shrinks.became_unready(at(130));
        assert!(!shrinks.stopped(), "once may be chance");
        shrinks.became_unready(at(131));
        assert!(!shrinks.stopped(), "the same decrease is not to blame twice");
        shrinks.shrunk(at(200));
        shrinks.became_unready(at(231));
        assert!(!shrinks.stopped(), "31 s after it");
        shrinks.shrunk(at(300));
        shrinks.became_unready(at(310));
        assert!(shrinks.stopped());
    }
}
