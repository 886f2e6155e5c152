//! The table on a terminal: polls the aggregator, handles keys, and keeps the last table when a request fails.

use std::io;

use crossterm::event::{Event, KeyCode, KeyEvent};
use jiff::Timestamp;
use ratatui::DefaultTerminal;
use tokio::time::MissedTickBehavior;

use super::table_of;
use crate::args::TopArgs;
use crate::screen;
use crate::source::{Snapshot, Source};
use crate::table::age;

/// What is on the screen.
struct View {
    snapshot: Snapshot,
    /// When it was read.
    read_at: Timestamp,
    /// Why the latest request failed.
    failure: Option<String>,
    first_row: usize,
}

/// Shows the table until `q`, Esc or Ctrl-C, and restores the terminal.
pub(super) async fn run(source: &Source, args: &TopArgs, snapshot: Snapshot) -> anyhow::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let result = show(&mut terminal, source, args, snapshot).await;
    ratatui::try_restore()?;
    Ok(result?)
}

async fn show(
    terminal: &mut DefaultTerminal,
    source: &Source,
    args: &TopArgs,
    snapshot: Snapshot,
) -> io::Result<()> {
    let mut view = View { snapshot, read_at: Timestamp::now(), failure: None, first_row: 0 };
    let mut events = screen::terminal_events();
    let mut polls = tokio::time::interval(args.every.0);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut request = None;
    loop {
        let now = Timestamp::now();
        let table = table_of(&view.snapshot, args, now);
        let title = format!("Plimsoll: {} pods", table.rows.len());
        terminal.draw(|frame| {
            screen::draw_in(frame, frame.area(), &title, &table, view.first_row, &view.status(now));
        })?;
        // A request that hangs must not delay the keys, so both are awaited together; one request runs at a time.
        tokio::select! {
            _ = polls.tick(), if request.is_none() => request = Some(Box::pin(source.read())),
            result = async { request.as_mut().expect("guarded: a request runs").await }, if request.is_some() => {
                request = None;
                match result {
                    Ok(snapshot) => {
                        view = View { snapshot, read_at: Timestamp::now(), failure: None, first_row: view.first_row };
                    }
                    Err(failure) => view.failure = Some(failure.to_string()),
                }
            }
            event = events.recv() => match event {
                Some(Event::Key(key)) if screen::is_quit(key) => return Ok(()),
                Some(Event::Key(key)) => view.scroll(key, table.rows.len()),
                Some(_) => {}
                None => return Ok(()),
            }
        }
    }
}

impl View {
    fn status(&self, now: Timestamp) -> String {
        match &self.failure {
            Some(failure) => format!("{} old: {failure}", age(self.read_at, now)),
            None => "q: quit".to_owned(),
        }
    }

    fn scroll(&mut self, key: KeyEvent, rows: usize) {
        let last = rows.saturating_sub(1);
        self.first_row = match key.code {
            KeyCode::Up => self.first_row.saturating_sub(1),
            KeyCode::Down => self.first_row + 1,
            KeyCode::PageUp => self.first_row.saturating_sub(10),
            KeyCode::PageDown => self.first_row + 10,
            KeyCode::Home => 0,
            KeyCode::End => last,
            _ => self.first_row,
        }
        .min(last);
    }
}
