//! Pods and containers that appear, are removed, are created again, or are too many.

use plimsoll_contract::load::UnknownReason;

use super::watch::Watch;
use super::*;

fn pod_dir(tree: &Tree, number: u8) -> PathBuf {
    tree.path(&format!("kubepods/burstable/pod{}", uid(number)))
}

#[test]
fn a_container_created_between_two_listings_is_discovered_at_once() {
    let tree = Tree::bare();
    tree.container(1, 1);
    let mut host = tree.host();
    assert_eq!(host.discover(at(1)), []);
    tree.container(1, 2);
    assert_eq!(host.discover(at(2)), [CgroupEvent::Appeared(container(1, 2))]);
    assert_eq!(host.discover(at(3)), []);
    assert_eq!(sweep(&mut host).len(), 2);
}

#[test]
fn a_pod_created_between_two_listings_is_discovered_at_once_and_watched_from_then_on() {
    let tree = Tree::bare();
    tree.container(1, 1);
    let mut host = tree.host();
    tree.container(2, 2);
    assert_eq!(host.discover(at(1)), [CgroupEvent::Appeared(pod(2)), CgroupEvent::Appeared(container(2, 2))]);
    tree.container(2, 3);
    assert_eq!(host.discover(at(2)), [CgroupEvent::Appeared(container(2, 3))]);
}

#[test]
fn a_pod_removed_between_two_listings_is_gone_at_once_and_no_longer_watched() {
    let tree = Tree::bare();
    tree.container(1, 1);
    tree.container(2, 2);
    let mut host = tree.host();
    let watched = host.watch.len();
    fs::remove_dir_all(pod_dir(&tree, 2)).unwrap();
    let mut gone = host.discover(at(1));
    gone.sort_by_key(|change| format!("{change:?}"));
    assert_eq!(gone, [CgroupEvent::Gone(pod(2)), CgroupEvent::Gone(container(2, 2))]);
    host.discover(at(2));
    assert_eq!(host.watch.len(), watched - 1);
    assert_eq!(sweep(&mut host).len(), 1);
}

#[test]
fn without_inotify_the_listing_every_ten_seconds_finds_everything() {
    let tree = Tree::bare();
    tree.container(1, 1);
    let mut host = Host::open(&tree.config()).unwrap();
    host.watch = Watch::exhausted();
    host.discover(at(0));
    tree.container(1, 2);
    fs::remove_dir_all(tree.path(&tree.container(1, 1))).unwrap();
    assert_eq!(host.discover(at(9)), []);
    assert_eq!(
        host.discover(at(10)),
        [CgroupEvent::Gone(container(1, 1)), CgroupEvent::Appeared(container(1, 2))]
    );
}

#[test]
fn a_kubepods_directory_created_later_is_found_at_once() {
    let tree = Tree::bare();
    let mut host = tree.host();
    assert!(host.describe().kubepods.is_empty() && sweep(&mut host).is_empty());
    tree.container(1, 1);
    assert_eq!(host.discover(at(1)).len(), 2);
}

#[test]
fn when_the_kubepods_directory_is_removed_everything_is_gone() {
    let tree = Tree::bare();
    tree.container(1, 1);
    let mut host = tree.host();
    fs::remove_dir_all(tree.path("kubepods")).unwrap();
    assert_eq!(host.discover(at(1)).len(), 2);
    assert_eq!(sweep(&mut host).len(), 0);
    tree.container(1, 1);
    assert_eq!(host.discover(at(2)).len(), 2);
}

#[test]
fn a_directory_created_again_under_its_name_is_another_one() {
    let tree = Tree::bare();
    let dir = tree.container(1, 1);
    let mut host = tree.host();
    let before = sweep(&mut host)[&container(1, 1)].inode;
    // moved, so that the file system cannot reuse its inode for the next one
    fs::rename(tree.path(&dir), tree.path("moved")).unwrap();
    tree.container(1, 1);
    assert_eq!(
        host.discover(at(1)),
        [CgroupEvent::Gone(container(1, 1)), CgroupEvent::Appeared(container(1, 1))]
    );
    assert_ne!(sweep(&mut host)[&container(1, 1)].inode, before);
}

