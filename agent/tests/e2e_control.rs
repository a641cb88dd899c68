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
use jiff::Timestamp;
use lab::{skip, wait_for};
use rustix::process::{Signal, geteuid};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);
/// The same for what takes the agent a while of its own.
const PATIENT: Duration = Duration::from_secs(90);
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
    for part in [
        "collectors  ",
        "sources   ",
        "FAILING: ",
        "next try in",
        "last error, ",
        " ago: cannot connect",
        "limits    ",
    ] {
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
    ask(&home, &Confine::No, &["silence", "oom_kill", "--for", "1000w", "--reason", "long"], 1);
    let unknown = ["silence", "disk_usd_percent", "--for", "1h", "--reason", "a slip"];
    let refused = ask(&home, &Confine::No, &unknown, 1);
    assert!(
        refused.contains("Did you mean `disk_used_percent`?") && refused.contains("--force"),
        "{refused}"
    );
    assert_eq!(list(&home), "no silence stands\n");
    ask(&home, &Confine::No, &[&unknown[..], &["--force"]].concat(), 0);
    for known in ["gpu_xid", "oom_kill", "agent_channel_failing"] {
        ask(&home, &Confine::No, &["silence", known, "--for", "1h", "--reason", "known"], 0);
    }
    agent.stop();
}

#[test]
fn a_channel_that_fails_is_told_through_the_others() {
    let webhook = Webhook::start();
    let dead = "[alerting.ntfy]\nenabled = true\nurl = \"http://127.0.0.1:9\"\ntopic = \"x\"\n";
    let rule = "[[alerting.rules]]\nname = \"channel\"\nmetric = \"agent_channel_failing\"\nwarn = 0\nclear = 0\nfor_secs = 0\n";
    let home = Home::new(&webhook.url(), &format!("{HIGH}{dead}{rule}"));
    let agent = home.start(&Confine::No);
    let told = wait_for(Duration::from_mins(1), || {
        let all = webhook.arrived().into_iter().map(|arrived| arrived.alert);
        all.into_iter().find(|alert| alert.metric == "agent_channel_failing")
    });
    let told = told.unwrap_or_else(|| panic!("nobody is told: {}", home.log()));
    assert_eq!((told.rule.as_str(), told.labels["channel"].as_str()), ("channel", "ntfy"));
    assert!(told.message.contains("cannot connect to 127.0.0.1:9"), "{}", told.message);
    assert!(told.context["alerts_waiting"].as_u64() > Some(0), "{told:?}");
    let status = json(&home, "status");
    let ntfy =
        status["channels"].as_array().expect("a list").iter().find(|channel| channel["name"] == "ntfy");
    let memory = |alerts: u64| ntfy.is_some_and(|ntfy| ntfy["queued"].as_u64() == Some(alerts));
    assert!(memory(1), "of itself it is not told: {status}");
    agent.stop();
}

