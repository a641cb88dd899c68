//! Block requests as the probe measures them, held against bpftrace and against what was done. As root:
//! `cargo test -p sysops-agent --test ebpf_block -- --ignored`.
#![cfg(feature = "ebpf")]
#![expect(clippy::disallowed_methods, reason = "causes block I/O and looks at the machine by itself")]

mod lab;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use agent_common::hist::bucket_of;
use aya::programs::{ProgramInfo, loaded_programs};
use lab::{FreezableFs, LoopDevice, MemoryCgroup, alone, ready, skip, wait_for};
use sysops_agent::collect::Collector;
use sysops_agent::config::Config;
use sysops_agent::ebpf::devices::Devices;
use sysops_agent::ebpf::hist::{EbpfCollector, Look};
use sysops_agent::ebpf::probes::{Mode, ProbeState};
use sysops_agent::ebpf::programs::counted;
use sysops_agent::ebpf::{Ebpf, Options};
use sysops_agent::engine::builtin;
use sysops_agent::engine::disk::Disks;
use sysops_agent::event::{IoError, What};
use sysops_agent::host::clock::now;
use sysops_agent::host::live::LiveHost;
use sysops_agent::sample::{Batch, DiskWindow, Latency, Samples};

/// The probe in one mode, and what it measured.
struct Probe {
    name: &'static str,
    ebpf: Ebpf,
    collector: EbpfCollector,
    samples: Samples,
}

impl Probe {
    /// One for each mode, or the reason why there is none.
    fn each() -> Vec<Self> {
        if !ready() {
            return Vec::new();
        }
        Mode::ALL.into_iter().filter_map(Self::new).collect()
    }

    fn new(mode: Mode) -> Option<Self> {
        let options = Options { oom: false, hung_task: false, only_mode: Some(mode), ..Options::default() };
        let (ebpf, reports) = Ebpf::load(&LiveHost::default(), &options);
        for report in &reports {
            if let ProbeState::Failed { why, remedy } = &report.state {
                skip(&format!("{}: {why}; {remedy}", report.probe.name));
            }
        }
        let mut ebpf = ebpf?;
        println!("{}: {} bytes of maps and buffers", mode.name(), ebpf.map_bytes());
        let collector = ebpf.collector(Look { skip: Box::new(|_| false), scene_from_ms: 0.0 });
        Some(Self { name: mode.name(), ebpf, collector, samples: Samples::new(4000) })
    }

    fn collect(&mut self) -> Batch {
        self.samples.begin("ebpf", now(), None);
        self.collector.collect(&LiveHost::default(), &mut self.samples).expect("collected");
        self.samples.finish()
    }

    /// What was measured of a device since the last look, by operation.
    fn windows(&mut self, device: &str) -> HashMap<&'static str, DiskWindow> {
        let of_device = self.collect().disks.into_iter().filter(|w| &*w.device == device);
        of_device.filter(|w| w.latency.is_some()).map(|w| (w.op, w)).collect()
    }

    fn error(&mut self, device: &str) -> Option<IoError> {
        let (mut devices, mut found) = (Devices::default(), None);
        devices.begin();
        let mut name = |dev| devices.name(&LiveHost::default(), dev).map(|name| name.to_string());
        self.ebpf.drain(now(), &mut name, &mut |event| {
            if let What::IoError(io) = event.what
                && io.device == device
            {
                found = Some(*io);
            }
        });
        found
    }
}

/// bpftrace on the same tracepoints. It keeps latencies and waits one by one and prints them at its end: its own
/// histograms are coarse, and printing at once would slow down what is measured.
struct Bpftrace {
    child: Child,
    out: BufReader<ChildStdout>,
}

const SCRIPT: &str = r#"
BEGIN { printf("ready\n"); }
tracepoint:block:block_rq_insert /args->dev == DEV && args->nr_sector != 0/ { @i[args->sector] = nsecs; }
tracepoint:block:block_rq_issue /args->dev == DEV && args->nr_sector != 0/ { @s[args->sector] = nsecs; }
tracepoint:block:block_rq_issue /args->dev == DEV && args->nr_sector == 0/ { @f = nsecs; }
tracepoint:block:block_rq_complete /args->dev == DEV && args->nr_sector != 0 && @s[args->sector]/ {
  $s = @s[args->sector]; $i = @i[args->sector];
  @lat[args->rwbs, nsecs] = nsecs - $s;
  if ($i) { @wait[args->rwbs, nsecs] = $s - $i; }
  delete(@s[args->sector]); delete(@i[args->sector]);
}
tracepoint:block:block_rq_complete /args->dev == DEV && args->nr_sector == 0 && @f/ {
  @lat[args->rwbs, nsecs] = nsecs - @f; @f = 0;
}
END { clear(@i); clear(@s); clear(@f); }
"#;

