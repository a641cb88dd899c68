//! The whole agent pushes to a collector that checks signatures by itself: outage, kill, restart, a full disk, TLS.

use std::time::Duration;

use super::certificates::Certificates;
use super::e2e::agent::{Agent, Home, words};
use super::e2e::collector::{Collector, KEY};
use super::e2e::confine::Confine;
use super::lab::{self, ready, wait_for};
use super::*;

/// Longest wait on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
const NOBODY: &str = "http://127.0.0.1:9/";

/// An agent that reads and pushes every second.
fn home(base: &str, more: &str) -> Home {
    let home = Home::new(NOBODY, "");
    let backup = home.file("backup");
    let text = format!(
        "[alerting.webhook]\nenabled = false\n[collector]\ncpu_interval_secs = 1\nmemory_interval_secs = 1\n\
        [push]\ninterval_secs = 1\nmetrics_url = \"{base}/metrics?token=t0ken-s3cret\"\nheartbeat_url = \"{base}/heartbeat\"\n\
        auth_key = \"{KEY}\"\nretry_count = 3\nbackup_dir = \"{}\"\n{more}",
        backup.display()
    );
    home.configure(NOBODY, &text);
    let comment = format!("# of the team's\n{}\n# the end\n", fs::read_to_string(home.config()).unwrap());
    fs::write(home.config(), comment).unwrap();
    home
}

fn start(home: &Home) -> Agent {
    let mut agent = home.launch(&Confine::No, |_| {});
    agent.await_ready();
    agent
}

/// Moments that the payloads tell of.
fn moments(collector: &Collector) -> Vec<i64> {
    collector
        .taken("/metrics?token=t0ken-s3cret")
        .iter()
        .map(|body| body["timestamp"].as_i64().unwrap())
        .collect()
}

fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait_for(PATIENCE, ask).unwrap_or_else(|| panic!("{what} did not come about"))
}

fn said(home: &Home, command: &str) -> String {
    words(&home.command(&Confine::No, &[command]).output().unwrap())
}

fn backups(home: &Home) -> usize {
    let names = fs::read_dir(home.file("backup")).into_iter().flatten().flatten();
    names.filter(|entry| entry.file_name().to_string_lossy().starts_with("retry_backup_")).count()
}

#[test]
fn what_is_pushed_is_signed_and_none_is_lost_over_outage_and_kill() {
    let here = tempfile::tempdir().unwrap();
    let Some(collector) = Collector::start(here.path(), 0, None) else { return };
    let home = home(&format!("http://127.0.0.1:{}", collector.port), "");
    let agent = start(&home);
    until("three payloads", || (moments(&collector).len() >= 3).then_some(()));
    let beat = until("a heartbeat", || collector.taken("/heartbeat").pop());
    let last = collector.taken("/metrics?token=t0ken-s3cret").pop().unwrap();
    let id = beat["agent_id"].as_str().unwrap();
    assert_eq!(last["data"]["agent_id"], id);
    assert!(
        last["data"]["memory"]["total"].as_u64() > Some(1 << 20) && last["data"]["host"]["hostname"] == "lab",
        "{last}"
    );
    // Into the file, which is the user's otherwise.
    let config = fs::read_to_string(home.config()).unwrap();
    assert!(config.starts_with("# of the team's\n") && config.ends_with("# the end\n"), "{config}");
    assert!(config.contains(&format!("agent_id = \"{id}\"")), "{config}");

    collector.mood("500");
    until("two backup files", || (backups(&home) >= 2).then_some(()));
    let status = said(&home, "status");
    assert!(
        status.contains("FAILING: pushed metrics are not taken") && status.contains("answered 500"),
        "{status}"
    );
    let seen = moments(&collector);
    agent.kill();
    let agent = start(&home);
    collector.mood("hang");
    thread::sleep(Duration::from_secs(3));
    agent.stop();
    let restarted = jiff::Timestamp::now().as_second();
    collector.mood("");
    let agent = start(&home);
    let all = until("all that waited", || {
        let all = moments(&collector);
        (backups(&home) == 0 && all.last().is_some_and(|last| *last > restarted + 2)).then_some(all)
    });
    // While the agent ran nothing is missing; what was sent to the killed one may come twice.
    assert!(all.len() > seen.len() + 6, "{all:?}");
    let gaps: Vec<i64> = all.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > 3).collect();
    assert!(gaps.len() <= 2, "only the two restarts may show: {gaps:?} in {all:?}");
    assert_eq!(collector.tries().1, 0, "one was not signed well");
    let told = [said(&home, "status"), said(&home, "doctor"), home.log(), home.printed()].concat();
    assert!(told.contains("push.backup") && told.contains("without TLS"), "{told}");
    assert!(!told.contains(KEY) && !told.contains("t0ken"), "a secret is told");
    agent.stop();
}

