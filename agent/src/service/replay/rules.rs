//! `replay --log`: a log, run through the rules as they are configured; prints what they find.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use serde_json::json;

use super::Trouble;
use super::input::{self, Progress};
use crate::alert::Severity;
use crate::config::Config;
use crate::event::{Hang, LogMatch, Oom};
use crate::text::clean;
use crate::watch::hang_text::HangText;
use crate::watch::oom_text::OomText;
use crate::watch::record::Record;
use crate::watch::rules::RuleSet;
use crate::watch::syslog::Line;

/// Longest line looked at, bytes; the rest of a longer one is passed over.
const MAX_LINE: u64 = 64 << 10;
/// Bytes looked at to tell a log from other data, and how many of a hundred may be no text: files of a log that was written while
/// the power failed have stretches of zeros.
const HEAD: u64 = 64 << 10;
const NO_TEXT_PERCENT: usize = 20;
/// Characters of a line that are printed.
const MAX_SHOWN: usize = 300;

/// Runs `file` through the rules and prints what they find, an object a line with `json`. On standard error it is said how
/// fast it was, and with `progress` how far a large file is. The error is a sentence.
#[expect(clippy::disallowed_methods, reason = "a file that the user names, read once")]
pub fn log(config: &Config, file: &Path, json: bool, progress: bool) -> Result<(), String> {
    let rules = crate::service::kernel::rules(config)?;
    let name = file.display();
    let wrong = |error: io::Error| format!("{name} cannot be read: {error}");
    let input = File::open(file).map_err(wrong)?;
    let meta = input.metadata().map_err(wrong)?;
    if meta.is_dir() {
        return Err(format!("{name} is a directory; name a log in it"));
    }
    let size = meta.is_file().then_some(meta.len()).filter(|_| progress);
    let (reader, progress) = Progress::of(input, size);
    let of_file = |problem: String| format!("{name}: {problem}");
    let reader = input::unpacked(BufReader::with_capacity(1 << 20, reader)).map_err(of_file)?;
    let reader = text(reader).map_err(of_file)?;
    let mut replay = Replay::new(&rules, json, BufWriter::new(io::stdout().lock()));
    match replay.run(reader) {
        Ok(()) => progress.done(replay.number, "lines"),
        Err(Trouble::Input(problem)) => return Err(of_file(problem)),
        // A reader that went away (`| head`) is no error.
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(Trouble::Output(error)) => return Err(format!("the output cannot be written: {error}")),
    }
    Ok(())
}

/// What is read, if it is the text of a log. The error is a sentence without the file's name.
fn text<'i>(mut reader: impl BufRead + 'i) -> Result<impl BufRead + 'i, String> {
    let mut head = Vec::new();
    let read = reader.by_ref().take(HEAD).read_to_end(&mut head);
    read.map_err(|error| format!("it cannot be read: {error}; it is damaged or was cut off"))?;
    let is_text = |byte: &u8| *byte >= b' ' || byte.is_ascii_whitespace() || *byte == 0x1b;
    let binary = head.iter().filter(|byte| !is_text(byte)).count();
    if binary * 100 > head.len() * NO_TEXT_PERCENT {
        return Err("this is binary data, not the text of a log; name one, like that of dmesg".to_owned());
    }
    if head.starts_with(b"{\"recording\"") {
        return Err("it is a recording, not a log; leave out --log: replay FILE".to_owned());
    }
    Ok(io::Cursor::new(head).chain(reader))
}

/// A log on its way through the rules.
struct Replay<'a, W> {
    rules: &'a RuleSet,
    oom: OomText,
    hang: HangText,
    json: bool,
    out: W,
    number: u64,
    counts: BTreeMap<String, u64>,
}

/// Something that was found.
struct Found<'a> {
    rule: &'a str,
    severity: Severity,
    meaning: &'a str,
    fields: Vec<(String, String)>,
    line: &'a str,
}

impl<'a, W: Write> Replay<'a, W> {
    fn new(rules: &'a RuleSet, json: bool, out: W) -> Self {
        let (oom, hang, counts) = (OomText::default(), HangText::default(), BTreeMap::new());
        Self { rules, oom, hang, json, out, number: 0, counts }
    }