#[test]
fn a_channel_without_its_secret_is_told_through_the_others_and_makes_up_for_it() {
    let webhook = Webhook::start();
    let home = Home::new(NOWHERE, HIGH);
    let (key, path) = (home.file("key"), home.file("syslog"));
    let log = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    log.set_read_timeout(Some(SOON)).expect("a timeout");
    let lacking = format!(
        "{HIGH}\n[alerting.webhook]\nheaders = {{ X-Key = \"${{file:{}}}\" }}\n\
         [alerting.syslog]\nenabled = true\nsocket = {path:?}\n\
         [[alerting.rules]]\nname = \"deaf\"\nmetric = \"agent_channel_failing\"\nwarn = 0.5\nfor_secs = 0\n",
        key.display()
    );
    home.configure(&webhook.url(), &lacking);
    let agent = home.start(&Confine::No);
    let deaf = wait_for(2 * SOON, || {
        let mut line = [0; 4096];
        let n = log.recv(&mut line).ok()?;
        let line = String::from_utf8_lossy(&line[..n]).into_owned();
        line.contains("deaf").then_some(line)
    });
    let deaf = deaf.expect("the other channel tells of it");
    assert!(deaf.contains("webhook") && deaf.contains("which cannot be read"), "{deaf}");
    let status = json(&home, "status");
    let channels = status["channels"].as_array().expect("a list");
    let waits = channels.iter().find(|c| c["name"] == "webhook").expect("it has a place");
    assert!(waits["queued"].as_u64() > Some(0) && waits["failing"].as_u64() > Some(0), "{status}");
    assert!(webhook.taken(|_| true).is_empty());
    let tried = ask(&home, &Confine::No, &["test-alert"], 1);
    let refused = tried.lines().any(|line| line.starts_with("webhook") && line.contains("REFUSED"));
    assert!(refused && tried.contains("delivered"), "{tried}");
    // A reload that would leave it out changes nothing.
    agent.signal(Signal::HUP);
    logged(&home, "SIGHUP: nothing changed");
    fs::write(&key, "s3cret-key\n").expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("secret");
    let taken = || (!webhook.taken(|a| a.metric == "memory_used_percent").is_empty()).then_some(());
    wait_for(4 * SOON, taken).expect("what waited is told");
    assert!(!home.log().contains("s3cret"), "{}", home.log());
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

    fs::write(home.config(), "\n").expect("written");
    agent.signal(Signal::HUP);
    logged(&home, "is empty. Write it again");

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

/// Readings each second, history on disk every ten seconds.
const REMEMBERS: &str = "[agent]\ncollect_interval_secs = 1\n[storage]\nring_buffer_capacity = 80\n\
                         [collector]\nmemory_interval_secs = 1\n[ebpf]\nenabled = \"off\"\n[log_analyzer]\nenabled = false\n\
                         [inventory]\nenabled = false\n[thresholds]\nmemory_percent = \"off\"\n";

/// Moments of the readings that `query` tells, oldest first, milliseconds.
fn moments(home: &Home, since: &str) -> Vec<i64> {
    let args = ["query", "memory_used_percent", "--since", since, "--json"];
    let done = home.command(&Confine::No, &args).output().expect("it runs");
    if !done.status.success() {
        return Vec::new();
    }
    let answer: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!((&answer["metric"], &answer["unit"]), (&"memory_used_percent".into(), &"percent".into()));
    let points = answer["series"][0]["points"].as_array().expect("points");
    assert!(points.iter().all(|p| (0.0..=100.0).contains(&p["value"].as_f64().unwrap_or(-1.0))), "{answer}");
    let moment = |point: &Value| -> Timestamp {
        point["time"].as_str().expect("a time").parse().expect("a time of RFC 3339")
    };
    points.iter().map(|point| moment(point).as_millisecond()).collect()
}

fn history_files(home: &Home) -> Vec<PathBuf> {
    let all = fs::read_dir(home.data().join("history")).into_iter().flatten().flatten();
    let mut all: Vec<_> = all.map(|entry| entry.path()).collect();
    all.sort();
    all
}

#[test]
fn query_tells_what_history_has_in_every_form() {
    let home = Home::new(NOWHERE, REMEMBERS);
    let nobody = ask(&home, &Confine::No, &["query", "memory_used_percent"], 1);
    assert!(nobody.contains("no agent is running: nobody listens on"), "{nobody}");
    let agent = home.start(&Confine::No);
    wait_for(SOON, || (moments(&home, "1m").len() >= 3).then_some(())).expect("three readings");
    let table = ask(&home, &Confine::No, &["query", "memory_used_percent", "--since", "1m"], 0);
    assert!(table.starts_with("memory_used_percent, the last 1 min\n") && table.contains(" %"), "{table}");
    let plot = ask(&home, &Confine::No, &["query", "memory_used_percent", "--since", "1m", "--plot"], 0);
    assert!(plot.contains('└') && plot.contains("readings"), "{plot}");
    let csv = ask(&home, &Confine::No, &["query", "memory_used_percent", "--since", "1m", "--csv"], 0);
    assert!(csv.starts_with("time,value,min,max,count\n20") && csv.lines().count() > 3, "{csv}");
    let check = |args: &[&str], code, expect: &str| {
        let told = ask(&home, &Confine::No, &[&["query"], args].concat(), code);
        assert!(told.contains(expect), "{args:?}: {told}");
    };
    check(
        &["memory_used_procent"],
        1,
        "there is no metric memory_used_procent; like it are: memory_used_percent",
    );
    check(&["memory_used_percent", "--label", "x=y"], 1, "memory_used_percent has no label x: it has none");
    check(
        &["disk_used_percent", "--label", "mount=/nowhere"],
        1,
        "history has no series of disk_used_percent with",
    );
    check(&["memory_used_percent", "--json", "--csv"], 2, "cannot be used with");
    check(&["memory_used_percent", "--since", "soon"], 2, "write a time like 30m");
    let raw =
        say(&home, b"{\"command\":\"query\",\"metric\":\"x\\u001b\",\"since_secs\":18446744073709551615}\n");
    assert!(raw.contains("\"matching\":0"), "{raw}");
    agent.stop();
}

/// The newest of them: on a machine with much else to do, those of the very beginning are too old by now for 80 s of history.
fn young(moments: &[i64]) -> &[i64] {
    &moments[moments.len().saturating_sub(3)..]
}

/// A reading that is newer than those.
fn newer_than(home: &Home, old: &[i64]) -> Vec<i64> {
    let newest = old.last().map_or(0, |last| last + NEAR);
    wait_for(PATIENT, || Some(moments(home, "10m")).filter(|all| all.last() > Some(&newest)))
        .expect("a reading of this run")
}

/// Of a reading each second: the wall clock is not kept with it, and is told a millisecond earlier or later.
const NEAR: i64 = 300;

/// Whether the newest of `old` are among `all`.
fn are_in(old: &[i64], all: &[i64]) -> bool {
    young(old).iter().all(|at| all.iter().any(|other| at.abs_diff(*other) < NEAR.unsigned_abs()))
}

#[test]
fn a_restart_keeps_history_and_a_torn_file_is_passed_over() {
    let home = Home::new(NOWHERE, REMEMBERS);
    let agent = home.start(&Confine::No);
    wait_for(PATIENT, || (moments(&home, "10m").len() >= 3).then_some(())).expect("three readings");
    let first = moments(&home, "10m");
    agent.stop();
    // Without an agent its files are read.
    let down = ask(&home, &Confine::No, &["query", "memory_used_percent", "--since", "10m"], 0);
    assert!(down.contains("no agent answers: this is what it wrote"), "{down}");
    let kept = moments(&home, "10m");
    assert!(are_in(&first, &kept), "{first:?} in {kept:?}");
    let agent = home.start(&Confine::No);
    logged(&home, "history of an earlier run is back:");
    let both = newer_than(&home, &kept);
    assert!(are_in(&kept, &both), "{kept:?} in {both:?}");
    assert!(both.is_sorted(), "{both:?}");
    // What is written every twenty seconds survives a kill.
    let before = history_files(&home);
    let is_written = |file: &PathBuf| fs::metadata(file).is_ok_and(|meta| meta.len() > 100);
    let written = || history_files(&home).into_iter().find(|file| !before.contains(file) && is_written(file));
    wait_for(PATIENT, written).expect("it has written");
    agent.kill();
    let torn = history_files(&home).into_iter().rfind(is_written).expect("a file");
    let whole = fs::read(&torn).expect("readable");
    fs::write(&torn, [&whole[..], &whole[8..whole.len() - 5]].concat()).expect("written");
    let killed = moments(&home, "10m");
    assert!(killed.last() > kept.last(), "{kept:?} {killed:?}");
    let agent = home.start(&Confine::No);
    logged(&home, " files of history in ");
    let after = newer_than(&home, &killed);
    assert!(are_in(&killed, &after), "{killed:?} in {after:?}");
    agent.stop();
}

#[cfg(feature = "sqlite")]
#[test]
fn the_database_has_the_minutes_and_a_damaged_one_is_moved_aside() {
    let home = Home::new(NOWHERE, REMEMBERS);
    let database = home.file("minutes.db");
    let keys = format!("[storage]\nsqlite_enabled = true\nsqlite_path = \"{}\"\n", database.display());
    let more = REMEMBERS.replacen("[storage]\n", &keys, 1);
    home.configure(NOWHERE, &more);
    fs::write(&database, "not a database, but long enough that somebody looks at what it says")
        .expect("written");
    let agent = home.start(&Confine::No);
    wait_for(SOON, || (moments(&home, "1m").len() >= 3).then_some(())).expect("three readings");
    agent.stop();
    logged(&home, "is damaged or no database; it was moved aside as");
    assert!(home.file("minutes.db.bad").exists());
    // Of the ring's files nothing is left: the database alone knows.
    fs::remove_dir_all(home.data().join("history")).expect("removed");
    let table = ask(&home, &Confine::No, &["query", "memory_used_percent", "--since", "1h"], 0);
    assert!(table.contains("no agent is running") && table.contains(" %"), "{table}");
}
