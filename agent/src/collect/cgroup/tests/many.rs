//! A host with two thousand groups, and what a pass reads of it.
#![expect(clippy::disallowed_types, reason = "a test changes the host while a collector holds it")]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::host::{FsStat, HostDir, HostFile, NicDriver, Uname};

const ROOT: &str = "/sys/fs/cgroup";
const GROUPS: u64 = 2000;
/// Passes in which each group is read.
const SWEEP: u64 = walk::SWEEP_NS / (10 * SECOND);

/// Files by group and name.
#[derive(Clone, Default)]
struct Many {
    files: Arc<Mutex<BTreeMap<String, BTreeMap<String, String>>>>,
    kills: Arc<AtomicU64>,
    calls: Arc<AtomicU64>,
    lists: Arc<AtomicU64>,
}

impl Many {
    fn new() -> Self {
        let many = Self::default();
        (0..GROUPS).for_each(|n| many.add(n, 100_000 - n));
        many
    }

    fn add(&self, n: u64, kb: u64) {
        for (file, text) in
            [("memory.max", "max"), ("memory.events", "oom_kill 0"), ("cpu.stat", "usage_usec 5")]
        {
            self.set(n, file, text);
        }
        self.set(n, "memory.current", &(kb * 1024).to_string());
    }

    fn set(&self, n: u64, file: &str, text: &str) {
        let mut files = self.files.lock().unwrap();
        files.entry(format!("u{n}.service")).or_default().insert(file.to_owned(), text.to_owned());
    }

    fn remove(&self, n: u64) {
        self.files.lock().unwrap().remove(&format!("u{n}.service"));
    }

    fn text(&self, path: &str) -> io::Result<String> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let kills = || format!("pgfault 1\noom_kill {}\n", self.kills.load(Ordering::Relaxed));
        match path.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/')) {
            Some("cgroup.controllers") => Ok("cpu memory".to_owned()),
            Some(rest) => {
                let (group, file) = rest.split_once('/').ok_or(io::ErrorKind::NotFound)?;
                let files = self.files.lock().unwrap();
                let text = files.get(group).and_then(|files| files.get(file));
                text.cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
            }
            None if path == "/proc/vmstat" => Ok(kills()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// What a pass of the collector asked of the host.
    fn calls(&self, bench: &mut Bench) -> u64 {
        let before = self.calls.load(Ordering::Relaxed);
        bench.pass_on(self).unwrap();
        self.calls.load(Ordering::Relaxed) - before
    }

    /// The first pass in which a group has series.
    fn passes_until_shown(&self, bench: &mut Bench, n: u64) -> Option<u64> {
        (1..100).find(|_| {
            bench.pass_on(self).unwrap();
            bench.has(&series(n))
        })
    }
}

struct Open(Many, String);

impl HostFile for Open {
    fn read(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        self.0.read(&self.1, buf)
    }
}

impl HostDir for Open {
    fn count_dirs(&mut self) -> Option<u64> {
        self.0.count_dirs(&self.1)
    }

