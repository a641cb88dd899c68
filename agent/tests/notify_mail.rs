//! Mail through a real server: STARTTLS, TLS, login, and what it refuses.
#![cfg(feature = "tls-rustls")]
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the other end is the test's own")]

#[path = "notify_support/certificates.rs"]
mod certificates;
#[expect(dead_code, reason = "shared with tests that use the rest")]
mod notify_support;

use certificates::Certificates;
use notify_support::{alert, firing};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use sysops_agent::alert::{Severity, Status};
use sysops_agent::config::SmtpTls;
use sysops_agent::notify::email::{Email, Options};
use sysops_agent::notify::mail::Letter;
use sysops_agent::notify::{Channel, SendError};

/// The server, and what it tells.
struct Server {
    child: Child,
    told: BufReader<ChildStdout>,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// `None`, and a word why, where Debian's python3-aiosmtpd or openssl is missing.
    fn start(mode: &str, certificates: &Certificates) -> Option<Self> {
        // Debian's own Python has Debian's modules, whatever else is installed.
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", include_str!("notify_support/smtp.py"), mode])
            .args([certificates.path("server.pem"), certificates.path("server.key")])
            // It prints a trace of each client that breaks off, which is what some of these tests do.
            .stderr(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut told = BufReader::new(child.stdout.take()?);
        let mut line = String::new();
        told.read_line(&mut line).ok()?;
        let Ok(hello) = serde_json::from_str::<Value>(&line) else {
            eprintln!("SKIPPED: aiosmtpd is missing: apt-get install python3-aiosmtpd");
            return None;
        };
        let port = hello["port"].as_u64().and_then(|port| u16::try_from(port).ok())?;
        Some(Self { child, told, port })
    }

    fn mail(&mut self) -> Value {
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

fn options(server: &Server, tls: SmtpTls, ca_file: &Path, to: &[&str]) -> Options {
    Options {
        host: "localhost".into(),
        port: server.port,
        tls,
        ca_file: ca_file.to_owned(),
        username: "sysops".into(),
        password: "s3cret-pass".into(),
        letter: Letter {
            from: "Sysops <sysops@example.com>".parse().unwrap(),
            to: to.iter().map(|to| to.parse().unwrap()).collect(),
            subject_prefix: "[sysops]".into(),
        },
        template: false,
    }
}

/// Some of several recipients have it; whether the others may get theirs.
fn some_have_it(result: Result<(), SendError>, others: bool, part: &str) {
    let error = result.unwrap_err();
    let is_it = matches!(error, SendError::Partly { again, .. } if again == others);
    assert!(is_it && error.why().contains(part) && !error.why().contains("s3cret"), "{error:?}");
}

async fn send(options: Options) -> Result<(), SendError> {
    Email::new(options).unwrap().send(&firing("disk-1"), "").await
}

fn refused(result: Result<(), SendError>, part: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, SendError::Refused { .. }) && error.why().contains(part), "{error:?}");
    assert!(!error.why().contains("s3cret"), "{error:?}");
}

fn barred(result: Result<(), SendError>, part: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, SendError::Barred { .. }) && error.why().contains(part), "{error:?}");
    assert!(!error.why().contains("s3cret"), "{error:?}");
}

fn to_be_tried_again(result: Result<(), SendError>, part: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, SendError::Retry { .. }) && error.why().contains(part), "{error:?}");
    assert!(!error.why().contains("s3cret"), "{error:?}");
}

