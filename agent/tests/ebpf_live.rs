//! The probes on this machine's kernel, with real kills, hangs and slow requests. As root:
//! `cargo test -p sysops-agent --test ebpf_live -- --ignored`.
#![cfg(feature = "ebpf")]
#![expect(clippy::disallowed_methods, reason = "causes kernel events and looks at the machine by itself")]

mod lab;

use std::os::fd::AsFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lab::{FreezableFs, LoopDevice, MemoryCgroup, Sysctl, alone, ready, skip, wait_for};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sysops_agent::collect::Collector;
use sysops_agent::ebpf::devices::Devices;
use sysops_agent::ebpf::hist::Look;
use sysops_agent::ebpf::probes::{Mode, PROBES, ProbeState};
use sysops_agent::ebpf::transport::Way;
use sysops_agent::ebpf::{Ebpf, Options};
use sysops_agent::event::{Constraint, Event, Lost, Oom, SlowIo, Source, Task, What};
use sysops_agent::host::clock::now;
use sysops_agent::host::kallsyms::Symbols;
use sysops_agent::host::live::LiveHost;
use sysops_agent::sample::Samples;
use sysops_agent::time::SECOND;

/// Only the probes of one key.
fn only(key: &str) -> Options {
    Options {
        oom: key == "oom",
        hung_task: key == "hung_task",
        block_io: key == "block_io",
        ras: key == "ras",
        net_tx_timeout: key == "net_tx_timeout",
        thermal: key == "thermal",
        tcp: key == "tcp",
        memory_stalls: key == "memory_stalls",
        run_queue: key == "run_queue",
        ..Options::default()
    }
}

/// Loads, or says why this kernel cannot.
fn load(options: &Options) -> Option<Ebpf> {
    if !ready() {
        return None;
    }
    let (ebpf, reports) = Ebpf::load(&LiveHost::default(), options);
    for report in &reports {
        if let ProbeState::Failed { why, remedy } = &report.state {
            skip(&format!("{}: {why}; {remedy}", report.probe.name));
            return None;
        }
    }
    ebpf
}

/// Every mode and transport that go together.
const COMBINATIONS: [(Mode, Way); 3] =
    [(Mode::Classic, Way::PerfBuffer), (Mode::Btf, Way::PerfBuffer), (Mode::Btf, Way::Ring)];

/// The same probe several times, so that one event can be compared as each of them tells it.
fn load_each(name: &str) -> Vec<(String, Ebpf)> {
    let each = COMBINATIONS.into_iter().filter_map(|(mode, way)| {
        let options = Options { only_mode: Some(mode), only_transport: Some(way), ..only(name) };
        Some((format!("{mode:?} {way:?}"), load(&options)?))
    });
    each.collect()
}

fn drain(ebpf: &mut Ebpf) -> Vec<Event> {
    let (mut devices, mut events) = (Devices::default(), Vec::new());
    devices.begin();
    ebpf.drain(
        now(),
        &mut |dev| devices.name(&LiveHost::default(), dev).map(|name| name.to_string()),
        &mut |e| {
            events.push(e);
        },
    );
    events
}

/// Waits on the descriptor, as the agent does, until an event passes `pick`.
fn wait_event<T>(ebpf: &mut Ebpf, at_most: Duration, mut pick: impl FnMut(Event) -> Option<T>) -> Option<T> {
    wait_for(at_most, || {
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let readable = poll(&mut [PollFd::new(&ebpf.as_fd(), PollFlags::IN)], Some(&timeout)).expect("poll");
        let events = drain(ebpf);
        assert!(readable > 0 || events.is_empty(), "records without the descriptor being readable");
        events.into_iter().find_map(&mut pick)
    })
}

fn losses(ebpf: &mut Ebpf) -> Vec<Lost> {
    let mut lost = Vec::new();
    ebpf.losses(now(), &mut |event| match event.what {
        What::Lost(one) => lost.push(one),
        other => panic!("{other:?}"),
    })
    .expect("the map can be read");
    lost
}

