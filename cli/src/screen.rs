//! The table in a terminal: the same columns as [`PodTable::lines`], with the bands in color. Also reads the terminal's keys.

#[cfg(test)]
mod tests;

use std::thread;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use plimsoll_contract::Band;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row as ScreenRow, Table};
use tokio::sync::mpsc;

use crate::table::{COLUMNS, HEADER, PodTable, Row, SIZES, widths};

/// Lines of [`draw_in`] beside the rows and the banner: title, header, status.
pub const FRAME_LINES: usize = 3;

/// Draws a title line, the banner, the rows from number `first` on, and a status line below, in a part of the screen.
///
/// Rows that do not fit are counted in the status line.
pub fn draw_in(frame: &mut Frame<'_>, area: Rect, title: &str, shown: &PodTable, first: usize, status: &str) {
    let PodTable { banner, rows } = shown;
    let banner_lines = u16::try_from(banner.len()).unwrap_or(u16::MAX);
    let heights =
        [Constraint::Length(1), Constraint::Length(banner_lines), Constraint::Min(2), Constraint::Length(1)];
    let [head, below_head, body, foot] = Layout::vertical(heights).areas(area);
    frame.render_widget(Paragraph::new(Line::styled(title, Modifier::BOLD)), head);
    let warnings = banner.iter().map(|line| Line::styled(line.as_str(), Color::Yellow));
    frame.render_widget(Paragraph::new(warnings.collect::<Vec<_>>()), below_head);
    let room = usize::from(body.height.saturating_sub(1));
    let first = first.min(rows.len().saturating_sub(room));
    let visible = &rows[first..(first + room).min(rows.len())];
    frame.render_widget(table(rows, visible, body.width), body);
    let hidden = rows.len() - visible.len();
    let more = if hidden > 0 { format!("{hidden} more (up, down)  ") } else { String::new() };
    let footnote = shown.footnote().map(|note| format!("  {note}")).unwrap_or_default();
    let foot_text = format!("{more}{status}{footnote}");
    frame.render_widget(Paragraph::new(Line::styled(foot_text, Modifier::DIM)), foot);
}

/// Keys and other events of the terminal, read by a thread that ends when the receiver is dropped or the terminal cannot be read.
pub fn terminal_events() -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(16);
    thread::spawn(move || {
        while !sender.is_closed() {
            let event = match event::poll(Duration::from_millis(200)) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            if event.map(|event| sender.blocking_send(event)).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Whether the key ends a live table: `q`, Esc or Ctrl-C.
pub fn is_quit(key: KeyEvent) -> bool {
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

/// Which columns are shown, and how.
struct TableLayout {
    columns: &'static [usize],
    bars: bool,
    spacing: u16,
}

const LAST: usize = COLUMNS - 1;
/// Minimum width of the last column.
const MIN_LAST: usize = 8;

/// Tried in this order: the first one whose columns fit is used, else the last one. Those with sizes only where one is known.
const LAYOUTS: [TableLayout; 5] = [
    TableLayout { columns: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, LAST], bars: true, spacing: 2 },
    TableLayout { columns: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, LAST], bars: false, spacing: 1 },
    TableLayout { columns: &[0, 1, 2, 3, 4, 5, 6, 7, LAST], bars: true, spacing: 2 },
    TableLayout { columns: &[0, 1, 2, 3, 4, 5, 6, 7, LAST], bars: false, spacing: 1 },
    TableLayout { columns: &[0, 1, 2, 3, 4, 5, 6], bars: false, spacing: 1 },
];

impl TableLayout {
    /// The widths come from all rows, so that columns keep their place while scrolling.
    fn widths(&self, rows: &[Row]) -> [usize; COLUMNS] {
        let header = HEADER.map(str::to_owned);
        let cells: Vec<_> =
            std::iter::once(header).chain(rows.iter().map(|row| row.columns(self.bars))).collect();
        widths(&cells)
    }

    fn min_width(&self, widths: &[usize; COLUMNS]) -> usize {
        let texts: usize = self.columns.iter().map(|c| if *c == LAST { MIN_LAST } else { widths[*c] }).sum();
        texts + (self.columns.len() - 1) * usize::from(self.spacing)
    }
}

fn table<'a>(all: &[Row], visible: &[Row], width: u16) -> Table<'a> {
    let has_sizes = all.iter().any(Row::has_size);
    let shows_sizes = |layout: &TableLayout| SIZES.iter().any(|size| layout.columns.contains(size));
    let layouts = LAYOUTS.iter().filter(|layout| has_sizes || !shows_sizes(layout));
    let candidates = layouts.map(|layout| (layout, layout.widths(all)));
    let mut fitting = candidates.skip_while(|(layout, widths)| {
        layout.columns.contains(&LAST) && layout.min_width(widths) > usize::from(width)
    });
    let (layout, widths) = fitting.next().expect("the last layout is without the last column");
    // The last column is shortened, or if it is not shown the names: never the numbers.
    let shortened = if layout.columns.contains(&LAST) { LAST } else { 0 };
    let constraint = |column: &usize| match *column {
        column if column == shortened && layout.min_width(&widths) > usize::from(width) => {
            Constraint::Fill(1)
        }
        LAST => Constraint::Fill(1),
        column => Constraint::Length(u16::try_from(widths[column]).unwrap_or(u16::MAX)),
    };
    let body = visible.iter().map(|row| {
        let texts = row.columns(layout.bars);
        ScreenRow::new(layout.columns.iter().map(move |column| {
            let style = match column {
                3 => color(row.cpu.band),
                6 => color(row.memory.band),
                _ => Style::new(),
            };
            Cell::from(texts[*column].clone()).style(style)
        }))
    });
    let header = ScreenRow::new(layout.columns.iter().map(|column| HEADER[*column])).style(Modifier::BOLD);
    Table::new(body.collect::<Vec<_>>(), layout.columns.iter().map(constraint))
        .header(header)
        .column_spacing(layout.spacing)
}

/// The color of a band; its name is always shown too, for people who do not see colors.
fn color(band: Band) -> Style {
    match band {
        Band::Unknown => Style::new().fg(Color::DarkGray),
        Band::Low => Style::new().fg(Color::Green),
        Band::Moderate => Style::new().fg(Color::Yellow),
        Band::High => Style::new().fg(Color::Red),
    }
}