    fn list_nodes(&mut self, _each: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Host for Many {
    fn open(&self, path: &str) -> io::Result<Box<dyn HostFile>> {
        self.text(path)?;
        Ok(Box::new(Open(self.clone(), path.to_owned())))
    }

    fn read(&self, path: &str, buf: &mut Vec<u8>) -> io::Result<()> {
        buf.clear();
        buf.extend_from_slice(self.text(path)?.as_bytes());
        Ok(())
    }

    fn list(&self, path: &str, _each: &mut dyn FnMut(&str)) -> io::Result<()> {
        panic!("{path} is listed with its files")
    }

    fn list_dirs(&self, path: &str, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        if path == ROOT {
            self.files.lock().unwrap().keys().for_each(|name| each(name));
        }
        Ok(())
    }

    fn count_dirs(&self, path: &str) -> Option<u64> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Some(if path == ROOT { self.files.lock().unwrap().len() as u64 } else { 0 })
    }

    fn open_dir(&self, path: &str) -> io::Result<Box<dyn HostDir>> {
        Ok(Box::new(Open(self.clone(), path.to_owned())))
    }

    fn read_link(&self, _path: &str) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn statvfs(&self, _path: &Path) -> io::Result<FsStat> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn nic_driver(&self, _interface: &str) -> io::Result<NicDriver> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn uname(&self) -> Uname {
        Uname::default()
    }

    fn shared(&self) -> Arc<dyn Host> {
        Arc::new(self.clone())
    }
}

fn bench() -> Bench {
    Bench::new("", Cgroup::new())
}

#[test]
fn a_pass_reads_a_share_of_them_and_a_sweep_all() {
    let (host, mut bench) = (Many::new(), bench());
    let first = host.calls(&mut bench);
    assert!(first >= 6 * GROUPS, "all of it: {first}");
    bench.expect(&[("memory_cgroups_count", GROUPS as f64), ("cgroups_shown_count", 64.0)]);
    let mut read = BTreeMap::<String, u64>::new();
    for _ in 0..SWEEP {
        let calls = host.calls(&mut bench);
        // Files of those that are shown are opened in the first of these passes.
        assert!(calls < first / 4, "{calls} of {first}");
        for row in bench.groups.take().unwrap().rows {
            *read.entry(row.path.to_string()).or_default() += 1;
        }
        bench.expect(&[("memory_cgroups_count", GROUPS as f64)]);
    }
    assert_eq!(read.len() as u64, GROUPS);
    let every = read.values().filter(|times| **times == SWEEP).count();
    assert_eq!(every, 64, "those with series at each pass");
    assert_eq!(host.lists.load(Ordering::Relaxed), 1, "nothing came, nothing went");
}

#[test]
fn who_is_large_busy_or_full_is_shown_within_a_sweep() {
    let (host, mut bench) = (Many::new(), bench());
    bench.pass_on(&host).unwrap();
    host.set(1990, "memory.current", "999999999");
    assert!(host.passes_until_shown(&mut bench, 1990).is_some_and(|passes| passes <= SWEEP));
    host.set(1991, "cpu.stat", "usage_usec 500000000");
    assert!(host.passes_until_shown(&mut bench, 1991).is_some_and(|passes| passes <= SWEEP));
    host.set(1992, "memory.max", "102400000");
    assert!(host.passes_until_shown(&mut bench, 1992).is_some_and(|passes| passes <= SWEEP));
    assert!(bench.has(&series(0)) && bench.has(&series(1990)));
}

#[test]
fn new_ones_are_known_at_the_next_pass_and_those_that_go_are_forgotten() {
    let (host, mut bench) = (Many::new(), bench());
    bench.pass_on(&host).unwrap();
    // It used as much as no other.
    host.add(3000, 1);
    host.set(3000, "cpu.stat", "usage_usec 2000000");
    assert_eq!(host.passes_until_shown(&mut bench, 3000), Some(1));
    bench.expect(&[("memory_cgroups_count", 2001.0)]);
    for n in 500..600 {
        host.remove(n);
        host.add(n + 5000, 5);
    }
    // As many as before: it takes a turn to see it.
    (0..=SWEEP).for_each(|_| bench.pass_on(&host).unwrap());
    bench.expect(&[("memory_cgroups_count", 2001.0)]);
    host.remove(0);
    bench.pass_on(&host).unwrap();
    bench.expect(&[("memory_cgroups_count", 2000.0), ("cgroups_shown_count", 64.0)]);
    assert!(!bench.has(&series(0)));
}

#[test]
fn a_crowd_of_new_ones_is_taken_in_over_some_passes() {
    let (host, mut bench) = (Many::new(), bench());
    (500..GROUPS).for_each(|n| host.remove(n));
    bench.pass_on(&host).unwrap();
    (500..GROUPS).for_each(|n| host.add(n, 7));
    let mut passes = 0;
    while bench.value("memory_cgroups_count") < GROUPS as f64 {
        assert!(host.calls(&mut bench) < 3500);
        passes += 1;
    }
    assert_eq!(passes, 6);
}

#[test]
fn after_a_kill_all_are_read() {
    let (host, mut bench) = (Many::new(), bench());
    (0..5).for_each(|_| bench.pass_on(&host).unwrap());
    host.kills.store(1, Ordering::Relaxed);
    host.set(1500, "memory.events", "oom_kill 1");
    bench.pass_on(&host).unwrap();
    let rows = bench.groups.take().unwrap().rows;
    assert_eq!(rows.len() as u64, GROUPS);
    assert!(rows.iter().any(|row| row.memory.events.oom_kill == Some(1)));
    bench.pass_on(&host).unwrap();
    assert!(bench.groups.take().unwrap().rows.len() < 300);
}
