//! Prints labels as they change: the whole list first, then one line per change.

use std::io::{self, Write};
use std::pin::pin;

use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};

use super::render::Renderer;
use super::{Labels, PodLabels, PodName, entry};
use crate::args::{LabelsArgs, Output};
use crate::pods::{LIST_PODS, PAGE};

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
                printer.handle(event, out)?;
            }
            Ok(None) => return Ok(()),
            Err(error) if printer.renderer.is_none() => {
                return Err(match error {
                    watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
                        LIST_PODS.failure(&error).into()
                    }
                    error => error.into(),
                });
            }
            // The server ends a watch every few minutes, and that is no error; an error is reported once.
            Err(error) if !interrupted => {
                interrupted = true;
                writeln!(io::stderr(), "plimsoll: watching pods: {error}; trying again")?;
            }
            Err(_) => {}
        }
    }
}

/// What has been printed, and how.
#[derive(Debug)]
pub(super) struct Printer {
    output: Output,
    /// `None` before the first complete list, which determines the widths of the columns.
    renderer: Option<Renderer>,
    /// The labels as printed last.
    printed: PodLabels,
    /// The list that is being received.
    arriving: PodLabels,
}

impl Printer {
    pub(super) fn new(output: Output) -> Self {
        Printer { output, renderer: None, printed: PodLabels::new(), arriving: PodLabels::new() }
    }

    /// Prints what an event changes.
    pub(super) fn handle(
        &mut self,
        event: Event<PartialObjectMeta<Pod>>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        match event {
            Event::Init => self.arriving.clear(),
            Event::InitApply(pod) => self.arriving.extend([entry(&pod)]),
            Event::InitDone => {
                let listed = std::mem::take(&mut self.arriving);
                if self.renderer.is_none() {
                    self.renderer.insert(Renderer::of(&listed, self.output)).header(true, out)?;
                }
                let deleted = self.printed.keys().filter(|pod| !listed.contains_key(*pod));
                for pod in deleted.cloned().collect::<Vec<_>>() {
                    self.update(pod, None, out)?;
                }
                for (pod, labels) in listed {
                    self.update(pod, Some(labels), out)?;
                }
            }
            Event::Apply(pod) => {
                let (pod, labels) = entry(&pod);
                self.update(pod, Some(labels), out)?;
            }
            Event::Delete(pod) => self.update(entry(&pod).0, None, out)?,
        }
        out.flush()
    }

    /// Prints the change of one pod, if there is one. No labels: the pod is deleted.
    fn update(&mut self, pod: PodName, labels: Option<Labels>, out: &mut impl Write) -> io::Result<()> {
        let before = self.printed.get(&pod);
        let (change, shown) = match (before, &labels) {
            (None, Some(labels)) => ("added", labels),
            (Some(before), Some(labels)) if before != labels => ("changed", labels),
            (Some(before), None) => ("deleted", before),
            _ => return Ok(()),
        };
        let renderer = self.renderer.get_or_insert_with(|| Renderer::of(&PodLabels::new(), self.output));
        renderer.pod(Some(change), &pod, shown, out)?;
        match labels {
            Some(labels) => self.printed.insert(pod, labels),
            None => self.printed.remove(&pod),
        };
        Ok(())
    }
}
