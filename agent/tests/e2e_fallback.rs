//! Where eBPF cannot run, the kernel log stands in, and where that is closed too, the kernel's counter: each
//! time one alert, and `doctor` says why and what to do. As root: `cargo test --test e2e_fallback -- --ignored`.
#![cfg(feature = "ebpf")]

mod e2e;
mod lab;

use std::time::Duration;

use e2e::confine::{Confine, nobody};
use e2e::scene::Scene;
use e2e::webhook::{hang_of, kill_of, known, slow};
use lab::{FreezableFs, LoopDevice, MemoryCgroup, Sysctl, detect_hangs};
use sysops_agent::alert::Alert;

const SOON: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_secs(3);
/// The rights that the unit gives for kernel events.
const FOUR: &str = "-all,+bpf,+perfmon,+dac_read_search,+syslog";
/// The kernel does not describe its types.
const NO_BTF: &str = "mount -t tracefs tracefs /sys/kernel/tracing && mount -t tmpfs tmpfs /sys/kernel/btf";
const PROBES: [&str; 3] = ["ebpf.oom", "ebpf.hung_task", "ebpf.block_io"];

/// Starts the agent under `confine` and lets the kernel kill: one alert comes, of these sources.
fn one_kill(scene: &Scene, confine: &Confine, sources: &[&str]) -> Alert {
    let Scene { home, webhook, .. } = scene;
    let agent = home.start(confine);
    let group = MemoryCgroup::new("sysops-e2e-fallback", 8 << 20).expect("cgroup");
    let pid = group.oom_victim().expect("a kill");
    let alert = webhook.exactly_one("the kill", SOON, QUIET, kill_of(pid));
    agent.stop();
    // Whoever speaks first stands first.
    let mut told = alert.source.clone();
    told.sort_unstable();
    assert_eq!(told, sources, "{alert:#?}");
    if sources != ["counter"] {
        assert_eq!(known(&alert, "victim_pid"), pid);
        assert_eq!(known(&alert, "constraint"), "CONSTRAINT_MEMCG");
        assert_eq!(known(&alert, "oom_memcg"), group.name().as_str());
        assert!(known(&alert, "anon_rss_kb").as_u64().is_some_and(|kb| kb > 1024), "{alert:#?}");
    }
    alert
}

#[test]
#[ignore = "live: kills a process for lack of memory"]
fn without_the_capabilities_the_kernel_log_stands_in() {
    const CAPS: &str = "-bpf,-sys_admin,-perfmon";
    for confine in [
        Confine::Rights(vec!["--bounding-set", CAPS, "--inh-caps", CAPS]),
        Confine::nobody("-all,+dac_read_search,+syslog"),
    ] {
        let Some(scene) = Scene::new("") else { return };
        let features = scene.home.doctor(&confine);
        assert!(features.is_on("kernel_log"), "{features:#?}");
        for probe in PROBES {
            features.check_refused(
                probe,
                "the kernel allows no BPF without CAP_BPF and CAP_PERFMON",
                "give the agent CAP_BPF and CAP_PERFMON",
            );
        }
        features.check_refused("ebpf.oom", "OOM kills are read from the kernel log", "");
        one_kill(&scene, &confine, &["kmsg"]);
    }
}

#[test]
#[ignore = "live: kills a process for lack of memory"]
fn without_perf_events_the_ring_buffer_takes_their_place() {
    let Some(scene) = Scene::new("") else { return };
    let Scene { webhook, home, .. } = &scene;
    let confine = Confine::NoPerf(Box::new(Confine::nobody(FOUR)));
    let features = home.doctor(&confine);
    for probe in PROBES {
        assert!(features.is_on(probe), "{features:#?}");
        let reason = features.get(probe, "reason");
        assert!(reason.contains("BTF tracepoint and ring buffer; no perf buffer: "), "{reason}");
    }
    one_kill(&scene, &confine, &["ebpf", "kmsg"]);

    // The kernel log says nothing about hung tasks any more.
    let Some(_detector) = detect_hangs(0) else { return };
    let agent = home.start(&confine);
    let mut frozen = FreezableFs::new().expect("a filesystem");
    frozen.freeze().expect("frozen");
    let mut writer = frozen.spawn_writer().expect("a writer");
    let hang = webhook.exactly_one("the hang", Duration::from_secs(20), QUIET, hang_of(writer.id()));
    frozen.thaw().expect("thawed");
    assert!(writer.wait().expect("ends").success());
    agent.stop();
    assert_eq!(hang.source, ["ebpf"]);
    let stack = known(&hang, "kernel_stack").to_string();
    assert!(stack.contains("percpu_rwsem_wait+0x"), "named by nobody but /proc/kallsyms: {stack}");
}

#[test]
#[ignore = "live: kills a process for lack of memory"]
fn without_perf_events_and_types_the_kernel_log_stands_in() {
    let Some(scene) = Scene::new("") else { return };
    let home = &scene.home;
    let confine = Confine::NoPerf(Box::new(Confine::Mounts(NO_BTF, nobody(FOUR))));
    let features = home.doctor(&confine);
    for probe in PROBES {
        features.check_refused(probe, "the perf buffer could not be opened", "perf_event_open");
    }
    one_kill(&scene, &confine, &["kmsg"]);
}

