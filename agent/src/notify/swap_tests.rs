use super::super::channel::{Channel, SendError, Sending};
use super::super::ledger::MAX_ALERTS;
use super::super::limit::Limits;
use super::super::stats::ChannelStats;
use super::super::tests::alert;
use super::super::{Notifier, Outbox, Templates};
use super::*;
use crate::alert::{Alert, Severity, Status};
use crate::config::Config;
use crate::time::Now;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

static AHEAD: AtomicU64 = AtomicU64::new(1000);
/// Stands still unless a test moves it.
fn clock() -> Now {
    Now::default().plus_secs(AHEAD.load(Ordering::Relaxed))
}

/// Answers once for each permit: takes the message, or fails.
struct Gate {
    name: &'static str,
    answers: Semaphore,
    takes: bool,
    got: Mutex<Vec<String>>,
}

impl Gate {
    fn new(name: &'static str, permits: usize, takes: bool) -> Arc<Self> {
        Arc::new(Self { name, answers: Semaphore::new(permits), takes, got: Mutex::default() })
    }
}

struct Through(Arc<Gate>);
impl Channel for Through {
    fn name(&self) -> &'static str {
        self.0.name
    }
    fn send<'a>(&'a self, alert: &'a Alert, _: &'a str) -> Sending<'a> {
        Box::pin(async {
            self.0.got.lock().unwrap().push(alert.id.clone());
            self.0.answers.acquire().await.unwrap().forget();
            if self.0.takes { Ok(()) } else { Err(SendError::retry("down")) }
        })
    }
}

fn route(gate: &Arc<Gate>) -> Route {
    Route::new(Arc::new(Through(Arc::clone(gate))))
}

fn options() -> Options {
    let templates = Arc::new(Templates::of(&Config::default()).unwrap());
    Options { hostname: "h".into(), limits: Limits::OFF, templates, seed: 1 }
}

fn start(dir: &Path, gates: &[&Arc<Gate>]) -> Notifier {
    let (outbox, found) = Outbox::open(dir, clock());
    let routes = gates.iter().map(|gate| route(gate)).collect();
    Notifier::start(options(), (outbox, &found), routes, clock).0
}

fn firing(id: &str) -> Arc<Alert> {
    Arc::new(alert(id, Severity::Warn, Status::Firing))
}

async fn until<T>(what: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..12_000 {
        if let Some(found) = what().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not come");
}

async fn stats(notifier: &Notifier, name: &str, wanted: impl Fn(&ChannelStats) -> bool) -> ChannelStats {
    let found = async || {
        notifier.stats().await.channels.into_iter().find(|stats| stats.name == name && wanted(stats))
    };
    until(found).await
}

#[tokio::test]
async fn a_full_outbox_goes_to_the_others_when_its_channel_is_taken_out() {
    let dir = tempfile::tempdir().unwrap();
    let slack = Gate::new("slack", usize::MAX >> 4, false);
    let notifier = start(dir.path(), &[&slack]);
    let surplus = 50;
    for first in (0..MAX_ALERTS + surplus).step_by(500) {
        let last = (first + 500).min(MAX_ALERTS + surplus);
        assert!(notifier.accept((first..last).map(|n| firing(&n.to_string())).collect()).await);
    }
    let full = stats(&notifier, "slack", |stats| stats.queued == MAX_ALERTS as u64).await;
    assert_eq!((full.delivered, full.lost), (0, surplus as u64), "the oldest, and they are counted");
    // Another address: everything still waits.
    let renewed = notifier.swap(options(), vec![route(&slack)], Vec::new()).await;
    assert_eq!(renewed, ["slack"]);
    stats(&notifier, "slack", |stats| stats.queued == MAX_ALERTS as u64).await;
    // Another channel in its place.
    AHEAD.fetch_add(600, Ordering::Relaxed);
    let ntfy = Gate::new("ntfy", usize::MAX >> 4, true);
    notifier.swap(options(), vec![route(&ntfy)], Vec::new()).await;
    let told = stats(&notifier, "ntfy", |stats| stats.queued == 0 && stats.delivered > 0).await;
    assert_eq!((told.delivered, told.collapsed), (1, MAX_ALERTS as u64));
    assert_eq!(ntfy.got.lock().unwrap().len(), 1, "one message tells them");
    assert_eq!(notifier.drain(Duration::from_secs(30)).await, 0);
    let (outbox, _) = Outbox::open(dir.path(), clock());
    assert!(outbox.ledger.iter().all(|(_, entry)| entry.due.is_empty()));
}

#[tokio::test]
async fn the_end_of_a_message_of_a_channel_that_was_taken_out_counts_for_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Gate::new("webhook", 0, true), Gate::new("webhook", 0, false));
    let notifier = start(dir.path(), &[&old]);
    let sent =
        |gate: &Arc<Gate>, id: &str| gate.got.lock().unwrap().iter().any(|got| got == id).then_some(());
    notifier.accept(vec![firing("a")]).await;
    until(async || sent(&old, "a")).await;
    // Taken out while it hangs, and put back: what comes next is under way to another address.
    notifier.swap(options(), Vec::new(), Vec::new()).await;
    notifier.swap(options(), vec![route(&new)], Vec::new()).await;
    notifier.accept(vec![firing("b")]).await;
    until(async || sent(&new, "b")).await;
    old.answers.add_permits(1);
    until(async || (old.answers.available_permits() == 0).then_some(())).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let webhook = stats(&notifier, "webhook", |_| true).await;
        assert_eq!((webhook.queued, webhook.delivered), (1, 0), "b has not been taken by anybody");
    }
    new.answers.add_permits(1);
    let webhook = stats(&notifier, "webhook", |stats| stats.failing == 1).await;
    assert_eq!((webhook.queued, webhook.delivered), (1, 0));
}
