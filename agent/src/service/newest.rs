//! The newest values on their way from the engine's task to whoever publishes them: the last one alone counts, so
//! nobody waits and nothing piles up.

use std::sync::Arc;

use tokio::sync::watch;

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
}

impl Share {
    /// With nothing in it yet.
    pub fn new() -> (Self, Reader, Moment) {
        let (sender, reader) = watch::channel(Arc::default());
        let (moment, at) = watch::channel(Now::default());
        (Self { sender, moment, spare: None }, reader, at)
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
        self.spare = Some(self.sender.send_replace(Arc::new(next)));
    }
}