    fn run(&mut self, mut input: impl BufRead) -> Result<(), Trouble> {
        let mut line = Vec::new();
        let torn = loop {
            line.clear();
            let mut torn = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).err();
            if line.is_empty() {
                break torn;
            }
            if line.last() != Some(&b'\n') {
                torn = torn.or(input.skip_until(b'\n').err());
            }
            self.number += 1;
            let text = String::from_utf8_lossy(&line);
            self.line(text.trim_end_matches(['\n', '\r']))?;
            if torn.is_some() {
                break torn;
            }
        };
        let mut left = Vec::new();
        self.hang.flush(&mut |_, hang| left.push(hang));
        for hang in left {
            self.hang(&hang, "")?;
        }
        self.summary()?;
        match torn {
            Some(error) => {
                Err(Trouble::Input(format!("torn after line {}: {error}; that far it was read", self.number)))
            }
            None => Ok(()),
        }
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        let (is_kernel, time_us, text) = kernel_line(line);
        let time_us = time_us.unwrap_or(self.number);
        let mut found: Vec<LogMatch> = Vec::new();
        if is_kernel {
            if let Some(oom) = self.oom.line(time_us, &text) {
                self.oom(&oom, line)?;
            }
            let mut hangs = Vec::new();
            self.hang.line(time_us, &text, &mut |_, hang| hangs.push(hang));
            for hang in hangs.iter().filter(|hang| hang.stack.is_empty()) {
                self.hang(hang, line)?;
            }
            self.rules.find(&text, &mut |one| found.push(one));
        } else if self.rules.has_custom() {
            self.rules.find_custom(&text, &mut |one| found.push(one));
        }
        for LogMatch { rule, severity, meaning, fields, .. } in found {
            self.tell(&Found { rule: &rule, severity, meaning: &meaning, fields, line })?;
        }
        Ok(())
    }

    fn oom(&mut self, oom: &Oom, line: &str) -> io::Result<()> {
        let known = [
            ("pid", oom.victim.pid.map(|pid| pid.to_string())),
            ("process", oom.victim.comm.clone()),
            ("oom_memcg", oom.oom_memcg.clone()),
        ];
        let fields = known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        let meaning = "the kernel killed a process for lack of memory";
        self.tell(&Found { rule: "oom_kill", severity: Severity::Critical, meaning, fields, line })
    }

    fn hang(&mut self, hang: &Hang, line: &str) -> io::Result<()> {
        let known = [("pid", hang.task.pid.map(|pid| pid.to_string())), ("process", hang.task.comm.clone())];
        let fields = known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        let meaning = "a task waits for too long in the kernel and cannot be killed";
        self.tell(&Found { rule: "hung_task", severity: Severity::Warn, meaning, fields, line })
    }

    fn tell(&mut self, found: &Found<'_>) -> io::Result<()> {
        if found.line.is_empty() {
            return Ok(());
        }
        *self.counts.entry(found.rule.to_owned()).or_default() += 1;
        let shown = clean(found.line, MAX_SHOWN);
        let fields: BTreeMap<&str, String> =
            found.fields.iter().map(|(name, value)| (name.as_str(), clean(value, MAX_SHOWN))).collect();
        if self.json {
            let object = json!({
                "line_number": self.number, "rule": found.rule, "severity": found.severity.name(),
                "meaning": found.meaning, "fields": fields, "line": shown,
            });
            return writeln!(self.out, "{object}");
        }
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (severity, rule) = (found.severity.name(), found.rule);
        writeln!(self.out, "{:>8} {severity:<9} {rule} {}\n         {shown}", self.number, fields.join(" "))
    }

    fn summary(&mut self) -> io::Result<()> {
        if !self.json {
            let all: u64 = self.counts.values().sum();
            writeln!(self.out, "{} lines, {all} of them for a rule", self.number)?;
            for (rule, count) in &self.counts {
                writeln!(self.out, "{count:>8} {rule}")?;
            }
        }
        self.out.flush()
    }
}

