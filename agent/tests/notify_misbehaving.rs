//! Every channel that speaks HTTP, and the push, against every way in which a server can misbehave: what is tried again and when, what is
//! final, and that no secret leaves for elsewhere.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the other ends are the test's own")]

#[cfg(feature = "tls-rustls")]
#[path = "notify_support/certificates.rs"]
mod certificates;
#[expect(dead_code, reason = "shared with tests that use the rest")]
mod notify_support;

use notify_support::{Reply, Server, firing, route, start};
use std::sync::Arc;
use std::time::{Duration, Instant};
use sysops_agent::config::{self, Config, Known};
use sysops_agent::host::clock;
use sysops_agent::notify::terminal::Screen;
use sysops_agent::notify::{Channel, SendError, routes};
use sysops_agent::push::poster::Poster;

const CHANNELS: [&str; 7] = ["webhook", "discord", "slack", "telegram", "pagerduty", "ntfy", "alertmanager"];

/// The channel as its section of the configuration makes it, with secrets wherever it takes one.
fn channel(name: &str, base: &str) -> Arc<dyn Channel> {
    let section = match name {
        "webhook" => format!(
            "url = \"{base}/hook/s3cret-path?key=s3cret-token\"\nheaders = {{ Authorization = \"Bearer s3cret-token\" }}\ntimeout_secs = 2"
        ),
        "discord" => format!("webhook_url = \"{base}/api/webhooks/12/s3cret-token\""),
        "slack" => format!("webhook_url = \"{base}/services/T0/B0/s3cret-token\""),
        "telegram" => format!("api_url = \"{base}\"\nbot_token = \"123456:s3cret-token\"\nchat_id = -1"),
        "pagerduty" => format!("url = \"{base}/v2/enqueue\"\nrouting_key = \"s3cret-token\""),
        "ntfy" => format!("url = \"{base}\"\ntopic = \"s3cret-topic\"\ntoken = \"s3cret-token\""),
        "alertmanager" => {
            format!("url = \"{base}/s3cret-path\"\nheaders = {{ Authorization = \"Bearer s3cret-token\" }}")
        }
        other => panic!("{other}"),
    };
    let text = format!(
        "[alerting.terminal]\nenabled = \"off\"\n[alerting.syslog]\nenabled = false\n[alerting.{name}]\nenabled = true\n{section}"
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
    let config: Config = config::load(&text, "x.toml", &|_| None, known).unwrap_or_else(|p| panic!("{p}")).0;
    let (mut made, problems) = routes(&config, Screen { tty: false, colour: false, width: 80 });
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(made.len(), 1, "{name}");
    made.remove(0).channel
}

/// Not a channel, but subject to the same.
const PUSH: &str = "push";
/// Whoever sends by HTTP.
const ALL: [&str; 8] = ["webhook", "discord", "slack", "telegram", "pagerduty", "ntfy", "alertmanager", PUSH];

/// What pushes to an HTTP collector.
fn poster(base: &str) -> Poster {
    let mut config = Config::default();
    config.push.auth_key = "s3cret-token".into();
    config.push.timeout_secs = 2;
    let url = format!("{base}/s3cret-path?key=s3cret-token").into();
    Poster::of(&config, "push.metrics_url", &url).unwrap().unwrap()
}

/// What is to become of a message.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Taken.
    Taken,
    /// Tried again, not before so many seconds: at least and at most.
    Later(Option<(u64, u64)>),
    /// Never.
    Refused,
    /// Nothing is taken until the settings are mended: it is kept.
    Barred,
}

async fn check(name: &str, what: &str, base: &str, host: &str, fate: Fate, part: &str) {
    let result = if name == PUSH {
        poster(base).post(b"{}".to_vec(), clock::now()).await
    } else {
        channel(name, base).send(&firing("a"), "").await
    };
    let at = format!("{name}, {what}: {result:?}");
    match (&result, fate) {
        (Ok(()), Fate::Taken) => return,
        (Err(SendError::Refused { .. }), Fate::Refused) | (Err(SendError::Barred { .. }), Fate::Barred) => {}
        (Err(SendError::Retry { after, .. }), Fate::Later(wait)) => match (after, wait) {
            (Some(after), Some((least, most))) => {
                assert!((least..=most).contains(&after.as_secs()), "{at}");
            }
            (None, None) => {}
            _ => panic!("{at}"),
        },
        _ => panic!("{at}, expected {fate:?}"),
    }
    let why = result.unwrap_err().why().to_owned();
    assert!(why.contains(host) && why.contains(part), "{at} lacks {host} or {part}");
    assert!(!why.contains("s3cret"), "{at}");
    // One line, short enough for a status page.
    assert!(why.chars().count() < 400 && !why.contains('\n'), "{at}");
}

