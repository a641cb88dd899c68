//! From what `journalctl` prints to events. Pure: bytes and the time in, events out.

use std::sync::Arc;

use super::entry::{Entry, Lines, Said};
use crate::event::{Event, JournalMark, MAX_LINE, Source, UserKill, What};
use crate::text::clean;
use crate::time::{Now, SECOND};
use crate::watch::killer_text;
use crate::watch::scan::Scanner;

/// What earlyoom says before a kill belongs to it for so long.
const WHY_NS: u64 = 5 * SECOND;

/// Makes events of the journal's entries.
#[derive(Debug)]
pub struct Reader {
    lines: Lines,
    /// For the kernel's lines, where they are asked for.
    scanner: Option<Scanner>,
    place: Arc<str>,
    /// Something was read since the last mark.
    moved: bool,
    /// What earlyoom said last of the memory, and when.
    why: Vec<(u64, String)>,
    unreadable: u64,
}

impl Reader {
    /// A reader of what comes after `place`; it is told as the first mark.
    pub fn new(place: Arc<str>, scanner: Option<Scanner>) -> Self {
        Self { lines: Lines::default(), scanner, place, moved: true, why: Vec::new(), unreadable: 0 }
    }

    /// The last entry read.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A new stream begins: what the old one had begun never ends.
    pub fn restart(&mut self) {
        self.lines.restart();
    }

