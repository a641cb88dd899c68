//! Between the event and its delivery the agent may be killed at any moment: nothing is lost and nothing is
//! told twice. As root: `cargo test --test e2e_restart -- --ignored`.
#![cfg(feature = "ebpf")]
#![expect(clippy::disallowed_methods, reason = "causes kernel events and looks at the machine by itself")]

mod e2e;
mod lab;

use std::time::Duration;

use e2e::agent::Home;
use e2e::confine::Confine;
use e2e::scene::Scene;
use e2e::webhook::{Mood, Webhook, kill_of, known, unforeseen};
use lab::{FreezableFs, LoopDevice, MemoryCgroup, skip, wait_for};
use rustix::process::Signal;
use sysops_agent::service::STOP_WITHIN;

const SOON: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_secs(3);

fn kill() -> u32 {
    let group = MemoryCgroup::new("sysops-e2e-restart", 8 << 20).expect("cgroup");
    group.oom_victim().expect("a kill")
}

/// Waits until the agent has taken the alert of that kill in.
fn await_accepted(home: &Home, pid: u32) {
    let mark = format!("\"victim_pid\":{pid},");
    let accepted = wait_for(SOON, || home.outbox().contains(&mark).then_some(()));
    assert!(accepted.is_some(), "not in the outbox: {}", home.outbox());
}

/// Starts the agent twice more: what was told is not told again.
fn nothing_is_repeated(home: &Home, webhook: &Webhook, pid: u32) {
    for kill in [true, false] {
        let agent = home.start(&Confine::No);
        webhook.exactly_one("the kill", SOON, QUIET, kill_of(pid));
        if kill {
            agent.kill();
        } else {
            agent.stop();
        }
    }
}

#[test]
#[ignore = "live: kills a process for lack of memory"]
fn an_alert_that_nobody_took_survives_a_kill_of_the_agent() {
    let Some(mut scene) = Scene::with(Webhook::closed(), "") else { return };
    let agent = scene.home.start(&Confine::No);
    let pid = kill();
    await_accepted(&scene.home, pid);
    agent.kill();
    scene.webhook.open();
    let Scene { webhook, home, .. } = &scene;
    let agent = home.start(&Confine::No);
    webhook.exactly_one("the kill", SOON, QUIET, kill_of(pid));
    agent.kill();
    nothing_is_repeated(home, webhook, pid);
}

#[test]
#[ignore = "live: kills a process for lack of memory"]
fn an_agent_that_starts_while_the_killed_one_still_ends_takes_its_alerts_over() {
    let Some(mut scene) = Scene::with(Webhook::closed(), "") else { return };
    let first = scene.home.start(&Confine::No);
    let pid = kill();
    await_accepted(&scene.home, pid);
    scene.webhook.open();
    // The kernel takes its probes apart for a second or so, and holds the lock of the outbox until then.
    first.signal(Signal::KILL);
    let second = scene.home.start(&Confine::No);
    scene.webhook.exactly_one("the kill", SOON, QUIET, kill_of(pid));
    second.stop();
}

#[test]
#[ignore = "live: kills a process for lack of memory"]
fn an_alert_under_way_survives_a_kill_of_the_agent() {
    let Some(scene) = Scene::new("") else { return };
    let Scene { webhook, home, .. } = &scene;
    webhook.set(Mood::Hang);
    let agent = home.start(&Confine::No);
    let pid = kill();
    let sent = || webhook.arrived().iter().any(|a| kill_of(pid)(&a.alert)).then_some(());
    wait_for(SOON, sent).expect("it is sent");
    await_accepted(home, pid);
    agent.kill();
    webhook.set(Mood::Answer(200));
    let agent = home.start(&Confine::No);
    webhook.exactly_one("the kill", SOON, QUIET, kill_of(pid));
    agent.stop();
    nothing_is_repeated(home, webhook, pid);
}

#[test]
#[ignore = "live: kills a process for lack of memory"]
fn a_kill_that_the_agent_could_not_see_is_read_from_the_kernel_log() {
    let Some((scene, agent)) = Scene::running("") else { return };
    let Scene { webhook, home, .. } = &scene;
    agent.signal(Signal::STOP);
    let blind = kill();
    agent.kill();
    // And one while no agent runs at all.
    let absent = kill();
    let agent = home.start(&Confine::No);
    for pid in [blind, absent] {
        let alert = webhook.exactly_one("the kill", SOON, QUIET, kill_of(pid));
        assert_eq!(alert.source, ["kmsg"]);
        assert_eq!(known(&alert, "constraint"), "CONSTRAINT_MEMCG", "{alert:#?}");
    }
    agent.stop();
    nothing_is_repeated(home, webhook, blind);
    webhook.exactly_one("the other kill", SOON, Duration::ZERO, kill_of(absent));
}

