//! Log format, log filter, and panics in the log.
//!
//! Logs always go to **stderr**: stdout is for the output that was requested (`--once`, `--json`), and a container
//! runtime collects both. One line is one event, JSON by default. Text from outside cannot forge a line or control a
//! terminal: both formats escape control characters in values (see the tests; JSON permits U+007F to U+009F unescaped).
//! No filter lets the bodies of the API server's responses into the log.
//! A panic becomes a log line too.

#[cfg(any(test, feature = "captured-log"))]
mod captured;

use std::fmt::{self, Write};
use std::io::{IsTerminal, stderr};

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[cfg(any(test, feature = "captured-log"))]
pub use captured::Captured;

/// The part of the Kubernetes client that logs responses which it cannot decode, whole: the environment of a stranger's pod may be in
/// them. No filter makes it write anything. Its errors say the same without the body.
const LOGS_BODIES: &str = "kube_client::client";

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// One line of text, colored on a terminal, for people.
    Text,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Text => "text",
        })
    }
}

/// The telemetry flags, to be flattened into the flags of a program.
#[derive(Debug, Clone, clap::Args)]
pub struct TelemetryArgs {
    /// How log lines on stderr are written
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Json, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// Which log lines are written: a level, or levels by target, such as `info,hyper=warn`
    #[arg(long, env = "LOG_FILTER", default_value = "info", value_name = "FILTER", value_parser = checked_filter)]
    pub log_filter: String,
}

impl Default for TelemetryArgs {
    fn default() -> Self {
        Self { log_format: LogFormat::Json, log_filter: "info".to_owned() }
    }
}

impl TelemetryArgs {
    /// Sends the logs, and the panics, of this process to stderr.
    ///
    /// # Errors
    ///
    /// If the filter is invalid (only possible when it was not parsed by clap), or if the process has a subscriber
    /// already.
    pub fn install(&self) -> anyhow::Result<()> {
        self.subscriber(stderr, stderr().is_terminal())?
            .try_init()
            .context("cannot install the log subscriber: the process has one already")?;
        std::panic::set_hook(Box::new(log_panic));
        Ok(())
    }

    /// The subscriber that [`install`](Self::install) installs, for another writer than stderr.
    ///
    /// # Errors
    ///
    /// If the filter is invalid.
    pub fn subscriber<W>(&self, writer: W, color: bool) -> anyhow::Result<Box<dyn Subscriber + Send + Sync>>
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        let filter = parse_filter(&self.log_filter).map_err(|problem| anyhow!("--log-filter: {problem}"))?;
        let not_a_body = filter_fn(|metadata| metadata.target() != LOGS_BODIES);
        let registry = tracing_subscriber::registry().with(filter).with(not_a_body);
        let layer = tracing_subscriber::fmt::layer().with_writer(writer);
        Ok(match self.log_format {
            LogFormat::Json => {
                Box::new(registry.with(layer.json().flatten_event(true).with_span_list(false)))
            }
            LogFormat::Text => {
                let fields = debug_fn(write_escaped).delimited(" ");
                Box::new(registry.with(layer.with_ansi(color).fmt_fields(fields)))
            }
        })
    }
}

/// For clap, which prefixes the message with the name of the flag.
fn checked_filter(text: &str) -> Result<String, String> {
    parse_filter(text).map(|_| text.to_owned())
}

/// Parses a filter. Rejects what `EnvFilter` accepts but nobody means: an empty part, and a bare word that is not a level.
/// That would mean "only the target of that name", so a mistyped `inof` would silence the process.
fn parse_filter(text: &str) -> Result<EnvFilter, String> {
    let is_word = |part: &str| part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ':');
    let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
    if let Some(word) = text.split(',').find(|part| is_word(part) && !is_level(part)) {
        return Err(format!(
            "`{word}` is not a level (off, error, warn, info, debug, trace); for one target write `target=level`"
        ));
    }
    EnvFilter::try_new(text)
        .map_err(|error| format!("{error}; write a level, or `target=level`, separated by commas"))
}

/// Writes one field as text. The formatter of tracing-subscriber escapes values logged with `?`, but not those logged
/// with `%`, and errors and names from outside are logged with `%`.
fn write_escaped(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() != "message" {
        write!(writer, "{}=", field.name())?;
    }
    write!(Escaping(writer), "{value:?}")
}

/// Writes control characters, C1 included, as `\u{..}`, `\n` and the like.
struct Escaping<'a, W>(&'a mut W);

impl<W: Write> Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c.is_control() {
            true => write!(self.0, "{}", c.escape_default()),
            false => self.0.write_char(c),
        })
    }
}

fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(panic = info.payload_as_str().unwrap_or("(no text)"), location, "panic");
}

#[cfg(test)]
mod tests;
