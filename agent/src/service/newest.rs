//! The newest values on their way from the engine's task to whoever publishes them: the last one alone counts, so
//! nobody waits and nothing piles up.

use std::sync::Arc;

use tokio::sync::watch;

use crate::engine::Engine;
use crate::sample::newest::Newest;
use crate::time::Now;

/// For readers: [`watch::Receiver::borrow`] gives the newest.
pub type Reader = watch::Receiver<Arc<Newest>>;

/// The engine's end.
#[derive(Debug)]
pub struct Share {
    sender: watch::Sender<Arc<Newest>>,
    /// The one before, for its buffer.
    spare: Option<Arc<Newest>>,
}

impl Share {
    /// With nothing in it yet.
    pub fn new() -> (Self, Reader) {
        let (sender, reader) = watch::channel(Arc::default());
        (Self { sender, spare: None }, reader)
    }

    /// Hands on how things stand at `now`.
    pub fn refresh(&mut self, engine: &Engine, now: Now) {
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
