//! Who makes an answer: one at a time.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Makes the answers of a port, and the pages of its lists, one at a time, in the order in which they were asked for. Whatever is
/// asked for by however many clients, it costs one thread, and a report waits for the core behind one of them at most.
#[derive(Debug, Clone, Default)]
pub(crate) struct OneAtATime(Arc<Mutex<()>>);

impl OneAtATime {
    /// To be held while an answer or a page is made, and not while it is sent.
    pub(super) async fn permit(&self) -> OwnedMutexGuard<()> {
        self.0.clone().lock_owned().await
    }
}
