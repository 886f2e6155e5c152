//! What a person names: a pod or a workload, its template, and the pods that its controller made.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::Client;
use kube::api::{Api, ListParams};
use kube::core::{ObjectMeta, Selector};
use plimsoll_objects::{Content, Object, field};
use serde::{Deserialize, Deserializer};

use crate::connect::{Failure, Operation};
use crate::live::{LivePod, LiveSpec, PodId};
use crate::pods::{self, Collected};

const READ_POD: Operation = Operation::on_api_server("reading the pod", "get pods");
const READ_WORKLOAD: Operation = Operation::on_api_server(
    "reading the workload",
    "get deployments, replicasets, statefulsets and daemonsets in group apps",
);
const LIST_SETS: Operation =
    Operation::on_api_server("listing the ReplicaSets of the Deployment", "list replicasets in group apps");

/// A pod or a workload, as it is typed: `web-0`, `pod/web-0`, `deployment/web`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

/// The kinds whose pods can be resized together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pod,
    Deployment,
    StatefulSet,
    DaemonSet,
    ReplicaSet,
}

impl Kind {
    const ALL: [(Kind, [&'static str; 3]); 5] = [
        (Kind::Pod, ["pod", "pods", "po"]),
        (Kind::Deployment, ["deployment", "deployments", "deploy"]),
        (Kind::StatefulSet, ["statefulset", "statefulsets", "sts"]),
        (Kind::DaemonSet, ["daemonset", "daemonsets", "ds"]),
        (Kind::ReplicaSet, ["replicaset", "replicasets", "rs"]),
    ];

    /// Singular and plural, as kubectl reads them.
    fn words(self) -> [&'static str; 2] {
        match self {
            Kind::Pod => ["pod", "pods"],
            Kind::Deployment => ["deployment", "deployments"],
            Kind::StatefulSet => ["statefulset", "statefulsets"],
            Kind::DaemonSet => ["daemonset", "daemonsets"],
            Kind::ReplicaSet => ["replicaset", "replicasets"],
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.words()[0], self.name)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || {
            format!(
                "`{text}` is no pod and no workload; write it like web-0, deployment/web, statefulset/db, daemonset/log or \
                 replicaset/web, and its namespace with -n"
            )
        };
        let (kind, name) = text.split_once('/').unwrap_or(("pod", text));
        let word = kind.strip_suffix(".apps").unwrap_or(kind).to_ascii_lowercase();
        let known = Kind::ALL.iter().find(|(_, words)| words.contains(&word.as_str()));
        let (Some((kind, _)), Ok(name)) = (known, object_name(name)) else { return Err(invalid()) };
        Ok(Target { kind: *kind, name })
    }
}

/// A name that Kubernetes accepts: it is part of a path.
pub(crate) fn object_name(text: &str) -> Result<String, String> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.');
    let ends = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    if bytes.len() <= 253 && bytes.iter().all(|c| plain(*c)) && ends(bytes.first()) && ends(bytes.last()) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no name in Kubernetes: lowercase letters, digits, `-` and `.`"))
}

/// A pod of the API server.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) id: PodId,
    pub(crate) pod: LivePod,
}

impl Live {
    /// For [`pods::collect`].
    pub(crate) fn of(names: &ObjectMeta, pod: &LivePod) -> Option<Live> {
        Some(Live { id: PodId::of(names), pod: pod.clone() })
    }
}

/// A workload, and the pods that it has now.
#[derive(Debug)]
pub(crate) struct Workload {
    /// The containers of the template; of a pod those of the pod.
    pub(crate) template: LiveSpec,
    /// `deployment/web`, where it is made by another workload, which undoes a change of its template.
    pub(crate) made_by: Option<String>,
    /// The ReplicaSet of the template, of a Deployment: the pods of the others are older.
    pub(crate) newest_set: Option<String>,
    pub(crate) pods: Collected<Live>,
}

impl Workload {
    /// Whether a pod was made from the template as it is now, as far as that is known.
    pub(crate) fn is_of_template(&self, live: &Live) -> bool {
        let newest = self.newest_set.as_deref();
        newest.is_none_or(|uid| live.pod.controller().is_some_and(|controller| controller.uid == uid))
    }
}

/// The part of a workload that is read.
#[derive(Debug, Deserialize)]
struct Manifest {
    metadata: ObjectMeta,
    spec: ManifestSpec,
}

#[derive(Debug, Deserialize)]
struct ManifestSpec {
    selector: LabelSelector,
    template: Template,
}

#[derive(Debug, Deserialize)]
struct Template {
    spec: LiveSpec,
}

/// Annotation of a Deployment, and of the ReplicaSet of each of its templates.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// A ReplicaSet: only who made it, and of which revision.
#[derive(Debug, Clone, Deserialize)]
struct OwnedSet {
    #[serde(default)]
    metadata: SetMetadata,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SetMetadata {
    #[serde(deserialize_with = "field::list")]
    owner_references: Vec<OwnerReference>,
    #[serde(deserialize_with = "revision")]
    annotations: BTreeMap<String, String>,
}

fn revision<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    field::entries(deserializer, |key| key == REVISION, 32)
}

impl Content for OwnedSet {
    type Kind = ReplicaSet;
    const METADATA_ONLY: bool = true;
}

