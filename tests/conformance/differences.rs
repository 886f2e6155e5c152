//! The intended differences between the answers of the sandbox and of Kubernetes, with reasons. All other answers must be equal.

/// One part of one answer that differs.
#[derive(Debug, Clone, Copy)]
pub struct Difference {
    /// `PART/STEP` of the script.
    pub step: &'static str,
    /// JSON pointer into the normalized answer; empty for the whole answer.
    pub at: &'static str,
    /// The sandbox's value there, as JSON.
    pub ours: &'static str,
    /// The reason.
    pub why: &'static str,
}

const fn all(step: &'static str, ours: &'static str, why: &'static str) -> Difference {
    Difference { step, at: "", ours, why }
}

const NO_RIGHTS: &str = "it has no authorization: any token may do anything, and the journal records it. Our permissions are \
     tested on a real cluster and against our manifests";
const NO_SCHEMA: &str = "it has no schemas: it checks only the fields that our programs can write";
const NO_YAML: &str = "it accepts only JSON, which our programs and kubectl send";
const NO_RESTART: &str = "its kubelet applies every resize in place: Plimsoll does not resize containers that need a restart \
     (DESIGN 6)";
const RESTARTS: &str = "/look/~1status~1containerStatuses~10~1restartCount";
const PLAIN_TABLE: &str = "types that our kubectl command does not print have only a name and an age";

/// All differences. One that no longer exists must be removed, else the test fails.
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
        why: "a resize is not also validated like a new pod: the status and the first cause are equal",
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
        "a request without a token is rejected, so that a program without its token is found",
    ),
    all("tokens/use-the-servers", r#"{"code":200,"kind":"v1 ServiceAccount"}"#, NO_RIGHTS),
];
