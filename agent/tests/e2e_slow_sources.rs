//! Sources that never answer: a FUSE mount whose server has gone silent, a Docker daemon and a Redis server that take
//! connections and say nothing, an `nvidia-smi` that hangs. Each costs its own readings and nothing else. As root:
//! `cargo test --test e2e_slow_sources -- --ignored`.
#![expect(clippy::disallowed_methods, reason = "mounts filesystems and looks at the machine by itself")]

mod e2e;
mod lab;

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::agent::Home;
use e2e::confine::Confine;
use e2e::webhook::Webhook;
use lab::fuse::{Fuse, offspring, timed};
use lab::mounts::{Hidden, apart};
use lab::{ready, wait_for};
use sysops_agent::alert::{Alert, Status};

const SOON: Duration = Duration::from_secs(30);
/// Longest end of the agent, as `service::STOP_WITHIN` promises.
const STOP: Duration = Duration::from_secs(5);
/// How often filesystems are read here.
const PACE: Duration = Duration::from_secs(1);
/// How long a task may sleep uninterruptibly here.
const WATCH: Duration = Duration::from_secs(1);

fn of_mount(mount: &Path, status: Status) -> impl Fn(&Alert) -> bool + Copy + '_ {
    move |alert| {
        alert.rule == "filesystem_stuck"
            && alert.status == status
            && alert.labels.get("mount").is_some_and(|at| Path::new(at) == mount)
    }
}

/// Waits for this many more looks at a filesystem.
fn await_looks(fuse: &Fuse, count: usize) -> Vec<Instant> {
    let begin = Instant::now();
    let looks = wait_for(SOON, || Some(fuse.asked_since(begin)).filter(|looks| looks.len() >= count));
    looks.unwrap_or_else(|| panic!("{count} looks within {SOON:?}"))
}

#[test]
#[ignore = "live: mounts FUSE filesystems"]
fn a_dead_mount_costs_its_own_row_and_an_alert() {
    if ready() {
        apart(dead_mount);
    }
}

fn dead_mount() {
    let webhook = Webhook::start();
    let home = Home::new(
        &webhook.url(),
        "[collector]\nenabled = [\"filesystem\", \"uptime\"]\ndisk_interval_secs = 1\n\
         [inventory]\nenabled = false\n[ebpf]\nenabled = \"off\"\ndstate_watch_secs = 1\n[alerting]\nstate_warmup_secs = 0",
    );
    let (alive_at, dead_at) = (home.file("alive"), home.file("dead mount"));
    let alive = Fuse::mount(&alive_at).expect("a FUSE mount");
    let dead = Fuse::mount(&dead_at).expect("a second one");
    let agent = home.start(&Confine::No);
    await_looks(&dead, 2);

    dead.silent(true);
    let since = Instant::now();
    let told =
        webhook.exactly_one("the dead mount", SOON, Duration::ZERO, of_mount(&dead_at, Status::Firing));
    assert_eq!(told.message, format!("Mount {} does not answer{HINT}", dead_at.display()));
    // One look waits for the mount, for two seconds; from then on the others are read as before.
    let from = Instant::now();
    let looks = await_looks(&alive, 5);
    let each = (looks[4] - looks[0]) / 4;
    assert!(each >= PACE * 9 / 10 && each <= PACE * 3 / 2, "a look each {each:?}, not {PACE:?}: {looks:?}");
    assert!(from.elapsed() >= 4 * PACE * 9 / 10);
    assert_eq!(dead.asked_since(since).len(), 1, "it is asked once, not again while it is silent");
    // The agent's own child waits for it longer than any task may, and is not told as hung.
    assert!(since.elapsed() > 4 * WATCH);
    assert!(webhook.taken(|alert| alert.rule == "hung_task").is_empty(), "{:#?}", webhook.messages());
    // One that waits, and one for all the others; a look may be under way.
    let counted =
        || Some(offspring(agent.pid(), "statvfs")).filter(|(all, threads)| (all.len(), *threads) == (1, 2));
    assert!(wait_for(SOON, counted).is_some(), "{:?}", offspring(agent.pid(), "statvfs"));

    let (took, doctor) = timed(|| home.doctor(&Confine::No));
    assert_eq!(doctor.get("collector.filesystem", "state"), "degraded");
    let reason = doctor.get("collector.filesystem", "reason");
    assert!(reason.contains(dead_at.to_str().expect("UTF-8")) && !reason.contains("alive"), "{reason}");
    assert!(took < Duration::from_secs(15), "doctor took {took:?}");

    dead.silent(false);
    let over = webhook.exactly_one("its return", SOON, Duration::ZERO, of_mount(&dead_at, Status::Resolved));
    assert_eq!(over.id, told.id);
    assert!(
        over.message.starts_with(&format!("Mount {} answers again after ", dead_at.display())),
        "{over:?}"
    );
    await_looks(&dead, 2);
    let left = wait_for(SOON, || offspring(agent.pid(), "statvfs").0.is_empty().then_some(()));
    assert!(left.is_some(), "no process is left: {:?}", offspring(agent.pid(), "statvfs"));

    // The agent ends in time though the mount is dead again, and nobody else was told of anything.
    dead.silent(true);
    let again =
        wait_for(SOON, || (webhook.taken(of_mount(&dead_at, Status::Firing)).len() == 2).then_some(()));
    assert!(again.is_some(), "{:?}", webhook.messages());
    let took = agent.stop();
    assert!(took < STOP, "it took {took:?} to end");
    let others = webhook.taken(|alert| alert.labels.get("mount").is_none_or(|at| Path::new(at) != dead_at));
    assert!(others.is_empty(), "{others:#?}");
}

