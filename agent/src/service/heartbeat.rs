//! The tasks that send signs of life, one for each place, so that one that hangs costs the others nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::newest::{Fare, Fares};
use super::outlets::Outlets;
use crate::config::Config;
use crate::host::{Host, clock, read_text};
use crate::notify::heartbeat::{Health, Heart, Whose};
use crate::notify::{Notifier, Stats};
use crate::publish::pace;
use crate::time::{Now, SECOND};

/// Between two tries to make it.
const AGAIN: Duration = Duration::from_secs(15);
/// What the last word gets.
const LAST_WORD: Duration = Duration::from_secs(2);
/// Without new values for so long, nanoseconds, the engine stands still. The slowest collectors read every five minutes.
const STANDSTILL_NS: u64 = 600 * SECOND;

/// For how long a loss of kernel events is told, nanoseconds.
const LOSS_NS: u64 = 300 * SECOND;

/// What is asked how the agent does.
#[derive(Clone)]
pub(super) struct Pulse {
    /// Whose it is.
    pub(super) whose: Whose,
    /// The uptime of the host.
    pub(super) host: Arc<dyn Host>,
    /// Alerts and their ways.
    pub(super) notifier: Notifier,
    /// When there were new values.
    pub(super) fares: Fares,
    /// What goes out besides alerts.
    pub(super) outlets: Outlets,
}

/// Beats as the newest of `hearts` says until `stop`.
pub(super) async fn follow(
    mut hearts: watch::Receiver<Option<Arc<Heart>>>,
    pulse: Pulse,
    stop: CancellationToken,
) {
    loop {
        let heart = hearts.borrow_and_update().clone();
        let beating = async {
            match &heart {
                Some(heart) => beat(heart, &pulse, &stop).await,
                None => stop.cancelled().await,
            }
        };
        tokio::select! {
            biased;
            () = changed(&mut hearts) => {}
            () = beating => return,
        }
    }
}

/// Tries again to make what could not be made at the start, until it can or a reload has brought it.
pub(super) async fn make_late(
    read: impl Fn() -> Result<Config, String> + Send + Sync + 'static,
    hearts: watch::Sender<Option<Arc<Heart>>>,
    stop: CancellationToken,
) {
    let read = Arc::new(read);
    while hearts.borrow().is_none() {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep(AGAIN) => {}
        }
        let read = Arc::clone(&read);
        // What it needs are files, on a disk that may hang.
        let made = spawn_blocking(move || read().and_then(|config| Heart::web(&config))).await;
        match made {
            Ok(Ok(made)) => {
                hearts.send_if_modified(|heart| {
                    let is_late = heart.is_none() && made.is_some();
                    if is_late {
                        *heart = made.map(Arc::new);
                        tracing::info!("alerting.heartbeat: what it needs is there, it begins");
                    }
                    is_late
                });
                return;
            }
            Ok(Err(why)) => tracing::debug!("alerting.heartbeat: {why}"),
            Err(_) => return,
        }
    }
}

async fn changed(hearts: &mut watch::Receiver<Option<Arc<Heart>>>) {
    if hearts.changed().await.is_err() {
        // Nobody is left who could change it.
        pending::<()>().await;
    }
}

/// Beats until `stop`; then says so.
pub(super) async fn beat(heart: &Heart, pulse: &Pulse, stop: &CancellationToken) {
    let place = pace::hash(&pulse.whose.agent_id);
    let (mut failing, mut pause) = (false, Duration::ZERO);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = sleep(pause) => {}
        }
        let health = pulse.health().await;
        let done = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            done = heart.beat(&pulse.whose, pulse.uptime_secs(), &health, clock::now()) => done,
        };
        match &done {
            Ok(()) if failing => tracing::info!("heartbeats arrive again"),
            Err(error) if !failing => tracing::warn!("a heartbeat did not arrive: {error}"),
            _ => {}
        }
        failing = done.is_err();
        pause = pace::until_next(place, heart.pace, clock::now().wall_ns);
    }
    // Whoever listens then knows that this silence is meant; without it, it is an alarm.
    let last = heart.beat(&pulse.whose, pulse.uptime_secs(), &Health::Stopping, clock::now());
    let _ = timeout(LAST_WORD, last).await;
}

