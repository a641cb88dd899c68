//! Talking to the running agent: the control socket and SIGHUP. Needs no rights.
#![expect(clippy::disallowed_methods, reason = "runs the agent and looks at what it leaves")]

mod e2e;
mod lab;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use e2e::agent::{Home, words};
use e2e::confine::Confine;
use e2e::webhook::Webhook;
use lab::{skip, wait_for};
use rustix::process::{Signal, geteuid};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
const NOWHERE: &str = "http://127.0.0.1:9/";
/// Below zero used memory there is always: the reading itself is the alert.
const HIGH: &str = "[collector]\nmemory_interval_secs = 1\n[alerting]\nstate_warmup_secs = 0\n\
                    [thresholds]\nmemory_percent = { warn = 0.001, critical = 0.002, for_secs = 0 }\n";
const CALM: &str = "[collector]\nmemory_interval_secs = 1\n[alerting]\nstate_warmup_secs = 0\n[thresholds]\nmemory_percent = \"off\"\n";

/// Runs a command of the agent; expects this exit code, and gives what it printed.
fn ask(home: &Home, confine: &Confine, args: &[&str], code: i32) -> String {
    let done = home.command(confine, args).output().expect("it runs");
    assert_eq!(done.status.code(), Some(code), "{args:?}: {}", words(&done));
    words(&done)
}

fn json(home: &Home, command: &str) -> Value {
    serde_json::from_str(&ask(home, &Confine::No, &[command, "--json"], 0)).expect("JSON")
}

fn socket(home: &Home) -> PathBuf {
    home.data().join("control.sock")
}

fn logged(home: &Home, text: &str) {
    let found = wait_for(SOON, || home.log().contains(text).then_some(()));
    assert!(found.is_some(), "{text:?} is not logged");
}

/// Sends this line and returns the answer's.
fn say(home: &Home, line: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket(home)).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    // The other side may have hung up before it read all.
    let _ = stream.write_all(line);
    let mut answer = String::new();
    let _ = BufReader::new(stream).read_line(&mut answer);
    answer
}

#[test]
fn status_and_alerts_tell_how_things_stand() {
    let home = Home::new(NOWHERE, HIGH);
    let nobody = ask(&home, &Confine::No, &["status"], 1);
    assert!(nobody.contains("no agent is running: nobody listens on"), "{nobody}");
    let agent = home.start(&Confine::No);
    let mode = fs::metadata(socket(&home)).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let failing = wait_for(SOON, || {
        let status = json(&home, "status");
        let channel = &status["channels"][0];
        (channel["name"] == "webhook"
            && channel["queued"].as_u64() > Some(0)
            && channel["failing"].as_u64() > Some(0))
        .then_some(status)
    })
    .expect("the alert waits for a webhook that is not there");
    assert!(
        failing["channels"][0]["last_error"].as_str().is_some_and(|e| e.contains("cannot connect")),
        "{failing}"
    );
    assert_eq!(failing["pid"], agent.pid());
    let memory = failing["collectors"].as_array().expect("a list").iter().find(|c| c["name"] == "memory");
    assert!(memory.is_some_and(|m| m["up"] == true && m["took_ms"].as_f64() > Some(0.0)), "{failing}");
    assert!(failing["limits"].as_object().is_some_and(|l| l.len() >= 10), "{failing}");
    let table = ask(&home, &Confine::No, &["status"], 0);
    for part in
        ["collectors  ", "sources   ", "FAILING: ", "next try in", "last error: cannot connect", "limits    "]
    {
        assert!(table.contains(part), "{part} in {table}");
    }
    let table = ask(&home, &Confine::No, &["alerts"], 0);
    assert!(table.contains(" active, ") && table.contains("webhook"), "{table}");
    agent.stop();
    assert!(!socket(&home).exists(), "it is taken away");
}

#[test]
fn silences_are_made_listed_and_revoked() {
    let home = Home::new(NOWHERE, CALM);
    let agent = home.start(&Confine::No);
    let list = |home: &Home| ask(home, &Confine::No, &["silence", "--list"], 0);
    assert_eq!(list(&home), "no silence stands\n");
    let args = [
        "silence",
        "disk_used_percent",
        "--label",
        "mount=/data",
        "--for",
        "2h",
        "--reason",
        "moving \x1b[2J",
    ];
    let made = ask(&home, &Confine::No, &args, 0);
    assert!(
        made.contains("disk_used_percent for 2 h; end it with: sysops-agent silence --revoke "),
        "{made}"
    );
    let id = made.trim_start_matches("silence ").split(':').next().expect("an id").to_owned();
    let shown = list(&home);
    assert!(shown.contains("disk_used_percent {mount=/data}") && shown.contains("moving ?[2J"), "{shown}");
    assert!(shown.contains(if geteuid().is_root() { "(root)" } else { "(uid " }), "{shown}");
    let over = ask(&home, &Confine::No, &["silence", "--revoke", &id], 0);
    assert!(over.contains("is over"), "{over}");
    assert_eq!(list(&home), "no silence stands\n");
    let refused = ask(&home, &Confine::No, &["silence", "--revoke", &id], 1);
    assert!(refused.contains("the agent refused: "), "{refused}");
    ask(&home, &Confine::No, &["silence", "x", "--for", "1000w", "--reason", "long"], 1);
    agent.stop();
}

