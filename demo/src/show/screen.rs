//! The live table: the pods as `plimsoll top` shows them, the last events below. Ends with `q`, Esc or Ctrl-C.

use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use crossterm::event::{self, Event as Key, KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use plimsoll::args::TopArgs;
use plimsoll::screen::draw_in;
use plimsoll::table::Row;
use plimsoll::top::{Source, rows};
use ratatui::DefaultTerminal;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::Modifier;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::timeline::Event;

/// The table is read anew so often.
const LOOK: Duration = Duration::from_millis(500);
/// So many of the last events are kept.
const KEPT: usize = 100;

/// A terminal in our hands. Given back when it is closed, also by a panic (ratatui's hook).
pub(super) struct Screen {
    terminal: DefaultTerminal,
    about: Vec<String>,
    told: VecDeque<String>,
    rows: Vec<Row>,
}

impl Screen {
    pub(super) fn open(about: Vec<String>) -> anyhow::Result<Screen> {
        let terminal = ratatui::try_init().context("cannot use the terminal; try --plain")?;
        Ok(Screen { terminal, about, told: VecDeque::new(), rows: Vec::new() })
    }

    pub(super) fn close(self) -> anyhow::Result<()> {
        ratatui::try_restore().context("cannot restore the terminal")
    }

    pub(super) async fn run(
        &mut self,
        source: &Source,
        top: &TopArgs,
        events: &mut mpsc::UnboundedReceiver<Event>,
    ) -> anyhow::Result<()> {
        let mut keys = keyboard()?;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(event) = events.recv() => self.tell(&event),
                _ = looks.tick() => {
                    // Until the aggregator answers, the last picture stands.
                    if let Ok(pods) = source.pods().await {
                        self.rows = rows(&pods, top, Timestamp::now());
                    }
                }
                key = keys.recv() => match key {
                    Some(key) if ends(key) => return Ok(()),
                    Some(_) => {}
                    None => anyhow::bail!("the keyboard is gone"),
                },
            }
            let (about, rows, told) = (&self.about, &self.rows, &self.told);
            self.terminal.draw(|frame| draw(frame, about, rows, told)).context("cannot draw")?;
        }
    }

    fn tell(&mut self, event: &Event) {
        self.told.push_back(event.sentence());
        if self.told.len() > KEPT {
            self.told.pop_front();
        }
    }
}

fn draw(frame: &mut Frame<'_>, about: &[String], rows: &[Row], told: &VecDeque<String>) {
    let table = u16::try_from(rows.len()).unwrap_or(u16::MAX).saturating_add(4);
    let head = u16::try_from(about.len()).unwrap_or(0);
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(head), Constraint::Length(table), Constraint::Min(3)])
            .areas(frame.area());
    let about = about.iter().map(|line| Line::styled(line.as_str(), Modifier::DIM)).collect::<Vec<_>>();
    frame.render_widget(Paragraph::new(about), top);
    draw_in(frame, middle, "Plimsoll", rows, 0, "q: quit");
    let room = usize::from(bottom.height);
    let latest = told.iter().skip(told.len().saturating_sub(room)).map(|line| Line::from(line.as_str()));
    frame.render_widget(Paragraph::new(latest.collect::<Vec<_>>()), bottom);
}

fn ends(key: KeyEvent) -> bool {
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
}

/// Keys, read by a thread that ends with the process: reading a terminal blocks.
fn keyboard() -> anyhow::Result<mpsc::Receiver<KeyEvent>> {
    let (sender, receiver) = mpsc::channel(16);
    let read = move || {
        while let Ok(event) = event::read() {
            if let Key::Key(key) = event
                && sender.blocking_send(key).is_err()
            {
                return;
            }
        }
    };
    thread::Builder::new().name("keys".into()).spawn(read).context("cannot read keys")?;
    Ok(receiver)
}
