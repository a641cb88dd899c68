//! Hostile input through the whole running agent: processes whose names want to forge lines, colours, mentions and
//! markup are really killed, and each arrives as one harmless alert on every channel; tracepoint formats that point
//! anywhere turn a probe off, no more. As root: `cargo test --test e2e_hostile -- --ignored`.
#![cfg(feature = "ebpf")]
#![expect(clippy::disallowed_methods, reason = "causes kernel events and looks at the machine by itself")]

mod e2e;
mod lab;

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::confine::Confine;
use e2e::scene::Scene;
use e2e::webhook::{kill_of, known};
use lab::{MemoryCgroup, wait_for};
use sysops_agent::alert::Alert;
use sysops_agent::text::clean;

/// Until an alert must have come.
const SOON: Duration = Duration::from_secs(30);

/// Names of at most 15 bytes, the longest the kernel keeps.
const NAMES: [&[u8]; 12] = [
    b"two\nlines",
    b"\x1b[31mred\x1b[0m",
    b"\r\x1b[2J\x07gone",
    b"\"'`$(id)`\\x0a",
    b"@everyone",
    b"<@123> <!here>",
    b"<img src=x>&lt;",
    "\u{202e}evil\u{202c}".as_bytes(),
    b"\xff\xfe\x80bytes",
    b"\x7f\x01\x08del",
    b"x) total-vm:9kB",
    b",task=a,pid=1",
];

#[test]
#[ignore = "live: kills processes with hostile names for lack of memory"]
fn hostile_names_are_told_whole_and_harmless_on_every_channel() {
    let Some(scene) = Scene::new("") else { return };
    let Scene { webhook, home, .. } = &scene;
    let path = home.file("syslog");
    let syslog = UnixDatagram::bind(&path).expect("a socket");
    syslog.set_nonblocking(true).expect("a socket that does not wait");
    let channels = format!(
        "[alerting.syslog]\nenabled = true\nsocket = {:?}\n[alerting.terminal]\nenabled = \"on\"",
        path.display()
    );
    home.configure(&webhook.url(), &channels);
    let agent = home.start(&Confine::No);
    let group = MemoryCgroup::new("sysops-e2e-hostile", 8 << 20).expect("cgroup");

    let mut lines = Vec::new();
    for name in NAMES {
        // At once: beyond ten in five seconds the kernel leaves out its report (`oom_rs`, mm/oom_kill.c), and the
        // alert must be as good.
        let pid = die_as(&group, &home.file("bin"), name);
        let alert = webhook.exactly_one("the kill", SOON, Duration::ZERO, kill_of(pid));
        check_alert(&alert, name);
        // Every neighbour is on every channel: one datagram a kill, one head line on the terminal.
        let line = wait_for(SOON, || datagram(&syslog)).expect("a line about the kill");
        lines.push((pid, line));
    }
    for (pid, line) in &lines {
        assert!(line.contains(&format!("(pid {pid},")), "{line:?}");
        harmless(line);
    }
    assert_eq!(datagram(&syslog), None, "a second line");
    agent.stop();

    let printed = home.printed();
    printed.lines().for_each(harmless);
    assert_eq!(printed.matches("CRITICAL").count(), NAMES.len(), "{printed}");
    for (pid, _) in lines {
        assert_eq!(printed.matches(&format!("(pid {pid},")).count(), 1, "{printed}");
    }
    home.log().lines().for_each(harmless);
}

/// Runs a program of this name, with this name among its arguments, until the kernel kills it; its pid.
fn die_as(group: &MemoryCgroup, folder: &Path, name: &[u8]) -> u32 {
    fs::create_dir_all(folder).expect("a folder");
    let program = folder.join(OsStr::from_bytes(name));
    match symlink(tail(), &program) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => panic!("{name:?}: {error}"),
        _ => {}
    }
    let mut command = Command::new("sh");
    // The kernel names a process after the file it is made of, links included.
    command.args(["-c", "echo $$ > \"$0\" && exec \"$1\" /dev/zero \"$2\""]).arg(group.procs());
    let mut child =
        command.arg(&program).arg(OsStr::from_bytes(name)).stdout(Stdio::null()).spawn().expect("a shell");
    let status = child.wait().expect("it ends");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{name:?}: {status}");
    child.id()
}

