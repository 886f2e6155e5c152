//! The pause switch: ConfigMap `plimsoll-control` in our namespace, key `paused`. Watched by name; never written.
//!
//! No ConfigMap, no key, or `false` means go on. Anything else than `true` or `false` pauses too, and says so: who
//! mistypes a brake wants to stop. Until it was read once, [`leader::tell`](crate::leader::tell) does not let anything
//! be written: a replica that starts while the brake is on shall not write before it notices.

use std::pin::pin;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client};
use plimsoll_contract::keys;
use plimsoll_process::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::calls::Pauses;
use crate::cluster::{WATCH_TIMEOUT, explain};
use crate::engine::Engine;
use crate::input::Input;
use crate::metrics::Metrics;
use crate::readiness::{Part, Readiness};

/// Follows the switch until the shutdown, and says in the channel once the core knows how it stands.
///
/// # Errors
/// Never before the shutdown.
pub async fn follow(
    client: Client,
    namespace: String,
    engine: Engine,
    readiness: Readiness,
    metrics: Metrics,
    read: watch::Sender<bool>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let selector = format!("metadata.name={}", keys::CONTROL_CONFIG_MAP);
    let config = Config::default().fields(&selector).timeout(WATCH_TIMEOUT);
    let mut events = pin!(watcher(api, config).take_until(shutdown.triggered()));
    let mut pauses = Pauses::new();
    let mut listed = None;
    let mut known = None;
    while let Some(event) = events.next().await {
        let paused = match event {
            Ok(Event::Init) => {
                listed = None;
                continue;
            }
            Ok(Event::InitApply(map)) => {
                listed = Some(is_paused(&map));
                continue;
            }
            Ok(Event::InitDone) => listed.unwrap_or(false),
            Ok(Event::Apply(map)) => is_paused(&map),
            Ok(Event::Delete(_)) => false,
            Err(error) => {
                metrics.watch_failed(Part::Control);
                readiness.failed(Part::Control, &explain(&error, Part::Control));
                let _stopped = timeout(pauses.after_failure(), shutdown.triggered()).await;
                continue;
            }
        };
        pauses.reset();
        readiness.done(Part::Control);
        if known.replace(paused) != Some(paused) {
            tracing::info!(paused, "pause switch");
            engine.submit(Input::Paused(paused));
        }
        read.send_if_modified(|read| !std::mem::replace(read, true));
    }
    Ok(())
}

fn is_paused(map: &ConfigMap) -> bool {
    let value =
        map.data.as_ref().and_then(|data| data.get(keys::CONTROL_PAUSED)).map_or("", |value| value.trim());
    match value {
        "" | "false" => false,
        "true" => true,
        other => {
            tracing::warn!(value = other, "the pause switch says neither true nor false: taken for true");
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_false_or_nothing_goes_on() {
        let table = [
            (None, false),
            (Some(""), false),
            (Some("false"), false),
            (Some(" true\n"), true),
            (Some("yes"), true),
        ];
        for (value, paused) in table {
            let data = value.map(|value| [(keys::CONTROL_PAUSED.to_owned(), value.to_owned())].into());
            assert_eq!(is_paused(&ConfigMap { data, ..ConfigMap::default() }), paused, "{value:?}");
        }
    }
}
