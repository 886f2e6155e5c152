//! The script: the requests, their order, and the relevant parts of the answers. Read from `script/*.yaml`.
//!
//! `${name}` in a path, a header or a body is replaced by a value: `ns` is the namespace of the part and `core` its path in the core
//! API, `node` a node that is Ready, `uid-of-nobody` a uid that no object has; other values were saved by earlier steps of the part.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::Value;

/// All parts, by the names of their files.
#[derive(Debug)]
pub struct Script(pub BTreeMap<String, Part>);

/// One file: steps that build on each other, in a namespace of their own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// What it shows.
    pub about: String,
    /// Whether it needs a kubelet: such a part is skipped if no node is Ready.
    #[serde(default)]
    pub needs_node: bool,
    /// The requests.
    pub steps: Vec<Step>,
    /// Paths of objects outside of the namespace, which are always deleted at the end.
    #[serde(default)]
    pub leaves: Vec<String>,
}

/// One request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name within the part.
    pub id: String,
    /// Method and path.
    pub send: String,
    /// Content type of the body; the patches have short names: see [`Step::content_type`].
    #[serde(default)]
    pub r#type: Option<String>,
    /// The body.
    #[serde(default)]
    pub body: Option<Value>,
    /// The body as text, if it is malformed.
    #[serde(default)]
    pub raw: Option<String>,
    /// The `Accept` header; JSON by default.
    #[serde(default)]
    pub accept: Option<String>,
    /// The bearer token, instead of the administrator's credentials; empty is none.
    #[serde(default)]
    pub r#as: Option<String>,
    /// Relevant parts of the object in the answer, or in each event of a watch, as pointers: see [`look`](super::normal::look).
    #[serde(default)]
    pub look: Vec<String>,
    /// Words in the message of the answer that our programs depend on.
    #[serde(default)]
    pub words: Vec<String>,
    /// Values that later steps use: name, and pointer into the answer.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
    /// The request is repeated until these pointers have these values (`code` is the status), for at most a minute.
    #[serde(default)]
    pub until: BTreeMap<String, Value>,
    /// For a watch: read until this number of events, or its end.
    #[serde(default)]
    pub events: Option<usize>,
}

impl Step {
    /// The content type: `merge`, `strategic`, `json-patch` and `apply` are the four patches.
    pub fn content_type(&self) -> &str {
        match self.r#type.as_deref() {
            None => "application/json",
            Some("merge") => "application/merge-patch+json",
            Some("strategic") => "application/strategic-merge-patch+json",
            Some("json-patch") => "application/json-patch+json",
            Some("apply") => "application/apply-patch+yaml",
            Some(other) => other,
        }
    }
}

impl Script {
    /// Reads all files.
    ///
    /// # Errors
    /// When one cannot be read, or two steps of a part have one name.
    pub fn load() -> anyhow::Result<Script> {
        let mut parts = BTreeMap::new();
        for entry in
            fs::read_dir(folder().join("script")).context("cannot read the directory of the script")?
        {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            parts.insert(name, read(&path).with_context(|| format!("reading {}", path.display()))?);
        }
        Ok(Script(parts))
    }

    /// Number of requests.
    pub fn count(&self) -> usize {
        self.0.values().map(|part| part.steps.len()).sum()
    }
}

fn read(path: &Path) -> anyhow::Result<Part> {
    let part: Part = serde_saphyr::from_str(&fs::read_to_string(path)?)?;
    for (index, step) in part.steps.iter().enumerate() {
        ensure!(part.steps[..index].iter().all(|other| other.id != step.id), "two steps are {:?}", step.id);
    }
    Ok(part)
}

/// The directory of script and answers.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// The text with every `${name}` replaced.
///
/// # Errors
/// When a name has no value, because the step that saves it got another answer.
pub fn fill(text: &str, values: &BTreeMap<String, String>) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').context("a `${` without `}`")?;
        out.push_str(before);
        out.push_str(values.get(name).with_context(|| format!("${{{name}}} has no value"))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}
