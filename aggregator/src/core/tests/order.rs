//! Which report of a node is the next one, and which roster version is one of this process.

use super::*;
use crate::rejection::Rejection;

const HOUR: u64 = 3600 * 1000;

/// The clock of the harness, as an agent's sequence number starts.
fn clock(harness: &Harness) -> u64 {
    u64::try_from(harness.now().wall.as_millisecond()).unwrap()
}

/// What the core answers to a report of this agent's pod.
fn answer(harness: &mut Harness, agent: &str, report: &Report) -> Result<(), Rejection> {
    let answer = harness.core.step(harness.now(), reported_by(agent, report.clone())).answer;
    answer.unwrap().map(drop)
}

#[test]
fn reports_that_are_not_newer_are_rejected_and_change_nothing() {
    let mut harness = labeled_low();
    let mut report = harness.next_report(0, true, vec![load(1, Band::High, Band::High)]);
    assert_eq!(harness.admits(&report), Ok(()));
    report.seq = 1;
    assert_eq!(harness.admits(&report), Err(Rejection::OldSequence { node: node(0), got: 1, have: 1 }));
    assert_eq!(harness.step(reported(report.clone())), [], "nor does a step accept it");
    assert_eq!(harness.core.pod(&name(1)).unwrap().cpu.band, Band::Low);
    report.seq = 900;
    assert_eq!(harness.step(reported(report)).len(), 1);
}

#[test]
fn a_sequence_far_ahead_of_the_clock_is_rejected_with_the_number_to_continue_from() {
    let mut harness = labeled_low();
    let mut report = harness.next_report(0, true, vec![load(1, Band::High, Band::Low)]);
    let now = clock(&harness);
    for seq in [now + 24 * HOUR + 1, plimsoll_contract::report::MAX_SEQ] {
        report.seq = seq;
        let rejection = answer(&mut harness, "agent-n0", &report).unwrap_err();
        let expected = Rejection::SequenceAhead { node: node(0), got: seq, hours: 24, continue_from: now };
        assert_eq!(rejection, expected);
        assert!(rejection.to_string().contains(&format!("continue from {now}")), "{rejection}");
    }
    report.seq = now + 1;
    assert_eq!(answer(&mut harness, "agent-n0", &report), Ok(()));
    let later = Report { seq: now + 24 * HOUR, ..report };
    assert_eq!(answer(&mut harness, "agent-n0", &later), Ok(()), "a clock may be a day ahead");
}

/// What follows the agent that lied.
type Successor = fn(&mut Harness, &mut Report) -> &'static str;

#[test]
fn a_node_that_lied_about_its_sequence_is_heard_again_after_a_reboot_a_restart_of_its_agent_and_a_new_node() {
    let after_a_reboot: Successor = |_, report| {
        report.boot = "another".into();
        "agent-n0"
    };
    let after_a_restart: Successor = |_, _| "another agent";
    let after_a_new_node: Successor = |harness, _| {
        harness.step(Input::Nodes(WatchEvent::Deleted(node(0))));
        harness.step(node_changed(&node(0)));
        "agent-n0"
    };
    for successor in [after_a_reboot, after_a_restart, after_a_new_node] {
        let mut harness = labeled_low();
        let mut lie = harness.next_report(0, true, vec![load(1, Band::Low, Band::Low)]);
        lie.seq = clock(&harness) + 24 * HOUR;
        assert_eq!(answer(&mut harness, "agent-n0", &lie), Ok(()));
        let mut report = harness.next_report(0, true, vec![load(1, Band::High, Band::Low)]);
        report.seq = clock(&harness);
        let same = answer(&mut harness, "agent-n0", &report);
        assert_eq!(same.unwrap_err().newest(), Some(lie.seq), "the same agent must continue above");
        let agent = successor(&mut harness, &mut report);
        assert_eq!(answer(&mut harness, agent, &report), Ok(()));
        assert_eq!(harness.core.pod(&name(1)).unwrap().cpu.band, Band::High);
    }
}

