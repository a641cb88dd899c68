//! `test-alert` through every channel at once: what arrives, what templates make of it, and what is said of each that does
//! not work. Needs no rights.
#![cfg(feature = "tls-rustls")]
#![expect(clippy::disallowed_methods, reason = "runs the agent and looks at what it sends")]

#[path = "notify_support/certificates.rs"]
mod certificates;
mod e2e;
mod ends;
mod lab;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use certificates::Certificates;
use e2e::agent::{Home, words};
use e2e::confine::Confine;
use ends::{Ends, speaks_nats};
use serde_json::Value;

/// The variables of a template.
const VARIABLES: [&str; 9] =
    ["hostname", "severity", "metric", "value", "threshold", "message", "timestamp", "labels", "trend"];
/// Channels that have a template of their own.
const WORDED: [&str; 10] =
    ["terminal", "syslog", "webhook", "discord", "slack", "telegram", "email", "ntfy", "pagerduty", "nats"];
/// An address of which nobody takes connections.
const NOBODY: &str = "http://127.0.0.1:9/";

/// What `test-alert` prints.
fn test_alert(home: &Home, works: bool) -> String {
    let done = home.command(&Confine::No, &["test-alert"]).output().expect("it runs");
    let said = words(&done);
    assert_eq!(done.status.success(), works, "{said}");
    assert!(!said.contains("s3cret"), "{said}");
    said
}

fn row<'a>(table: &'a str, channel: &str) -> &'a str {
    let row = table.lines().find(|line| line.split_whitespace().next() == Some(channel));
    row.unwrap_or_else(|| panic!("no {channel} in {table}"))
}

#[test]
fn a_test_alert_arrives_on_every_channel() {
    let ends = Ends::start();
    let said = test_alert(&Home::new(NOBODY, &ends.config()), true);
    for channel in Ends::channels() {
        assert!(row(&said, channel).contains("delivered") && row(&said, channel).ends_with("ms"), "{said}");
        // An incident of PagerDuty is closed too.
        let expect = if channel == "pagerduty" { 2 } else { 1 };
        let told = ends.on(channel);
        assert_eq!(told.len(), expect, "{channel}: {told:#?}");
        assert!(
            told[0].replace("=\n", "").contains("Test alert from sysops-agent on lab"),
            "{channel}: {told:#?}"
        );
    }
    // The same object goes to all programs.
    let object = |channel: &str| serde_json::from_str::<Value>(&ends.on(channel)[0]).expect("JSON");
    assert_eq!(object("webhook"), object("exec"));
    if speaks_nats() {
        assert_eq!(object("webhook"), object("nats"));
    }
}

#[test]
fn every_variable_works_in_the_template_of_every_channel() {
    let ends = Ends::start();
    let all = VARIABLES.iter().fold(String::new(), |text, name| text + &format!("{name}=<{{{{{name}}}}}> "));
    let mut more = format!("{}\n[alerting.templates]\n", ends.config());
    for channel in WORDED {
        let _ = writeln!(more, "{channel} = \"{channel} says {all}\"");
    }
    let home = Home::new(NOBODY, &more);
    let said = test_alert(&home, true);
    let parts = |channel: &str| {
        [
            format!(
                "{channel} says hostname=<lab> severity=<info> metric=<test_alert> value=<1> threshold=<> "
            ),
            "message=<Test alert from sysops-agent on lab".to_owned(),
            "labels=<> trend=<>".to_owned(),
        ]
    };
    for channel in WORDED.into_iter().filter(|c| *c != "nats" || speaks_nats()) {
        let text = if channel == "terminal" { said.clone() } else { ends.on(channel).remove(0) };
        // Quoted-printable, and what a value holds in the markup of the channel; what the template holds is sent as it is.
        let text = text
            .replace("=\n", "")
            .replace("=3D", "=")
            .replace("test\\_alert", "test_alert")
            .replace("\\\\_", "_");
        for part in parts(channel) {
            assert!(text.contains(&part), "{channel} lacks {part}: {text}");
        }
    }
}

