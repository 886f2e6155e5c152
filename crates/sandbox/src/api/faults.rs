//! Scripted faults: which requests fail, how, and how often.
//!
//! Rules are tried in the order in which they were added; the first that matches and is not used up applies. Rules for open
//! watches apply also to those that are open already.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::route::{Target, Verb};

/// A fault of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this status code and does nothing else.
    Answer {
        /// The status code.
        code: u16,
        /// The `Retry-After` header, in seconds.
        retry_after: Option<u64>,
    },
    /// Waits, then performs the request.
    Delay(Duration),
    /// Waits, then closes the connection without performing the request.
    Hang(Duration),
    /// Performs the request, then closes the connection without an answer.
    LoseAnswer,
    /// Closes the connection without performing the request.
    Drop,
    /// A watch, open or new, sends nothing more, not even bookmarks, and stays open.
    Silence,
    /// An open watch ends with a 410 as ERROR event.
    Expire,
    /// An open watch ends.
    Close,
}

impl Fault {
    fn is_for_open_watches(&self) -> bool {
        matches!(self, Self::Silence | Self::Expire | Self::Close)
    }
}

/// The requests that a fault applies to. By default all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matching {
    verb: Option<Verb>,
    resource: Option<String>,
    name: Option<String>,
    user: Option<String>,
    path: Option<String>,
    only_writes: bool,
}

impl Matching {
    /// Every request for a resource.
    pub fn any() -> Self {
        Self::default()
    }

    /// Every write.
    pub fn writes() -> Self {
        Self { only_writes: true, ..Self::default() }
    }

    /// Only this verb.
    pub fn verb(mut self, verb: Verb) -> Self {
        self.verb = Some(verb);
        self
    }

    /// Only this resource type, by its plural; subresources included.
    pub fn resource(mut self, plural: &str) -> Self {
        self.resource = Some(plural.to_owned());
        self
    }

    /// Only the object with this name.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Only requests of this user.
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// Only this path, which is not one of a resource.
    pub fn path(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    fn matches_path(&self, path: &str, user: &str) -> bool {
        self.path.as_deref() == Some(path) && self.user.as_deref().is_none_or(|wanted| wanted == user)
    }

    fn matches(&self, verb: Verb, target: &Target, user: &str) -> bool {
        let is = |wanted: &Option<String>, got: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == got)
        };
        self.path.is_none()
            && self.verb.is_none_or(|wanted| wanted == verb)
            && (!self.only_writes || verb.writes())
            && is(&self.resource, Some(&target.resource.plural))
            && is(&self.name, target.name.as_deref())
            && is(&self.user, Some(user))
    }
}

#[derive(Debug)]
struct Rule {
    id: usize,
    matching: Matching,
    fault: Fault,
    left: Option<usize>,
    fired: usize,
}

#[derive(Debug, Default)]
struct Script {
    rules: Vec<Rule>,
    next_id: usize,
}

/// Identifies a rule, to query how often it was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultId(usize);

/// The faults of one server. Clones share them.
#[derive(Debug, Clone)]
pub struct Faults {
    script: Arc<Mutex<Script>>,
    changed: Arc<watch::Sender<usize>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { script: Arc::default(), changed: Arc::new(watch::Sender::new(0)) }
    }
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `times` matching requests fail.
    pub fn next(&self, times: usize, matching: Matching, fault: Fault) -> FaultId {
        self.add(Some(times), matching, fault)
    }

    /// Every matching request fails until the rules are cleared.
    pub fn always(&self, matching: Matching, fault: Fault) -> FaultId {
        self.add(None, matching, fault)
    }

    fn add(&self, left: Option<usize>, matching: Matching, fault: Fault) -> FaultId {
        let mut script = self.lock();
        let id = script.next_id;
        script.next_id += 1;
        script.rules.push(Rule { id, matching, fault, left, fired: 0 });
        drop(script);
        self.changed.send_modify(|count| *count += 1);
        FaultId(id)
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// How often a rule was applied; 0 after it was removed.
    pub fn fired(&self, id: FaultId) -> usize {
        self.lock().rules.iter().find(|rule| rule.id == id.0).map_or(0, |rule| rule.fired)
    }

    /// The fault of a request, if any.
    pub(super) fn for_request(&self, verb: Verb, target: &Target, user: &str) -> Option<Fault> {
        self.apply(|rule| !rule.fault.is_for_open_watches() && rule.matching.matches(verb, target, user))
    }

    /// The fault of a request for a path that is not one of a resource, if any.
    pub(super) fn for_path(&self, path: &str, user: &str) -> Option<Fault> {
        self.apply(|rule| rule.matching.matches_path(path, user))
    }

    /// The fault of an open watch, if any.
    pub(super) fn for_open_watch(&self, target: &Target, user: &str) -> Option<Fault> {
        self.apply(|rule| {
            rule.fault.is_for_open_watches() && rule.matching.matches(Verb::Watch, target, user)
        })
    }

    fn apply(&self, applies: impl Fn(&Rule) -> bool) -> Option<Fault> {
        let mut script = self.lock();
        let rule = script.rules.iter_mut().find(|rule| rule.left != Some(0) && applies(rule))?;
        rule.fired += 1;
        rule.left = rule.left.map(|left| left - 1);
        Some(rule.fault.clone())
    }

    /// Notifies when a rule is added.
    pub(super) fn changes(&self) -> watch::Receiver<usize> {
        self.changed.subscribe()
    }
}