/// A status, headers, body, and what it means for any channel.
const ANSWERS: &[(u16, &str, &str, Fate, &str)] = &[
    (200, "", "\0\u{1}<html>garbage", Fate::Taken, ""),
    (204, "", "", Fate::Taken, ""),
    (429, "retry-after: 7\r\n", "s3cret-token slow down", Fate::Later(Some((7, 7))), "429"),
    (429, "retry-after: 999999999999999999999\r\n", "", Fate::Later(Some((3600, 3600))), "429"),
    (429, "retry-after: Thu, 01 Jan 1970 00:00:00 GMT\r\n", "", Fate::Later(Some((0, 0))), "429"),
    (429, "retry-after: soon\r\n", "", Fate::Later(None), "429"),
    (408, "", "", Fate::Later(None), "408"),
    (425, "", "", Fate::Later(None), "425"),
    (500, "", "no s3cret-token here", Fate::Later(None), "500"),
    (502, "", "<html><h1>Bad Gateway</h1>", Fate::Later(None), "502 (not available now)"),
    (503, "retry-after: 3\r\n", "", Fate::Later(Some((3, 3))), "503"),
    (400, "", "{\"error\":\"bad s3cret-token\"}", Fate::Refused, "400"),
    (401, "", "", Fate::Barred, "401"),
    (403, "", "", Fate::Barred, "403"),
    (404, "", "", Fate::Barred, "404"),
    (413, "", "", Fate::Refused, "413"),
    (501, "", "", Fate::Later(None), "501"),
];

#[tokio::test]
async fn every_answer_is_understood_by_every_channel() {
    for &(status, headers, body, fate, part) in ANSWERS {
        for name in ALL {
            let server = Server::start(vec![Reply::Say(status, headers, body)]).await;
            let what = format!("{status} {headers}");
            check(name, &what, &format!("http://{}", server.address), &server.address, fate, part).await;
        }
    }
}

