//! Hung tasks on a real kernel beyond the first one: when the kernel's log is silent, when nobody but the agent
//! looks, and when there are hundreds. As root: `cargo test --test e2e_hangs -- --ignored`.
#![cfg(feature = "ebpf")]
#![expect(clippy::disallowed_methods, reason = "causes hangs and looks at the machine by itself")]

mod e2e;
mod lab;

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use e2e::confine::Confine;
use e2e::scene::Scene;
use e2e::webhook::{hang_of, known};
use lab::{FreezableFs, Sysctl, detect_hangs, wait_for};
use sysops_agent::alert::{Alert, Status};

const SOON: Duration = Duration::from_secs(30);

/// Processes that write to files that were open before the freeze.
struct Writers(Vec<Child>);

impl Writers {
    fn start(frozen: &mut FreezableFs, count: usize) -> Self {
        let open = |i| File::create(frozen.path().join(format!("f{i}"))).expect("a file");
        let files: Vec<File> = (0..count).map(open).collect();
        frozen.freeze().expect("frozen");
        let dd = |file: File| {
            Command::new("dd")
                .args(["if=/dev/zero", "bs=4k", "count=1", "status=none"])
                .stdout(file)
                .stderr(Stdio::null())
                .spawn()
        };
        Self(files.into_iter().map(|file| dd(file).expect("dd")).collect())
    }

    fn end(&mut self) {
        assert!(self.0.iter_mut().all(|child| child.wait().expect("ends").success()));
    }
}

fn with(status: Status, pick: impl Fn(&Alert) -> bool) -> impl Fn(&Alert) -> bool {
    move |alert| pick(alert) && alert.status == status
}

#[test]
#[ignore = "live: lets a task hang in the kernel"]
fn a_hang_is_told_and_over_when_the_kernel_log_is_silent() {
    let Some(scene) = Scene::new("[ebpf]\ndstate_watch_secs = 0") else { return };
    let Scene { webhook, home, .. } = &scene;
    if !scene.has(&["ebpf.hung_task"]) {
        return;
    }
    let Some(_detector) = detect_hangs(0) else { return };
    let agent = home.start(&Confine::No);
    let mut frozen = FreezableFs::new().expect("a filesystem");
    let mut writers = Writers::start(&mut frozen, 1);
    let pid = writers.0[0].id();
    let alert = webhook.exactly_one("the hang", 2 * SOON, Duration::ZERO, with(Status::Firing, hang_of(pid)));
    frozen.thaw().expect("thawed");
    writers.end();
    assert_eq!(alert.source, ["ebpf"]);
    let over = webhook.exactly_one("its end", SOON, Duration::ZERO, with(Status::Resolved, hang_of(pid)));
    assert_eq!(over.id, alert.id);
    // The mount is told at once, or at the latest with the end.
    let mount = frozen.path().display().to_string();
    assert_eq!((known(&over, "mount"), known(&over, "layer")), (mount.into(), "frozen filesystem".into()));
    assert_eq!(known(&over, "device"), frozen.device().expect("its device"));
    assert!(known(&over, "kernel_stack").is_array(), "{over:#?}");
    agent.stop();
}