/// Reads a target.
pub(crate) async fn read(client: &Client, namespace: &str, target: &Target) -> Result<Workload, Failure> {
    let missing = |action| {
        let problem = format!(
            "there is no {target} in namespace {namespace}; -n names another one, `kubectl get {} -A` lists all",
            target.kind.words()[1]
        );
        Failure::other(action, problem)
    };
    if target.kind == Kind::Pod {
        let api: Api<Object<LivePod>> = Api::namespaced(client.clone(), namespace);
        let object = match READ_POD.run(async { Ok(api.get(&target.name).await) }).await? {
            Ok(object) => object,
            Err(kube::Error::Api(status)) if status.code == 404 => return Err(missing(READ_POD.action)),
            Err(error) => return Err(READ_POD.failure(&error)),
        };
        return match pods::content(&object) {
            Ok(pod) => {
                let pods = Collected {
                    picked: Live::of(object.names(), pod).into_iter().collect(),
                    unreadable: vec![],
                };
                Ok(Workload { template: pod.spec.clone(), made_by: None, newest_set: None, pods })
            }
            Err(unreadable) => Err(Failure::other(READ_POD.action, unreadable.to_string())),
        };
    }
    let path = format!("/apis/apps/v1/namespaces/{namespace}/{}/{}", target.kind.words()[1], target.name);
    let request = http::Request::get(path).body(Vec::new());
    let request = request.map_err(|error| Failure::other(READ_WORKLOAD.action, error.to_string()))?;
    let manifest = READ_WORKLOAD.run(async { Ok(client.request::<Manifest>(request).await) }).await?;
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(kube::Error::Api(status)) if status.code == 404 => return Err(missing(READ_WORKLOAD.action)),
        Err(error) => return Err(READ_WORKLOAD.failure(&error)),
    };
    let selector = Selector::try_from(manifest.spec.selector)
        .map_err(|error| Failure::other(READ_WORKLOAD.action, format!("its selector: {error}")))?
        .to_string();
    let ObjectMeta { uid, annotations, owner_references, .. } = manifest.metadata;
    let uid = uid.unwrap_or_default();
    let (owners, newest_set) = match target.kind {
        Kind::Deployment => {
            let sets = replica_sets(client, namespace, &selector, &uid).await?;
            let revision = annotations.as_ref().and_then(|annotations| annotations.get(REVISION));
            let newest = sets.iter().find(|set| revision.is_some() && set.revision.as_ref() == revision);
            let newest = newest.map(|set| set.uid.clone());
            (sets.into_iter().map(|set| set.uid).collect(), newest)
        }
        _ => (vec![uid], None),
    };
    let made_by =
        owner_references.unwrap_or_default().into_iter().find(|owner| owner.controller == Some(true));
    let made_by = made_by.map(|owner| format!("{}/{}", owner.kind.to_lowercase(), owner.name));
    let api = pods::api::<LivePod>(client, Some(namespace));
    // The selector alone would also find pods that somebody else made.
    let of_ours = |names: &ObjectMeta, pod: &LivePod| {
        let controller = pod.controller()?;
        owners.contains(&controller.uid).then(|| Live::of(names, pod))?
    };
    let pods = pods::collect(&api, Some(&selector), of_ours).await?;
    Ok(Workload { template: manifest.spec.template.spec, made_by, newest_set, pods })
}

/// A ReplicaSet of a Deployment.
struct ReplicaSetOf {
    uid: String,
    revision: Option<String>,
}

/// The ReplicaSets of a Deployment.
async fn replica_sets(
    client: &Client,
    namespace: &str,
    selector: &str,
    uid: &str,
) -> Result<Vec<ReplicaSetOf>, Failure> {
    let api: Api<Object<OwnedSet>> = Api::namespaced(client.clone(), namespace);
    let sets = LIST_SETS.run(api.list(&ListParams::default().labels(selector))).await?;
    let owned = |object: &Object<OwnedSet>| {
        let set = object.content.as_ref().ok()?;
        let is_owner = |owner: &OwnerReference| owner.controller == Some(true) && owner.uid == uid;
        set.metadata.owner_references.iter().any(is_owner).then_some(())?;
        let revision = set.metadata.annotations.get(REVISION).cloned();
        Some(ReplicaSetOf { uid: object.names().uid.clone()?, revision })
    };
    Ok(sets.items.iter().filter_map(owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_kubectl_reads_it() {
        for (typed, read) in [
            ("web-0", "pod/web-0"),
            ("po/web-0", "pod/web-0"),
            ("deploy/web", "deployment/web"),
            ("Deployment.apps/web", "deployment/web"),
            ("sts/db", "statefulset/db"),
            ("daemonsets/log", "daemonset/log"),
            ("rs/web-7d9c", "replicaset/web-7d9c"),
        ] {
            assert_eq!(typed.parse::<Target>().map(|target| target.to_string()).as_deref(), Ok(read));
        }
    }

    #[test]
    fn what_is_no_target_is_named_with_valid_ones() {
        let long = "x".repeat(254);
        for typed in
            ["", "web/", "job/x", "shop/web-0", "pod/../secrets", "Web", "-web", "deployment/a/b", &long]
        {
            let error = typed.parse::<Target>().unwrap_err();
            assert!(error.contains(&format!("`{typed}`")) && error.contains("deployment/web"), "{error}");
        }
    }
}
