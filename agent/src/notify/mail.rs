//! What a mail says: plain text, the same as HTML (`mail_html`), and headers that keep the messages about one incident together. Pure.

use super::fit::{Markup, PLAIN, utf16};
use super::{facts, mail_html};
use crate::alert::{Alert, MEMBERS, Severity, Status, TOLD_IN};
use crate::text;
use lettre::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// Characters of the subject behind its prefix.
const MAX_SUBJECT: usize = 160;
/// Of the sentence.
pub(super) const MAX_SENTENCE: usize = 20_000;
/// Facts told.
const MAX_FACTS: usize = 100;
/// Characters of an incident's id that stand in a Message-ID.
const MAX_ID: usize = 60;
/// Earlier mails named besides the first one about it.
const MAX_EARLIER: usize = 20;
/// Columns of a fact's name in the plain text.
const NAMES: usize = 18;

/// HTML outside of tags and within quotes.
pub const HTML: Markup = Markup { escape, length: utf16, counts_seen: true };

fn escape(c: char, out: &mut String) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        c => out.push(c),
    }
}

/// From whom, to whom, and how it begins.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Sender.
    pub from: Mailbox,
    /// Recipients.
    pub to: Vec<Mailbox>,
    /// Beginning of every subject.
    pub subject_prefix: String,
}

/// The mail. With `text` that is its content, else it is made of the alert.
///
/// # Errors
/// A sentence, should the mail library not take it.
pub fn message(alert: &Alert, text: Option<&str>, letter: &Letter) -> Result<Message, String> {
    let domain = letter.from.email.domain();
    let root = root(&alert.id, domain);
    let earlier = earlier(alert, domain);
    let mut mail = Message::builder()
        .from(letter.from.clone())
        .subject(subject(alert, &letter.subject_prefix))
        .raw_header(header("Auto-Submitted", "auto-generated"));
    for to in &letter.to {
        mail = mail.to(to.clone());
    }
    if let Some(at) = facts::instant(alert).and_then(|at| u64::try_from(at.as_second()).ok()) {
        mail = mail.date(SystemTime::UNIX_EPOCH + Duration::from_secs(at));
    }
    mail = if alert.status == Status::Firing {
        mail.message_id(Some(root))
    } else {
        // An answer to the first mail, whether that arrived or not.
        mail.message_id(Some(message_id(alert, domain, alert.status.name())))
            .in_reply_to(earlier.first().cloned().unwrap_or_default())
            .references(earlier.join(" "))
    };
    if alert.severity >= Severity::Critical && alert.status != Status::Resolved {
        mail = mail.raw_header(header("Importance", "high"));
    }
    let (plain, html) = match text {
        Some(text) => (text.to_owned(), mail_html::with_text(alert, text)),
        None => (plain(alert), mail_html::page(alert)),
    };
    // Made of the id so that the same alert gives the same mail; quoted-printable text has no `=_`.
    let boundary = format!("=_{:08x}", crc32fast::hash(alert.id.as_bytes()));
    let part = |kind, body: String| SinglePart::builder().header(kind).body(body);
    let parts = MultiPart::alternative().boundary(boundary);
    let parts =
        parts.singlepart(part(ContentType::TEXT_PLAIN, plain)).singlepart(part(ContentType::TEXT_HTML, html));
    mail.multipart(parts).map_err(|error| format!("the mail cannot be made: {error}"))
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// One line: whatever a name holds, it adds no header.
pub fn subject(alert: &Alert, prefix: &str) -> String {
    let text = format!("{}: {}", facts::headline(alert), text::clean(&alert.message, MAX_SUBJECT));
    let text = format!("{} {}", text::clean(prefix, 60), text::clean(&text, MAX_SUBJECT));
    text.trim_start().to_owned()
}

/// The mails that told of it before: the summaries it was told in, those of what it sums up, and its own.
fn earlier(alert: &Alert, domain: &str) -> Vec<String> {
    let ids = |key: &str| alert.context.get(key).and_then(Value::as_array).into_iter().flatten();
    let others = ids(TOLD_IN).chain(ids(MEMBERS)).filter_map(Value::as_str).take(MAX_EARLIER);
    let mut all: Vec<String> = others.map(|id| root(id, domain)).collect();
    if !alert.context.contains_key(MEMBERS) || all.is_empty() {
        all.push(root(&alert.id, domain));
    }
    all
}

/// The first mail about an incident.
fn root(id: &str, domain: &str) -> String {
    format!("<{}.{:08x}@{domain}>", name(id), crc32fast::hash(id.as_bytes()))
}

/// What a person can read of an id.
fn name(id: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    format!("sysops-agent.{}", id.chars().take(MAX_ID).map(word).collect::<String>())
}

/// The same for the same message, so that one that is sent twice can be known.
fn message_id(alert: &Alert, domain: &str, part: &str) -> String {
    let whole = format!("{}\n{}\n{}", alert.id, alert.timestamp, alert.message);
    format!("<{}.{:08x}.{part}@{domain}>", name(&alert.id), crc32fast::hash(whole.as_bytes()))
}

/// The plain text.
pub fn plain(alert: &Alert) -> String {
    let mut out =
        format!("{}\n\n{}\n", facts::headline(alert), PLAIN.fit(&facts::message(alert), MAX_SENTENCE));
    if let Some(line) = facts::measured(alert) {
        let _ = writeln!(out, "{line}");
    }
    for member in facts::members(alert) {
        let _ = writeln!(out, "  - {member}");
    }
    out.push('\n');
    for (name, value) in known(alert) {
        let value = value.replace('\n', &format!("\n{:NAMES$}  ", ""));
        let _ = writeln!(out, "{name:NAMES$}  {value}");
    }
    out
}

/// Facts, and at the end those about the message itself.
pub(super) fn known(alert: &Alert) -> Vec<(String, String)> {
    let mut known = facts::facts(alert);
    if known.len() > MAX_FACTS {
        let left_out = known.len() - MAX_FACTS + 1;
        known.truncate(MAX_FACTS - 1);
        known.push(("…".to_owned(), format!("and {left_out} more facts")));
    }
    let lasted = (alert.duration_secs > 0).then(|| text::span(alert.duration_secs));
    let last = [
        ("host", Some(text::clean(&alert.hostname, 255))),
        ("time", Some(facts::time(alert))),
        ("began", Some(facts::moment(&alert.started_at)).filter(|began| *began != facts::time(alert))),
        ("lasted", lasted),
        ("seen by", Some(facts::sources(alert))),
        ("runbook", facts::runbook(alert)),
        ("incident", Some(text::clean(&alert.id, 200))),
    ];
    let last = last.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    known.extend(last.filter(|(_, value)| !value.is_empty()));
    known
}

#[cfg(test)]
#[path = "mail_tests.rs"]
mod tests;
