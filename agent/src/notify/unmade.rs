//! The place of a channel that cannot be made yet: a secret or a certificate is not there at the start. What it is to
//! tell waits for it in the outbox, the other channels say so, and making it is tried again and again.

use super::channel::{Channel, Route, SendError, Sending};
use crate::alert::Alert;
use std::fmt;
use std::sync::Arc;

/// Tries once more to make the channel of this name; reads files. None: it is no longer enabled.
pub type Again = Arc<dyn Fn(&str) -> Result<Option<Route>, String> + Send + Sync>;

/// The place.
#[derive(Clone)]
pub struct Unmade {
    /// Name of the channel.
    pub name: &'static str,
    /// Why it cannot be made, a sentence.
    pub why: String,
    /// How to try again; it stays as it is without.
    pub again: Option<Again>,
}

impl fmt::Debug for Unmade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unmade({}: {})", self.name, self.why)
    }
}

impl Unmade {
    /// Tries once more.
    ///
    /// # Errors
    /// A sentence: why not.
    pub fn make(&self) -> Result<Route, String> {
        let again = self.again.as_ref().ok_or_else(|| self.why.clone())?;
        let gone = || format!("alerting.{} is no longer enabled in the configuration; reload it", self.name);
        again(self.name)?.ok_or_else(gone)
    }
}

impl Channel for Unmade {
    fn name(&self) -> &'static str {
        self.name
    }

    fn send<'a>(&'a self, _: &'a Alert, _: &'a str) -> Sending<'a> {
        Box::pin(async { Err(SendError::barred(self.why.clone())) })
    }
}
