//! The channels of single services against an HTTP server that answers as they do, and Alertmanager itself.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the other ends are the test's own")]

mod lab;
#[expect(dead_code, reason = "shared with tests that use the rest")]
mod notify_support;

use notify_support::{Reply, Server, alert, eventually, firing, route, start};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use sysops_agent::alert::{Alert, Severity, Status};
use sysops_agent::config::{ParseMode, WebhookFormat};
use sysops_agent::notify::{
    Channel, Limits, SendError, alertmanager, discord, exec, ntfy, pagerduty, slack, telegram, webhook,
};

fn discord(server: &Server) -> Arc<dyn Channel> {
    Arc::new(
        discord::Discord::new(discord::Options {
            url: format!("http://{}/api/webhooks/12/s3cret-token", server.address).into(),
            username: "sysops-agent".into(),
            mentions: discord::Mentions::of(&["42".to_owned()]),
            template: false,
        })
        .unwrap(),
    )
}

fn slack(server: &Server) -> Arc<dyn Channel> {
    Arc::new(
        slack::Slack::new(slack::Options {
            url: format!("http://{}/services/T0/B0/s3cret-token", server.address).into(),
            channel: String::new(),
            calls: "<@U12345>".into(),
            names: Vec::new(),
            template: false,
        })
        .unwrap(),
    )
}

fn telegram(server: &Server, template: bool) -> Arc<dyn Channel> {
    Arc::new(
        telegram::Telegram::new(telegram::Options {
            api_url: format!("http://{}/", server.address),
            bot_token: "123456:s3cret-token".into(),
            chat_id: "-1".into(),
            parse_mode: ParseMode::Html,
            template,
        })
        .unwrap(),
    )
}

fn ntfy(server: &Server) -> Arc<dyn Channel> {
    Arc::new(
        ntfy::Ntfy::new(ntfy::Options {
            url: format!("http://{}", server.address),
            topic: "s3cret-topic".into(),
            token: "s3cret-token".into(),
            template: false,
        })
        .unwrap(),
    )
}

fn pagerduty(server: &Server) -> Arc<dyn Channel> {
    Arc::new(
        pagerduty::PagerDuty::new(pagerduty::Options {
            url: format!("http://{}/v2/enqueue", server.address),
            routing_key: "s3cret-key".into(),
            template: false,
        })
        .unwrap(),
    )
}

fn alertmanager(address: &str, repeat: Duration) -> Arc<dyn Channel> {
    let headers = BTreeMap::from([("Authorization".to_owned(), "Bearer s3cret-token".into())]);
    Arc::new(alertmanager::Alertmanager::new(&format!("http://{address}/").into(), &headers, repeat).unwrap())
}

fn bodies(server: &Server) -> Vec<Value> {
    server.requests().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
}

/// One answer of a service, and what the channel makes of it.
async fn check(
    make: impl Fn(&Server) -> Arc<dyn Channel>,
    answer: (u16, &'static str, &'static str),
    after_ms: Option<u64>,
    retry: bool,
    part: &str,
) {
    let server = Server::start(vec![Reply::Say(answer.0, answer.1, answer.2)]).await;
    let error = make(&server).send(&firing("a"), "").await.unwrap_err();
    match &error {
        SendError::Retry { after, .. } => {
            assert!(retry, "{error:?}");
            assert_eq!(after.map(|after| after.as_millis() as u64), after_ms, "{error:?}");
        }
        SendError::Refused { .. } | SendError::Barred { .. } => {
            assert!(!retry, "{error:?}");
            // A 400 may be about the settings or about the message; which is which: `notify_misbehaving`.
            let barred = matches!(answer.0, 401 | 403 | 404 | 410);
            assert!(answer.0 == 400 || matches!(error, SendError::Barred { .. }) == barred, "{error:?}");
        }
        SendError::Partly { .. } => panic!("{error:?}"),
    }
    assert!(error.why().contains(part) && !error.why().contains("s3cret"), "{error:?}");
}

