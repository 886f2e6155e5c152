//! SLA classes: the CustomResourceDefinition, and classes as the API server sends them.
//!
//! | module | what |
//! |---|---|
//! | [`schema`] | the fields, from which the CustomResourceDefinition of `manifests/components/resizing` is made |
//! | `policy` | what the fields mean, or which of them is wrong |
//!
//! The API server refuses most of what is wrong. A class that is wrong all the same (it was stored under an earlier schema) is still a class: its
//! facts hold the problem, and what it said before stays in force.

mod policy;
pub(crate) mod schema;
#[cfg(test)]
mod tests;

use anyhow::Context;
use plimsoll_objects::field::Lenient;
use plimsoll_objects::{Checked, Content};
use serde::Deserialize;

use crate::facts::ClassFacts;
use schema::{SLAClass, SlaClassSpec, SlaClassStatus};

/// The fields of a class that are read.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ClassObject {
    #[serde(default)]
    metadata: ClassMetadata,
    #[serde(default)]
    spec: Option<Checked<SlaClassSpec>>,
    /// What we wrote last.
    #[serde(default)]
    pub(crate) status: Lenient<SlaClassStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ClassMetadata {
    name: Option<String>,
    uid: Lenient<String>,
    generation: Lenient<i64>,
}

impl Content for ClassObject {
    type Kind = SLAClass;
}

impl ClassObject {
    /// What is kept of the class.
    ///
    /// # Errors
    /// If it has no name. Any other problem is among the facts.
    pub(crate) fn facts(&self) -> anyhow::Result<ClassFacts> {
        let ClassMetadata { name, uid, generation } = &self.metadata;
        let name = name.clone().filter(|name| !name.is_empty()).context("metadata.name: it has none")?;
        let policy = match &self.spec {
            None => Err("spec: it has none".to_owned()),
            Some(Checked(Err(problem))) => Err(format!("spec.{problem}")),
            Some(Checked(Ok(spec))) => spec.policy(&name),
        };
        Ok(ClassFacts { name, uid: uid.0.clone(), generation: generation.0, policy })
    }
}
