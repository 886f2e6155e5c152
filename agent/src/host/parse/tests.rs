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
    assert_eq!(cpu_stat(b"usage_usec x\nnr_periods 1\nnr_throttled 0\n"), None);
}

#[test]
fn without_a_valid_pair_of_quota_counters_the_usage_is_known() {
    let usage = CpuCounters { usage: Duration::from_micros(5), throttling: None };
    for counters in [
        "nr_periods 1\n",
        "nr_throttled 1\n",
        "nr_periods x\nnr_throttled 1\n",
        "nr_periods 1\nnr_throttled -1\n",
    ] {
        let text = format!("usage_usec 5\n{counters}");
        assert_eq!(cpu_stat(text.as_bytes()), Some(usage), "{counters}");
    }
}

#[test]
fn whether_a_cgroup_is_populated_is_one_of_two_numbers() {
    assert_eq!(populated(b"populated 0\nfrozen 0\n"), Some(false));
    assert_eq!(populated(b"frozen 0\npopulated 1\n"), Some(true));
    for bad in ["populated 2\n", "populated\n", "populated 1", "frozen 0\n", "populated -1\n"] {
        assert_eq!(populated(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn the_cpu_controller_is_enabled_where_it_is_listed_and_the_kernel_lists_none_with_nothing() {
    for (text, expected) in [
        ("cpuset cpu io memory\n", Some(true)),
        ("cpuset io memory\n", Some(false)),
        ("", Some(false)),
        ("cpu", None),
        ("io\ncpu\n", None),
        ("io, cpu\n", None),
    ] {
        assert_eq!(has_cpu_controller(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn the_cpus_of_a_list_are_counted() {
    for (text, expected) in [
        ("0\n", Some(1)),
        ("0-7\n", Some(8)),
        ("0-3,8,10-11\n", Some(7)),
        ("18446744073709551615\n", None),
        ("\n", None),
        ("0-3", None),
        ("3-0\n", None),
        ("0-3,2\n", None),
        ("0-3,\n", None),
        ("0-3-5\n", None),
        ("0-3 5\n", None),
    ] {
        assert_eq!(cpu_count(text.as_bytes()), expected, "{text}");
    }
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
        MemoryDetail {
            anon: Some(Bytes(20)),
            shmem: Some(Bytes(30)),
            file: Some(Bytes(10)),
            inactive_file: Some(Bytes(40)),
            ..MemoryDetail::default()
        }
    );
    assert_eq!(oom_kills(b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(Some(3)));
    assert_eq!(oom_kills(b"oom_kill_disable 0\nunder_oom 0\n"), Some(None), "before Linux 4.13");
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
fn memory_detail_is_what_the_kernel_lists() {
    assert_eq!(
        memory_stat(MEMORY).unwrap(),
        MemoryDetail {
            anon: Some(Bytes(1000)),
            shmem: Some(Bytes(20)),
            file: Some(Bytes(9)),
            active_file: None,
            inactive_file: Some(Bytes(300)),
            slab_reclaimable: Some(Bytes(1)),
            slab_unreclaimable: Some(Bytes(4000)),
        }
    );
    assert_eq!(memory_stat(b"future_key 1\n"), None);
    let events = b"low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 0\n";
    assert_eq!(memory_events(events), Some(MemoryEvents { high: Some(1), max: Some(2), oom_kill: Some(4) }));
    let before_4_13 = MemoryEvents { high: Some(1), max: Some(2), oom_kill: None };
    assert_eq!(memory_events(b"low 0\nhigh 1\nmax 2\n"), Some(before_4_13));
    assert_eq!(memory_events(b"low 0\n"), None);
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
    assert_eq!(memory_stat(huge.as_bytes()).unwrap().unreclaimable(), Some(Bytes(u64::MAX)));
}

/// Whether every value that is in `part` is the same in `whole`.
fn agrees(part: &MemoryDetail, whole: &MemoryDetail) -> bool {
    let values = |d: &MemoryDetail| {
        [d.anon, d.shmem, d.file, d.active_file, d.inactive_file, d.slab_reclaimable, d.slab_unreclaimable]
    };
    values(part).iter().zip(values(whole)).all(|(part, whole)| part.is_none() || *part == whole)
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
            memory_stat(&MEMORY[..end]).is_none_or(|detail| agrees(&detail, &memory_stat(MEMORY).unwrap())),
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
        | populated(text).is_some()
        | cpu_count(text).is_some()
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
        let _ = (anything(&text), has_cpu_controller(&text));
    }

    #[test]
    fn well_formed_lists_of_cpus_are_counted(ranges in prop::collection::vec((1_u64..9, 0_u64..9), 1..20)) {
        let (mut text, mut next, mut count) = (Vec::new(), 0, 0);
        for (gap, more) in ranges {
            let (first, last) = (next + gap, next + gap + more);
            text.push(if more == 0 { first.to_string() } else { format!("{first}-{last}") });
            (next, count) = (last + 1, count + more + 1);
        }
        let text = text.join(",") + "\n";
        prop_assert_eq!(cpu_count(text.as_bytes()), Some(count));
        for end in 0..text.len() {
            prop_assert_eq!(cpu_count(&text.as_bytes()[..end]), None, "cut at {}", end);
        }
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
        let detail = memory_stat(text.as_bytes()).unwrap();
        prop_assert_eq!((detail.inactive_file, detail.unreclaimable()), (Some(Bytes(inactive)), Some(unreclaimable)));
        let text = format!("low 0\nhigh {high}\nmax {max}\noom 0\noom_kill {kills}\n");
        prop_assert_eq!(memory_events(text.as_bytes()), Some(MemoryEvents { high: Some(high), max: Some(max), oom_kill: Some(kills) }));
    }

    #[test]
    fn well_formed_pressure_round_trips(hundredths in 0_u32..=10_000) {
        let text = format!("some avg10={}.{:02} avg60=1.00 avg300=0.00 total=9\n", hundredths / 100, hundredths % 100);
        let parsed = pressure(text.as_bytes()).unwrap();
        prop_assert!((parsed - f64::from(hundredths) / 100.0).abs() < 1e-9);
    }
}
