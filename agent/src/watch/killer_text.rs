//! What user-space killers say of their kills: systemd-oomd, earlyoom, oomd. Pure: one message in, one [`Word`] out.
//!
//! They write to the journal or to syslog; what is in `/dev/kmsg` of it was written there by a process
//! (oomd does, journald with `ForwardToKMsg=`, systemd early in the boot). Anybody with that right can write
//! the same, so a line here is never taken for the kernel's.
//!
//! Names of processes and groups are part of these messages and may hold anything, line breaks too. So only the first
//! line of a message is read, it must be whole from its first word to its last, and what stands in the middle of it
//! may be anything. What still can be forged is [`super::killers`]' to doubt.

use crate::event::{Task, UserKill};

/// Longest process name, bytes: `TASK_COMM_LEN` less its NUL, each byte perhaps replaced by U+FFFD.
const MAX_COMM: usize = 45;
/// Longest command line and reason kept, bytes.
const MAX_TEXT: usize = 512;

/// What a killer says.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// It has killed.
    Killed(UserKill),
    /// It is about to; what becomes of it is told next.
    Announced {
        /// The kill.
        kill: UserKill,
        /// Text of the victim's own choosing is in the message, so long that whole messages fit into it.
        quotes: bool,
    },
    /// The victim has ended; of newer killers which one.
    Ended(Option<u32>),
    /// What was announced is not done: it may not kill, or was told only to try.
    NotDone,
    /// Why it kills next.
    Why(String),
    /// What it found of the memory: whatever was said before is past.
    Looked(String),
}

/// How all begin that [`kmsg_line`] reads.
const BEGINNINGS: [&str; 3] = ["oomd kill", "systemd-oomd", "earlyoom"];

/// Whether a record that a process wrote may be one that [`kmsg_line`] reads.
pub fn begins(text: &str) -> bool {
    BEGINNINGS.iter().any(|one| text.starts_with(one))
}

/// Who speaks in a record that a process wrote to `/dev/kmsg`, and what he says: `systemd-oomd[659]: Killed …`.
pub fn kmsg_line(text: &str) -> Option<(&'static str, Option<u32>, Word)> {
    let (head, said) = text.split_once(": ")?;
    // Of oomd, which writes no name of its own.
    if head == "oomd kill" {
        return Some(("oomd", None, Word::Killed(oomd(first_line(said))?)));
    }
    let (name, pid) = match head.split_once('[') {
        Some((name, pid)) => (name, pid.strip_suffix(']')?.parse().ok()),
        None => (head, None),
    };
    let name = ["systemd-oomd", "earlyoom"].into_iter().find(|known| *known == name)?;
    Some((name, pid, parse(name, said)?))
}

/// A message of the killer `name`.
pub fn parse(name: &str, text: &str) -> Option<Word> {
    let line = first_line(text);
    match name {
        "systemd-oomd" => systemd_oomd(text, line),
        "earlyoom" => earlyoom(line),
        _ => None,
    }
}

/// `a.service: systemd-oomd killed 20 process(es) in this unit.` (248 and later): systemd itself, of a unit; `some` where it
/// cannot count them. The unit, and how many.
pub fn unit_line(text: &str) -> Option<(&str, Option<u64>)> {
    let rest = text.strip_suffix(" process(es) in this unit.")?;
    let (unit, count) = rest.rsplit_once(": systemd-oomd killed ")?;
    let count = if count == "some" { None } else { Some(count.parse().ok()?) };
    (unit.contains('.') && !unit.contains(['/', '\n'])).then_some((unit, count))
}

/// `Killed PATH due to REASON` (247 to 258), `Marked PATH for killing due to REASON` (259 and later), and before a kill by
/// a rule of `OOMRules=` (261) `Rule 'R' conditions met for cgroup PATH (lasting 20s), taking action kill-by-swap`.
fn systemd_oomd(whole: &str, line: &str) -> Option<Word> {
    if line.starts_with("Rule '") && line.contains(" conditions met for cgroup /") {
        return Some(Word::Why(cut(line)));
    }
    // One message, whatever the path holds: it is the reason behind it that is known.
    let (text, between, done) = match whole.strip_prefix("Killed ") {
        Some(text) => (text, " due to ", true),
        None => (whole.strip_prefix("Marked ")?, " for killing due to ", false),
    };
    let known = |reason: &str| text.rfind(&format!("{between}{reason}"));
    let known = ["memory pressure for /", "memory used ("].into_iter().filter_map(known).max();
    let at = known.or_else(|| first_line(text).find(between))?;
    let (path, reason) = (&text[..at], &text[at + between.len()..]);
    path.starts_with('/').then_some(())?;
    let victim = Task { cgroup: Some(path.to_owned()), ..Task::default() };
    let reason = Some(cut(first_line(reason)));
    let kill = UserKill { killer: "systemd-oomd", victim, reason, ..UserKill::default() };
    Some(if done { Word::Killed(kill) } else { Word::Announced { kill, quotes: false } })
}