#[tokio::test]
#[ignore = "live: needs python3-aiosmtpd and openssl"]
async fn mail_goes_through_starttls_with_a_login() {
    let Some(certificates) = Certificates::make() else { return };
    let Some(mut server) = Server::start("starttls", &certificates) else { return };
    let ca = certificates.path("ca.pem");
    let safe = |to: &[&str]| options(&server, SmtpTls::Starttls, &ca, to);

    let (one, two) =
        (safe(&["ops@example.com"]), safe(&["ops@example.com", "nobody@example.com", "boss@example.com"]));
    let (nobody, later) = (safe(&["nobody@example.com"]), safe(&["later@example.com"]));
    let (full, disliked) = (safe(&["full@example.com"]), safe(&["disliked@example.com"]));
    let some_full = safe(&["full@example.com", "ops@example.com"]);
    let some_later = safe(&["twice@example.com", "ops@example.com"]);
    let wrong_password = Options { password: "s3cret-wrong".into(), ..safe(&["ops@example.com"]) };
    let no_tls = options(&server, SmtpTls::None, Path::new(""), &["ops@example.com"]);
    let unknown_authority = options(&server, SmtpTls::Starttls, Path::new(""), &["ops@example.com"]);
    let wrapped = options(&server, SmtpTls::Tls, &ca, &["ops@example.com"]);
    let other_name = Options { host: "127.0.0.1".into(), ..safe(&["ops@example.com"]) };

    send(one).await.unwrap();
    let mail = server.mail();
    assert_eq!(
        (&mail["tls"], &mail["user"], &mail["from"]),
        (&true.into(), &"sysops".into(), &"sysops@example.com".into())
    );
    assert_eq!(mail["hello"], "example.com");
    let content = mail["content"].as_str().unwrap();
    for part in [
        "Subject: [sysops] WARN web-1: / is full (disk-1)",
        "From: Sysops <sysops@example.com>",
        "Date: Sun, 22 Feb 2026 07:30:00 +0000",
        "Message-ID: <sysops-agent.disk-1.",
        "Content-Type: multipart/alternative;",
        "disk_used_percent = 91.4 % (limit 90 %), for 40 s",
    ] {
        assert!(content.contains(part), "{part} in {content}");
    }

    // One recipient that does not exist takes nothing from the others.
    some_have_it(send(two).await, false, "5.1.1 no such user");
    let mut to = [server.mail(), server.mail()].map(|mail| mail["to"][0].as_str().unwrap().to_owned());
    to.sort();
    assert_eq!(to, ["boss@example.com", "ops@example.com"]);

    barred(send(nobody).await, "(it refuses the sender or a recipient; check from and to)");
    to_be_tried_again(send(full).await, "(the mail is too large, or the mailbox is full): 5.2.2 full");
    refused(send(disliked).await, "5.6.0 content");
    some_have_it(send(some_full).await, true, "5.2.2 full");
    assert_eq!(server.mail()["to"][0], "ops@example.com");
    // Who is not taken now gets it with the next try, and only who does not have it yet.
    let some = Email::new(some_later).unwrap();
    some_have_it(some.send(&firing("disk-2"), "").await, true, "some recipients have it, others do not");
    assert_eq!(server.mail()["to"][0], "ops@example.com");
    some.send(&firing("disk-2"), "").await.unwrap();
    assert_eq!(server.mail()["to"][0], "twice@example.com");
    barred(send(wrong_password).await, "(the login was refused; check username and password)");
    to_be_tried_again(send(later.clone()).await, "greylisted");
    send(later).await.unwrap();
    assert_eq!(server.mail()["to"][0], "later@example.com");
    // Without TLS the server offers no login, or says that it wants TLS first.
    let error = send(no_tls).await.unwrap_err();
    assert!(error.why().contains("smtp_tls"), "{error:?}");
    to_be_tried_again(send(unknown_authority).await, "ertificate");
    to_be_tried_again(send(other_name).await, "ertificate");
    to_be_tried_again(send(wrapped).await, "check smtp_tls");
}

#[tokio::test]
#[ignore = "live: needs python3-aiosmtpd and openssl"]
async fn mail_goes_through_tls_and_in_the_clear() {
    let Some(certificates) = Certificates::make() else { return };
    let ca = certificates.path("ca.pem");
    let Some(mut server) = Server::start("tls", &certificates) else { return };
    send(options(&server, SmtpTls::Tls, &ca, &["ops@example.com"])).await.unwrap();
    assert_eq!((&server.mail()["tls"], server.port > 0), (&true.into(), true));

    let Some(mut plain) = Server::start("plain", &certificates) else { return };
    let options = Options {
        username: String::new(),
        ..options(&plain, SmtpTls::None, Path::new(""), &["ops@example.com"])
    };
    let email = Email::new(options).unwrap();
    email.send(&firing("disk-1"), "").await.unwrap();
    email.send(&alert("disk-1", Severity::Warn, Status::Resolved), "").await.unwrap();
    let (first, second) = (plain.mail(), plain.mail());
    let line = |mail: &Value, name: &str| {
        let content = mail["content"].as_str().unwrap().to_owned();
        content.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned)).unwrap_or_default()
    };
    assert_eq!((first["tls"].as_bool(), first["user"].as_str()), (Some(false), None));
    assert_eq!(line(&second, "In-Reply-To: "), line(&first, "Message-ID: "));
    assert!(line(&second, "Subject: ").starts_with("[sysops] RESOLVED web-1"));
    // Nobody there, and a server that offers no TLS where it is wanted: perhaps later.
    let port = plain.port;
    let wants_tls = Email::new(Options { ca_file: ca, ..options_at(port, SmtpTls::Starttls) }).unwrap();
    to_be_tried_again(wants_tls.send(&firing("x"), "").await, "check smtp_tls");
    drop(plain);
    to_be_tried_again(
        Email::new(options_at(port, SmtpTls::None)).unwrap().send(&firing("x"), "").await,
        "no mail through localhost:",
    );
}

fn options_at(port: u16, tls: SmtpTls) -> Options {
    Options {
        host: "localhost".into(),
        port,
        tls,
        ca_file: std::path::PathBuf::new(),
        username: String::new(),
        password: "".into(),
        letter: Letter {
            from: "sysops@example.com".parse().unwrap(),
            to: vec!["ops@example.com".parse().unwrap()],
            subject_prefix: String::new(),
        },
        template: false,
    }
}