#[test]
fn garbage_behind_a_success_loses_nothing_and_is_told_once() {
    let here = tempfile::tempdir().unwrap();
    let Some(collector) = Collector::start(here.path(), 0, None) else { return };
    let home = home(&format!("http://127.0.0.1:{}", collector.port), "timeout_secs = 60\n");
    let agent = start(&home);
    let mut seen = 0;
    // Twice, so that what is told once could be told again.
    for mood in ["page", "cut", "endless", "drip", "page", ""] {
        collector.mood(mood);
        until(mood, || (moments(&collector).len() >= seen + 4).then_some(()));
        seen = moments(&collector).len();
    }
    let all = moments(&collector);
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "each once, in order: {all:?}");
    assert!(said(&home, "status").lines().any(|line| line.starts_with("push ")), "it is shown");
    let log = home.log();
    assert_eq!(log.matches("push.metrics_url: 127.0.0.1").count(), 1, "{log}");
    assert!(log.contains("a web page: is it the collector") && !log.contains("do not arrive"), "{log}");
    assert_eq!((backups(&home), collector.tries().1), (0, 0));
    agent.stop();
}

#[test]
fn over_tls_only_a_known_authority_is_spoken_to() {
    let Some(certificates) = Certificates::make() else { return };
    let here = tempfile::tempdir().unwrap();
    let tls = (certificates.path("server.pem"), certificates.path("server.key"));
    let Some(collector) = Collector::start(here.path(), 0, Some(tls)) else { return };
    let base = format!("https://localhost:{}", collector.port);
    let home_of = |more: &str| home(&base, &format!("envelope = false\nagent_id = \"Agent-01\"\n{more}"));
    let stranger = home_of("");
    let agent = start(&stranger);
    let log = until("a failure", || {
        Some(stranger.log()).filter(|log| log.contains("pushed metrics do not arrive"))
    });
    assert!(log.contains("alerting.ca_file"), "{log}");
    assert_eq!(collector.tries().0, 0, "something was said to a stranger");
    agent.stop();
    let friend = home_of(&format!("[alerting]\nca_file = {:?}", certificates.path("ca.pem")));
    let agent = start(&friend);
    let body = until("a payload", || collector.taken("/metrics?token=t0ken-s3cret").pop());
    assert!(body["agent_id"] == "Agent-01" && body["timestamp"].is_i64() && body["data"].is_null(), "{body}");
    // Not one of those that the agent without trust has kept: each has a directory of its own.
    assert_eq!(collector.tries().1, 0);
    agent.stop();
}

#[test]
#[ignore = "live: mounts a small filesystem"]
fn a_full_disk_is_told_and_the_newest_arrive() {
    if !ready() {
        return;
    }
    let _alone = lab::alone();
    let here = tempfile::tempdir().unwrap();
    let Some(collector) = Collector::start(here.path(), 0, None) else { return };
    let home = home(&format!("http://127.0.0.1:{}", collector.port), "");
    fs::create_dir(home.file("backup")).unwrap();
    let small = lab::mounts::Small::mount(&home.file("backup"), c"size=64k").unwrap();
    fs::write(home.file("backup/others"), vec![0; 64 << 10]).unwrap();
    collector.mood("503");
    let agent = start(&home);
    let status = until("the trouble in the status", || {
        Some(said(&home, "status"))
            .filter(|status| status.contains("backup of pushed metrics cannot be written"))
    });
    assert!(status.contains("free space on that filesystem"), "{status}");
    let dropped = |status: &str| {
        let row = status.lines().find(|line| line.starts_with("push ")).unwrap_or_default().to_owned();
        row.split_whitespace().rev().nth(1).and_then(|count| count.parse::<u64>().ok())
    };
    until("the oldest go", || dropped(&said(&home, "status")).filter(|count| *count > 0));
    // Others' files are nobody's to remove.
    assert_eq!(fs::metadata(home.file("backup/others")).unwrap().len(), 64 << 10);
    fs::remove_file(home.file("backup/others")).unwrap();
    until("a backup file again", || (backups(&home) > 0).then_some(()));
    collector.mood("");
    until("all that is left", || (backups(&home) == 0 && moments(&collector).len() > 3).then_some(()));
    let all = moments(&collector);
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
    agent.stop();
    drop(small);
}
