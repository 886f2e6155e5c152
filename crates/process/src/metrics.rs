//! Metrics of a process: a registry with the `process_*` metrics, HTTP server metrics, and the text format.
//!
//! Metrics are injected: code that counts gets its counters from a [`Registry`] that `main` created; nothing is global.
//! Label values come from closed enums, so that no client can create series.

mod http;
mod process;

use std::collections::HashMap;

use prometheus::{IntGauge, Opts, Registry, TextEncoder};

pub use self::http::{HttpMetrics, Rejection};
use self::process::ProcessCollector;

/// The content type of the text that [`render`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A registry with the standard `process_*` metrics: CPU seconds, resident memory, descriptors, threads, start time.
pub fn registry() -> Registry {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::new())).expect("a new registry holds no other collector");
    registry
}

/// All metrics of the registry in the Prometheus text format 0.0.4. A family that cannot be encoded is left out and
/// logged, so that one broken collector does not hide the others.
pub fn render(registry: &Registry) -> String {
    let mut text = String::new();
    for family in registry.gather() {
        let before = text.len();
        if let Err(error) = TextEncoder::new().encode_utf8(std::slice::from_ref(&family), &mut text) {
            text.truncate(before);
            tracing::error!(family = family.name(), %error, "a metric family cannot be encoded");
        }
    }
    text
}

/// Registers the metric `name`, always 1, whose labels say which program this is: `version` and `arch`.
///
/// # Errors
///
/// If `name` is not a metric name, or is registered already.
pub fn build_info(registry: &Registry, name: &str, version: &str) -> prometheus::Result<()> {
    let labels = [("version", version), ("arch", std::env::consts::ARCH)];
    let labels: HashMap<_, _> = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let info =
        IntGauge::with_opts(Opts::new(name, "Which build is running. Always 1.").const_labels(labels))?;
    info.set(1);
    registry.register(Box::new(info))
}

#[cfg(test)]
mod tests;
