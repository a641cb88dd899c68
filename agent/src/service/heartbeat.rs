//! The tasks that send signs of life, one for each place, so that one that hangs costs the others nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::host::{Host, clock, read_text};
use crate::notify::Notifier;
use crate::notify::heartbeat::{Health, Heart};

/// What the last word gets.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Beats until `stop`; then says so.
pub(super) fn start(
    hearts: Vec<Heart>,
    hostname: &str,
    host: &Arc<dyn Host>,
    notifier: &Notifier,
    stop: &CancellationToken,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for heart in hearts {
        let (host, notifier, stop) = (Arc::clone(host), notifier.clone(), stop.clone());
        tasks.spawn(beat(heart, hostname.to_owned(), host, notifier, stop));
    }
    tasks
}

async fn beat(heart: Heart, name: String, host: Arc<dyn Host>, notifier: Notifier, stop: CancellationToken) {
    let mut ticks = interval(heart.pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let stats = notifier.stats().await;
        let bad = stats.outbox.trouble.is_some() || stats.channels.iter().any(|channel| channel.failing > 0);
        let health = if bad { Health::Degraded } else { Health::Healthy };
        let done = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            done = heart.beat(&name, uptime_secs(host.as_ref()), health, clock::now()) => done,
        };
        match &done {
            Ok(()) if failing => tracing::info!("heartbeats arrive again"),
            Err(error) if !failing => tracing::warn!("a heartbeat did not arrive: {error}"),
            _ => {}
        }
        failing = done.is_err();
    }
    // Whoever listens then knows that this silence is meant; without it, it is an alarm.
    let _ = timeout(LAST_WORD, heart.beat(&name, uptime_secs(host.as_ref()), Health::Stopping, clock::now()))
        .await;
}

fn uptime_secs(host: &dyn Host) -> u64 {
    let text = read_text(host, "/proc/uptime").unwrap_or_default();
    text.split(['.', ' ']).next().and_then(|secs| secs.parse().ok()).unwrap_or_default()
}