/// The real file of `tail`, which keeps a line that never ends.
fn tail() -> PathBuf {
    let places = ["/usr/bin/tail", "/bin/tail"];
    let place = places.iter().find(|place| Path::new(place).exists()).expect("tail");
    fs::canonicalize(place).expect("a file")
}

/// Whole in the context, harmless in what people read.
fn check_alert(alert: &Alert, name: &[u8]) {
    let text = String::from_utf8_lossy(name);
    assert_eq!(known(alert, "victim_comm"), *text, "{alert:#?}");
    assert_eq!(known(alert, "trigger_comm"), *text, "{alert:#?}");
    let cmdline = known(alert, "victim_cmdline");
    assert!(cmdline.is_null() || cmdline.as_str().is_some_and(|c| c.contains(&*text)), "{alert:#?}");
    let shown = clean(&text, 64);
    assert_eq!(alert.labels["process"], shown);
    assert!(alert.message.starts_with(&format!("OOM kill: {shown} (pid ")), "{}", alert.message);
    assert!(alert.message.contains("reached its limit of 8.0 MiB"), "{}", alert.message);
    harmless(&alert.message);
    alert.labels.values().for_each(|value| harmless(value));
}

/// Nothing that forges a line, a colour or a direction.
fn harmless(text: &str) {
    assert_eq!(clean(text, usize::MAX), text);
}

/// The next line that came to the system log.
fn datagram(socket: &UnixDatagram) -> Option<String> {
    let mut buf = [0; 8192];
    let n = socket.recv(&mut buf).ok()?;
    Some(String::from_utf8(buf[..n].to_vec()).expect("UTF-8"))
}

#[test]
#[ignore = "live: loads eBPF programs with fields at absurd places"]
fn absurd_formats_cost_one_probe_each_and_the_log_stands_in() {
    /// Fields far outside, of another type, and none at all; the rest of the machine is as it is.
    const FORMATS: [(&str, &str); 3] = [
        ("oom/mark_victim", "ID: 1\nfield:int pid;\toffset:4294967288;\tsize:4;\tsigned:1;\n"),
        ("sched/sched_process_hang", "ID: 1\nfield:__data_loc char[] pid;\toffset:8;\tsize:4;\tsigned:0;\n"),
        ("block/block_rq_issue", "\u{1b}[31mID: 99999999999\n"),
    ];
    let Some(scene) = Scene::new("") else { return };
    let Scene { webhook, home, .. } = &scene;
    if !scene.has(&["ebpf.oom"]) {
        return;
    }
    let sys = home.file("sys");
    for (event, text) in FORMATS {
        let folder = sys.join("kernel/tracing/events").join(event);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("format"), text).expect("a format");
    }
    home.configure(&webhook.url(), &format!("[agent]\nsys_root = {:?}", sys.display()));
    let features = home.doctor(&Confine::No);
    for (probe, why) in [
        ("ebpf.oom", "line 2 is not"),
        ("ebpf.hung_task", "`pid` is of another type"),
        ("ebpf.block_io", "no line `ID: number`"),
    ] {
        features.check_refused(probe, why, "");
    }
    let agent = home.start(&Confine::No);
    let group = MemoryCgroup::new("sysops-e2e-absurd", 8 << 20).expect("cgroup");
    let pid = group.oom_victim().expect("a kill");
    let alert = webhook.exactly_one("the kill", SOON, Duration::ZERO, kill_of(pid));
    assert_eq!(alert.source, ["kmsg"]);
    home.printed().lines().for_each(harmless);
    agent.stop();
}