#[test]
#[ignore = "live: kills a process for lack of memory"]
fn without_bpf_in_the_kernel_the_kernel_log_stands_in() {
    let Some(scene) = Scene::new("") else { return };
    let home = &scene.home;
    let features = home.doctor(&Confine::NoBpf);
    for probe in PROBES {
        features.check_refused(probe, "not implemented", "this kernel is built without BPF");
    }
    one_kill(&scene, &Confine::NoBpf, &["kmsg"]);
    assert!(home.printed().contains("OOM kills are read from the kernel log"), "it says so at the start");
}

#[test]
#[ignore = "live: kills a process, makes a task hang and a block device slow"]
fn one_probe_that_fails_leaves_the_others_alone() {
    const SCRIPT: &str = "mount -t tracefs tracefs /sys/kernel/tracing && \
                          mount -t tmpfs tmpfs /sys/kernel/tracing/events/oom && \
                          mount -t tmpfs tmpfs /sys/kernel/btf";
    let Some(scene) = Scene::new("") else { return };
    let Scene { webhook, home, .. } = &scene;
    let confine = Confine::Mounts(SCRIPT, vec!["--no-new-privs"]);
    let features = home.doctor(&confine);
    features.check_refused("ebpf.oom", "no tracepoint oom:mark_victim", "another kernel");
    assert!(features.is_on("ebpf.hung_task") && features.is_on("ebpf.block_io"), "{features:#?}");

    let Some(_detector) = detect_hangs(10) else { return };
    let agent = home.start(&confine);
    let group = MemoryCgroup::new("sysops-e2e-partial", 8 << 20).expect("cgroup");
    let pid = group.oom_victim().expect("a kill");
    // One frozen filesystem for both: a task hangs, and the request of the device above it is slow.
    let mut frozen = FreezableFs::new().expect("a filesystem");
    let device = LoopDevice::over(&frozen.backing_file().expect("a file")).expect("a loop device");
    frozen.freeze().expect("frozen");
    let mut writer = frozen.spawn_writer().expect("a writer");
    std::thread::scope(|scope| {
        let slow_write = scope.spawn(|| device.direct_write(0));
        let hang = webhook.exactly_one("the hang", Duration::from_secs(20), QUIET, hang_of(writer.id()));
        frozen.thaw().expect("thawed");
        slow_write.join().expect("no panic").expect("written");
        assert!(hang.source.contains(&"ebpf".to_owned()), "{hang:#?}");
    });
    assert!(writer.wait().expect("ends").success());
    let io = webhook.exactly_one("the slow write", SOON, QUIET, slow(device.name()));
    assert_eq!(io.source, ["ebpf"]);
    let kill = webhook.exactly_one("the kill", SOON, Duration::ZERO, kill_of(pid));
    assert_eq!(kill.source, ["kmsg"], "{kill:#?}");
    agent.stop();
}

#[test]
#[ignore = "live: kills a process for lack of memory"]
fn a_tracefs_that_may_not_be_read_is_done_without_or_named() {
    const CLOSED: &str = "mount -t tracefs -o mode=700 tracefs /sys/kernel/tracing";
    const NEITHER: &str = "mount -t tracefs -o mode=700 tracefs /sys/kernel/tracing && \
                           mount -t tmpfs tmpfs /sys/kernel/btf";
    let Some(scene) = Scene::new("") else { return };
    let home = &scene.home;
    let rights = || nobody("-all,+bpf,+perfmon,+syslog");
    let features = home.doctor(&Confine::Mounts(CLOSED, rights()));
    for probe in PROBES {
        assert!(features.is_on(probe), "{features:#?}");
        assert!(features.get(probe, "reason").contains("BTF tracepoint and perf buffer"), "{features:#?}");
    }
    let why = "not as tracepoint: /sys/kernel/tracing may not be read";
    assert!(features.get("ebpf.tcp", "reason").contains(why), "{features:#?}");

    let confine = Confine::Mounts(NEITHER, rights());
    let features = home.doctor(&confine);
    for probe in PROBES {
        features.check_refused(probe, "/sys/kernel/tracing may not be read", "CAP_DAC_READ_SEARCH");
        features.check_refused(probe, "does not describe its types", "CONFIG_DEBUG_INFO_BTF");
    }
    one_kill(&scene, &confine, &["kmsg"]);
}

#[test]
#[ignore = "live: kills a process for lack of memory"]
fn without_the_kernel_log_the_counter_still_tells_of_a_kill() {
    let Some(scene) = Scene::new("[collector]\nmemory_interval_secs = 1") else { return };
    let home = &scene.home;
    let _restricted = Sysctl::set("kernel/dmesg_restrict", "1").expect("root may");
    let confine = Confine::nobody("");
    let features = home.doctor(&confine);
    features.check_refused("kernel_log", "/dev/kmsg may not be read", "CAP_SYSLOG");
    features.check_refused("ebpf.oom", "the kernel log cannot be read either", "");
    let alert = one_kill(&scene, &confine, &["counter"]);
    for part in ["killed 1 process", "which is unknown", "neither eBPF nor the kernel log can be read here"] {
        assert!(alert.message.contains(part), "{part} in {}", alert.message);
    }
    assert!(alert.message.contains("sysops-agent doctor"), "{}", alert.message);
    assert!(known(&alert, "victim_pid").is_null() && alert.labels["scope"] == "unknown", "{alert:#?}");
    let unknown = known(&alert, "unknown").to_string();
    assert!(unknown.contains("victim_pid") && unknown.contains("oom_memcg"), "{unknown}");
}
