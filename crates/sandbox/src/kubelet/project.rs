//! Files that a kubelet projects into pods: a ConfigMap as a directory, and a token that is renewed in time.
//!
//! Each file is replaced atomically, by renaming a new one. Writes only to the given paths.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::api::{ApiServer, BoundPod, Resource, Store};

/// A ConfigMap as a directory.
#[derive(Debug)]
pub(super) struct ConfigMapFiles {
    pub namespace: String,
    pub name: String,
    pub directory: PathBuf,
    /// The files in the directory.
    pub content: BTreeMap<String, String>,
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
    /// The audience of the token.
    pub audience: String,
    /// Lifetime of a token; it is renewed after four fifths of it.
    pub ttl: Duration,
    /// The path of the file.
    pub path: PathBuf,
}

/// A token file and the token in it.
#[derive(Debug)]
pub(super) struct ProjectedToken {
    pub file: TokenFile,
    /// Uid of the pod that the token is bound to, and when it must be renewed.
    pub issued: Option<(String, Duration)>,
}

impl ConfigMapFiles {
    /// Updates the directory. It is empty while the ConfigMap does not exist, as for an optional volume.
    pub(super) fn sync(&mut self, store: &Store) -> io::Result<()> {
        let object = store.get_shared(&Resource::CONFIG_MAPS, &self.namespace, &self.name).ok();
        let wanted = object.map(|object| files_of(&object)).unwrap_or_default();
        if wanted == self.content && self.directory.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(&self.directory)?;
        for (name, content) in
            wanted.iter().filter(|(name, content)| self.content.get(*name) != Some(*content))
        {
            replace_file(&self.directory.join(name), content)?;
        }
        for name in self.content.keys().filter(|name| !wanted.contains_key(*name)) {
            match fs::remove_file(self.directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.content = wanted;
        Ok(())
    }
}

impl ProjectedToken {
    /// Writes a new token when there is none, when the pod has been replaced, or when the token must be renewed. Does
    /// nothing while the pod does not exist.
    pub(super) fn sync(&mut self, api: &ApiServer, now: Duration) -> io::Result<()> {
        let file = &self.file;
        let Ok(pod) = api.store().get_shared(&Resource::PODS, &file.namespace, &file.pod) else {
            return Ok(());
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let uid = text(&pod["metadata"]["uid"]);
        if self.issued.as_ref().is_some_and(|(pod, due)| *pod == uid && now < *due) {
            return Ok(());
        }
        let bound =
            BoundPod { name: file.pod.clone(), uid: uid.clone(), node: text(&pod["spec"]["nodeName"]) };
        let token = api.token_for(&file.namespace, &file.account, Some(bound), &[&file.audience], file.ttl);
        if let Some(directory) = file.path.parent() {
            fs::create_dir_all(directory)?;
        }
        replace_file(&file.path, &token)?;
        self.issued = Some((uid, now + file.ttl.mul_f64(0.8)));
        Ok(())
    }
}

fn files_of(config_map: &Value) -> BTreeMap<String, String> {
    // The server does not check keys: one that is a path would be written outside of the directory.
    let is_name = |name: &str| !name.is_empty() && !name.contains('/') && name != "." && name != "..";
    let data = config_map["data"].as_object().into_iter().flatten();
    let files = data.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    files.filter(|(name, _)| is_name(name)).collect()
}

fn replace_file(path: &Path, content: &str) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let new = path.with_file_name(name);
    fs::write(&new, content)?;
    fs::rename(&new, path)
}
