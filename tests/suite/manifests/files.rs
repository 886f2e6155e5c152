//! Finding and reading the files.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A `kustomization.yaml`, with the fields that we use and no other.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Kustomization {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    #[serde(default)]
    labels: Vec<Value>,
    #[serde(default)]
    pub(crate) resources: Vec<String>,
    #[serde(default)]
    pub(crate) components: Vec<String>,
    #[serde(default)]
    pub(crate) images: Vec<Image>,
    #[serde(default)]
    pub(crate) patches: Vec<PatchFile>,
}

/// Another tag for an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) new_tag: String,
}

/// A patch in a file: strategic without a target, else a JSON patch.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<PatchTarget>,
    pub(crate) path: String,
}

/// What a JSON patch is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchTarget {
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// One operation of a JSON patch.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Patch {
    pub(crate) op: String,
    pub(crate) path: String,
    pub(crate) value: Value,
}

impl Kustomization {
    /// Every file and folder it names.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        let patches = self.patches.iter().map(|patch| patch.path.as_str());
        self.resources.iter().chain(&self.components).map(String::as_str).chain(patches)
    }
}

/// The folder `manifests/`.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests")
}

/// Every YAML file below it, sorted.
pub(crate) fn yaml_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "yaml" => found.push(path),
                _ => panic!("{} is not a .yaml file: kustomize would not see it", path.display()),
            }
        }
    }
    found.sort();
    found
}

/// The documents of a file.
pub(crate) fn sources(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Every kustomization with its folder.
pub(crate) fn kustomizations() -> Vec<(PathBuf, Kustomization)> {
    let all = yaml_files().into_iter().filter(|file| file.ends_with("kustomization.yaml"));
    all.map(|file| {
        let text = fs::read_to_string(&file).unwrap();
        (file.parent().unwrap().to_owned(), serde_saphyr::from_str(&text).unwrap())
    })
    .collect()
}

/// The objects, not the patches, of every file in one folder below `manifests/`.
pub(crate) fn objects(folder: &str) -> Vec<Value> {
    let folder = root().join(folder);
    let (_, kustomization) = kustomizations().into_iter().find(|(path, _)| *path == folder).unwrap();
    kustomization
        .resources
        .iter()
        .map(|name| folder.join(name))
        .filter(|p| p.is_file())
        .flat_map(|p| sources(&p))
        .collect()
}

/// The object of a kind and name.
pub(crate) fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found: Vec<_> =
        objects.iter().filter(|o| text(o, "/kind") == kind && text(o, "/metadata/name") == name).collect();
    assert!(!found.is_empty(), "there is no {kind} {name}");
    found[0]
}

/// The text at a JSON pointer; empty where there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The list at a JSON pointer; empty where there is none.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