#[test]
fn a_late_report_of_the_boot_or_agent_before_is_not_taken_for_a_new_one() {
    for (boot, agent) in [("another", "agent-n0"), ("boot-0", "another agent")] {
        let mut harness = labeled_low();
        let late = harness.next_report(0, true, vec![load(1, Band::High, Band::High)]);
        let mut report = harness.next_report(0, true, vec![load(1, Band::Low, Band::Low)]);
        report.boot = boot.into();
        assert_eq!(answer(&mut harness, agent, &report), Ok(()));
        let have = report.seq;
        let expected = Rejection::OldSequence { node: node(0), got: late.seq, have };
        assert_eq!(answer(&mut harness, "agent-n0", &late), Err(expected));
        assert_eq!(harness.core.pod(&name(1)).unwrap().cpu.band, Band::Low);
    }
}

#[test]
fn two_agents_of_one_node_each_continue_above_the_other() {
    let mut harness = labeled_low();
    let mut seqs = BTreeMap::from([("old", 100), ("new", 50)]);
    let mut rejected = 0;
    for _ in 0..20 {
        for agent in ["old", "new"] {
            let mut report = harness.next_report(0, true, vec![load(1, Band::Low, Band::Low)]);
            report.seq = seqs[agent] + 1;
            while let Err(rejection) = answer(&mut harness, agent, &report) {
                report.seq = rejection.newest().unwrap() + 1;
                rejected += 1;
            }
            seqs.insert(agent, report.seq);
        }
    }
    assert!(rejected <= 40, "each report is accepted after one rejection at most: {rejected}");
}

/// A report of node 0 that has this of the roster.
fn with_roster(harness: &mut Harness, process: Option<&str>, version: u64) -> Report {
    let report = harness.next_report(0, false, vec![]);
    Report { roster_version: version, roster_process: process.map(str::to_owned), ..report }
}

fn roster_for(
    harness: &mut Harness,
    process: Option<&str>,
    version: u64,
) -> plimsoll_contract::roster::Answer {
    let report = with_roster(harness, process, version);
    harness.core.step(harness.now(), reported(report)).answer.unwrap().unwrap()
}

#[test]
fn a_roster_version_of_the_process_before_is_never_taken_for_one_of_this() {
    // 200 pods on a node; the aggregator ends right after its start, and the next one begins. Whatever the ids of both are.
    let many = || (0..200).map(|i| facts(i, 0)).collect::<Vec<_>>();
    let begin = |process, pods| Harness::with(Settings { process, ..Settings::default() }, pods, 2);
    for (before, now) in [(1_000_000, 1_000_050), (1, 2), (7 << 12, 8 << 12), (u64::MAX, 0)] {
        let mut first = begin(before, many());
        let had = roster_for(&mut first, None, 0);
        let process = had.roster_process.as_deref();
        assert_eq!(had.roster.len(), 200);
        assert_eq!(roster_for(&mut first, process, had.roster_version).roster, [], "the agent has it all");
        // Meanwhile the container of pod 3 was made anew: another id.
        let mut changed = many();
        changed[3].containers[0].id = Some(container(9999));
        let mut second = begin(now, changed);
        let told = roster_for(&mut second, process, had.roster_version);
        assert_eq!(told.roster.len(), 200, "{before} {now}");
        let process = told.roster_process.as_deref();
        assert_eq!(roster_for(&mut second, process, told.roster_version).roster, []);
        assert_eq!(
            roster_for(&mut second, process, told.roster_version + 1).roster.len(),
            200,
            "no such version"
        );
    }
}

#[test]
fn an_agent_of_an_earlier_version_is_told_once_and_the_versions_of_two_processes_do_not_meet() {
    let begin = |process| Harness::with(Settings { process, ..Settings::default() }, vec![facts(1, 0)], 2);
    let (mut first, mut second) = (begin(0x5f1d_0000_0000_0000), begin(0x9e37_79b9_7f4a_7c15));
    let had = roster_for(&mut first, None, 0);
    assert_eq!(roster_for(&mut first, None, had.roster_version).roster, []);
    assert_eq!(roster_for(&mut second, None, had.roster_version).roster.len(), 1);
    for version in [had.roster_version, roster_for(&mut second, None, 0).roster_version] {
        assert!(version < 1 << 53, "exact for every reader of JSON");
    }
}
