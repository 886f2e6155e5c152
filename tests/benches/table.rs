//! Plain tables, and whether a target is met.

/// The cells of one line.
#[derive(Debug)]
pub(crate) struct Row(Vec<String>);

impl<T: Into<String>, const N: usize> From<[T; N]> for Row {
    fn from(cells: [T; N]) -> Row {
        Row(cells.map(Into::into).into())
    }
}

/// Prints rows with each column as wide as its widest cell.
pub(crate) fn print_rows(rows: &[Row]) {
    let columns = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.0.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for Row(cells) in rows {
        let cells: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("   {}", cells.join("  ").trim_end());
    }
}

/// Prints one measurement with its target.
pub(crate) fn print_target(what: &str, measured: &str, met: bool, target: &str) {
    println!("   {what:<52} {measured:<24} target: {target:<12} {}", if met { "met" } else { "MISSED" });
}
