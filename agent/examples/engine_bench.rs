//! What a sample costs on its way through rates, history and all analyzers. `cargo xtask bench engine` runs it.
//!
//! A big host, all of whose values change at each pass: counters that make rates, gauges that are watched, groups and processes
//! that may leak. Allocations are counted once history has its blocks and the analyzers have seen a few hours.
#![expect(clippy::disallowed_methods, reason = "a tool that measures")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use rustix::time::{ClockId, clock_gettime};
use sysops_agent::collect::{cpu, diskstats, filesystem, load, memory, netstat, network, process, units};
use sysops_agent::config::Config;
use sysops_agent::engine::compose::Identity;
use sysops_agent::engine::incident::Witnesses;
use sysops_agent::engine::{Engine, Input};
use sysops_agent::metric::{Kind, Metric};
use sysops_agent::sample::{Batch, Samples};
use sysops_agent::service;
use sysops_agent::time::Now;

struct Counting;

thread_local! {
    // Made at compile time and without a destructor: looking at it allocates nothing.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to `System` as it came; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `System` with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Samples of history a series keeps here, so that its blocks are soon all in use.
const HISTORY: usize = 720;
/// Passes at 10 s before and while it is measured.
const WARM: u64 = 2_000;
const MEASURED: u64 = 2_000;
/// Things of each kind.
const CPUS: usize = 32;
const DISKS: usize = 24;
const MOUNTS: usize = 24;
const INTERFACES: usize = 16;
const GROUPS: usize = 64;
const PROCESSES: usize = 40;
/// Goal, nanoseconds a sample.
const GOAL: f64 = 400.0;

type Table = (&'static [&'static Metric], usize);

fn tables() -> Vec<Table> {
    vec![
        (cpu::METRICS, CPUS),
        (load::METRICS, 1),
        (memory::METRICS, 1),
        (netstat::METRICS, 1),
        (diskstats::METRICS, DISKS),
        (filesystem::METRICS, MOUNTS),
        (network::METRICS, INTERFACES),
        (units::METRICS, GROUPS),
        (process::METRICS, PROCESSES),
    ]
}

fn main() {
    let identity = Identity {
        hostname: "bench".to_owned(),
        zone: TimeZone::UTC,
        boot_id: String::new(),
        labels: BTreeMap::new(),
    };
    let mut settings = service::settings(&Config::default(), identity, Witnesses::default());
    settings.history_capacity = HISTORY;
    // What is over a limit is not what is measured.
    settings.rules.clear();
    settings.absences.clear();
    let now = Now { mono_ns: 1_000_000_000, wall_ns: 0 };
    let mut engine = Engine::new(settings, now);
    let mut samples = Samples::new(100_000);
    let mut out = Vec::with_capacity(64);
    let mut random = 1_u64;
    let (mut batch, kinds) = first(&mut samples, now);
    let read = batch.samples.len();
    let mut findings = 0;
    let mut pass = |nth: u64, engine: &mut Engine, batch: &mut Batch| {
        let now = now.plus_secs(nth * 10);
        batch.at = now;
        for ((_, value), kind) in batch.samples.iter_mut().zip(&kinds) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (random >> 40) as f64 / f64::from(1 << 24);
            *value = if *kind == Kind::Counter { *value + 1000.0 * noise } else { 50.0 + 20.0 * noise };
        }
        let (start, allocated) = (cpu_ns(), ALLOCATIONS.get());
        engine.step(now, Input::Batch(batch), &mut out);
        let cost = (cpu_ns() - start, ALLOCATIONS.get() - allocated);
        findings += out.len();
        out.clear();
        cost
    };
    for nth in 1..WARM {
        pass(nth, &mut engine, &mut batch);
    }
    let costs: Vec<(f64, usize)> =
        (WARM..WARM + MEASURED).map(|nth| pass(nth, &mut engine, &mut batch)).collect();
    // Computed ones come through history and the analyzers as those that were read.
    let series = engine.series().iter().count();
    let per_pass = costs.iter().map(|cost| cost.0).sum::<f64>() / MEASURED as f64;
    let quiet = costs.iter().filter(|cost| cost.1 == 0).count();
    let allocations: usize = costs.iter().map(|cost| cost.1).sum();
    let analyzers = engine.analysis().bytes();
    println!(
        "| {read} series read, {} computed, a pass each 10 s | goal | engine |\n|---|---|---|",
        series - read
    );
    println!("| ns a sample read | {GOAL} | {:.0} |", per_pass / read as f64);
    println!("| ns a sample, computed ones included | | {:.0} |", per_pass / series as f64);
    println!(
        "| passes of {MEASURED} without an allocation | {MEASURED} | {quiet} ({allocations} allocations in all) |"
    );
    println!("| bytes of the analyzers a series | | {} |", analyzers / series);
    println!("| alerts and notes meanwhile | | {findings} |");
}

/// A pass that names every series, and the kinds of its samples.
fn first(samples: &mut Samples, now: Now) -> (Batch, Vec<Kind>) {
    samples.begin("bench", now, None);
    let mut kinds = Vec::new();
    for (metrics, count) in tables() {
        for metric in metrics.iter().filter(|metric| metric.kind != Kind::Histogram) {
            let count = if metric.labels.is_empty() { 1 } else { count };
            for nth in 0..count {
                let nth = nth.to_string();
                let labels = vec![nth.as_str(); metric.labels.len()];
                samples.put(metric, &labels, 1.0);
                kinds.push(metric.kind);
            }
        }
    }
    (samples.finish(), kinds)
}

fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
