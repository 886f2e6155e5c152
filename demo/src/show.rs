//! The output: JSON lines for programs, sentences for pipes, a live table for terminals.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use plimsoll::args::{ClusterArgs, TopArgs};
use plimsoll::source::Source;
use plimsoll::top;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::about_host;
use crate::args::ProfileName;
use crate::cluster::TestCluster;
use crate::pods;
use crate::timeline::Event;

mod screen;

use screen::Screen;

/// Interval between two tables in plain output.
const TABLE_EVERY: Duration = Duration::from_secs(10);

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputMode {
    /// One JSON object per line, nothing else.
    Json,
    /// Sentences, and the table every 10 s.
    Lines,
    /// The live table, with the latest events below.
    Table,
}

/// The output of a demo.
pub struct Show {
    mode: OutputMode,
    events: mpsc::UnboundedReceiver<Event>,
    source: Source,
    top: TopArgs,
    screen: Option<Screen>,
}

impl Show {
    /// Opens the output and prints the introduction.
    ///
    /// # Errors
    /// If the terminal cannot be used.
    pub async fn open(
        mode: OutputMode,
        cluster: &TestCluster,
        why: &str,
        events: mpsc::UnboundedReceiver<Event>,
    ) -> anyhow::Result<Show> {
        let url = format!("http://{}", cluster.aggregator_address());
        let top = TopArgs {
            url: Some(url.parse()?),
            namespace: Some(pods::NAMESPACE.into()),
            ..TopArgs::default()
        };
        let source = Source::new(&ClusterArgs::default(), top.url.as_ref()).await?;
        let about =
            about(&about_host(cluster.host_kind(), why), cluster.profile(), &cluster.kubeconfig(), &url);
        let screen = match mode {
            OutputMode::Table => Some(Screen::open(about)?),
            OutputMode::Lines => {
                print_lines(&about)?;
                None
            }
            OutputMode::Json => None,
        };
        Ok(Show { mode, events, source, top, screen })
    }

    /// Shows events until the user quits, which is possible only in the table.
    ///
    /// # Errors
    /// If the output is closed.
    pub async fn run(&mut self) -> anyhow::Result<()> {
        match &mut self.screen {
            Some(screen) => screen.run(&self.source, &self.top, &mut self.events).await,
            None => self.lines().await,
        }
    }

    async fn lines(&mut self) -> anyhow::Result<()> {
        let mut tables = interval(TABLE_EVERY);
        tables.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tables.reset();
        loop {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.line(&event)?,
                _ = tables.tick(), if self.mode == OutputMode::Lines => self.table().await?,
            }
        }
    }

    fn line(&self, event: &Event) -> anyhow::Result<()> {
        match self.mode {
            OutputMode::Json => print_lines(&[serde_json::to_string(event)?]),
            OutputMode::Lines | OutputMode::Table => print_lines(&[event.sentence()]),
        }
    }

    async fn table(&self) -> anyhow::Result<()> {
        // If the aggregator does not answer, the next table follows soon.
        let Ok(snapshot) = self.source.read().await else { return Ok(()) };
        let mut lines = top::table_of(&snapshot, &self.top, Timestamp::now()).lines();
        lines.insert(0, String::new());
        lines.push(String::new());
        print_lines(&lines)
    }

    /// Prints the remaining events and the last one.
    ///
    /// # Errors
    /// If the output is closed.
    pub fn close(mut self, end: &Event) -> anyhow::Result<()> {
        if let Some(screen) = self.screen.take() {
            screen.close()?;
        } else {
            while let Ok(event) = self.events.try_recv() {
                self.line(&event)?;
            }
        }
        self.line(end)
    }
}

/// The introduction for new users.
fn about(host: &str, profile: ProfileName, kubeconfig: &Path, url: &str) -> Vec<String> {
    let busy = pods::web_is_busy_after(profile);
    vec![
        "An agent reads the load of the pods below from their cgroups; an aggregator writes it on them as labels, and resizes those with a class."
            .into(),
        format!("The pods are {host}. Bands are unknown for some seconds."),
        format!(
            "Watch `gold-burner`, which needs more than its limit after {} s, and `web`, which gets busy after {busy}.",
            pods::gold_burns_after(profile)
        ),
        format!(
            "Labels live:  kubectl --kubeconfig={} get pods -A -L plimsoll.dev/cpu-band -w",
            kubeconfig.display()
        ),
        format!("This table elsewhere:  cargo run -p plimsoll -- top --url={url}"),
    ]
}

fn print_lines(lines: &[String]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{line}"))
        .and_then(|()| out.flush())
        .context("cannot write to stdout")
}
