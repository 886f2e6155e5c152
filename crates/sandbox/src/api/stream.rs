//! A watch over HTTP: JSON lines from a subscription, bookmarks, the end of its time, and the faults of open watches.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::watch as signal;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use super::answer::{Body, View};
use super::collection::EventKind;
use super::faults::{Fault, Faults};
use super::route::Target;
use super::status::ApiError;
use super::watch::{Event, Subscription};

/// Events written into one frame at most.
const FRAME: usize = 128;

/// Everything an open watch needs.
pub(super) struct Watch {
    pub(super) view: View,
    pub(super) target: Target,
    pub(super) user: String,
    pub(super) faults: Faults,
    pub(super) subscription: Subscription,
    /// Objects to send as ADDED first.
    pub(super) initial: VecDeque<Arc<Value>>,
    /// Whether a bookmark marks the end of `initial`, and at which version.
    pub(super) initial_end: Option<u64>,
    pub(super) bookmark_every: Option<Duration>,
    pub(super) ends: Instant,
}

struct Open {
    watch: Watch,
    script: signal::Receiver<usize>,
    ticks: Option<Interval>,
    columns: bool,
    ended: bool,
}

enum Step {
    Events(Result<Event, ApiError>),
    Bookmark,
    Script,
    TimeUp,
}

impl Watch {
    /// The body of the answer.
    pub(super) fn into_body(self) -> Body {
        let ticks = self.bookmark_every.map(|every| {
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let mut script = self.faults.changes();
        script.mark_changed();
        let open = Open { watch: self, script, ticks, columns: true, ended: false };
        let frames = stream::unfold(open, |mut open| async move {
            let bytes = open.next_frame().await?;
            Some((Ok::<_, Infallible>(Frame::data(bytes)), open))
        });
        StreamBody::new(frames).boxed_unsync()
    }
}

impl Open {
    async fn next_frame(&mut self) -> Option<Bytes> {
        loop {
            if self.ended {
                return None;
            }
            if self.script.has_changed().unwrap_or(false) {
                self.script.mark_unchanged();
                if let Some(bytes) = self.misbehave().await {
                    return Some(bytes);
                }
                continue;
            }
            if let Some(bytes) = self.initial_frame() {
                return Some(bytes);
            }
            if let Some(bytes) = self.step().await {
                return Some(bytes);
            }
        }
    }

    async fn misbehave(&mut self) -> Option<Bytes> {
        match self.watch.faults.for_open_watch(&self.watch.target, &self.watch.user)? {
            Fault::Silence => std::future::pending().await,
            Fault::Expire => Some(self.fail(&ApiError::too_old(0, 1))),
            _ => {
                self.ended = true;
                None
            }
        }
    }

    fn initial_frame(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        for _ in 0..FRAME {
            let Some(object) = self.watch.initial.pop_front() else {
                break;
            };
            self.write(&mut out, "ADDED", &object);
        }
        if self.watch.initial.is_empty()
            && let Some(version) = self.watch.initial_end.take()
        {
            line(&mut out, "BOOKMARK", &self.watch.view.bookmark(version, true));
        }
        (!out.is_empty()).then(|| Bytes::from(out))
    }

    async fn step(&mut self) -> Option<Bytes> {
        let tick = async {
            match &mut self.ticks {
                Some(ticks) => {
                    ticks.tick().await;
                }
                None => std::future::pending().await,
            }
        };
        let step = tokio::select! {
            biased;
            changed = self.script.changed() => {
                if changed.is_err() { Step::TimeUp } else { Step::Script }
            }
            event = self.watch.subscription.next() => Step::Events(event),
            () = sleep_until(self.watch.ends) => Step::TimeUp,
            () = tick => Step::Bookmark,
        };
        match step {
            Step::Events(Ok(event)) => Some(self.events(&event)),
            Step::Events(Err(error)) => Some(self.fail(&error)),
            Step::Bookmark => self.bookmark(),
            Step::Script => {
                self.script.mark_changed();
                None
            }
            Step::TimeUp => {
                self.ended = true;
                self.ticks.is_some().then(|| self.bookmark()).flatten()
            }
        }
    }

    fn events(&mut self, first: &Event) -> Bytes {
        let mut out = Vec::new();
        self.write_event(&mut out, first);
        for _ in 1..FRAME {
            // an error shows again at the next step
            let Ok(Some(event)) = self.watch.subscription.try_next() else {
                break;
            };
            self.write_event(&mut out, &event);
        }
        Bytes::from(out)
    }

    fn write_event(&mut self, out: &mut Vec<u8>, event: &Event) {
        let kind = match event.kind {
            EventKind::Added => "ADDED",
            EventKind::Modified => "MODIFIED",
            EventKind::Deleted => "DELETED",
        };
        self.write(out, kind, &event.object);
    }

    fn write(&mut self, out: &mut Vec<u8>, kind: &str, object: &Arc<Value>) {
        let shaped = self.watch.view.one(object, self.columns);
        self.columns = false;
        line(out, kind, &shaped);
    }

    fn bookmark(&mut self) -> Option<Bytes> {
        let version = self.watch.subscription.bookmark()?;
        let mut out = Vec::new();
        line(&mut out, "BOOKMARK", &self.watch.view.bookmark(version, false));
        Some(Bytes::from(out))
    }

    fn fail(&mut self, error: &ApiError) -> Bytes {
        self.ended = true;
        let mut out = Vec::new();
        line(&mut out, "ERROR", &error.to_status());
        Bytes::from(out)
    }
}

fn line(out: &mut Vec<u8>, kind: &str, object: &Value) {
    out.extend_from_slice(b"{\"type\":");
    out.extend_from_slice(json!(kind).to_string().as_bytes());
    out.extend_from_slice(b",\"object\":");
    // writing a value into memory cannot fail
    let _ = serde_json::to_writer(&mut *out, object);
    out.extend_from_slice(b"}\n");
}
