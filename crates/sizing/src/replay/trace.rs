//! A trace of usage: what a container is asked for, over time.

use std::iter;

/// Longer than that no value is held: what happened in a gap is not known.
const LONGEST_HOLD: u64 = 3600;
/// The longest trace, seconds.
const LONGEST: u64 = 366 * 86_400;
/// The most cores of one value.
const MOST_CORES: f64 = 100_000.0;

/// Values in cores, each held until the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Seconds and cores.
    held: Vec<(u64, f64)>,
}

/// Why a text is no trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// No line with a value.
    #[error("it has no values; give it lines `seconds,cores`, or one value a line")]
    Empty,
    /// One line is wrong.
    #[error("line {line}: {problem}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it, and the cure.
        problem: Problem,
    },
    /// Nothing was ever asked for: no rule has anything to size.
    #[error("all its values are 0; record it while there is load")]
    Idle,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Other columns than the lines before, or more than two.
    #[error("{0} columns; each line needs `seconds,cores`, or each line one value")]
    Columns(usize),
    /// Not a usable amount.
    #[error(
        "`{0}` is no usage; write cores as a decimal number from 0 to {MOST_CORES}, such as 0.25, or remove the line"
    )]
    Cores(String),
    /// Not a usable time.
    #[error("`{0}` is no time; write whole seconds")]
    Time(String),
    /// Not after the line before.
    #[error(
        "the time {0} is not after that of the line before, {1}; sort the lines by time and remove duplicates"
    )]
    Unsorted(u64, u64),
    /// Nothing for too long.
    #[error(
        "no value for {0} s; at most {LONGEST_HOLD} s are held: fill the gap, or split the file before this line"
    )]
    Gap(u64),
    /// Too many seconds.
    #[error(
        "it is {0} s after the first; a trace may have {LONGEST} s, a year: split the file before this line"
    )]
    Long(u64),
}

impl Trace {
    /// Reads lines `seconds,cores`, or lines with one value each, which are `interval` seconds apart (1 to 3600). A first line that
    /// begins with no number is a header.
    ///
    /// # Errors
    /// The first line that is wrong, and how to cure it.
    pub fn parse(text: &str, interval: u32) -> Result<Self, TraceError> {
        let mut points: Vec<(u64, f64)> = Vec::new();
        let mut columns = None;
        let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        let lines = lines.map(|(index, line)| (index + 1, line.trim())).filter(|(_, line)| !line.is_empty());
        for (nth, (line, text)) in lines.enumerate() {
            let wrong = |problem| TraceError::Line { line, problem };
            let fields: Vec<&str> = text.split(',').map(str::trim).collect();
            if nth == 0 && is_word(fields[0]) {
                continue;
            }
            if fields.len() > 2 || *columns.get_or_insert(fields.len()) != fields.len() {
                return Err(wrong(Problem::Columns(fields.len())));
            }
            let (time, value) = match fields[..] {
                [time, value] => (time_of(time).map_err(wrong)?, value),
                _ => (points.len() as u64 * u64::from(interval), fields[0]),
            };
            let cores = cores_of(value).map_err(wrong)?;
            check_time(time, &points).map_err(wrong)?;
            points.push((time, cores));
        }
        Self::from_points(&points, interval)
    }

    /// A trace with one value for each second: shapes for benches and tests.
    ///
    /// # Errors
    /// No value, none above 0, or one that is no usage.
    pub fn of_seconds(values: &[f64]) -> Result<Self, TraceError> {
        let points: Vec<_> = (0..).zip(values.iter().copied()).collect();
        match values.iter().position(|cores| !is_usage(*cores)) {
            None => Self::from_points(&points, 1),
            Some(index) => {
                let problem = Problem::Cores(values[index].to_string());
                Err(TraceError::Line { line: index + 1, problem })
            }
        }
    }

    fn from_points(points: &[(u64, f64)], interval: u32) -> Result<Self, TraceError> {
        let ((_, last_value), before) = match points {
            [] => return Err(TraceError::Empty),
            [before @ .., last] => (*last, before),
        };
        let spans = points.iter().skip(1).zip(before).map(|(next, point)| (next.0 - point.0, point.1));
        let mut held: Vec<(u64, f64)> = spans.collect();
        // the last one is held for as long as the one before it
        held.push((held.last().map_or(u64::from(interval), |(seconds, _)| *seconds), last_value));
        let trace = Self { held };
        if trace.peak() > 0.0 { Ok(trace) } else { Err(TraceError::Idle) }
    }

    /// What it is asked for in each second, cores.
    pub fn seconds(&self) -> impl Iterator<Item = f64> + '_ {
        self.held.iter().flat_map(|(seconds, cores)| iter::repeat_n(*cores, *seconds as usize))
    }

    /// Its largest value, cores.
    pub fn peak(&self) -> f64 {
        self.held.iter().map(|(_, cores)| *cores).fold(0.0, f64::max)
    }

    /// How long it is.
    pub fn length_seconds(&self) -> u64 {
        self.held.iter().map(|(seconds, _)| seconds).sum()
    }

    /// The mean of its first seconds, or of all if it has fewer, cores.
    pub(super) fn mean_of_first(&self, seconds: usize) -> f64 {
        let (count, sum) =
            self.seconds().take(seconds).fold((0u32, 0.0), |(n, sum), cores| (n + 1, sum + cores));
        sum / f64::from(count.max(1))
    }
}

/// Whether a field is a name such as `ts`; NaN and inf are numbers that are wrong, not names.
fn is_word(field: &str) -> bool {
    field.starts_with(|c: char| c.is_alphabetic()) && field.parse::<f64>().is_err()
}

fn time_of(field: &str) -> Result<u64, Problem> {
    field.parse().map_err(|_| Problem::Time(shortened(field)))
}

fn cores_of(field: &str) -> Result<f64, Problem> {
    let cores = field.parse::<f64>().ok().filter(|cores| is_usage(*cores));
    cores.ok_or_else(|| Problem::Cores(shortened(field)))
}

fn is_usage(cores: f64) -> bool {
    (0.0..=MOST_CORES).contains(&cores)
}

fn check_time(time: u64, points: &[(u64, f64)]) -> Result<(), Problem> {
    let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) else { return Ok(()) };
    if time <= *last {
        return Err(Problem::Unsorted(time, *last));
    }
    if time - last > LONGEST_HOLD {
        return Err(Problem::Gap(time - last));
    }
    if time - first >= LONGEST {
        return Err(Problem::Long(time - first));
    }
    Ok(())
}

/// A field for a message: a line can be as long as the file.
fn shortened(field: &str) -> String {
    field.chars().take(40).filter(|c| !c.is_control()).collect()
}
