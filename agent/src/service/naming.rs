//! Names for the stacks of hung tasks, where `/proc/PID/stack` is closed to the agent. Looking them up takes a
//! tenth of a second: it is done aside, for all that wait at once.

use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};

use crate::ebpf::remedy::Circumstances;
use crate::event::{Event, Hang, What};
use crate::host::Host;
use crate::host::kallsyms::Symbols;

/// Hangs that wait at most; further ones are told without names.
const MAX_WAITING: usize = 256;

/// Hangs on their way.
pub(super) struct Naming {
    host: Arc<dyn Host>,
    /// Whether `/proc/PID/stack` may be read: then nobody has to wait.
    stacks_are_open: bool,
    waiting: Vec<Event>,
    job: Option<JoinHandle<(Symbols, Vec<Event>)>>,
    /// Names found so far: hung tasks have most of their stacks in common.
    symbols: Symbols,
}

impl Naming {
    pub(super) fn new(host: Arc<dyn Host>) -> Self {
        let stacks_are_open = Circumstances::of(host.as_ref()).sys_admin;
        Self { host, stacks_are_open, waiting: Vec::new(), job: None, symbols: Symbols::default() }
    }

    /// Keeps an event that wants names; gives back every other.
    pub(super) fn take(&mut self, event: Event) -> Option<Event> {
        if self.stacks_are_open
            || hang(&event).is_none_or(|hang| !hang.stack.is_empty() || hang.addresses.is_empty())
            || self.waiting.len() >= MAX_WAITING
        {
            return Some(event);
        }
        self.waiting.push(event);
        None
    }

    /// Waits for events that have got what names there are.
    pub(super) async fn named(&mut self) -> Vec<Event> {
        if self.job.is_none() && !self.waiting.is_empty() {
            let (host, events) = (Arc::clone(&self.host), std::mem::take(&mut self.waiting));
            let symbols = std::mem::take(&mut self.symbols);
            self.job = Some(spawn_blocking(move || name(host.as_ref(), symbols, events)));
        }
        let Some(job) = &mut self.job else { return std::future::pending().await };
        let (symbols, named) = job.await.unwrap_or_default();
        (self.job, self.symbols) = (None, symbols);
        named
    }

    /// What is still here at the end: the job under way is waited for, the others go without names.
    pub(super) async fn rest(&mut self) -> Vec<Event> {
        let mut rest = std::mem::take(&mut self.waiting);
        if self.job.is_some() {
            rest.append(&mut self.named().await);
        }
        rest
    }
}

/// Names the stacks; where the addresses are hidden they stay unknown.
fn name(host: &dyn Host, mut symbols: Symbols, mut events: Vec<Event>) -> (Symbols, Vec<Event>) {
    let addresses = events.iter().filter_map(hang).flat_map(|hang| hang.addresses.iter().copied());
    if let Err(error) = symbols.learn(host, addresses) {
        tracing::debug!("the stacks of hung tasks stay without names: {error}");
    }
    for event in &mut events {
        if let What::Hang(hang) = &mut event.what {
            hang.stack = symbols.stack(&hang.addresses);
            hang.conclude();
        }
    }
    (symbols, events)
}

fn hang(event: &Event) -> Option<&Hang> {
    if let What::Hang(hang) = &event.what { Some(hang) } else { None }
}
