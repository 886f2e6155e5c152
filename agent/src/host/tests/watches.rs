//! Inotify that is given up is tried again, and after an overflow nothing is missed.

use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;

use super::watch::Watch;
use super::*;

/// The seconds at which a container is found that was created before.
fn found(host: &mut Host, from: u64, number: u8) -> u64 {
    let appeared = CgroupEvent::Appeared(container(1, number));
    (from..from + 20).find(|seconds| host.discover(at(*seconds)).contains(&appeared)).unwrap()
}

#[test]
fn watches_that_become_available_are_used_again() {
    let tree = Tree::bare();
    tree.container(1, 1);
    let mut host = Host::open(&tree.config()).unwrap();
    host.watch = Watch::exhausted();
    host.discover(at(0));
    tree.container(1, 2);
    assert_eq!(found(&mut host, 1, 2), 10, "by the listing of everything");
    host.watch.set_available();
    (11..60).for_each(|seconds| drop(host.discover(at(seconds))));
    assert!(host.watch.len() > 0);
    tree.container(1, 3);
    assert_eq!(found(&mut host, 61, 3), 61, "at once");
}

#[test]
fn one_watch_too_many_ends_all_until_they_are_tried_again() {
    let tree = Tree::bare();
    tree.container(1, 1);
    let mut host = tree.host();
    let watched = host.watch.len();
    host.watch.fail(Errno::ENOSPC);
    assert_eq!(host.watch.len(), 0);
    tree.container(1, 2);
    assert_eq!(found(&mut host, 1, 2), 10);
    (11..40).for_each(|seconds| drop(host.discover(at(seconds))));
    assert_eq!(host.watch.len(), watched);
    tree.container(1, 3);
    assert_eq!(found(&mut host, 41, 3), 41);
}

#[test]
fn without_success_they_are_tried_less_and_less_often() {
    static TRIED: AtomicUsize = AtomicUsize::new(0);
    let tree = Tree::bare();
    tree.container(1, 1);
    let mut host = Host::open(&tree.config()).unwrap();
    host.watch = Watch::with(|| {
        TRIED.fetch_add(1, Ordering::SeqCst);
        Err(Errno::EMFILE)
    });
    let mut tried = |from: u64, to: u64| {
        (from..to).step_by(10).for_each(|seconds| drop(host.discover(at(seconds))));
        TRIED.swap(0, Ordering::SeqCst)
    };
    assert_eq!(tried(0, 100), 1 + 3, "at the start, after 10, 40 and 90 s");
    let (hour, next_hour) = (tried(100, 3600), tried(3600, 7200));
    assert!((7..=9).contains(&hour) && (5..=6).contains(&next_hour), "{hour} {next_hour}");
}

#[test]
fn after_an_overflow_everything_is_listed_and_watched_again() {
    let queue: u32 =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    let tree = Tree::bare();
    let removed = tree.container(1, 1);
    tree.container(1, 2);
    let mut host = tree.host();
    let watched = host.watch.len();
    let pods = tree.path("kubepods/burstable");
    // each is two events
    for number in 0..=queue.min(1 << 16) / 2 {
        let flood = pods.join(format!("flood-{number}"));
        fs::create_dir(&flood).unwrap();
        fs::remove_dir(&flood).unwrap();
    }
    // what happens now is not told any more
    fs::remove_dir_all(tree.path(&removed)).unwrap();
    tree.container(1, 3);
    assert_eq!(
        host.discover(at(1)),
        [CgroupEvent::Gone(container(1, 1)), CgroupEvent::Appeared(container(1, 3))]
    );
    assert_eq!(host.watch.len(), watched);
    tree.container(1, 4);
    assert_eq!(host.discover(at(2)), [CgroupEvent::Appeared(container(1, 4))]);
}
