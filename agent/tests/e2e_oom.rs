//! The running agent and kills that are hard to tell of: the group is gone, nobody but a counter saw it,
//! or it was not the kernel. As root: `cargo test --test e2e_oom -- --ignored`.
#![cfg(feature = "ebpf")]
#![expect(clippy::disallowed_methods, reason = "causes kernel events")]

mod e2e;
mod lab;

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::Duration;

use e2e::confine::Confine;
use e2e::scene::Scene;
use e2e::webhook::{kill_of, known};
use lab::{FreezableFs, MemoryCgroup, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use sysops_agent::alert::{Alert, Status};

/// Until an alert must have come.
const SOON: Duration = Duration::from_secs(30);
/// Time in which no second one may come.
const QUIET: Duration = Duration::from_secs(1);
/// Groups and counters are read every second.
const FAST: &str = "[collector]\nmemory_interval_secs = 1";
/// In which the collectors have read every group at least once.
const A_LOOK: Duration = Duration::from_millis(2500);

const ID: &str = "83c3e2e7b893f0a9d6f3f7c1b5a4e2d1c0b9a8f7e6d5c4b3a291807060504030";
const POD: &str = "2d3b8e4f-1a2b-4c5d-8e9f-0a1b2c3d4e5f";

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().expect("a pid")).expect("a pid");
    kill_process(pid, signal).expect("it runs");
}

#[test]
#[ignore = "live: kills three processes for lack of memory"]
fn a_group_that_is_gone_when_its_kill_is_told_is_known_from_before() {
    let unit = format!("sysops-e2e-web-{}.service", std::process::id());
    let Some((scene, agent)) = Scene::running(FAST) else { return };
    let webhook = &scene.webhook;
    let group = |path: &str| MemoryCgroup::at(path, 8 << 20).expect("a group");
    let groups = [
        group(&format!("/system.slice/{unit}")),
        group(&format!("/docker/{ID}")),
        group(&format!("/kubepods/burstable/pod{POD}/{ID}")),
    ];
    let paths = groups.each_ref().map(MemoryCgroup::name);
    sleep(A_LOOK);
    // The agent looks away while it happens, and finds neither victim nor group.
    signal(agent.pid(), Signal::STOP);
    let pids = groups.map(|group| group.oom_victim());
    signal(agent.pid(), Signal::CONT);
    let pids = pids.map(|pid| pid.expect("a kill"));
    let alerts = pids.map(|pid| webhook.exactly_one("a kill", SOON, QUIET, kill_of(pid)));
    for (alert, path) in alerts.iter().zip(&paths) {
        for name in ["oom_memcg", "victim_cgroup"] {
            assert_eq!(known(alert, name), path.as_str(), "{alert:#?}");
        }
        assert_eq!(known(alert, "limit_kb"), 8 << 10, "{alert:#?}");
        // 0 where memory and swap together are limited, whose failures newer kernels do not count.
        assert!(known(alert, "failcnt").is_u64(), "{alert:#?}");
        assert_eq!(known(alert, "memory_events")["oom_kill"], 0, "as it was before: {alert:#?}");
        assert!(known(alert, "figures_age_secs").as_u64().is_some_and(|age| age <= 10), "{alert:#?}");
    }
    let [web, docker, kubernetes] = &alerts;
    assert_eq!((web.labels["unit"].as_str(), known(web, "slice")), (unit.as_str(), "system.slice".into()));
    assert_eq!(known(web, "oom_unit"), unit.as_str());
    assert!(
        web.message.contains(&format!(
            "in {unit} was killed: cgroup /system.slice/{unit} reached its limit of 8.0 MiB"
        )),
        "{}",
        web.message
    );
    assert_eq!(
        (docker.labels["container"].as_str(), docker.labels["runtime"].as_str()),
        (&ID[..12], "docker")
    );
    assert_eq!((known(docker, "container_id"), known(docker, "oom_container_id")), (ID.into(), ID.into()));
    assert_eq!((kubernetes.labels["pod_uid"].as_str(), known(kubernetes, "container_id")), (POD, ID.into()));
    agent.stop();
}

