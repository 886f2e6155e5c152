//! Files as a kubelet projects them into pods: a ConfigMap as a directory, a token that is renewed in time.
//!
//! Each file appears whole: it is written beside its name and renamed. Only the given directories are touched.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::api::{ApiServer, BoundPod, Resource, Store};

/// A ConfigMap that a directory follows.
#[derive(Debug)]
pub(super) struct ConfigMapFiles {
    pub namespace: String,
    pub name: String,
    pub directory: PathBuf,
    /// What the directory holds.
    pub held: BTreeMap<String, Vec<u8>>,
}

/// A pod's token in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFile {
    /// Namespace of the pod and its service account.
    pub namespace: String,
    /// The service account.
    pub account: String,
    /// The pod that the token is bound to.
    pub pod: String,
    /// Whom the token is for.
    pub audience: String,
    /// How long one token lives; it is renewed after four fifths of that.
    pub ttl: Duration,
    /// Where it is written.
    pub path: PathBuf,
}

/// A token file and the token in it.
#[derive(Debug)]
pub(super) struct KeptToken {
    pub file: TokenFile,
    /// Uid of the pod it was made for, and when it is to be renewed.
    pub held: Option<(String, Duration)>,
}

impl ConfigMapFiles {
    /// Brings the directory up to date. A ConfigMap that does not exist is an empty directory, as for an optional volume.
    pub(super) fn sync(&mut self, store: &Store) -> io::Result<()> {
        let object = store.get_shared(&Resource::CONFIG_MAPS, &self.namespace, &self.name).ok();
        let wanted = object.map(|object| files_of(&object)).unwrap_or_default();
        if wanted == self.held && self.directory.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(&self.directory)?;
        for (name, content) in wanted.iter().filter(|(name, content)| self.held.get(*name) != Some(*content))
        {
            write_whole(&self.directory.join(name), content)?;
        }
        for name in self.held.keys().filter(|name| !wanted.contains_key(*name)) {
            match fs::remove_file(self.directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.held = wanted;
        Ok(())
    }
}

impl KeptToken {
    /// Writes a new token when there is none, the pod is another one, or it is time. Without the pod nothing changes.
    pub(super) fn sync(&mut self, api: &ApiServer, now: Duration) -> io::Result<()> {
        let file = &self.file;
        let Ok(pod) = api.store().get_shared(&Resource::PODS, &file.namespace, &file.pod) else {
            return Ok(());
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let uid = text(&pod["metadata"]["uid"]);
        if self.held.as_ref().is_some_and(|(held, due)| *held == uid && now < *due) {
            return Ok(());
        }
        let bound =
            BoundPod { name: file.pod.clone(), uid: uid.clone(), node: text(&pod["spec"]["nodeName"]) };
        let token = api.token_for(&file.namespace, &file.account, Some(bound), &[&file.audience], file.ttl);
        if let Some(directory) = file.path.parent() {
            fs::create_dir_all(directory)?;
        }
        write_whole(&file.path, token.as_bytes())?;
        self.held = Some((uid, now + file.ttl.mul_f64(0.8)));
        Ok(())
    }
}

fn files_of(config_map: &Value) -> BTreeMap<String, Vec<u8>> {
    // The server does not check names: a key that is a path would leave the directory.
    let is_name = |name: &str| !name.is_empty() && !name.contains('/') && name != "." && name != "..";
    let text = config_map["data"].as_object().into_iter().flatten();
    let text = text.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.as_bytes().to_vec())));
    let binary = config_map["binaryData"].as_object().into_iter().flatten();
    let binary =
        binary.filter_map(|(name, value)| Some((name.clone(), STANDARD.decode(value.as_str()?).ok()?)));
    text.chain(binary).filter(|(name, _)| is_name(name)).collect()
}

fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let beside = path.with_file_name(name);
    fs::write(&beside, content)?;
    fs::rename(&beside, path)
}
