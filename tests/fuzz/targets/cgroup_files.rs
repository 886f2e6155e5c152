//! Any bytes as any cgroup file: no panic, and no value from a file whose last line is truncated.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_agent::host::parse;

fuzz_target!(|text: &[u8]| {
    let values = [
        parse::cpu_stat(text).is_some(),
        parse::throttling(text).is_some(),
        parse::nanoseconds(text).is_some(),
        parse::cpu_max(text).is_some(),
        parse::cfs_quota(text).is_some(),
        parse::bytes(text).is_some(),
        parse::memory_max(text).is_some(),
        parse::memory_limit(text).is_some(),
        parse::memory_stat(text).is_some(),
        parse::memory_stat_v1(text).is_some(),
        parse::memory_events(text).is_some(),
        parse::oom_kills(text).is_some(),
        parse::populated(text).is_some(),
        parse::cpu_count(text).is_some(),
        parse::line_number(text).is_some(),
    ];
    if !text.contains(&b'\n') {
        assert!(values.iter().all(|value| !value), "a value without a complete line");
    }
    let _ = parse::has_cpu_controller(text);
    if let Some(percent) = parse::pressure(text) {
        assert!((0.0..=100.0).contains(&percent));
    }
});
