//! The agent as a service: what it tells systemd, how it takes signals, its pid file. Needs no rights.
#![expect(clippy::disallowed_methods, reason = "runs the agent and looks at what it leaves")]

mod e2e;
mod lab;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use e2e::agent::{Agent, Home};
use e2e::confine::Confine;
use lab::wait_for;
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(30);
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9/";

fn logged(home: &Home, text: &str) {
    let found = wait_for(SOON, || home.log().contains(text).then_some(()));
    assert!(found.is_some(), "{text:?} is not logged");
}

/// Whether the agent handles this signal by now.
fn catches(agent: &Agent, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("its status");
    let mask = status.lines().find_map(|l| l.strip_prefix("SigCgt:")).expect("a mask").trim();
    u64::from_str_radix(mask, 16).expect("hexadecimal") >> (signal.as_raw() - 1) & 1 == 1
}

#[test]
fn systemd_hears_ready_watchdog_and_stopping() {
    let home = Home::new(NOWHERE, "");
    let mut agent = home.launch(&Confine::No, |command| {
        command.env("WATCHDOG_USEC", "1000000");
    });
    agent.await_ready();
    assert!(!agent.has_told("STOPPING=1"));
    assert!(!agent.await_told("STOPPING=1", Duration::from_secs(4)));
    let fed: Vec<_> = agent.told.iter().filter(|(_, t)| t == "WATCHDOG=1").map(|(at, _)| *at).collect();
    let gap = fed.windows(2).map(|two| two[1].saturating_sub(two[0])).max().expect("more than one");
    assert!(fed.len() >= 5 && gap < Duration::from_secs(1), "{fed:?}");
    agent.signal(Signal::TERM);
    assert!(agent.await_told("STOPPING=1", SOON));
    assert_eq!(agent.await_end(SOON).and_then(|status| status.code()), Some(0));
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let home = Home::new(NOWHERE, "");
    let mut agent = home.launch(&Confine::No, |command| {
        command.env("WATCHDOG_USEC", "200000").env("WATCHDOG_PID", "1");
    });
    agent.await_ready();
    assert!(!agent.await_told("WATCHDOG=1", Duration::from_secs(2)));
    agent.stop();
}

#[test]
fn a_manager_that_does_not_read_does_not_stop_the_agent() {
    let home = Home::new(NOWHERE, "[agent]\ncollect_interval_secs = 1");
    let mut agent = home.launch(&Confine::No, |command| {
        command.env("WATCHDOG_USEC", "2000");
    });
    // A socket holds ten datagrams, or as `net.unix.max_dgram_qlen` says: in 2 s there are 1000 or more.
    std::thread::sleep(Duration::from_secs(2));
    agent.await_ready();
    std::thread::sleep(Duration::from_secs(2));
    agent.signal(Signal::HUP);
    logged(&home, "is as it was");
    agent.signal(Signal::TERM);
    assert_eq!(agent.await_end(SOON).and_then(|status| status.code()), Some(0));
}

#[test]
fn a_hangup_before_it_is_ready_does_not_end_it() {
    let home = Home::new(NOWHERE, "");
    let mut agent = home.launch(&Confine::No, |_| {});
    wait_for(SOON, || catches(&agent, Signal::HUP).then_some(())).expect("the signal is handled");
    for _ in 0..20 {
        agent.signal(Signal::HUP);
    }
    agent.await_ready();
    logged(&home, "is as it was");
    agent.stop();
}

#[test]
fn a_hangup_with_a_broken_file_changes_nothing_and_says_why() {
    let home = Home::new(NOWHERE, "");
    let agent = home.start(&Confine::No);
    fs::write(home.config(), "[agent]\nhostnane = \"x\"\n").expect("written");
    agent.signal(Signal::HUP);
    logged(&home, "SIGHUP: nothing changed");
    logged(&home, "hostnane");
    agent.stop();
}

#[test]
fn an_interrupt_and_an_early_end_are_in_order_too() {
    let home = Home::new(NOWHERE, "");
    let mut agent = home.start(&Confine::No);
    agent.signal(Signal::INT);
    assert_eq!(agent.await_end(SOON).and_then(|status| status.code()), Some(0));
    let mut agent = home.launch(&Confine::No, |_| {});
    wait_for(SOON, || catches(&agent, Signal::TERM).then_some(())).expect("the signal is handled");
    agent.signal(Signal::TERM);
    let status = agent.await_end(SOON).expect("it ends");
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}

#[test]
fn the_pid_file_is_written_and_removed() {
    let home = Home::new(NOWHERE, "");
    let path = home.file("agent.pid");
    home.configure(NOWHERE, &format!("[agent]\npid_file = {:?}", path.display()));
    let agent = home.start(&Confine::No);
    assert_eq!(fs::read_to_string(&path).expect("it is there"), format!("{}\n", agent.pid()));
    agent.stop();
    assert!(!path.exists());
    // After a kill it is left behind, and the next start takes its place.
    home.start(&Confine::No).kill();
    assert!(path.exists());
    let agent = home.start(&Confine::No);
    assert_eq!(fs::read_to_string(&path).expect("it is there"), format!("{}\n", agent.pid()));
    agent.stop();
    assert!(!path.exists());
}

#[test]
fn a_pid_file_that_cannot_be_written_is_a_warning() {
    let home = Home::new(NOWHERE, "[agent]\npid_file = \"/nowhere/agent.pid\"");
    let agent = home.start(&Confine::No);
    logged(&home, "pid file /nowhere/agent.pid cannot be written");
    agent.stop();
}

#[test]
fn a_data_dir_that_cannot_be_made_is_a_warning() {
    // Below a file nothing can be made, by nobody.
    let home = Home::new(NOWHERE, "[agent]\ndata_dir = \"/proc/version/sysops\"");
    let mut agent = home.launch(&Confine::No, |_| {});
    agent.await_ready();
    logged(&home, "/proc/version/sysops");
    agent.stop();
}