/// By operation: latencies and waits, nanoseconds, sorted.
type Seen = HashMap<String, (Vec<u64>, Vec<u64>)>;

impl Bpftrace {
    fn start(device: &str) -> Option<Self> {
        let (major, minor) = numbers(device);
        let script = SCRIPT.replace("DEV", &(major << 20 | minor).to_string());
        // In a mount namespace of its own: tracefs may be mounted nowhere, and is to stay so.
        let command = "mount -t tracefs none /sys/kernel/tracing; exec bpftrace -B line -e \"$0\"";
        let started = Command::new("unshare")
            .args(["--mount", "sh", "-c", command, &script])
            .env("BPFTRACE_MAP_KEYS_MAX", "65536")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = started else {
            skip("unshare is missing");
            return None;
        };
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            if out.read_line(&mut line).unwrap_or(0) == 0 {
                skip("bpftrace does not run here");
                let _ = child.wait();
                return None;
            }
        }
        Some(Self { child, out })
    }

    /// What it saw; `None` if it did not end by itself.
    fn stop(mut self) -> Option<Seen> {
        let pid = rustix::process::Pid::from_child(&self.child);
        let end =
            move || rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("told to end");
        end();
        // It overlooks a signal that comes while it handles an event, and waits on. What it prints at its end
        // another signal would cut off.
        let (printing, prints) = mpsc::sync_channel::<()>(1);
        thread::scope(|scope| {
            scope.spawn(move || {
                while prints.recv_timeout(Duration::from_secs(5)) == Err(RecvTimeoutError::Timeout) {
                    end();
                }
            });
            let _ = self.out.fill_buf();
            drop(printing);
        });
        let mut text = String::new();
        self.out.read_to_string(&mut text).expect("read");
        if !self.child.wait().is_ok_and(|status| status.success()) {
            return None;
        }
        let mut seen = Seen::new();
        for line in text.lines() {
            // `@lat[WS, 123456789]: 20867`
            let Some((key, value)) = line.split_once("]: ") else { continue };
            let Some((map, rwbs)) = key.split_once('[') else { continue };
            let (latencies, waits) = seen.entry(op(rwbs).to_owned()).or_default();
            let list = if map == "@lat" { latencies } else { waits };
            list.push(value.parse().expect("nanoseconds"));
        }
        for (latencies, waits) in seen.values_mut() {
            latencies.sort_unstable();
            waits.sort_unstable();
        }
        Some(seen)
    }
}

fn op(rwbs: &str) -> &'static str {
    match rwbs.as_bytes() {
        [b'F', b'F', ..] => "flush",
        [b'R', ..] => "read",
        [b'W', ..] | [b'F', b'W', ..] => "write",
        [b'D', ..] => "discard",
        _ => "other",
    }
}

fn numbers(device: &str) -> (u32, u32) {
    let text = std::fs::read_to_string(format!("/sys/block/{device}/dev")).expect("its numbers");
    let (major, minor) = text.trim().split_once(':').expect("major:minor");
    (major.parse().expect("a number"), minor.parse().expect("a number"))
}

/// The same number, and every percentile where theirs says: the clocks are looked at some microseconds apart
/// (`slack_ns`), with up to three programs on each tracepoint, and buckets round. A few requests are interrupted between
/// two clocks and have any rank for one of us; so they move a percentile by as many ranks at most, and that of the
/// slowest has no upper end.
fn agree(what: &str, ours: Latency, theirs: &[u64], slack_ns: u64) {
    assert_eq!(ours.requests, theirs.len() as u64, "{what}");
    let interrupted = 3 + theirs.len() / 500;
    let shown = [(500, ours.p50_ms), (900, ours.p90_ms), (990, ours.p99_ms), (999, ours.p999_ms)];
    for (per_mille, ms) in shown {
        let ours = (ms * 1e6) as u64;
        let rank = (theirs.len() * per_mille).div_ceil(1000) - 1;
        let most = theirs.get(rank + interrupted).copied().unwrap_or(u64::MAX / 2);
        let least = theirs[rank.saturating_sub(interrupted)];
        println!("{what} p{per_mille}: {ours} ns, bpftrace {} ns ({least} to {most})", theirs[rank]);
        let not_less = ours + slack_ns >= least || bucket_of(ours) + 1 >= bucket_of(least);
        let not_more = ours <= most + slack_ns || bucket_of(ours) <= bucket_of(most) + 1;
        assert!(not_less && not_more, "{what} p{per_mille}: {ours} ns, bpftrace {least} to {most}");
    }
}

