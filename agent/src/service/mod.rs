//! The service: channels, tasks, threads, and the order in which they start and stop.
//!
//! ```text
//! collect thread ┐            engine task                delivery task
//! ebpf task      ├─ inbox ──► step(now, input) ─ outbound ─► outbox ─► one lane per channel
//! kmsg task      ┤             │                            └► positions in the logs
//! journal task   ┤             │
//! hangs thread ◄─┤── follow ◄──┘
//! inventory    ──┘
//! ```
//!
//! Stopping goes the same way: sources end, the engine tells what it holds back, delivery writes it to
//! the outbox, and the channels get what is left of [`STOP_WITHIN`].

pub mod control;
pub mod delivery;
pub mod doctor;
pub mod features;
mod hangs;
mod heartbeat;
mod inventory;
mod journal;
pub mod journal_health;
mod kernel;
pub mod memory;
mod namespaces;
#[cfg(feature = "ebpf")]
mod naming;
pub mod pidfile;
pub mod pipeline;
pub mod position;
#[cfg(feature = "ebpf")]
mod refusals;
mod reload;
mod signals;
mod sources;
mod summary;
pub mod systemd;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
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
use pipeline::{INBOX, OUTBOUND, Pipeline};
use position::Position;
use reload::Reloader;
use signals::{Signal, Signals};

/// Longest time between SIGTERM and the end.
pub const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Of that, what channels get to send what is left.
const LAST_SENDING: Duration = Duration::from_millis(3500);
/// How long to wait for an agent that was killed to let go of its outbox: its files stay open until the kernel has
/// taken its probes off, one grace period each.
const PREDECESSOR_SECS: u64 = 5;
/// Threads that may wait for a disk at once.
const BLOCKING_THREADS: usize = 4;

/// What the agent was started with.
#[derive(Debug)]
pub struct Start {
    /// The configuration.
    pub config: Config,
    /// The file it came from; built-in defaults without one.
    pub file: Option<PathBuf>,
}