fn lost(all: &[Lost], reason: &str) -> u64 {
    all.iter().filter(|l| l.reason == reason).map(|l| l.count).sum()
}

#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn all_probes_run_in_little_memory_and_leave_no_mount() {
    let _alone = alone();
    let mounts = || std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    let before = mounts();
    let Some(ebpf) = load(&Options::default()) else { return };
    assert_eq!(mounts(), before);
    println!("BPF maps and perf buffers: {} bytes", ebpf.map_bytes());
    assert!(ebpf.map_bytes() > 100_000, "{} bytes is too little to be true", ebpf.map_bytes());
    let cpus = thread::available_parallelism().expect("processors").get() as u64;
    assert!(ebpf.map_bytes() <= (2 << 20) + cpus.saturating_sub(2) * (128 << 10), "{}", ebpf.map_bytes());
    assert_eq!(ebpf.undecodable(), 0);
}

#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn what_is_switched_off_is_not_loaded() {
    let _alone = alone();
    if !ready() {
        return;
    }
    let (ebpf, reports) = Ebpf::load(&LiveHost::default(), &only("nothing"));
    assert!(ebpf.is_none());
    assert_eq!(reports.len(), PROBES.len());
    assert!(
        reports
            .iter()
            .all(|r| matches!(&r.state, ProbeState::Off { reason } if reason.contains(r.probe.key)))
    );
    let Some(oom) = load(&only("oom")) else { return };
    let Some(all) = load(&Options::default()) else { return };
    assert!(oom.map_bytes() * 2 < all.map_bytes(), "{} and {}", oom.map_bytes(), all.map_bytes());
}

#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn an_oom_kill_arrives_with_its_victim() {
    let _alone = alone();
    let mut each = load_each("oom");
    let group = MemoryCgroup::new("sysops-lab-oom", 32 << 20).expect("cgroup");
    let before = now();
    let pid = group.oom_victim().expect("a kill");
    let mut told: Vec<Oom> = Vec::new();
    for (how, ebpf) in &mut each {
        let oom = wait_event(ebpf, Duration::from_secs(5), |event| match event.what {
            What::Oom(oom) if oom.victim.pid == Some(pid) => {
                assert_eq!((event.source, event.historic), (Source::Ebpf, false));
                assert!(event.at.mono_ns >= before.mono_ns && event.at.mono_ns <= now().mono_ns, "{how}");
                assert!((event.at.wall_ns - before.wall_ns).unsigned_abs() < 10 * SECOND, "{how}");
                Some(*oom)
            }
            _ => None,
        });
        told.push(oom.unwrap_or_else(|| panic!("{how}: the kill is seen")));
    }
    for ((how, _), oom) in each.iter().zip(&told) {
        // Only the task that BTF mode is given knows its process and its command line.
        let knows_task = how.starts_with("Btf") && oom.victim.comm.is_some();
        assert_eq!(oom.victim_tgid, knows_task.then_some(pid), "{how}");
        assert_eq!(oom.victim.cmdline.as_deref(), knows_task.then_some("tail /dev/zero"), "{how}");
        let mut both_know = Oom {
            victim_tgid: None,
            constraint: None,
            oom_memcg: None,
            limit_inferred: false,
            gfp_mask: None,
            order: None,
            ..oom.clone()
        };
        both_know.victim = Task { cmdline: None, start_ticks: None, cgroup: None, ..both_know.victim };
        assert_eq!(both_know, told[0], "{how} tells the same as {}", each[0].0);
        assert_eq!(oom.trigger.pid, Some(pid), "it was its own allocation");
        assert_eq!(oom.trigger.comm.as_deref(), Some("tail"));
        assert_eq!(oom.trigger.uid, Some(0));
        // 5.10 tells the pid only.
        if let Some(rss) = oom.anon_rss_kb {
            assert!((16 << 10..=33 << 10).contains(&rss), "{rss} kB of 32 MiB");
            assert_eq!(oom.victim.comm.as_deref(), Some("tail"));
            assert_eq!((oom.victim.uid, oom.oom_score_adj), (Some(0), Some(0)));
            assert!(oom.total_vm_kb > Some(rss) && oom.pgtables_kb > Some(0), "{oom:?}");
        }
    }
}

