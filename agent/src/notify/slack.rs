//! Alerts to a Slack channel through an incoming webhook: a sentence, and an attachment of blocks with the colour of
//! the severity.

use super::backoff::Backoff;
use super::channel::{Channel, Sending};
use super::fit::{Markup, PLAIN, take_while_they_fit, utf16};
use super::http::{self, Http, Reading};
use super::routes::Made;
use super::terminal::Screen;
use super::{TIMEOUT, facts, json_body};
use crate::alert::Alert;
use crate::config::Config;
use crate::text;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Its section below `[alerting]`.
pub const NAME: &str = "slack";

// Limits of blocks: https://docs.slack.dev/reference/block-kit/blocks/section-block
/// Of the text of a section.
const MAX_SECTION: usize = 3000;
/// Of a section's field.
const MAX_FIELD: usize = 2000;
/// Fields of a section.
const FIELDS: usize = 10;
/// Fields shown, in sections.
const MAX_FIELDS: usize = 20;
/// Of the sentence in the message's own text, which phones show.
const MAX_SENTENCE: usize = 2000;
/// Of that for severity and host.
const MAX_HEADLINE: usize = 100;
/// Of what calls people.
const MAX_CALLS: usize = 900;

/// Slack's mrkdwn: three signs begin everything that is more than looks, mentions and links among them.
pub const MARKUP: Markup = Markup { escape, length: utf16, counts_seen: false };

fn escape(c: char, out: &mut String) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        c => out.push(c),
    }
}

/// Made as the configuration says.
pub(super) fn make(config: &Config, _: Screen) -> Result<Option<Made>, String> {
    let section = &config.alerting.slack;
    if !section.enabled {
        return Ok(None);
    }
    let (calls, names) = calls(&section.mention_users);
    let options = Options {
        url: section.webhook_url.clone(),
        channel: section.channel.clone(),
        calls,
        names,
        template: config.alerting.templates.slack.is_some(),
    };
    Ok(Some(Made {
        channel: Arc::new(Slack::new(options).map_err(|why| format!("alerting.slack: {why}"))?),
        backoff: Backoff::default(),
    }))
}

/// What calls the people of `mention_users`, and entries that call nobody.
pub fn calls(configured: &[String]) -> (String, Vec<String>) {
    let (mut calls, mut names) = (Vec::new(), Vec::new());
    for entry in configured {
        let id = entry.trim_start_matches(['<', '@', '!']).trim_end_matches('>');
        let is_id = id.len() > 4 && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        match id.as_bytes().first() {
            Some(b'U' | b'W') if is_id => calls.push(format!("<@{id}>")),
            Some(b'S') if is_id => calls.push(format!("<!subteam^{id}>")),
            _ if matches!(id, "here" | "channel" | "everyone") => calls.push(format!("<!{id}>")),
            _ => {
                calls.push(MARKUP.all(&text::clean(entry, 60)));
                names.push(text::clean(entry, 60));
            }
        }
    }
    let (calls, _) = take_while_they_fit(
        calls
            .into_iter()
            .map(|c| {
                let n = utf16(&c) + 1;
                (c, n)
            })
            .collect(),
        100,
        MAX_CALLS,
    );
    (calls.join(" "), names)
}

/// Where to and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The webhook.
    pub url: SecretString,
    /// Channel; empty: the webhook's own.
    pub channel: String,
    /// What calls people, in Slack's markup.
    pub calls: String,
    /// Entries that call nobody.
    pub names: Vec<String>,
    /// Show the template's text in place of the built-in form.
    pub template: bool,
}

/// The channel.
#[derive(Debug)]
pub struct Slack {
    http: Http,
    options: Options,
}

impl Slack {
    /// Checks the options; connects to nothing.
    ///
    /// # Errors
    /// A sentence without secrets.
    pub fn new(options: Options) -> Result<Self, String> {
        let mut http = Http::new(&options.url, "POST", TIMEOUT)?;
        http.header("content-type", &http::JSON.into())?;
        Ok(Self { http, options })
    }
}

impl Channel for Slack {
    fn name(&self) -> &'static str {
        NAME
    }

    fn http(&mut self) -> Option<&mut Http> {
        Some(&mut self.http)
    }

    fn send<'a>(&'a self, alert: &'a Alert, text: &'a str) -> Sending<'a> {
        Box::pin(async move {
            let body = body(alert, self.options.template.then_some(text), &self.options);
            self.http.send_to(json_body(&body)?, read).await
        })
    }

    fn doubt(&self) -> Option<String> {
        let names = &self.options.names;
        (!names.is_empty()).then(|| {
            format!(
                "mention_users names {}, which only shows the name: Slack calls people by id alone. Write the \
                 member id (profile, Copy member ID: U…), a user group's id (S…), or `here`",
                names.join(", ")
            )
        })
    }
}

