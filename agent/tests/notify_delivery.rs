//! Alerts against real, misbehaving other ends.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the other ends are the test's own")]

#[expect(dead_code, reason = "shared with tests that use the rest")]
mod notify_support;
#[path = "lab/ports.rs"]
mod ports;

use notify_support::{Reply, Server, alert, eventually, firing, reopen, route, start, start_with, webhook};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use sysops_agent::alert::{Severity, Status};
use sysops_agent::host::clock;
use sysops_agent::notify::syslog::{Options, Syslog, Target};
use sysops_agent::notify::trial::Verdict;
use sysops_agent::notify::{Channel, Limits, Route, Templates, test_alert};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket, UnixDatagram, UnixListener};

fn syslog(target: Target) -> Arc<dyn Channel> {
    let zone = jiff::tz::TimeZone::UTC;
    Arc::new(Syslog::new(Options { facility: 3, tag: "agent".into(), target, zone, pid: 7 }))
}

async fn receive(socket: &UnixDatagram) -> String {
    let mut buf = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(20), socket.recv(&mut buf)).await;
    let len = read.expect("a message").unwrap();
    String::from_utf8(buf[..len].to_vec()).unwrap()
}

#[tokio::test]
async fn the_webhook_gets_the_alert_object() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(vec![]).await;
    let notifier = start(dir.path(), vec![route(webhook(&server.url()))]);
    assert!(notifier.accept(vec![firing("a")]).await, "on disk");
    assert_eq!(server.wait_for(1).await, [firing("a").as_ref().clone()]);
    let request = &server.requests()[0];
    let head = request.head.to_lowercase();
    assert!(head.starts_with("post /hook/s3cret-token?key=s3cret-key http/1.1"), "{head}");
    for header in ["content-type: application/json", "x-key: s3cret-header", "user-agent: sysops-agent/"] {
        assert!(head.contains(header), "{head}");
    }
    let body = String::from_utf8_lossy(&request.body);
    let keys = r#"{"hostname":"web-1","timestamp":"2026-02-22T16:30:00+09:00","severity":"warn","metric":"#;
    assert!(body.starts_with(keys), "{body}");
    assert_eq!(notifier.drain(Duration::from_secs(1)).await, 0);
}

#[tokio::test]
async fn every_kind_of_failure_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let script = vec![
        Reply::Say(500, "", "oops"),
        Reply::Say(503, "retry-after: 0\r\n", ""),
        Reply::Reset,
        Reply::Garbage,
        Reply::Hang,
        Reply::Say(429, "retry-after: soon\r\n", ""),
        Reply::Say(408, "", ""),
    ];
    let server = Server::start(script).await;
    let notifier = start(dir.path(), vec![route(webhook(&server.url()))]);
    notifier.accept(vec![firing("a"), firing("b")]).await;
    let mut ids: Vec<_> = server.wait_for(2).await.into_iter().map(|a| a.id).collect();
    ids.sort();
    assert_eq!(ids, ["a", "b"]);
    let stats = notifier.stats().await.channels.remove(0);
    assert_eq!((stats.delivered, stats.retries, stats.refused, stats.queued, stats.failing), (2, 7, 0, 0, 0));
}

#[tokio::test]
async fn the_servers_wish_to_wait_is_respected() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(vec![Reply::Say(429, "retry-after: 1\r\n", "slow down")]).await;
    let notifier = start(dir.path(), vec![route(webhook(&server.url()))]);
    notifier.accept(vec![firing("a")]).await;
    server.wait_for(1).await;
    let requests = server.requests();
    let gap = requests[1].at - requests[0].at;
    assert!(gap >= Duration::from_secs(1), "{gap:?}");
}

#[tokio::test]
async fn a_refusal_is_final_and_visible_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let says = "no hook s3cret-token with s3cret-key and s3cret-header\r\nhere";
    let server = Server::start(vec![Reply::Say(400, "", says)]).await;
    let notifier = start(dir.path(), vec![route(webhook(&server.url()))]);
    notifier.accept(vec![firing("a"), firing("b")]).await;
    assert_eq!(server.wait_for(1).await[0].id, "b");
    let stats = notifier.stats().await.channels.remove(0);
    assert_eq!((stats.refused, stats.delivered, stats.retries), (1, 1, 0));
    let host = &server.address;
    let error = format!("{host} answered 400: no *** *** with *** and ***??here");
    assert_eq!(stats.last_error, Some(error));
}

