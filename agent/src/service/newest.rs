//! The newest values on their way from the engine's task to whoever publishes them: the last one alone counts, so
//! nobody waits and nothing piles up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;

use crate::collect::CollectError;
use crate::collect::runner::Health;
use crate::engine::Engine;
use crate::engine::compose::lost;
use crate::event::{Event, What};
use crate::sample::newest::Newest;
use crate::time::Now;

/// For readers: [`watch::Receiver::borrow`] gives the newest.
pub type Reader = watch::Receiver<Arc<Newest>>;

/// For whoever asks no more than how the readings fare.
pub type Fares = watch::Receiver<Fare>;

/// How the readings fare.
#[derive(Clone, Debug, Default)]
pub struct Fare {
    /// When there were new ones.
    pub at: Now,
    /// Collectors that fail.
    pub failing: BTreeSet<&'static str>,
    /// When kernel events were lost for the last time, in parts of which that is an alert, monotonic nanoseconds.
    pub lost: BTreeMap<&'static str, u64>,
}

/// The engine's end.
#[derive(Debug)]
pub struct Share {
    sender: watch::Sender<Arc<Newest>>,
    fare: watch::Sender<Fare>,
    /// The one before, for its buffer.
    spare: Option<Arc<Newest>>,
}

impl Share {
    /// With nothing in it yet.
    pub fn new() -> (Self, Reader, Fares) {
        let (sender, reader) = watch::channel(Arc::default());
        let (fare, fares) = watch::channel(Fare::default());
        (Self { sender, fare, spare: None }, reader, fares)
    }

    /// Takes note of how a collector does. What the host has not, or the agent may not read, is no failure: it was so from
    /// the start, and `doctor` tells of it.
    pub fn note(&mut self, Health { collector, result }: &Health) {
        let fails = matches!(result, Err(CollectError::Read { .. } | CollectError::Parse { .. }));
        self.fare.send_if_modified(|fare| {
            if fails { fare.failing.insert(collector) } else { fare.failing.remove(collector) }
        });
    }

    /// Takes note of a loss that an event tells.
    pub fn note_loss(&mut self, event: &Event) {
        if let What::Lost(lost) = &event.what
            && !event.historic
            && lost::is_trouble(lost)
        {
            self.fare.send_modify(|fare| {
                let at_ns = fare.lost.entry(lost.part).or_default();
                *at_ns = event.at.mono_ns.max(*at_ns);
            });
        }
    }

    /// Hands on how things stand at `now`.
    pub fn refresh(&mut self, engine: &Engine, now: Now) {
        self.fare.send_modify(|fare| fare.at = now);
        // Nothing is published.
        if self.sender.is_closed() {
            return;
        }
        // Somebody may still read the one before; then this one gets a buffer of its own.
        let mut next = self.spare.take().and_then(Arc::into_inner).unwrap_or_default();
        engine.newest(now, &mut next);
        self.spare = Some(self.sender.send_replace(Arc::new(next)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_fails_only_at_what_is_there_and_open() {
        let (mut share, _reader, fares) = Share::new();
        let (path, why) = (|| "/x".to_owned(), || "it does not answer".to_owned());
        let mut check = |result, expect: &[&str]| {
            share.note(&Health { collector: "redis", result });
            assert_eq!(fares.borrow().failing.iter().copied().collect::<Vec<_>>(), expect);
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
