//! Any bytes as a report: a report that passes the check has only finite numbers, and its JSON parses to the same report.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_contract::Report;

fuzz_target!(|json: &[u8]| {
    let Ok(report) = serde_json::from_slice::<Report>(json) else { return };
    if report.check().is_err() {
        return;
    }
    for pod in &report.pods {
        assert!(pod.cpu.utilization.is_none_or(f64::is_finite));
        assert!(pod.cpu.of.is_none_or(|of| of.0.is_finite()));
    }
    let text = serde_json::to_vec(&report).expect("a parsed report has a JSON form");
    let again: Report = serde_json::from_slice(&text).expect("its own JSON can be parsed");
    assert_eq!(again, report);
});