#[tokio::test]
async fn errors_name_the_host_only() {
    let dir = tempfile::tempdir().unwrap();
    // On which nobody listens.
    let port = ports::free_port();
    let url = format!("http://user:s3cret@127.0.0.1:{port}/s3cret?k=s3cret");
    let notifier = start(dir.path(), vec![route(webhook(&url))]);
    notifier.accept(vec![firing("a")]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stats = notifier.stats().await.channels.remove(0);
    let error = stats.last_error.unwrap();
    assert!(error.starts_with(&format!("cannot connect to 127.0.0.1:{port}: ")), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
    assert_eq!(stats.queued, 1);
    assert_eq!(notifier.drain(Duration::from_millis(50)).await, 1, "it stays for the next start");
}

#[tokio::test]
async fn headers_do_not_follow_a_redirect() {
    let dir = tempfile::tempdir().unwrap();
    let other = Server::start(vec![]).await;
    let location: &'static str = format!("location: http://{}/\r\n", other.address).leak();
    let server = Server::start(vec![Reply::Say(307, location, "")]).await;
    let notifier = start(dir.path(), vec![route(webhook(&server.url()))]);
    notifier.accept(vec![firing("a"), firing("b")]).await;
    let mut error = None;
    for _ in 0..500 {
        error = notifier.stats().await.channels.remove(0).last_error;
        if error.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(error.unwrap().contains("answered 307 (a redirect"));
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_channel_that_hangs_delays_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("log");
    let log = UnixDatagram::bind(&socket).unwrap();
    let server = Server::start(vec![Reply::Hang; 100]).await;
    let routes = vec![route(webhook(&server.url())), route(syslog(Target::Local(socket)))];
    let notifier = start(dir.path(), routes);
    for n in 0..5 {
        // The other channel would hold this up for ever.
        notifier.accept(vec![firing(&n.to_string())]).await;
        assert!(receive(&log).await.ends_with(&format!("[warn] / is full ({n})")));
    }
    assert_eq!(notifier.stats().await.channels[0].queued, 5);
}

#[tokio::test]
async fn what_is_left_goes_out_after_a_restart_and_so_does_its_recovery() {
    let dir = tempfile::tempdir().unwrap();
    // The last try may still find an open connection to the server that is going away.
    let answers = std::iter::once(200).chain([500; 50]).map(|status| Reply::Say(status, "", "")).collect();
    let server = Server::start(answers).await;
    let address = server.address.clone();
    let url = server.url();
    let notifier = start(dir.path(), vec![route(webhook(&url))]);
    notifier.accept(vec![firing("told")]).await;
    server.wait_for(1).await;
    notifier.accept(vec![firing("waits")]).await;
    eventually("the failure", || (server.requests().len() > 1).then_some(())).await;
    drop(server);
    assert_eq!(notifier.drain(Duration::from_millis(20)).await, 1);

    let (outbox, found) = reopen(dir.path());
    let ids: Vec<_> = found.recent.iter().map(|a| a.id.as_str()).collect();
    assert_eq!((found.undelivered, ids, found.torn), (1, vec!["told", "waits"], 0));
    drop(outbox);
    let server = Server::at(&address, vec![]).await;
    let notifier = start(dir.path(), vec![route(webhook(&url))]);
    let over = |id| alert(id, Severity::Warn, Status::Resolved);
    notifier.accept(vec![over("told"), over("waits"), over("unknown")]).await;
    let got: Vec<_> = server.wait_for(3).await.into_iter().map(|a| (a.id, a.status)).collect();
    assert_eq!(notifier.drain(Duration::from_secs(1)).await, 0);
    let expect = ["waits", "told", "waits"].map(str::to_owned);
    let mut sorted = got.clone();
    sorted.sort_by_key(|(id, status)| (id.clone(), status.name()));
    assert_eq!(sorted.iter().map(|(id, _)| id.clone()).collect::<BTreeSet<_>>(), expect.clone().into());
    let order: Vec<_> = got.iter().filter(|(id, _)| id == "waits").map(|(_, s)| *s).collect();
    assert_eq!(order, [Status::Firing, Status::Resolved]);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_recovery_goes_only_to_the_channels_that_were_told() {
    let dir = tempfile::tempdir().unwrap();
    let (all, bad) = (Server::start(vec![]).await, Server::start(vec![]).await);
    let named = |name, server: &Server| -> Arc<dyn Channel> { Arc::new(Named(name, webhook(&server.url()))) };
    let picky =
        Route { severities: [Severity::Critical].into_iter().collect(), ..route(named("picky", &bad)) };
    let notifier = start(dir.path(), vec![route(named("all", &all)), picky]);
    notifier.accept(vec![firing("w"), alert("c", Severity::Critical, Status::Firing)]).await;
    all.wait_for(2).await;
    bad.wait_for(1).await;
    let over = |id, severity| alert(id, severity, Status::Resolved);
    notifier.accept(vec![over("w", Severity::Warn), over("c", Severity::Critical)]).await;
    all.wait_for(4).await;
    notifier.drain(Duration::from_secs(1)).await;
    let got: Vec<_> = bad.taken().into_iter().map(|a| (a.id, a.status)).collect();
    assert_eq!(got, [("c".to_owned(), Status::Firing), ("c".to_owned(), Status::Resolved)]);
}

/// A channel under another name.
struct Named(&'static str, Arc<dyn Channel>);
impl Channel for Named {
    fn name(&self) -> &'static str {
        self.0
    }
    fn send<'a>(
        &'a self,
        alert: &'a sysops_agent::alert::Alert,
        text: &'a str,
    ) -> sysops_agent::notify::channel::Sending<'a> {
        self.1.send(alert, text)
    }
}

#[tokio::test]
async fn an_end_is_for_those_who_know_the_begin_unless_it_is_all_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(vec![]).await;
    let notifier = start(dir.path(), vec![route(webhook(&server.url()))]);
    let mut only = alert("b", Severity::Warn, Status::Resolved);
    Arc::make_mut(&mut only).context.insert("only_message".into(), true.into());
    notifier.accept(vec![alert("a", Severity::Warn, Status::Resolved), only]).await;
    assert_eq!(server.wait_for(1).await.remove(0).id, "b");
    notifier.drain(Duration::from_secs(1)).await;
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn what_is_held_back_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(vec![]).await;
    let limits = Limits { per_hour: 2, ..Limits::OFF };
    let notifier = start_with(dir.path(), vec![route(webhook(&server.url()))], limits);
    let five = (0..5).map(|n| firing(&n.to_string())).collect();
    notifier.accept(five).await;
    server.wait_for(2).await;
    notifier.accept(vec![alert("e", Severity::Emergency, Status::Firing)]).await;
    let last = server.wait_for(3).await.remove(2);
    assert_eq!(
        last.message,
        "/ is full (e) (3 more held back by the rate limit, the worst: WARN: / is full (4))"
    );
    assert_eq!(last.context["held_back"], 3);
    // The server has the last one before its answer is here.
    let mut stats = notifier.stats().await.channels.remove(0);
    for _ in 0..500 {
        if stats.queued == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        stats = notifier.stats().await.channels.remove(0);
    }
    assert_eq!((stats.delivered, stats.limited, stats.queued), (3, 3, 0));
}

#[tokio::test]
async fn a_backlog_is_read_back_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let down = vec![Reply::Say(500, "", ""); 5];
    let server = Server::start(down).await;
    let notifier = start(dir.path(), vec![route(webhook(&server.url()))]);
    let ids: Vec<_> = (0..400).map(|n| format!("{n:03}")).collect();
    for chunk in ids.chunks(100) {
        assert!(notifier.accept(chunk.iter().map(|id| firing(id)).collect()).await);
    }
    let got: BTreeSet<_> = server.wait_for(400).await.into_iter().map(|a| a.id).collect();
    assert_eq!(got, ids.into_iter().collect());
    notifier.drain(Duration::from_secs(1)).await;
    assert_eq!(server.requests().len(), 405, "each once, besides the failures");
}

