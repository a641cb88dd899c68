//! Alerts to a Telegram chat through a bot.

use super::backoff::Backoff;
use super::channel::{Channel, SendError, Sending};
use super::fit::{Markup, PLAIN, take_while_they_fit, utf16};
use super::http::{self, Http, Reading};
use super::routes::Made;
use super::terminal::Screen;
use super::{TIMEOUT, facts, json_body};
use crate::alert::{Alert, Severity, Status};
use crate::config::{Config, ParseMode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Its section below `[alerting]`.
pub const NAME: &str = "telegram";

/// Of a text «after entities parsing», which Telegram counts in UTF-16 units:
/// <https://core.telegram.org/bots/api#sendmessage>
const MAX_TEXT: usize = 4096;
/// Of that for the sentence, so that facts have room too.
const MAX_SENTENCE: usize = 2500;
/// Facts shown.
const MAX_FACTS: usize = 20;

/// Made as the configuration says.
pub(super) fn make(config: &Config, _: Screen) -> Result<Option<Made>, String> {
    let section = &config.alerting.telegram;
    if !section.enabled {
        return Ok(None);
    }
    let options = Options {
        api_url: section.api_url.clone(),
        bot_token: section.bot_token.clone(),
        chat_id: section.chat_id.clone(),
        parse_mode: section.parse_mode,
        template: config.alerting.templates.telegram.is_some(),
    };
    Ok(Some(Made {
        channel: Arc::new(Telegram::new(options).map_err(|why| format!("alerting.telegram: {why}"))?),
        backoff: Backoff::default(),
    }))
}

/// How texts of this mode are written: what comes from outside stands for itself.
pub fn markup(mode: ParseMode) -> Markup {
    let escape: fn(char, &mut String) = match mode {
        ParseMode::Html => html,
        ParseMode::Markdown => |c, out| backslash("_*`[", c, out),
        ParseMode::MarkdownV2 => |c, out| backslash("\\_*[]()~`>#+-=|{}.!", c, out),
    };
    Markup { escape, length: utf16, counts_seen: true }
}

fn html(c: char, out: &mut String) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        c => out.push(c),
    }
}

fn backslash(special: &str, c: char, out: &mut String) {
    if special.contains(c) {
        out.push('\\');
    }
    out.push(c);
}

fn bold(text: &str, mode: ParseMode) -> String {
    match mode {
        ParseMode::Html => format!("<b>{}</b>", markup(mode).all(text)),
        ParseMode::MarkdownV2 => format!("*{}*", markup(mode).all(text)),
        // Nothing can be escaped within bold text there.
        ParseMode::Markdown => markup(mode).all(text),
    }
}

/// Where to and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Server of the Bot API.
    pub api_url: String,
    /// Token of the bot.
    pub bot_token: SecretString,
    /// Number or `@name` of the chat.
    pub chat_id: String,
    /// Markup.
    pub parse_mode: ParseMode,
    /// Show the template's text in place of the built-in form.
    pub template: bool,
}

/// The channel.
#[derive(Debug)]
pub struct Telegram {
    http: Http,
    options: Options,
}

impl Telegram {
    /// Checks the options; connects to nothing.
    ///
    /// # Errors
    /// A sentence without secrets.
    pub fn new(options: Options) -> Result<Self, String> {
        let token = options.bot_token.expose_secret();
        if !is_token(token) {
            return Err(
                "bot_token is not the token of a bot, which looks like 123456789:AAE…; ask @BotFather".into(),
            );
        }
        let url = format!("{}/bot{token}/sendMessage", options.api_url.trim_end_matches('/'));
        let mut http = Http::new(&url.into(), "POST", TIMEOUT)?;
        http.header("content-type", &http::JSON.into())?;
        http.hide(&options.bot_token);
        if let Some((_, secret)) = token.split_once(':') {
            http.hide(&secret.into());
        }
        Ok(Self { http, options })
    }
}

/// It becomes a part of the address, so it is nothing but a token.
fn is_token(token: &str) -> bool {
    token.split_once(':').is_some_and(|(bot, secret)| {
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        !bot.is_empty()
            && bot.bytes().all(|b| b.is_ascii_digit())
            && secret.len() >= 10
            && secret.bytes().all(word)
    })
}

impl Channel for Telegram {
    fn name(&self) -> &'static str {
        NAME
    }

    fn http(&mut self) -> Option<&mut Http> {
        Some(&mut self.http)
    }

    fn send<'a>(&'a self, alert: &'a Alert, text: &'a str) -> Sending<'a> {
        Box::pin(async move {
            let text = self.options.template.then_some(text);
            let sent = self.http.send_to(json_body(&body(alert, text, &self.options))?, read).await;
            match sent {
                // The markup of a template is broken: better plain than not at all.
                Err(SendError::Refused { why }) if text.is_some() && why.contains(CANNOT_PARSE) => {
                    tracing::warn!(
                        "alerting.templates.telegram makes no good {}: {why}",
                        self.options.parse_mode.name()
                    );
                    self.http.send_to(json_body(&plain(alert, &self.options))?, read).await
                }
                sent => sent,
            }
        })
    }
}

