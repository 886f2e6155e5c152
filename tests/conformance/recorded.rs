//! The recorded answers of a real Kubernetes, and the comparison with them. Writes only `answers.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::Value;

use super::differences::Difference;
use super::script::{Script, folder};

/// Normalized answers: by part, then by step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers(pub BTreeMap<String, BTreeMap<String, Value>>);

fn file() -> PathBuf {
    folder().join("answers.json")
}

impl Answers {
    /// Reads the recorded answers.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load() -> anyhow::Result<Answers> {
        let text = fs::read_to_string(file()).context("reading answers.json; PLIMSOLL_BLESS=1 writes it")?;
        Ok(Answers(serde_json::from_str(&text)?))
    }

    /// Writes the file, one line per answer. The answers of parts that were not played remain if the script has the parts.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn bless(&self, script: &Script) -> anyhow::Result<()> {
        let mut all = Answers::load().unwrap_or_default().0;
        all.extend(self.0.clone());
        let mut parts = Vec::new();
        let unanswered = |answer: &&Value| answer.get("unanswered").is_some();
        if let Some(answer) = self.0.values().flat_map(BTreeMap::values).find(unanswered) {
            bail!("there is no answer to record: {answer}");
        }
        for (name, answers) in all.iter().filter(|(name, _)| script.0.contains_key(*name)) {
            let mut lines = Vec::new();
            for step in &script.0[name].steps {
                if let Some(answer) = answers.get(&step.id) {
                    lines.push(format!("    {}: {answer}", Value::from(step.id.as_str())));
                }
            }
            parts.push(format!("  {}: {{\n{}\n  }}", Value::from(name.as_str()), lines.join(",\n")));
        }
        fs::write(file(), format!("{{\n{}\n}}\n", parts.join(",\n"))).context("writing answers.json")
    }

    /// Number of answers.
    pub fn count(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }
}

/// Describes every difference from the recorded answers, except the listed ones, which must exist. Parts that were not played are
/// not compared.
pub fn compare(recorded: &Answers, got: &Answers, listed: &[Difference]) -> Vec<String> {
    let mut problems = Vec::new();
    for (part, answers) in &got.0 {
        let known = recorded.0.get(part).cloned().unwrap_or_default();
        for step in known.keys().filter(|step| !answers.contains_key(*step)) {
            problems.push(format!("{part}/{step}: recorded, but not in the script"));
        }
        for (step, answer) in answers {
            let at = format!("{part}/{step}");
            match known.get(step) {
                None => problems.push(format!("{at}: not recorded:\n  got      {answer}")),
                Some(want) => problems.extend(disagree(&at, want.clone(), answer.clone(), listed)),
            }
        }
    }
    for difference in listed {
        let step = difference.step.split_once('/');
        let is_played =
            step.is_some_and(|(part, step)| got.0.get(part).is_some_and(|p| p.contains_key(step)));
        if !is_played {
            problems.push(format!("{}: listed as a difference, but not in the script", difference.step));
        }
    }
    problems
}

fn disagree(at: &str, mut want: Value, mut got: Value, listed: &[Difference]) -> Option<String> {
    for difference in listed.iter().filter(|difference| difference.step == at) {
        let (ours, theirs) = (remove(&mut got, difference.at), remove(&mut want, difference.at));
        if ours == theirs {
            return Some(format!("{at}: {} is listed as a difference, but does not differ", difference.at));
        }
        if serde_json::from_str(difference.ours).ok().as_ref() != Some(&ours) {
            return Some(format!("{at}: {} is listed as {}, but is {ours}", difference.at, difference.ours));
        }
    }
    let mut differing = Vec::new();
    walk("", &want, &got, &mut differing);
    (!differing.is_empty()).then(|| format!("{at}:\n{}", differing.join("\n")))
}

/// The smallest parts that differ.
fn walk(at: &str, want: &Value, got: &Value, out: &mut Vec<String>) {
    match (want, got) {
        (Value::Object(wanted), Value::Object(found)) => {
            let keys = wanted.keys().chain(found.keys().filter(|key| !wanted.contains_key(*key)));
            for key in keys {
                let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                walk(&at, want.get(key).unwrap_or(&Value::Null), got.get(key).unwrap_or(&Value::Null), out);
            }
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (index, (want, got)) in wanted.iter().zip(found).enumerate() {
                walk(&format!("{at}/{index}"), want, got, out);
            }
        }
        _ if want == got => {}
        _ => out.push(format!("  {at}: recorded {want}, got {got}")),
    }
}

/// Removes and returns the value at a pointer.
fn remove(value: &mut Value, pointer: &str) -> Value {
    value.pointer_mut(pointer).map(Value::take).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LISTED: &[Difference] =
        &[Difference { step: "part/step", at: "/code", ours: "200", why: "for the test" }];

    fn answers(answer: Value) -> Answers {
        Answers(BTreeMap::from([("part".to_owned(), BTreeMap::from([("step".to_owned(), answer)]))]))
    }

    fn problems(recorded: Value, got: Value, listed: &[Difference]) -> Vec<String> {
        compare(&answers(recorded), &answers(got), listed)
    }

    #[test]
    fn a_difference_is_described_by_its_smallest_part() {
        let (recorded, got) =
            (json!({"code": 200, "look": {"/a/b": [1, 2]}}), json!({"code": 200, "look": {"/a/b": [1, 3]}}));
        assert_eq!(problems(recorded.clone(), got, &[]), ["part/step:\n  /look/~1a~1b/1: recorded 2, got 3"]);
        assert!(problems(recorded.clone(), recorded, &[]).is_empty());
    }

    #[test]
    fn a_listed_difference_must_exist_as_listed() {
        assert!(problems(json!({"code": 403}), json!({"code": 200}), LISTED).is_empty());
        let resolved = problems(json!({"code": 200}), json!({"code": 200}), LISTED);
        assert_eq!(resolved, ["part/step: /code is listed as a difference, but does not differ"]);
        let other = problems(json!({"code": 403}), json!({"code": 500}), LISTED);
        assert_eq!(other, ["part/step: /code is listed as 200, but is 500"]);
        let more = problems(json!({"code": 403}), json!({"code": 200, "reason": "x"}), LISTED);
        assert_eq!(more, ["part/step:\n  /reason: recorded null, got \"x\""]);
    }

    #[test]
    fn an_answer_that_is_only_recorded_sent_or_listed_is_a_problem() {
        let one = answers(json!({"code": 200}));
        let none = Answers(BTreeMap::from([("part".to_owned(), BTreeMap::new())]));
        assert_eq!(compare(&one, &none, &[]), ["part/step: recorded, but not in the script"]);
        assert_eq!(compare(&none, &one, &[]).len(), 1);
        assert_eq!(
            compare(&none, &none, LISTED),
            ["part/step: listed as a difference, but not in the script"]
        );
        assert!(compare(&one, &Answers::default(), &[]).is_empty(), "a part that was not played");
    }
}
