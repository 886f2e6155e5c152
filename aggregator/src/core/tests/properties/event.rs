//! What may happen to a cluster, and how often.

use proptest::prelude::*;

use super::{NODES, PODS};

/// What may happen.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Report { on: usize, full: bool, loads: Vec<(usize, u8, u8)> },
    Wait(u64),
    Edit(usize, Edit),
    Relist,
    Lag(bool),
    Pause(bool),
    Lead(bool),
    IgnoreNamespace(bool),
    Node(usize, bool),
    Fate(Fate),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Edit {
    Ignore(bool),
    Finish,
    Terminate,
    Delete,
    Create,
    Strip,
    Own,
}

/// What becomes of the writes from now on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Done,
    DoneUnanswered,
    Lost,
    NeverAnswered,
    Failed,
    Throttled,
}

/// One thing that happens; mostly harmless.
pub(super) fn event() -> impl Strategy<Value = Event> {
    let loads = || prop::collection::vec((0..PODS, 0..8_u8, 0..8_u8), 0..5);
    let edits = prop_oneof![
        any::<bool>().prop_map(Edit::Ignore),
        Just(Edit::Finish),
        Just(Edit::Terminate),
        Just(Edit::Delete),
        Just(Edit::Create),
        Just(Edit::Strip),
        Just(Edit::Own),
    ];
    let fates =
        [Fate::Done, Fate::DoneUnanswered, Fate::Lost, Fate::NeverAnswered, Fate::Failed, Fate::Throttled];
    prop_oneof![
        // An honest node: all its pods, mostly with bands.
        12 => (0..NODES, any::<bool>(), prop::collection::vec((1..4_u8, 1..4_u8), PODS)).prop_map(|(on, full, kinds)| {
            let here = (0..PODS).filter(|n| n % NODES == on);
            Event::Report { on, full, loads: here.map(|n| (n, kinds[n].0, kinds[n].1)).collect() }
        }),
        // Any node, any pods, any nonsense.
        4 => (0..NODES, any::<bool>(), loads()).prop_map(|(on, full, loads)| Event::Report { on, full, loads }),
        8 => (1..40_u64).prop_map(Event::Wait),
        1 => Just(Event::Wait(130)),
        4 => (0..PODS, edits).prop_map(|(n, edit)| Event::Edit(n, edit)),
        1 => Just(Event::Relist),
        2 => any::<bool>().prop_map(Event::Lag),
        1 => any::<bool>().prop_map(Event::Pause),
        1 => any::<bool>().prop_map(Event::Lead),
        1 => any::<bool>().prop_map(Event::IgnoreNamespace),
        1 => (0..NODES, any::<bool>()).prop_map(|(n, there)| Event::Node(n, there)),
        3 => prop::sample::select(fates.to_vec()).prop_map(Event::Fate),
    ]
}
