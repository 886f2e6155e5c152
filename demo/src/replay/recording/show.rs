//! What came of a recording: lines while it runs, tables at its end; or JSON, one object a line.

use std::io::Write;
use std::path::Path;

use jiff::Timestamp;
use plimsoll_aggregator::record::Resized;
use plimsoll_contract::{Band, Moment};
use plimsoll_sizing::replay::recorded::{Event, Order, PodBands, Sizing, Summary};
use plimsoll_sizing::size::Size;
use serde_json::{Value, json};

use crate::replay::columns;

/// The order of the columns: [`Band::ALL`] begins with `unknown`.
const BANDS: [Band; 4] = [Band::Low, Band::Moderate, Band::High, Band::Unknown];

/// How a recording ended.
pub(super) struct Ending<'a> {
    pub(super) file: &'a Path,
    /// Reports or steps that were made again, and those that are not as recorded.
    pub(super) compared: u64,
    pub(super) different: u64,
    pub(super) truncated: bool,
}

pub(super) struct Show<'a, W> {
    out: &'a mut W,
    json: bool,
    kind: &'static str,
    /// The first second, and now.
    seconds: Option<(u64, u64)>,
}

impl<'a, W: Write> Show<'a, W> {
    pub(super) fn new(out: &'a mut W, json: bool, kind: &'static str) -> Self {
        Self { out, json, kind, seconds: None }
    }

    /// Time passed.
    pub(super) fn at(&mut self, at: Moment, wall: Timestamp) -> anyhow::Result<()> {
        let second = at.0.as_secs();
        if let Some((_, now)) = &mut self.seconds {
            *now = second;
            return Ok(());
        }
        self.seconds = Some((second, second));
        let kind = self.kind;
        match self.json {
            true => self.object(&json!({"event": "start", "recording": kind, "at": wall})),
            false => Ok(writeln!(self.out, "recording of an {kind}, from {wall:.0}")?),
        }
    }

    pub(super) fn resized(&mut self, resized: &Resized) -> anyhow::Result<()> {
        let at = self.seconds.map_or(0, |(first, now)| now.saturating_sub(first));
        let Resized { pod, from, to, reason } = resized;
        if self.json {
            let pod = pod.to_string();
            return self.object(
                &json!({"event": "resized", "at": at, "pod": pod, "from": from, "to": to, "reason": reason}),
            );
        }
        self.line(at, &format!("{pod}: resized when recorded ({reason}), {from} -> {to}"))
    }

    pub(super) fn events(&mut self, events: &[Event]) -> anyhow::Result<()> {
        for event in events {
            if self.json {
                self.object(&serde_json::to_value(event)?)?;
                continue;
            }
            match event {
                Event::Band { at, pod, resource, from, to } => {
                    let from = from.map(|from| format!("{} -> ", from.as_str())).unwrap_or_default();
                    self.line(*at, &format!("{pod}: {} {from}{}", resource.as_str(), to.as_str()))?;
                }
                Event::Contention(order) => self.line(order.at, &order_words(order))?,
                Event::Decision { at, pod, why, .. } => self.line(*at, &format!("{pod}: {why}"))?,
            }
        }
        Ok(())
    }

    pub(super) fn end(&mut self, summary: &Summary, ending: &Ending<'_>) -> anyhow::Result<()> {
        if self.json {
            return self.end_as_json(summary, ending);
        }
        let bands = columns(
            ["POD", "RESOURCE", "LOW", "MODERATE", "HIGH", "UNKNOWN", "NOT SEEN", "CHANGES"],
            summary.bands.iter().map(band_row).collect(),
        );
        let sizes = columns(
            [
                "POD",
                "CONTAINER",
                "SIZES",
                "RESERVED, CORES",
                "SLACK, CORES",
                "THROTTLED TIME",
                "RESIZES",
                "REQUEST/LIMIT",
            ],
            summary.sizes.iter().map(size_row).collect(),
        );
        writeln!(self.out, "\n{bands}\n{sizes}")?;
        self.notes(summary, ending)
    }

