//! Every valid format, names that resemble them, and that nothing else is accepted.

use proptest::prelude::*;

use super::*;

const UID: &str = "1f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b";
const UID_: &str = "1f2e3d4c_5b6a_4798_8a9b_0c1d2e3f4a5b";
const HASH: &str = "0123456789abcdef0123456789abcdef";
const ID: &str = "aa11bb22cc33dd44ee55ff66aa11bb22cc33dd44ee55ff66aa11bb22cc33dd44";

/// Parses a whole path below a hierarchy, as deep as the walk descends.
fn read(kubepods: &str, below: &str) -> Option<(PodUid, Option<ContainerId>)> {
    let layout = Layout::of(kubepods);
    let mut parts = below.split('/');
    let (pod, rest): (PodUid, Vec<&str>) = match layout.root_child(parts.next()?)? {
        RootChild::Pod(pod) => (pod, parts.collect()),
        RootChild::QosClass(class) => (layout.pod(Some(class), parts.next()?)?, parts.collect()),
    };
    match rest.as_slice() {
        [] => Some((pod, None)),
        [name] => Some((pod, Some(layout.container(name)?))),
        _ => None,
    }
}

#[test]
fn every_format_gives_its_pod_and_container() {
    let table = [
        ("kubepods", format!("burstable/pod{UID}/{ID}"), UID),
        ("kubepods", format!("besteffort/pod{UID}/{ID}"), UID),
        ("kubepods", format!("pod{UID}/{ID}"), UID),
        ("kubepods", format!("pod{UID}/crio-{ID}"), UID),
        ("kubepods", format!("burstable/pod{HASH}/{ID}"), HASH),
        ("kubelet/kubepods", format!("burstable/pod{UID}/{ID}"), UID),
        ("plimsoll-demo-123/kubepods", format!("pod{UID}/{ID}"), UID),
        (
            "kubepods.slice",
            format!("kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope"),
            UID,
        ),
        (
            "kubepods.slice",
            format!("kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/crio-{ID}.scope"),
            UID,
        ),
        ("kubepods.slice", format!("kubepods-pod{UID_}.slice/docker-{ID}.scope"), UID),
        ("kubepods.slice", format!("kubepods-pod{UID_}.slice/pouch-{ID}.scope"), UID),
        ("kubepods.slice", format!("kubepods-pod{UID_}.slice/{ID}"), UID),
        (
            "kubepods.slice",
            format!("kubepods-burstable.slice/kubepods-burstable-pod{HASH}.slice/cri-containerd-{ID}.scope"),
            HASH,
        ),
        (
            "kubelet.slice/kubelet-kubepods.slice",
            format!(
                "kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope"
            ),
            UID,
        ),
    ];
    for (kubepods, below, uid) in table {
        let (pod, container) = read(kubepods, &below).unwrap_or_else(|| panic!("{below} was rejected"));
        assert_eq!((pod.as_str(), container.unwrap().as_str()), (uid, ID), "{below}");
    }
}

#[test]
fn a_pod_without_its_container_is_the_pod() {
    let (pod, container) = read("kubepods", &format!("burstable/pod{UID}")).unwrap();
    assert_eq!((pod.as_str(), container), (UID, None));
}

#[test]
fn orphans_of_a_runtime_with_the_other_driver_are_parsed() {
    let layout = Layout::of("kubepods.slice");
    for (class, runtime) in [("-burstable", "cri-containerd"), ("-besteffort", "crio"), ("", "docker")] {
        let (pod, container) =
            layout.orphan(&format!("kubepods{class}-pod{UID_}.slice:{runtime}:{ID}")).unwrap();
        assert_eq!((pod.as_str(), container.as_str()), (UID, ID));
    }
    let kind = Layout::of("kubelet.slice/kubelet-kubepods.slice");
    let name = format!("kubelet-kubepods-besteffort-pod{UID_}.slice:cri-containerd:{ID}");
    assert_eq!(kind.orphan(&name).unwrap().1.as_str(), ID);
    for bad in [
        name,
        format!("kubepods-burstable-pod{UID_}.slice:lxc:{ID}"),
        format!("kubepods-burstable-pod{UID_}.slice:cri-containerd:{ID}:x"),
        format!("kubepods-burstable-pod{UID_}.slice:cri-containerd:{}", &ID[1..]),
        format!("other-burstable-pod{UID_}.slice:cri-containerd:{ID}"),
        format!("kubepods-burstable-pod{UID}.slice:cri-containerd:{ID}"),
    ] {
        assert_eq!(layout.orphan(&bad), None, "{bad}");
    }
    assert_eq!(Layout::of("kubepods").orphan(&format!("kubepods-pod{UID_}.slice:crio:{ID}")), None);
}

