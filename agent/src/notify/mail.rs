//! What a mail says: plain text, the same as HTML, and headers that keep the messages about one incident together. Pure.

use super::facts;
use super::fit::{Markup, PLAIN, utf16};
use crate::alert::{Alert, Severity, Status};
use crate::text;
use lettre::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// Characters of the subject behind its prefix.
const MAX_SUBJECT: usize = 160;
/// Of the sentence.
const MAX_SENTENCE: usize = 20_000;
/// Facts told.
const MAX_FACTS: usize = 100;
/// Characters of an incident's id that stand in a Message-ID.
const MAX_ID: usize = 60;
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
    let root = message_id(alert, domain, None);
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
        mail.message_id(Some(message_id(alert, domain, Some(alert.status.name()))))
            .in_reply_to(root.clone())
            .references(root)
    };
    if alert.severity >= Severity::Critical && alert.status != Status::Resolved {
        mail = mail.raw_header(header("Importance", "high"));
    }
    let (plain, html) = match text {
        Some(text) => (
            text.to_owned(),
            page(alert, &format!("<pre style=\"white-space:pre-wrap\">{}</pre>", HTML.all(text))),
        ),
        None => (plain(alert), page(alert, &table(alert))),
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

/// The same for the same message, so that one that is sent twice can be known.
fn message_id(alert: &Alert, domain: &str, part: Option<&str>) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    let id: String = alert.id.chars().take(MAX_ID).map(word).collect();
    let whole = match part {
        None => alert.id.clone(),
        Some(_) => format!("{}\n{}\n{}", alert.id, alert.timestamp, alert.message),
    };
    let part = part.map(|part| format!(".{part}")).unwrap_or_default();
    format!("<sysops-agent.{id}.{:08x}{part}@{domain}>", crc32fast::hash(whole.as_bytes()))
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
        let _ = writeln!(out, "{name:NAMES$}  {value}");
    }
    out
}

/// Facts, and at the end those about the message itself.
fn known(alert: &Alert) -> Vec<(String, String)> {
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
        ("began", Some(text::clean(&alert.started_at, 40).replacen('T', " ", 1))),
        ("lasted", lasted),
        ("seen by", Some(facts::sources(alert))),
        ("runbook", facts::runbook(alert)),
        ("incident", Some(text::clean(&alert.id, 200))),
    ];
    let last = last.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    known.extend(last.filter(|(_, value)| !value.is_empty()));
    known
}

const CELL: &str = "padding:4px 12px 4px 0;vertical-align:top;border-top:1px solid #eaecf0;";

fn table(alert: &Alert) -> String {
    let mut out = format!(
        "<p style=\"margin:0 0 12px;font-size:16px;line-height:1.5\">{}</p>\n",
        HTML.fit(&facts::message(alert), MAX_SENTENCE)
    );
    if let Some(line) = facts::measured(alert) {
        let _ = writeln!(out, "<p style=\"margin:0 0 12px;color:#475467\">{}</p>", HTML.all(&line));
    }
    let members = facts::members(alert);
    if !members.is_empty() {
        let items: Vec<_> = members.iter().map(|member| HTML.all(member)).collect();
        let items = items.join("</li><li>");
        let _ = writeln!(out, "<ul style=\"margin:0 0 12px;padding-left:20px\"><li>{items}</li></ul>");
    }
    out.push_str(
        "<table role=\"presentation\" style=\"border-collapse:collapse;width:100%;font-size:14px\">\n",
    );
    for (name, value) in known(alert) {
        let value = if name == "runbook" {
            let url = HTML.all(&value);
            format!("<a href=\"{url}\" style=\"color:#175cd3\">{url}</a>")
        } else {
            HTML.all(&value)
        };
        let name = HTML.all(&name);
        let _ = writeln!(
            out,
            "<tr><td style=\"{CELL}color:#667085;width:24%\">{name}</td>\
             <td style=\"{CELL}word-break:break-word\">{value}</td></tr>"
        );
    }
    out + "</table>\n"
}

/// A page that needs nothing from elsewhere, with the colour of the severity.
fn page(alert: &Alert, content: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title></head>\n\
         <body style=\"margin:0;padding:16px;background:#f2f4f7;color:#101828;\
         font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif\">\n\
         <div style=\"max-width:640px;margin:0 auto;background:#fff;border-radius:8px;overflow:hidden;\
         border:1px solid #eaecf0\">\n\
         <div style=\"background:#{colour:06x};color:#fff;padding:12px 20px;font-size:18px;font-weight:600\">{title}</div>\n\
         <div style=\"padding:16px 20px\">\n{content}</div>\n</div>\n\
         <p style=\"max-width:640px;margin:8px auto;color:#667085;font-size:12px\">sysops-agent {version}</p>\n\
         </body></html>\n",
        title = HTML.all(&facts::headline(alert)),
        colour = facts::colour(alert),
        version = env!("CARGO_PKG_VERSION"),
    )
}

#[cfg(test)]
#[path = "mail_tests.rs"]
mod tests;
