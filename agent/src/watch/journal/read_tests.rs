//! Whole streams of `journalctl`.

use std::sync::Arc;

use super::*;
use crate::alert::Severity;
use crate::time::SECOND;
use crate::watch::journal::programs::Programs;
use crate::watch::rules::{Custom, RuleSet};
use crate::watch::scan::Resume;

const NOW: Now = Now { mono_ns: 100 * SECOND, wall_ns: 0 };

fn entry(number: u32, fields: &str) -> String {
    format!(r#"{{"__CURSOR":"s=1;i={number}","__MONOTONIC_TIMESTAMP":"{}",{fields}}}"#, number * 1_000_000)
        + "\n"
}

fn unit(number: u32, unit: &str, message: &str) -> String {
    entry(number, &format!(r#""_SYSTEMD_UNIT":"{unit}.service","_PID":"7","MESSAGE":"{message}""#))
}

fn reader(place: &str, kernel: bool) -> Reader {
    let scanner =
        || Scanner::new(Arc::new(RuleSet::new(&[], true).expect("rules")), Resume::After { seq: 0 });
    Reader::new(Place::parse(place).expect("a place"), kernel.then(scanner), None)
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

/// What is told of `text` at once, and of what waits then some seconds later.
fn check(reader: &mut Reader, text: &str, expect: &[&str]) {
    let mut out = Vec::new();
    reader.take(text.as_bytes(), NOW, &mut out);
    reader.drained(true, NOW, &mut out);
    let later = Now { mono_ns: NOW.mono_ns + 5 * SECOND, ..NOW };
    if reader.due_ns().is_some() {
        assert!(
            !out.iter().any(|event| matches!(event.what, What::JournalMark(_))),
            "nothing is lost by a crash"
        );
        reader.drained(false, later, &mut out);
    }
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
        unit(4, "earlyoom", "mem avail:    40 of  962 MiB ( 4.16%), swap free:    0 of    0 MiB ( 0.00%)"),
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
            "6 journal earlyoom Some(7) killed Some(9) None: low memory! at or below SIGTERM limits: mem 10.00%, swap 10.00%; mem avail:    40 of  962 MiB ( 4.16%), swap free:    0 of    0 MiB ( 0.00%)",
            "2 journal systemd-oomd Some(7) killed None Some(\"/system.slice/a.service\"): memory pressure for /system.slice being 9% > 1%",
            "60 journal earlyoom Some(7) killed Some(8) None: -",
            "105 journal mark s=1;i=61",
        ],
    );
    check(&mut reader, "", &[]);
    check(&mut reader, "no entry\n{}\n", &[]);
    assert_eq!((reader.unreadable(), &*reader.place().text()), (2, "s=1;i=61"));
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
        &mut reader("@1.000000", true),
        &text.concat(),
        &[
            "2 journal oom Some(9)",
            "4 journal filesystem_error",
            "5 user_log oomd None killed None Some(\"/a.service\"): ruleset:[r] detectorgroup:[d] killer:k v2",
            "100 journal mark s=1;i=6",
        ],
    );
    // Not asked for: /dev/kmsg tells them.
    check(&mut reader("@1.000000", false), &text[..1].concat(), &["100 journal mark s=1;i=2"]);
}

#[test]
fn the_first_mark_is_where_it_began_and_a_torn_line_is_none() {
    let mut reader = reader("@1.500000", false);
    let whole = unit(2, "earlyoom", "x");
    check(&mut reader, &whole[..20], &["100 journal mark @1.500000"]);
    reader.restart();
    check(&mut reader, &whole, &["100 journal mark s=1;i=2"]);
}

#[test]
fn without_a_cursor_it_begins_at_a_time_since_the_boot() {
    let oomd = |number| unit(number, "systemd-oomd", "Killed /a due to x");
    let mut reader = reader("@3.000000", false);
    // Whatever the time of day was: all of this boot is read, and what is older is passed over.
    check(&mut reader, &[oomd(1), oomd(2)].concat(), &["100 journal mark @3.000000"]);
    check(
        &mut reader,
        &[oomd(2), oomd(3)].concat(),
        &["3 journal systemd-oomd Some(7) killed None Some(\"/a\"): x", "105 journal mark s=1;i=3"],
    );
}

#[test]
fn what_waits_is_given_out_once_while_its_victim_may_stand() {
    let mut reader = reader("s=1;i=1", false);
    let early = r#"sending SIGTERM to process 9 uid 0 \"eat\": badness 9, VmRSS 3 MiB"#;
    reader.take(unit(2, "earlyoom", early).as_bytes(), NOW, &mut Vec::new());
    let pids =
        |reader: &mut Reader| reader.fresh().filter(|event| matches!(event.what, What::UserKill(_))).count();
    assert_eq!((pids(&mut reader), pids(&mut reader)), (1, 0));
    assert_eq!(reader.due_ns(), Some(NOW.mono_ns + 2 * SECOND));
}

#[test]
fn systemd_counts_what_systemd_oomd_killed() {
    let id = crate::watch::journal::KILLED_MESSAGE;
    let counted = |number: u32, pid: u32, id: &str| {
        let text = "a.service: systemd-oomd killed 20 process(es) in this unit.";
        entry(
            number,
            &format!(r#""_PID":"{pid}","_TRANSPORT":"journal","MESSAGE_ID":"{id}","MESSAGE":"{text}""#),
        )
    };
    // A user's own systemd, and any other message of the first.
    let nobody = [counted(2, 900, id), counted(3, 1, "fe6faa94e7774663a0da52717891d8ef")].concat();
    check(&mut reader("s=1;i=1", false), &nobody, &["100 journal mark s=1;i=3"]);
    let expect = "2 journal systemd-oomd None killed None Some(\"…/a.service\"): -";
    check(&mut reader("s=1;i=1", false), &counted(2, 1, id), &[expect, "105 journal mark s=1;i=2"]);
}

#[test]
fn patterns_of_the_user_are_asked_about_lines_of_programs() {
    let own = Custom { name: "denied", pattern: "denied (?P<what>\\w+)", severity: Severity::Warn };
    let rules = Arc::new(RuleSet::new(&[own], true).expect("patterns"));
    let mut reader =
        Reader::new(Place::parse("s=1;i=1").expect("a place"), None, Some(Programs::new(rules, 4711)));
    let line = |number, way: &str, pid: u32, text: &str| {
        let who = r#""SYSLOG_IDENTIFIER":"app","_SYSTEMD_UNIT":"app.service""#;
        entry(number, &format!(r#""_TRANSPORT":"{way}",{who},"_PID":"{pid}","MESSAGE":"{text}""#))
    };
    let text = [
        line(2, "syslog", 9, "denied login"),
        line(3, "stdout", 9, "nothing to see"),
        line(4, "stdout", 9, "denied \\u001b[31mred"),
        line(5, "audit", 9, "denied login"),
        // The agent's own: an alert in its log must not lead to the next one.
        line(6, "stdout", 4711, "denied login"),
        line(7, "syslog", 9, "Out of memory: Killed process 1 (denied init)"),
    ];
    let mut out = Vec::new();
    reader.take(text.concat().as_bytes(), NOW, &mut out);
    reader.drained(true, NOW, &mut out);
    let found = out.iter().filter_map(|event| match &event.what {
        What::Log(found) => Some((found.rule.as_str(), found.fields.clone())),
        What::JournalMark(_) => None,
        other => panic!("{other:?}"),
    });
    let fields = |what: &str| {
        [("what", what), ("program", "app"), ("unit", "app.service")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
    };
    let found: Vec<_> = found.collect();
    assert_eq!(found, [("denied", fields("login").to_vec()), ("denied", fields("init").to_vec())]);
    assert!(out.iter().any(|event| matches!(event.what, What::JournalMark(_))), "the place is kept");
}

#[test]
fn a_flood_is_told_as_far_as_it_came_at_the_end() {
    let own = Custom { name: "denied", pattern: "denied", severity: Severity::Warn };
    let rules = Arc::new(RuleSet::new(&[own], true).expect("patterns"));
    let place = Place::parse("s=1;i=1").expect("a place");
    let mut reader = Reader::new(place, None, Some(Programs::new(rules, 4711)));
    let mut out = Vec::new();
    for number in 2..152 {
        let fields = r#""_TRANSPORT":"syslog","SYSLOG_IDENTIFIER":"app","_PID":"9","MESSAGE":"denied""#;
        reader.take(entry(number, fields).as_bytes(), NOW, &mut out);
    }
    reader.drained(true, NOW, &mut out);
    let told = |out: &[Event]| -> u64 {
        let count = |event: &Event| match &event.what {
            What::Log(found) => found.repeats.as_ref().map_or(1, |repeats| repeats.count),
            _ => 0,
        };
        out.iter().map(count).sum()
    };
    assert_eq!(told(&out), 100);
    out.clear();
    reader.finish(NOW, &mut out);
    assert_eq!((told(&out), reader.due_ns()), (50, None));
}
