//! `docs/sizing.md` shows what the code does: its tables are recomputed.

use super::*;
use crate::policy::{Bound, ResourcePolicy};
use crate::urgency::Weights;

const PAGE: &str = include_str!("../../../../../docs/sizing.md");

/// The cells of the rows of the table whose head begins with this cell, and of the head.
fn table(first: &str) -> Vec<Vec<&'static str>> {
    let head = format!("| {first} |");
    let lines =
        PAGE.lines().skip_while(|line| !line.starts_with(&head)).take_while(|line| line.starts_with('|'));
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    lines.filter(|line| !line.starts_with("|---")).map(cells).collect()
}

/// Growths of a gold container without a limit, as rows of the page; and what is said at their end.
fn growths(mut size: Size, cores: f64, node: u64) -> (Vec<Vec<String>>, String) {
    let gold = class("gold");
    // percentages are of the size before the first resize
    let bounds = gold.cpu.bounds(size, size, Some(node));
    let (mut rows, mut grew_at, mut first) = (Vec::new(), None, None);
    for second in 0..120_u64 {
        let before = size.request.unwrap();
        let usage =
            ContainerCpu { throttled2: None, throttled3: None, ..steady(cores, before as f64 / 1000.0) };
        let since_growth = grew_at.map(|then| Duration::from_secs(second - then));
        let now = CpuInput { bounds, since_growth, ..input(&gold, size, &usage) };
        let Verdict::Grow(change) = decide(&now) else { continue };
        let first = *first.get_or_insert(second);
        let (target, step) = (gold.cpu.target_of_request, gold.cpu.max_step);
        rows.push(vec![
            (rows.len() + 1).to_string(),
            (second - first).to_string(),
            change.trigger.to_string(),
            format!("{before}m"),
            format!("{}m", change.usage),
            format!("{:.1}m", cores * 1000.0 / target),
            format!("{:.0}m", before as f64 * (1.0 + step)),
            format!("{}m", change.to.request.unwrap()),
        ]);
        (size, grew_at) = (change.to, Some(second));
    }
    let usage = ContainerCpu {
        throttled2: None,
        throttled3: None,
        ..steady(cores, size.request.unwrap() as f64 / 1000.0)
    };
    let end = CpuInput { bounds, ..input(&gold, size, &usage) };
    assert_eq!(calls_for_growth(&end), None, "nothing calls for another growth");
    assert_eq!(decide(&end), Verdict::Keep(Keep::Fits));
    (
        rows,
        format!(
            "at {}m the utilization is {:.1} %",
            size.request.unwrap(),
            usage.utilization3.unwrap() * 100.0
        ),
    )
}

#[test]
fn the_worked_example_of_the_page_is_what_the_code_decides() {
    let page = table("growth");
    let (rows, end) = growths(size(100, None), 0.5, 4000);
    assert_eq!(page[1..], rows);
    let target = class("gold").cpu.target_of_request;
    assert!(page[0].contains(&&*format!("use / {target:.2}")), "{:?}", page[0]);
    for said in [end, format!("below the {:.0} % that call", f64::midpoint(1.0, target) * 100.0)] {
        assert!(PAGE.contains(&said), "the page does not say: {said}");
    }
    let last = &rows[rows.len() - 1][1];
    assert!(PAGE.contains(&format!("The size is final {last} s after the first growth.")), "{last}");
}

#[test]
fn the_classes_of_the_page_are_those_that_ship() {
    let least = |policy: &ResourcePolicy| match policy.min_allowed {
        Bound::Amount(amount) if amount >= 1 << 20 => format!("{}Mi", amount >> 20),
        Bound::Amount(amount) => format!("{amount}m"),
        Bound::OfOriginal(percent) => format!("{percent} % of the original"),
    };
    let time = |time: Duration| match time.as_secs() {
        seconds @ 0..=60 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    };
    let row = |name| {
        let Policy { cpu, memory, up_cooldown, down_hold, .. } = class(name);
        assert_eq!((cpu.max_step, cpu.max_allowed), (memory.max_step, None));
        let Some(Bound::OfOriginal(most)) = memory.max_allowed else { panic!("{memory:?}") };
        let targets = |policy: &ResourcePolicy| {
            format!("{:.2} / {:.2}", policy.target_of_limit, policy.target_of_request)
        };
        let leasts = [least(&cpu), least(&memory)];
        vec![
            name.to_owned(),
            targets(&cpu),
            targets(&memory),
            format!("{:.0} %", cpu.max_step * 100.0),
            time(up_cooldown),
            time(down_hold),
            if leasts[0] == leasts[1] { leasts[0].clone() } else { leasts.join(", ") },
            format!("CPU half of the node, memory {most} %"),
        ]
    };
    assert_eq!(table("class")[1..], ["gold", "silver", "bronze"].map(row));
}

#[test]
fn the_weights_of_the_page_are_the_default_ones() {
    let listed: Vec<_> = table("criterion")[1..].iter().map(|row| row[2]).collect();
    assert_eq!(listed, Weights::default().values().map(|weight| format!("{weight:.3}")));
}
