//! Lists and watches, as kube does them, in smaller pages where the objects are large.

use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use kube::Api;
use kube::runtime::watcher::{Config, Error, Event, watcher};

use crate::object::{Content, Object};
use crate::response::is_too_large;

struct State<T> {
    api: Api<Object<T>>,
    config: Config,
    events: BoxStream<'static, Result<Event<Object<T>>, Error>>,
}

/// kube's watcher. A page that is too large for us is asked for again with half as many objects: somebody with 500 pods of a megabyte must
/// not keep the others' from being listed. Only one object that is too large by itself is an error.
pub fn watch<T: Content>(
    api: Api<Object<T>>,
    config: Config,
) -> impl Stream<Item = Result<Event<Object<T>>, Error>> + Send {
    let state = State { events: watcher(api.clone(), config.clone()).boxed(), api, config };
    stream::unfold(state, |mut state| async {
        loop {
            let event = state.events.next().await?;
            match (&event, state.config.page_size) {
                (Err(Error::InitialListFailed(error)), Some(page @ 2..)) if is_too_large(error) => {
                    state.config.page_size = Some(page / 2);
                    state.events = watcher(state.api.clone(), state.config.clone()).boxed();
                }
                _ => return Some((event, state)),
            }
        }
    })
}

#[cfg(test)]
mod tests;
