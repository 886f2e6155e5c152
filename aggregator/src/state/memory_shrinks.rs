//! Whether taking memory from the pods of a node makes it unready (kubernetes/kubernetes#141100): after the second time none is taken there
//! for a day, and after each further time for another.

use std::time::Duration;

use plimsoll_contract::Moment;

/// A node that becomes unready within this time of a decrease became so because of it.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);
/// So often, and memory is not decreased there for a while.
const TIMES: u8 = 2;
/// The while. Its kubelet may be another one by then; one that is not fails at one decrease more.
pub(crate) const STOPPED_FOR: Duration = Duration::from_secs(24 * 3600);

/// The decreases of memory on one node.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MemoryShrinks {
    last: Option<Moment>,
    harmful: u8,
    until: Option<Moment>,
    /// Whether an Event said that none are made, and none since that they are again.
    announced: bool,
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
            if self.harmful >= TIMES {
                self.until = Some(now + STOPPED_FOR);
            }
        }
    }

    /// Whether none are made now.
    pub(crate) fn stopped(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| until > now)
    }

    /// Whether they were stopped or may be made again, and that is not announced.
    pub(crate) fn is_news(&self, now: Moment) -> bool {
        self.announced != self.stopped(now)
    }

    /// It is announced, or will never be.
    pub(crate) fn announced(&mut self, now: Moment) {
        self.announced = self.stopped(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    /// A decrease, and the node becomes unready so long after it.
    fn harm(shrinks: &mut MemoryShrinks, from: u64, after: u64) {
        shrinks.shrunk(at(from));
        shrinks.became_unready(at(from + after));
    }

    #[test]
    fn a_node_that_became_unready_twice_within_30_s_of_a_decrease_gets_no_more_of_them() {
        let mut shrinks = MemoryShrinks::default();
        harm(&mut shrinks, 100, 30);
        assert!(!shrinks.stopped(at(130)), "once may be chance");
        shrinks.became_unready(at(131));
        assert!(!shrinks.stopped(at(131)), "the same decrease is not to blame twice");
        harm(&mut shrinks, 200, 31);
        assert!(!shrinks.stopped(at(231)), "31 s after it");
        harm(&mut shrinks, 300, 10);
        assert!(shrinks.stopped(at(310)));
    }

    #[test]
    fn after_a_day_they_are_made_again_until_the_next_harm() {
        let (mut shrinks, day) = (MemoryShrinks::default(), STOPPED_FOR.as_secs());
        harm(&mut shrinks, 100, 1);
        harm(&mut shrinks, 200, 1);
        assert!(shrinks.is_news(at(201)));
        shrinks.announced(at(201));
        assert!(shrinks.stopped(at(200 + day)) && !shrinks.is_news(at(200 + day)));
        assert!(!shrinks.stopped(at(201 + day)) && shrinks.is_news(at(201 + day)));
        shrinks.announced(at(201 + day));
        harm(&mut shrinks, 300 + day, 1);
        assert!(shrinks.stopped(at(301 + day)), "one more is enough");
    }
}