/// The kill of a process in a group, as BTF mode tells of it.
fn kill_in(ebpf: &mut Ebpf, group: &MemoryCgroup) -> Oom {
    let pid = group.oom_victim().expect("a kill");
    let told = wait_event(ebpf, Duration::from_secs(5), |event| match event.what {
        What::Oom(oom) if oom.victim.pid == Some(pid) => Some(*oom),
        _ => None,
    });
    told.expect("the kill is seen")
}

/// Nobody but the program is asked: no file of the victim or its group, no log.
#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn an_oom_kill_tells_its_groups_and_why() {
    const NO_LIMIT: u64 = 1 << 40;
    let _alone = alone();
    let Some(mut ebpf) = load(&Options { only_mode: Some(Mode::Btf), ..only("oom") }) else { return };
    let outer = format!("/sysops-lab-way-{}", std::process::id());
    let limited = MemoryCgroup::at(&outer, 16 << 20).expect("a group");
    let names = ["docker", "\u{1b}[31m ,task=x,pid=1", "\u{202e}evil\\n"];
    let hostile = names.iter().fold(outer.clone(), |path, name| format!("{path}/{name}"));
    let deep = (0..20).fold(outer.clone(), |path, level| format!("{path}/level-{level}"));
    let long = (0..4).fold(outer.clone(), |path, _| format!("{path}/{}", "n".repeat(255)));
    for (path, told) in [
        (&outer, Some(outer.as_str())),
        (&hostile, Some(hostile.as_str())),
        (&deep, Some(deep.split_at(deep.find("/level-4").expect("in it")).1)),
        (&long, None),
    ] {
        let inner = (path != &outer).then(|| MemoryCgroup::at(path, NO_LIMIT).expect("a group"));
        let oom = kill_in(&mut ebpf, inner.as_ref().unwrap_or(&limited));
        let cgroup = oom.victim.cgroup.clone().unwrap_or_default();
        if oom.victim.comm.is_none() {
            return skip("this kernel does not tell its victims");
        }
        match told {
            Some(whole) if whole.starts_with(&outer) => {
                assert_eq!((cgroup.as_str(), oom.oom_memcg.as_deref()), (whole, Some(outer.as_str())));
            }
            Some(part) => assert_eq!((cgroup, oom.oom_memcg), (format!("…{part}"), None)),
            None => assert_eq!(cgroup, format!("…/{0}/{0}", "n".repeat(255)), "what there is room for"),
        }
        assert_eq!(oom.constraint, Some(Constraint::Memcg));
        // Not where functions of the kernel may not be watched.
        let allocation = oom.gfp_mask.is_some_and(|mask| mask.starts_with("0x") && mask.len() > 2);
        assert_eq!((allocation, oom.order), (!oom.limit_inferred, (!oom.limit_inferred).then_some(0)));
        let uptime = now().mono_ns / (SECOND / 100);
        assert!(oom.victim.start_ticks.is_some_and(|start| uptime.abs_diff(start) < 60 * 100));
    }
}