/// A file of 16 MiB as a block device, with a scheduler or without.
fn device(scheduler: &str) -> (tempfile::NamedTempFile, LoopDevice) {
    let image = tempfile::NamedTempFile::new_in("/dev/shm").expect("a file in memory");
    std::fs::write(image.path(), vec![1; 16 << 20]).expect("16 MiB");
    let device = LoopDevice::over(image.path()).expect("a loop device");
    // A kernel without that scheduler keeps the one it has.
    let _ = std::fs::write(format!("/sys/block/{}/queue/scheduler", device.name()), scheduler);
    thread::sleep(Duration::from_millis(200));
    (image, device)
}

/// Reads and writes of four threads, each in its own quarter, flushes and discards.
fn load(device: &LoopDevice) {
    thread::scope(|scope| {
        for quarter in 0..4 {
            scope.spawn(move || {
                let from = quarter * 1024 * 4096;
                device.direct_reads_from(from, 800).expect("reads");
                for i in 0..100 {
                    device.direct_write(from + i * 4096).expect("a write");
                }
            });
        }
    });
    let file = File::options().write(true).open(&device.path).expect("opened");
    for _ in 0..20 {
        file.sync_all().expect("flushed");
    }
    for at in ["0", "1048576", "2097152"] {
        let done = Command::new("blkdiscard").args(["-o", at, "-l", "65536", &device.path]).status();
        assert!(done.expect("blkdiscard").success());
    }
}

/// What [`load`] asks of the device: writes, flushes and discards are its own, reads may be somebody else's too
/// (udev looks at a device that was open for writing).
fn is_all(op: &str, requests: u64) -> bool {
    match op {
        "read" => requests >= 4 * 800,
        "write" => requests == 4 * 100,
        "flush" => requests == 20,
        "discard" => requests == 3,
        _ => false,
    }
}

/// Programs in the kernel besides those that were there before.
struct Watched {
    strangers: HashSet<u32>,
}

impl Watched {
    fn new() -> Self {
        Self { strangers: loaded().map(|program| program.id()).collect() }
    }

    /// Events that each of them did not see because it would have interrupted a program: the kernel leaves it out
    /// then, ours or bpftrace's, and counts that.
    fn misses(&self) -> BTreeMap<(u32, String), u64> {
        let own = loaded().filter(|program| !self.strangers.contains(&program.id()));
        let misses = own.filter_map(|program| {
            let name = program.name_as_str().unwrap_or_default().to_owned();
            let fd = program.fd().ok()?;
            Some(((program.id(), name), counted(fd.as_fd()).ok()?.misses.unwrap_or(0)))
        });
        misses.collect()
    }
}

fn loaded() -> impl Iterator<Item = ProgramInfo> {
    // One that ends while they are listed is no error here.
    loaded_programs().filter_map(Result::ok)
}

/// Rounds until one is without an event that somebody missed.
const ROUNDS: u32 = 10;

/// How a round ended that no assertion ended.
enum Round {
    Agreed,
    /// These programs did not see so many events.
    Missed(Vec<(String, u64)>),
    NoBpftrace,
}

#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn histograms_agree_with_bpftrace() {
    let _alone = alone();
    let watched = Watched::new();
    let mut probes = Probe::each();
    for scheduler in ["none", "mq-deadline"] {
        let mut round = 1;
        loop {
            match compare(&watched, &mut probes, scheduler) {
                Round::Agreed => break,
                Round::NoBpftrace => return,
                Round::Missed(what) => println!("{scheduler}, round {round} does not count: missed {what:?}"),
            }
            assert!(round < ROUNDS, "{scheduler}: no round of {ROUNDS} without a missed event");
            round += 1;
        }
    }
}