/// Whether a line is, or says it is, the kernel's; its time in microseconds, where that is known; its text.
pub(super) fn kernel_line(line: &str) -> (bool, Option<u64>, std::borrow::Cow<'_, str>) {
    let first = line.as_bytes().first();
    if first.is_some_and(u8::is_ascii_digit)
        && let Ok(record) = Record::parse(line.as_bytes())
    {
        return (record.from_kernel(), Some(record.time_us), record.text().into_owned().into());
    }
    let parsed = Line::parse(line);
    if parsed.stamp != crate::watch::syslog::Stamp::None || !parsed.program.is_empty() {
        let (time, text) = parsed.kernel_time();
        return (parsed.says_kernel(), time, if parsed.says_kernel() { text } else { parsed.text }.into());
    }
    // `dmesg`: all of it is the kernel's.
    let bare = line.strip_prefix('<').and_then(|rest| rest.split_once('>')).map_or(line, |(_, rest)| rest);
    let (time, text) = Line { stamp: parsed.stamp, program: "", pid: None, text: bare }.kernel_time();
    if time.is_none()
        && let Some((date, text)) = bare.strip_prefix('[').and_then(|rest| rest.split_once("] "))
        && date.len() == 24
        && date.contains(':')
    {
        // `dmesg -T`
        return (true, None, text.into());
    }
    (true, time, text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, json: bool, expect: &[&str]) {
        let rules = RuleSet::new(&[], true).expect("rules");
        let mut out = Vec::new();
        Replay::new(&rules, json, &mut out).run(text.as_bytes()).expect("written");
        let out = String::from_utf8(out).expect("text");
        for part in expect {
            assert!(out.contains(part), "{out} lacks {part}");
        }
    }

    #[test]
    fn every_kind_of_log_is_read() {
        let told = ["1 critical  filesystem_error device=sda1", "1 lines, 1 of them for a rule"];
        for head in [
            "[   12.345678] ",
            "<3>[   12.345678] ",
            "[Sun Nov 22 13:45:29 2026] ",
            "Nov 22 13:45:29 h kernel: [   12.345678] ",
            "2026-11-22T13:45:29Z h kernel: ",
            "3,1,12345678,-;",
            "",
        ] {
            check(&format!("{head}EXT4-fs error (device sda1): x\n"), false, &told);
        }
        check("Nov 22 13:45:29 h app[1]: EXT4-fs error (device sda1): x\n", false, &["1 lines, 0 of them"]);
        check("12,1,12345678,-;EXT4-fs error (device sda1): x\n", false, &["1 lines, 0 of them"]);
    }

    #[test]
    fn what_is_no_log_is_told_as_such() {
        let of = |bytes: &[u8]| match input::unpacked(bytes).and_then(text) {
            Ok(mut reader) => {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).expect("read");
                assert_eq!(all.len(), bytes.len());
                String::new()
            }
            Err(problem) => problem,
        };
        assert!(of(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0").contains("binary data"));
        assert!(of(b"\x1f\x8b\x08").contains("unpack it"));
        assert!(of(b"{\"recording\":{\"version\":1").contains("leave out --log"));
        assert!(of(&[0x28, 0xb5, 0x2f, 0xfd, 0x04]).contains("cut off"));
        // A power cut leaves zeros, a console its colors, another encoding its bytes.
        let lines = "EXT4-fs error (device sda1): \u{1b}[31mx\n".repeat(100);
        let torn = [&[0; 500][..], lines.as_bytes(), b"\xe4\xf6"];
        assert_eq!(of(&torn.concat()), "");
        assert_eq!(of(b""), "");
    }

    #[test]
    fn kills_and_hangs_are_told_and_long_lines_cut() {
        let dmesg = include_str!("../../watch/testdata/6.1.dmesg");
        check(
            dmesg,
            false,
            &["oom_kill oom_memcg=/lab pid=174 process=labh", "hung_task pid=202", "2 oom_kill"],
        );
        check(dmesg, true, &["\"rule\":\"oom_kill\"", "\"severity\":\"critical\""]);
        check(
            &format!("{}\nEXT4-fs error (device a): x", "y".repeat(200_000)),
            false,
            &["2 lines, 1 of them"],
        );
        check("", false, &["0 lines, 0 of them"]);
        check("\u{1b}[31mEXT4-fs error (device sda1): x\n", false, &["?[31mEXT4"]);
    }
}