    fn notes(&mut self, summary: &Summary, ending: &Ending<'_>) -> anyhow::Result<()> {
        let Ending { file, compared, different, truncated } = ending;
        let what = if self.kind == plimsoll_agent::record::KIND { "reports" } else { "steps" };
        match different {
            0 => writeln!(self.out, "{compared} {what} are as recorded.")?,
            _ => writeln!(
                self.out,
                "{different} of {compared} {what} are not as recorded: this version does otherwise."
            )?,
        }
        if *truncated {
            writeln!(
                self.out,
                "The last line of {} is unfinished, as a process leaves it that is killed: this is all up to there.",
                file.display()
            )?;
        }
        if summary.bands.is_empty() {
            writeln!(
                self.out,
                "No report was recorded: there is nothing to show. An agent without --aggregator makes none."
            )?;
        }
        if summary.sizes.iter().any(|sizing| sizing.class.is_some()) {
            let Summary { contentions, different_orders, not_sized, .. } = summary;
            writeln!(
                self.out,
                "Several containers of a node wanted more in the same second {contentions} times; in {different_orders} the order is not that of topsis."
            )?;
            if *not_sized > 0 {
                writeln!(
                    self.out,
                    "Not sized, because they have no CPU request or limit: {not_sized} containers."
                )?;
            }
            writeln!(
                self.out,
                "SLACK: mean of the request less what was used. With a class: what was used is demanded again, whatever the size; where the recorded limit \
                 throttled, more would have been used, and that is not known. Bands are those of the recorded sizes. Headroom, quotas and memory are not modeled."
            )?;
        } else if !summary.sizes.is_empty() {
            writeln!(
                self.out,
                "SLACK: mean of the request less what was used. No pod is known to have a class; --class gold shows how one would size them."
            )?;
        }
        Ok(())
    }

    fn end_as_json(&mut self, summary: &Summary, ending: &Ending<'_>) -> anyhow::Result<()> {
        for bands in &summary.bands {
            let seconds: serde_json::Map<String, Value> = BANDS
                .map(|band| (band.as_str().to_owned(), json!(in_band(bands, band))))
                .into_iter()
                .collect();
            self.object(&json!({
                "event": "bands", "pod": bands.pod, "resource": bands.resource, "seconds": seconds, "notSeen": bands.unseen,
                "changes": bands.changes,
            }))?;
        }
        for sizing in &summary.sizes {
            let mut object = serde_json::to_value(sizing)?;
            object["event"] = json!("sizes");
            object["slackCores"] = json!(sizing.slack());
            self.object(&object)?;
        }
        let Ending { compared, different, truncated, .. } = ending;
        self.object(&json!({
            "event": "end", "seconds": summary.seconds, "compared": compared, "different": different, "truncated": truncated,
            "contentions": summary.contentions, "differentOrders": summary.different_orders, "notSized": summary.not_sized,
        }))
    }

    fn line(&mut self, at: u64, text: &str) -> anyhow::Result<()> {
        Ok(writeln!(self.out, "{at:>10}s  {text}")?)
    }

    fn object(&mut self, value: &Value) -> anyhow::Result<()> {
        Ok(writeln!(self.out, "{value}")?)
    }
}

fn order_words(order: &Order) -> String {
    let names = |order: &[(String, f64)]| {
        order.iter().map(|(name, score)| format!("{name} {score:.2}")).collect::<Vec<_>>().join(", ")
    };
    let other =
        order.topsis.as_ref().map(|order| format!("; by topsis {}", names(order))).unwrap_or_default();
    format!(
        "node {}: who goes first by {}: {}{other}",
        order.node,
        order.ranker.as_str(),
        names(&order.first)
    )
}

fn in_band(bands: &PodBands, band: Band) -> u64 {
    bands.seconds[usize::from(band.number())]
}

fn band_row(bands: &PodBands) -> [String; 8] {
    let [low, moderate, high, unknown] = BANDS.map(|band| format!("{}s", in_band(bands, band)));
    let (unseen, changes) = (format!("{}s", bands.unseen), bands.changes.to_string());
    [bands.pod.clone(), bands.resource.as_str().to_owned(), low, moderate, high, unknown, unseen, changes]
}

fn size_row(sizing: &Sizing) -> [String; 8] {
    let cores = |cores: Option<f64>| cores.map_or_else(|| "-".to_owned(), |cores| format!("{cores:.3}"));
    let seconds = sizing.seconds as f64;
    let reserved = sizing.reserved_core_seconds.filter(|_| sizing.seconds > 0).map(|sum| sum / seconds);
    let share = if sizing.seconds > 0 { sizing.throttled_seconds / seconds } else { 0.0 };
    let size = |size: Size| {
        let amount = |amount: Option<u64>| amount.map_or_else(|| "-".to_owned(), |m| format!("{m}m"));
        format!("{}/{}", amount(size.request), amount(size.limit))
    };
    [
        sizing.pod.clone(),
        sizing.container.clone(),
        sizing.class.as_ref().map_or_else(|| "as recorded".to_owned(), |class| format!("as {class}")),
        cores(reserved),
        cores(sizing.slack()),
        format!("{:.1}s, {:.1}%", sizing.throttled_seconds, share * 100.0),
        sizing.resizes.to_string(),
        if sizing.first == sizing.last {
            size(sizing.last)
        } else {
            format!("{} -> {}", size(sizing.first), size(sizing.last))
        },
    ]
}
