//! Alerts to a Discord channel through a webhook: one embed each, coloured by severity.

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
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Its section below `[alerting]`.
pub const NAME: &str = "discord";

// Limits of an embed: https://discord.com/developers/docs/resources/message#embed-object-embed-limits
/// Of the title, and of a field's name.
const MAX_TITLE: usize = 256;
/// Of the description.
const MAX_DESCRIPTION: usize = 4096;
/// Of that for the sentence, so that facts have room too.
const MAX_SENTENCE: usize = 2500;
/// Of a field's value.
const MAX_VALUE: usize = 1024;
/// Number of fields; one is kept for the number of those left out.
const MAX_FIELDS: usize = 25;
/// Of the footer; far below Discord's 2048.
const MAX_FOOTER: usize = 200;
/// Of all texts of a message together.
const MAX_ALL: usize = 6000;
/// Of the name it appears under.
const MAX_USERNAME: usize = 80;
/// Of the text outside of the embed, which holds mentions alone.
const MAX_CONTENT: usize = 2000;
/// Roles in `allowed_mentions`.
const MAX_ROLES: usize = 100;
/// A longer value takes a line of its own.
const SHORT: usize = 30;

/// Discord's Markdown. A backslash makes any sign stand for itself; `<` begins mentions.
pub const MARKUP: Markup = Markup { escape, length: utf16, counts_seen: false };

fn escape(c: char, out: &mut String) {
    if "\\*_~`|<>[]#".contains(c) {
        out.push('\\');
    }
    out.push(c);
}

/// Made as the configuration says.
pub(super) fn make(config: &Config, _: Screen) -> Result<Option<Made>, String> {
    let section = &config.alerting.discord;
    if !section.enabled {
        return Ok(None);
    }
    let options = Options {
        url: section.webhook_url.clone(),
        username: section.username.clone(),
        mentions: Mentions::of(&section.mention_roles),
        template: config.alerting.templates.discord.is_some(),
    };
    Ok(Some(Made {
        channel: Arc::new(Discord::new(options).map_err(|why| format!("alerting.discord: {why}"))?),
        backoff: Backoff::default(),
    }))
}

/// Who is called from critical on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    /// As they stand in the message.
    words: Vec<String>,
    /// Ids of roles that may be called.
    roles: Vec<String>,
    /// Whether `@everyone` or `@here` is among them.
    everyone: bool,
    /// Names that Discord does not resolve for a webhook.
    names: Vec<String>,
}

impl Mentions {
    /// Ids of roles call them, bare or as `<@&id>`; so do `@everyone` and `@here`. Other names are only shown.
    pub fn of(configured: &[String]) -> Self {
        let mut mentions = Self::default();
        for entry in configured.iter().take(MAX_ROLES) {
            let id = entry.strip_prefix("<@&").and_then(|id| id.strip_suffix('>')).unwrap_or(entry);
            if !id.is_empty() && id.len() <= 20 && id.bytes().all(|b| b.is_ascii_digit()) {
                mentions.words.push(format!("<@&{id}>"));
                mentions.roles.push(id.to_owned());
            } else if matches!(entry.as_str(), "@everyone" | "@here") {
                mentions.words.push(entry.clone());
                mentions.everyone = true;
            } else {
                mentions.words.push(MARKUP.fit(&text::clean(entry, 60), 120));
                mentions.names.push(text::clean(entry, 60));
            }
        }
        mentions
    }
}

/// Where to and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The webhook.
    pub url: SecretString,
    /// Name the messages appear under.
    pub username: String,
    /// Who is called.
    pub mentions: Mentions,
    /// Show the template's text in place of the built-in form.
    pub template: bool,
}

/// The channel.
#[derive(Debug)]
pub struct Discord {
    http: Http,
    options: Options,
}

impl Discord {
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

impl Channel for Discord {
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
        let Options { mentions, username: name, .. } = &self.options;
        if !name.is_empty() && username(name).is_none() {
            return Some(
                "Discord takes no username with `discord` or `clyde`; the webhook's own is shown".into(),
            );
        }
        (!mentions.names.is_empty()).then(|| {
            format!(
                "mention_roles names {}, which only shows the name: Discord calls a role by its id alone. Write \
                 the id (right-click on the role, Copy Role ID)",
                mentions.names.join(", ")
            )
        })
    }
}