/// What the alert advises.
const HINT: &str = ". Programs that use it hang. See to its server, or to the program behind it; `umount -f` lets go \
    of those that wait";

#[test]
#[ignore = "live: puts a program that hangs in the place of nvidia-smi"]
fn daemons_and_programs_that_say_nothing_cost_their_own_readings() {
    if ready() {
        apart(silent_daemons);
    }
}

fn silent_daemons() {
    let webhook = Webhook::start();
    let home = Home::new(&webhook.url(), "");
    let socket = home.file("docker.sock");
    let docker = UnixListener::bind(&socket).expect("a socket");
    let redis = TcpListener::bind("127.0.0.1:0").expect("a port");
    let alive_at = home.file("alive");
    let alive = Fuse::mount(&alive_at).expect("a FUSE mount");
    let _driver = Hidden::new("/proc/driver").expect("a folder for the driver");
    fs::create_dir_all("/proc/driver/nvidia").expect("made");
    fs::write("/proc/driver/nvidia/version", "NVRM version: 550.54.15\n").expect("written");
    let _bin = Hidden::new("/usr/local/bin").expect("a folder for the program");
    let pids = home.file("smi-pids");
    let program = "/usr/local/bin/nvidia-smi";
    fs::write(program, format!("#!/bin/sh\necho $$ >> {}\nexec sleep 1000\n", pids.display()))
        .expect("written");
    fs::set_permissions(program, Permissions::from_mode(0o755)).expect("executable");
    home.configure(
        &webhook.url(),
        &format!(
            "[collector]\nenabled = [\"filesystem\", \"gpu\", \"docker\", \"redis\"]\ndisk_interval_secs = 1\n\
             gpu_interval_secs = 1\nprocess_interval_secs = 1\n\
             docker = {{ enabled = true, socket = \"{}\" }}\n\
             redis = {{ enabled = true, addr = \"{}\" }}\n\
             [inventory]\nenabled = false\n[ebpf]\nenabled = \"off\"\n[alerting]\nstate_warmup_secs = 0",
            socket.display(),
            redis.local_addr().expect("its address")
        ),
    );
    let agent = home.start(&Confine::No);
    // Both daemons have been waited for.
    let docker_told = webhook.exactly_one("the daemon", SOON, Duration::ZERO, |a| a.rule == "docker_stuck");
    assert!(docker_told.message.starts_with("The Docker daemon does not answer"), "{docker_told:#?}");
    // Both give up after 5 s of silence and are asked anew, and again, without being waited for.
    let looks = await_looks(&alive, 9);
    let each = (looks[8] - looks[0]) / 8;
    assert!(each >= PACE * 9 / 10 && each <= PACE * 3 / 2, "a look each {each:?}, not {PACE:?}: {looks:?}");
    let started = fs::read_to_string(&pids).unwrap_or_default();
    assert_eq!(started.lines().count(), 1, "nvidia-smi is started once and never beside itself: {started:?}");
    let took = agent.stop();
    for pid in started.lines().filter_map(|pid| pid.parse::<i32>().ok()) {
        let _ = rustix::process::Pid::from_raw(pid)
            .map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
    }
    assert!(took < STOP, "it took {took:?} to end");
    drop((docker, redis));
}