/// Beginning of what Telegram says of broken markup.
const CANNOT_PARSE: &str = "can't parse entities";

/// The message. With `text` that is it, unless it is too long: text with markup cannot be cut.
pub fn body(alert: &Alert, text: Option<&str>, options: &Options) -> Value {
    let mode = options.parse_mode;
    let text = text.filter(|text| utf16(text) <= MAX_TEXT && !text.trim().is_empty());
    let text = text.map_or_else(|| built_in(alert, mode), str::to_owned);
    let mut message = envelope(alert, text, options);
    message.insert("parse_mode".into(), mode.name().into());
    message.into()
}

fn plain(alert: &Alert, options: &Options) -> Value {
    let text = format!("{} {}\n{}", facts::sign(alert), facts::headline(alert), facts::message(alert));
    envelope(alert, PLAIN.fit(&text, MAX_TEXT), options).into()
}

fn envelope(alert: &Alert, text: String, options: &Options) -> Map<String, Value> {
    let chat =
        options.chat_id.parse::<i64>().map_or_else(|_| Value::from(options.chat_id.as_str()), Value::from);
    // What is over, and what can wait, wakes nobody.
    let silent = alert.status == Status::Resolved || alert.severity == Severity::Info;
    Map::from_iter([
        ("chat_id".to_owned(), chat),
        ("text".to_owned(), text.into()),
        ("disable_notification".to_owned(), silent.into()),
        ("link_preview_options".to_owned(), json!({ "is_disabled": true })),
    ])
}

fn built_in(alert: &Alert, mode: ParseMode) -> String {
    let markup = markup(mode);
    let headline = facts::headline(alert);
    let sentence = facts::message(alert);
    let mut used = utf16(&headline) + 3 + utf16(&sentence).min(MAX_SENTENCE);
    let mut out =
        format!("{} {}\n{}", facts::sign(alert), bold(&headline, mode), markup.fit(&sentence, MAX_SENTENCE));
    let mut lines: Vec<(String, usize)> = Vec::new();
    let mut line = |name: &str, text: &str| {
        let name = if name.is_empty() { String::new() } else { bold(name, mode) + " " };
        // The name's markup counts too, which is on the safe side.
        let length = utf16(&name) + utf16(text) + 1;
        lines.push((format!("\n{name}{}", markup.all(text)), length));
    };
    if let Some(reading) = facts::measured(alert) {
        line("", &reading);
    }
    for member in facts::members(alert) {
        line("", &format!("• {member}"));
    }
    for (name, value) in facts::facts(alert) {
        line(&name, &value);
    }
    let mut last = vec![facts::time(alert)];
    last.push(facts::sources(alert));
    last.extend(facts::runbook(alert));
    last.retain(|part| !part.is_empty());
    let last = last.join(" · ");
    used += utf16(&last) + 40;
    let (lines, left_out) = take_while_they_fit(lines, MAX_FACTS, MAX_TEXT.saturating_sub(used));
    out.extend(lines);
    if left_out > 0 {
        out.push_str(&markup.all(&format!("\n… and {left_out} more facts")));
    }
    out + "\n" + &markup.all(&last)
}

/// Refusals that are no fault of a message.
const OF_THE_CHAT: &[&str] = &[
    "chat not found",
    "chat_id",
    "PEER_ID_INVALID",
    "upgraded to a supergroup",
    "group chat was deactivated",
    "message thread not found",
    "TOPIC_CLOSED",
    "TOPIC_DELETED",
    "not enough rights",
    "CHAT_WRITE_FORBIDDEN",
    "bot is not a member",
];

/// What Telegram says: `{"ok": false, "description": …, "parameters": {"retry_after": SECONDS}}`.
fn read(status: u16, body: &str) -> Reading {
    let said: Value = serde_json::from_str(body).unwrap_or_default();
    let after = said.pointer("/parameters/retry_after").and_then(Value::as_u64);
    let why = said.get("description").and_then(Value::as_str).unwrap_or_default();
    let has = |part: &str| why.contains(part);
    let advice = match status {
        400 if has("chat not found") => Some(
            "no such chat for this bot: write to the bot first, or add it to the group, and check chat_id",
        ),
        400 if has("upgraded to a supergroup") => Some("the group got a new id; set chat_id to it"),
        400 if has(CANNOT_PARSE) => Some("the markup of the message is broken; mend the template"),
        401 | 404 => Some("bot_token is not valid; ask @BotFather for it"),
        403 => Some("the bot was blocked or removed from the chat; let it in again"),
        429 => Some("too many messages for this chat"),
        _ => None,
    };
    // Of the chat and the bot, whatever the message: the others would fare no better.
    let barred = status == 400 && OF_THE_CHAT.iter().any(|part| has(part));
    Reading { after: after.map(Duration::from_secs), advice, barred, ..Reading::default() }
}

#[cfg(test)]
#[path = "telegram_tests.rs"]
mod tests;