    /// Takes what has arrived.
    pub fn take(&mut self, bytes: &[u8], now: Now, out: &mut Vec<Event>) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.take(bytes, &mut |line| self.line(line, now, out));
        self.lines = lines;
    }

    /// Everything that has arrived is read. `settled`: and nothing came for a while.
    pub fn drained(&mut self, settled: bool, now: Now, out: &mut Vec<Event>) {
        if let Some(scanner) = &mut self.scanner {
            let from = out.len();
            scanner.drained(settled, now, out);
            relayed(out, from);
        }
        if std::mem::take(&mut self.moved) {
            let what = What::JournalMark(JournalMark { place: Arc::clone(&self.place) });
            out.push(Event { at: now, source: Source::Journal, historic: false, what });
        }
    }

    /// Whether something was begun that [`drained`](Self::drained) with `settled` would complete.
    pub fn pending(&self) -> bool {
        self.scanner.as_ref().is_some_and(Scanner::pending)
    }

    /// Lines that are no entries, or too long for one, since the start.
    pub fn unreadable(&self) -> u64 {
        self.unreadable + self.lines.too_long
    }

    fn line(&mut self, line: &[u8], now: Now, out: &mut Vec<Event>) {
        let Ok(entry) = Entry::parse(line) else {
            self.unreadable += 1;
            return;
        };
        // The first one is where the last run, or the last `journalctl`, stopped.
        if entry.cursor == *self.place {
            return;
        }
        let at = entry.at(now);
        (self.place, self.moved) = (entry.cursor.as_str().into(), true);
        match entry.said {
            Said::Killer { name, pid, text } => {
                let kill = killer_text::parse(name, &text);
                if name == "earlyoom" && kill.is_none() {
                    self.remember(at, &text);
                }
                out.extend(kill.map(|kill| {
                    let reason = kill.reason.or_else(|| self.reason(name, at));
                    kill_event(at, Source::Journal, UserKill { killer_pid: pid, reason, ..kill })
                }));
            }
            Said::Kernel { time_us, text, device } => {
                let Some(scanner) = &mut self.scanner else { return };
                let from = out.len();
                scanner.relayed(time_us, &text, &|i| device.get(i).cloned().flatten(), now, out);
                relayed(out, from);
            }
            // Facebook's oomd writes there; it has no name but its text.
            Said::Kmsg { text } => {
                let kill = killer_text::kmsg_line(&text).filter(|kill| kill.killer == "oomd");
                out.extend(kill.map(|kill| kill_event(at, Source::UserLog, kill)));
            }
            Said::Nothing => {}
        }
    }

    /// `mem avail:   40 of  962 MiB ( 4.16%), swap free:    0 of    0 MiB ( 0.00%)`, then
    /// `low memory! at or below SIGTERM limits: mem 10.00%, swap 10.00%`.
    fn remember(&mut self, at: Now, text: &str) {
        if text.starts_with("mem avail:") {
            self.why.clear();
        } else if !text.starts_with("low memory!") {
            return;
        }
        if self.why.len() < 2 {
            self.why.push((at.mono_ns, clean(text.trim(), MAX_LINE / 4)));
        }
    }

    fn reason(&mut self, name: &str, at: Now) -> Option<String> {
        let why = if name == "earlyoom" { std::mem::take(&mut self.why) } else { Vec::new() };
        let fresh = why.into_iter().filter(|(when, _)| at.mono_ns.abs_diff(*when) < WHY_NS);
        let said: Vec<String> = fresh.map(|(_, text)| text).rev().collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

fn kill_event(at: Now, source: Source, kill: UserKill) -> Event {
    Event { at, source, historic: false, what: What::UserKill(Box::new(kill)) }
}

/// What the scanner made of the kernel's lines came by the journal, which has its own marks.
fn relayed(out: &mut Vec<Event>, from: usize) {
    let new = out.split_off(from);
    out.extend(
        new.into_iter()
            .filter(|event| !matches!(event.what, What::KmsgMark(_)))
            .map(|event| Event { source: Source::Journal, ..event }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::rules::RuleSet;
    use crate::watch::scan::Resume;

    const NOW: Now = Now { mono_ns: 100 * SECOND, wall_ns: 0 };

    fn entry(number: u32, fields: &str) -> String {
        format!(
            r#"{{"__CURSOR":"s=1;i={number}","__MONOTONIC_TIMESTAMP":"{}",{fields}}}"#,
            number * 1_000_000
        ) + "\n"
    }

    fn unit(number: u32, unit: &str, message: &str) -> String {
        entry(number, &format!(r#""_SYSTEMD_UNIT":"{unit}.service","_PID":"7","MESSAGE":"{message}""#))
    }

    fn reader(place: &str, kernel: bool) -> Reader {
        let scanner =
            || Scanner::new(Arc::new(RuleSet::new(&[], true).expect("rules")), Resume::After { seq: 0 });
        Reader::new(place.into(), kernel.then(scanner))
    }

    /// One line an event.
    fn show(event: &Event) -> String {
        let what = match &event.what {
            What::UserKill(kill) => format!(
                "{} {:?} killed {:?} {:?}: {}",
                kill.killer,
                kill.killer_pid,
                kill.victim.pid,
                kill.victim.cgroup,
                kill.reason.as_deref().unwrap_or("-")
            ),
            What::JournalMark(mark) => format!("mark {}", mark.place),
            What::Oom(oom) => format!("oom {:?}", oom.victim.pid),
            What::Log(found) => found.rule.clone(),
            other => format!("{other:?}"),
        };
        format!("{} {} {what}", event.at.mono_ns / SECOND, event.source.name())
    }

    fn check(reader: &mut Reader, text: &str, expect: &[&str]) {
        let mut out = Vec::new();
        reader.take(text.as_bytes(), NOW, &mut out);
        reader.drained(true, NOW, &mut out);
        assert_eq!(out.iter().map(show).collect::<Vec<_>>(), expect, "{text}");
    }

    #[test]
    fn kills_out_of_the_units_of_killers() {
        let mut reader = reader("s=1;i=1", false);
        let oomd = "Killed /system.slice/a.service due to memory pressure for /system.slice being 9% > 1%";
        let text = [
            unit(1, "systemd-oomd", "Killed /told/before due to x"),
            unit(2, "systemd-oomd", oomd),
            unit(3, "cron", oomd),
            unit(
                4,
                "earlyoom",
                "mem avail:    40 of  962 MiB ( 4.16%), swap free:    0 of    0 MiB ( 0.00%)",
            ),
            unit(5, "earlyoom", "low memory! at or below SIGTERM limits: mem 10.00%, swap 10.00%"),
            unit(6, "earlyoom", r#"sending SIGTERM to process 9 uid 0 \"eat\": badness 9, VmRSS 3 MiB"#),
            unit(60, "earlyoom", r#"sending SIGTERM to process 8 uid 0 \"eat\": badness 9, VmRSS 3 MiB"#),
            // One killer does not speak for another.
            unit(61, "earlyoom", oomd),
        ];
        check(
            &mut reader,
            &text.concat(),
            &[
                "2 journal systemd-oomd Some(7) killed None Some(\"/system.slice/a.service\"): memory pressure for /system.slice being 9% > 1%",
                "6 journal earlyoom Some(7) killed Some(9) None: low memory! at or below SIGTERM limits: mem 10.00%, swap 10.00%; mem avail:    40 of  962 MiB ( 4.16%), swap free:    0 of    0 MiB ( 0.00%)",
                "60 journal earlyoom Some(7) killed Some(8) None: -",
                "100 journal mark s=1;i=61",
            ],
        );
        check(&mut reader, "", &[]);
        check(&mut reader, "no entry\n{}\n", &[]);
        assert_eq!((reader.unreadable(), reader.place()), (2, "s=1;i=61"));
    }

    #[test]
    fn kernel_lines_are_the_kernels_only() {
        const KILL: &str =
            "Out of memory: Killed process 9 (a) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB";
        let kernel = |number, facility: u8, message: &str| {
            entry(
                number,
                &format!(r#""_TRANSPORT":"kernel","SYSLOG_FACILITY":"{facility}","MESSAGE":"{message}""#),
            )
        };
        let text = [
            kernel(2, 0, KILL),
            kernel(3, 3, KILL),
            kernel(4, 0, "EXT4-fs error (device sda1): x"),
            kernel(5, 3, "oomd kill: 1 2 3 a.service 5000 ruleset:[r] detectorgroup:[d] killer:k v2"),
            kernel(6, 3, "systemd-oomd[9]: Killed /a due to b"),
        ];
        check(
            &mut reader("@1.0", true),
            &text.concat(),
            &[
                "2 journal oom Some(9)",
                "4 journal filesystem_error",
                "5 user_log oomd None killed None Some(\"/a.service\"): ruleset:[r] detectorgroup:[d] killer:k v2",
                "100 journal mark s=1;i=6",
            ],
        );
        // Not asked for: /dev/kmsg tells them.
        check(&mut reader("@1.0", false), &text[..1].concat(), &["100 journal mark s=1;i=2"]);
    }

    #[test]
    fn the_first_mark_is_where_it_began_and_a_torn_line_is_none() {
        let mut reader = reader("@5.0", false);
        let whole = unit(2, "earlyoom", "x");
        check(&mut reader, &whole[..20], &["100 journal mark @5.0"]);
        reader.restart();
        check(&mut reader, &whole, &["100 journal mark s=1;i=2"]);
    }
}
