//! The rows in a terminal: the same columns as [`crate::table::lines`], with the bands in color.

#[cfg(test)]
mod tests;

use plimsoll_contract::Band;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row as ScreenRow, Table};

use crate::table::{COLUMNS, HEADER, Row, widths};

/// Draws a title line, the rows from number `first` on, and a line of status below.
///
/// Rows that do not fit are counted in the status line: what is not seen is said.
pub fn draw(frame: &mut Frame<'_>, title: &str, rows: &[Row], first: usize, status: &str) {
    draw_in(frame, frame.area(), title, rows, first, status);
}

/// As [`draw`], in a part of the screen.
pub fn draw_in(frame: &mut Frame<'_>, area: Rect, title: &str, rows: &[Row], first: usize, status: &str) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(2), Constraint::Length(1)]).areas(area);
    frame.render_widget(Paragraph::new(Line::styled(title, Modifier::BOLD)), head);
    let shown = visible(rows, first, body);
    frame.render_widget(table(rows, shown), body);
    let hidden = rows.len() - shown.len();
    let more = if hidden > 0 { format!("{hidden} more (up, down)  ") } else { String::new() };
    frame.render_widget(Paragraph::new(Line::styled(format!("{more}{status}"), Modifier::DIM)), foot);
}

fn visible(rows: &[Row], first: usize, body: Rect) -> &[Row] {
    let room = usize::from(body.height.saturating_sub(1));
    let first = first.min(rows.len().saturating_sub(room));
    &rows[first..(first + room).min(rows.len())]
}

/// The widths come from all rows, so that nothing jumps while scrolling.
fn table<'a>(all: &[Row], shown: &[Row]) -> Table<'a> {
    let header = HEADER.map(str::to_owned);
    let cells: Vec<_> = std::iter::once(header).chain(all.iter().map(Row::columns)).collect();
    let mut widths = widths(&cells).map(|width| Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX)));
    // On a narrow terminal the last column gives way, never the numbers.
    widths[COLUMNS - 1] = Constraint::Fill(1);
    let body = shown.iter().map(|row| {
        let styles =
            [3, 6].map(|column| (column, color(if column == 3 { row.cpu.band } else { row.memory.band })));
        ScreenRow::new(row.columns().into_iter().enumerate().map(move |(column, text)| {
            let style =
                styles.iter().find(|(styled, _)| *styled == column).map_or(Style::new(), |(_, style)| *style);
            Cell::from(text).style(style)
        }))
    });
    Table::new(body, widths).header(ScreenRow::new(HEADER).style(Modifier::BOLD)).column_spacing(2)
}

/// The color of a band; the word is always there too, for whoever does not see colors.
pub fn color(band: Band) -> Style {
    match band {
        Band::Unknown => Style::new().fg(Color::DarkGray),
        Band::Low => Style::new().fg(Color::Green),
        Band::Moderate => Style::new().fg(Color::Yellow),
        Band::High => Style::new().fg(Color::Red),
    }
}
