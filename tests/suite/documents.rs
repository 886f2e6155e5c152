//! The tables in `docs/`, for the tests that compare them with the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The five cells of a row, the first without its backticks. No cell holds a `|`.
pub(crate) type Row = Vec<String>;

/// Every row of every table of a page whose first cell is a name in backticks.
pub(crate) fn table(page: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Row> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "{page} has no table");
    rows
}

fn cells(line: &str) -> Row {
    let cells = line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
    let mut cells: Row = cells.collect();
    assert_eq!(cells.len(), 5, "five cells: {line}");
    cells[0] = cells[0].trim_matches('`').to_owned();
    cells
}

/// Names of functions in the sources below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn the_comparison_with_vpa_names_only_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeSet::new();
    for folder in ["crates/sizing/src", "aggregator/src", "agent/src", "tests/e2e", "tests/suite"] {
        functions(&root.join(folder), &mut found);
    }
    let page = fs::read_to_string(root.join("docs/vpa.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let scenarios: Vec<_> = rows
        .filter(|row| !["| | scenario |", "| | case |"].iter().any(|head| row.starts_with(head)))
        .collect();
    assert_eq!(scenarios.len(), 27 + 12);
    for scenario in scenarios {
        let spans = scenario.split('`').skip(1).step_by(2);
        let named: Vec<_> = spans.filter(|span| span.matches('_').count() > 2).collect();
        assert!(!named.is_empty(), "no test: {scenario}");
        let missing: Vec<_> = named.into_iter().filter(|name| !found.contains(*name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
