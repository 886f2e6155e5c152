//! Scripted misbehavior: what the server does wrong, to which requests, how often.
//!
//! Rules are tried in the order they were made; the first that matches and has turns left decides. Rules for running watches
//! take effect on those already open.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::route::{Target, Verb};

/// What the server does wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answers this status code without doing anything, with `Retry-After` in seconds when given.
    Answer {
        /// The status code.
        code: u16,
        /// Seconds for the `Retry-After` header.
        retry_after: Option<u64>,
    },
    /// Waits, then does what was asked.
    Delay(Duration),
    /// Waits, then closes the connection; does nothing.
    Hang(Duration),
    /// Does what was asked, then closes the connection instead of answering.
    LoseAnswer,
    /// Closes the connection; does nothing.
    Drop,
    /// Forgets the log first, so that a watch, a continue token or an exact version from before gets its 410.
    Compact,
    /// A watch, open or new, says nothing more, not even a bookmark, and stays open.
    Silence,
    /// An open watch gets a 410 as ERROR event, and ends.
    Expire,
    /// An open watch ends.
    Close,
}

impl Fault {
    fn is_for_open_watches(&self) -> bool {
        matches!(self, Self::Silence | Self::Expire | Self::Close)
    }
}

/// Which requests a fault is for. Everything not named matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matching {
    verb: Option<Verb>,
    resource: Option<String>,
    subresource: Option<Option<String>>,
    name: Option<String>,
    user: Option<String>,
    only_writes: bool,
}

impl Matching {
    /// Every request for a resource.
    pub fn any() -> Self {
        Self::default()
    }

    /// Every request that changes something.
    pub fn writes() -> Self {
        Self { only_writes: true, ..Self::default() }
    }

    /// Only this verb.
    pub fn verb(mut self, verb: Verb) -> Self {
        self.verb = Some(verb);
        self
    }

    /// Only this resource type, by its plural; with or without subresource.
    pub fn resource(mut self, plural: &str) -> Self {
        self.resource = Some(plural.to_owned());
        self
    }

    /// Only this subresource.
    pub fn subresource(mut self, subresource: &str) -> Self {
        self.subresource = Some(Some(subresource.to_owned()));
        self
    }

    /// Only the object itself, none of its subresources.
    pub fn no_subresource(mut self) -> Self {
        self.subresource = Some(None);
        self
    }

    /// Only the object of this name.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Only requests of this user.
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    fn matches(&self, verb: Verb, target: &Target, user: &str) -> bool {
        let is = |wanted: &Option<String>, got: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == got)
        };
        self.verb.is_none_or(|wanted| wanted == verb)
            && (!self.only_writes || verb.writes())
            && is(&self.resource, Some(&target.resource.plural))
            && self.subresource.as_ref().is_none_or(|wanted| *wanted == target.subresource)
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

/// A rule's number, to ask how often it fired or to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultId(usize);

/// The faults of one server. A cheap handle.
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

    /// The next `times` matching requests go wrong.
    pub fn next(&self, times: usize, matching: Matching, fault: Fault) -> FaultId {
        self.add(Some(times), matching, fault)
    }

    /// Every matching request goes wrong until the rule is cleared.
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

    /// Ends one rule.
    pub fn remove(&self, id: FaultId) {
        self.lock().rules.retain(|rule| rule.id != id.0);
    }

    /// Ends all rules.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// How often a rule fired; 0 once it was removed.
    pub fn fired(&self, id: FaultId) -> usize {
        self.lock().rules.iter().find(|rule| rule.id == id.0).map_or(0, |rule| rule.fired)
    }

    /// What to do wrong with a request.
    pub(super) fn for_request(&self, verb: Verb, target: &Target, user: &str) -> Option<Fault> {
        self.take(verb, target, user, |fault| !fault.is_for_open_watches())
    }

    /// What to do wrong with an open watch.
    pub(super) fn for_open_watch(&self, target: &Target, user: &str) -> Option<Fault> {
        self.take(Verb::Watch, target, user, Fault::is_for_open_watches)
    }

    fn take(&self, verb: Verb, target: &Target, user: &str, kind: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut script = self.lock();
        let rule = script.rules.iter_mut().find(|rule| {
            kind(&rule.fault) && rule.left != Some(0) && rule.matching.matches(verb, target, user)
        })?;
        rule.fired += 1;
        rule.left = rule.left.map(|left| left - 1);
        Some(rule.fault.clone())
    }

    /// Wakes when a rule was added.
    pub(super) fn changes(&self) -> watch::Receiver<usize> {
        self.changed.subscribe()
    }
}
