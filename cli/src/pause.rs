//! `plimsoll pause`: sets key `paused` of ConfigMap `plimsoll-control`, which the aggregator watches.
//!
//! Pausing is done when the aggregator is confirmed to have paused ([`confirm`]), or when none runs. Nothing but this one
//! key is written. An installation without an aggregator is no failure for `plimsoll cleanup`, which only needs that
//! nothing writes, but one for `plimsoll pause`.

pub(crate) mod confirm;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::bail;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::Status;
use kube::{Client, Error};
use plimsoll_contract::keys;
use plimsoll_objects::{Nothing, Object};
use serde_json::json;

use self::confirm::{Aggregator, PauseState};
use crate::args::PauseArgs;
use crate::connect::{Failure, Operation};

/// The field manager of the switch.
const MANAGER: &str = "plimsoll-cli";

const SET_SWITCH: Operation = Operation::on_api_server(
    "setting the pause switch",
    "patch configmaps/plimsoll-control in namespace plimsoll-system",
);
const READ_SWITCH: Operation = Operation::on_api_server(
    "reading the pause switch",
    "get configmaps/plimsoll-control in namespace plimsoll-system",
);
const CREATE_SWITCH: Operation =
    Operation { right: "create configmaps in namespace plimsoll-system", ..SET_SWITCH };

/// The pause switch after [`set`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    Set,
    /// There is no switch, and no namespace to create one in: Plimsoll is not installed, or being uninstalled.
    NotInstalled,
}

/// Pauses and waits for the confirmation, or lets Plimsoll write again.
pub(crate) async fn run(
    client: &Client,
    args: &PauseArgs,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let namespace = keys::SYSTEM_NAMESPACE;
    match (set(client, !args.off).await?, args.off) {
        (Switch::Set, true) => writeln!(out, "no longer paused: Plimsoll writes on pods again")?,
        (Switch::NotInstalled, true) => {
            writeln!(out, "nothing is paused: there is no switch in {namespace}")?;
        }
        (Switch::NotInstalled, false) => {
            bail!("nothing to pause: there is no namespace {namespace}; is Plimsoll installed here?");
        }
        (Switch::Set, false) => {
            let state = confirm::wait(&Aggregator::new(client, args.url.as_ref())?).await;
            if let PauseState::Unconfirmed(_) = state {
                bail!("the pause switch is on, but {state}");
            }
            writeln!(out, "paused: {state}; `plimsoll pause --off` lets it write again")?;
        }
    }
    Ok(out.flush()?)
}

/// Sets the switch. If it is missing, pausing creates it.
pub(crate) async fn set(client: &Client, paused: bool) -> Result<Switch, Failure> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), keys::SYSTEM_NAMESPACE);
    let metadata: Api<Object<Nothing<ConfigMap>>> = Api::namespaced(client.clone(), keys::SYSTEM_NAMESPACE);
    let name = keys::CONTROL_CONFIG_MAP;
    let manager = Some(MANAGER.to_owned());
    let patch = Patch::Merge(json!({"data": {keys::CONTROL_PAUSED: paused.to_string()}}));
    let params = PatchParams { field_manager: manager.clone(), ..PatchParams::default() };
    match SET_SWITCH.run(async { Ok(metadata.patch(name, &params, &patch).await) }).await? {
        Ok(_) => return Ok(Switch::Set),
        Err(Error::Api(status)) if status.code == 404 && paused => {}
        Err(Error::Api(status)) if status.code == 404 => return Ok(Switch::NotInstalled),
        Err(error) => return Err(SET_SWITCH.failure(&error)),
    }
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([(keys::CONTROL_PAUSED.to_owned(), true.to_string())])),
        ..ConfigMap::default()
    };
    let params = PostParams { field_manager: manager, ..PostParams::default() };
    match CREATE_SWITCH.run(async { Ok(maps.create(&params, &map).await) }).await? {
        Ok(_) => Ok(Switch::Set),
        Err(Error::Api(status)) if status.code == 404 || is_terminating(&status) => Ok(Switch::NotInstalled),
        Err(error) => Err(CREATE_SWITCH.failure(&error)),
    }
}

/// Whether the switch is on, as the aggregator reads it: any value but `false` pauses. Where there is no switch, it is not.
pub(crate) async fn is_on(client: &Client) -> Result<bool, Failure> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), keys::SYSTEM_NAMESPACE);
    match READ_SWITCH.run(async { Ok(maps.get(keys::CONTROL_CONFIG_MAP).await) }).await? {
        Ok(map) => {
            let value = map.data.and_then(|mut data| data.remove(keys::CONTROL_PAUSED));
            Ok(value.is_some_and(|value| !matches!(value.trim(), "" | "false")))
        }
        Err(Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(READ_SWITCH.failure(&error)),
    }
}

/// Whether the namespace is being deleted: nothing can be created in it.
fn is_terminating(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}
