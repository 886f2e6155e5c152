//! The order of one node's reports: an older one must not replace a newer one.
//!
//! Reports get out of order when an agent gives up a request that the aggregator answers later, and when two agents report one node
//! for a while, because one replaces the other. Each agent numbers its reports, from its start time in milliseconds, so
//! that the numbers rise across agents too. Where they do not, because a clock was wrong or a node lied, a *sender* that was never
//! heard before starts anew: another pod of the agent, or another boot of the node. One that was replaced must continue
//! above the newest number: a boot id alone, which any report can claim, never makes an old report a new one.

use std::collections::VecDeque;

/// Senders of a node that are remembered after another one replaced them. A node that invents more confuses only its own reports.
const FORMER: usize = 4;

/// Who sends the reports of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sender {
    /// The API's uid of the agent's pod, from its verified token.
    pub(crate) pod: String,
    /// The boot id of the node, as the report says.
    pub(crate) boot: String,
}

/// The last accepted report of a node, and who sent it and those before.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    last: Option<(Sender, u64)>,
    former: VecDeque<Sender>,
}

/// Why a report is out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutOfOrder {
    /// A report with this number was accepted already.
    Old { newest: u64 },
    /// The number is far ahead of the clock; the sender may continue from this one.
    Ahead { continue_from: u64 },
}

impl Sequence {
    /// Whether a report is the next one. `clock` is the aggregator's, in milliseconds since the epoch, as the agents' start times are;
    /// numbers may be `ahead` of it by this much.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn check(&self, sender: &Sender, seq: u64, clock: u64, ahead: u64) -> Result<(), OutOfOrder> {
        let most = clock.saturating_add(ahead);
        // A number that was accepted and is too large now: the aggregator's clock was set back. Nobody could go above it.
        let newest = self.last.as_ref().filter(|(_, newest)| *newest <= most);
        if seq > most {
            let newest = newest.map_or(0, |(_, newest)| *newest);
            return Err(OutOfOrder::Ahead { continue_from: newest.max(clock) });
        }
        match newest {
            Some((last, newest)) if seq <= *newest && (last == sender || self.former.contains(sender)) => {
                Err(OutOfOrder::Old { newest: *newest })
            }
            _ => Ok(()),
        }
    }

    /// A report was accepted.
    pub(crate) fn advance(&mut self, sender: Sender, seq: u64) {
        self.former.retain(|former| *former != sender);
        if let Some((last, _)) = self.last.replace((sender, seq))
            && self.last.as_ref().is_some_and(|(sender, _)| *sender != last)
        {
            self.former.truncate(FORMER - 1);
            self.former.push_front(last);
        }
    }

    /// The number of the last accepted report.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.last.as_ref().map(|(_, seq)| *seq)
    }

    /// The boot id in it.
    pub(crate) fn boot(&self) -> Option<&str> {
        self.last.as_ref().map(|(sender, _)| sender.boot.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 24 * 3600 * 1000;
    const CLOCK: u64 = 1_800_000_000_000;

    fn sender(pod: &str, boot: &str) -> Sender {
        Sender { pod: pod.into(), boot: boot.into() }
    }

    fn check(sequence: &Sequence, sender: &Sender, seq: u64) -> Result<(), OutOfOrder> {
        sequence.check(sender, seq, CLOCK, DAY)
    }

    fn after(reports: &[(&Sender, u64)]) -> Sequence {
        let mut sequence = Sequence::default();
        for (sender, seq) in reports {
            assert_eq!(check(&sequence, sender, *seq), Ok(()));
            sequence.advance((*sender).clone(), *seq);
        }
        sequence
    }

    #[test]
    fn the_numbers_of_one_sender_rise() {
        let a = sender("a", "1");
        let sequence = after(&[(&a, 5), (&a, 6)]);
        for seq in [0, 5, 6] {
            assert_eq!(check(&sequence, &a, seq), Err(OutOfOrder::Old { newest: 6 }));
        }
        assert_eq!(check(&sequence, &a, 7), Ok(()));
    }

    #[test]
    fn another_boot_or_another_agent_starts_anew_and_what_it_replaced_does_not() {
        let (a, rebooted, restarted) = (sender("a", "1"), sender("a", "2"), sender("b", "1"));
        for new in [&rebooted, &restarted] {
            let sequence = after(&[(&a, 100), (new, 3)]);
            assert_eq!(check(&sequence, new, 3), Err(OutOfOrder::Old { newest: 3 }));
            assert_eq!(
                check(&sequence, &a, 2),
                Err(OutOfOrder::Old { newest: 3 }),
                "a late report of before"
            );
            assert_eq!(check(&sequence, &a, 4), Ok(()), "an agent that was told the newest number continues");
        }
    }

    #[test]
    fn a_number_far_ahead_of_the_clock_is_refused_and_the_sender_is_told_where_to_continue() {
        let a = sender("a", "1");
        let sequence = after(&[(&a, CLOCK + DAY)]);
        let refused = Err(OutOfOrder::Ahead { continue_from: CLOCK + DAY });
        assert_eq!(check(&sequence, &a, CLOCK + DAY + 1), refused);
        assert_eq!(sequence.check(&a, CLOCK + DAY + 1, CLOCK + 1, DAY), Ok(()), "a moment later it may");
        let ahead = Err(OutOfOrder::Ahead { continue_from: CLOCK });
        assert_eq!(check(&Sequence::default(), &a, u64::MAX), ahead);
    }

    #[test]
    fn after_the_aggregators_clock_was_set_back_a_node_is_not_deaf() {
        let a = sender("a", "1");
        let sequence = after(&[(&a, CLOCK)]);
        let long_ago = CLOCK - 400 * DAY;
        let refused = Err(OutOfOrder::Ahead { continue_from: long_ago });
        assert_eq!(sequence.check(&a, CLOCK + 1, long_ago, DAY), refused);
        assert_eq!(sequence.check(&a, long_ago + 1, long_ago, DAY), Ok(()));
    }

    proptest! {
        /// Honest senders, in whatever order, after whatever was accepted: what they are told makes the next report the last rejected one.
        #[test]
        fn a_sender_that_does_as_it_is_told_is_heard_after_one_rejection(
            reports in prop::collection::vec((0..4_usize, 0..4_usize, 0..2 * CLOCK), 0..40),
            pod in 0..4_usize, boot in 0..4_usize, seq in 0..2 * CLOCK,
        ) {
            let sender = |pod: usize, boot: usize| sender(&pod.to_string(), &boot.to_string());
            let mut sequence = Sequence::default();
            for (pod, boot, seq) in reports {
                let sender = sender(pod, boot);
                if check(&sequence, &sender, seq).is_ok() {
                    sequence.advance(sender.clone(), seq);
                    prop_assert!(check(&sequence, &sender, seq).is_err(), "the same report twice");
                }
                prop_assert!(sequence.former.len() <= FORMER);
            }
            let sender = sender(pod, boot);
            let next = match check(&sequence, &sender, seq) {
                Ok(()) => seq,
                Err(OutOfOrder::Old { newest }) => newest + 1,
                Err(OutOfOrder::Ahead { continue_from }) => continue_from + 1,
            };
            // Its next report is a second later.
            prop_assert_eq!(sequence.check(&sender, next, CLOCK + 1000, DAY), Ok(()));
        }
    }
}
