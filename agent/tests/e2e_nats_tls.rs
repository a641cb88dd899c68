//! Alerts to a real nats-server over TLS with an authority of one's own, by every way to log in; and what is said, and kept,
//! where it does not work. Needs no rights.
#![cfg(all(feature = "nats", feature = "tls-rustls"))]
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "runs the agent and a server")]

#[path = "notify_support/certificates.rs"]
mod certificates;
mod e2e;
mod lab;
#[expect(dead_code, reason = "shared with tests that use the rest")]
mod notify_support;

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Subscriber};
use certificates::Certificates;
use data_encoding::BASE64URL_NOPAD;
use e2e::agent::{Home, words};
use e2e::confine::Confine;
use futures_util::StreamExt;
use lab::ports::free_port;
use lab::{skip, wait_for};
use nkeys::KeyPair;
use notify_support::{firing, route};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sysops_agent::alert::Alert;
use sysops_agent::config::{self, Known};
use sysops_agent::notify::terminal::Screen;
use sysops_agent::notify::{Notifier, routes};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);

/// The server; ends with the test.
struct Server {
    child: Child,
    port: u16,
    config: PathBuf,
}

/// What the server is told to be.
fn write(config: &Path, port: u16, tls: &str, more: &str) {
    fs::write(config, format!("listen: \"127.0.0.1:{port}\"\n{tls}\n{more}\n")).expect("written");
}

impl Server {
    /// On a port of its own, or on this one.
    fn start(dir: &Path, port: Option<u16>, tls: &str, more: &str) -> Option<Self> {
        let port = port.unwrap_or_else(free_port);
        let config = dir.join(format!("nats-{port}.conf"));
        write(&config, port, tls, more);
        let child = Command::new("nats-server").arg("-c").arg(&config).stderr(Stdio::null()).spawn();
        let Ok(child) = child else {
            skip("nats-server is missing: apt-get install nats-server");
            return None;
        };
        let server = Self { child, port, config };
        let up = wait_for(SOON, || TcpStream::connect(("127.0.0.1", port)).ok());
        assert!(up.is_some(), "the server is not up");
        Some(server)
    }