/// Only the kernel's log knows of the first, whose process is gone: nobody is told that it stands, and it hides nothing.
#[test]
#[ignore = "live: lets tasks hang in the kernel"]
fn a_hang_that_came_and_went_while_no_agent_ran_is_told_as_over() {
    let Some(scene) = Scene::new("[ebpf]\ndstate_watch_secs = 0") else { return };
    let Scene { webhook, home, .. } = &scene;
    if !scene.has(&["kernel_log"]) {
        return;
    }
    let Some(_detector) = detect_hangs(10) else { return };
    home.start(&Confine::No).kill();
    let mut frozen = FreezableFs::new().expect("a filesystem");
    let mut writers = Writers::start(&mut frozen, 1);
    let pid = writers.0[0].id();
    let in_log = || log_of_kernel().contains(&format!("task dd:{pid} ")).then_some(());
    wait_for(2 * SOON, in_log).expect("the kernel reports it");
    frozen.thaw().expect("thawed");
    writers.end();
    let agent = home.start(&Confine::No);
    let over = webhook.exactly_one("its end", SOON, Duration::ZERO, with(Status::Resolved, hang_of(pid)));
    let told = webhook.taken(hang_of(pid));
    assert!(
        told.iter()
            .all(|a| a.id == over.id && (a.status == Status::Resolved || a.message.contains("over by now"))),
        "{told:#?}"
    );
    let mut frozen = FreezableFs::new().expect("another filesystem");
    let mut writers = Writers::start(&mut frozen, 1);
    let pid = writers.0[0].id();
    let next = webhook.exactly_one("the next", 2 * SOON, Duration::ZERO, with(Status::Firing, hang_of(pid)));
    assert_ne!(next.id, over.id);
    frozen.thaw().expect("thawed");
    writers.end();
    webhook.exactly_one("its end", SOON, Duration::ZERO, with(Status::Resolved, hang_of(pid)));
    agent.stop();
}

fn log_of_kernel() -> String {
    let said = Command::new("dmesg").output().expect("dmesg");
    String::from_utf8_lossy(&said.stdout).into_owned()
}

#[test]
#[ignore = "live: lets 200 tasks hang in the kernel"]
fn two_hundred_hung_tasks_are_one_incident_with_the_right_count() {
    const TASKS: usize = 200;
    let Some(scene) = Scene::new("[ebpf]\ndstate_watch_secs = 2") else { return };
    let Scene { webhook, home, .. } = &scene;
    let _warnings = Sysctl::set("kernel/hung_task_warnings", "10");
    let _interval = Sysctl::set("kernel/hung_task_check_interval_secs", "0");
    let _timeout = Sysctl::set("kernel/hung_task_timeout_secs", "3");
    let agent = home.start(&Confine::No);
    let mut frozen = FreezableFs::new().expect("a filesystem");
    let parent = lab::vfork::vfork_parent(9);
    let mut writers = Writers::start(&mut frozen, TASKS);
    let pids: Vec<u32> = writers.0.iter().map(Child::id).collect();
    let ours = |a: &Alert| pids.iter().any(|&pid| hang_of(pid)(a));
    let first = webhook.exactly_one("the hang", 2 * SOON, Duration::ZERO, with(Status::Firing, ours));
    // The kernel's own reports come after the agent's, of each task, twice.
    thread::sleep(Duration::from_secs(7));
    let rss = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("its status");
    let rss: u64 = rss
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:")?.trim_end_matches(" kB").trim().parse().ok())
        .expect("kB");
    frozen.thaw().expect("thawed");
    writers.end();
    parent.join().expect("no panic");
    let over = webhook.exactly_one("the end", SOON, Duration::from_secs(1), with(Status::Resolved, ours));
    let all = webhook.taken(ours);
    println!("{} messages, agent {rss} kB, first: {}; last: {}", all.len(), first.message, over.message);
    assert_eq!(
        (over.id.as_str(), known(&over, "tasks_count")),
        (first.id.as_str(), TASKS.into()),
        "{over:#?}"
    );
    assert_eq!(
        (known(&over, "tasks_released"), known(&over, "tasks_same_wait")),
        (TASKS.into(), TASKS.into())
    );
    assert!(all.len() <= 5 && all.iter().all(|a| a.id == first.id), "{:#?}", webhook.messages());
    assert_eq!(over.labels["mount"], frozen.path().display().to_string());
    assert!(over.source.contains(&"dstate".to_owned()), "{over:#?}");
    // The limit is that of a release build; this one is larger.
    assert!(rss < 100 << 10, "{rss} kB");
    let me = std::process::id();
    let vfork = |a: &Alert| a.rule == "hung_task" && known(a, "task_tgid") == me;
    webhook.nothing("the parent of a vfork", Duration::ZERO, vfork);
    agent.stop();
}
