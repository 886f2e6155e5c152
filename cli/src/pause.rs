//! The pause switch: key `paused` of ConfigMap `plimsoll-control`, which the aggregator watches.
//!
//! Written with the caller's credentials. Pausing is done when the aggregator was seen to follow ([`standstill`]), or
//! when there is none. It touches this one key; an aggregator that is not installed is no failure for whoever wants it
//! to stand still, and one for whoever asks for `plimsoll pause` alone.

pub mod standstill;
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
use serde_json::json;

use self::standstill::{Place, Standstill};
use crate::args::PauseArgs;
use crate::connect::{Failure, Question};

/// Who the API server shall say wrote the switch.
const MANAGER: &str = "plimsoll-cli";

const TURNING: Question = Question {
    asked: "turning the pause switch",
    whom: "API server",
    right: "patch configmaps/plimsoll-control in namespace plimsoll-system",
    of_aggregator: false,
};
const MAKING: Question = Question { right: "create configmaps in namespace plimsoll-system", ..TURNING };

/// What came of turning the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// It stands as wanted.
    Done,
    /// There is no switch, and no namespace to make one in: Plimsoll is not installed, or on its way out.
    NotInstalled,
}

/// Pauses and waits until that is seen, or lets writing go on.
///
/// # Errors
/// A [`Failure`], or that there is nothing to pause.
pub async fn run(client: &Client, args: &PauseArgs, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    let namespace = keys::SYSTEM_NAMESPACE;
    match (turn(client, !args.off).await?, args.off) {
        (Turned::Done, true) => writeln!(out, "no longer paused: Plimsoll writes on pods again")?,
        (Turned::NotInstalled, true) => {
            writeln!(out, "nothing is paused: there is no switch in {namespace}")?;
        }
        (Turned::NotInstalled, false) => {
            bail!("nothing to pause: there is no namespace {namespace}; is Plimsoll installed here?");
        }
        (Turned::Done, false) => {
            let seen = standstill::wait(&Place::new(client, args.url.as_ref())?).await;
            if let Standstill::Unseen(_) = seen {
                bail!("the pause switch is on, but {seen}");
            }
            writeln!(out, "paused: {seen}; `plimsoll pause --off` ends it")?;
        }
    }
    Ok(out.flush()?)
}

/// Turns the switch. To pause, one that is missing is made.
///
/// # Errors
/// Why it could not be turned, and what to do.
pub async fn turn(client: &Client, paused: bool) -> Result<Turned, Failure> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), keys::SYSTEM_NAMESPACE);
    let change = json!({"data": {keys::CONTROL_PAUSED: paused.to_string()}});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(&change);
    let patched = maps.patch_metadata(keys::CONTROL_CONFIG_MAP, &params, &patch);
    match TURNING.answer(async { Ok(patched.await) }).await? {
        Ok(_) => Ok(Turned::Done),
        Err(Error::Api(status)) if status.code == 404 && paused => make(&maps).await,
        Err(Error::Api(status)) if status.code == 404 => Ok(Turned::NotInstalled),
        Err(error) => Err(TURNING.failure(&error)),
    }
}

async fn make(maps: &Api<ConfigMap>) -> Result<Turned, Failure> {
    let name = Some(keys::CONTROL_CONFIG_MAP.to_owned());
    let map = ConfigMap {
        metadata: ObjectMeta { name, ..ObjectMeta::default() },
        data: Some(BTreeMap::from([(keys::CONTROL_PAUSED.to_owned(), true.to_string())])),
        ..ConfigMap::default()
    };
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    match MAKING.answer(async { Ok(maps.create(&params, &map).await) }).await? {
        Ok(_) => Ok(Turned::Done),
        Err(Error::Api(status)) if status.code == 404 || is_leaving(&status) => Ok(Turned::NotInstalled),
        Err(error) => Err(MAKING.failure(&error)),
    }
}

/// The namespace is being deleted: nothing can be made in it.
fn is_leaving(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}
