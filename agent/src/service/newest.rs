//! The newest values on their way from the engine's task to whoever publishes them: the last one alone counts, so
//! nobody waits and nothing piles up.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use crate::collect::CollectError;
use crate::collect::runner::Health;
use crate::engine::Engine;
use crate::sample::newest::Newest;
use crate::time::Now;

/// For readers: [`watch::Receiver::borrow`] gives the newest.
pub type Reader = watch::Receiver<Arc<Newest>>;

/// The moment of the newest values, for whoever asks no more than whether there are any.
pub type Moment = watch::Receiver<Now>;

/// The engine's end.
#[derive(Debug)]
pub struct Share {
    sender: watch::Sender<Arc<Newest>>,
    moment: watch::Sender<Now>,
    /// The one before, for its buffer.
    spare: Option<Arc<Newest>>,
    /// Collectors that fail.
    failing: BTreeSet<&'static str>,
}

impl Share {
    /// With nothing in it yet.
    pub fn new() -> (Self, Reader, Moment) {
        let (sender, reader) = watch::channel(Arc::default());
        let (moment, at) = watch::channel(Now::default());
        (Self { sender, moment, spare: None, failing: BTreeSet::new() }, reader, at)
    }

    /// Takes note of how a collector does. What the host has not, or the agent may not read, is no failure: it was so from
    /// the start, and `doctor` tells of it.
    pub fn note(&mut self, Health { collector, result }: &Health) {
        if matches!(result, Err(CollectError::Read { .. } | CollectError::Parse { .. })) {
            self.failing.insert(collector);
        } else {
            self.failing.remove(collector);
        }
    }

    /// Hands on how things stand at `now`.
    pub fn refresh(&mut self, engine: &Engine, now: Now) {
        self.moment.send_replace(now);
        // Nothing is published.
        if self.sender.is_closed() {
            return;
        }
        // Somebody may still read the one before; then this one gets a buffer of its own.
        let mut next = self.spare.take().and_then(Arc::into_inner).unwrap_or_default();
        engine.newest(now, &mut next);
        next.put_failing(self.failing.iter().copied());
        self.spare = Some(self.sender.send_replace(Arc::new(next)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_fails_only_at_what_is_there_and_open() {
        let (mut share, _reader, _moment) = Share::new();
        let (path, why) = (|| "/x".to_owned(), || "it does not answer".to_owned());
        let mut check = |result, expect: &[&str]| {
            share.note(&Health { collector: "redis", result });
            assert_eq!(share.failing.iter().copied().collect::<Vec<_>>(), expect);
        };
        check(Ok(()), &[]);
        check(Err(CollectError::Read { path: path(), error: why() }), &["redis"]);
        check(Err(CollectError::Absent { path: path() }), &[]);
        check(Err(CollectError::Parse { path: path(), why: why() }), &["redis"]);
        check(Err(CollectError::Denied { path: path(), needs: "root" }), &[]);
        check(Err(CollectError::Parse { path: path(), why: why() }), &["redis"]);
        check(Ok(()), &[]);
    }
}
