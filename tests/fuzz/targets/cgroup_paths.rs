//! Any directory name at any depth, under every naming scheme: an accepted id is part of the name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_agent::host::layout::{QosClass, Layout, RootChild};

fuzz_target!(|input: (&str, &str)| {
    let (kubepods, name) = input;
    for layout in [Layout::of("kubepods"), Layout::of("kubepods.slice"), Layout::of(kubepods)] {
        if let Some(id) = layout.container(name) {
            assert!(name.contains(id.as_str()) && !name.contains('/'));
        }
        if let Some((pod, id)) = layout.orphan(name) {
            assert!(name.contains(id.as_str()));
            assert!(name.replace('_', "-").contains(pod.as_str()));
        }
        for class in [None, Some(QosClass::Burstable), Some(QosClass::BestEffort)] {
            if let Some(pod) = layout.pod(class, name) {
                assert!(name.replace('_', "-").contains(pod.as_str()));
            }
        }
        if let Some(RootChild::Pod(pod)) = layout.root_child(name) {
            assert_eq!(layout.pod(None, name), Some(pod));
        }
    }
});
