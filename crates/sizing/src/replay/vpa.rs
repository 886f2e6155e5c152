//! The Vertical Pod Autoscaler's published algorithm with its defaults, for the CPU of one container that is alone in its pod and its workload.
//!
//! ```text
//! one sample a minute -> decaying histogram -> percentile -> x 1.15 -> confidence (bounds only) -> floor -> update gates
//! ```
//!
//! In its favor: no time passes from the sample to the recommendation and to the update, and the update is a resize in place.

use super::rules::Minute;
use super::{Rule, Setup};
use crate::model::Container;
use crate::size::Size;

#[cfg(test)]
mod tests;

/// Width of the first bucket, cores; each is 5 % wider than the one before.
const FIRST_BUCKET: f64 = 0.01;
const GROWTH: f64 = 1.05;
/// Buckets to 1000 cores.
const BUCKETS: usize = 176;
const HALF_LIFE_DAYS: f64 = 1.0;
const TARGET: f64 = 0.9;
const LOWER: f64 = 0.5;
const UPPER: f64 = 0.95;
const MARGIN: f64 = 1.15;
/// Millicores.
const FLOOR: f64 = 25.0;
/// A container of this age or older is resized inside its bounds too, days.
const OLD: f64 = 0.5;
/// By this much, as a share of its request.
const SMALLEST_CHANGE: f64 = 0.1;
const MINUTES_IN_DAY: f64 = 1440.0;

/// The algorithm.
#[derive(Debug)]
pub struct Vpa {
    margin: f64,
    original: Size,
    minute: Minute,
    histogram: Histogram,
}

impl Vpa {
    /// For a container without history.
    pub fn new(setup: &Setup) -> Self {
        let (minute, histogram) = (Minute::default(), Histogram::default());
        Self { margin: MARGIN, original: setup.original, minute, histogram }
    }

    /// The same with recommendations so many times as large.
    pub fn with_headroom(self, headroom: f64) -> Self {
        Self { margin: MARGIN * headroom, ..self }
    }

    /// The limit keeps its ratio to the request.
    fn with_limit(&self, request: f64) -> Size {
        let ratio = |limit: u64| limit as f64 / self.original.request.unwrap_or(limit).max(1) as f64;
        let limit = self.original.limit.map(|limit| (request * ratio(limit)).ceil() as u64);
        Size { request: Some(request as u64), limit }
    }
}

impl Rule for Vpa {
    fn name(&self) -> String {
        "VPA".into()
    }

    fn first_size(&self) -> Size {
        self.original
    }

    fn decide(&mut self, container: &Container) -> Option<Size> {
        let mean = self.minute.mean(container)?;
        let days = container.window().as_secs_f64() / 86_400.0;
        self.histogram.add(mean, days);
        let recommendation = self.histogram.recommendation(self.margin)?;
        let request = container.size().request.map_or(0.0, |request| request as f64);
        recommendation.is_due(request, days).then(|| self.with_limit(recommendation.target))
    }
}

/// Millicores.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Recommendation {
    lower: f64,
    target: f64,
    upper: f64,
}

impl Recommendation {
    /// Whether the updater resizes a container with this request and of this age.
    fn is_due(&self, request: f64, age_days: f64) -> bool {
        let is_outside = request < self.lower || request > self.upper;
        // a request of 0 is below every lower bound once there is one
        let difference = (self.target - request).abs() / request;
        is_outside || (age_days >= OLD && difference >= SMALLEST_CHANGE)
    }
}

/// Usage by buckets that grow exponentially; a sample counts half as much as one that is a day younger.
#[derive(Debug, Clone, Default)]
struct Histogram {
    /// Weights relative to that of a sample at time 0: they grow with time instead of being decayed.
    weights: Vec<f64>,
    samples: u64,
    first_days: f64,
    last_days: f64,
}

impl Histogram {
    fn add(&mut self, cores: f64, days: f64) {
        self.weights.resize(BUCKETS, 0.0);
        if self.samples == 0 {
            self.first_days = days;
        }
        self.samples += 1;
        self.last_days = days;
        self.weights[bucket_of(cores)] += (days / HALF_LIFE_DAYS).exp2();
    }

    /// The upper end of the bucket that the percentile is in, cores.
    fn percentile(&self, share: f64) -> Option<f64> {
        let wanted = share * self.weights.iter().sum::<f64>();
        let mut sum = 0.0;
        let bucket = self.weights.iter().position(|weight| {
            sum += weight;
            *weight > 0.0 && sum >= wanted
        })?;
        Some(start_of((bucket + 1).min(BUCKETS - 1)))
    }

    /// Days of history, 1440 samples each.
    fn confidence(&self) -> f64 {
        (self.last_days - self.first_days).min(self.samples as f64 / MINUTES_IN_DAY)
    }

    fn recommendation(&self, margin: f64) -> Option<Recommendation> {
        let confidence = self.confidence();
        let bound = |share: f64, factor: f64| {
            self.percentile(share).map(|cores| (cores * margin * factor * 1000.0).max(FLOOR))
        };
        Some(Recommendation {
            lower: bound(LOWER, (1.0 + 0.001 / confidence).powi(-2))?,
            target: bound(TARGET, 1.0)?.ceil(),
            upper: bound(UPPER, 1.0 + 1.0 / confidence)?,
        })
    }
}

fn bucket_of(cores: f64) -> usize {
    let bucket = (cores * (GROWTH - 1.0) / FIRST_BUCKET + 1.0).log(GROWTH).floor();
    (bucket.max(0.0) as usize).min(BUCKETS - 1)
}

fn start_of(bucket: usize) -> f64 {
    FIRST_BUCKET * (GROWTH.powf(bucket as f64) - 1.0) / (GROWTH - 1.0)
}
