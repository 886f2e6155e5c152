//! The bands of a pod over time.

use plimsoll_contract::{Band, Resource};

use super::{Event, HELD, PodSnapshot};

/// The bands of one resource of a pod: how long it had each, in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodBands {
    /// The pod.
    pub pod: String,
    /// The resource.
    pub resource: Resource,
    /// Seconds in each, in the order of [`Band::ALL`].
    pub seconds: [u64; 4],
    /// Seconds in which nothing was said of it.
    pub unseen: u64,
    /// How often it changed.
    pub changes: u64,
}

/// Both resources of a pod, while it is followed.
#[derive(Debug)]
pub(super) struct Bands {
    /// When it was seen last, and the bands then.
    last: Option<(u64, [Band; 2])>,
    high_since: Option<u64>,
    of: [PodBands; 2],
}

impl Bands {
    pub(super) fn new(pod: &str) -> Self {
        let of =
            |resource| PodBands { pod: pod.to_owned(), resource, seconds: [0; 4], unseen: 0, changes: 0 };
        Self { last: None, high_since: None, of: Resource::ALL.map(of) }
    }

    /// It is seen; `at` is for people.
    pub(super) fn see(&mut self, second: u64, at: u64, seen: &PodSnapshot, events: &mut Vec<Event>) {
        self.count_until(second);
        let bands = [seen.cpu, seen.memory];
        for (index, (of, band)) in self.of.iter_mut().zip(bands).enumerate() {
            // its name may be known later than its bands
            of.pod.clone_from(&seen.name);
            let before = self.last.map(|(_, before)| before[index]);
            if before == Some(band) {
                continue;
            }
            of.changes += u64::from(before.is_some());
            let (pod, resource) = (of.pod.clone(), of.resource);
            events.push(Event::Band { at, pod, resource, from: before, to: band });
        }
        self.high_since = (bands[0] == Band::High).then(|| self.high_since.unwrap_or(second));
        self.last = Some((second, bands));
    }

    /// For how many seconds its CPU band has been `high`; 0: it is not.
    pub(super) fn high_for(&self, second: u64) -> Option<f64> {
        self.last.map(|_| self.high_since.map_or(0.0, |since| second.saturating_sub(since) as f64))
    }

    /// It is gone.
    pub(super) fn end(&mut self, second: u64) {
        self.count_until(second);
        (self.last, self.high_since) = (None, None);
    }

    pub(super) fn finish(mut self, second: u64) -> [PodBands; 2] {
        self.count_until(second);
        self.of
    }

    fn count_until(&mut self, second: u64) {
        let Some((last, bands)) = self.last else { return };
        let passed = second.saturating_sub(last);
        for (of, band) in self.of.iter_mut().zip(bands) {
            let held = passed.min(HELD);
            of.seconds[usize::from(band.number())] += held;
            of.unseen += passed - held;
        }
    }
}
