//! The service: channels, tasks, threads, and the order in which they start and stop.
//!
//! ```text
//! collect thread ┐            engine task                delivery task
//! ebpf task      ├─ inbox ──► step(now, input) ─ outbound ─► outbox ─► one lane per channel
//! kmsg task      ┤             │                            └► positions in the logs
//! journal task   ┤             │
//! hangs thread ◄─┤── follow ◄──┘
//! inventory    ──┤             ├─ newest values ─► publishing to NATS, pushing to a collector
//! vitals task  ──┘             └─ history ─► its files, answers to `query`
//! ```
//!
//! Stopping goes the same way: sources end, the engine tells what it holds back, delivery writes it to
//! the outbox, and the channels get what is left of [`STOP_WITHIN`].

mod channels;
pub mod control;
pub mod delivery;
pub mod doctor;
mod endpoints;
pub mod features;
mod hangs;
mod heartbeat;
pub mod history;
mod idle_memory;
mod inventory;
mod journal;
pub mod journal_health;
mod kernel;
mod limits;
pub mod memory;
mod names;
mod namespaces;
#[cfg(feature = "ebpf")]
mod naming;
pub mod newest;
#[cfg(test)]
mod outage_tests;
mod outlets;
mod outward;
pub mod pidfile;
pub mod pipeline;
pub mod position;
#[cfg(feature = "nats")]
pub mod publish;
pub mod push;
pub mod query;
pub mod recording;
#[cfg(feature = "ebpf")]
mod refusals;
mod reload;
pub mod replay;
pub mod ship;
mod signals;
mod sources;
mod summary;
mod syslog;
pub mod systemd;
pub mod vitals;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Lack};
use crate::engine::board::Escalation;
use crate::engine::compose::Identity;
use crate::engine::quiet::maintenance;
use crate::engine::speak::Manners;
use crate::engine::{Engine, Settings, builtin, own};
use crate::host::live::LiveHost;
use crate::host::{Host, clock, read_text, state};
use crate::notify::{self, Notifier, Outbox, Recovered};
use crate::text::clean;
use crate::time::Now;
use crate::{edge, formulas};
use control::{About, Desk};
use delivery::Delivery;
use inventory::InventoryWatch;
use kernel::{Kernel, Places};
use memory::Memory;
use outward::{News, Outward};
use pipeline::{INBOX, OUTBOUND, Pipeline};
use position::{KmsgPlace, Position};
use reload::Reloader;
use signals::{Signal, Signals};
use vitals::Vitals;

/// Longest time between SIGTERM and the end.
pub const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Of that, what channels get to send what is left.
const LAST_SENDING: Duration = Duration::from_millis(3500);
/// How long to wait for an agent that was killed to let go of its outbox: its files stay open until the kernel has
/// taken its probes off, one grace period each.
const PREDECESSOR_SECS: u64 = 5;
/// Threads that may wait at once: seven for files on a disk that is dead, the others for names of servers.
const BLOCKING_THREADS: usize = 14;

/// What the agent was started with.
#[derive(Debug)]
pub struct Start {
    /// The configuration.
    pub config: Config,
    /// The file it came from; built-in defaults without one.
    pub file: Option<PathBuf>,
    /// Keys of channels whose values are not to be had yet.
    pub lacking: Vec<Lack>,
}

impl Start {
    /// Whether something of a section is not to be had yet.
    fn lacks(&self, section: &str) -> bool {
        self.lacking.iter().any(|lack| lack.key.starts_with(section))
    }
}

/// Runs the agent until it is told to stop. An error is a sentence.
pub fn run(start: Start) -> Result<(), String> {
    crate::host::heap::share();
    limits::raise_open_files();
    limits::no_core_dumps();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|e| format!("the runtime cannot be started: {e}"))?;
    runtime.spawn(idle_memory::give_back());
    let result = runtime.block_on(serve(start));
    // A thread that waits for a dead disk does not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