#[test]
#[ignore = "live: kills two processes for lack of memory"]
fn a_limit_around_victim_and_trigger_is_told_with_its_own_figures() {
    let Some((scene, agent)) = Scene::running(FAST) else { return };
    let webhook = &scene.webhook;
    let name = format!("/sysops-e2e-both-{}", std::process::id());
    let around = MemoryCgroup::at(&name, 24 << 20).expect("a group");
    let below = |part: &str| MemoryCgroup::at(&format!("{name}/{part}"), 20 << 20).expect("a group");
    let (holds, wants) = (below("holds"), below("wants"));
    // `tail` keeps its last 12 MiB and waits; the other one grows into the limit of both.
    let held = "sh -c '(head -c 12582912 /dev/zero; exec sleep 30) | \
                (echo 500 > /proc/self/oom_score_adj; exec tail -c 12582912)'";
    let mut victim = holds.spawn(held).expect("a process");
    let usage = ["memory.current", "memory.usage_in_bytes"].map(|file| holds.procs().with_file_name(file));
    let kept = || usage.iter().find_map(|file| fs::read_to_string(file).ok())?.trim().parse::<u64>().ok();
    wait_for(SOON, || kept().filter(|&bytes| bytes >= 12 << 20)).expect("it is held");
    wants.oom_victim().expect("a kill");
    let of_holder = |a: &Alert| a.rule == "oom_kill" && known(a, "victim_cgroup") == holds.name().as_str();
    let alert = webhook.exactly_one("the kill", SOON, QUIET, of_holder);
    assert_eq!(known(&alert, "oom_memcg"), around.name().as_str(), "{alert:#?}");
    assert_eq!(known(&alert, "limit_kb"), 24 << 10, "{alert:#?}");
    let told = format!("cgroup {} reached its limit of 24.0 MiB; triggered by tail", around.name());
    assert!(alert.message.contains(&told), "{}", alert.message);
    agent.stop();
    // `sleep` is left.
    drop(holds);
    victim.wait().expect("it ends");
}

#[test]
#[ignore = "live: kills two processes of one number for lack of memory"]
fn a_process_number_that_is_killed_twice_is_two_kills() {
    let Some((scene, agent)) = Scene::running("") else { return };
    let Scene { webhook, home, .. } = &scene;
    if !scene.has(&["ebpf.oom", "kernel_log"]) {
        return;
    }
    let group = MemoryCgroup::new("sysops-e2e-again", 8 << 20).expect("a group");
    let pid = group.oom_victim().expect("a kill");
    webhook.exactly_one("the first kill", SOON, Duration::ZERO, kill_of(pid));
    group.oom_victim_numbered(pid).expect("a kill of the same number");
    let both = wait_for(SOON, || Some(webhook.taken(kill_of(pid))).filter(|alerts| alerts.len() > 1));
    sleep(QUIET);
    let alerts = webhook.taken(kill_of(pid));
    assert!(both.is_some() && alerts.len() == 2, "two kills, not {alerts:#?}");
    for alert in &alerts {
        // Whichever was heard first.
        let mut seen_by = alert.source.clone();
        seen_by.sort_unstable();
        assert_eq!((alert.status, &seen_by[..]), (Status::Firing, &["ebpf".into(), "kmsg".into()][..]));
        assert_eq!(known(alert, "victim_cgroup"), group.name(), "{alert:#?}");
    }
    agent.stop();
    let log = home.log();
    let counted = log.lines().rfind(|line| line.contains("counted since")).unwrap_or_default();
    assert!(counted.contains("kernel_oom_kills_total 2"), "{counted}");
    assert!(!counted.contains("oom_witness_disagreements_total"), "{counted}");
}