fn compare(watched: &Watched, probes: &mut [Probe], scheduler: &str) -> Round {
    let (_image, device) = device(scheduler);
    // Completions where the request was processed, instead of by an interrupt of the processor it came from: that one
    // is often in a program, so that somebody misses something in most rounds.
    std::fs::write(format!("/sys/block/{}/queue/rq_affinity", device.name()), "0").expect("no affinity");
    let Some(bpftrace) = Bpftrace::start(device.name()) else { return Round::NoBpftrace };
    for probe in probes.iter_mut() {
        probe.collect();
    }
    let before = watched.misses();
    load(&device);
    let after = watched.misses();
    let measured: Vec<_> =
        probes.iter_mut().map(|probe| (probe.name, probe.windows(device.name()))).collect();
    let Some(seen) = bpftrace.stop() else { return Round::Missed(vec![("bpftrace's end".into(), 1)]) };
    let missed: Vec<_> = after
        .into_iter()
        .map(|(program, misses)| (misses - before.get(&program).unwrap_or(&0), program.1))
        .filter(|(misses, _)| *misses > 0)
        .map(|(misses, name)| (name, misses))
        .collect();
    if !missed.is_empty() {
        return Round::Missed(missed);
    }
    for (mode, ours) in measured {
        let mut operations: Vec<_> = ours.keys().copied().collect();
        operations.sort_unstable();
        assert_eq!(operations, ["discard", "flush", "read", "write"], "{mode}");
        for (op, window) in ours {
            let (latencies, waits) = &seen[op];
            let latency = window.latency.expect("some");
            assert!(is_all(op, latency.requests), "{mode}, {scheduler}: {} of {op}", latency.requests);
            agree(&format!("{mode}, {scheduler}: {op}"), latency, latencies, 3_000);
            let queued = window.queue.map_or(0, |queue| queue.requests);
            assert_eq!(queued, waits.len() as u64, "{mode}, {scheduler}: {op} queued");
            if let Some(queue) = window.queue {
                agree(&format!("{mode}, {scheduler}: {op} queued"), queue, waits, 10_000);
            }
        }
    }
    Round::Agreed
}

#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn the_process_that_issued_most_is_named() {
    let _alone = alone();
    for mut probe in Probe::each() {
        for scheduler in ["none", "mq-deadline"] {
            let (_image, device) = device(scheduler);
            device.direct_reads(5).expect("reads");
            let mut dd = Command::new("dd")
                .args([&format!("if={}", device.path), "of=/dev/null", "bs=4k", "count=400"])
                .args(["iflag=direct", "status=none"])
                .spawn()
                .expect("dd");
            assert!(dd.wait().expect("ends").success());
            let windows = probe.windows(device.name());
            let scene = windows["read"].scene.as_ref().expect("asked for");
            // Devices of this number that were before may have had busy readers too.
            let of = |pid| scene.issuers.iter().find(|i| i.task.pid == Some(pid)).expect("named");
            let busiest = of(dd.id());
            assert_eq!(busiest.task.comm.as_deref(), Some("dd"));
            assert_eq!((busiest.requests, busiest.bytes), (400, 400 * 4096), "{} {scheduler}", probe.name);
            let own = of(std::process::id());
            assert!(own.requests < busiest.requests, "{scene:?}");
            assert!(own.task.cgroup.as_deref().is_some_and(|path| path.starts_with('/')), "{own:?}");
            assert!(scene.requests >= 405 && scene.in_flight == Some((0, 0)), "{scene:?}");
        }
    }
}