/// The host as the configuration wants it seen.
pub fn host(config: &Config) -> Arc<dyn Host> {
    let agent = &config.agent;
    let roots = [&agent.host_root, &agent.proc_root, &agent.sys_root].map(|p| p.to_string_lossy());
    Arc::new(LiveHost::new(&roots[0], &roots[1], &roots[2]))
}

/// Name the host is known by: the configured one, else the system's.
pub fn hostname(config: &Config, host: &dyn Host) -> String {
    if config.agent.hostname.is_empty() {
        clean(&host.uname().nodename, 255)
    } else {
        config.agent.hostname.clone()
    }
}

async fn serve(start: Start) -> Result<(), String> {
    let mut signals = Signals::install().map_err(|e| format!("signals cannot be handled: {e}"))?;
    let config = &start.config;
    let host = host(config);
    let now = clock::now();
    let identity = identity(config, host.as_ref());
    let _pid_file = pid_file(&config.agent.pid_file);
    let outward = Outward::of(&start, &identity.hostname, host.as_ref());

    let data_dir = &config.agent.data_dir;
    let (outbox, found) = open_outbox(data_dir, now).await;
    let (kmsg_position, told) = Position::<KmsgPlace>::open(data_dir, &identity.boot_id);
    let kmsg = told.map(|place| place.mark);
    let (journal_position, journal) = Position::open(data_dir, &identity.boot_id);
    let (syslog_position, syslog) = Position::open(data_dir, position::ANY_BOOT);
    let past = history::open(config, identity.boot_id.clone(), now);
    let mut kernel = Kernel::open(config, &host, Places { kmsg, journal, syslog })?;
    let mut engine = Engine::new(settings(config, identity.clone(), kernel.witnesses()), now);
    let (memory, kept) = Memory::open(data_dir);
    if let Some(kept) = kept {
        engine.resume(kept, now);
    }
    let past = history::opened(past, &mut engine).await;
    engine.remember(found.recent.iter().map(AsRef::as_ref), now);
    told.and_then(|place| place.kills).into_iter().for_each(|kills| engine.resume_counting(kills));

    let (notifier, worker) = notifier(&start, &identity, (outbox, &found))?;
    let stop = CancellationToken::new();
    let (inbox, messages) = mpsc::channel(INBOX);
    let (outbound, outputs) = mpsc::channel(OUTBOUND);
    let (mut extra, tasks) = (kernel.collectors(config, host.as_ref()), kernel.sleepers(config, &host));
    extra.extend(outward.collectors());
    let features = [&[doctor::privileges(host.as_ref())], kernel.features()].concat();
    let witnesses = kernel.witnesses();
    let sources = kernel.start(&host, &inbox, &stop);
    let file = start.file.as_ref().map_or("built-in defaults".to_owned(), |f| f.display().to_string());
    let about =
        About { hostname: identity.hostname.clone(), config: file, features: features.clone(), start: now };
    let outlets = outward.outlets();
    let (keeps, asks) = mpsc::channel(1);
    let desk = Arc::new(Desk { about, inbox: inbox.clone(), notifier: notifier.clone(), outlets, keeps });
    let control = control_socket(data_dir, Arc::clone(&desk), &stop);
    let (newest, values, fares) = newest::Share::new();
    let (endpoints, closed) = endpoints::start(
        config,
        outward.about(config, host.as_ref()),
        host.as_ref(),
        values.clone(),
        desk,
        &stop,
    )?;
    let (shown, inventory) = tokio::sync::watch::channel(None);
    let heart = outward.heart();
    let outward = outward.start(config, &host, &notifier, &News { values, fares, inventory }, &stop);
    let (keeper, troubles) = history::start(config, past, (&identity.boot_id, now), &inbox, &stop);
    let reloader = Reloader {
        file: start.file.clone(),
        config: config.clone(),
        identity,
        witnesses,
        inbox: inbox.clone(),
        notifier: notifier.clone(),
        heart,
        nats_is_late: start.lacks("nats."),
    };
    let hangs =
        hangs::HangWatch::start(config.ebpf.dstate_watch_secs, Arc::clone(&host), tasks, inbox.clone())
            .map_err(|e| format!("the thread that watches hung tasks cannot be started: {e}"))?;
    let inventory = InventoryWatch::start(config, Arc::clone(&host), inbox.clone(), shown)
        .map_err(|e| format!("the inventory thread cannot be started: {e}"))?;
    let collectors = sources::Collectors::start(config, Arc::clone(&host), extra, inbox.clone())
        .map_err(|e| format!("the collector thread cannot be started: {e}"))?;
    let vitals = Vitals::of(&collectors.progress, inbox, &outbound, &notifier, troubles, closed).start(&stop);

    let first_round = summary::first_round(&start, &host, features, collectors.count);
    let spares = collectors.spares.clone();
    let (inbox, first_round, stopped) = (messages, Some(first_round), stop.clone());
    let (follow, health, newest) = (hangs.asks.clone(), BTreeMap::new(), Some(newest));
    let pipeline =
        Pipeline { engine, inbox, stop: stopped, outbound, spares, follow, health, first_round, newest };
    let pipeline = tokio::spawn(pipeline.run());
    let delivery = Delivery::new(notifier, kmsg_position, journal_position, syslog_position, memory);
    let delivery = tokio::spawn(delivery.run(outputs, asks));

    Box::pin(obey(&mut signals, reloader)).await;
    systemd::stopping();
    tracing::info!("stopping");
    stop.cancel();
    let threads =
        [Some(collectors.stop()), Some(hangs.stop()), inventory.map(InventoryWatch::stop), endpoints];
    let ended = timeout(STOP_WITHIN, async {
        let _ = tokio::join!(sources, pipeline, control, vitals, keeper, outward.join_all());
        last_sending(delivery).await;
        let _ = worker.await;
    });
    if ended.await.is_err() {
        tracing::warn!(
            "not everything ended within {} s; what was accepted is in the outbox",
            STOP_WITHIN.as_secs()
        );
    }
    join(threads.into_iter().flatten());
    Ok(())
}