#[test]
fn a_pod_directory_created_again_is_watched_again() {
    let tree = Tree::bare();
    tree.container(1, 1);
    let mut host = tree.host();
    fs::rename(pod_dir(&tree, 1), tree.path("moved")).unwrap();
    tree.container(1, 2);
    let changes = host.discover(at(1));
    assert!(
        changes.contains(&CgroupEvent::Gone(container(1, 1)))
            && changes.contains(&CgroupEvent::Appeared(container(1, 2)))
    );
    tree.container(1, 3);
    assert_eq!(host.discover(at(2)), [CgroupEvent::Appeared(container(1, 3))]);
}

#[test]
fn a_cgroup_found_gone_by_a_sweep_is_returned_by_the_next_discovery_once() {
    let tree = Tree::bare();
    let dir = tree.container(1, 1);
    tree.container(1, 2);
    tree.pod(1, "max 100000\n");
    let mut host = Host::open(&tree.config()).unwrap();
    host.watch = Watch::exhausted();
    host.discover(at(0));
    // between the listing and the first reading
    fs::remove_dir_all(tree.path(&dir)).unwrap();
    assert_eq!(sweep(&mut host).into_keys().collect::<Vec<_>>(), [pod(1), container(1, 2)]);
    assert_eq!(errors(&host, "cpu.stat", UnknownReason::Absent), 0, "a removed cgroup is no error");
    assert_eq!(host.discover(at(1)), [CgroupEvent::Gone(container(1, 1))]);
    assert_eq!(host.discover(at(2)), []);
}

#[test]
fn a_flood_of_directories_is_truncated_and_counted_and_no_pod_is_lost() {
    let tree = Tree::bare();
    tree.container(1, 1);
    tree.container(2, 2);
    let mut host = tree.host();
    host.max_entries = 200;
    for number in 0..300 {
        fs::create_dir(pod_dir(&tree, 1).join(format!("flood-{number}"))).unwrap();
    }
    tree.container(3, 3);
    let changes = host.discover(at(20));
    assert_eq!(changes, [CgroupEvent::Appeared(pod(3)), CgroupEvent::Appeared(container(3, 3))]);
    assert_eq!(host.truncated_listings(), 1);
    assert_eq!(sweep(&mut host).len(), 3);
    // a removed cgroup is noticed although the listing is truncated
    fs::remove_dir_all(pod_dir(&tree, 1).join(id(1).as_str())).unwrap();
    assert_eq!(host.discover(at(40)), [CgroupEvent::Gone(container(1, 1))]);
}

#[test]
fn files_links_and_depth_are_not_mistaken_for_containers() {
    let tree = Tree::bare();
    let dir = tree.container(1, 1);
    let pod = pod_dir(&tree, 1);
    fs::write(pod.join(id(2).as_str()), "").unwrap();
    symlink(tree.path(&dir), pod.join(id(3).as_str())).unwrap();
    fs::create_dir_all(tree.path(&dir).join(id(4).as_str())).unwrap();
    fs::create_dir_all(tree.path("kubepods/burstable/burstable").join(format!("pod{}", uid(9)))).unwrap();
    assert_eq!(sweep(&mut tree.host()).into_keys().collect::<Vec<_>>(), [container(1, 1)]);
}

#[test]
fn a_directory_created_later_in_another_hierarchy_is_opened() {
    let tree = Tree::of("v1-cgroupfs");
    let late = tree.path("memory/kubepods");
    fs::rename(&late, tree.path("moved")).unwrap();
    let mut host = tree.host();
    assert_eq!(of(&sweep(&mut host), "3eb").memory.value(), None);
    fs::rename(tree.path("moved"), &late).unwrap();
    host.discover(at(10));
    assert!(of(&sweep(&mut host), "3eb").memory.value().is_some());
}

#[test]
fn hierarchies_mounted_after_the_start_are_read() {
    let tree = Tree::of("v1-cgroupfs");
    fs::rename(tree.path("memory"), tree.dir.path().join("moved")).unwrap();
    let mut host = tree.host();
    assert_eq!(host.describe().memory, None);
    fs::rename(tree.dir.path().join("moved"), tree.path("memory")).unwrap();
    host.discover(at(10));
    assert_eq!(host.describe().memory, Some(Version::V1));
    assert!(of(&sweep(&mut host), "3eb").memory.value().is_some());
}
