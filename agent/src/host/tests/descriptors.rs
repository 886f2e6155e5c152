//! Files that stay open and files that are opened for every read: the same readings, within the bound, whatever it is.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What happens between two sweeps.
#[derive(Debug, Clone)]
enum Step {
    Create(u8),
    Remove(u8),
    /// Another cgroup of the same name.
    Replace(u8),
    Use(u8, u64),
    Nothing,
}

fn step() -> impl Strategy<Value = Step> {
    let container = 0_u8..6;
    prop_oneof![
        container.clone().prop_map(Step::Create),
        container.clone().prop_map(Step::Remove),
        container.clone().prop_map(Step::Replace),
        (container, 0_u64..1 << 40).prop_map(|(container, used)| Step::Use(container, used)),
        Just(Step::Nothing),
    ]
}

fn dir(tree: &Tree, number: u8) -> PathBuf {
    tree.path(&format!("kubepods/burstable/pod{}/{}", uid(number / 2), id(number)))
}

fn apply(tree: &Tree, step: &Step, moved: &mut u32) {
    match *step {
        Step::Create(number) => drop(tree.container(number / 2, number)),
        Step::Remove(number) => drop(fs::remove_dir_all(dir(tree, number))),
        Step::Replace(number) => {
            // moved, so that the file system cannot reuse its inode
            *moved += 1;
            drop(fs::rename(dir(tree, number), tree.path(&format!("moved-{moved}"))));
            drop(tree.container(number / 2, number));
        }
        Step::Use(number, used) if dir(tree, number).exists() => {
            fs::write(dir(tree, number).join("memory.current"), format!("{used}\n")).unwrap();
            fs::write(dir(tree, number).join("cpu.stat"), format!("usage_usec {used}\n")).unwrap();
        }
        Step::Use(..) | Step::Nothing => {}
    }
}

fn open(host: &Host) -> usize {
    host.cgroups.iter().map(Cgroup::count_open).sum()
}

fn bounded(tree: &Tree, bound: DescriptorBound) -> Host {
    let mut host = Host::open(&tree.config()).unwrap();
    host.bound = bound;
    host.discover(at(0));
    host
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn readings_and_events_are_the_same_without_with_some_and_with_unlimited_descriptors(
        steps in vec(step(), 1..20),
        some in 1_u64..50,
    ) {
        let tree = Tree::bare();
        (0..3).for_each(|number| drop(tree.container(number / 2, number)));
        let bounds = [0, some, 1 << 20];
        let mut hosts = bounds.map(|bound| bounded(&tree, DescriptorBound::of(bound)));
        let mut moved = 0;
        for (n, step) in steps.iter().enumerate() {
            apply(&tree, step, &mut moved);
            let now = at(10 * (n as u64 + 1));
            let seen = hosts.each_mut().map(|host| (host.discover(now), sweep(host)));
            prop_assert_eq!(&seen[0], &seen[2], "none and unlimited, after {:?}", step);
            prop_assert_eq!(&seen[1], &seen[2], "{} and unlimited, after {:?}", some, step);
            for (host, bound) in hosts.iter().zip(bounds) {
                prop_assert!(host.descriptors as u64 <= bound && open(host) <= host.descriptors);
            }
            let (kept, per_read) = hosts[2].count_by_files();
            prop_assert_eq!((kept, per_read), (hosts[2].cgroups.len(), 0));
        }
        prop_assert_eq!(hosts.each_ref().map(|host| host.read_errors().clone())[0].clone(), hosts[2].read_errors().clone());
    }
}

#[test]
fn descriptors_follow_the_memory_limit_down_and_up() {
    let (tree, own) = (Tree::bare(), tempfile::tempdir().unwrap());
    (0..10).for_each(|number| drop(tree.container(number / 2, number)));
    let limit = |text: &str| fs::write(own.path().join("memory.max"), text).unwrap();
    limit("max\n");
    let mut host = bounded(&tree, DescriptorBound::of_memory(own.path()));
    let unlimited = sweep(&mut host);
    let all = open(&host);
    assert!(all >= 10 * 7 && !host.is_bounded, "{all}");
    assert_eq!(host.count_by_files(), (10 + 5, 0), "containers and pods");

    // 16 MiB are the agent's own; of the rest these are for four cgroups
    let four = 4 * Cgroup::max_descriptors(&host.mounts);
    limit(&format!("{}\n", (16 << 20) + four * (5 << 10)));
    assert_eq!(host.discover(at(5)), [], "the limit is read with the next listing");
    assert_eq!(open(&host), all);
    assert_eq!(host.discover(at(10)), []);
    assert_eq!(host.count_by_files(), (4, 11));
    assert!(host.is_bounded);
    let bounded = sweep(&mut host);
    assert!(open(&host) <= four, "{}", open(&host));
    assert_eq!(unlimited.keys().collect::<Vec<_>>(), bounded.keys().collect::<Vec<_>>());
    assert!(bounded.values().all(|reading| reading.cpu.value().is_some()), "{bounded:?}");

    limit("0\n");
    host.discover(at(20));
    assert_eq!((host.count_by_files(), open(&host)), ((0, 15), 0));
    assert_eq!(sweep(&mut host).len(), 10);
    limit("max\n");
    host.discover(at(30));
    assert_eq!(host.count_by_files(), (15, 0));
    assert!(!host.is_bounded);
    sweep_until_not_new(&mut host);
    assert_eq!(open(&host), all, "they stay open again");
}

/// Opened by its path, its counters would be taken for those of the cgroup that was there before.
#[test]
fn a_cgroup_created_again_between_two_reads_is_not_taken_for_the_one_before() {
    let tree = Tree::bare();
    let path = tree.container(1, 1);
    let mut host = bounded(&tree, DescriptorBound::of(0));
    host.watch = Watch::exhausted();
    assert!(sweep(&mut host).contains_key(&container(1, 1)));
    fs::rename(tree.path(&path), tree.path("moved")).unwrap();
    tree.container(1, 1);
    assert!(!sweep(&mut host).contains_key(&container(1, 1)));
    let events = host.discover(at(20));
    assert_eq!(events, [CgroupEvent::Gone(container(1, 1)), CgroupEvent::Appeared(container(1, 1))]);
    assert!(sweep(&mut host).contains_key(&container(1, 1)));
}
