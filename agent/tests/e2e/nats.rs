//! Real nats-servers, and somebody who listens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Message, Subscriber};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::lab::ports::free_port;
use crate::lab::{skip, wait_for};

/// Longest wait for anything.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A server; ends with the test.
pub(crate) struct Server {
    child: Option<Child>,
    /// Where it listens.
    pub(crate) port: u16,
    dir: tempfile::TempDir,
}

impl Server {
    /// Starts one with this configuration; `STORE` in it is a directory of its own. `None`, and a word why, where there
    /// is no nats-server.
    pub(crate) fn start(config: &str) -> Option<Self> {
        Self::start_on(free_port(), config)
    }

    /// The same on a certain port.
    pub(crate) fn start_on(port: u16, config: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let config = config.replace("STORE", &dir.path().join("store").to_string_lossy());
        fs::write(dir.path().join("nats.conf"), format!("listen: \"127.0.0.1:{port}\"\n{config}\n"))
            .expect("written");
        let mut server = Self { child: None, port, dir };
        server.again().then_some(server)
    }

    /// Starts it again, with what it has stored.
    pub(crate) fn again(&mut self) -> bool {
        let log = fs::File::create(self.log()).expect("a log");
        let config = self.dir.path().join("nats.conf");
        let child =
            Command::new("nats-server").arg("-c").arg(config).stdout(Stdio::null()).stderr(log).spawn();
        let Ok(child) = child else {
            skip("nats-server is missing: apt-get install nats-server");
            return false;
        };
        self.child = Some(child);
        let up = wait_for(SOON, || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok());
        assert!(up.is_some(), "the server is not up: {}", fs::read_to_string(self.log()).unwrap_or_default());
        true
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Kills it without a warning.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it in the middle of whatever it does, or lets it go on.
    pub(crate) fn freeze(&self, yes: bool) {
        use rustix::process::{Pid, Signal, kill_process};
        let child = self.child.as_ref().expect("it runs");
        let signal = if yes { Signal::STOP } else { Signal::CONT };
        kill_process(Pid::from_child(child), signal).expect("it lives");
        // Each of its threads stops when it comes to it.
        let stands = || {
            let mut tasks = fs::read_dir(format!("/proc/{}/task", child.id())).expect("its threads");
            let is_stopped =
                |stat: String| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
            tasks.all(|task| {
                let stat = fs::read_to_string(task.expect("a thread").path().join("stat"));
                stat.map_or(true, is_stopped)
            })
        };
        assert!(!yes || wait_for(SOON, || stands().then_some(())).is_some(), "it does not stop");
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A client that nobody asks who it is.
    pub(crate) async fn client(&self) -> Client {
        ConnectOptions::new().connect(self.url()).await.expect("connected")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Everything below a subject, from now on.
pub(crate) async fn listen(client: &Client, subject: &str) -> Subscriber {
    let all = client.subscribe(subject.to_owned()).await.expect("subscribed");
    client.flush().await.expect("flushed");
    all
}

/// The next message.
pub(crate) async fn next(all: &mut Subscriber) -> Message {
    timeout(SOON, all.next()).await.expect("in time").expect("a message")
}

/// The JSON of a message, unpacked where its header says so; and its bytes unpacked.
pub(crate) fn json(message: &Message) -> (Value, usize) {
    let encoding = message.headers.as_ref().and_then(|h| h.get("Content-Encoding")).map(ToString::to_string);
    let plain = match encoding.as_deref() {
        Some("zstd") => zstd::bulk::decompress(&message.payload, 8 << 20).expect("zstd"),
        None => message.payload.to_vec(),
        other => panic!("{other:?}"),
    };
    (serde_json::from_slice(&plain).expect("JSON"), plain.len())
}

/// Makes a stream of everything below `sysops`, in a file.
pub(crate) async fn make_stream(client: &Client, duplicate_window_secs: u64) {
    make_stream_of(client, json!({ "duplicate_window": duplicate_window_secs * 1_000_000_000 })).await;
}

/// The same with these settings; one that is there already takes them over.
pub(crate) async fn make_stream_of(client: &Client, more: Value) {
    let mut config = json!({
        "name": "SYSOPS", "subjects": ["sysops.>"], "retention": "limits", "storage": "file", "num_replicas": 1,
    });
    let more = more.as_object().expect("settings").clone();
    config.as_object_mut().expect("an object").extend(more);
    let is_there = client.request("$JS.API.STREAM.INFO.SYSOPS", "".into()).await.expect("an answer");
    let is_there = serde_json::from_slice::<Value>(&is_there.payload).expect("JSON")["error"].is_null();
    let subject = format!("$JS.API.STREAM.{}.SYSOPS", if is_there { "UPDATE" } else { "CREATE" });
    let answer = client.request(subject, config.to_string().into()).await.expect("an answer");
    let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    assert!(answer["error"].is_null(), "{answer}");
}

/// Messages the stream holds.
pub(crate) async fn stored(client: &Client) -> u64 {
    let answer = client.request("$JS.API.STREAM.INFO.SYSOPS", "".into()).await.expect("an answer");
    let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    answer["state"]["messages"].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

/// All messages of the stream, from the first.
pub(crate) async fn replay(client: &Client) -> Vec<Message> {
    let count = stored(client).await;
    let mut all = listen(client, "replay").await;
    let config = json!({
        "stream_name": "SYSOPS",
        "config": { "deliver_subject": "replay", "deliver_policy": "all", "ack_policy": "none" },
    });
    let answer =
        client.request("$JS.API.CONSUMER.CREATE.SYSOPS", config.to_string().into()).await.expect("an answer");
    let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    assert!(answer["error"].is_null(), "{answer}");
    let mut messages = Vec::new();
    for _ in 0..count {
        messages.push(next(&mut all).await);
    }
    messages
}

/// A file of credentials and the configuration of a server that trusts it: an operator, an account, a user.
pub(crate) fn trust(dir: &Path) -> (PathBuf, String) {
    use nkeys::KeyPair;
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let jwt = |issuer: &KeyPair, subject: &KeyPair, nats: Value| {
        let head = base64(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
        let claims = json!({
            "jti": "x", "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject.public_key(),
            "name": "test", "nats": nats,
        });
        let text = format!("{head}.{}", base64(claims.to_string().as_bytes()));
        let signature = base64(&issuer.sign(text.as_bytes()).expect("signed"));
        format!("{text}.{signature}")
    };
    let none = json!({ "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1, "leaf": -1, "wildcards": true });
    let operator_jwt = jwt(&operator, &operator, json!({ "type": "operator", "version": 2 }));
    let account_jwt = jwt(&operator, &account, json!({ "type": "account", "version": 2, "limits": none }));
    let user_jwt =
        jwt(&account, &user, json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 }));
    let path = dir.join("agent.creds");
    let seed = user.seed().expect("a seed");
    fs::write(
        &path,
        format!(
            "-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        ),
    )
    .expect("written");
    let config = format!(
        "operator: {operator_jwt}\nresolver: MEMORY\nresolver_preload: {{ {}: {account_jwt} }}\n",
        account.public_key()
    );
    (path, config)
}

/// RFC 4648, for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let chunk = |bytes: &[u8]| {
        let number = bytes.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - bytes.len()));
        (0..=bytes.len())
            .map(move |n| char::from(DIGITS[(number >> (18 - 6 * n)) as usize & 63]))
            .collect::<String>()
    };
    bytes.chunks(3).map(chunk).collect()
}
