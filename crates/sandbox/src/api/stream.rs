//! A watch over HTTP: JSON lines from a subscription, bookmarks, a timeout, and the faults of open watches.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use super::answer::{Body, View};
use super::faults::{Fault, Faults};
use super::route::Target;
use super::state::EventKind;
use super::status::ApiError;
use super::watch::Subscription;

/// Maximum number of events in one frame.
const FRAME: usize = 128;

/// The parameters of an open watch.
pub(super) struct Watch {
    pub(super) view: View,
    pub(super) target: Target,
    pub(super) user: String,
    pub(super) faults: Faults,
    pub(super) subscription: Subscription,
    /// Objects to send as ADDED first.
    pub(super) initial: VecDeque<Arc<Value>>,
    /// The version of the bookmark at the end of `initial`, if one is wanted.
    pub(super) initial_end: Option<u64>,
    pub(super) bookmark_every: Option<Duration>,
    pub(super) ends: Instant,
}

struct OpenWatch {
    watch: Watch,
    bookmarks: Option<Interval>,
    /// Whether the next table must have its column definitions.
    columns: bool,
    ended: bool,
}

impl Watch {
    /// The body of the answer.
    pub(super) fn into_body(self) -> Body {
        let bookmarks = self.bookmark_every.map(|every| {
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let open = OpenWatch { watch: self, bookmarks, columns: true, ended: false };
        let frames = stream::unfold(open, |mut open| async move {
            let bytes = open.next_frame().await?;
            Some((Ok::<_, Infallible>(Frame::data(bytes)), open))
        });
        StreamBody::new(frames).boxed_unsync()
    }
}

impl OpenWatch {
    /// The next frame; `None` at the end.
    async fn next_frame(&mut self) -> Option<Bytes> {
        let mut script = self.watch.faults.changes();
        while !self.ended {
            match self.watch.faults.for_open_watch(&self.watch.target, &self.watch.user) {
                None => {}
                Some(Fault::Silence) => std::future::pending().await,
                Some(Fault::Expire) => return Some(self.end_with(&ApiError::too_old(0, 1))),
                Some(_) => return None,
            }
            let initial = self.initial_frame();
            if !initial.is_empty() {
                return Some(initial.into());
            }
            let bookmark = async {
                match &mut self.bookmarks {
                    Some(ticks) => drop(ticks.tick().await),
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                biased;
                // the faults are checked again
                _ = script.changed() => continue,
                event = self.watch.subscription.next() => Some(event),
                () = sleep_until(self.watch.ends) => {
                    self.ended = true;
                    None
                }
                () = bookmark => None,
            };
            match event {
                Some(Err(error)) => return Some(self.end_with(&error)),
                Some(Ok(first)) => {
                    let mut out = Vec::new();
                    self.write(&mut out, first.kind, &first.object);
                    for _ in 1..FRAME {
                        // An error is returned again by the next call.
                        let Ok(Some(event)) = self.watch.subscription.try_next() else { break };
                        self.write(&mut out, event.kind, &event.object);
                    }
                    return Some(out.into());
                }
                // A bookmark, also at the end, if nothing is waiting.
                None if self.bookmarks.is_some() => {
                    if let Some(version) = self.watch.subscription.bookmark() {
                        let mut out = Vec::new();
                        line(&mut out, "BOOKMARK", &self.watch.view.bookmark(version, false));
                        return Some(out.into());
                    }
                }
                None => {}
            }
        }
        None
    }

    /// The next objects that existed before, and the bookmark after the last of them.
    fn initial_frame(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..FRAME {
            let Some(object) = self.watch.initial.pop_front() else { break };
            self.write(&mut out, EventKind::Added, &object);
        }
        if self.watch.initial.is_empty()
            && let Some(version) = self.watch.initial_end.take()
        {
            line(&mut out, "BOOKMARK", &self.watch.view.bookmark(version, true));
        }
        out
    }

    fn write(&mut self, out: &mut Vec<u8>, kind: EventKind, object: &Arc<Value>) {
        let kind = match kind {
            EventKind::Added => "ADDED",
            EventKind::Modified => "MODIFIED",
            EventKind::Deleted => "DELETED",
        };
        line(out, kind, &self.watch.view.one(object, self.columns));
        self.columns = false;
    }

    fn end_with(&mut self, error: &ApiError) -> Bytes {
        self.ended = true;
        let mut out = Vec::new();
        line(&mut out, "ERROR", &error.to_status());
        out.into()
    }
}

fn line(out: &mut Vec<u8>, kind: &str, object: &Value) {
    out.extend_from_slice(format!("{{\"type\":{kind:?},\"object\":").as_bytes());
    // Writing a value to memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, object);
    out.extend_from_slice(b"}\n");
}
