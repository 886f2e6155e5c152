//! The rules of Leases: valid numbers and times. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::status::ApiError;

const KIND: &str = "Lease.coordination.k8s.io";

/// Checks the spec; a Lease without one has an empty one.
pub(super) fn prepare(lease: &mut Value) -> Result<(), ApiError> {
    if lease["spec"].is_null() {
        lease["spec"] = json!({});
    }
    let name = lease["metadata"]["name"].as_str().unwrap_or_default();
    let spec = &lease["spec"];
    let below = |field: &str, least: i64, why: &str| match spec[field].as_i64() {
        Some(number) if number < least => {
            let (field, rule) = (format!("spec.{field}"), format!("Invalid value: {number}"));
            Err(ApiError::invalid(KIND, name, &field, &rule, why))
        }
        _ => Ok(()),
    };
    below("leaseDurationSeconds", 1, "must be greater than 0")?;
    below("leaseTransitions", 0, "must be greater than or equal to 0")
}

/// The first time field of a Lease that is not a time.
pub(super) fn invalid_time(lease: &Value) -> Option<&'static str> {
    let is_time = |value: &Value| {
        value.is_null() || value.as_str().is_some_and(|text| text.parse::<Timestamp>().is_ok())
    };
    let paths = [("acquireTime", "/spec/acquireTime"), ("renewTime", "/spec/renewTime")];
    paths.into_iter().find(|(field, _)| !is_time(&lease["spec"][field])).map(|(_, path)| path)
}
