//! The formats as kernels write them, and that a damaged file is never parsed as a number.

use proptest::prelude::*;

use super::*;

const STAT: &[u8] = b"usage_usec 388856618\nuser_usec 308878383\nsystem_usec 79978235\nnice_usec 0\n\
    nr_periods 120\nnr_throttled 7\nthrottled_usec 4200\nnr_bursts 0\nburst_usec 0\n";
const MEMORY: &[u8] = b"anon 1000\nfile 9\nkernel 5\nshmem 20\ninactive_anon 1\ninactive_file 300\n\
    slab_reclaimable 1\nslab_unreclaimable 4000\nslab 4001\nfuture_key 1\n";
const MEMORY_V1: &[u8] = b"cache 1\nrss 2\nshmem 3\ninactive_file 4\nhierarchical_memory_limit 9\n\
    total_cache 10\ntotal_rss 20\ntotal_shmem 30\ntotal_inactive_file 40\n";

#[test]
fn cpu_stat_has_usage_always_and_throttling_where_the_controller_is_on() {
    let on = cpu_stat(STAT).unwrap();
    assert_eq!(on.usage, Duration::from_micros(388_856_618));
    assert_eq!(on.throttling, Some(Throttling { periods: 120, throttled: 7 }));
    let off = cpu_stat(b"usage_usec 5\nuser_usec 3\nsystem_usec 2\n").unwrap();
    assert_eq!((off.usage, off.throttling), (Duration::from_micros(5), None));
    assert_eq!(cpu_stat(b"user_usec 3\nnr_periods 1\nnr_throttled 0\n"), None);
    assert_eq!(cpu_stat(b"usage_usec 5\nnr_periods 1\n"), None);
}