#[tokio::test]
async fn a_burst_shares_its_visits_to_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let notifier = start(dir.path(), vec![]);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let notifier = notifier.clone();
        tasks.spawn(async move { notifier.accept(vec![firing(&n.to_string())]).await });
    }
    assert!(tasks.join_all().await.into_iter().all(|durable| durable));
    let outbox = notifier.stats().await.outbox;
    assert_eq!((outbox.accepted, outbox.alerts, outbox.unstored), (200, 200, 0));
    assert!(outbox.commits <= 50, "{} visits", outbox.commits);
}

#[tokio::test]
async fn without_a_disk_alerts_are_delivered_and_the_trouble_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let server = Server::start(vec![]).await;
    let notifier = start(&file, vec![route(webhook(&server.url()))]);
    assert!(!notifier.accept(vec![firing("a")]).await, "not on disk");
    server.wait_for(1).await;
    let outbox = notifier.stats().await.outbox;
    assert!(outbox.trouble.unwrap().starts_with("cannot make "));
    assert_eq!(outbox.unstored, 1);
    assert_eq!(notifier.drain(Duration::from_secs(1)).await, 0);
}

#[tokio::test]
async fn test_alert_tells_how_each_channel_fared() {
    let (good, bad) =
        (Server::start(vec![]).await, Server::start(vec![Reply::Say(401, "", "s3cret-key?")]).await);
    let socket = tempfile::tempdir().unwrap().path().join("gone");
    let routes = [
        route(webhook(&good.url())),
        route(webhook(&bad.url())),
        route(syslog(Target::Local(socket.clone()))),
    ];
    let templates = Templates::new("{{message}}", &BTreeMap::new()).unwrap();
    let results = test_alert(&routes, &templates, "web-1", clock::now).await;
    assert_eq!(
        results.iter().map(|trial| trial.channel).collect::<Vec<_>>(),
        ["webhook", "webhook", "syslog"]
    );
    assert!(results[0].result == Verdict::Delivered && results[0].took < Duration::from_secs(10));
    let host = &bad.address;
    let why = format!("{host} answered 401 (not allowed; check the credentials): ***?");
    assert_eq!(results[1].result, Verdict::Refused(why));
    let why = format!("cannot write to {}: No such file or directory (os error 2)", socket.display());
    assert_eq!(results[2].result, Verdict::Failed(why));
    let sent = good.taken().remove(0);
    assert!(sent.message.contains("Test alert") && sent.metric == "test_alert");
}