/// The message. With `text` that is its description, else it is made of the alert.
pub fn body(alert: &Alert, text: Option<&str>, options: &Options) -> Value {
    let title = MARKUP.fit(&facts::headline(alert), MAX_TITLE);
    let description = match text {
        // A template escapes what it fills in.
        Some(text) => PLAIN.fit(text, MAX_DESCRIPTION),
        None => sentence(alert),
    };
    let footer = PLAIN.fit(&format!("seen by {}", facts::sources(alert)), MAX_FOOTER);
    let room = MAX_ALL - utf16(&title) - utf16(&description) - utf16(&footer);
    let mut embed = Map::from_iter([
        ("title".to_owned(), Value::from(title)),
        ("description".to_owned(), description.into()),
        ("color".to_owned(), facts::colour(alert).into()),
    ]);
    if text.is_none() {
        embed.insert("fields".into(), fields(alert, room).into());
    }
    if !alert.source.is_empty() {
        embed.insert("footer".into(), json!({ "text": footer }));
    }
    if let Some(at) = facts::instant(alert) {
        embed.insert("timestamp".into(), at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into());
    }
    if let Some(url) = facts::runbook(alert) {
        embed.insert("url".into(), url.into());
    }
    let Mentions { words, roles, everyone, .. } = &options.mentions;
    let calls = facts::calls(alert) && !words.is_empty();
    let (content, roles) = if calls { (words.join(" "), roles.as_slice()) } else { (String::new(), &[][..]) };
    let parse: &[&str] = if calls && *everyone { &["everyone"] } else { &[] };
    let mut message = Map::from_iter([
        ("content".to_owned(), Value::from(PLAIN.fit(&content, MAX_CONTENT))),
        // Nothing in the message calls anybody but what stands here.
        ("allowed_mentions".to_owned(), json!({ "parse": parse, "roles": roles })),
        ("embeds".to_owned(), json!([embed])),
    ]);
    if let Some(name) = username(&options.username) {
        message.insert("username".into(), name.into());
    }
    message.into()
}

/// The name, if Discord takes it: <https://discord.com/developers/docs/resources/webhook#create-webhook>
fn username(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    let good = !lower.trim().is_empty() && !lower.contains("discord") && !lower.contains("clyde");
    good.then(|| PLAIN.fit(&text::clean(name, MAX_USERNAME), MAX_USERNAME))
}

fn sentence(alert: &Alert) -> String {
    let mut text = MARKUP.fit(&facts::message(alert), MAX_SENTENCE);
    if let Some(reading) = facts::measured(alert) {
        text.extend(["\n", &MARKUP.all(&reading)]);
    }
    let lines = facts::members(alert).into_iter().map(|member| format!("\n• {}", MARKUP.all(&member)));
    let room = MAX_DESCRIPTION - utf16(&text) - 100;
    let (lines, left_out) = take_while_they_fit(
        lines
            .map(|l| {
                let n = utf16(&l);
                (l, n)
            })
            .collect(),
        16,
        room,
    );
    text.extend(lines);
    if left_out > 0 {
        let _ = write!(text, "\n… and {left_out} more");
    }
    text
}

fn fields(alert: &Alert, room: usize) -> Vec<Value> {
    let field = |(name, value): (String, String)| {
        let inline = value.chars().count() <= SHORT;
        let (name, value) = (MARKUP.fit(&name, MAX_TITLE), MARKUP.fit(&value, MAX_VALUE));
        let length = utf16(&name) + utf16(&value);
        (json!({ "name": name, "value": value, "inline": inline }), length)
    };
    let all = facts::facts(alert).into_iter().map(field).collect();
    let (mut fields, left_out) = take_while_they_fit(all, MAX_FIELDS - 1, room.saturating_sub(60));
    if left_out > 0 {
        let value = format!("and {left_out} more facts");
        fields.push(json!({ "name": "…", "value": value, "inline": false }));
    }
    fields
}

/// What Discord says: `{"message": …, "code": …, "retry_after": SECONDS}`.
fn read(status: u16, body: &str) -> Reading {
    let said: Value = serde_json::from_str(body).unwrap_or_default();
    let after = said.get("retry_after").and_then(Value::as_f64).filter(|s| s.is_finite() && *s >= 0.0);
    let advice = match (status, said.get("code").and_then(Value::as_u64)) {
        (_, Some(10_015)) | (404, _) => Some("the webhook was deleted; make a new one and set webhook_url"),
        (401 | 403, _) => Some("the webhook's token is wrong; copy webhook_url again"),
        (400, Some(50_035)) => {
            Some("Discord does not like a part of the message; with a template, shorten it")
        }
        (429, _) => Some("too many messages for this webhook"),
        _ => None,
    };
    let after = after.map(|s| Duration::from_secs_f64(s.min(86_400.0)));
    Reading { after, advice, ..Reading::default() }
}

#[cfg(test)]
#[path = "discord_tests.rs"]
mod tests;