/// The message. With `text` that is its sentence, without the alert's facts.
pub fn body(alert: &Alert, text: Option<&str>, options: &Options) -> Value {
    let calls = if facts::calls(alert) && !options.calls.is_empty() {
        format!("{} ", options.calls)
    } else {
        String::new()
    };
    // A template escapes what it fills in.
    let said = text.map_or_else(|| sentence(alert), |text| PLAIN.fit(text, MAX_SENTENCE));
    let mut blocks = if text.is_none() { known(alert) } else { Vec::new() };
    blocks.push(json!({ "type": "context", "elements": [mrkdwn(&last(alert))] }));
    let colour = format!("#{:06x}", facts::colour(alert));
    let mut message = Map::from_iter([
        ("text".to_owned(), Value::from(format!("{calls}{said}"))),
        ("attachments".to_owned(), json!([{ "color": colour, "blocks": blocks }])),
        // A command line may hold an address; nobody wants its picture.
        ("link_names".to_owned(), false.into()),
        ("unfurl_links".to_owned(), false.into()),
        ("unfurl_media".to_owned(), false.into()),
    ]);
    if !options.channel.is_empty() {
        message.insert("channel".into(), text::clean(&options.channel, 100).into());
    }
    message.into()
}

fn sentence(alert: &Alert) -> String {
    let sentence = MARKUP.fit(&facts::message(alert), MAX_SENTENCE);
    format!("*{}*: {sentence}", MARKUP.fit(&facts::headline(alert), MAX_HEADLINE))
}

/// `verbatim`: names in it are not made into mentions and links.
fn mrkdwn(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

/// The reading, what a summary carries, and the facts.
fn known(alert: &Alert) -> Vec<Value> {
    let reading = facts::measured(alert).map(|reading| MARKUP.all(&reading));
    let members = facts::members(alert).into_iter().map(|member| format!("• {}", MARKUP.all(&member)));
    let lines = reading
        .into_iter()
        .chain(members)
        .map(|l| {
            let n = utf16(&l) + 1;
            (l, n)
        })
        .collect();
    let (mut lines, left_out) = take_while_they_fit(lines, 17, MAX_SECTION - 40);
    if left_out > 0 {
        lines.push(format!("… and {left_out} more"));
    }
    let mut blocks = Vec::new();
    if !lines.is_empty() {
        blocks.push(json!({ "type": "section", "text": mrkdwn(&lines.join("\n")) }));
    }
    let field = |(name, value): &(String, String)| {
        mrkdwn(&format!("*{}*\n{}", MARKUP.fit(name, 100), MARKUP.fit(value, MAX_FIELD - 110)))
    };
    let facts = facts::facts(alert);
    let shown = if facts.len() > MAX_FIELDS { MAX_FIELDS - 1 } else { facts.len() };
    let mut fields: Vec<Value> = facts.iter().take(shown).map(field).collect();
    if facts.len() > shown {
        fields.push(mrkdwn(&format!("… and {} more facts", facts.len() - shown)));
    }
    blocks.extend(fields.chunks(FIELDS).map(|fields| json!({ "type": "section", "fields": fields })));
    blocks
}

fn last(alert: &Alert) -> String {
    let mut parts = vec![MARKUP.all(&facts::time(alert))];
    let sources = facts::sources(alert);
    if !sources.is_empty() {
        parts.push(format!("seen by {}", MARKUP.all(&sources)));
    }
    if let Some(url) = facts::runbook(alert) {
        parts.push(format!("<{}|runbook>", MARKUP.all(&url)));
    }
    parts.join("  ·  ")
}

/// What Slack says: one word.
fn read(status: u16, body: &str) -> Reading {
    let advice = match (body.trim(), status) {
        ("no_service" | "no_team" | "invalid_token" | "token_revoked" | "no_service_id", _) | ("", 404) => {
            "the webhook was removed; make a new one and set webhook_url"
        }
        ("channel_not_found" | "no_channel", _) => "no such channel; mend `channel`, or leave it empty",
        ("channel_is_archived", _) => "the channel is archived; choose another or take it out of the archive",
        ("action_prohibited" | "posting_to_general_channel_denied" | "team_disabled", _) => {
            "an administrator of the workspace does not allow it"
        }
        ("user_not_found", _) => "no such user; mend `channel` or mention_users",
        ("invalid_payload" | "invalid_blocks" | "invalid_attachments" | "no_text", _) => {
            "Slack does not like the message; with a template, mend it"
        }
        (_, 429) => "too many messages for this webhook",
        _ => return Reading::default(),
    };
    // Of the channel or the webhook, whatever the message.
    let of_message = advice.contains("the message") || status == 429;
    Reading {
        advice: Some(advice),
        barred: (400..500).contains(&status) && !of_message,
        ..Reading::default()
    }
}

#[cfg(test)]
#[path = "slack_tests.rs"]
mod tests;