#[test]
fn a_bad_template_is_told_with_its_place() {
    for channel in WORDED.into_iter().chain(["default"]) {
        let home = Home::new(
            NOBODY,
            &format!("[alerting.templates]\n{channel} = \"{{{{ sevrity }}}} {{{{message}}}}\""),
        );
        let file = std::fs::read_to_string(home.config()).expect("the file");
        let line = 1 + file.lines().position(|line| line.contains("sevrity")).expect("it is there");
        let done = home.command(&Confine::No, &["--validate"]).output().expect("it runs");
        let said = words(&done);
        assert_eq!(done.status.code(), Some(64), "{said}");
        for part in [
            format!("config.toml:{line}:"),
            format!("alerting.templates.{channel}"),
            "uses `{{sevrity}}`, which is not a variable".to_owned(),
            "Did you mean `{{severity}}`?".to_owned(),
        ] {
            assert!(said.contains(&part), "{channel} lacks {part}: {said}");
        }
    }
}

#[test]
fn each_channel_says_why_it_does_not_work() {
    let ends = Ends::start();
    let Some(certificates) = Certificates::make() else { return };
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", include_str!("notify_support/https.py")])
        .args([certificates.path("server.pem"), certificates.path("server.key")])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3");
    let mut hello = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut hello).expect("its port");
    let port = serde_json::from_str::<Value>(&hello).expect("JSON")["port"].clone();
    // Each in a way of its own.
    let url = |url: &str| toml::Value::from(url);
    let config = ends.config_but(&[
        ("webhook.url", url(&format!("https://localhost:{port}/s3cret"))),
        ("discord.webhook_url", url("http://nowhere.invalid/s3cret")),
        ("telegram.api_url", url(&format!("https://127.0.0.1:{port}"))),
        ("ntfy.url", url("http://127.0.0.1:9")),
        ("email.smtp_host", url("nowhere.invalid")),
        ("syslog.address", url("tcp://127.0.0.1:9")),
        ("alertmanager.url", url(&silent())),
        ("exec.command", vec!["/bin/sh", "-c", "echo no route >&2; exit 7"].into()),
    ]);
    let said = test_alert(&Home::new(NOBODY, &config), false);
    println!("{said}");
    for (channel, result, why) in [
        ("webhook", "FAILED", "cannot connect to localhost:"),
        ("webhook", "FAILED", "set alerting.ca_file"),
        ("discord", "FAILED", "cannot connect to nowhere.invalid"),
        ("telegram", "FAILED", "ertificate"),
        ("ntfy", "FAILED", "Connection refused"),
        ("email", "FAILED", "no mail through nowhere.invalid"),
        ("syslog", "FAILED", "cannot write to tcp://127.0.0.1:9: Connection refused"),
        ("alertmanager", "FAILED", "did not answer within 20 s"),
        ("exec", "FAILED", "failed (exit status 7): no route"),
        ("slack", "delivered", ""),
        ("pagerduty", "delivered", ""),
    ] {
        let row = row(&said, channel);
        assert!(row.contains(result) && row.contains(why) && row.contains(" ms"), "{channel}: {said}");
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Where connections are taken and nothing is ever said.
fn silent() -> String {
    let listener = Box::leak(Box::new(std::net::TcpListener::bind("127.0.0.1:0").expect("a port")));
    format!("http://{}/", listener.local_addr().expect("its address"))
}

#[test]
fn a_wrong_token_is_refused_for_good() {
    let config = Ends::refusing();
    let said = test_alert(&Home::new(NOBODY, &config), false);
    println!("{said}");
    for (channel, why) in [
        ("discord", "the webhook's token is wrong"),
        ("telegram", "ask @BotFather"),
        ("ntfy", "the token is not valid"),
        ("webhook", "check the credentials"),
        ("slack", "check the credentials"),
        ("alertmanager", "check the credentials"),
    ] {
        let row = row(&said, channel);
        assert!(row.contains("REFUSED") && row.contains(why), "{channel}: {said}");
    }
}
