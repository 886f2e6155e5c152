//! JSON patch, RFC 6902: add, remove, replace, move, copy, test.

use serde_json::Value;

use crate::api::status::ApiError;

/// Applies the operations in order; the target is left half-changed on an error, so patch a copy.
///
/// # Errors
/// 400 when the document is no patch, 422 when an operation does not fit the object or a `test` fails.
pub(in crate::api) fn json(target: &mut Value, operations: &Value) -> Result<(), ApiError> {
    let Value::Array(operations) = operations else {
        return Err(ApiError::bad_request("a JSON patch is an array of operations"));
    };
    operations.iter().try_for_each(|operation| {
        step(target, operation).ok_or_else(|| {
            let message =
                format!("the server rejected our request due to an error in our request: {operation}");
            ApiError::new(422, "Invalid", message)
        })
    })
}

fn step(target: &mut Value, operation: &Value) -> Option<()> {
    let text = |key: &str| operation.get(key).and_then(Value::as_str);
    let path = text("path")?;
    match text("op")? {
        "add" => add(target, path, operation.get("value")?.clone()),
        "remove" => remove(target, path).map(|_| ()),
        "replace" => {
            *target.pointer_mut(path)? = operation.get("value")?.clone();
            Some(())
        }
        "move" => {
            let value = remove(target, text("from")?)?;
            add(target, path, value)
        }
        "copy" => {
            let value = target.pointer(text("from")?)?.clone();
            add(target, path, value)
        }
        "test" => (target.pointer(path)? == operation.get("value")?).then_some(()),
        _ => None,
    }
}

fn split(path: &str) -> Option<(&str, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *target = value;
        return Some(());
    }
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent)? {
        Value::Object(map) => {
            map.insert(last, value);
        }
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let at: usize = last.parse().ok().filter(|at| *at <= items.len())?;
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(target: &mut Value, path: &str) -> Option<Value> {
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent)? {
        Value::Object(map) => map.shift_remove(&last),
        Value::Array(items) => {
            let at: usize = last.parse().ok().filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        _ => None,
    }
}
