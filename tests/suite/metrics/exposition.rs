//! A strict parser of the Prometheus text format 0.0.4: what Prometheus would reject or silently merge is an error.

use std::collections::{BTreeMap, BTreeSet};

/// Label names and values.
pub(super) type Labels = BTreeMap<String, String>;

/// A metric family.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Family {
    pub(super) kind: String,
    pub(super) help: String,
    /// Name, labels and value of each sample; for a histogram also `_bucket`, `_sum` and `_count`.
    pub(super) samples: Vec<(String, Labels, f64)>,
}

impl Family {
    /// All label names.
    pub(super) fn labels(&self) -> BTreeSet<String> {
        let names = self.samples.iter().flat_map(|(_, labels, _)| labels.keys().cloned());
        names.filter(|name| !(self.kind == "histogram" && name == "le")).collect()
    }
}

/// Parses a text.
///
/// # Errors
/// The first invalid line, and the rule that it violates.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, Family>, String> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the last line does not end".into());
    }
    let mut families = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        read(line, &mut families, &mut current).map_err(|rule| format!("{rule}: {line}"))?;
    }
    let mut seen = BTreeSet::new();
    for (name, labels, _) in families.values().flat_map(|family| &family.samples) {
        if !seen.insert((name, labels)) {
            return Err(format!("a series occurs twice: {name} {labels:?}"));
        }
    }
    Ok(families)
}

fn read(
    line: &str,
    families: &mut BTreeMap<String, Family>,
    current: &mut Option<String>,
) -> Result<(), String> {
    if let Some(rest) = line.strip_prefix("# HELP ") {
        let (name, help) = rest.split_once(' ').ok_or("a help without text")?;
        let family = Family { kind: String::new(), help: help.to_owned(), samples: Vec::new() };
        if !is_name(name, true) {
            return Err("not a metric name".into());
        }
        if families.insert(name.to_owned(), family).is_some() {
            return Err("a family begins twice".into());
        }
        *current = Some(name.to_owned());
        return Ok(());
    }
    let name = current.as_deref().ok_or("something before the first HELP")?;
    let family = families.get_mut(name).ok_or("no such family")?;
    if let Some(rest) = line.strip_prefix("# TYPE ") {
        let (of, kind) = rest.split_once(' ').ok_or("a type without a word")?;
        if of != name || !family.kind.is_empty() {
            return Err("a TYPE that does not follow its HELP".into());
        }
        if !["counter", "gauge", "histogram"].contains(&kind) {
            return Err("not a type".into());
        }
        kind.clone_into(&mut family.kind);
        return Ok(());
    }
    if line.starts_with('#') || family.kind.is_empty() {
        return Err("neither HELP, TYPE nor a sample of the family".into());
    }
    let (sample, labels, value) = sample(line)?;
    let suffix = sample.strip_prefix(name).ok_or("a sample of another family")?;
    let suffixes: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
    if !suffixes.contains(&suffix) {
        return Err("a sample of another family".into());
    }
    family.samples.push((sample, labels, value));
    Ok(())
}

fn sample(line: &str) -> Result<(String, Labels, f64), String> {
    let end = line.find(['{', ' ']).ok_or("a sample without a value")?;
    let (name, rest) = line.split_at(end);
    let mut labels = Labels::new();
    let value = match rest.strip_prefix('{') {
        None => rest,
        Some(rest) => label_set(rest, &mut labels)?,
    };
    let value = value.strip_prefix(' ').ok_or("no space before the value")?;
    let value = value.replace("+Inf", "inf").parse().map_err(|_| "not a number")?;
    Ok((name.to_owned(), labels, value))
}

/// Parses labels up to the closing brace, and returns the rest.
fn label_set<'a>(mut rest: &'a str, labels: &mut Labels) -> Result<&'a str, String> {
    loop {
        let (name, quoted) = rest.split_once("=\"").ok_or("a label without a value")?;
        if !is_name(name, false) {
            return Err("not a label name".into());
        }
        let (value, after) = unquote(quoted)?;
        if labels.insert(name.to_owned(), value).is_some() {
            return Err("a label occurs twice".into());
        }
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return after.strip_prefix('}').ok_or_else(|| "a label set that does not end".into()),
        }
    }
}

fn unquote(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, char @ ('\\' | '"'))) => char,
                _ => return Err("an escape that does not exist".into()),
            }),
            char => value.push(char),
        }
    }
    Err("a value that does not end".into())
}

fn is_name(name: &str, colons: bool) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(allowed)
}

#[test]
fn the_parser_accepts_valid_and_rejects_invalid_texts() {
    let good = "# HELP a_total Counts.\n# TYPE a_total counter\na_total{x=\"1\\n\\\"\\\\\"} 3\na_total{x=\"2\"} +Inf\n";
    let families = parse(good).unwrap();
    assert_eq!(families["a_total"].samples[0].1["x"], "1\n\"\\");
    let header = "# HELP a A.\n# TYPE a gauge\n";
    for bad in [
        "a 1\n",
        "# HELP a A.\na 1\n",
        &format!("{header}a 1"),
        &format!("{header}a 1\na 1\n"),
        &format!("{header}b 1\n"),
        &format!("{header}{header}"),
        &format!("{header}a{{x=\"\\t\"}} 1\n"),
        &format!("{header}a{{x=\"1\",x=\"2\"}} 1\n"),
        &format!("{header}a{{x=\"1\"}}1\n"),
        &format!("{header}a one\n"),
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
