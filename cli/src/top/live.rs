//! The table on a terminal: a look every second, keys, and the last good picture when a look fails.

use std::io;
use std::thread;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use jiff::Timestamp;
use plimsoll_contract::status::PodStatus;
use ratatui::DefaultTerminal;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::{Source, rows};
use crate::args::TopArgs;
use crate::screen;
use crate::table::age;

/// What is on the screen.
struct Picture {
    pods: Vec<PodStatus>,
    /// When the pods were read.
    read: Timestamp,
    /// Why the last look failed.
    failure: Option<String>,
    /// First row shown.
    first: usize,
}

/// Shows until `q`, Esc or Ctrl-C; leaves the terminal as it was found.
pub(super) async fn run(source: &Source, args: &TopArgs, pods: Vec<PodStatus>) -> anyhow::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, source, args, pods).await;
    ratatui::try_restore()?;
    Ok(shown?)
}

async fn show(
    terminal: &mut DefaultTerminal,
    source: &Source,
    args: &TopArgs,
    pods: Vec<PodStatus>,
) -> io::Result<()> {
    let mut picture = Picture { pods, read: Timestamp::now(), failure: None, first: 0 };
    let mut keys = keyboard();
    let mut looks = tokio::time::interval(args.every.0);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = None;
    loop {
        let now = Timestamp::now();
        let rows = rows(&picture.pods, args, now);
        let title = format!("Plimsoll: {} pods", rows.len());
        terminal.draw(|frame| screen::draw(frame, &title, &rows, picture.first, &picture.status(now)))?;
        // A look that hangs must not hold up the keys: it is one more thing to wait for, and there is one at a time.
        tokio::select! {
            _ = looks.tick(), if look.is_none() => look = Some(Box::pin(source.pods())),
            answer = async { look.as_mut().expect("guarded: there is a look").await }, if look.is_some() => {
                look = None;
                picture.take(answer.map_err(|failure| failure.to_string()));
            }
            key = keys.recv() => match key {
                Some(Event::Key(key)) if ends(key) => return Ok(()),
                Some(Event::Key(key)) => picture.scroll(key, rows.len()),
                Some(_) => {}
                None => return Ok(()),
            }
        }
    }
}

impl Picture {
    fn take(&mut self, answer: Result<Vec<PodStatus>, String>) {
        match answer {
            Ok(pods) => *self = Picture { pods, read: Timestamp::now(), failure: None, first: self.first },
            Err(failure) => self.failure = Some(failure),
        }
    }

    fn status(&self, now: Timestamp) -> String {
        match &self.failure {
            Some(failure) => format!("{} old: {failure}", age(self.read, now)),
            None => "q: quit".to_owned(),
        }
    }

    fn scroll(&mut self, key: KeyEvent, rows: usize) {
        let last = rows.saturating_sub(1);
        self.first = match key.code {
            KeyCode::Up => self.first.saturating_sub(1),
            KeyCode::Down => self.first + 1,
            KeyCode::PageUp => self.first.saturating_sub(10),
            KeyCode::PageDown => self.first + 10,
            KeyCode::Home => 0,
            KeyCode::End => last,
            _ => self.first,
        }
        .min(last);
    }
}

fn ends(key: KeyEvent) -> bool {
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

/// Reads the terminal in a thread of its own, which ends when nobody listens any more.
fn keyboard() -> mpsc::Receiver<Event> {
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
