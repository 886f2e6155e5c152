//! Measuring the cost of some work.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::summary::Summary;

/// The cost of some work.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
    /// Read calls as counted by the kernel, if it counts them.
    pub(crate) reads: Option<u64>,
}

impl Summary {
    /// `median (min to max)`.
    pub(crate) fn text(&self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.min, self.max)
    }
}

/// Measures work of this thread.
#[derive(Debug)]
pub(crate) struct Meter {
    io: Option<File>,
}

impl Meter {
    pub(crate) fn new() -> Meter {
        Meter { io: File::open("/proc/self/io").ok() }
    }

    pub(crate) fn measure(&self, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Cost> {
        let reads = self.reads();
        let (cpu, wall) = (thread_time()?, Instant::now());
        work()?;
        let (cpu, wall) = (thread_time()?.saturating_sub(cpu), wall.elapsed());
        // Reading the count is a read call itself.
        let reads = reads.zip(self.reads()).map(|(before, after)| after - before - 1);
        Ok(Cost { cpu, wall, reads })
    }

    fn reads(&self) -> Option<u64> {
        let mut text = [0; 512];
        let length = self.io.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = str::from_utf8(&text[..length]).ok()?;
        text.lines().find_map(|line| line.strip_prefix("syscr: "))?.parse().ok()
    }
}

fn thread_time() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from)?)
}
