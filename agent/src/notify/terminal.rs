//! Alerts on the terminal, in a form for somebody who has just been woken.

use super::backoff::Backoff;
use super::channel::{Channel, SendError, Sending};
use super::facts;
use super::routes::Made;
use crate::alert::{Alert, Severity, Status};
use crate::config::{Config, Switch};
use crate::text;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::spawn_blocking;

/// Its section below `[alerting]`.
pub const NAME: &str = "terminal";
/// Most lines of one alert.
pub const MAX_LINES: usize = 12;
/// Lines that the message may take of these.
const MAX_MESSAGE: usize = 4;
/// Columns before message and facts.
const INDENT: usize = 10;
/// Columns of a fact's name.
const NAMES: usize = 17;
/// Narrower terminals are written as if they had this, columns.
const MIN_WIDTH: usize = 40;
/// Width where it is not known, columns.
const WIDTH: usize = 100;
/// Characters of the runbook's address.
const MAX_URL: usize = 200;

/// How it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Colours.
    pub colour: bool,
    /// Columns.
    pub width: usize,
    /// Write the template's text in place of the built-in form.
    pub template: bool,
}

/// What standard output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// A terminal.
    pub tty: bool,
    /// A terminal that shows colours to somebody who likes them.
    pub colour: bool,
    /// Columns.
    pub width: usize,
}

impl Screen {
    /// From whether it is a terminal, and the environment: `NO_COLOR`, `TERM`, `COLUMNS`.
    pub fn new(tty: bool, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let env = |name| env(name).filter(|value| !value.is_empty());
        let colour = tty && env("NO_COLOR").is_none() && env("TERM").is_none_or(|term| term != "dumb");
        let width = env("COLUMNS").and_then(|columns| columns.parse().ok()).unwrap_or(WIDTH);
        Self { tty, colour, width }
    }
}

/// Made as the configuration says. Colours only where somebody can see them.
#[expect(clippy::unnecessary_wraps, reason = "the form of every line of the table")]
pub(super) fn make(config: &Config, screen: Screen) -> Result<Option<Made>, String> {
    let section = &config.alerting.terminal;
    if section.enabled == Switch::Off || section.enabled == Switch::Auto && !screen.tty {
        return Ok(None);
    }
    let Screen { colour, width, .. } = screen;
    let options = Options { colour, width, template: config.alerting.templates.terminal.is_some() };
    Ok(Some(Made {
        channel: Arc::new(Terminal::new(options, || Box::new(io::stdout()))),
        backoff: Backoff::default(),
    }))
}

/// Where to write to.
pub type Out = fn() -> Box<dyn Write>;

/// The channel.
#[derive(Debug)]
pub struct Terminal {
    options: Options,
    out: Out,
    /// A write that has not come back: nobody reads the other end.
    stuck: Arc<AtomicBool>,
}

impl Terminal {
    /// Writes to what `out` gives.
    pub fn new(options: Options, out: Out) -> Self {
        Self { options, out, stuck: Arc::default() }
    }

    async fn write(&self, text: String) -> Result<(), SendError> {
        if self.stuck.swap(true, Ordering::AcqRel) {
            return Err(SendError::retry(
                "nobody reads the terminal's output; an earlier message still waits",
            ));
        }
        let (out, stuck) = (self.out, Arc::clone(&self.stuck));
        let write = spawn_blocking(move || {
            let mut out = out();
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            stuck.store(false, Ordering::Release);
            written
        });
        match write.await {
            Ok(Ok(())) => Ok(()),
            // EIO: the terminal was closed; it does not come back.
            Ok(Err(error)) if error.kind() == ErrorKind::BrokenPipe || error.raw_os_error() == Some(5) => {
                Err(SendError::refused(format!("the terminal is gone: {error}")))
            }
            Ok(Err(error)) => Err(SendError::retry(format!("cannot write to the terminal: {error}"))),
            Err(_) => Err(SendError::retry("cannot write to the terminal")),
        }
    }
}

impl Channel for Terminal {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_local(&self) -> bool {
        true
    }

    fn send<'a>(&'a self, alert: &'a Alert, text: &'a str) -> Sending<'a> {
        let Options { colour, width, template } = self.options;
        let text = if template { format!("{text}\n") } else { render(alert, colour, width) };
        Box::pin(self.write(text))
    }
}

/// The alert as it appears: a head line, then facts on indented lines, at most [`MAX_LINES`], each ended by a line
/// break.
pub fn render(alert: &Alert, colour: bool, width: usize) -> String {
    let width = width.max(MIN_WIDTH);
    let mut lines = wrap(&text::clean(&alert.message, 1000), width - INDENT, MAX_MESSAGE);
    lines.extend(facts::measured(alert));
    let last = last_facts(alert);
    let room = (MAX_LINES - 1).saturating_sub(lines.len() + last.len());
    lines.extend(known(alert, room));
    lines.extend(last);
    let mut out = head(alert, colour) + "\n";
    for line in lines {
        let line = format!("{:INDENT$}{}", "", cut(&line, width - INDENT));
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn head(alert: &Alert, colour: bool) -> String {
    let badge = facts::badge(alert);
    let badge = if colour { format!("\x1b[{}m {badge} \x1b[0m", paint(alert)) } else { badge.to_owned() };
    let host = text::clean(&alert.hostname, 64);
    let note = if alert.status == Status::Updated { "  (update)" } else { "" };
    format!("{}  {badge}  {host}{note}", facts::time(alert))
}

fn paint(alert: &Alert) -> &'static str {
    match (alert.status, alert.severity) {
        (Status::Resolved, _) => "30;42",
        (_, Severity::Info) => "30;46",
        (_, Severity::Warn) => "30;43",
        (_, Severity::Critical) => "97;41",
        (_, Severity::Emergency) => "1;97;45",
    }
}

/// As many facts as there is room for.
fn known(alert: &Alert, room: usize) -> Vec<String> {
    let known = facts::facts(alert);
    let shown = if known.len() > room { room.saturating_sub(1) } else { known.len() };
    let mut lines: Vec<_> = known.iter().take(shown).map(|(name, value)| fact(name, value)).collect();
    if known.len() > shown && room > 0 {
        lines.push(format!("… and {} more facts", known.len() - shown));
    }
    lines
}

fn last_facts(alert: &Alert) -> Vec<String> {
    let sources = facts::sources(alert);
    let seen = (!sources.is_empty()).then(|| fact("seen by", &sources));
    let runbook = alert.runbook_url.as_ref().map(|url| fact("runbook", &text::clean(url, MAX_URL)));
    seen.into_iter().chain(runbook).collect()
}

fn fact(name: &str, value: &str) -> String {
    format!("{name:NAMES$}  {}", value.replace('\n', "; "))
}

/// Breaks at spaces into at most `lines` lines; the last one may be cut.
fn wrap(text: &str, width: usize, lines: usize) -> Vec<String> {
    let mut out = vec![String::new()];
    for word in text.split_whitespace() {
        let used = out.last().map_or(0, |line| line.chars().count());
        if used > 0 && used + 1 + word.chars().count() > width && out.len() < lines {
            out.push(String::new());
        }
        if let Some(line) = out.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    out
}

fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width - 1).chain(['…']).collect()
}

#[cfg(test)]
#[path = "terminal_tests.rs"]
mod tests;