/// Reloads as often as it is told to, until it is told to stop.
async fn obey(signals: &mut Signals, mut reloader: Reloader) {
    while signals.next().await == Signal::Reload {
        tokio::select! {
            () = reloader.reload() => {}
            () = signals.stop() => break,
        }
    }
    // Here the reloader goes: the engine ends when nobody can send it anything any more.
}

/// Channels get a last while to send what is left.
async fn last_sending(delivery: JoinHandle<Notifier>) {
    let Ok(notifier) = delivery.await else { return };
    let left = notifier.drain(LAST_SENDING).await;
    if left > 0 {
        tracing::warn!("{left} alerts are not delivered yet; they stay in the outbox for the next start");
    }
}

/// Takes in those that have ended; one that hangs is left behind.
fn join(threads: impl Iterator<Item = std::thread::JoinHandle<()>>) {
    for thread in threads.filter(std::thread::JoinHandle::is_finished) {
        let name = thread.thread().name().unwrap_or_default().to_owned();
        if thread.join().is_err() {
            tracing::error!("the thread {name} had panicked");
        }
    }
}

/// Begins to answer on the control socket. Without one the agent runs all the same.
fn control_socket(data_dir: &Path, desk: Arc<Desk>, stop: &CancellationToken) -> JoinHandle<()> {
    // Where systemd made a directory for it, else beside the agent's files.
    let dir = edge::runtime_dir().unwrap_or_else(|| data_dir.to_owned());
    let stop = stop.clone();
    match control::listen(&dir) {
        Ok(listener) => tokio::spawn(control::serve(desk, listener, stop)),
        Err(problem) => {
            tracing::warn!("{problem}");
            tokio::spawn(async {})
        }
    }
}

