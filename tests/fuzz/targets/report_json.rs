//! Any bytes as a report: what passes the check holds only finite numbers, and its JSON reads back.
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
    let text = serde_json::to_vec(&report).expect("a report that was read has a JSON form");
    let again: Report = serde_json::from_slice(&text).expect("its own JSON reads back");
    assert_eq!(again, report);
});