/// `sending SIGTERM to process 5 uid 0 "java": badness 9, VmRSS 3 MiB`; before 1.6 without the user, from 1.8 with
/// `oom_score` for `badness`, more numbers, and `, cmdline "java -jar x"` behind them. Then one of the other lines here.
fn earlyoom(line: &str) -> Option<Word> {
    if line.starts_with("mem avail:") {
        return Some(Word::Looked(cut(line.trim_end())));
    }
    if line.starts_with("low memory!") {
        return Some(Word::Why(cut(line.trim_end())));
    }
    if line == "dryrun, not actually sending any signal" {
        return Some(Word::NotDone);
    }
    // Exactly: a process may be named "\nkill failed: x".
    if let Some(error) = line.strip_prefix("kill failed: ") {
        // `Timer expired`: the signal was sent, and the victim takes its time.
        let refused = ["Operation not permitted", "No such process", "Invalid argument"];
        return refused.contains(&error).then_some(Word::NotDone);
    }
    // `process exited after 0.1 seconds` until 1.7.
    if let Some(rest) = line.strip_prefix("process ") {
        let (pid, rest) = number(rest).map_or((None, rest), |(pid, rest)| (Some(pid), rest.trim_start()));
        let secs = rest.strip_prefix("exited after ")?.strip_suffix(" seconds")?;
        secs.parse::<f64>().ok()?;
        return Some(Word::Ended(pid.and_then(|pid| u32::try_from(pid).ok())));
    }
    announced(line)
}

fn announced(line: &str) -> Option<Word> {
    let rest = line.strip_prefix("sending ")?;
    // A test at the start sends signal 0.
    let signal = ["SIGTERM", "SIGKILL"].into_iter().find(|signal| rest.starts_with(signal))?;
    let (pid, rest) = number(rest[signal.len()..].strip_prefix(" to process ")?)?;
    let (uid, rest) = match rest.strip_prefix(" uid ").and_then(number) {
        Some((uid, rest)) => (u32::try_from(uid).ok(), rest),
        None => (None, rest),
    };
    let rest = rest.strip_prefix(" \"")?;
    let (comm, facts) = name(rest)?;
    let (facts, cmdline) = match facts.split_once(", cmdline \"") {
        Some((facts, cmdline)) => (facts, Some(cmdline)),
        None => (facts, None),
    };
    // A line break in the name ends the line: what follows it is lost, the kill is not.
    let broken = facts.is_empty();
    let rss_kb = facts.strip_suffix(" MiB").or_else(|| facts.split(" MiB,").next()).and_then(mib);
    if !broken && rss_kb.is_none() {
        return None;
    }
    let victim = Task {
        pid: Some(u32::try_from(pid).ok()?),
        comm: Some(comm.to_owned()),
        uid,
        cmdline: cmdline.map(|line| cut(line.strip_suffix('"').unwrap_or(line))),
        ..Task::default()
    };
    let kill = UserKill { killer: "earlyoom", victim, rss_kb, signal: Some(signal), ..UserKill::default() };
    Some(Word::Announced { kill, quotes: broken || cmdline.is_some() })
}

/// The victim's name, and the numbers behind it. The name may hold what follows it; it is short, and a command line is not.
fn name(rest: &str) -> Option<(&str, &str)> {
    let head = &rest[..rest.floor_char_boundary(MAX_COMM + "\": oom_score ".len())];
    let end = ["\": badness ", "\": oom_score "].iter().filter_map(|end| head.rfind(end)).max();
    match end {
        Some(end) => Some((&rest[..end], &rest[end..])),
        None => (rest.len() < MAX_COMM && !rest.contains('"')).then_some((rest, "")),
    }
}

/// Of `…, VmRSS 3`, kB.
fn mib(facts: &str) -> Option<u64> {
    let (mib, rest) = number(facts.rsplit_once(", VmRSS ")?.1)?;
    rest.is_empty().then(|| mib.saturating_mul(1024))
}

/// `10.0 8.0 3.0 GROUP BYTES ruleset:[R] detectorgroup:[D] killer:K v2`: pressure, then what was killed.
fn oomd(text: &str) -> Option<UserKill> {
    let (head, reason) =
        text.find(" ruleset:[").or_else(|| text.find(" detector:")).map(|at| text.split_at(at))?;
    // Only tried.
    if reason.contains("killer:(dry)") {
        return None;
    }
    let mut words = head.splitn(4, ' ');
    let pressure: Option<Vec<f64>> = words.by_ref().take(3).map(|word| word.parse().ok()).collect();
    pressure.filter(|numbers| numbers.len() == 3)?;
    let (group, bytes) = words.next()?.rsplit_once(' ')?;
    let usage_kb = bytes.parse::<u64>().ok()? / 1024;
    let cgroup = Some(format!("/{}", group.trim_start_matches('/')));
    let victim = Task { cgroup, ..Task::default() };
    let reason = Some(cut(reason.trim_start()));
    Some(UserKill { killer: "oomd", victim, usage_kb: Some(usage_kb), reason, ..UserKill::default() })
}

/// The number a text begins with, and what follows it.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

fn first_line(text: &str) -> &str {
    text.split('\n').next().unwrap_or_default()
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
}

#[cfg(test)]
#[path = "killer_text_tests.rs"]
mod tests;