/// Many short processes of one control group: none issued much, and the group did. None is left to be asked.
#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn the_control_group_whose_processes_issued_most_is_named() {
    const PROCESSES: u64 = 12;
    let _alone = alone();
    let unified = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    for mut probe in Probe::each() {
        // A classic program is told the group of the default hierarchy only: with version 1 it ranks none.
        if probe.name != Mode::Btf.name() && !unified {
            continue;
        }
        let group = MemoryCgroup::at(&format!("/sysops-io-{}.service", std::process::id()), 64 << 20);
        let group = group.expect("a control group");
        let (_image, device) = device("none");
        probe.collect();
        for nth in 0..PROCESSES {
            let read = format!(
                "dd if={} of=/dev/null bs=4k count=1 skip={nth} iflag=direct status=none",
                device.path
            );
            assert!(group.spawn(&read).expect("sh").wait().expect("ends").success());
        }
        let windows = probe.windows(device.name());
        let scene = windows["read"].scene.as_ref().expect("asked for");
        let named = scene.groups.iter().find(|found| found.path == group.name());
        let named = named.unwrap_or_else(|| panic!("{}: {} not in {scene:?}", probe.name, group.name()));
        assert_eq!((named.requests, named.bytes), (PROCESSES, PROCESSES * 4096), "{}: {scene:?}", probe.name);
        let dd = scene.issuers.iter().find(|i| i.task.cgroup.as_ref() == Some(&named.path)).expect("one");
        assert_eq!(dd.task.comm.as_deref(), Some("dd"));
    }
}

#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn a_failed_request_arrives_with_its_place() {
    let _alone = alone();
    for mut probe in Probe::each() {
        let (image, device) = device("none");
        probe.collect();
        probe.error("none");
        // A read behind the end of the file fails (`lo_complete_rq`, `drivers/block/loop.c`).
        image.as_file().set_len(0).expect("cut");
        assert!(device.direct_reads_from(40_960, 1).is_err());
        let io = wait_for(Duration::from_secs(3), || probe.error(device.name())).expect("the error is seen");
        assert_eq!(
            (io.op, io.sector, io.bytes, io.error),
            (Some("read"), 80, Some(4096), Some(-5)),
            "{io:?}"
        );
        assert_eq!(probe.windows(device.name())["read"].errors, 1, "{}", probe.name);
    }
}

/// A read over the end of the file completes in two parts: the first, and after the driver tried again an error.
#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn a_request_that_ends_in_parts_is_one() {
    let _alone = alone();
    for mut probe in Probe::each() {
        for scheduler in ["none", "mq-deadline"] {
            let (image, device) = device(scheduler);
            probe.collect();
            probe.error("none");
            image.as_file().set_len(45_056).expect("cut");
            assert!(device.direct_read_of_two(40_960).is_err());
            let io =
                wait_for(Duration::from_secs(3), || probe.error(device.name())).expect("the error is seen");
            assert_eq!((io.sector, io.bytes, io.error), (88, Some(4096), Some(-5)), "{}: {io:?}", probe.name);
            let window = probe.windows(device.name()).remove("read").expect("a read");
            let requests = window.latency.map(|latency| latency.requests);
            assert_eq!((requests, window.errors), (Some(1), 1), "{} {scheduler}", probe.name);
        }
    }
}

#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn a_slow_device_becomes_an_alert_that_names_the_issuer() {
    let _alone = alone();
    for mut probe in Probe::each() {
        let mut frozen = FreezableFs::new().expect("a filesystem");
        let device = LoopDevice::over(&frozen.backing_file().expect("a file")).expect("a loop device");
        probe.collect();
        frozen.freeze().expect("frozen");
        thread::scope(|scope| {
            let device = &device;
            let writes: Vec<_> =
                (0..40).map(|i| scope.spawn(move || device.direct_write(i * 4096))).collect();
            thread::sleep(Duration::from_millis(700));
            frozen.thaw().expect("thawed");
            for write in writes {
                write.join().expect("no panic").expect("written");
            }
        });
        let window = probe.windows(device.name()).remove("write").expect("forty writes");
        let (mut disks, mut drafts, at) = (Disks::new(1), Vec::new(), now());
        let mut policy = builtin::disk_policy(&Config::default());
        policy.limit.for_secs = 0;
        disks.take((at, at.mono_ns), std::iter::once(window), &policy, false, &mut drafts);
        let [draft] = &drafts[..] else { panic!("{drafts:?}") };
        println!("{}: {}", probe.name, draft.message);
        let start = format!("Slow disk: the slowest 1 % of writes on {} took ", device.name());
        assert!(draft.message.starts_with(&start), "{}", draft.message);
        // Its own name if it is older than what is counted, else that of the thread.
        let named = ["ebpf_block", "a_slow_device_b"].map(|name| format!("most requests by {name} "));
        assert!(named.iter().any(|named| draft.message.contains(named)), "{}", draft.message);
        assert!(draft.value >= 600.0 && draft.value < 5000.0, "{}", draft.value);
    }
}
