//! Whether disks call themselves healthy.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Disk;
use crate::host::Host;
use crate::host::aside::{Answer, Aside};
use crate::host::health::{self, Kind, Reading};
use crate::time::Now;

/// How long a disk may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Threads that hang on disks at most; while all do, no other disk is asked.
const MAX_STUCK: usize = 4;

/// Asks them, aside.
#[derive(Debug)]
pub(super) struct Asker(Aside<io::Result<Reading>>);

impl Default for Asker {
    fn default() -> Self {
        Self(Aside::new("smart", MAX_STUCK))
    }
}

impl Asker {
    /// Adds to each disk what it says; nothing where it sleeps, has nothing to say or may not be asked.
    pub(super) fn fill(&mut self, host: &dyn Host, disks: &mut [Disk], now: Now) {
        let shared = host.shared();
        for disk in disks {
            let Some(kind) = Kind::of(host, &disk.name) else { continue };
            let (host, name) = (Arc::clone(&shared), disk.name.clone());
            let answer =
                self.0.ask(&disk.name, now, PATIENCE, move || health::ask(host.as_ref(), &name, kind));
            if let Answer::Done(Ok(Reading::Told(health))) = answer {
                disk.smart_healthy = health.is_healthy();
            }
        }
    }
}
