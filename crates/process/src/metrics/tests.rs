use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, Registry};

use super::{HttpMetrics, Rejection, build_info, registry, render};

/// The value of a series in a text of metrics.
fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[test]
fn a_new_registry_has_the_process_metrics() {
    let text = render(&registry());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let of = |series| value(&text, series).unwrap_or_else(|| panic!("{series} is missing in:\n{text}"));
    assert!(of("process_resident_memory_bytes ") > 100_000.0);
    assert!(of("process_open_fds ") >= 3.0);
    assert!(of("process_max_fds ") >= of("process_open_fds "));
    assert!(of("process_threads ") >= 1.0);
    assert!(of("process_cpu_seconds_total ") < 10_000.0);
    // The boot time is rounded to a second.
    assert!((0.0..86_400.0).contains(&(now + 2.0 - of("process_start_time_seconds "))));
    assert!(text.contains("# TYPE process_cpu_seconds_total counter"), "{text}");
}

#[test]
fn build_info_is_one_and_names_the_version() {
    let registry = Registry::new();
    build_info(&registry, "thing_build_info", "1.2.3").unwrap();
    let text = render(&registry);
    let line = text.lines().find(|line| line.starts_with("thing_build_info{")).unwrap();
    assert!(line.contains("version=\"1.2.3\"") && line.ends_with(" 1"), "{line}");
    assert!(build_info(&registry, "thing_build_info", "1.2.3").is_err(), "a name in use is rejected");
    assert!(build_info(&registry, "not a name", "1.2.3").is_err());
}

#[test]
fn every_series_of_a_server_exists_before_its_first_connection() {
    let registry = Registry::new();
    HttpMetrics::register(&registry, "thing").unwrap();
    let text = render(&registry);
    for reason in ["full", "address", "silent", "handshake", "no_certificate", "requests"] {
        assert_eq!(
            value(&text, &format!("thing_http_refused_total{{reason=\"{reason}\"}}")),
            Some(0.0),
            "{text}"
        );
    }
    for status in ["1xx", "2xx", "3xx", "4xx", "5xx"] {
        assert_eq!(
            value(&text, &format!("thing_http_requests_total{{status=\"{status}\"}}")),
            Some(0.0),
            "{text}"
        );
    }
    assert_eq!(value(&text, "thing_http_connections "), Some(0.0));
    assert_eq!(value(&text, "thing_http_panics_total "), Some(0.0));
}

#[test]
fn two_servers_have_separate_counters() {
    let registry = Registry::new();
    let first = HttpMetrics::register(&registry, "first").unwrap();
    let second = HttpMetrics::register(&registry, "second").unwrap();
    assert!(HttpMetrics::register(&registry, "second").is_err(), "a prefix in use is rejected");
    first.rejected(Rejection::Full).inc();
    second.requests(http::StatusCode::NOT_FOUND).inc_by(2);
    let text = render(&registry);
    assert_eq!(value(&text, "first_http_refused_total{reason=\"full\"}"), Some(1.0));
    assert_eq!(value(&text, "second_http_refused_total{reason=\"full\"}"), Some(0.0));
    assert_eq!(value(&text, "second_http_requests_total{status=\"4xx\"}"), Some(2.0));
}

/// A collector whose family has no series, which the text encoder rejects.
struct Broken(IntCounter);

impl Collector for Broken {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        families.iter_mut().for_each(|family| family.mut_metric().clear());
        families.iter_mut().for_each(|family| family.set_name(String::new()));
        families
    }
}

#[test]
fn a_broken_collector_does_not_hide_the_others() {
    let registry = Registry::new();
    registry.register(Box::new(Broken(IntCounter::new("aaa", "broken").unwrap()))).unwrap();
    registry.register(Box::new(IntCounter::new("zzz", "whole").unwrap())).unwrap();
    let text = render(&registry);
    assert_eq!(value(&text, "zzz "), Some(0.0), "{text}");
    assert!(!text.contains("broken"), "{text}");
}
