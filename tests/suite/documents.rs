//! The tables in `docs/`, for the tests that compare them with the code.

use std::path::Path;

/// The five cells of a row, the first without its backticks. No cell holds a `|`.
pub(crate) type Row = Vec<String>;

/// Every row of every table of a page whose first cell is a name in backticks.
pub(crate) fn table(page: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
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