#[test]
fn the_socket_takes_no_nonsense() {
    let home = Home::new(NOWHERE, CALM);
    let agent = home.start(&Confine::No);
    for bad in [
        &b"\n"[..],
        b"{}\n",
        b"{\"command\":\"stop\"}\n",
        b"\xff\xfe\n",
        b"[[[[[[[[[[\n",
        b"{\"command\":\"revoke\"}\n",
    ] {
        let answer = say(&home, bad);
        assert!(answer.starts_with("{\"error\":\"the question is not understood"), "{bad:?}: {answer}");
    }
    let long = [b"{\"command\":\"".as_slice(), &vec![b'x'; 20 << 10]].concat();
    assert!(say(&home, &long).contains("more than 16384 bytes"));
    // Those who connect and say nothing shut out others only until there are too many, and only for a while.
    let idle: Vec<_> = (0..20).filter_map(|_| UnixStream::connect(socket(&home)).ok()).collect();
    let closed = wait_for(SOON, || {
        let mut stream = UnixStream::connect(socket(&home)).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
        matches!(stream.read(&mut [0; 1]), Ok(0)).then_some(())
    });
    assert!(closed.is_some(), "a connection too many is closed");
    drop(idle);
    let back = wait_for(SOON, || {
        let done = home.command(&Confine::No, &["status"]).output().ok()?;
        done.status.success().then_some(())
    });
    assert!(back.is_some());
    agent.stop();
}

#[test]
fn strangers_are_turned_away() {
    if !geteuid().is_root() {
        return skip("only root can be somebody else");
    }
    let home = Home::new(NOWHERE, CALM);
    let agent = home.start(&Confine::No);
    let refused = ask(&home, &Confine::nobody(""), &["status"], 1);
    assert!(refused.contains("may not be opened"), "{refused}");
    // Even where the mode would let them in.
    fs::set_permissions(home.data(), fs::Permissions::from_mode(0o777)).expect("open to all");
    fs::set_permissions(socket(&home), fs::Permissions::from_mode(0o666)).expect("open to all");
    let refused = ask(&home, &Confine::nobody(""), &["status"], 1);
    assert!(refused.contains("only root and members of the agent's group may ask"), "{refused}");
    // A member of the agent's group by a further group.
    let member = Confine::Rights(vec!["--reuid", "65534", "--regid", "65534", "--groups", "0"]);
    ask(&home, &member, &["status"], 0);
    agent.stop();
}

#[test]
fn a_reload_changes_rules_and_channels_and_loses_nothing() {
    let webhook = Webhook::start();
    let home = Home::new("http://127.0.0.1:9/s3cret-one", CALM);
    let agent = home.start(&Confine::No);
    // A new limit is in effect at once: the alert waits for a webhook that is not there.
    home.configure("http://127.0.0.1:9/s3cret-one", HIGH);
    agent.signal(Signal::HUP);
    logged(&home, "is in effect, 1 keys changed");
    logged(
        &home,
        "changed thresholds.memory_percent: \"off\", for_secs = 30 -> { warn = 0.001, critical = 0.002 }, for_secs = 0",
    );
    let queued = || json(&home, "status")["channels"][0]["queued"].as_u64().filter(|queued| *queued > 0);
    wait_for(SOON, queued).expect("it waits");

    // A bad file changes nothing, and all its problems are told.
    let good = fs::read_to_string(home.config()).expect("the file");
    fs::write(home.config(), format!("{good}\n[thresholdz]\n[push]\nintervall_secs = 7\n")).expect("written");
    agent.signal(Signal::HUP);
    logged(&home, "SIGHUP: nothing changed");
    logged(&home, "thresholdz");
    logged(&home, "intervall_secs");
    assert!(queued().is_some());

    // Another address: what waited goes there.
    home.configure(&webhook.url(), &format!("{HIGH}\n[agent]\nlog_file = \"/nowhere/log\""));
    agent.signal(Signal::HUP);
    let taken = || (!webhook.taken(|a| a.metric == "memory_used_percent").is_empty()).then_some(());
    wait_for(SOON, taken).expect("what waited is told");
    logged(&home, "changed alerting.webhook.url: changed");
    logged(&home, "changed agent.log_file: \"\" -> \"/nowhere/log\"; this one needs a restart");

    // The rule is gone, and so is what stood by it; the state survived all this.
    home.configure(&webhook.url(), CALM);
    agent.signal(Signal::HUP);
    logged(&home, "changed thresholds.memory_percent: { warn = 0.001");
    assert!(!home.log().contains("s3cret"), "{}", home.log());
    agent.stop();
}

#[test]
fn what_waits_for_a_channel_that_is_taken_out_goes_to_the_others() {
    let home = Home::new("http://127.0.0.1:9/", HIGH);
    let agent = home.start(&Confine::No);
    let queued = || json(&home, "status")["channels"][0]["queued"].as_u64().filter(|queued| *queued > 0);
    wait_for(SOON, queued).expect("it waits");
    let path = home.file("syslog");
    let log = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    log.set_read_timeout(Some(SOON)).expect("a timeout");
    let others = format!(
        "{HIGH}\n[alerting.webhook]\nenabled = false\n[alerting.syslog]\nenabled = true\nsocket = {path:?}"
    );
    home.configure("http://127.0.0.1:9/", &others);
    agent.signal(Signal::HUP);
    let mut line = [0; 4096];
    let n = log.recv(&mut line).expect("the alert");
    let line = String::from_utf8_lossy(&line[..n]).into_owned();
    assert!(line.contains("memory_used_percent") || line.to_lowercase().contains("memory"), "{line}");
    logged(&home, "go to the others");
    agent.stop();
}