#[test]
#[ignore = "live: kills a process for lack of memory"]
fn a_kill_that_only_counters_saw_is_told_with_its_group() {
    let blind = "[ebpf]\nenabled = \"off\"\n[log_analyzer]\nenabled = false";
    let Some(scene) = Scene::new(&format!("{FAST}\n{blind}")) else { return };
    let Scene { webhook, home, .. } = &scene;
    let group = MemoryCgroup::new("sysops-e2e-blind", 8 << 20).expect("a group");
    let agent = home.start(&Confine::No);
    sleep(A_LOOK);
    group.oom_victim().expect("a kill");
    let by_counter = |a: &Alert| a.rule == "oom_kill" && a.source == ["counter"];
    let alert = webhook.exactly_one("the kill", SOON, QUIET, by_counter);
    let groups = known(&alert, "cgroups");
    assert_eq!((&groups[0]["cgroup"], &groups[0]["kills"]), (&group.name().into(), &1.into()), "{alert:#?}");
    assert!(
        alert.message.contains(&format!("killed 1 process in cgroup {}", group.name())),
        "{}",
        alert.message
    );
    agent.stop();
}

#[test]
#[ignore = "live: writes to the kernel log"]
fn a_killer_in_user_space_is_told_on_its_own_word() {
    let only_kmsg = "[log_analyzer]\nsources = [\"dmesg\"]\n";
    let Some((scene, agent)) = Scene::running(only_kmsg) else { return };
    let webhook = &scene.webhook;
    let line = "<30>systemd-oomd[840]: Killed /system.slice/sysops-e2e.service due to memory pressure for \
                /system.slice being 51.07% > 50.00% for > 20s with reclaim activity\n";
    // Without the line break the record would stay open for its continuation, and nobody could read it.
    fs::write("/dev/kmsg", line).expect("written");
    let alert = webhook
        .exactly_one("it", SOON, QUIET, |a| a.labels.get("killer").is_some_and(|k| k == "systemd-oomd"));
    assert_eq!(
        (alert.rule.as_str(), alert.source.as_slice()),
        ("user_oom_kill", &["user_log".to_owned()][..])
    );
    assert_eq!(alert.labels["unit"], "sysops-e2e.service");
    assert!(
        alert.message.starts_with(
            "Low memory: systemd-oomd says it killed all of sysops-e2e.service: memory pressure for"
        ),
        "{}",
        alert.message
    );
    webhook.nothing("a kernel kill", Duration::ZERO, |a| {
        a.rule == "oom_kill" && a.message.contains("sysops-e2e")
    });
    agent.stop();
}

/// File that [`locked_process`] maps.
const MAPPED: &str = "SYSOPS_TEST_MAPPED";
/// File by which it enters its group.
const PROCS: &str = "SYSOPS_TEST_PROCS";
const PAGE: usize = 4096;

/// Not a test, but the process of the next one: a thread hangs in a page fault on a frozen filesystem, another
/// waits for it in `munmap` with the memory lock of the process, and then it is killed for lack of memory.
#[test]
#[ignore = "the process of another test"]
fn locked_process() {
    let (Ok(mapped), Ok(procs)) = (std::env::var(MAPPED), std::env::var(PROCS)) else { return };
    let file = File::options().read(true).write(true).open(mapped).expect("the file");
    let (access, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a new mapping, of a file of that size.
    let map = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, access, shared, file.as_raw_fd(), 0) };
    assert_ne!(map, libc::MAP_FAILED);
    let address = map as usize;
    // SAFETY: within the mapping; it never returns before the process is killed.
    thread::spawn(move || unsafe { std::ptr::write_volatile(address as *mut u8, 1) });
    sleep(Duration::from_millis(200));
    // SAFETY: nobody else uses the mapping but the thread that hangs.
    thread::spawn(move || unsafe { libc::munmap(address as *mut libc::c_void, PAGE) });
    sleep(Duration::from_millis(200));
    fs::write(procs, std::process::id().to_string()).expect("the group");
    // Pages of a file need no memory lock.
    let fd = rustix::fs::memfd_create("grows", rustix::fs::MemfdFlags::empty()).expect("a file");
    let mut grows = File::from(fd);
    loop {
        grows.write_all(&[1; PAGE]).expect("until it is killed");
    }
}

