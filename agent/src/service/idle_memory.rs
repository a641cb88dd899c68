//! What the agent's own process holds of memory and needs no more goes back to the kernel.

use std::time::Duration;

use crate::host::{heap, program};

/// When all that is done once has been done: probes, first passes, first connections.
const STARTED: Duration = Duration::from_secs(15);
/// Between two looks at how much is resident: one small file each.
const PAUSE: Duration = Duration::from_secs(10);
/// So much more than is needed is worth the work of finding what is empty, a millisecond. Less than a storm of alerts takes, more
/// than an ordinary hour does.
const WORTH: u64 = 2 << 20;

/// Once, a while after the start, what only that needed; and after each storm what that needed.
pub(super) async fn give_back() {
    tokio::time::sleep(STARTED).await;
    drop_code();
    heap::give_back();
    let (mut own, mut code) = (Needed::default(), Needed::default());
    loop {
        tokio::time::sleep(PAUSE).await;
        let Ok(resident) = program::resident() else { return };
        if own.is_exceeded(resident.own) {
            heap::give_back();
            own = program::resident().map_or(own, |resident| Needed(Some(resident.own)));
        }
        if code.is_exceeded(resident.of_files) {
            drop_code();
        }
    }
}

fn drop_code() {
    if let Err(error) = program::drop_code() {
        tracing::debug!("code that runs no more stays in memory: {error}");
    }
}

/// The least that was resident at a look, bytes: what is in use.
#[derive(Clone, Copy, Debug, Default)]
struct Needed(Option<u64>);

impl Needed {
    /// Whether so much more is `resident` that memory is to be given back.
    fn is_exceeded(&mut self, resident: u64) -> bool {
        let least = self.0.map_or(resident, |least| least.min(resident));
        self.0 = Some(least);
        resident - least > WORTH
    }
}

#[cfg(test)]
mod tests {
    use super::Needed;

    #[test]
    fn what_was_resident_at_least_is_needed() {
        let mut needed = Needed::default();
        let mib = [28, 30, 27, 29, 30, 28, 31];
        assert_eq!(
            mib.map(|mib| needed.is_exceeded(mib << 20)),
            [false, false, false, false, true, false, true]
        );
        assert!(!Needed::default().is_exceeded(u64::MAX));
    }
}
