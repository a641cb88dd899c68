//! What the agent's own process holds of memory and needs no more goes back to the kernel.

use std::time::Duration;

use crate::host::{heap, program};

/// When all that is done once has been done: probes, first passes, first connections.
const STARTED: Duration = Duration::from_secs(15);
/// Between two looks at how much is resident: one small file each.
const PAUSE: Duration = Duration::from_secs(10);
/// So much more than at the best look is worth the work of finding what is empty: a millisecond, and the code that runs is mapped
/// again. Less than a storm of alerts takes, more than an ordinary hour does.
const WORTH: u64 = 2 << 20;

/// Once, a while after the start, what only that needed; and after each storm what that needed.
pub(super) async fn give_back() {
    tokio::time::sleep(STARTED).await;
    let mut least = Least::default();
    drop_what_is_idle();
    loop {
        tokio::time::sleep(PAUSE).await;
        let Ok(resident) = program::resident() else { return };
        if least.is_worth(resident) {
            drop_what_is_idle();
        }
    }
}

fn drop_what_is_idle() {
    heap::give_back();
    if let Err(error) = program::drop_code() {
        tracing::debug!("code that runs no more stays in memory: {error}");
    }
}

/// The least that was resident at a look since memory was given back.
#[derive(Debug, Default)]
struct Least(Option<u64>);

impl Least {
    /// Whether so much more is `resident`, bytes, that memory is to be given back now. The look after that begins anew: it sees
    /// what is in use.
    fn is_worth(&mut self, resident: u64) -> bool {
        let least = self.0.map_or(resident, |least| least.min(resident));
        let is_worth = resident - least > WORTH;
        self.0 = (!is_worth).then_some(least);
        is_worth
    }
}

#[cfg(test)]
mod tests {
    use super::Least;

    #[test]
    fn memory_is_given_back_once_for_each_growth() {
        let mut least = Least::default();
        let mib = [28, 27, 28, 29, 30, 31, 32, 33, 34, 40, 39];
        let given: Vec<bool> = mib.iter().map(|mib| least.is_worth(mib << 20)).collect();
        let at: Vec<u64> = mib.iter().zip(given).filter_map(|(mib, is)| is.then_some(*mib)).collect();
        assert_eq!(at, [30, 34]);
        assert!(!Least::default().is_worth(u64::MAX));
    }
}