/// Runs the agent until it is told to stop. An error is a sentence.
pub fn run(start: Start) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|e| format!("the runtime cannot be started: {e}"))?;
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
    raise_open_files();
    let mut signals = Signals::install().map_err(|e| format!("signals cannot be handled: {e}"))?;
    let config = &start.config;
    let host = host(config);
    let now = clock::now();
    let identity = identity(config, host.as_ref());
    let _pid_file = pid_file(&config.agent.pid_file);

    let data_dir = &config.agent.data_dir;
    let (outbox, found) = open_outbox(data_dir, now).await;
    let (kmsg_position, kmsg) = Position::open(data_dir, &identity.boot_id);
    let (journal_position, journal) = Position::open(data_dir, &identity.boot_id);
    let mut kernel = Kernel::open(config, &host, Places { kmsg, journal })?;
    let mut engine = Engine::new(settings(config, identity.clone(), kernel.witnesses()), now);
    let (memory, kept) = Memory::open(data_dir);
    if let Some(kept) = kept {
        engine.resume(kept, now);
    }
    engine.remember(found.recent.iter().map(AsRef::as_ref), now);

    let (notifier, worker) = notifier(config, &identity, (outbox, &found))?;
    let stop = CancellationToken::new();
    let (inbox, messages) = mpsc::channel(INBOX);
    let (outbound, outputs) = mpsc::channel(OUTBOUND);
    let (extra, tasks) = (kernel.collectors(config), kernel.tasks());
    let mut features = vec![doctor::privileges(host.as_ref())];
    features.extend_from_slice(kernel.features());
    let witnesses = kernel.witnesses();
    let sources = kernel.start(&host, &inbox, &stop);
    let file = start.file.as_ref().map_or("built-in defaults".to_owned(), |f| f.display().to_string());
    let about =
        About { hostname: identity.hostname.clone(), config: file, features: features.clone(), start: now };
    let desk = Desk { about, inbox: inbox.clone(), notifier: notifier.clone() };
    let control = control_socket(data_dir, desk, &stop);
    let hearts = notify::heartbeat::Heart::all(config).unwrap_or_else(|problem| {
        tracing::error!("{problem}");
        Vec::new()
    });
    let hearts = heartbeat::start(hearts, &identity.hostname, &host, &notifier, &stop);
    let mut reloader = Reloader {
        file: start.file.clone(),
        config: config.clone(),
        identity,
        witnesses,
        inbox: inbox.clone(),
        notifier: notifier.clone(),
    };
    let hangs =
        hangs::HangWatch::start(config.ebpf.dstate_watch_secs, Arc::clone(&host), tasks, inbox.clone())
            .map_err(|e| format!("the thread that watches hung tasks cannot be started: {e}"))?;
    let inventory = InventoryWatch::start(config, Arc::clone(&host), inbox.clone())
        .map_err(|e| format!("the inventory thread cannot be started: {e}"))?;
    let collectors = sources::Collectors::start(config, Arc::clone(&host), extra, inbox)
        .map_err(|e| format!("the collector thread cannot be started: {e}"))?;

    let first_round = summary::first_round(&start, &host, features, collectors.count);
    let spares = collectors.spares.clone();
    let (inbox, first_round, stopped) = (messages, Some(first_round), stop.clone());
    let follow = hangs.asks.clone();
    let health = BTreeMap::new();
    let pipeline = Pipeline { engine, inbox, stop: stopped, outbound, spares, follow, health, first_round };
    let pipeline = tokio::spawn(pipeline.run());
    let delivery =
        tokio::spawn(Delivery::new(notifier, kmsg_position, journal_position, memory).run(outputs));

    while signals.next().await == Signal::Reload {
        reloader.reload().await;
    }
    // The engine ends when nobody can send it anything any more.
    drop(reloader);
    systemd::stopping();
    tracing::info!("stopping");
    stop.cancel();
    let threads = [Some(collectors.stop()), Some(hangs.stop()), inventory.map(InventoryWatch::stop)];
    let ended = timeout(STOP_WITHIN, async {
        let _ = tokio::join!(sources, pipeline, control, hearts.join_all());
        if let Ok(notifier) = delivery.await {
            let left = notifier.drain(LAST_SENDING).await;
            if left > 0 {
                tracing::warn!(
                    "{left} alerts are not delivered yet; they stay in the outbox for the next start"
                );
            }
        }
        let _ = worker.await;
    });
    if ended.await.is_err() {
        tracing::warn!(
            "not everything ended within {} s; what was accepted is in the outbox",
            STOP_WITHIN.as_secs()
        );
    }
    for thread in threads.into_iter().flatten().filter(std::thread::JoinHandle::is_finished) {
        let name = thread.thread().name().unwrap_or_default().to_owned();
        if thread.join().is_err() {
            tracing::error!("the thread {name} had panicked");
        }
    }
    Ok(())
}

/// Most open files the agent asks for: the kept ones of processes and control groups.
const OPEN_FILES: u64 = 16_384;

/// Services start with a soft limit of 1024, for the sake of programs that use `select`.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Some(current) = limit.current.filter(|&current| current < OPEN_FILES) {
        let wanted = limit.maximum.unwrap_or(OPEN_FILES).clamp(current, OPEN_FILES);
        // Without it fewer files stay open.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
}

/// Begins to answer on the control socket. Without one the agent runs all the same.
fn control_socket(data_dir: &Path, desk: Desk, stop: &CancellationToken) -> tokio::task::JoinHandle<()> {
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

fn settings(config: &Config, identity: Identity, witnesses: crate::engine::incident::Witnesses) -> Settings {
    let alerting = &config.alerting;
    let (mut rules, absences) = own::rules(&alerting.rules);
    rules.extend(builtin::rules(&config.thresholds));
    Settings {
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
        },
        witnesses,
        warmup_secs: alerting.state_warmup_secs,
        history_capacity: config.storage.ring_buffer_capacity,
        formulas: formulas::FORMULAS,
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
    config: &Config,
    identity: &Identity,
    outbox: (Outbox, &Recovered),
) -> Result<(Notifier, tokio::task::JoinHandle<()>), String> {
    let (routes, problems) = edge::routes(config);
    for problem in problems {
        tracing::error!("{problem}");
    }
    let options = notify::Options::of(config, &identity.hostname, clock::now().mono_ns)?;
    Ok(Notifier::start(options, outbox, routes, clock::now))
}
