//! What is not there at the start, or is renewed while the agent runs: secrets of `[nats]`, of the heartbeat, the
//! certificates of an authority. Needs no rights.
#![cfg(all(feature = "nats", feature = "tls-rustls"))]
#![expect(clippy::disallowed_methods, reason = "runs the agent and servers")]

#[path = "notify_support/certificates.rs"]
mod certificates;
mod e2e;
#[path = "notify_support/https.rs"]
mod https;
mod lab;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use certificates::Certificates;
use e2e::agent::{Home, words};
use e2e::confine::Confine;
use e2e::nats::{SOON, Server, listen, next};
use e2e::webhook::Webhook;
use https::Https;
use lab::wait_for;
use rustix::process::Signal;
use serde_json::Value;

/// Below zero used memory there is always: the reading itself is the alert.
const HIGH: &str = "[collector]\nmemory_interval_secs = 1\n[thresholds]\nmemory_percent = { warn = 0.001, critical = 0.002, for_secs = 0 }\n\
                    [alerting]\nstate_warmup_secs = 0\n";

/// A line of `doctor`, which ends well whatever is lacking.
fn doctor(home: &Home, name: &str) -> String {
    let done = home.command(&Confine::No, &["doctor"]).output().expect("it runs");
    let said = words(&done);
    assert!(done.status.success(), "{said}");
    let at = said.lines().position(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {said}"));
    said.lines().skip(at).take(2).collect::<Vec<_>>().join("\n")
}

fn channel(home: &Home, name: &str) -> Option<Value> {
    let done = home.command(&Confine::No, &["status", "--json"]).output().ok()?;
    let status: Value = serde_json::from_slice(&done.stdout).ok()?;
    status["channels"].as_array()?.iter().find(|channel| channel["name"] == name).cloned()
}

fn write_secret(home: &Home, name: &str, text: &str) {
    fs::write(home.file(name), text).expect("written");
    fs::set_permissions(home.file(name), fs::Permissions::from_mode(0o600)).expect("secret");
}

#[tokio::test]
async fn a_secret_of_nats_that_comes_late_costs_that_channel_only() {
    let Some(server) = Server::start("authorization { token: s3cret-token }") else { return };
    let webhook = Webhook::start();
    let home = Home::new(&webhook.url(), "");
    let token = home.file("token");
    let late = |more: &str| {
        let text = format!(
            "{HIGH}[nats]\nenabled = true\nurl = {:?}\n{more}\nmetrics_interval_secs = 1\nheartbeat_interval_secs = 1\n",
            server.url()
        );
        home.configure(&webhook.url(), &text);
    };
    late(&format!("token = \"${{file:{}}}\"", token.display()));
    let told = doctor(&home, "channel.nats");
    assert!(
        told.contains("nats.token needs file:") && told.contains("write the secret alone into"),
        "{told}"
    );
    assert!(doctor(&home, "channel.webhook").contains("  on  "));
    let agent = home.start(&Confine::No);
    let arrived = || (!webhook.taken(|a| a.metric == "memory_used_percent").is_empty()).then_some(());
    wait_for(SOON, arrived).expect("the other channel works");
    let waits = || channel(&home, "nats").filter(|nats| nats["failing"].as_u64() > Some(0));
    let nats = wait_for(SOON, waits).expect("it fails");
    assert!(nats["last_error"].as_str().is_some_and(|why| why.contains("nats.token needs file:")), "{nats}");

    let options = async_nats::ConnectOptions::with_token("s3cret-token".into());
    let client = options.connect(server.url()).await.expect("connected");
    let mut all = listen(&client, "sysops.>").await;
    write_secret(&home, "token", "s3cret-token\n");
    let mut left = vec![".alerts", ".heartbeat", ".metrics"];
    while !left.is_empty() {
        let message = next(&mut all).await;
        left.retain(|what| !message.subject.ends_with(what));
    }
    assert!(doctor(&home, "channel.nats").contains("  on  "));
    agent.stop();
    assert!(!home.log().contains("s3cret"), "{}", home.log());
    // The same of a file that the section names.
    late(&format!("credential_file = {:?}", home.file("creds")));
    let told = doctor(&home, "channel.nats");
    assert!(told.contains("nats.credential_file") && told.contains("mend [nats]"), "{told}");
    home.start(&Confine::No).stop();
}

#[test]
fn a_heartbeat_begins_when_its_secret_is_there_and_doctor_names_all_that_is_lacking() {
    let beats = Webhook::start();
    let home = Home::new("${file:/nowhere/hook}", "");
    let url = home.file("beat");
    let config = |more: &str| {
        let text = format!(
            "{more}\n[alerting.heartbeat]\nurl = \"${{file:{}}}\"\ninterval_secs = 10\n\
             [alerting.slack]\nenabled = true\nwebhook_url = \"${{credential:slack}}\"\n",
            url.display()
        );
        home.configure("${file:/nowhere/hook}", &text);
    };
    config("[push]\nauth_key = \"${SYSOPS_TEST_UNSET}\"");
    assert!(doctor(&home, "channel.webhook").contains("needs file:/nowhere/hook"));
    assert!(doctor(&home, "channel.slack").contains("LoadCredential=slack"));
    assert!(doctor(&home, "heartbeat").contains("tried again"));
    assert!(doctor(&home, "push").contains("variable SYSOPS_TEST_UNSET, which is not set"));
    config("");
    let agent = home.start(&Confine::No);
    write_secret(&home, "beat", &beats.url());
    let begins = || home.log().contains("what it needs is there, it begins").then_some(());
    wait_for(2 * SOON, begins).expect("it begins");
    agent.stop();
}

#[test]
fn certificates_that_were_renewed_are_read_at_a_reload() {
    let (Some(old), Some(new)) = (Certificates::make(), Certificates::make()) else { return };
    let Some(server) = Https::start(&new) else { return };
    let home = Home::new("http://127.0.0.1:9/", "");
    let ca = home.file("ca.pem");
    fs::copy(old.path("ca.pem"), &ca).expect("copied");
    home.configure(&format!("https://localhost:{}/hook", server.port), &format!("{HIGH}ca_file = {ca:?}\n"));
    let agent = home.start(&Confine::No);
    let refused = || channel(&home, "webhook").filter(|c| c["last_error"].as_str().is_some());
    let webhook = wait_for(SOON, refused).expect("it is refused");
    assert!(webhook["last_error"].to_string().contains("ertificate"), "{webhook}");
    assert_eq!(webhook["delivered"], 0);
    fs::copy(new.path("ca.pem"), &ca).expect("renewed");
    agent.signal(Signal::HUP);
    let delivered = || channel(&home, "webhook").filter(|c| c["delivered"].as_u64() > Some(0));
    wait_for(SOON, delivered).unwrap_or_else(|| panic!("not delivered: {}", home.log()));
    let told = server.told.recv_timeout(SOON).expect("the server has it");
    assert_eq!((&told["path"], &told["rule"]), (&"/hook".into(), &"memory_used_percent".into()));
    let log = home.log();
    assert!(log.contains("is as it was; secrets and files were read again"), "{log}");
    assert!(log.contains("begun anew, with what waits for them: webhook"), "{log}");
    agent.stop();
}
