//! Alerts and signs of life over a real nats-server. Needs no rights.
#![cfg(feature = "nats")]
#![expect(clippy::disallowed_methods, reason = "runs the agent and a server")]

mod e2e;
mod lab;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::{Client, Subscriber};
use e2e::agent::{Home, words};
use e2e::confine::Confine;
use futures_util::StreamExt;
use lab::ports::free_port;
use lab::{skip, wait_for};
use serde_json::Value;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);

/// The server; ends with the test.
struct Server {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Server {
    fn start() -> Option<Self> {
        let port = free_port();
        let dir = tempfile::tempdir().ok()?;
        let config = dir.path().join("nats.conf");
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\nauthorization {{ users = [\n\
             {{ user: agent, password: s3cret-pass, permissions: {{ publish: \"sysops.>\", subscribe: \"_INBOX.>\" }} }}\n\
             {{ user: reader, password: reader }} ] }}\n"
        );
        fs::write(&config, text).expect("written");
        let child = Command::new("nats-server").arg("-c").arg(&config).stderr(Stdio::null()).spawn();
        let Ok(child) = child else {
            skip("nats-server is missing: apt-get install nats-server");
            return None;
        };
        let up = wait_for(SOON, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        assert!(up.is_some(), "the server is not up");
        Some(Self { child, port, _dir: dir })
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    async fn reader(&self) -> (Client, Subscriber) {
        let options = async_nats::ConnectOptions::with_user_and_password("reader".into(), "reader".into());
        let client = options.connect(self.url()).await.expect("connected");
        let all = client.subscribe("sysops.>").await.expect("subscribed");
        client.flush().await.expect("flushed");
        (client, all)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn home(url: &str, password: &str, prefix: &str) -> Home {
    Home::new(
        "http://127.0.0.1:9/",
        &format!(
            "[agent]\nhostname = \"web-1.example.com\"\n[alerting.webhook]\nenabled = false\n[nats]\nenabled = true\n\
             url = {url:?}\nuser = \"agent\"\npassword = {password:?}\nsubject_prefix = {prefix:?}\nheartbeat_interval_secs = 1"
        ),
    )
}

/// The next alert or heartbeat.
async fn next(all: &mut Subscriber) -> (String, Value) {
    let other = |subject: &str| subject.ends_with(".metrics") || subject.ends_with(".inventory");
    let mut message = timeout(SOON, all.next()).await.expect("in time").expect("a message");
    while other(&message.subject) {
        message = timeout(SOON, all.next()).await.expect("in time").expect("a message");
    }
    (message.subject.to_string(), serde_json::from_slice(&message.payload).expect("JSON"))
}

#[tokio::test]
async fn alerts_and_heartbeats_arrive_and_refusals_are_told() {
    let Some(server) = Server::start() else { return };
    let (_client, mut all) = server.reader().await;
    let try_it = |home: &Home, code: i32| {
        let done = home.command(&Confine::No, &["test-alert"]).output().expect("it runs");
        assert_eq!(done.status.code(), Some(code), "{}", words(&done));
        let said = words(&done);
        assert!(!said.contains("s3cret"), "{said}");
        said
    };
    try_it(&home(&server.url(), "s3cret-pass", "sysops"), 0);
    let (subject, alert) = next(&mut all).await;
    assert_eq!((subject.as_str(), &alert["rule"]), ("sysops.web-1_example_com.alerts", &"test_alert".into()));
    assert_eq!(alert["hostname"], "web-1.example.com");

    let refused = try_it(&home(&server.url(), "s3cret-pass", "other"), 1);
    assert!(
        refused.contains("REFUSED") && refused.contains("publish to other.web-1_example_com.alerts"),
        "{refused}"
    );
    let denied = try_it(&home(&server.url(), "s3cret-wrong", "sysops"), 1);
    assert!(denied.to_lowercase().contains("authorization"), "{denied}");
    try_it(&home("nats://127.0.0.1:9", "s3cret-pass", "sysops"), 1);

    let home = home(&server.url(), "s3cret-pass", "sysops");
    let agent = home.start(&Confine::No);
    let (subject, beat) = next(&mut all).await;
    assert_eq!(subject, "sysops.web-1_example_com.heartbeat");
    assert_eq!(beat["status"], "healthy");
    assert!(beat["uptime_secs"].as_u64() > Some(0) && beat["agent_version"].is_string(), "{beat}");
    agent.stop();
    loop {
        let (_, beat) = next(&mut all).await;
        if beat["status"] == "stopping" {
            break;
        }
        assert_eq!(beat["status"], "healthy", "{beat}");
    }
}