#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn a_hung_task_arrives() {
    let _alone = alone();
    let mut each = load_each("hung_task");
    let _warnings = Sysctl::keep("kernel/hung_task_warnings");
    let _interval = Sysctl::set("kernel/hung_task_check_interval_secs", "0");
    let Ok(_timeout) = Sysctl::set("kernel/hung_task_timeout_secs", "2") else {
        return skip("this kernel does not detect hung tasks");
    };
    let mut frozen = FreezableFs::new().expect("a filesystem");
    frozen.freeze().expect("frozen");
    let mut writer = frozen.spawn_writer().expect("a writer");
    let hangs: Vec<_> = each
        .iter_mut()
        .map(|(_, ebpf)| {
            wait_event(ebpf, Duration::from_secs(20), |event| match event.what {
                What::Hang(hang) if hang.task.pid == Some(writer.id()) => Some(hang),
                _ => None,
            })
        })
        .collect();
    frozen.thaw().expect("thawed");
    assert!(writer.wait().expect("ends").success());
    for ((how, _), hang) in each.iter().zip(hangs) {
        let hang = hang.unwrap_or_else(|| panic!("{how}: the hang is seen"));
        assert_eq!(hang.task.comm.as_deref(), Some("dd"), "{how}");
        if how.starts_with("Btf") {
            assert_eq!(hang.tgid, Some(writer.id()), "{how}");
            let mut symbols = Symbols::default();
            symbols.learn(&LiveHost::default(), hang.addresses.iter().copied()).expect("root sees names");
            let stack = symbols.stack(&hang.addresses);
            // As /proc/PID/stack: what it waits in first, the system call last.
            assert!(stack.len() > 4 && !stack[0].starts_with("__schedule"), "{how}: {stack:?}");
            assert!(stack.iter().any(|f| f.starts_with("percpu_rwsem_wait+0x")), "{how}: {stack:?}");
            assert!(
                stack.iter().any(|f| f.contains("_x64_sys_") || f.contains("do_syscall")),
                "{how}: {stack:?}"
            );
        }
    }
}

#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn a_slow_request_arrives_with_its_latency() {
    let _alone = alone();
    let mut each = load_each("block_io");
    let mut frozen = FreezableFs::new().expect("a filesystem");
    let device = LoopDevice::over(&frozen.backing_file().expect("a file")).expect("a loop device");
    device.direct_reads(8).expect("fast reads");
    for (_, ebpf) in &mut each {
        drain(ebpf);
    }
    frozen.freeze().expect("frozen");
    thread::scope(|scope| {
        let write = scope.spawn(|| device.direct_write(40_960));
        thread::sleep(Duration::from_millis(800));
        frozen.thaw().expect("thawed");
        write.join().expect("no panic").expect("written");
    });
    for (how, ebpf) in &mut each {
        let io: Box<SlowIo> = wait_event(ebpf, Duration::from_secs(5), |event| match event.what {
            What::SlowIo(io) if io.device == device.name() => Some(io),
            _ => None,
        })
        .unwrap_or_else(|| panic!("{how}: the slow write is seen"));
        assert_eq!((io.op, io.sector, io.bytes, io.error), ("write", 80, 4096, 0), "{how}");
        assert!((700.0..5000.0).contains(&io.latency_ms), "{how}: {} ms", io.latency_ms);
        assert!((io.threshold_ms - 500.0).abs() < 1e-9);
        assert!(io.issuer.comm.is_some(), "{how}: {:?}", io.issuer);
    }
}

