//! 5. Rules that size a container, on public traces of a minute's resolution and on shapes of single seconds: what each reserves and how long
//!    it throttles, and what the others reserve with so much headroom that they throttle for no longer than ours.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use plimsoll_demo::replay::{HEADS, compare, reserved_at_peak, row};
use plimsoll_sizing::model::Excess;
use plimsoll_sizing::policy::Policy;
use plimsoll_sizing::replay::{Outcome, Setup, Trace, UsageOverTarget, Vpa, least_headroom};

use crate::table::{Row, print_rows, print_target};

/// The module with the traces, and the checksum that it is known by.
const MODULE: &str = "github.com/gocrane/crane@v0.11.0";
const CHECKSUM: &str = "h1:V8qg8JmsMMfbnwy5V6e+QrNS7ibjfNhJzTB0zMfMss4=";
const FOLDER: &str = "pkg/prediction/dsp/test_data";
const TRACES: [(u32, &str); 6] =
    [(0, "diurnal"), (9, "diurnal"), (14, "diurnal"), (6, "bursty"), (10, "bursty"), (7, "noisy")];
const CLASSES: [&str; 3] = ["gold", "silver", "bronze"];
const HOUR: u64 = 3600;
/// How long each shape is.
const SHAPE: u64 = 48 * HOUR;

/// Measures and prints.
pub(crate) fn run() -> anyhow::Result<()> {
    println!("5. Rules on traces of usage; queued demand; usage / target with the targets of the class");
    let mut tally = Tally::default();
    match folder_of_traces()? {
        Ok(folder) => {
            for (number, kind) in TRACES {
                let path = folder.join(format!("input{number}.csv"));
                let text =
                    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                let trace = Trace::parse(&text, 60).with_context(|| format!("reading {}", path.display()))?;
                print_trace(&format!("input{number}, {kind}"), &trace, &mut tally)?;
            }
        }
        Err(why) => println!("   SKIPPED the public traces: {why}"),
    }
    for (name, shape) in shapes() {
        let values: Vec<f64> = (0..SHAPE).map(shape).collect();
        print_trace(name, &Trace::of_seconds(&values)?, &mut tally)?;
    }
    tally.print();
    Ok(())
}

/// Cores at a second.
type Shape = fn(u64) -> f64;

fn shapes() -> [(&'static str, Shape); 4] {
    [
        ("step to ten times after 12 h", |now| if now < 12 * HOUR { 0.2 } else { 2.0 }),
        ("square wave of 20 s", |now| if now % 20 < 10 { 1.5 } else { 0.05 }),
        ("ramp of 3 h, then 3 h at its end", |now| {
            0.2 + 1.8 * ((now % (6 * HOUR)) as f64 / (3 * HOUR) as f64).min(1.0)
        }),
        ("spikes of 5 s each 10 min", |now| if now % 600 < 5 { 2.0 } else { 0.15 }),
    ]
}

/// The folder of the traces in Go's module cache, or why there is none.
fn folder_of_traces() -> anyhow::Result<Result<PathBuf, String>> {
    let mut download = Command::new("go");
    download.args(["mod", "download", "-json", MODULE]).current_dir(std::env::temp_dir());
    let output = match download.output() {
        Ok(output) => output,
        Err(error) => return Ok(Err(format!("Go cannot be run ({error}); install it"))),
    };
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    if !output.status.success() {
        let error = answer["Error"]
            .as_str()
            .map_or_else(|| String::from_utf8_lossy(&output.stderr).trim().to_owned(), str::to_owned);
        return Ok(Err(format!("`go mod download {MODULE}` failed: {error}")));
    }
    let checksum = answer["Sum"].as_str().unwrap_or_default();
    ensure!(checksum == CHECKSUM, "{MODULE} has the checksum {checksum}, not {CHECKSUM}: it is another one");
    match answer["Dir"].as_str() {
        Some(folder) => Ok(Ok(PathBuf::from(folder).join(FOLDER))),
        None => bail!("`go mod download -json {MODULE}` names no folder"),
    }
}

/// Prints what came of each rule, and then what the others reserve with so much headroom that they throttle for no longer than ours.
fn print_trace(name: &str, trace: &Trace, tally: &mut Tally) -> anyhow::Result<()> {
    let setup = Setup::new(trace, None, None, Excess::Queued);
    let days = trace.length_seconds() as f64 / 86_400.0;
    println!("\n   {name}: {days:.0} days, peak {:.2} cores", trace.peak());
    let mut rows = vec![Row::from(HEADS)];
    let mut equal = vec![Row::from(EQUAL_HEADS)];
    for (index, class) in CLASSES.into_iter().enumerate() {
        let policy = Policy::builtin(class).with_context(|| format!("the class {class} does not ship"))?;
        let outcomes = compare(trace, &setup, &policy);
        let fixed = reserved_at_peak(trace, &outcomes);
        let [ours, at_peak, vpa, target] = &outcomes[..] else { bail!("four rules are compared") };
        // static and VPA are the same under each class
        let shown = if index == 0 { vec![at_peak, vpa, ours, target] } else { vec![ours, target] };
        for outcome in shown {
            let mut cells = row(outcome, fixed);
            if outcome.rule == target.rule {
                cells[0] = format!("{}, {class}", target.rule);
            }
            rows.push(Row::from(cells));
        }
        let most = ours.throttled_seconds;
        let with_headroom = [
            Some((1.0, at_peak.clone())),
            least_headroom(trace, &setup, most, |headroom| Vpa::new(&setup).with_headroom(headroom)),
            least_headroom(trace, &setup, most, |headroom| {
                UsageOverTarget::new(&policy, &setup).with_headroom(headroom)
            }),
        ];
        tally.add(ours, &with_headroom);
        let [at_peak, vpa, target] = with_headroom.map(|other| relative(other, ours));
        equal.push(Row::from([class.to_owned(), format!("{most:.1}"), at_peak, vpa, target]));
    }
    print_rows(&rows);
    println!("   reserved, as a share of ours, with the headroom that throttles for no longer than ours:");
    print_rows(&equal);
    Ok(())
}

const EQUAL_HEADS: [&str; 5] = ["CLASS", "THROTTLED, SECONDS", "STATIC AT PEAK", "VPA", "USAGE / TARGET"];

fn relative(other: Option<(f64, Outcome)>, ours: &Outcome) -> String {
    match other {
        Some((headroom, other)) => {
            format!("{:.0}% (x {headroom:.2})", 100.0 * other.reserved_core_hours / ours.reserved_core_hours)
        }
        None => "always longer".into(),
    }
}

/// How often ours reserves less than each other rule, over all traces and classes, at no more throttled time.
#[derive(Debug, Default)]
struct Tally {
    less: [usize; 3],
    of: usize,
}

impl Tally {
    fn add(&mut self, ours: &Outcome, others: &[Option<(f64, Outcome)>; 3]) {
        self.of += 1;
        for (less, other) in self.less.iter_mut().zip(others) {
            let reserved = other.as_ref().map_or(f64::INFINITY, |(_, other)| other.reserved_core_hours);
            *less += usize::from(ours.reserved_core_hours < reserved);
        }
    }

    fn print(&self) {
        let of = self.of;
        for (rule, less) in ["static at peak", "VPA", "usage / target"].into_iter().zip(self.less) {
            let what = format!("less reserved than {rule}, throttled no longer");
            print_target(&what, &format!("{less} of {of}"), less == of, "all");
        }
        println!();
    }
}