#[test]
fn v1_files_have_the_meaning_of_their_v2_equivalents() {
    assert_eq!(
        throttling(b"nr_periods 9\nnr_throttled 2\nthrottled_time 1\n"),
        Some(Throttling { periods: 9, throttled: 2 })
    );
    assert_eq!(nanoseconds(b"1500000000\n"), Some(Duration::from_millis(1500)));
    assert_eq!(cfs_quota(b"-1\n"), Some(Limit::Unlimited));
    assert_eq!(cfs_quota(b"50000\n"), Some(Limit::Of(50_000)));
    assert_eq!(cores(50_000, 100_000), Some(Limit::Of(Cores(0.5))));
    assert_eq!((cores(0, 100_000), cores(1, 0)), (None, None));
    assert_eq!(
        memory_stat_v1(MEMORY_V1).unwrap(),
        MemoryDetail { inactive_file: Bytes(40), unreclaimable: Bytes(50) }
    );
    assert_eq!(oom_kills(b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
    assert_eq!(oom_kills(b"oom_kill_disable 0\nunder_oom 0\n"), None);
}

#[test]
fn the_largest_page_aligned_number_is_v1_for_unlimited() {
    for unlimited in ["9223372036854771712\n", "9223372036854710272\n", "9223372036854775807\n"] {
        assert_eq!(memory_limit(unlimited.as_bytes()), Some(Limit::Unlimited));
    }
    assert_eq!(memory_limit(b"134217728\n"), Some(Limit::Of(Bytes(128 << 20))));
}

#[test]
fn limits_have_a_word_for_unlimited() {
    assert_eq!(cpu_max(b"max 100000\n"), Some(Limit::Unlimited));
    assert_eq!(cpu_max(b"25000 50000\n"), Some(Limit::Of(Cores(0.5))));
    assert_eq!(memory_max(b"max\n"), Some(Limit::Unlimited));
    assert_eq!(memory_max(b"4096\n"), Some(Limit::Of(Bytes(4096))));
    for bad in
        [&b"0 100000\n"[..], b"100000\n", b"5000 0\n", b"max 0\n", b"-1 100000\n", b"max\n", b"1 2 3\n"]
    {
        assert_eq!(cpu_max(bad), None, "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn memory_detail_sums_what_cannot_be_reclaimed() {
    assert_eq!(
        memory_stat(MEMORY).unwrap(),
        MemoryDetail { inactive_file: Bytes(300), unreclaimable: Bytes(5020) }
    );
    assert_eq!(memory_stat(b"anon 1\nshmem 1\nslab_unreclaimable 1\n"), None);
    let events = b"low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 0\n";
    assert_eq!(memory_events(events), Some(MemoryEvents { high: 1, max: 2, oom_kill: 4 }));
    assert_eq!(memory_events(b"low 0\nhigh 1\nmax 2\n"), None);
}

#[test]
fn pressure_is_read_with_and_without_a_full_line() {
    let some = b"some avg10=3.89 avg60=2.20 avg300=1.63 total=21353876\n";
    assert_eq!(pressure(some), Some(3.89));
    assert_eq!(
        pressure(&[some, &b"full avg10=9.00 avg60=0.00 avg300=0.00 total=0\n"[..]].concat()),
        Some(3.89)
    );
    for bad in [
        "full avg10=9.00 avg60=0.00\n",
        "some avg10=101.00 avg60=0\n",
        "some avg10=1.5 avg60=0\n",
        "some avg10=.\n",
        "",
    ] {
        assert_eq!(pressure(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn numbers_beyond_64_bits_are_malformed() {
    assert_eq!(bytes(b"18446744073709551615\n"), Some(Bytes(u64::MAX)));
    assert_eq!(bytes(b"18446744073709551616\n"), None);
    assert_eq!(cpu_stat(b"usage_usec 99999999999999999999999\n"), None);
    let huge = format!("anon {0}\nshmem {0}\ninactive_file 1\nslab_unreclaimable {0}\n", u64::MAX);
    assert_eq!(memory_stat(huge.as_bytes()).unwrap().unreclaimable, Bytes(u64::MAX));
}

#[test]
fn a_file_truncated_anywhere_never_gives_other_numbers() {
    for end in 0..STAT.len() {
        if let Some(part) = cpu_stat(&STAT[..end]) {
            assert_eq!(part.usage, Duration::from_micros(388_856_618), "cut at {end}");
            assert!(
                part.throttling.is_none_or(|t| t == Throttling { periods: 120, throttled: 7 }),
                "cut at {end}"
            );
        }
    }
    for end in 0..MEMORY.len() {
        assert!(
            memory_stat(&MEMORY[..end]).is_none_or(|detail| Some(detail) == memory_stat(MEMORY)),
            "cut at {end}"
        );
    }
    for text in [&b"123456\n"[..], b"123456"] {
        assert!((0..text.len()).all(|end| text[..end].ends_with(b"\n") || bytes(&text[..end]).is_none()));
    }
}

/// Whether any parser accepts a text.
fn anything(text: &[u8]) -> bool {
    cpu_stat(text).is_some()
        | throttling(text).is_some()
        | nanoseconds(text).is_some()
        | cpu_max(text).is_some()
        | cfs_quota(text).is_some()
        | memory_max(text).is_some()
        | memory_limit(text).is_some()
        | memory_stat(text).is_some()
        | memory_stat_v1(text).is_some()
        | memory_events(text).is_some()
        | oom_kills(text).is_some()
        | pressure(text).is_some()
        | bytes(text).is_some()
}

#[test]
fn empty_and_blank_files_have_no_value() {
    for text in [&b""[..], b"\n", b" \n", b"\0\0\0", b"+1\n", b"-5\n", b" 1\n", b"1 \n", b"0x10\n", b"1\n\n"]
    {
        assert!(!anything(text), "{}", String::from_utf8_lossy(text));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(text in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = anything(&text);
    }

    #[test]
    fn arbitrary_lines_of_known_keys_never_panic_nor_give_zero_for_a_missing_value(
        lines in prop::collection::vec(("(usage_usec|nr_periods|nr_throttled|anon|high|max|oom_kill|some avg10=)?", " ?", "[0-9.x-]{0,22}"), 0..9)
    ) {
        let text: String = lines.iter().map(|(key, gap, value)| format!("{key}{gap}{value}\n")).collect();
        let _ = anything(text.as_bytes());
        if let Some(counters) = cpu_stat(text.as_bytes()) {
            let line = format!("usage_usec {}\n", counters.usage.as_micros());
            prop_assert!(text.contains(line.trim_end()) || text.contains("usage_usec 0"), "{text}");
        }
    }

    #[test]
    fn well_formed_cpu_stat_round_trips(usage: u64, periods: u64, throttled: u64, on: bool) {
        let quota = if on { format!("nr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec 1\n") } else { String::new() };
        let text = format!("usage_usec {usage}\nuser_usec 1\nsystem_usec 2\n{quota}");
        let throttling = on.then_some(Throttling { periods, throttled });
        prop_assert_eq!(cpu_stat(text.as_bytes()), Some(CpuCounters { usage: Duration::from_micros(usage), throttling }));
    }

    #[test]
    fn well_formed_numbers_and_limits_round_trip(value: u64, quota in 1_u64.., period in 1_u64..) {
        prop_assert_eq!(bytes(format!("{value}\n").as_bytes()), Some(Bytes(value)));
        prop_assert_eq!(memory_max(format!("{value}\n").as_bytes()), Some(Limit::Of(Bytes(value))));
        prop_assert_eq!(nanoseconds(format!("{value}\n").as_bytes()), Some(Duration::from_nanos(value)));
        let cores = Cores(quota as f64 / period as f64);
        prop_assert_eq!(cpu_max(format!("{quota} {period}\n").as_bytes()), Some(Limit::Of(cores)));
    }

    #[test]
    fn well_formed_memory_files_round_trip(anon: u32, shmem: u32, inactive: u64, slab: u32, high: u64, max: u64, kills: u64) {
        let text = format!("anon {anon}\nshmem {shmem}\ninactive_file {inactive}\nslab_unreclaimable {slab}\n");
        let unreclaimable = Bytes(u64::from(anon) + u64::from(shmem) + u64::from(slab));
        prop_assert_eq!(memory_stat(text.as_bytes()), Some(MemoryDetail { inactive_file: Bytes(inactive), unreclaimable }));
        let text = format!("low 0\nhigh {high}\nmax {max}\noom 0\noom_kill {kills}\n");
        prop_assert_eq!(memory_events(text.as_bytes()), Some(MemoryEvents { high, max, oom_kill: kills }));
    }

    #[test]
    fn well_formed_pressure_round_trips(hundredths in 0_u32..=10_000) {
        let text = format!("some avg10={}.{:02} avg60=1.00 avg300=0.00 total=9\n", hundredths / 100, hundredths % 100);
        let parsed = pressure(text.as_bytes()).unwrap();
        prop_assert!((parsed - f64::from(hundredths) / 100.0).abs() < 1e-9);
    }
}
