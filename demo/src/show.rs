//! How it is shown: JSON lines for programs, sentences for pipes, a live table for terminals.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use plimsoll::args::{ClusterArgs, TopArgs};
use plimsoll::table;
use plimsoll::top::{Source, rows};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::about_host;
use crate::args::ProfileName;
use crate::cast;
use crate::stage::Stage;
use crate::timeline::Event;

mod screen;

use screen::Screen;

/// Between two tables in plain lines.
const TABLE_EVERY: Duration = Duration::from_secs(10);

/// In which manner it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// One JSON object a line, nothing else.
    Json,
    /// Sentences, and the table now and then.
    Lines,
    /// The table, live, with the last events below.
    Table,
}

/// The show.
pub struct Show {
    manner: Manner,
    events: mpsc::UnboundedReceiver<Event>,
    source: Source,
    top: TopArgs,
    screen: Option<Screen>,
}

impl Show {
    /// Opens it: says where everything is.
    ///
    /// # Errors
    /// If the terminal cannot be used.
    pub async fn open(
        manner: Manner,
        stage: &Stage,
        why: &str,
        events: mpsc::UnboundedReceiver<Event>,
    ) -> anyhow::Result<Show> {
        let url = format!("http://{}", stage.aggregator_address());
        let top = TopArgs {
            url: Some(url.parse()?),
            namespace: Some(cast::NAMESPACE.into()),
            ..TopArgs::default()
        };
        let source = Source::new(&ClusterArgs::default(), &top).await?;
        let about = about(&about_host(stage.kind(), why), stage.profile(), &stage.kubeconfig(), &url);
        let screen = match manner {
            Manner::Table => Some(Screen::open(about)?),
            Manner::Lines => {
                say(&about)?;
                None
            }
            Manner::Json => None,
        };
        Ok(Show { manner, events, source, top, screen })
    }

    /// Shows until the person ends it (only a terminal has keys for that).
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
                _ = tables.tick(), if self.manner == Manner::Lines => self.table().await?,
            }
        }
    }

    fn line(&self, event: &Event) -> anyhow::Result<()> {
        match self.manner {
            Manner::Json => say(&[serde_json::to_string(event)?]),
            Manner::Lines | Manner::Table => say(&[event.sentence()]),
        }
    }

    async fn table(&self) -> anyhow::Result<()> {
        // The aggregator's answer may be late; the next one comes soon.
        let Ok(pods) = self.source.pods().await else { return Ok(()) };
        let mut lines = table::lines(&rows(&pods, &self.top, Timestamp::now()));
        lines.insert(0, String::new());
        lines.push(String::new());
        say(&lines)
    }

    /// The last words, after what was not told yet.
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

/// What somebody who sees it for the first time needs to know.
fn about(host: &str, profile: ProfileName, kubeconfig: &Path, url: &str) -> Vec<String> {
    let busy = cast::web_is_busy_after(profile);
    vec![
        "An agent reads the load of the pods below from their cgroups; an aggregator writes it on them as labels.".into(),
        format!("The pods are {host}. Bands are unknown for some seconds; watch `web`, which gets busy after {busy}."),
        format!(
            "Labels live:  kubectl --kubeconfig={} get pods -A -L plimsoll.dev/cpu-band -w",
            kubeconfig.display()
        ),
        format!("This table elsewhere:  cargo run -p plimsoll -- top --url={url}"),
    ]
}

fn say(lines: &[String]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{line}"))
        .and_then(|()| out.flush())
        .context("cannot write to stdout")
}