#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn histograms_count_every_request() {
    let _alone = alone();
    let Some(mut ebpf) = load(&only("block_io")) else { return };
    let image = tempfile::NamedTempFile::new().expect("a file");
    image.as_file().set_len(16 << 20).expect("16 MiB");
    let device = LoopDevice::over(image.path()).expect("a loop device");
    device.direct_reads(1).expect("reads");
    thread::sleep(Duration::from_millis(300));

    let mut collector = ebpf.collector(Look { skip: Box::new(|name| name == "vda"), scene_from_ms: 0.0 });
    let mut samples = Samples::new(1000);
    let mut defs = Vec::new();
    let mut read = |metric: &str, op: &str| -> Option<f64> {
        samples.begin("ebpf", now(), None);
        collector.collect(&LiveHost::default(), &mut samples).expect("collected");
        let batch = samples.finish();
        defs.extend(batch.defs);
        assert!(!defs.iter().any(|d| d.labels.first().is_some_and(|l| &**l == "vda")), "skipped");
        let wanted = [device.name(), op];
        let id =
            defs.iter().find(|d| d.metric.name == metric && d.labels.iter().map(|l| &**l).eq(wanted))?.id;
        batch.samples.iter().find(|(i, _)| *i == id).map(|(_, value)| *value)
    };
    let before = read("block_io_requests_total", "read").expect("it was read once");
    assert_eq!(read("block_io_latency_p50_ms", "read"), None, "an interval without requests");
    device.direct_reads(500).expect("reads");
    let median = read("block_io_latency_p50_ms", "read").expect("500 requests");
    assert!(median > 0.0 && median < 100.0, "{median} ms");
    let after = read("block_io_requests_total", "read").expect("counted");
    assert!((after - before - 500.0).abs() < f64::EPSILON, "{before} and {after}");
    device.direct_write(0).expect("a write");
    assert_eq!(read("block_io_requests_total", "write"), Some(1.0));
    assert_eq!(read("block_io_errors_total", "read"), Some(0.0));
    assert!(read("block_io_latency_seconds_total", "read").is_some_and(|s| s > 0.0));
}

#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn the_kernel_limits_reports_and_counts_the_rest() {
    let _alone = alone();
    let options = Options { io_latency_threshold_ms: 0, max_io_events_per_sec: 5, ..only("block_io") };
    let Some(mut ebpf) = load(&options) else { return };
    let image = tempfile::NamedTempFile::new().expect("a file");
    image.as_file().set_len(16 << 20).expect("16 MiB");
    let device = LoopDevice::over(image.path()).expect("a loop device");
    let start = Instant::now();
    device.direct_reads(400).expect("reads");
    let seconds = start.elapsed().as_secs() + 2;
    let events = drain(&mut ebpf).len() as u64;
    let lost_now = losses(&mut ebpf);
    let limited = lost(&lost_now, "kernel_rate_limit");
    assert!((1..=5 * seconds).contains(&events), "{events} events in {seconds} s");
    assert!(events + limited >= 400, "{events} events and {limited} counted");
    assert_eq!(lost(&lost_now, "buffer_full"), 0);
    let again = lost(&losses(&mut ebpf), "kernel_rate_limit");
    assert!(again < 100, "a loss is told once: {again}");
}

#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn a_full_buffer_is_counted() {
    let _alone = alone();
    let options = Options {
        io_latency_threshold_ms: 0,
        max_io_events_per_sec: u32::MAX,
        perf_buffer_pages: 1,
        ..only("block_io")
    };
    let Some(mut ebpf) = load(&options) else { return };
    let image = tempfile::NamedTempFile::new().expect("a file");
    image.as_file().set_len(16 << 20).expect("16 MiB");
    let device = LoopDevice::over(image.path()).expect("a loop device");
    device.direct_reads(1000).expect("reads");
    let events = drain(&mut ebpf).len() as u64;
    let full = lost(&losses(&mut ebpf), "buffer_full");
    assert!(events > 0 && full > 0, "{events} events, {full} lost");
    assert!(events + full >= 1000, "{events} events, {full} lost");
    device.direct_reads(10).expect("reads");
    assert!(drain(&mut ebpf).len() >= 10, "it goes on afterwards");
    assert_eq!(ebpf.undecodable(), 0);
}

/// Reads a collector once: `metric{label}` and value.
fn collected(mut collector: impl Collector) -> std::collections::HashMap<String, f64> {
    let mut samples = Samples::new(1000);
    samples.begin("live", now(), None);
    collector.collect(&LiveHost::default(), &mut samples).expect("collected");
    let batch = samples.finish();
    let value = |id| batch.samples.iter().find(|(i, _)| *i == id).map_or(0.0, |(_, value)| *value);
    batch.defs.iter().map(|d| (format!("{}{{{}}}", d.metric.name, d.labels.join(",")), value(d.id))).collect()
}

