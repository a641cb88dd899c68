//! A mail as HTML: a page that needs nothing from elsewhere. Pure.
//!
//! Looks stand in `style` attributes, since some mail programs drop `<style>`; that one only adapts them to a dark scheme and
//! to a phone. `cargo xtask mail-picture` shows what comes of it.

use super::facts;
use super::mail::{HTML, MAX_SENTENCE, known};
use crate::alert::{Alert, Severity, Status};
use std::fmt::Write as _;

/// Of what is written on a colour that is light.
const INK: &str = "#1f1300";
const STYLE: &str = ":root{color-scheme:light dark}\
    @media(max-width:480px){.page{padding:0!important}.card{border-radius:0!important;border-width:0!important}\
    .row td{display:block!important;width:auto!important;padding-right:0!important}\
    .row td+td{border-top:0!important;padding-top:0!important}}\
    @media(prefers-color-scheme:dark){.page{background:#010409!important;color:#e6edf3!important}\
    .card{background:#0d1117!important;border-color:#30363d!important}\
    .row td{border-color:#21262d!important}.dim{color:#9198a1!important}a{color:#4493f8!important}}";
const CELL: &str = "padding:6px 12px 6px 0;vertical-align:top;border-top:1px solid #eaecf0;";
/// Facts of which every character counts.
const VERBATIM: &[&str] = &["command line", "cgroup", "limited cgroup", "kernel stack", "last minutes"];

/// What is known of the alert.
pub fn page(alert: &Alert) -> String {
    let mut out = format!(
        "<p style=\"margin:0 0 12px;font-size:16px;line-height:1.5;overflow-wrap:anywhere\">{}</p>\n",
        HTML.fit(&facts::message(alert), MAX_SENTENCE)
    );
    if let Some(line) = facts::measured(alert) {
        let _ =
            writeln!(out, "<p class=\"dim\" style=\"margin:0 0 12px;color:#475467\">{}</p>", HTML.all(&line));
    }
    let members = facts::members(alert);
    if !members.is_empty() {
        let items: Vec<_> = members.iter().map(|member| HTML.all(member)).collect();
        let items = items.join("</li>\n<li>");
        let _ = writeln!(
            out,
            "<ul style=\"margin:0 0 16px;padding-left:20px;line-height:1.5;overflow-wrap:anywhere\">\n<li>{items}</li></ul>"
        );
    }
    out.push_str(
        "<table role=\"presentation\" style=\"border-collapse:collapse;width:100%;font-size:14px;line-height:1.4\">\n",
    );
    for (name, value) in known(alert) {
        row(&name, &value, &mut out);
    }
    frame(alert, &(out + "</table>\n"))
}

/// With a text of the user's in place of that.
pub fn with_text(alert: &Alert, text: &str) -> String {
    frame(
        alert,
        &format!(
            "<pre style=\"margin:0;white-space:pre-wrap;overflow-wrap:anywhere\">{}</pre>",
            HTML.all(text)
        ),
    )
}

fn row(name: &str, value: &str, out: &mut String) {
    let look = if VERBATIM.contains(&name) {
        "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:13px;"
    } else {
        ""
    };
    let value = if name == "runbook" {
        let url = HTML.all(value);
        format!("<a href=\"{url}\" style=\"color:#175cd3\">{url}</a>")
    } else {
        HTML.all(value).replace('\n', "<br>")
    };
    let name = HTML.all(name);
    let _ = writeln!(
        out,
        "<tr class=\"row\"><td class=\"dim\" style=\"{CELL}color:#667085;width:24%\">{name}</td>\n  \
         <td style=\"{CELL}{look}overflow-wrap:anywhere\">{value}</td></tr>"
    );
}

/// The page around it, with the colour of the severity.
fn frame(alert: &Alert, content: &str) -> String {
    let is_light = alert.severity == Severity::Warn && alert.status != Status::Resolved;
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title}</title>\n<style>{STYLE}</style></head>\n\
         <body class=\"page\" style=\"margin:0;padding:16px;background:#f2f4f7;color:#101828;\
         font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif\">\n\
         <div class=\"card\" style=\"max-width:640px;margin:0 auto;background:#fff;border-radius:8px;overflow:hidden;\
         border:1px solid #eaecf0\">\n\
         <div style=\"background:#{colour:06x};color:{ink};padding:12px 20px;font-size:18px;font-weight:600;\
         overflow-wrap:anywhere\">{title}</div>\n\
         <div style=\"padding:16px 20px\">\n{content}</div>\n</div>\n\
         <p class=\"dim\" style=\"max-width:640px;margin:8px auto;padding:0 20px;color:#667085;font-size:12px\">\
         sysops-agent {version}</p>\n</body></html>\n",
        title = HTML.all(&facts::headline(alert)),
        colour = facts::colour(alert),
        ink = if is_light { INK } else { "#fff" },
        version = env!("CARGO_PKG_VERSION"),
    )
}
