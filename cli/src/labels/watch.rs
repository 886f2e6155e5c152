//! Labels as they change: the whole list first, then a line a change, and nothing when nothing changed.

use std::io::{self, Write};
use std::pin::pin;

use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};

use super::render::{Change, Entry, Widths, header, one};
use super::{Labels, entry};
use crate::args::{LabelsArgs, Output};
use crate::pods::{LISTING, PAGE};

/// Prints until the process is ended, or the first list fails.
pub(super) async fn run(
    api: Api<PartialObjectMeta<Pod>>,
    args: &LabelsArgs,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let config = watcher::Config { label_selector: args.selector.clone(), ..watcher::Config::default() };
    let config = config.page_size(PAGE).timeout(200);
    let mut events = pin!(watcher(api, config).default_backoff());
    let mut printer = Printer::new(args.output);
    let mut interrupted = false;
    loop {
        match events.try_next().await {
            Ok(Some(event)) => {
                interrupted = false;
                printer.take(event, out)?;
            }
            Ok(None) => return Ok(()),
            Err(error) if printer.known.is_none() => return Err(first_failure(error)),
            Err(error) if !interrupted => {
                interrupted = true;
                // A watch is ended by the server every few minutes; only a failure is worth a word.
                writeln!(io::stderr(), "plimsoll: watching pods: {error}; trying again")?;
            }
            Err(_) => {}
        }
    }
}

fn first_failure(error: watcher::Error) -> anyhow::Error {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
            LISTING.failure(&error).into()
        }
        error => error.into(),
    }
}

/// What has been printed, and how.
#[derive(Debug)]
pub(super) struct Printer {
    output: Output,
    /// The pods as last printed; none before the first complete list.
    known: Option<Labels>,
    /// The list that is arriving.
    arriving: Labels,
    widths: Widths,
}

impl Printer {
    pub(super) fn new(output: Output) -> Self {
        Printer { output, known: None, arriving: Labels::new(), widths: Widths::of(&Labels::new()) }
    }

    /// Prints what an event changes.
    pub(super) fn take(
        &mut self,
        event: Event<PartialObjectMeta<Pod>>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        match event {
            Event::Init => self.arriving.clear(),
            Event::InitApply(pod) => self.arriving.extend([entry(&pod)]),
            Event::InitDone => {
                let now = std::mem::take(&mut self.arriving);
                self.replace(now, out)?;
            }
            Event::Apply(pod) => self.put(&pod, out)?,
            Event::Delete(pod) => self.remove(&pod, out)?,
        }
        out.flush()
    }

    fn put(&mut self, pod: &PartialObjectMeta<Pod>, out: &mut impl Write) -> io::Result<()> {
        let (pod, labels) = entry(pod);
        let known = self.known.get_or_insert_default();
        let change = match known.get(&pod) {
            None => Change::Added,
            Some(before) if *before != labels => Change::Changed,
            Some(_) => return Ok(()),
        };
        let entry = Entry { change: Some(change), namespace: &pod.0, name: &pod.1, labels: &labels };
        one(&entry, self.output, self.widths, out)?;
        known.insert(pod, labels);
        Ok(())
    }

    fn remove(&mut self, pod: &PartialObjectMeta<Pod>, out: &mut impl Write) -> io::Result<()> {
        let (pod, _) = entry(pod);
        let Some(labels) = self.known.get_or_insert_default().remove(&pod) else {
            return Ok(());
        };
        let entry = Entry { change: Some(Change::Deleted), namespace: &pod.0, name: &pod.1, labels: &labels };
        one(&entry, self.output, self.widths, out)
    }

    /// Prints the difference to what is known.
    fn replace(&mut self, now: Labels, out: &mut impl Write) -> io::Result<()> {
        if self.known.is_none() {
            self.widths = Widths::of(&now);
            header(self.output, true, self.widths, out)?;
        }
        let before = self.known.take().unwrap_or_default();
        let gone = before.iter().filter(|(pod, _)| !now.contains_key(*pod)).map(|pod| (Change::Deleted, pod));
        let here = now.iter().filter_map(|(pod, labels)| match before.get(pod) {
            None => Some((Change::Added, (pod, labels))),
            Some(old) if old != labels => Some((Change::Changed, (pod, labels))),
            Some(_) => None,
        });
        for (change, ((namespace, name), labels)) in gone.chain(here) {
            one(&Entry { change: Some(change), namespace, name, labels }, self.output, self.widths, out)?;
        }
        self.known = Some(now);
        Ok(())
    }
}
