//! Where the sandbox answers otherwise than Kubernetes, on purpose, and why. Whatever is not listed here must be the same.

/// One part of one answer that differs.
#[derive(Debug, Clone, Copy)]
pub struct Difference {
    /// `PART/STEP` of the script.
    pub step: &'static str,
    /// Where in the normalized answer, as a JSON pointer; empty is all of it.
    pub at: &'static str,
    /// What the sandbox answers there, as JSON.
    pub ours: &'static str,
    /// Why it may.
    pub why: &'static str,
}

const fn all(step: &'static str, ours: &'static str, why: &'static str) -> Difference {
    Difference { step, at: "", ours, why }
}

const NO_RIGHTS: &str = "it has no authorization: any token it issued may do anything, and the journal says what it did. What we \
     may and may not is tested on a real cluster and against our manifests";
const NO_SCHEMA: &str =
    "it has no schemas: of the types it checks what our programs and their mistakes can touch";
const NO_YAML: &str = "it reads JSON, which is what our programs and kubectl send";
const NO_RESTART: &str = "its kubelet applies every resize in place: Plimsoll leaves alone what asks for a restart (DESIGN 6), so that \
     nothing of ours can tell the difference";
const RESTARTS: &str = "/look/~1status~1containerStatuses~10~1restartCount";
const PLAIN_TABLE: &str = "types that nobody prints from it have a name and an age";

/// All of them. One that no longer differs must go: the test fails until it does.
pub const LISTED: &[Difference] = &[
    all("apply/unknown-field", r#"{"code":200,"kind":"v1 Pod"}"#, NO_SCHEMA),
    all("apply/yaml-body", r#"{"code":400,"status":"Failure","reason":"BadRequest"}"#, NO_YAML),
    all(
        "custom/create-against-the-schema",
        r#"{"code":201,"kind":"${ns}.example.com/v1alpha1 Gauge"}"#,
        NO_SCHEMA,
    ),
    Difference { step: "node/it-did-not-restart", at: RESTARTS, ours: "0", why: NO_RESTART },
    Difference { step: "node/it-restarted", at: RESTARTS, ours: "0", why: NO_RESTART },
    all(
        "refusals/create-in-yaml",
        r#"{"code":415,"status":"Failure","reason":"UnsupportedMediaType"}"#,
        NO_YAML,
    ),
    Difference { step: "refusals/unknown-field", at: "/look/~1nonsense", ours: "1", why: NO_SCHEMA },
    all("refusals/unknown-field-strict", r#"{"code":201,"kind":"v1 ConfigMap"}"#, NO_SCHEMA),
    Difference {
        step: "resize/merge-with-fewer-containers",
        at: "/causes",
        ours: r#"[{"field":"spec.containers","reason":"FieldValueForbidden"}]"#,
        why: "a resize is not also checked as if it were a new pod: the status and the first cause are the same",
    },
    Difference {
        step: "tables/daemonsets",
        at: "/look/~1columnDefinitions~1*~1name",
        ours: r#"["Name","Age"]"#,
        why: PLAIN_TABLE,
    },
    Difference {
        step: "tokens/may-an-account-without-rights",
        at: "/look/~1status~1allowed",
        ours: "true",
        why: NO_RIGHTS,
    },
    all(
        "tokens/use-nothing",
        r#"{"code":401,"status":"Failure","reason":"Unauthorized"}"#,
        "nobody is let in without a token, so that a program that forgot its own is found",
    ),
    all("tokens/use-the-servers", r#"{"code":200,"kind":"v1 ServiceAccount"}"#, NO_RIGHTS),
];
