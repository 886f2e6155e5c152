//! The manifests, parsed like by an API server: every file, every field.

mod files;
mod flags;
mod hardening;
mod kinds;
mod names;
mod network;
mod rights;

use std::collections::BTreeSet;

use files::{Kustomization, Patch, kustomizations, objects, sources, yaml_files};

#[test]
fn every_file_has_only_fields_of_its_type() {
    let mut seen = 0;
    for file in yaml_files() {
        for document in sources(&file) {
            let checked = match file.file_name().and_then(|name| name.to_str()) {
                Some("kustomization.yaml") => kinds::strict::<Kustomization>(&document),
                _ if document.is_array() => kinds::strict::<Vec<Patch>>(&document),
                _ => kinds::check(&document),
            };
            assert_eq!(checked, Ok(()), "{}", file.display());
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} documents found");
}

#[test]
fn an_unknown_field_is_an_error() {
    let typo = serde_json::json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}, "automountServiceAccountTokn": false,
    });
    assert!(kinds::check(&typo).unwrap_err().contains("automountServiceAccountTokn"));
}

#[test]
fn each_kustomization_lists_exactly_the_files_in_its_directory() {
    for (folder, kustomization) in kustomizations() {
        let beside: BTreeSet<_> =
            yaml_files().into_iter().filter(|file| file.parent() == Some(&*folder)).collect();
        let listed: BTreeSet<_> = kustomization.paths().map(|path| folder.join(path)).collect();
        let (files, folders): (BTreeSet<_>, BTreeSet<_>) =
            listed.into_iter().partition(|path| path.extension().is_some());
        let beside: BTreeSet<_> =
            beside.into_iter().filter(|file| !file.ends_with("kustomization.yaml")).collect();
        assert_eq!(beside, files, "{}", folder.display());
        for other in folders {
            assert!(
                other.join("kustomization.yaml").is_file(),
                "{} lists {}",
                folder.display(),
                other.display()
            );
        }
    }
    let folders: BTreeSet<_> = kustomizations().into_iter().map(|(folder, _)| folder).collect();
    for file in yaml_files() {
        assert!(
            file.parent().is_some_and(|folder| folders.contains(folder)),
            "nothing lists {}",
            file.display()
        );
    }
}

#[test]
fn every_patch_has_an_existing_target() {
    let base = [objects("base"), objects("components/network-policy")].concat();
    let mut count = 0;
    for (folder, kustomization) in kustomizations() {
        for patch in &kustomization.patches {
            for document in sources(&folder.join(&patch.path)) {
                let (kind, name) = match &patch.target {
                    Some(target) => (target.kind.as_str(), target.name.as_str()),
                    None => (files::text(&document, "/kind"), files::text(&document, "/metadata/name")),
                };
                let object = files::find(&base, kind, name);
                let operations: Vec<Patch> = serde_json::from_value(document.clone()).unwrap_or_default();
                assert!(patch.target.is_none() || !operations.is_empty(), "{} does nothing", patch.path);
                for operation in operations {
                    // An entry is added to a list that is there; anything else is replaced.
                    let (op, path) = match operation.path.strip_suffix("/-") {
                        Some(list) => ("add", list),
                        None => ("replace", operation.path.as_str()),
                    };
                    assert_eq!(operation.op, op, "{}", operation.path);
                    assert!(object.pointer(path).is_some(), "{kind}/{name} has no {path}");
                }
                count += 1;
            }
        }
    }
    assert!(count >= 7, "{count}");
}
