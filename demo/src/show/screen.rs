//! The live table: the pods as in `plimsoll top`, and the latest events below. Ends with `q`, Esc or Ctrl-C.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Context;
use crossterm::event::Event as TerminalEvent;
use jiff::Timestamp;
use plimsoll::args::TopArgs;
use plimsoll::screen::{FRAME_LINES, draw_in, is_quit, terminal_events};
use plimsoll::source::Source;
use plimsoll::table::PodTable;
use plimsoll::top;
use ratatui::DefaultTerminal;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::Modifier;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::timeline::Event;

/// Polling interval of the table.
const POLL: Duration = Duration::from_millis(500);
/// Maximum number of events kept.
const EVENTS: usize = 100;

/// The terminal. It is restored when this is closed, and on a panic (by ratatui's hook).
pub(super) struct Screen {
    terminal: DefaultTerminal,
    about: Vec<String>,
    latest_events: VecDeque<String>,
    table: PodTable,
}

impl Screen {
    pub(super) fn open(about: Vec<String>) -> anyhow::Result<Screen> {
        let terminal = ratatui::try_init().context("cannot use the terminal; try --plain")?;
        Ok(Screen { terminal, about, latest_events: VecDeque::new(), table: PodTable::default() })
    }

    pub(super) fn close(self) -> anyhow::Result<()> {
        ratatui::try_restore().context("cannot restore the terminal")
    }

    pub(super) async fn run(
        &mut self,
        source: &Source,
        args: &TopArgs,
        events: &mut mpsc::UnboundedReceiver<Event>,
    ) -> anyhow::Result<()> {
        let mut terminal_events = terminal_events();
        let mut polls = interval(POLL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(event) = events.recv() => self.add(&event),
                _ = polls.tick() => {
                    // Without an answer in time the previous table remains. Keys are handled only after the answer or timeout.
                    if let Ok(Ok(snapshot)) = timeout(POLL, source.read()).await {
                        self.table = top::table_of(&snapshot, args, Timestamp::now());
                    }
                }
                event = terminal_events.recv() => match event {
                    Some(TerminalEvent::Key(key)) if is_quit(key) => return Ok(()),
                    Some(_) => {}
                    None => anyhow::bail!("the keyboard cannot be read any more"),
                },
            }
            let (about, table, latest_events) = (&self.about, &self.table, &self.latest_events);
            self.terminal.draw(|frame| draw(frame, about, table, latest_events)).context("cannot draw")?;
        }
    }

    fn add(&mut self, event: &Event) {
        self.latest_events.push_back(event.sentence());
        if self.latest_events.len() > EVENTS {
            self.latest_events.pop_front();
        }
    }
}

fn draw(frame: &mut Frame<'_>, about: &[String], table: &PodTable, latest_events: &VecDeque<String>) {
    // With an empty line below.
    let lines = table.rows.len() + table.banner.len() + FRAME_LINES + 1;
    let height = u16::try_from(lines).unwrap_or(u16::MAX);
    let about = wrapped(about, usize::from(frame.area().width));
    let head = u16::try_from(about.len()).unwrap_or(0);
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(head), Constraint::Length(height), Constraint::Min(3)])
            .areas(frame.area());
    let about = about.into_iter().map(|line| Line::styled(line, Modifier::DIM)).collect::<Vec<_>>();
    frame.render_widget(Paragraph::new(about), top);
    draw_in(frame, middle, "Plimsoll", table, 0, "q: quit");
    let room = usize::from(bottom.height);
    let lines = wrapped(latest_events, usize::from(bottom.width));
    let latest = lines.iter().skip(lines.len().saturating_sub(room)).map(|line| Line::from(line.as_str()));
    frame.render_widget(Paragraph::new(latest.collect::<Vec<_>>()), bottom);
}

/// Wraps lines at any character, like a terminal, so that a command can be copied.
fn wrapped<'a>(lines: impl IntoIterator<Item = &'a String>, width: usize) -> Vec<String> {
    let chars = lines.into_iter().map(|line| line.chars().collect::<Vec<_>>());
    chars.flat_map(|line| line.chunks(width.max(1)).map(String::from_iter).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn on_a_narrow_terminal_a_long_command_is_wrapped_and_the_events_are_visible() {
        let about = ["kubectl --kubeconfig=/tmp/plimsoll-demo-1-x/kubeconfig get pods".to_owned()];
        let mut terminal = Terminal::new(TestBackend::new(40, 12)).unwrap();
        let latest_events = VecDeque::from(["12.5s  web: busy".to_owned()]);
        terminal.draw(|frame| draw(frame, &about, &PodTable::default(), &latest_events)).unwrap();
        let symbols: Vec<_> =
            terminal.backend().buffer().content.iter().map(ratatui::buffer::Cell::symbol).collect();
        let lines: Vec<_> = symbols.chunks(40).map(|line| line.concat().trim_end().to_owned()).collect();
        assert_eq!(lines[..2].concat(), about[0]);
        assert!(lines.iter().any(|line| line == "12.5s  web: busy"), "{lines:?}");
    }
}