#[test]
fn names_that_only_resemble_a_pod_or_container_are_rejected() {
    let cgroupfs = [
        format!("burstable/pod{UID_}/{ID}"),
        format!("guaranteed/pod{UID}/{ID}"),
        format!("burstable/{UID}/{ID}"),
        format!("burstable/pod{UID}/crio-conmon-{ID}"),
        format!("burstable/pod{UID}/kata_{ID}"),
        format!("burstable/pod{UID}/cri-containerd-{ID}.scope"),
        format!("burstable/pod{UID}/{}", ID.to_uppercase()),
        format!("burstable/pod{UID}/{ID}/{ID}"),
        format!("burstable/pod{UID}/{ID}0"),
        format!("burstable/burstable/pod{UID}/{ID}"),
        format!("burstable/pod{UID}x"),
        "burstable".to_owned(),
    ];
    for below in cgroupfs {
        assert_eq!(read("kubepods", &below), None, "{below}");
    }
    let systemd = [
        format!("kubepods-burstable.slice/kubepods-besteffort-pod{UID_}.slice/cri-containerd-{ID}.scope"),
        format!("kubepods-burstable.slice/kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope"),
        format!("kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope"),
        format!("kubepods-pod{UID}.slice/cri-containerd-{ID}.scope"),
        format!("kubepods-pod{UID_}.slice/crio-conmon-{ID}.scope"),
        format!("kubepods-pod{UID_}.slice/cri-containerd-{ID}.slice"),
        format!("kubepods-pod{UID_}.slice/cri-containerd-{ID}"),
        format!("kubepods-pod{UID_}.slice/crio-{ID}"),
        format!("kubepods-pod{UID_}.slice/{ID}.scope"),
        format!("kubepods-pod{UID_}.slice/cri-containerd{ID}.scope"),
        format!("kubepods-pod{UID_}.slice/kata_{ID}"),
        format!("kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope/container"),
        format!("evil-kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope"),
        format!("kubepods-burstable.slice.slice/kubepods-burstable-pod{UID_}.slice"),
    ];
    for below in systemd {
        assert_eq!(read("kubepods.slice", &below), None, "{below}");
    }
}

/// Every valid path of this pod or container, generated independently of the parser.
fn renderings(kubepods: &str, pod: &PodUid, container: Option<&ContainerId>) -> Vec<String> {
    let systemd = kubepods.ends_with(".slice");
    let stem = kubepods.rsplit('/').next().unwrap().trim_end_matches(".slice");
    let mut all = Vec::new();
    for class in ["", "burstable", "besteffort"] {
        let dash = if class.is_empty() { "" } else { "-" };
        let above = match (class, systemd) {
            ("", _) => String::new(),
            (_, false) => format!("{class}/"),
            (_, true) => format!("{stem}-{class}.slice/"),
        };
        let dir = if systemd {
            format!("{above}{stem}{dash}{class}-pod{}.slice", pod.as_str().replace('-', "_"))
        } else {
            format!("{above}pod{pod}")
        };
        match container {
            None => all.push(dir),
            Some(id) if systemd => {
                all.extend(
                    ["cri-containerd", "crio", "docker", "pouch"].map(|r| format!("{dir}/{r}-{id}.scope")),
                );
                all.push(format!("{dir}/{id}"));
            }
            Some(id) => all.extend([format!("{dir}/{id}"), format!("{dir}/crio-{id}")]),
        }
    }
    all
}

fn root() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "kubepods",
        "kubepods.slice",
        "kubelet.slice/kubelet-kubepods.slice",
        "kubelet/kubepods",
    ])
}

/// Paths made of the parts of valid ones, so that near misses are common.
fn nearly_a_path() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "kubepods",
            "kubelet",
            "-burstable",
            "-besteffort",
            "burstable",
            "besteffort",
            "-pod",
            "pod",
            ".slice",
            ".scope",
            "/",
            "-",
            "cri-containerd-",
            "crio-",
            "crio-conmon-",
            "docker-",
            UID,
            UID_,
            HASH,
            ID,
            ":",
            "_",
        ])
        .prop_map(str::to_owned),
        "[a-z0-9/_.-]{0,2}",
    ];
    prop::collection::vec(word, 0..12).prop_map(|words| words.concat())
}

/// A valid path with one character changed, added or removed.
fn damaged_path() -> impl Strategy<Value = (&'static str, String)> {
    let pod = PodUid::new(UID).unwrap();
    let id = ContainerId::new(ID).unwrap();
    (root(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3, "[a-z0-9/_.:-]").prop_map(
        move |(root, which, place, how, with)| {
            let all = renderings(root, &pod, Some(&id));
            let mut path: Vec<char> = all[which.index(all.len())].chars().collect();
            let place = place.index(path.len());
            let with = with.chars().next().unwrap();
            match how {
                0 => path[place] = with,
                1 => path.insert(place, with),
                _ => drop(path.remove(place)),
            }
            (root, path.into_iter().collect())
        },
    )
}

proptest! {
    #[test]
    fn whatever_parses_is_exactly_one_of_the_formats(root in root(), path in nearly_a_path()) {
        if let Some((pod, container)) = read(root, &path) {
            prop_assert!(renderings(root, &pod, container.as_ref()).contains(&path), "{path}");
        }
    }

    #[test]
    fn a_damaged_path_is_rejected_or_another_valid_one((root, path) in damaged_path()) {
        if let Some((pod, container)) = read(root, &path) {
            prop_assert!(renderings(root, &pod, container.as_ref()).contains(&path), "{path}");
        }
    }

    #[test]
    fn arbitrary_names_never_panic(root in root(), path in ".*", name in ".*") {
        let _ = read(root, &path);
        let _ = Layout::of(&path).orphan(&name);
    }
}