#[tokio::test]
async fn syslog_survives_a_restart_of_the_local_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("log");
    let log = UnixDatagram::bind(&socket).unwrap();
    let notifier = start(dir.path(), vec![route(syslog(Target::Local(socket.clone())))]);
    notifier.accept(vec![firing("a")]).await;
    assert_eq!(receive(&log).await, "<28>Feb 22 07:30:00 agent[7]: [warn] / is full (a)");
    // Restarted before the next message.
    drop(log);
    std::fs::remove_file(&socket).unwrap();
    let log = UnixDatagram::bind(&socket).unwrap();
    notifier.accept(vec![firing("b")]).await;
    assert!(receive(&log).await.ends_with("(b)"));
    // Away while a message comes.
    drop(log);
    std::fs::remove_file(&socket).unwrap();
    notifier.accept(vec![firing("c")]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let log = UnixDatagram::bind(&socket).unwrap();
    assert!(receive(&log).await.ends_with("(c)"));
    let stats = notifier.stats().await.channels.remove(0);
    assert!(stats.retries > 0 && stats.delivered == 3, "{stats:?}");
}

#[tokio::test]
async fn syslog_falls_back_to_a_stream_socket() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("log");
    let listener = UnixListener::bind(&socket).unwrap();
    let notifier = start(dir.path(), vec![route(syslog(Target::Local(socket)))]);
    notifier.accept(vec![firing("a"), firing("b")]).await;
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut got = Vec::new();
    while got.split(|b| *b == 0).count() < 3 {
        assert!(stream.read_buf(&mut got).await.unwrap() > 0);
    }
    let text = String::from_utf8(got).unwrap();
    let line = |id| format!("<28>Feb 22 07:30:00 agent[7]: [warn] / is full ({id})\0");
    assert_eq!(text, line("a") + &line("b"));
}