fn identity(config: &Config, host: &dyn Host) -> Identity {
    let boot_id = read_text(host, "/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
    let labels: BTreeMap<String, String> = config.agent.labels.clone();
    Identity { hostname: hostname(config, host), zone: TimeZone::system(), boot_id, labels }
}

/// What shapes the engine, as the configuration says.
pub fn settings(
    config: &Config,
    identity: Identity,
    witnesses: crate::engine::incident::Witnesses,
) -> Settings {
    let alerting = &config.alerting;
    let (mut rules, mut absences) = own::rules(&alerting.rules, &edge::is_count);
    rules.extend(builtin::rules(&config.thresholds));
    let first = crate::collect::enabled(config).next();
    absences.extend(first.map(|entry| {
        builtin::collecting(crate::collect::runner::SERIES.name, (entry.pace)(config).as_secs())
    }));
    Settings {
        known: names::known(config),
        labels: names::labels(config),
        identity,
        rules,
        absences,
        maintenance: maintenance::windows(&alerting.maintenance),
        escalation: Escalation {
            critical_after: alerting.escalation.warn_to_critical_after,
            emergency_after_mins: alerting.escalation.critical_to_emergency_after_mins,
        },
        manners: Manners {
            min_interval_secs: alerting.min_interval_secs,
            dedup_secs: crate::alert::Severity::ALL.map(|s| alerting.dedup_window_secs.of(s)),
            group_secs: if alerting.grouping.enabled { alerting.grouping.window_secs } else { 0 },
            recovery: alerting.recovery.enabled,
            join_ends: alerting.recovery.notify_once,
        },
        witnesses,
        warmup_secs: alerting.state_warmup_secs,
        history_capacity: config.storage.ring_buffer_capacity,
        formulas: formulas::FORMULAS,
        analysis: builtin::analysis(&config.analyzer),
        rooms: formulas::ROOMS,
        disks: builtin::disk_policy(config),
        oom_counter: crate::collect::vmstat::OOM_KILLS.name,
    }
}

/// The outbox in `data_dir`; in memory where that cannot be written.
async fn open_outbox(data_dir: &Path, now: Now) -> (Outbox, Recovered) {
    // What is wrong with the directory is in the outbox's own warning.
    let _ = state::usable_dir(data_dir);
    let (mut outbox, mut found) = Outbox::open(data_dir, now);
    let patience = now.plus_secs(PREDECESSOR_SECS).mono_ns;
    while found.in_use && clock::now().mono_ns < patience {
        tokio::time::sleep(Duration::from_millis(50)).await;
        (outbox, found) = Outbox::open(data_dir, clock::now());
    }
    // The notifier says what is wrong when it first wants to write.
    if let Some(warning) = &found.warning {
        tracing::debug!("{warning}");
    }
    if found.torn > 0 {
        tracing::warn!("the outbox had {} damaged places; everything around them was kept", found.torn);
    }
    if found.undelivered > 0 {
        tracing::info!("{} alerts of an earlier run are still to be delivered", found.undelivered);
    }
    (outbox, found)
}

fn pid_file(path: &Path) -> Option<pidfile::PidFile> {
    if path.as_os_str().is_empty() {
        return None;
    }
    pidfile::PidFile::write(path).map_err(|problem| tracing::warn!("{problem}")).ok()
}

fn notifier(
    Start { config, file, lacking }: &Start,
    identity: &Identity,
    outbox: (Outbox, &Recovered),
) -> Result<(Notifier, JoinHandle<()>), String> {
    for lack in lacking {
        tracing::error!("{lack}; the agent runs without it until it can");
    }
    // The worker tells them one by one.
    let (routes, _) = edge::routes_in_any_case(config, file.as_deref(), lacking);
    let options = notify::Options::of(config, &identity.hostname, clock::now().mono_ns)?;
    Ok(Notifier::start(options, outbox, routes, clock::now))
}
