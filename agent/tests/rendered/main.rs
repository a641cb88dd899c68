//! What every channel makes of the same alerts: one picture a channel, under snapshot, to be read as an operator would.
//! And that nothing in it is longer than the service takes.

mod alerts;

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;
use sysops_agent::alert::Alert;
use sysops_agent::config::{Config, ParseMode};
use sysops_agent::notify::syslog::{Options as Syslog, Target};
use sysops_agent::notify::{
    Templates, discord, mail, mail_html, ntfy, pagerduty, prometheus, slack, syslog, telegram, terminal,
};

/// Puts what `render` makes of each alert under one snapshot.
fn check(channel: &str, render: impl Fn(&Alert) -> String) {
    let mut text = String::new();
    for (name, alert) in alerts::all() {
        let _ = writeln!(text, "━━━ {name} ━━━\n{}\n", render(&alert).trim_end());
    }
    for c in ['\u{1b}', '\u{202e}', '\r', '\0'] {
        assert!(!text.contains(c), "{channel} passes on {c:?}");
    }
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(channel, text);
    });
}

/// JSON as lines: a text with line breaks shows them.
fn outline(value: &Value) -> String {
    let mut out = String::new();
    draw(value, 0, &mut out);
    out.trim_start_matches('\n').to_owned()
}

fn draw(value: &Value, depth: usize, out: &mut String) {
    let margin = "  ".repeat(depth);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let _ = write!(out, "\n{margin}{}:", key.replace('\n', "⏎"));
                draw(value, depth + 1, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(out, "\n{margin}-");
                draw(item, depth + 1, out);
            }
        }
        Value::String(text) if text.contains('\n') => {
            out.extend(text.lines().map(|line| format!("\n{margin}│ {line}")));
        }
        Value::String(text) => {
            let _ = write!(out, " {text}");
        }
        other => {
            let _ = write!(out, " {other}");
        }
    }
}

fn discord(alert: &Alert) -> Value {
    let options = discord::Options {
        url: "".into(),
        username: "sysops-agent".into(),
        mentions: discord::Mentions::of(&["42".to_owned()]),
        template: false,
    };
    discord::body(alert, None, &options)
}

fn slack(alert: &Alert) -> Value {
    let (calls, names) = slack::calls(&["U12345".to_owned()]);
    let options = slack::Options { url: "".into(), channel: String::new(), calls, names, template: false };
    slack::body(alert, None, &options)
}

fn telegram(alert: &Alert) -> Value {
    let options = telegram::Options {
        api_url: String::new(),
        bot_token: "".into(),
        chat_id: "-100123".into(),
        parse_mode: ParseMode::Html,
        template: false,
    };
    telegram::body(alert, None, &options)
}

/// A line of the system log with the default template.
fn logged(alert: &Alert, target: Target, form: fn(&Alert, &str, &Syslog) -> String) -> String {
    let templates = Templates::of(&Config::default()).expect("good ones");
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(9));
    let options = Syslog { facility: 3, tag: "sysops-agent".into(), target, zone, pid: 7 };
    form(alert, &templates.text("syslog", alert).0, &options)
}

fn posted(alert: &Alert) -> Value {
    let until: Timestamp = "2026-02-22T09:00:00Z".parse().expect("a moment");
    prometheus::posted(alert, until)
}

#[test]
fn channels_look_so() {
    check("terminal", |a| terminal::render(a, false, 100));
    check("discord", |a| outline(&discord(a)));
    check("slack", |a| outline(&slack(a)));
    check("telegram", |a| outline(&telegram(a)));
    check("email_text", |a| format!("Subject: {}\n\n{}", mail::subject(a, "[sysops]"), mail::plain(a)));
    check("email_html", mail_html::page);
    check("ntfy", |a| outline(&ntfy::body(a, None, "ops-alerts")));
    check("pagerduty", |a| outline(&pagerduty::body(a, None, "KEY", "trigger")));
    check("alertmanager", |a| outline(&posted(a)));
    check("webhook_alertmanager", |a| outline(&prometheus::webhook(a)));
    check("syslog_local", |a| logged(a, Target::Local("/dev/log".into()), syslog::traditional));
    check("syslog_rfc5424", |a| logged(a, Target::Udp("h:514".into()), syslog::rfc5424));
    // What webhook, NATS and exec get alike; `e2e_channels` sees to that.
    // Machines get texts as they are.
    let json = |a: &Alert| serde_json::to_string_pretty(a).expect("JSON").replace('\u{202e}', "\\u202e");
    check("webhook_nats_exec", json);
}