#[tokio::test]
async fn answers_are_understood_and_no_secret_is_told() {
    let limited = r#"{"message":"You are being rate limited.","retry_after":0.25,"global":false}"#;
    check(discord, (429, "retry-after: 1\r\n", limited), Some(250), true, "too many messages").await;
    check(
        discord,
        (404, "", r#"{"message":"Unknown Webhook","code":10015} s3cret-token"#),
        None,
        false,
        "make a new one",
    )
    .await;
    check(discord, (502, "", ""), None, true, "502").await;
    check(slack, (429, "retry-after: 30\r\n", "rate_limited"), Some(30_000), true, "too many messages").await;
    check(slack, (404, "", "no_service"), None, false, "make a new one").await;
    check(slack, (410, "", "channel_is_archived"), None, false, "archived").await;
    check(slack, (500, "", "rollup_error"), None, true, "500").await;
    let wait = r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 7","parameters":{"retry_after":7}}"#;
    let bot = |server: &Server| telegram(server, false);
    check(bot, (429, "", wait), Some(7000), true, "too many messages").await;
    check(bot, (401, "", "Unauthorized bot123456:s3cret-token s3cret-token"), None, false, "@BotFather")
        .await;
    check(
        bot,
        (400, "", r#"{"description":"Bad Request: chat not found"}"#),
        None,
        false,
        "write to the bot first",
    )
    .await;
    check(
        ntfy,
        (403, "", r#"{"code":40301,"error":"forbidden s3cret-topic s3cret-token"}"#),
        None,
        false,
        "check topic and token",
    )
    .await;
    check(pagerduty, (400, "", r#"{"errors":["routing_key s3cret-key"]}"#), None, false, "check routing_key")
        .await;
    check(pagerduty, (429, "", ""), None, true, "too many events").await;
    let manager = |server: &Server| alertmanager(&server.address, Duration::from_mins(1));
    check(manager, (401, "", "s3cret-token"), None, false, "credentials").await;
    check(manager, (503, "", ""), None, true, "503").await;
}

#[tokio::test]
async fn a_server_that_hangs_or_breaks_off_is_asked_again() {
    let server = Server::start(vec![Reply::Reset, Reply::Garbage]).await;
    for channel in [discord(&server), telegram(&server, false)] {
        let error = channel.send(&firing("a"), "").await.unwrap_err();
        assert!(matches!(error, SendError::Retry { .. }) && !error.why().contains("s3cret"), "{error:?}");
    }
}

#[tokio::test]
async fn requests_go_where_the_services_want_them() {
    let server = Server::start(vec![]).await;
    let critical = alert("a", Severity::Critical, Status::Firing);
    for channel in
        [discord(&server), slack(&server), telegram(&server, false), ntfy(&server), pagerduty(&server)]
    {
        channel.send(&critical, "").await.unwrap();
    }
    let heads: Vec<String> = server.requests().iter().map(|r| r.head.to_lowercase()).collect();
    for (head, path) in heads.iter().zip([
        "/api/webhooks/12/s3cret-token",
        "/services/t0/b0/s3cret-token",
        "/bot123456:s3cret-token/sendmessage",
        "/",
        "/v2/enqueue",
    ]) {
        assert!(head.starts_with(&format!("post {path} http/1.1")), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
    }
    assert!(heads[3].contains("authorization: bearer s3cret-token"), "{}", heads[3]);
    let bodies = bodies(&server);
    assert_eq!(
        (&bodies[0]["content"], &bodies[0]["allowed_mentions"]["roles"][0]),
        (&"<@&42>".into(), &"42".into())
    );
    assert!(bodies[1]["text"].as_str().unwrap().starts_with("<@U12345> *CRITICAL web-1*: / is full"));
    assert_eq!((&bodies[2]["chat_id"], &bodies[2]["parse_mode"]), (&(-1).into(), &"HTML".into()));
    assert_eq!((&bodies[3]["topic"], &bodies[3]["priority"]), (&"s3cret-topic".into(), &4.into()));
    assert_eq!((&bodies[4]["event_action"], &bodies[4]["dedup_key"]), (&"trigger".into(), &"web-1/a".into()));
}

#[tokio::test]
async fn a_template_with_broken_markup_costs_its_looks_alone() {
    let broken = r#"{"ok":false,"error_code":400,"description":"Bad Request: can't parse entities: Unclosed start tag"}"#;
    let server = Server::start(vec![Reply::Say(400, "", broken)]).await;
    telegram(&server, true).send(&firing("a"), "<b>broken").await.unwrap();
    let bodies = bodies(&server);
    assert_eq!((&bodies[0]["text"], &bodies[0]["parse_mode"]), (&"<b>broken".into(), &"HTML".into()));
    assert_eq!((bodies.len(), bodies[1].get("parse_mode")), (2, None));
    assert!(bodies[1]["text"].as_str().unwrap().ends_with("WARN web-1\n/ is full (a)"), "{}", bodies[1]);
}

#[tokio::test]
async fn an_incident_of_pagerduty_is_resolved_and_one_that_is_over_already_is_told() {
    let server = Server::start(vec![]).await;
    let channel = pagerduty(&server);
    channel.send(&alert("a", Severity::Critical, Status::Resolved), "").await.unwrap();
    let mut over = Alert::clone(&alert("b", Severity::Critical, Status::Resolved));
    over.context.insert("only_message".into(), true.into());
    channel.send(&over, "").await.unwrap();
    let actions: Vec<Value> = bodies(&server).iter().map(|b| b["event_action"].clone()).collect();
    assert_eq!(actions, ["resolve", "trigger", "resolve"]);
}

#[tokio::test]
async fn a_webhook_can_speak_like_alertmanager() {
    let server = Server::start(vec![]).await;
    let channel = webhook::Webhook::new(&webhook::Options {
        url: server.url().into(),
        method: "POST",
        headers: BTreeMap::new(),
        timeout: Duration::from_secs(5),
        format: WebhookFormat::Alertmanager,
        template: false,
    });
    channel.unwrap().send(&firing("a"), "").await.unwrap();
    let body = &bodies(&server)[0];
    assert_eq!((&body["version"], &body["status"]), (&"4".into(), &"firing".into()));
    assert_eq!(body["alerts"][0]["labels"]["alertname"], "disk_used_percent");
}

/// A reading over its limit, as the engine tells it.
fn over_limit(id: &str) -> Arc<Alert> {
    let mut alert = Alert::clone(&firing(id));
    alert.context.insert("held_secs".into(), 40.into());
    Arc::new(alert)
}

#[tokio::test]
async fn what_stands_is_repeated_for_alertmanager_until_it_is_over() {
    let server = Server::start(vec![]).await;
    let channel = alertmanager(&server.address, Duration::from_millis(30));
    channel.send(&over_limit("a"), "").await.unwrap();
    eventually("repetitions", || (server.requests().len() >= 4).then_some(())).await;
    channel.send(&alert("a", Severity::Warn, Status::Resolved), "").await.unwrap();
    let all = server.requests().len();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.requests().len(), all, "nothing is repeated after the end");
    assert!(server.requests()[0].head.starts_with("POST /api/v2/alerts HTTP/1.1"));
}

#[tokio::test]
async fn what_stands_is_repeated_for_alertmanager_after_a_restart_and_with_other_keys() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::start(vec![]).await);
    let manager = || vec![route(alertmanager(&server.address, Duration::from_mins(1)))];
    let notifier = start(dir.path(), manager());
    let over = alert("over", Severity::Warn, Status::Resolved);
    assert!(notifier.accept(vec![over_limit("stands"), over_limit("over"), over]).await);
    assert_eq!(notifier.drain(Duration::from_secs(20)).await, 0);
    let repeated = async |before: usize| {
        let all = eventually("a repetition", || server.requests().get(before..)?.first().cloned()).await;
        let body = String::from_utf8(all.body).unwrap();
        assert!(body.contains("(stands)") && !body.contains("(over)"), "{body}");
    };
    let before = server.requests().len();
    let notifier = start(dir.path(), manager());
    repeated(before).await;
    let before = server.requests().len();
    notifier.swap(notify_support::options(Limits::OFF), manager(), vec![]).await;
    repeated(before).await;
}

#[tokio::test]
async fn a_program_is_tried_again_until_it_takes_the_alert() {
    let dir = tempfile::tempdir().unwrap();
    let (out, flag) = (dir.path().join("out"), dir.path().join("flag"));
    let script = format!(
        "test -e {0} || {{ touch {0}; exit 7; }}; cat > {1}.new && mv {1}.new {1}",
        flag.display(),
        out.display()
    );
    let command = vec!["/bin/sh".to_owned(), "-c".to_owned(), script];
    let outbox = dir.path().join("outbox");
    std::fs::create_dir(&outbox).unwrap();
    let notifier = start(&outbox, vec![route(Arc::new(exec::Exec::new(command, Duration::from_secs(20))))]);
    assert!(notifier.accept(vec![firing("a")]).await);
    let text = eventually("the program's output", || std::fs::read(&out).ok()).await;
    assert_eq!(serde_json::from_slice::<Alert>(&text).unwrap(), *firing("a"));
    assert_eq!(notifier.drain(Duration::from_secs(1)).await, 0);
}

#[tokio::test]
#[ignore = "live: needs prometheus-alertmanager"]
async fn alertmanager_takes_alerts_and_their_ends() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("am.yml"), "route: {receiver: none}\nreceivers: [{name: none}]\n")
        .unwrap();
    let free = lab::ports::free_address().to_string();
    let started = Command::new("prometheus-alertmanager")
        .args(["--config.file=am.yml", "--storage.path=data", "--cluster.listen-address="])
        .arg(format!("--web.listen-address={free}"))
        .current_dir(dir.path())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = started else {
        return lab::skip("prometheus-alertmanager is missing: apt-get install prometheus-alertmanager");
    };
    let done = told_to_alertmanager(&free).await;
    child.kill().unwrap();
    child.wait().unwrap();
    done.unwrap();
}

async fn told_to_alertmanager(address: &str) -> Result<(), String> {
    let channel = alertmanager(address, Duration::from_mins(1));
    let mut now = Alert::clone(&over_limit("a"));
    // Alertmanager takes no interest in what ended long ago.
    let at = jiff::Timestamp::from_nanosecond(i128::from(sysops_agent::host::clock::now().wall_ns)).unwrap();
    now.started_at = at.to_string();
    now.timestamp = at.to_string();
    for _ in 0..200 {
        match channel.send(&now, "").await {
            Ok(()) => break,
            Err(SendError::Retry { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => return Err(error.to_string()),
        }
    }
    let alerts = standing(address)?;
    let [alert] = alerts.as_array().map_or(&[][..], Vec::as_slice) else { return Err(format!("{alerts}")) };
    if alert["labels"]["mount"] != "/" || alert["annotations"]["summary"] != "/ is full (a)" {
        return Err(format!("{alert}"));
    }
    let mut worse = now.clone();
    (worse.severity, worse.status) = (Severity::Critical, Status::Updated);
    channel.send(&worse, "").await.map_err(|error| error.to_string())?;
    let alerts = standing(address)?;
    if alerts.as_array().map(Vec::len) != Some(1) || alerts[0]["labels"]["severity"] != "critical" {
        return Err(format!("the new severity stands alone: {alerts}"));
    }
    let over = Alert { status: Status::Resolved, ended_at: Some(at.to_string()), ..worse };
    channel.send(&over, "").await.map_err(|error| error.to_string())?;
    let alerts = standing(address)?;
    if alerts.as_array().map(Vec::len) == Some(0) {
        Ok(())
    } else {
        Err(format!("over, but stands: {alerts}"))
    }
}

fn standing(address: &str) -> Result<Value, String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).map_err(|e| e.to_string())?;
    let ask = format!("GET /api/v2/alerts HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(ask.as_bytes()).map_err(|e| e.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|e| e.to_string())?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    serde_json::from_str(body).map_err(|e| format!("{e}: {answer}"))
}