    /// While it runs: who is connected and may still be stays.
    fn reload(&self, tls: &str, more: &str) {
        write(&self.config, self.port, tls, more);
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::HUP).expect("it runs");
    }

    fn url(&self) -> String {
        format!("tls://localhost:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tls(certificates: &Certificates, certificate: &str) -> String {
    let (cert, key) = (certificates.path(certificate), certificates.path("server.key"));
    format!("tls {{ cert_file: \"{}\", key_file: \"{}\" }}", cert.display(), key.display())
}

/// A home whose only channel is NATS.
fn home(url: &str, more: &str) -> Home {
    Home::new(
        "http://127.0.0.1:9/",
        &format!(
            "[alerting.webhook]\nenabled = false\n[nats]\nenabled = true\nurl = {url:?}\nheartbeat_interval_secs = 3600\n{more}"
        ),
    )
}

/// What `test-alert` prints, and whether it was delivered.
fn try_it(home: &Home, works: bool, parts: &[&str]) {
    let done = home.command(&Confine::No, &["test-alert"]).output().expect("it runs");
    let said = words(&done);
    println!("{said}");
    assert_eq!(done.status.success(), works, "{said}");
    for part in parts {
        assert!(said.contains(part), "{said} lacks {part}");
    }
    assert!(!said.contains("s3cret"), "{said}");
}

async fn reader(server: &Server, options: ConnectOptions, ca: &Path) -> (Client, Subscriber) {
    let client = options.add_root_certificates(ca.to_owned()).connect(server.url()).await.expect("connected");
    let all = client.subscribe("sysops.>").await.expect("subscribed");
    client.flush().await.expect("flushed");
    (client, all)
}

async fn next(all: &mut Subscriber) -> Alert {
    let message = timeout(SOON, all.next()).await.expect("in time").expect("a message");
    serde_json::from_slice(&message.payload).expect("an alert")
}

#[tokio::test]
async fn every_login_works_over_tls_and_what_does_not_is_said() {
    let Some(certificates) = Certificates::make() else { return };
    let ca = certificates.path("ca.pem");
    let dir = tempfile::tempdir().expect("a directory");
    let key = KeyPair::new_user();
    let users = format!(
        "authorization {{ users = [ {{ user: agent, password: s3cret-pass }}, {{ nkey: {} }} ] }}",
        key.public_key()
    );
    let Some(server) = Server::start(dir.path(), None, &tls(&certificates, "server.pem"), &users) else {
        return;
    };
    let with = |more: &str| home(&server.url(), &format!("tls_ca_file = {ca:?}\n{more}"));
    let options = ConnectOptions::with_user_and_password("agent".into(), "s3cret-pass".into());
    let (_client, mut all) = reader(&server, options, &ca).await;

    try_it(&with("user = \"agent\"\npassword = \"s3cret-pass\""), true, &["delivered"]);
    assert_eq!(next(&mut all).await.rule, "test_alert");
    // Also within the address, which no log may tell.
    let url = server.url().replace("//", "//agent:s3cret-pass@");
    try_it(&home(&url, &format!("tls_ca_file = {ca:?}")), true, &["delivered"]);
    assert_eq!(next(&mut all).await.rule, "test_alert");
    let seed = dir.path().join("seed.nk");
    fs::write(&seed, format!("\n{}\n", key.seed().expect("a seed"))).expect("written");
    try_it(&with(&format!("credential_file = {seed:?}")), true, &["delivered"]);
    assert_eq!(next(&mut all).await.rule, "test_alert");

    try_it(
        &with("user = \"agent\"\npassword = \"s3cret-wrong\""),
        false,
        &["authorization violation", "check user"],
    );
    let other = dir.path().join("other.nk");
    fs::write(&other, KeyPair::new_user().seed().expect("a seed")).expect("written");
    try_it(&with(&format!("credential_file = {other:?}")), false, &["authorization violation"]);
    fs::write(&other, "s3cret but no key").expect("written");
    try_it(
        &with(&format!("credential_file = {other:?}")),
        false,
        &["is neither a file of credentials", "seed of an NKey"],
    );
    // Nobody's authority, and another name than the certificate's.
    let login = "user = \"agent\"\npassword = \"s3cret-pass\"";
    try_it(&home(&server.url(), login), false, &["cannot connect to localhost:", "tls_ca_file"]);
    let url = server.url().replace("localhost", "127.0.0.1");
    try_it(
        &home(&url, &format!("tls_ca_file = {ca:?}\n{login}")),
        false,
        &["cannot connect to 127.0.0.1:", "ertificate"],
    );
    let missing = home(&server.url(), &format!("tls_ca_file = \"/no/such/ca.pem\"\n{login}"));
    try_it(&missing, false, &["/no/such/ca.pem"]);
}

#[tokio::test]
async fn a_token_works_and_an_old_certificate_does_not() {
    let Some(certificates) = Certificates::make() else { return };
    let (ca, dir) = (certificates.path("ca.pem"), tempfile::tempdir().expect("a directory"));
    let token = "authorization { token: s3cret-token }";
    let Some(server) = Server::start(dir.path(), None, &tls(&certificates, "server.pem"), token) else {
        return;
    };
    let (_client, mut all) = reader(&server, ConnectOptions::with_token("s3cret-token".into()), &ca).await;
    let with = |url: &str, token: &str| home(url, &format!("tls_ca_file = {ca:?}\ntoken = {token:?}"));
    try_it(&with(&server.url(), "s3cret-token"), true, &["delivered"]);
    assert_eq!(next(&mut all).await.rule, "test_alert");
    try_it(&with(&server.url(), "s3cret-wrong"), false, &["authorization violation"]);
    let Some(old) = Server::start(dir.path(), None, &tls(&certificates, "expired.pem"), token) else {
        return;
    };
    // It was good in the second in which it was made.
    std::thread::sleep(Duration::from_millis(1100));
    try_it(&with(&old.url(), "s3cret-token"), false, &["cannot connect to localhost:", "expired"]);
}

/// A JSON web token as NATS wants it.
fn jwt(by: &KeyPair, about: &KeyPair, name: &str, nats: &Value) -> String {
    let head = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let claims = json!({
        "jti": name, "iat": 1_700_000_000, "iss": by.public_key(), "sub": about.public_key(), "name": name, "nats": nats,
    });
    let [head, claims] = [head, claims].map(|part| BASE64URL_NOPAD.encode(part.to_string().as_bytes()));
    let signature = by.sign(format!("{head}.{claims}").as_bytes()).expect("signed");
    format!("{head}.{claims}.{}", BASE64URL_NOPAD.encode(&signature))
}

#[tokio::test]
async fn a_credentials_file_works_over_tls() {
    let Some(certificates) = Certificates::make() else { return };
    let (ca, dir) = (certificates.path("ca.pem"), tempfile::tempdir().expect("a directory"));
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let file = dir.path().join("operator.jwt");
    fs::write(&file, jwt(&operator, &operator, "op", &json!({ "type": "operator", "version": 2 })))
        .expect("written");
    let limits = json!({ "subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "wildcards": true });
    let claims = json!({ "type": "account", "version": 2, "limits": limits });
    let more = format!(
        "operator: {file:?}\nresolver: MEMORY\nresolver_preload: {{ {}: {} }}",
        account.public_key(),
        jwt(&operator, &account, "acc", &claims)
    );
    let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let creds = dir.path().join("user.creds");
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        jwt(&account, &user, "usr", &claims),
        user.seed().expect("a seed")
    );
    fs::write(&creds, &text).expect("written");
    let Some(server) = Server::start(dir.path(), None, &tls(&certificates, "server.pem"), &more) else {
        return;
    };
    let options = ConnectOptions::new().credentials(&text).expect("good ones");
    let (_client, mut all) = reader(&server, options, &ca).await;
    let home = home(&server.url(), &format!("tls_ca_file = {ca:?}\ncredential_file = {creds:?}"));
    try_it(&home, true, &["delivered"]);
    assert_eq!(next(&mut all).await.rule, "test_alert");
}

/// The server comes back with another certificate, then with another password, and then knows the right one, once before the agent has
/// ever spoken to it and once after: what the agent had to say meanwhile arrives.
#[tokio::test]
async fn nothing_is_lost_while_the_server_cannot_be_trusted() {
    let (Some(certificates), Some(others)) = (Certificates::make(), Certificates::make()) else { return };
    let (ca, dir) = (certificates.path("ca.pem"), tempfile::tempdir().expect("a directory"));
    let (good, bad) = (tls(&certificates, "server.pem"), tls(&others, "server.pem"));
    // Who reads may always come: who comes after the agent hears nothing of what was said before.
    let users = |password: &str| {
        format!(
            "authorization {{ users = [ {{ user: agent, password: {password} }}, {{ user: reader, password: s3cret-reader }} ] }}"
        )
    };
    let Some(first) = Server::start(dir.path(), None, &bad, &users("s3cret-pass")) else { return };
    let (port, url) = (first.port, first.url());
    let start = |tls: &str, password: &str| {
        Server::start(dir.path(), Some(port), tls, &users(password)).expect("it starts again")
    };
    let text = format!(
        "[alerting.terminal]\nenabled = \"off\"\n[alerting.syslog]\nenabled = false\n[nats]\nenabled = true\nurl = {url:?}\n\
         tls_ca_file = {ca:?}\nuser = \"agent\"\npassword = \"s3cret-pass\"\nreconnect_delay_secs = 1\nmax_reconnect_attempts = 2"
    );
    let known = Known {
        metrics: &[],
        collectors: &[],
        alone: false,
        variables: false,
        labels: &[],
        rules: &[],
        witnessed: &[],
    };
    let config = config::load(&text, "x.toml", &|_| None, known).unwrap_or_else(|p| panic!("{p}")).0;
    let (mut routes, problems) = routes(&config, Screen { tty: false, colour: false, width: 80 });
    assert!(problems.is_empty(), "{problems:?}");
    let outbox = tempfile::tempdir().expect("a directory");
    let notifier = notify_support::start(outbox.path(), vec![route(routes.remove(0).channel)]);

    let mut server = first;
    for id in ["before", "after"] {
        notifier.accept(vec![firing(id)]).await;
        says(&notifier, "ertificate").await;
        drop(server);
        server = start(&good, "s3cret-other");
        says(&notifier, "authorization violation").await;
        let options = ConnectOptions::with_user_and_password("reader".into(), "s3cret-reader".into());
        let (_client, mut all) = reader(&server, options, &ca).await;
        server.reload(&good, &users("s3cret-pass"));
        assert_eq!(next(&mut all).await.id, id);
        // It counts as delivered when the connection has stood behind it for a moment.
        while notifier.stats().await.channels.remove(0).queued > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(server);
        server = start(&bad, "s3cret-pass");
    }
    assert_eq!(notifier.drain(Duration::from_secs(1)).await, 0);
}

/// Waits until the newest failure is this one.
async fn says(notifier: &Notifier, part: &str) {
    let begin = std::time::Instant::now();
    loop {
        let error = notifier.stats().await.channels.remove(0).last_error.unwrap_or_default();
        assert!(!error.contains("s3cret"), "{error}");
        if error.contains(part) {
            println!("{error}");
            return;
        }
        assert!(begin.elapsed() < Duration::from_mins(1), "{error} lacks {part}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
