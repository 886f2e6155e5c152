//! A container that was killed for memory and is down, among the others of its pod.

use super::*;

/// Pod 1 with a second container, `proxy`, of the same size.
fn with_proxy() -> PodFacts {
    let mut pod = sized(1);
    let mut proxy = pod.containers[0].clone();
    (proxy.name, proxy.id) = ("proxy".into(), Some(container(99)));
    pod.containers.push(proxy);
    pod
}

impl Harness {
    /// A report of a node of whose memory half is free.
    fn report_with_room(&mut self, pods: Vec<PodReport>) -> Vec<Action> {
        let mut report = self.next_report(0, false, pods);
        report.capacity.available_bytes = Some(Bytes(4 << 30));
        self.step(reported(report))
    }

    /// What the agent sees while only the proxy runs.
    fn only_proxy(&mut self, cores: f64, throttled: f64) -> Vec<Action> {
        let mut report = self.seen(1, cores, throttled);
        let kernel = self.pods[&name(1)].containers[1].actual.unwrap();
        let proxy = &mut report.containers[0];
        proxy.id = container(99);
        proxy.cpu.limit_cores = kernel.cpu_limit.map(Limit::Of);
        proxy.memory.limit = kernel.memory_limit.map(Limit::Of);
        self.report_with_room(vec![report])
    }
}

#[test]
fn a_killed_container_grows_while_it_is_down_its_sibling_is_not_blocked_and_its_start_verifies_it() {
    let mut harness = Harness::resizing(vec![with_proxy()]);
    let actions = harness.only_proxy(0.1, 0.0);
    harness.land_all(actions);
    harness.wait(5);
    let actions = harness.edit(1, |pod| {
        let app = &mut pod.containers[0];
        (app.running, app.restarts) = (false, 1);
        app.oom_killed_at = Some("2026-01-01T10:00:00Z".parse().unwrap());
    });
    let record = only_write(&actions);
    assert_eq!((record.reason, record.from.as_str()), (Reason::Grow, "app memory=128Mi/256Mi"));
    assert!(recorded(&record).why.starts_with("app "), "{record:?}");
    let resize = only_write(&harness.land(&record));
    let asked = resize.resize().containers["app"];
    assert_eq!((asked.memory.limit, asked.cpu), (Some(368 * MI), Default::default()));
    harness.land(&resize);
    let told = events(&harness.kubelet(1));
    assert_eq!((told[0].reason.as_str(), told[0].warning), ("ResizeSetAside", false));
    let why = recorded(&record).why;
    assert!(told[0].note.ends_with(&format!(": {why}")), "{}", told[0].note);
    assert_eq!(harness.resize_state(1), "accepted");

    harness.wait(6);
    let record = only_write(&harness.only_proxy(0.5, 0.8));
    assert!(record.to.starts_with("proxy cpu="), "{}", record.to);
    let resize = only_write(&harness.land(&record));
    harness.land(&resize);
    harness.kubelet(1);
    let told = events(&harness.only_proxy(0.5, 0.0));
    assert_eq!((told.len(), told[0].reason.as_str()), (1, "ResizeVerified"), "that of the proxy");
    assert_eq!(harness.resize_state(1), "accepted", "that of the one that is down");

    harness.wait(30);
    harness.edit(1, |pod| {
        let app = &mut pod.containers[0];
        (app.running, app.restarts, app.id) = (true, 2, Some(container(55)));
    });
    let mut report = harness.seen(1, 0.1, 0.0);
    report.containers[0].id = container(55);
    report.containers[0].memory.events_delta =
        Some(MemoryEvents { high: Some(0), max: Some(0), oom_kill: Some(1) });
    let actions = harness.report_with_room(vec![report]);
    let told = events(&actions);
    assert_eq!(told.iter().map(|event| event.reason.as_str()).collect::<Vec<_>>(), ["ResizeVerified"]);
    assert!(told[0].note.ends_with(&format!(": {why}")), "not that of the proxy: {}", told[0].note);
    assert!(
        writes(&actions).iter().all(|write| write.reason != Reason::Grow),
        "the kill is answered: {actions:?}"
    );
    let row = harness.ledger().into_iter().find(|row| row.name == "gold").unwrap();
    assert_eq!(row.counts.oom, 1, "one kill, told twice");
}

#[test]
fn a_container_that_crashed_for_another_reason_gets_nothing() {
    let mut harness = Harness::resizing(vec![with_proxy()]);
    let actions = harness.only_proxy(0.1, 0.0);
    harness.land_all(actions);
    harness.wait(5);
    let actions = harness.edit(1, |pod| {
        let app = &mut pod.containers[0];
        (app.running, app.restarts) = (false, 1);
    });
    assert!(writes(&actions).iter().all(|write| !write.reason.is_of_resize()), "{actions:?}");
}