impl Pulse {
    async fn health(&self) -> Health {
        let mut reasons = troubles(&self.notifier.stats().await);
        reasons.extend(self.outlets.troubles());
        let Fare { at, failing, lost } = self.fares.borrow().clone();
        reasons.extend(losses(&lost, clock::now()));
        reasons.extend(blind(&failing));
        if at.mono_ns > 0 && clock::now().since(at) > STANDSTILL_NS {
            reasons.push("no new readings for ten minutes".to_owned());
        }
        Health::Running(reasons)
    }

    fn uptime_secs(&self) -> u64 {
        let text = read_text(self.host.as_ref(), "/proc/uptime").unwrap_or_default();
        text.split(['.', ' ']).next().and_then(|secs| secs.parse().ok()).unwrap_or_default()
    }
}

/// What is not read; names of our own collectors only.
fn blind(failing: &BTreeSet<&'static str>) -> impl Iterator<Item = String> {
    failing.iter().map(|name| format!("the collector {name} fails"))
}

/// Where kernel events were lost lately; names of our own parts only.
fn losses(lost: &BTreeMap<&'static str, u64>, now: Now) -> impl Iterator<Item = String> {
    let recent = lost.iter().filter(move |(_, at_ns)| now.mono_ns.saturating_sub(**at_ns) < LOSS_NS);
    recent.map(|(part, _)| format!("kernel events were lost within the last five minutes ({part})"))
}

/// What of the way out does not work; names of the configuration only, no text from outside.
fn troubles(stats: &Stats) -> Vec<String> {
    let outbox = stats.outbox.trouble.as_ref().map(|_| "alerts are in memory only".to_owned());
    let failing = stats.channels.iter().filter(|channel| channel.failing > 0);
    let failing = failing.map(|channel| format!("alerts do not reach {}", channel.name));
    let refusing = stats.channels.iter().filter(|channel| channel.refusing > 0);
    let refusing = refusing.map(|channel| format!("{} refused alerts for good", channel.name));
    outbox.into_iter().chain(failing).chain(refusing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::stats::ChannelStats;

    #[test]
    fn who_is_degraded_says_why() {
        let mut stats = Stats::default();
        let name = |stats: &Stats| Health::Running(troubles(stats)).name();
        assert_eq!(name(&stats), "healthy");
        let channel = |failing| ChannelStats { name: "slack".into(), failing, ..ChannelStats::default() };
        stats.channels = vec![channel(0), channel(1)];
        stats.channels[0].refusing = 1;
        stats.outbox.trouble = Some("cannot write to /x: no space".into());
        assert_eq!(name(&stats), "degraded");
        let reasons =
            ["alerts are in memory only", "alerts do not reach slack", "slack refused alerts for good"];
        assert_eq!(troubles(&stats), reasons);
        assert_eq!(Health::Stopping.name(), "stopping");
    }

    #[test]
    fn losses_of_kernel_events_are_told_for_minutes() {
        use crate::event::{Event, Lost, Source, What};
        let (mut share, _reader, fares) = crate::service::newest::Share::new();
        let at = |secs| Now::default().plus_secs(secs);
        let mut lose = |secs, historic, part, reason| {
            let what = What::Lost(Lost { part, count: 7, reason });
            share.note_loss(&Event { at: at(secs), source: Source::Kmsg, historic, what });
        };
        let told = |secs| losses(&fares.borrow().lost, at(secs)).collect::<Vec<_>>();
        lose(1000, false, "block_io", "kernel_rate_limit");
        lose(1000, true, "kmsg", "overwritten");
        assert_eq!(told(1000), [""; 0], "left out on purpose, or before there was an agent");
        lose(1000, false, "kmsg", "overwritten");
        let kmsg = "kernel events were lost within the last five minutes (kmsg)";
        assert_eq!((told(1000), told(1299), told(1300)), (vec![kmsg.into()], vec![kmsg.into()], vec![]));
        lose(1200, false, "ebpf", "buffer_full");
        lose(1250, false, "kmsg", "overwritten");
        assert_eq!(told(1499), [kmsg.replace("kmsg", "ebpf"), kmsg.into()]);
        assert_eq!(Health::Running(told(1499)).name(), "degraded");
    }

    #[test]
    fn who_does_not_see_everything_says_what() {
        assert_eq!(blind(&BTreeSet::new()).count(), 0);
        let expect = ["the collector docker fails", "the collector redis fails"];
        assert_eq!(blind(&BTreeSet::from(["redis", "docker"])).collect::<Vec<_>>(), expect);
    }
}