struct Locked(Child);

impl Locked {
    fn start(frozen: &FreezableFs, group: &MemoryCgroup) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "locked_process", "--ignored"]).stdout(Stdio::null());
        command.env(MAPPED, frozen.path().join("back")).env(PROCS, group.procs());
        Self(command.spawn().expect("a process"))
    }

    /// Whether a reader of its command line waits.
    fn is_locked(&self) -> bool {
        let (tell, told) = mpsc::channel();
        let path = format!("/proc/{}/cmdline", self.0.id());
        thread::spawn(move || tell.send(fs::read(path)));
        told.recv_timeout(Duration::from_millis(300)).is_err()
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

#[test]
#[ignore = "live: kills two processes for lack of memory, one of which hangs"]
fn a_victim_whose_memory_is_locked_stops_nothing() {
    // The BPF program would read its arguments without the lock.
    let Some((scene, agent)) = Scene::running("[ebpf]\noom = false") else { return };
    let webhook = &scene.webhook;
    let groups = ["sysops-e2e-locked", "sysops-e2e-next"];
    let [locked_in, next_in] = groups.map(|name| MemoryCgroup::new(name, 8 << 20).expect("a group"));
    let mut frozen = FreezableFs::new().expect("a filesystem");
    frozen.backing_file().expect("a file");
    frozen.freeze().expect("frozen");
    let mut locked = Locked::start(&frozen, &locked_in);
    let pid = locked.0.id();
    let first = webhook.exactly_one("its kill", SOON, Duration::ZERO, kill_of(pid));
    assert!(locked.is_locked(), "else this shows nothing");
    let next = next_in.oom_victim().expect("a kill");
    let next = webhook.exactly_one("the next kill", SOON, QUIET, kill_of(next));
    assert!(locked.is_locked(), "still");
    frozen.thaw().expect("thawed");
    locked.0.wait().expect("ends");
    assert!(known(&first, "victim_cmdline").is_null(), "{first:#?}");
    assert_eq!(known(&next, "victim_cgroup"), next_in.name(), "{next:#?}");
    agent.stop();
}

#[test]
#[ignore = "live: kills a process for lack of memory beside one that cannot die"]
fn the_mark_of_a_task_that_is_exiting_anyway_is_no_kill() {
    let Some((scene, agent)) = Scene::running("") else { return };
    let Scene { webhook, home, .. } = &scene;
    if !scene.has(&["ebpf.oom", "kernel_log"]) {
        return;
    }
    let group = MemoryCgroup::new("sysops-e2e-dying", 16 << 20).expect("a group");
    let mut frozen = FreezableFs::new().expect("a filesystem");
    // It shall hang in its write, with its memory: not before.
    let to = frozen.backing_file().expect("a file");
    frozen.freeze().expect("frozen");
    let command = format!("dd if=/dev/zero of={} bs=9M count=1 conv=notrunc,nocreat", to.display());
    let mut dying = group.spawn(&command).expect("dd");
    let state = || fs::read_to_string(format!("/proc/{}/stat", dying.id())).ok();
    wait_for(SOON, || state()?.contains("(dd) D").then_some(())).expect("it hangs");
    sleep(A_LOOK);
    dying.kill().expect("it runs");
    let pid = group.oom_victim().expect("a kill");
    webhook.exactly_one("the kill", SOON, QUIET, kill_of(pid));
    webhook.nothing("one of the other", Duration::ZERO, kill_of(dying.id()));
    frozen.thaw().expect("thawed");
    dying.wait().expect("ends");
    agent.stop();
    let log = home.log();
    let counted = log.lines().rfind(|line| line.contains("counted since")).unwrap_or_default();
    for count in ["kernel_oom_kills_total 1", "oom_marks_of_dying_total 1"] {
        assert!(counted.contains(count), "{count}: {counted}");
    }
}
