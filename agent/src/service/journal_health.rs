//! How the following of the journal stands, as metrics: whether it delivers, and what of it could not be used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::collect::{CollectError, Collector};
use crate::host::Host;
use crate::metric::metrics;
use crate::sample::Samples;
use crate::watch::journal::state::{Standing, State};

metrics! {
    UP: Gauge Count "journal_up" []
        "1 while journalctl delivers the journal, 0 while it should and does not; absent where nobody is to be heard.", "the agent";
    STARTS: Counter Count "journal_starts_total" [] "Starts of journalctl.", "the agent";
    ENTRIES: Counter Count "journal_entries_total" [] "Entries of the journal that were read.", "journalctl";
    UNREADABLE: Counter Count "journal_unreadable_total" [] "Lines that are no entries, or too long for one.", "journalctl";
    DOUBTED: Counter Count "journal_doubted_total" []
        "Announcements of kills by earlyoom that are part of a victim's command line; they are no kills.", "journalctl";
}

/// How often it is told.
pub(super) const PACE: Duration = Duration::from_secs(30);

/// Reads the state.
pub(super) struct JournalHealth(pub(super) Arc<State>);

impl Collector for JournalHealth {
    fn collect(&mut self, _: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        match self.0.standing() {
            Standing::Up => out.put(&UP, &[], 1.0),
            Standing::Down | Standing::Starting => out.put(&UP, &[], 0.0),
            Standing::Idle => {}
        }
        let mut count = |metric, count: &AtomicU64| out.put(metric, &[], count.load(Relaxed) as f64);
        count(&STARTS, &self.0.starts);
        count(&ENTRIES, &self.0.entries);
        count(&UNREADABLE, &self.0.unreadable);
        count(&DOUBTED, &self.0.doubted);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    #[test]
    fn it_is_up_only_while_it_delivers() {
        let state = Arc::new(State::default());
        let mut bench = Bench::new("", JournalHealth(Arc::clone(&state)));
        bench.pass().unwrap();
        assert!(!bench.has("journal_up"));
        state.stands(Standing::Up);
        for (at, count) in
            [&state.starts, &state.entries, &state.unreadable, &state.doubted].into_iter().enumerate()
        {
            count.store(at as u64 + 2, Relaxed);
        }
        bench.pass().unwrap();
        bench.expect(&[
            ("journal_up", 1.0),
            ("journal_starts_total", 2.0),
            ("journal_entries_total", 3.0),
            ("journal_unreadable_total", 4.0),
            ("journal_doubted_total", 5.0),
        ]);
        for down in [Standing::Starting, Standing::Down] {
            state.stands(down);
            bench.pass().unwrap();
            bench.expect(&[("journal_up", 0.0)]);
        }
    }
}
