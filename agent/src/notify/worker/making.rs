//! Channels that could not be made at the start are tried again, aside: their secrets and certificates are files.

use super::Worker;
use crate::notify::channel::Route;
use crate::notify::ledger::Slot;
use crate::notify::unmade::Unmade;
use crate::time::Now;
use std::sync::Arc;
use tokio::task::JoinError;

/// Whose, of which place, and what came of it.
pub(super) type Attempt = (Slot, Arc<Unmade>, Result<Route, String>);

impl Worker {
    /// If the channel is not made yet: when it is tried again, nanoseconds of the monotonic clock.
    pub(super) fn make(&mut self, index: usize, now: Now) -> Option<u64> {
        let lane = &self.lanes[index];
        let (slot, unmade) = self.unmade.iter().find(|(slot, _)| *slot == lane.slot)?;
        if !self.making.is_empty() {
            // One after the other; the end of that one wakes the worker.
            return Some(u64::MAX);
        }
        if now.mono_ns >= lane.ready_ns() {
            let (slot, unmade) = (*slot, Arc::clone(unmade));
            self.making.spawn_blocking(move || {
                let made = unmade.make();
                (slot, unmade, made)
            });
            return Some(u64::MAX);
        }
        Some(lane.ready_ns())
    }

    /// Takes in how that went.
    pub(super) fn tried(&mut self, attempt: Result<Attempt, JoinError>) {
        let Ok((slot, place, made)) = attempt else {
            // A panic in there: the same would happen again.
            return self.unmade.clear();
        };
        let Some(index) = self.lanes.iter().position(|lane| lane.slot == slot) else { return };
        // A reload meanwhile has brought another configuration: this one is of no use.
        let is_it = |(of, unmade): &(Slot, Arc<Unmade>)| *of == slot && Arc::ptr_eq(unmade, &place);
        let Some(at) = self.unmade.iter().position(is_it) else { return };
        match made {
            Ok(route) => {
                self.unmade.remove(at);
                self.lanes[index].renew(&route);
                self.lanes[index].made();
                self.channels[index] = route.channel;
                self.share();
                self.resume(index);
            }
            Err(why) => self.lanes[index].not_made((self.clock)(), &why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::alert;
    use super::super::super::{Notifier, Options, Outbox, Templates};
    use super::*;
    use crate::alert::{Alert, Severity, Status};
    use crate::config::Config;
    use crate::notify::channel::{Channel, Sending};
    use crate::notify::limit::Limits;
    use crate::notify::stats::ChannelStats;
    use crate::notify::unmade::Again;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Duration;

    static AHEAD: AtomicU64 = AtomicU64::new(1000);
    /// Stands still unless the test moves it.
    fn clock() -> Now {
        Now::default().plus_secs(AHEAD.load(Ordering::Relaxed))
    }

    struct Taker(&'static str, Arc<Mutex<Vec<String>>>);
    impl Channel for Taker {
        fn name(&self) -> &'static str {
            self.0
        }
        fn send<'a>(&'a self, alert: &'a Alert, _: &'a str) -> Sending<'a> {
            Box::pin(async {
                self.1.lock().unwrap().push(alert.id.clone());
                Ok(())
            })
        }
    }

    /// Asks, which wakes the worker, too, until it is so.
    async fn until(notifier: &Notifier, wanted: impl Fn(&ChannelStats) -> bool) -> ChannelStats {
        for _ in 0..2000 {
            let stats = notifier.stats().await.channels.remove(0);
            if wanted(&stats) {
                return stats;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{:?}", notifier.stats().await);
    }

    #[tokio::test]
    async fn what_waits_for_a_channel_that_cannot_be_made_is_told_once_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let got: Arc<Mutex<Vec<String>>> = Arc::default();
        let taker = |name, files| Route { files, ..Route::new(Arc::new(Taker(name, Arc::clone(&got)))) };
        let is_there = Arc::new(AtomicBool::new(false));
        let (made, there) = (taker("webhook", 7), Arc::clone(&is_there));
        let again: Again = Arc::new(move |_| {
            if there.load(Ordering::Relaxed) { Ok(Some(made.clone())) } else { Err("still not".into()) }
        });
        let unmade = Unmade { name: "webhook", why: "/k cannot be read".into(), again: Some(again) };
        let place = Route { unmade: Some(unmade.clone()), ..Route::new(Arc::new(unmade)) };
        let templates = Arc::new(Templates::of(&Config::default()).unwrap());
        let options = Options { hostname: "h".into(), limits: Limits::OFF, templates, seed: 1 };
        let (outbox, found) = Outbox::open(dir.path(), clock());
        let (notifier, _) =
            Notifier::start(options.clone(), (outbox, &found), vec![place, taker("slack", 0)], clock);
        assert!(notifier.accept(vec![Arc::new(alert("a", Severity::Warn, Status::Firing))]).await);
        let stats = until(&notifier, |stats| stats.queued == 1).await;
        assert_eq!((stats.failing, stats.last_error.as_deref()), (1, Some("/k cannot be read")));
        AHEAD.fetch_add(10, Ordering::Relaxed);
        let stats = until(&notifier, |stats| stats.failing == 2).await;
        assert_eq!((stats.queued, stats.last_error.as_deref()), (1, Some("still not")));
        is_there.store(true, Ordering::Relaxed);
        AHEAD.fetch_add(20, Ordering::Relaxed);
        let stats = until(&notifier, |stats| stats.delivered == 1).await;
        assert_eq!((stats.failing, stats.queued), (0, 0));
        assert_eq!(*got.lock().unwrap(), ["a", "a"], "the other one was told at once");
        // A reload: the same keys, and one has another file.
        let same = vec!["webhook", "slack"];
        let again =
            notifier.swap(options.clone(), vec![taker("webhook", 7), taker("slack", 0)], same.clone());
        assert!(again.await.is_empty());
        let renewed = notifier.swap(options, vec![taker("webhook", 8), taker("slack", 0)], same).await;
        assert_eq!(renewed, ["webhook"]);
    }
}