#[tokio::test]
async fn a_date_to_wait_for_is_kept_to() {
    let at = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC) + jiff::Span::new().seconds(90);
    let headers = at.strftime("retry-after: %a, %d %b %Y %H:%M:%S GMT\r\n").to_string();
    let headers: &'static str = Box::leak(headers.into_boxed_str());
    for name in ALL {
        let server = Server::start(vec![Reply::Say(429, headers, "")]).await;
        let fate = Fate::Later(Some((60, 90)));
        check(name, headers, &format!("http://{}", server.address), &server.address, fate, "429").await;
    }
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    for (status, headers) in [(301, ""), (302, ""), (303, ""), (307, ""), (308, "")] {
        for name in ALL {
            let elsewhere = Server::start(vec![]).await;
            let to = format!("{headers}location: http://{}/s3cret-path\r\n", elsewhere.address);
            let to: &'static str = Box::leak(to.into_boxed_str());
            let server = Server::start(vec![Reply::Say(status, to, "")]).await;
            let (base, part) = (format!("http://{}", server.address), "set the url to where it leads");
            check(name, to, &base, &server.address, Fate::Barred, part).await;
            assert!(elsewhere.requests().is_empty(), "{name} went elsewhere: {:?}", elsewhere.requests());
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again() {
    for reply in [Reply::Reset, Reply::Garbage, Reply::Half] {
        for name in ALL {
            let server = Server::start(vec![reply.clone()]).await;
            let (what, base) = (format!("{reply:?}"), format!("http://{}", server.address));
            check(name, &what, &base, &server.address, Fate::Later(None), "lost the connection to").await;
        }
    }
    for name in ALL {
        let (base, fate) = ("http://127.0.0.1:9", Fate::Later(None));
        check(name, "nobody there", base, "127.0.0.1:9", fate, "cannot connect to").await;
        let base = "http://nowhere.invalid";
        check(name, "no such name", base, "nowhere.invalid", fate, "cannot connect to").await;
    }
}

#[cfg(feature = "tls-rustls")]
#[tokio::test]
async fn a_certificate_of_nobody_known_is_refused_before_anything_is_said() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let Some(certificates) = certificates::Certificates::make() else { return };
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", include_str!("notify_support/https.py")])
        .args([certificates.path("server.pem"), certificates.path("server.key")])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
    let hello: serde_json::Value = serde_json::from_str(&told.next().unwrap().unwrap()).unwrap();
    let host = format!("localhost:{}", hello["port"]);
    for name in ALL {
        let part = "alerting.ca_file";
        check(name, "its certificate", &format!("https://{host}"), &host, Fate::Later(None), part).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(told.count(), 0, "somebody said something");
}

/// Twenty seconds, for all channels at once.
#[tokio::test]
#[ignore = "live: waits for servers that never answer"]
async fn a_server_that_never_answers_is_given_up_in_time() {
    let begin = Instant::now();
    let waits: Vec<_> = ALL
        .into_iter()
        .map(|name| {
            tokio::spawn(async move {
                let server = Server::start(vec![Reply::Hang]).await;
                let base = format!("http://{}", server.address);
                check(name, "silence", &base, &server.address, Fate::Later(None), "did not answer within")
                    .await;
            })
        })
        .collect();
    for wait in waits {
        wait.await.unwrap();
    }
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
}

/// In their own words.
#[tokio::test]
async fn what_services_say_themselves_is_understood() {
    let wait = r#"{"message":"You are being rate limited.","retry_after":64.57,"global":false}"#;
    let parameters = r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 41","parameters":{"retry_after":41}}"#;
    for (name, status, headers, body, fate, part) in [
        ("discord", 429, "retry-after: 1\r\n", wait, Fate::Later(Some((64, 64))), "too many messages"),
        ("discord", 400, "", r#"{"code":50035}"#, Fate::Refused, "does not like a part"),
        ("telegram", 429, "", parameters, Fate::Later(Some((41, 41))), "too many messages"),
        (
            "telegram",
            400,
            "",
            r#"{"ok":false,"description":"Bad Request: group chat was upgraded to a supergroup chat"}"#,
            Fate::Barred,
            "new id",
        ),
        (
            "telegram",
            403,
            "",
            r#"{"description":"Forbidden: bot was blocked by the user"}"#,
            Fate::Barred,
            "let it in again",
        ),
        ("slack", 404, "", "no_service", Fate::Barred, "make a new one"),
        ("slack", 403, "", "invalid_token", Fate::Barred, "make a new one"),
        ("slack", 400, "", "invalid_blocks", Fate::Refused, "does not like the message"),
        ("slack", 410, "", "channel_is_archived", Fate::Barred, "archived"),
        (
            "ntfy",
            429,
            "",
            r#"{"code":42908,"http":429,"error":"limit reached"}"#,
            Fate::Later(None),
            "a day is used up",
        ),
        (
            "pagerduty",
            400,
            "",
            r#"{"status":"invalid event","errors":["x"]}"#,
            Fate::Refused,
            "the event is not valid",
        ),
        ("pagerduty", 429, "", "", Fate::Later(None), "too many events"),
        ("pagerduty", 202, "", r#"{"status":"success"}"#, Fate::Taken, ""),
    ] {
        let server = Server::start(vec![Reply::Say(status, headers, body)]).await;
        check(name, body, &format!("http://{}", server.address), &server.address, fate, part).await;
    }
}

/// Through the outbox: each message comes in the end, whatever the server did before.
#[tokio::test]
async fn nothing_is_lost_on_the_way() {
    let moods = vec![
        Reply::Say(500, "", ""),
        Reply::Reset,
        Reply::Half,
        Reply::Say(429, "retry-after: 0\r\n", ""),
        Reply::Garbage,
        Reply::Say(408, "", ""),
    ];
    for name in CHANNELS {
        let (dir, server) = (tempfile::tempdir().unwrap(), Server::start(moods.clone()).await);
        let base = format!("http://{}", server.address);
        let notifier = start(dir.path(), vec![route(channel(name, &base))]);
        assert!(notifier.accept(vec![firing("a"), firing("b")]).await, "{name}");
        notify_support::eventually(name, || {
            (server.requests().iter().filter(|request| request.taken).count() >= 2).then_some(())
        })
        .await;
        assert_eq!(notifier.drain(Duration::from_secs(2)).await, 0, "{name}");
    }
}