#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn refused_connections_are_counted_by_remote() {
    let _alone = alone();
    for (how, mut ebpf) in load_each("tcp") {
        for _ in 0..20 {
            // Nobody listens on port 1: this host sends the reset, and receives it.
            assert!(std::net::TcpStream::connect("127.0.0.1:1").is_err());
        }
        let told = collected(ebpf.tcp_collector().expect("it runs"));
        let own = |metric: &str| told.get(&format!("{metric}{{127.0.0.1}}")).copied().unwrap_or_default();
        assert!(own("tcp_remote_resets_received_total") >= 20.0, "{how}: {told:?}");
        // Before 6.10 a reset without a socket is sent silently.
        let all: f64 =
            told.iter().filter(|(k, _)| k.starts_with("tcp_remote_resets_sent")).map(|(_, v)| v).sum();
        assert!(own("tcp_remote_resets_sent_total") >= all.min(20.0), "{how}: {told:?}");
    }
}

#[test]
#[ignore = "live: runs eBPF programs and causes what they watch"]
fn stalls_and_waits_are_measured() {
    let _alone = alone();
    for (how, mut ebpf) in load_each("memory_stalls") {
        let group = MemoryCgroup::new("sysops-lab-stall", 32 << 20).expect("cgroup");
        group.oom_victim().expect("a kill");
        let told = collected(ebpf.wait_collector().expect("it runs"));
        assert!(told["kernel_waits_total{cgroup_reclaim}"] >= 1.0, "{how}: {told:?}");
        assert!(told["kernel_wait_seconds_total{cgroup_reclaim}"] > 0.0, "{how}: {told:?}");
    }
    for (how, mut ebpf) in load_each("run_queue") {
        thread::sleep(Duration::from_millis(300));
        let told = collected(ebpf.wait_collector().expect("it runs"));
        assert!(told["kernel_waits_total{run_queue}"] >= 10.0, "{how}: {told:?}");
        assert!(told["kernel_wait_p50_ms{run_queue}"] < 1000.0, "{how}: {told:?}");
    }
}

/// Set for a run of the next test by itself.
const WITHOUT_CAPABILITIES: &str = "SYSOPS_LAB_WITHOUT_CAPABILITIES";

#[test]
#[ignore = "live: runs itself without capabilities"]
fn a_missing_right_degrades_with_a_remedy() {
    if std::env::var_os(WITHOUT_CAPABILITIES).is_some() {
        return every_probe_fails_with_a_remedy();
    }
    let _alone = alone();
    if !ready() {
        return;
    }
    let caps = "-bpf,-sys_admin,-perfmon";
    let done = Command::new("setpriv")
        .args(["--bounding-set", caps, "--inh-caps", caps])
        .arg(std::env::current_exe().expect("own path"))
        .args(["--ignored", "--exact", "a_missing_right_degrades_with_a_remedy", "--nocapture"])
        .env(WITHOUT_CAPABILITIES, "1")
        .output()
        .expect("setpriv");
    print!("{}", String::from_utf8_lossy(&done.stdout));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn every_probe_fails_with_a_remedy() {
    let (ebpf, reports) = Ebpf::load(&LiveHost::default(), &Options::default());
    assert!(ebpf.is_none() && reports.len() == PROBES.len());
    for report in reports {
        let (why, remedy) = match report.state {
            ProbeState::Failed { why, remedy } => (why, remedy),
            // This kernel has no such tracepoint, or its switch is off.
            ProbeState::Off { .. } if report.probe.rare => continue,
            other => panic!("{}: {other:?}", report.probe.name),
        };
        println!("{}: {why}; {remedy}; {}", report.probe.name, report.probe.fallback);
        assert!(remedy.contains("CAP_"), "{why}; {remedy}");
    }
}
