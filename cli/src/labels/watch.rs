//! Prints labels as they change: the whole list first, then one line per change.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::pin::pin;

use futures_util::TryStreamExt;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Error, Event};
use plimsoll_objects::{Object, describe};

use super::render::Renderer;
use super::{LabeledPod, Labels, PodLabels, PodName};
use crate::args::{LabelsArgs, Output};
use crate::connect::escaped;
use crate::pods::{self, LIST_PODS, PAGE};

/// Prints until the process is ended, or the first list fails.
pub(super) async fn run(
    api: Api<Object<LabeledPod>>,
    args: &LabelsArgs,
    out: &mut (impl Write + Send),
    err: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let config = Config { label_selector: args.selector.clone(), ..Config::default() };
    let config = config.page_size(PAGE).timeout(200);
    let mut events = pin!(plimsoll_objects::watch(api, config).default_backoff());
    let mut printer = Printer::new(args.output);
    let mut interrupted = false;
    loop {
        match events.try_next().await {
            Ok(Some(event)) => {
                interrupted = false;
                printer.handle(event, out, err)?;
            }
            Ok(None) => return Ok(()),
            Err(error) if printer.renderer.is_none() => {
                return Err(match error {
                    Error::InitialListFailed(error) | Error::WatchStartFailed(error) => {
                        LIST_PODS.failure(&error).into()
                    }
                    error => error.into(),
                });
            }
            // The server ends a watch every few minutes, and that is no error; an error is reported once.
            Err(error) if !interrupted => {
                interrupted = true;
                let problem = match &error {
                    Error::InitialListFailed(error)
                    | Error::WatchStartFailed(error)
                    | Error::WatchFailed(error) => describe(error),
                    error => error.to_string(),
                };
                writeln!(err, "plimsoll: watching pods: {}; trying again", escaped(&problem))?;
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
    /// The pods that cannot be read, with the problem that was named. What was printed of them stays.
    unreadable: BTreeMap<PodName, String>,
}

impl Printer {
    pub(super) fn new(output: Output) -> Self {
        Printer {
            output,
            renderer: None,
            printed: PodLabels::new(),
            arriving: PodLabels::new(),
            unreadable: BTreeMap::new(),
        }
    }

    /// Prints what an event changes, and names pods that cannot be read on `err`.
    pub(super) fn handle(
        &mut self,
        event: Event<Object<LabeledPod>>,
        out: &mut impl Write,
        err: &mut impl Write,
    ) -> io::Result<()> {
        match event {
            Event::Init => self.arriving.clear(),
            Event::InitApply(pod) => {
                let labels = self.labels(&pod, err)?;
                self.arriving.extend(labels.map(|labels| (pods::names(pod.names()), labels)));
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.arriving);
                if self.renderer.is_none() {
                    self.renderer.insert(Renderer::of(&listed, self.output)).header(true, out)?;
                }
                let is_there = |pod: &PodName| listed.contains_key(pod) || self.unreadable.contains_key(pod);
                let deleted = self.printed.keys().filter(|pod| !is_there(pod));
                for pod in deleted.cloned().collect::<Vec<_>>() {
                    self.update(pod, None, out)?;
                }
                for (pod, labels) in listed {
                    self.update(pod, Some(labels), out)?;
                }
            }
            Event::Apply(pod) => {
                if let Some(labels) = self.labels(&pod, err)? {
                    self.update(pods::names(pod.names()), Some(labels), out)?;
                }
            }
            Event::Delete(pod) => {
                let pod = pods::names(pod.names());
                self.unreadable.remove(&pod);
                self.update(pod, None, out)?;
            }
        }
        out.flush()
    }

    /// The labels of a pod; one that cannot be read is named, once for each problem.
    fn labels(&mut self, pod: &Object<LabeledPod>, err: &mut impl Write) -> io::Result<Option<Labels>> {
        let name = pods::names(pod.names());
        match pods::content(pod) {
            Ok(pod) => {
                self.unreadable.remove(&name);
                Ok(Some(pod.labels()))
            }
            Err(unreadable) => {
                let problem = unreadable.problem.clone();
                if self.unreadable.insert(name, problem.clone()) != Some(problem) {
                    writeln!(err, "plimsoll: {unreadable}; its changes are not shown")?;
                }
                Ok(None)
            }
        }
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
