//! The component `resizing` of the manifests, as far as a server keeps it: the definition of SLA classes and the classes that ship; and the
//! class of the demo.

use anyhow::Context;
use plimsoll_sandbox::api::Resource;
use serde_json::Value;

const DEFINITION: &str = include_str!("../../../manifests/components/resizing/slaclass-definition.yaml");
const CLASSES: &str = include_str!("../../../manifests/components/resizing/classes.yaml");
/// Like bronze, but made smaller as soon as there is a 1-minute mean (after 40 to 55 s) instead of after 5 minutes, so that it can be watched, and
/// to no less than 90 %.
const DEMO_CLASS: &str = "
apiVersion: plimsoll.dev/v1alpha1
kind: SLAClass
metadata:
  name: demo
spec:
  rank: 3
  mode: Apply
  cpu: {targetOfLimit: 0.60, targetOfRequest: 0.90, maxStep: 0.5, minAllowed: 90%}
  memory: {targetOfLimit: 0.85, targetOfRequest: 0.95, maxStep: 0.5, minAllowed: 100%, maxAllowed: 200%}
  downHold: 15s
";

/// The definition first.
///
/// # Errors
/// If a manifest is no YAML.
pub(super) fn installed() -> anyhow::Result<Vec<(Resource, Value)>> {
    let classes = Resource::new("plimsoll.dev", "v1alpha1", "slaclasses");
    let documents = [(Resource::DEFINITIONS, DEFINITION), (classes.clone(), CLASSES), (classes, DEMO_CLASS)];
    let mut objects = Vec::new();
    for (resource, text) in documents {
        let all: Vec<Value> = serde_saphyr::from_multiple(text)
            .with_context(|| format!("cannot read the manifest of {}", resource.plural))?;
        objects.extend(all.into_iter().map(|object| (resource.clone(), object)));
    }
    Ok(objects)
}