#[tokio::test]
async fn syslog_over_udp_is_one_datagram_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = Target::Udp(server.local_addr().unwrap().to_string());
    let notifier = start(dir.path(), vec![route(syslog(target))]);
    notifier.accept(vec![firing("a")]).await;
    let mut buf = vec![0; 4096];
    let len = server.recv(&mut buf).await.unwrap();
    let text = String::from_utf8_lossy(&buf[..len]);
    let start =
        "<28>1 2026-02-22T07:30:00.000000Z web-1 agent 7 disk_used_percent [alert@32473 severity=\"warn\" ";
    assert!(text.starts_with(start) && text.ends_with("] \u{feff}[warn] / is full (a)"), "{text}");
}

#[tokio::test]
async fn syslog_over_tcp_counts_octets_and_notices_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::Tcp(listener.local_addr().unwrap().to_string());
    let notifier = start(dir.path(), vec![route(syslog(target))]);
    for id in ["a", "b", "c"] {
        notifier.accept(vec![firing(id)]).await;
        // Each message finds its connection closed by the server after the one before.
        let (mut stream, _) =
            tokio::time::timeout(Duration::from_secs(20), listener.accept()).await.unwrap().unwrap();
        let mut got = Vec::new();
        let message = loop {
            assert!(stream.read_buf(&mut got).await.unwrap() > 0);
            let text = String::from_utf8_lossy(&got);
            if let Some((len, message)) = text.split_once(' ')
                && message.len() == len.parse::<usize>().unwrap()
            {
                break message.to_owned();
            }
        };
        assert!(message.ends_with(&format!("({id})")), "{message}");
        drop(stream);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const KILL_DIR: &str = "SYSOPS_TEST_KILL_DIR";
const KILL_URL: &str = "SYSOPS_TEST_KILL_URL";
const KILL_ROUND: &str = "SYSOPS_TEST_KILL_ROUND";
const ROUNDS: u64 = 50;

/// Not a test of its own: what `no_accepted_alert_is_lost_by_kill_9` runs and kills. Writes the id of each alert
/// that is safe to stdout. The last round only sends what is left.
#[tokio::test]
async fn kill_child() {
    let env = |name| std::env::var(name).ok();
    let (Some(dir), Some(url), Some(round)) = (env(KILL_DIR), env(KILL_URL), env(KILL_ROUND)) else { return };
    let notifier = start(Path::new(&dir), vec![route(webhook(&url))]);
    if round == "last" {
        for _ in 0..2000 {
            if notifier.stats().await.channels[0].queued == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(notifier.drain(Duration::from_secs(20)).await, 0);
        return;
    }
    for n in 0.. {
        let id = format!("{round}-{n}");
        assert!(notifier.accept(vec![firing(&id)]).await);
        let mut out = std::io::stdout();
        out.write_all(format!("SAFE {id}\n").as_bytes()).unwrap();
        out.flush().unwrap();
        tokio::time::sleep(Duration::from_millis(n % 3)).await;
    }
}

fn child(dir: &Path, url: &str, round: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kill_child", "--nocapture", "--test-threads=1"]);
    command.env(KILL_DIR, dir).env(KILL_URL, url).env(KILL_ROUND, round);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Runs a child until `patience` after its first safe alert, kills it, and tells what was safe.
fn round(dir: &Path, url: &str, round: u64, patience: Duration) -> Vec<String> {
    let mut child = child(dir, url, &round.to_string()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let safe = |line: String| line.split_once("SAFE ").map(|(_, id)| id.to_owned());
    let mut ids: Vec<_> = lines.by_ref().find_map(safe).into_iter().collect();
    std::thread::sleep(patience);
    child.kill().unwrap();
    child.wait().unwrap();
    ids.extend(lines.filter_map(safe));
    ids
}

#[tokio::test]
async fn no_accepted_alert_is_lost_by_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let count = AtomicU64::new(0);
    let server = Server::answering("127.0.0.1:0", move |_| match count.fetch_add(1, Ordering::Relaxed) % 7 {
        3 => Reply::Say(503, "", ""),
        5 => Reply::Reset,
        _ => Reply::Say(200, "", ""),
    })
    .await;
    let (data, url) = (dir.path().to_owned(), server.url());
    let safe = tokio::task::spawn_blocking(move || {
        let mut safe = BTreeSet::new();
        for n in 0..ROUNDS {
            safe.extend(round(&data, &url, n, Duration::from_micros(n * 7919 % 40_000)));
        }
        let last = child(&data, &url, "last").status().unwrap();
        assert!(last.success(), "the rest was sent");
        safe
    })
    .await
    .unwrap();
    let mut got: BTreeMap<String, u64> = BTreeMap::new();
    for alert in server.taken() {
        *got.entry(alert.id).or_default() += 1;
    }
    let lost: Vec<_> = safe.iter().filter(|id| !got.contains_key(*id)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let twice: u64 = got.values().map(|n| n - 1).sum();
    println!("{} safe, {} arrived, {twice} twice, over {ROUNDS} kills", safe.len(), got.len());
    assert!(safe.len() as u64 >= ROUNDS, "every round had at least one");
    assert!(
        twice <= 2 * ROUNDS,
        "at each kill the message under way and the one whose mark waited for the disk"
    );
}

/// The clock of a host that was away for an hour.
fn an_hour_later() -> sysops_agent::time::Now {
    clock::now().plus_secs(3605)
}

#[tokio::test]
async fn after_an_outage_one_message_tells_what_stands_and_what_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::answering("127.0.0.1:0", |_| Reply::Say(503, "", "")).await;
    let (address, url) = (server.address.clone(), server.url());
    let notifier = start(dir.path(), vec![route(webhook(&url))]);
    let level = |n: usize, status| {
        let mut alert = alert(&format!("level-{n}"), Severity::Warn, status);
        Arc::make_mut(&mut alert).context.insert("held_secs".into(), 60.into());
        alert
    };
    let begins = (0..30).map(|n| level(n, Status::Firing));
    let ends = (0..20).map(|n| level(n, Status::Resolved));
    assert!(notifier.accept(begins.chain(ends).collect()).await);
    eventually("a failure", || (!server.requests().is_empty()).then_some(())).await;
    drop(server);
    assert_eq!(notifier.drain(Duration::from_millis(20)).await, 50);

    let server = Server::at(&address, vec![Reply::Say(500, "", ""), Reply::Say(200, "", "ok")]).await;
    let (outbox, found) = reopen(dir.path());
    drop((outbox, found));
    let (outbox, found) = sysops_agent::notify::Outbox::open(dir.path(), an_hour_later());
    let options = notify_support::options(Limits { per_minute: 1, ..Limits::OFF });
    let routes = vec![route(webhook(&url))];
    let (notifier, _) =
        sysops_agent::notify::Notifier::start(options, (outbox, &found), routes, an_hour_later);
    let told = server.wait_for(1).await.remove(0);
    assert_eq!(
        (told.rule.as_str(), told.status, told.severity),
        ("agent_backlog", Status::Firing, Severity::Warn)
    );
    let counts = ["messages", "standing", "over", "happened"].map(|key| told.context[key].as_u64().unwrap());
    assert_eq!(counts, [50, 10, 20, 0]);
    assert!(told.message.starts_with("webhook took nothing for up to 1 h"), "{}", told.message);
    let standing = told.context["alerts"].as_array().unwrap().iter().filter(|a| a["status"] == "firing");
    assert_eq!(standing.count(), 10);
    // The ends of those that stand come by themselves.
    notifier.accept(vec![level(25, Status::Resolved), level(26, Status::Resolved)]).await;
    let ids: BTreeSet<String> = server.wait_for(3).await.into_iter().skip(1).map(|alert| alert.id).collect();
    assert_eq!(ids, BTreeSet::from(["level-25".to_owned(), "level-26".to_owned()]));
    let stats = notifier.stats().await.channels.remove(0);
    assert_eq!((stats.collapsed, stats.lost, stats.limited), (50, 0, 0), "{stats:?}");
    // It is remembered.
    notifier.drain(Duration::from_secs(1)).await;
    let (outbox, found) = reopen(dir.path());
    assert_eq!(found.undelivered, 0);
    drop(outbox);
}
