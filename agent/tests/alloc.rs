//! The second and later passes of the collectors that run most often allocate nothing.
//!
//! A test binary of its own, because of its allocator, which counts per thread: the test harness
//! allocates meanwhile on another one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use sysops_agent::collect::process::{Options, Process};
use sysops_agent::collect::{COLLECTORS, Collector};
use sysops_agent::config::Config;
use sysops_agent::history::Store;
use sysops_agent::host::fixture::FixtureHost;
use sysops_agent::host::live::LiveHost;
use sysops_agent::host::tasks::{ProcessRecord, Tasks, ThreadRecord};
use sysops_agent::sample::{Samples, SeriesId};
use sysops_agent::time::{Now, SECOND};

struct Counting;

thread_local! {
    // Made at compile time and without a destructor: looking at it allocates nothing.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to `System` as it came; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `System` with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: `ptr` came from `System` with this layout.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Those that run every ten seconds on every host; `cgroup`, `filesystem` and `process` keep what they found.
const HOT: [&str; 14] = [
    "cpu",
    "load",
    "memory",
    "vmstat",
    "diskstats",
    "network",
    "link",
    "netstat",
    "sockets",
    "softnet",
    "fd",
    "uptime",
    "clock",
    "agent",
];
/// The first pass opens files and meets every series; after it nothing grows.
const FIRST: u64 = 1;

#[test]
fn later_passes_allocate_nothing() {
    let host = LiveHost::default();
    let mut config = Config::default();
    // All that this machine has.
    config.collector.exclude_interfaces.clear();
    config.collector.exclude_devices.clear();
    for name in HOT {
        let entry = COLLECTORS.iter().find(|entry| entry.name == name).expect("it is in the table");
        let mut collector = (entry.make)(&config);
        let mut samples = Samples::new(4000);
        let mut spare = None;
        for pass in 0..6 {
            let before = ALLOCATIONS.get();
            samples.begin(entry.name, Now::default().plus_secs(pass), spare.take());
            let result = collector.collect(&host, &mut samples);
            let batch = samples.finish();
            let made = ALLOCATIONS.get() - before;
            assert!(result.is_ok() && !batch.samples.is_empty(), "{name}: {result:?}");
            assert_eq!(made == 0, pass >= FIRST, "{name}, pass {pass}: {made} allocations");
            spare = Some(batch);
        }
    }
}

/// A machine with as many processes, each of which uses more at each look.
struct Machine {
    processes: u32,
    looks: u64,
}

impl Tasks for Machine {
    fn scan(&mut self, each: &mut dyn FnMut(&ThreadRecord, Option<&ProcessRecord>)) -> std::io::Result<()> {
        self.looks += 1;
        for pid in 1..=self.processes {
            let runtime_ns = self.looks * u64::from(pid);
            let thread = ThreadRecord { pid, tgid: pid, state: 1, runtime_ns, ..ThreadRecord::default() };
            let comm = *b"process\0\0\0\0\0\0\0\0\0";
            let rss_pages = u64::from(pid);
            let process =
                ProcessRecord { rss_pages, groups: 1, threads: 1, comm, ..ProcessRecord::default() };
            each(&thread, Some(&process));
        }
        Ok(())
    }
}

#[test]
fn a_look_at_thousands_of_processes_allocates_nothing() {
    let host = FixtureHost::default();
    let tasks = Machine { processes: 6000, looks: 0 };
    let mut collector = Process::new(&Options { top_n: 20, ..Options::default() }, Some(Box::new(tasks)));
    let mut samples = Samples::new(4000);
    let mut spare = None;
    for pass in 0..6 {
        let before = ALLOCATIONS.get();
        samples.begin("process", Now::default().plus_secs(pass), spare.take());
        let result = collector.collect(&host, &mut samples);
        let batch = samples.finish();
        let made = ALLOCATIONS.get() - before;
        assert!(result.is_ok() && batch.samples.len() > 40, "{result:?}");
        assert!(batch.processes.as_ref().is_some_and(|table| table.total == 6000));
        assert!(made == 0 || pass < 2, "pass {pass}: {made} allocations");
        spare = Some(batch);
    }
}

#[test]
fn a_store_that_is_full_allocates_nothing() {
    let mut store = Store::with_ceiling(1000, 64);
    let mut append = |moments: std::ops::Range<u64>| {
        let before = ALLOCATIONS.get();
        for nth in moments {
            let noise = (nth.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) as f64 / 7.0;
            (0..20).for_each(|id| store.append(SeriesId(id), nth * SECOND, noise * f64::from(id)));
        }
        (ALLOCATIONS.get() - before, store.evicted())
    };
    let (grown, _) = append(0..5000);
    let (made, evicted) = append(5000..15_000);
    assert!(grown > 0 && evicted > 0, "{grown} allocations, {evicted} blocks given up");
    assert_eq!(made, 0);
}