#[test]
#[ignore = "live: kills two processes for lack of memory"]
fn kills_that_the_log_lost_while_no_agent_ran_are_told_by_their_number() {
    let Some((scene, agent)) = Scene::running("[collector]\nmemory_interval_secs = 1") else { return };
    let Scene { webhook, home, .. } = &scene;
    let path = home.data().join("kmsg-position");
    let stored = || std::fs::read_to_string(&path).ok().filter(|text| text.split_whitespace().count() == 3);
    // A kill is told and counted; the place in the log is written behind it.
    let told = kill();
    webhook.exactly_one("the first kill", SOON, Duration::ZERO, kill_of(told));
    wait_for(SOON, stored).expect("the count is stored");
    agent.stop();
    kill();
    kill();
    // As if the log had been overwritten: everything in it lies before the place.
    let text = stored().expect("it is still there");
    let words: Vec<&str> = text.split_whitespace().collect();
    std::fs::write(&path, format!("{} {} {}\n", words[0], u64::MAX, words[2])).expect("written");
    let agent = home.start(&Confine::No);
    let by_counter = |a: &sysops_agent::alert::Alert| a.rule == "oom_kill" && a.source == ["counter"];
    let alert = webhook.exactly_one("the lost kills", SOON, QUIET, by_counter);
    assert_eq!(known(&alert, "kills"), 2, "{alert:#?}");
    agent.stop();
    let agent = home.start(&Confine::No);
    webhook.exactly_one("the lost kills, once", SOON, QUIET, by_counter);
    agent.stop();
}

#[test]
#[ignore = "live: kills a process for lack of memory"]
fn a_first_start_does_not_tell_of_the_past() {
    let Some(scene) = Scene::new("") else { return };
    let pid = kill();
    let agent = scene.home.start(&Confine::No);
    scene.webhook.nothing("of before the first start", QUIET, |a| unforeseen(a) || kill_of(pid)(a));
    agent.stop();
}

#[test]
#[ignore = "live: makes ext4 report an error"]
fn a_log_line_is_not_told_again_after_a_kill_of_the_agent() {
    let Some((scene, agent)) = Scene::running("") else { return };
    let Scene { webhook, home, .. } = &scene;
    let fs = FreezableFs::new().expect("a filesystem");
    let device = fs.device().expect("its device");
    if std::fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "once").is_err() {
        return skip("this kernel cannot provoke an ext4 error");
    }
    let line = format!("(device {device})");
    let told = |a: &sysops_agent::alert::Alert| known(a, "line").as_str().is_some_and(|l| l.contains(&line));
    webhook.exactly_one("the error", SOON, Duration::from_secs(1), told);
    agent.kill();
    let agent = home.start(&Confine::No);
    webhook.exactly_one("the error", SOON, QUIET, told);
    agent.stop();
}

#[test]
#[ignore = "live: kills processes for lack of memory while the disk hangs"]
fn a_disk_that_hangs_holds_up_no_alert() {
    let Some(scene) = Scene::new("") else { return };
    let Scene { webhook, home, .. } = &scene;
    let mut disk = FreezableFs::new().expect("a filesystem");
    let data = disk.path().join("data");
    std::fs::create_dir(&data).expect("a directory");
    std::os::unix::fs::symlink(&data, home.data()).expect("a link");
    let agent = home.start(&Confine::No);
    let first = kill();
    webhook.exactly_one("a kill", SOON, Duration::ZERO, kill_of(first));
    let image = tempfile::NamedTempFile::new().expect("a file");
    image.as_file().set_len(1 << 20).expect("1 MiB");
    disk.freeze().expect("frozen");
    let pids: Vec<u32> = (0..4)
        .map(|_| {
            let pid = kill();
            webhook.exactly_one("a kill", SOON, Duration::from_secs(1), kill_of(pid));
            // The kernel says something that is no alert, so that only the place in the log is worth writing.
            drop(LoopDevice::over(image.path()).expect("a loop device"));
            pid
        })
        .collect();
    disk.thaw().expect("thawed");
    let last = kill();
    webhook.exactly_one("a kill", SOON, Duration::from_secs(1), kill_of(last));
    agent.kill();
    // Everything is in the outbox by now, and the place in the kernel log with it.
    let agent = home.start(&Confine::No);
    for pid in pids.into_iter().chain([first, last]) {
        webhook.exactly_one("a kill", SOON, Duration::from_millis(500), kill_of(pid));
    }
    agent.stop();
}

#[test]
#[ignore = "live: kills a process for lack of memory"]
fn stopping_does_not_wait_for_a_webhook_that_hangs() {
    let Some(scene) = Scene::new("[alerting.webhook]\ntimeout_secs = 60") else { return };
    let Scene { webhook, home, .. } = &scene;
    webhook.set(Mood::Hang);
    let agent = home.start(&Confine::No);
    let pid = kill();
    await_accepted(home, pid);
    let took = agent.stop();
    assert!(took < STOP_WITHIN, "{took:?}");
    println!("stopped in {took:?}");
    webhook.set(Mood::Answer(200));
    let agent = home.start(&Confine::No);
    webhook.exactly_one("the kill", SOON, QUIET, kill_of(pid));
    let took = agent.stop();
    assert!(took < Duration::from_secs(2), "with nothing left to do it takes {took:?}");
}
