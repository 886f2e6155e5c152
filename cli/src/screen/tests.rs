//! The screen, drawn into memory.

use plimsoll_contract::Band;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::*;
use crate::table;

fn row(pod: &str, band: Band) -> Row {
    let cell = |band| table::Cell {
        amount: "1m".into(),
        utilization: Some(0.5),
        basis: "limit".into(),
        band,
        differs: false,
        age: "3s".into(),
    };
    Row {
        pod: pod.into(),
        cpu: cell(band),
        memory: cell(Band::Low),
        class: "-".into(),
        sizes: ["-".into(), "-".into()],
        last: "-".into(),
    }
}

fn drawn_on(width: u16, rows: &[Row], first: usize, height: u16) -> (Vec<String>, ratatui::buffer::Buffer) {
    let table = PodTable { banner: Vec::new(), rows: rows.to_vec() };
    drawn_table(width, &table, first, height)
}

fn drawn_table(
    width: u16,
    table: &PodTable,
    first: usize,
    height: u16,
) -> (Vec<String>, ratatui::buffer::Buffer) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw_in(frame, frame.area(), "Plimsoll", table, first, "q: quit")).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let width = usize::from(buffer.area.width);
    let symbols: Vec<_> = buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect();
    (symbols.chunks(width).map(|line| line.concat().trim_end().to_owned()).collect(), buffer)
}

fn drawn(rows: &[Row], first: usize, height: u16) -> (Vec<String>, ratatui::buffer::Buffer) {
    drawn_on(110, rows, first, height)
}

fn plain(rows: &[Row]) -> Vec<String> {
    PodTable { banner: Vec::new(), rows: rows.to_vec() }.lines()
}

#[test]
fn the_banner_is_above_the_table_and_a_mark_is_explained_below() {
    let mut marked = row("a/b", Band::High);
    marked.cpu.differs = true;
    let table = PodTable { banner: vec!["paused".into(), "silent".into()], rows: vec![marked] };
    let (lines, buffer) = drawn_table(110, &table, 0, 7);
    assert_eq!(lines[..3], ["Plimsoll", "paused", "silent"]);
    assert!(lines[3].starts_with("POD") && lines[4].contains("high!  3s"), "{lines:?}");
    assert_eq!(lines[6], "q: quit  !: the label on the pod differs from the band; see LAST");
    assert_eq!(buffer[(0, 1)].fg, Color::Yellow);
}

#[test]
fn on_a_narrow_terminal_the_numbers_are_complete() {
    let mut wordy = row("a/b", Band::High);
    wordy.last = "left alone: ignored by its namespace's label".into();
    let (lines, _) = drawn_on(95, &[wordy.clone()], 0, 4);
    assert_eq!(lines[2], plain(&[wordy])[1][..95].trim_end());
}

#[test]
fn on_eighty_columns_every_utilization_band_and_age_is_complete() {
    let cell = |amount: &str, basis: &str, band| table::Cell {
        amount: amount.into(),
        utilization: Some(1.0),
        basis: basis.into(),
        band,
        differs: false,
        age: "12m".into(),
    };
    let row = Row {
        pod: "demo/requests-only".into(),
        cpu: cell("1234m", "request", Band::Moderate),
        memory: cell("120Mi", "limit", Band::Low),
        class: "gold".into(),
        sizes: ["250m/500m -> 300m/890m".into(), "256Mi/512Mi".into()],
        last: "label written 12m ago".into(),
    };
    let (lines, _) = drawn_on(80, std::slice::from_ref(&row), 0, 4);
    assert_eq!(lines[2], "demo/requests-only  1234m 100% request moderate 12m  120Mi 100% limit low 12m");
    let (lines, _) = drawn_on(180, std::slice::from_ref(&row), 0, 4);
    assert!(
        lines[2].contains("gold   250m/500m -> 300m/890m  256Mi/512Mi  label written 12m ago"),
        "{lines:?}"
    );
    let (lines, _) = drawn_on(130, std::slice::from_ref(&row), 0, 4);
    assert!(lines[2].contains("gold  250m/500m -> 300m/890m 256Mi/512Mi label wr"), "{lines:?}");
    let (lines, _) = drawn_on(70, &[row], 0, 4);
    assert!(lines[2].ends_with("1234m 100% request moderate 12m  120Mi 100% limit low 12m"), "{lines:?}");
}

#[test]
fn the_screen_has_the_same_columns_as_the_plain_lines() {
    let rows = [row("a/b", Band::High), row("a/c", Band::Low)];
    let (lines, _) = drawn(&rows, 0, 6);
    assert_eq!(lines[0], "Plimsoll");
    assert_eq!(lines[1..4], plain(&rows));
    assert_eq!(lines[5], "q: quit");
}

#[test]
fn a_high_band_is_red_and_named() {
    let (lines, buffer) = drawn(&[row("a/b", Band::High)], 0, 4);
    let column = u16::try_from(lines[2].find("high").unwrap()).unwrap();
    assert_eq!(buffer[(column, 2)].fg, Color::Red);
}

#[test]
fn rows_that_do_not_fit_are_counted_and_can_be_scrolled_to() {
    let rows: Vec<_> = (0..10).map(|n| row(&format!("a/{n}"), Band::Low)).collect();
    let (lines, _) = drawn(&rows, 0, 6);
    assert!(lines[2].starts_with("a/0") && lines[5].starts_with("7 more"), "{lines:?}");
    let (lines, _) = drawn(&rows, 99, 6);
    assert!(lines[4].starts_with("a/9"), "{lines:?}");
    let (lines, _) = drawn(&rows, 0, 1);
    assert_eq!(lines.len(), 1, "a tiny terminal causes no panic");
}
