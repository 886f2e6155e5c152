//! The script: what is asked, in which order, and what of each answer counts. Read from `script/*.yaml`.
//!
//! `${name}` in a path, a header or a body stands for a value: `ns` is the namespace of the part and `core` the path
//! to it in the core API, `node` a node that is Ready, `uid-of-nobody` a uid that no object has; the others are those that earlier steps of the part saved.

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
    /// Whether a kubelet must answer for pods: such a part is skipped where no node is Ready.
    #[serde(default)]
    pub needs_node: bool,
    /// The requests.
    pub steps: Vec<Step>,
    /// Paths of what lies outside of the namespace, deleted at the end whatever happened.
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
    /// The body as text, where it must be malformed.
    #[serde(default)]
    pub raw: Option<String>,
    /// `Accept`; JSON unless said.
    #[serde(default)]
    pub accept: Option<String>,
    /// The bearer token, instead of the administrator's credentials; empty is none.
    #[serde(default)]
    pub r#as: Option<String>,
    /// Parts of the answer's object that count, as pointers: see [`look`](super::normal::look). In a watch, of every event's.
    #[serde(default)]
    pub look: Vec<String>,
    /// Words in the answer's message that we rely on.
    #[serde(default)]
    pub words: Vec<String>,
    /// Values that later steps use: name, and pointer into the answer.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
    /// The request is repeated until these pointers have these values (`code` is the status), for at most a minute.
    #[serde(default)]
    pub until: BTreeMap<String, Value>,
    /// It is a watch: it is read until so many events came, or its end.
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
        for entry in fs::read_dir(folder().join("script")).context("reading the script's folder")? {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            parts.insert(name, read(&path).with_context(|| format!("reading {}", path.display()))?);
        }
        Ok(Script(parts))
    }

    /// How many requests there are.
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

/// Where script and answers are.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// The text with every `${name}` replaced.
///
/// # Errors
/// When a name has no value: the step that was to save it got another answer.
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
