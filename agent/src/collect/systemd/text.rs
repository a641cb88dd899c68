//! What `systemctl` prints. Pure.

use crate::text::clean;

/// Longest name, characters: systemd's own limit is 255 bytes.
const MAX_NAME: usize = 255;
/// Longest word, characters.
const MAX_WORD: usize = 64;

/// A line of `list-units`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Name of the unit.
    pub name: String,
    /// Whether there is such a unit; others only name it.
    pub loaded: bool,
    /// `active`, `failed` …
    pub active: String,
    /// `running`, `auto-restart` …
    pub sub: String,
}

/// What `show` tells of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Name of the unit.
    pub name: String,
    /// `active`, `failed` …
    pub active: String,
    /// Why it failed: `exit-code`, `signal`, `oom-kill`, `timeout` …
    pub result: String,
    /// Restarts by systemd since it was started by somebody; from systemd 235 on.
    pub restarts: Option<u64>,
    /// How its main process ended: a code of `waitid`, and status or signal.
    pub exit: Option<(u8, u32)>,
    /// When that was started, in systemd's words: `started Sun 2026-11-22 06:50:01 UTC`; empty where it has none.
    pub started: String,
}

/// Lines of four words and a description: `a.service loaded failed failed What it is`.
pub fn list(text: &str) -> Vec<Listed> {
    let line = |line: &str| {
        // Older ones put a dot before what has failed, with or without --plain.
        let mut words = line.trim_start_matches(['●', '*', '○', '×', ' ']).split_whitespace();
        let (name, load, active, sub) = (words.next()?, words.next()?, words.next()?, words.next()?);
        name.contains('.').then(|| Listed {
            name: clean(name, MAX_NAME),
            loaded: load == "loaded",
            active: clean(active, MAX_WORD),
            sub: clean(sub, MAX_WORD),
        })
    };
    text.lines().filter_map(line).collect()
}

/// Blocks of `NAME=VALUE` with empty lines between them.
pub fn shown(text: &str) -> Vec<Shown> {
    text.split("\n\n").map(block).filter(|unit| !unit.name.is_empty()).collect()
}

fn block(text: &str) -> Shown {
    let mut unit = Shown::default();
    let (mut code, mut status) = (0, 0);
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match name {
            "Id" => unit.name = clean(value, MAX_NAME),
            "ActiveState" => unit.active = clean(value, MAX_WORD),
            "Result" => unit.result = clean(value, MAX_WORD),
            "NRestarts" => unit.restarts = value.parse().ok(),
            "ExecMainCode" => code = value.parse().unwrap_or(0),
            "ExecMainStatus" => status = value.parse().unwrap_or(0),
            "ExecMainStartTimestamp" if !matches!(value, "" | "n/a") => {
                unit.started = clean(&format!("started {value}"), MAX_WORD);
            }
            _ => {}
        }
    }
    unit.exit = (code > 0).then_some((code, status));
    unit
}

impl Shown {
    /// Result and exit in brackets, as a sentence wants it.
    pub fn cause(&self) -> String {
        // CLD_EXITED, CLD_KILLED, CLD_DUMPED of waitid(2).
        let exit = match self.exit {
            Some((1, status)) => format!(", exit status {status}"),
            Some((2, signal)) => format!(", signal {signal}"),
            Some((3, signal)) => format!(", signal {signal} with a core dump"),
            _ => String::new(),
        };
        format!("({}{exit})", if self.result.is_empty() { "unknown" } else { &self.result })
    }
}
