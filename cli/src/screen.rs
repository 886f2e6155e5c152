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
    frame.render_widget(table(rows, shown, body.width), body);
    let hidden = rows.len() - shown.len();
    let more = if hidden > 0 { format!("{hidden} more (up, down)  ") } else { String::new() };
    frame.render_widget(Paragraph::new(Line::styled(format!("{more}{status}"), Modifier::DIM)), foot);
}

fn visible(rows: &[Row], first: usize, body: Rect) -> &[Row] {
    let room = usize::from(body.height.saturating_sub(1));
    let first = first.min(rows.len().saturating_sub(room));
    &rows[first..(first + room).min(rows.len())]
}

/// Which columns are shown and how: the first that has room for all its numbers, else the last.
struct Manner {
    columns: &'static [usize],
    bars: bool,
    spacing: u16,
}

const LAST: usize = COLUMNS - 1;
/// The last column is shown if it has room for so much.
const LAST_LEAST: usize = 8;

const MANNERS: [Manner; 3] = [
    Manner { columns: &[0, 1, 2, 3, 4, 5, 6, 7, LAST], bars: true, spacing: 2 },
    Manner { columns: &[0, 1, 2, 3, 4, 5, 6, 7, LAST], bars: false, spacing: 1 },
    Manner { columns: &[0, 1, 2, 3, 4, 5, 6], bars: false, spacing: 1 },
];

impl Manner {
    fn texts(&self, row: &Row) -> [String; COLUMNS] {
        if self.bars { row.columns() } else { row.columns_without_bars() }
    }

    /// The widths come from all rows, so that nothing jumps while scrolling.
    fn widths(&self, rows: &[Row]) -> [usize; COLUMNS] {
        let header = HEADER.map(str::to_owned);
        let cells: Vec<_> = std::iter::once(header).chain(rows.iter().map(|row| self.texts(row))).collect();
        widths(&cells)
    }

    fn needs(&self, widths: &[usize; COLUMNS]) -> usize {
        let texts: usize =
            self.columns.iter().map(|c| if *c == LAST { LAST_LEAST } else { widths[*c] }).sum();
        texts + (self.columns.len() - 1) * usize::from(self.spacing)
    }
}

fn table<'a>(all: &[Row], shown: &[Row], width: u16) -> Table<'a> {
    let tried = MANNERS.iter().map(|manner| (manner, manner.widths(all)));
    let mut tried = tried.skip_while(|(manner, widths)| {
        manner.columns.contains(&LAST) && manner.needs(widths) > usize::from(width)
    });
    let (manner, widths) = tried.next().expect("the last manner is without the last column");
    // What gives way is the last column, or where that is not shown the names: never the numbers.
    let gives_way = if manner.columns.contains(&LAST) { LAST } else { 0 };
    let constraint = |column: &usize| match *column {
        column if column == gives_way && manner.needs(&widths) > usize::from(width) => Constraint::Fill(1),
        LAST => Constraint::Fill(1),
        column => Constraint::Length(u16::try_from(widths[column]).unwrap_or(u16::MAX)),
    };
    let body = shown.iter().map(|row| {
        let texts = manner.texts(row);
        ScreenRow::new(manner.columns.iter().map(move |column| {
            let style = match column {
                3 => color(row.cpu.band),
                6 => color(row.memory.band),
                _ => Style::new(),
            };
            Cell::from(texts[*column].clone()).style(style)
        }))
    });
    let header = ScreenRow::new(manner.columns.iter().map(|column| HEADER[*column])).style(Modifier::BOLD);
    Table::new(body.collect::<Vec<_>>(), manner.columns.iter().map(constraint))
        .header(header)
        .column_spacing(manner.spacing)
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
