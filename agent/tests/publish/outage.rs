//! An hour without a server, put through in seconds: its metrics at their pace on a clock of its own, and hundreds of alerts.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_nats::Message;
use sysops_agent::time::SECOND;

use super::alerts::{alert, only_nats, start};
use super::*;

/// Seconds between two rounds, on the clock below.
const INTERVAL_SECS: u64 = 30;
/// Rounds of an hour.
const ROUNDS: u64 = 120;
const ALERTS_A_ROUND: usize = 3;
/// Series of a small host.
const SERIES: usize = 624;
/// The server comes back to hundreds of messages, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// How far the clock below is ahead, seconds.
static AHEAD: AtomicU64 = AtomicU64::new(0);

fn fast() -> Now {
    let (now, ahead) = (clock::now(), AHEAD.load(Relaxed) * SECOND);
    Now { mono_ns: now.mono_ns + ahead, wall_ns: now.wall_ns + ahead as i64 }
}

/// What the spool has on disk.
fn on_disk(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
}

async fn patiently(what: &str, mut yes: impl AsyncFnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !yes().await {
        assert!(begin.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn config(url: &str, home: &Path, compression: bool) -> Config {
    let mut config = nats(url);
    (config.nats.jetstream, config.nats.compression) = (true, compression);
    only_nats(&mut config, home);
    config
}

/// What the stream holds in the end.
#[derive(Default)]
struct Arrived {
    /// Numbers of alerts, in order.
    alerts: Vec<usize>,
    /// Rounds in order, and how many series of each.
    rounds: Vec<(u64, usize)>,
    /// When the first and the last of them were read.
    moments: Vec<jiff::Timestamp>,
    /// Messages and bytes of their bodies.
    metrics: (usize, usize),
    alert_bytes: usize,
}

impl Arrived {
    fn of(messages: &[Message]) -> Self {
        let mut all = Self::default();
        for message in messages {
            let (body, _) = json(message);
            if message.subject.ends_with(".alerts") {
                let id = body["id"].as_str().and_then(|id| id.strip_prefix("oom-")).expect("one of ours");
                all.alerts.push(id.parse().expect("a number"));
                all.alert_bytes += message.payload.len();
                continue;
            }
            all.metrics = (all.metrics.0 + 1, all.metrics.1 + message.payload.len());
            all.moments.push(body["timestamp"].as_str().and_then(|at| at.parse().ok()).expect("a moment"));
            for value in values(&body) {
                match all.rounds.last_mut() {
                    Some((round, series)) if *round == value => *series += 1,
                    _ => all.rounds.push((value, 1)),
                }
            }
        }
        all
    }
}

/// The hour; the spool may take so many bytes.
async fn hour(compression: bool, limit: u64) {
    let Some(mut server) = Server::start("jetstream { store_dir: STORE }") else { return };
    make_stream(&server.client().await, 2 * 3600).await;
    let home = tempfile::tempdir().expect("a directory");
    let spool: PathBuf = home.path().join("spool");
    let config = config(&server.url(), home.path(), compression);
    let terms = Terms { limit, ..terms(&config, &spool) };
    let mut bench = Bench::start_at(&config, terms, fast).await;
    let (mut notifier, mut worker) = start(&config, home.path(), fast);
    let mut alerts = 0;
    let mut peak = 0;
    let mut each = async |bench: &mut Bench, notifier: &sysops_agent::notify::Notifier| {
        for _ in 0..ALERTS_A_ROUND {
            assert!(notifier.accept(vec![alert(alerts)]).await, "on disk");
            alerts += 1;
        }
        bench.tell(SERIES).await;
        AHEAD.fetch_add(INTERVAL_SECS, Relaxed);
        peak = on_disk(&spool).max(peak);
        alerts
    };
    let before = each(&mut bench, &notifier).await as u64;
    let per_round = SERIES.div_ceil(config.nats.batch_size) as u64;
    patiently("the first round", async || stored(&server.client().await).await == before + per_round).await;
    server.kill();
    for _ in 0..ROUNDS {
        each(&mut bench, &notifier).await;
    }
    let dropped = bench.state.dropped_metrics.load(Relaxed);
    let waited = bench.waiting();
    server.again();
    let client = server.client().await;
    // While all of it goes out the agent is killed: what it had told and not marked goes again.
    patiently("some alerts", async || stored(&client).await >= before + per_round + 50).await;
    worker.abort();
    drop(notifier);
    let _ = worker.await;
    (notifier, worker) = start(&config, home.path(), fast);
    let alerts = each(&mut bench, &notifier).await;
    patiently("the spool is empty", async || bench.waiting() == 0).await;
    assert_eq!(notifier.drain(PATIENCE).await, 0);
    let _ = worker.await;
    let kept = bench.told - dropped;
    patiently("all of it", async || stored(&client).await >= kept * per_round + alerts as u64).await;
    let arrived = Arrived::of(&replay(&client).await);
    println!(
        "zstd {compression}: an hour away, {waited} rounds of {SERIES} series waited, {dropped} dropped; spool at most {peak} of \
         {limit} bytes; {} alerts of {} bytes; {} messages of metrics of {} bytes, {} bytes an hour",
        arrived.alerts.len(),
        arrived.alert_bytes / arrived.alerts.len().max(1),
        arrived.metrics.0,
        arrived.metrics.1 / arrived.metrics.0.max(1),
        arrived.metrics.1 as u64 * ROUNDS / kept
    );
    bench.judge(&arrived, alerts, dropped);
    assert!(peak <= limit, "{peak} bytes on disk");
    bench.stop().await;
}

impl Bench {
    fn judge(&self, arrived: &Arrived, alerts: usize, dropped: u64) {
        assert_eq!(arrived.alerts, (0..alerts).collect::<Vec<_>>(), "each once and in order");
        // The first was delivered before the outage; of the others the oldest went.
        let expect: Vec<(u64, usize)> = (1..=self.told)
            .filter(|round| *round == 1 || *round > 1 + dropped)
            .map(|r| (r, SERIES))
            .collect();
        assert_eq!(arrived.rounds, expect, "whole, each once and in order; {dropped} were dropped");
        assert!(arrived.moments.is_sorted());
        let span = arrived.moments.last().expect("some").duration_since(arrived.moments[0]);
        assert!(span.as_secs() >= (ROUNDS * INTERVAL_SECS) as i64, "{span:?}");
    }
}

#[tokio::test]
async fn an_hour_away_with_room_and_without() {
    hour(true, 64 << 20).await;
    hour(false, 64 << 20).await;
    hour(false, 2 << 20).await;
}
