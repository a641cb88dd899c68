//! Sequences of words as they come, most of them with something amiss.

use super::*;
use crate::watch::killer_text::{parse, unit_line};

const MS: u64 = 1_000_000;

/// Lines of earlyoom (or `oomd: …`, `systemd: …`), each at its millisecond; what is told, and when.
fn check(lines: &[(u64, &str)], expect: &[&str]) {
    let told = play(lines).0;
    assert_eq!(told, expect, "{lines:#?}");
}

fn play(lines: &[(u64, &str)]) -> (Vec<String>, Killers) {
    let (mut killers, mut told) = (Killers::default(), Vec::new());
    let moments = (0..20_000).filter(|ms| ms % 100 == 0 || lines.iter().any(|(at, _)| at == ms));
    for ms in moments {
        let (now, mut out) = (Now { mono_ns: (60_000 + ms) * MS, ..Now::default() }, Vec::new());
        killers.expire(now, &mut out);
        for (_, line) in lines.iter().filter(|(at, _)| *at == ms) {
            say(&mut killers, line, now, &mut out);
        }
        told.extend(out.iter().map(|event| format!("{ms} {}", show(event))));
    }
    (told, killers)
}

fn say(killers: &mut Killers, line: &str, now: Now, out: &mut Vec<Event>) {
    let by =
        |killer, pid| Saying { killer, pid: Some(pid), at: now, source: Source::Journal, historic: false };
    if let Some(line) = line.strip_prefix("systemd: ") {
        let (unit, count) = unit_line(line).expect("a line of systemd");
        killers.counted(&by("systemd", 1), unit, count, now, out);
        return;
    }
    let (name, pid, line) = match line.strip_prefix("oomd: ") {
        Some(line) => ("systemd-oomd", 8, line),
        None => ("earlyoom", 7, line),
    };
    if let Some(word) = parse(name, line) {
        killers.hear(&by(name, pid), word, now, out);
    }
}

fn show(event: &Event) -> String {
    let What::UserKill(kill) = &event.what else { panic!("{event:?}") };
    let whom =
        kill.victim.pid.map_or_else(|| kill.victim.cgroup.clone().unwrap_or_default(), |pid| pid.to_string());
    let count = kill.victims_count.map(|count| format!(" x{count}")).unwrap_or_default();
    let why = kill.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{whom}{count}{why}")
}

const OLD: &str = r#"sending SIGTERM to process 5 uid 0 "a": badness 9, VmRSS 3 MiB"#;
const OTHER: &str = r#"sending SIGTERM to process 6 uid 0 "b": badness 9, VmRSS 3 MiB"#;
const NEW: &str =
    r#"sending SIGTERM to process 5 uid 0 "a": oom_score 9, oom_score_adj 0, VmRSS 3 MiB, cmdline "a""#;
const DRY: &str = "dryrun, not actually sending any signal";
const REFUSED: &str = "kill failed: Operation not permitted";

#[test]
fn earlyoom_is_believed_when_it_is_done() {
    check(&[(0, OLD), (110, "process exited after 0.1 seconds")], &["110 5"]);
    check(&[(0, NEW), (0, "process 5 exited after 0.000 seconds")], &["0 5"]);
    // Without a word more.
    check(&[(0, OLD)], &["2000 5"]);
    // The signal was sent; the victim takes its time.
    check(&[(0, OLD), (10_000, "kill failed: Timer expired")], &["2000 5"]);
    // The next kill: the one before is over.
    check(&[(0, OLD), (200, OTHER), (300, "process exited after 0.1 seconds")], &["200 5", "300 6"]);
    // Another one's end is not this one's.
    check(&[(0, NEW), (100, "process 6 exited after 0.1 seconds")], &["2000 5"]);
    check(&[(100, "process 5 exited after 0.1 seconds")], &[]);
}

#[test]
fn what_is_not_done_is_not_told() {
    check(&[(0, OLD), (0, DRY)], &[]);
    check(&[(0, NEW), (1, DRY)], &[]);
    check(&[(0, OLD), (1, REFUSED)], &[]);
    check(&[(0, OLD), (200, "kill failed: No such process")], &[]);
    // Tried over and over, and done at last.
    check(&[(0, NEW), (0, DRY), (1100, NEW), (1100, DRY), (2200, OLD)], &["4200 5"]);
    check(&[(0, DRY), (0, REFUSED)], &[]);
}

#[test]
fn a_reason_belongs_to_the_kill_behind_it() {
    const LOOK: &str = "mem avail: 40 of 962 MiB";
    const LOW: &str = "low memory! at or below SIGTERM limits";
    check(
        &[(0, LOOK), (0, LOW), (1, OLD)],
        &["2100 5: low memory! at or below SIGTERM limits; mem avail: 40 of 962 MiB"],
    );
    check(&[(0, LOW), (6000, OLD)], &["8000 5"]);
    check(&[(0, LOW), (100, LOOK), (200, OLD)], &["2200 5: mem avail: 40 of 962 MiB"]);
    let rule = "oomd: Rule 'r' conditions met for cgroup /a (lasting 1s), taking action kill-by-swap";
    check(
        &[(0, LOW), (0, rule), (0, "oomd: Marked /a/b.service for killing due to rule")],
        &[&format!("2000 /a/b.service: rule; {}", &rule[6..])],
    );
}

/// A victim whose command line holds messages of earlyoom, as version 1.8 prints it.
#[test]
fn a_command_line_is_no_message() {
    let quoted = |text: &str| {
        format!(
            r#"sending SIGTERM to process 5 uid 0 "a": oom_score 9, oom_score_adj 0, VmRSS 3 MiB, cmdline "{text}"#
        )
    };
    let first = quoted("x\"");
    let forged = r#"sending SIGTERM to process 1 uid 0 "init": oom_score 9, oom_score_adj 0, VmRSS 3 MiB, cmdline "y""#;
    let all: &[(u64, &str)] = &[(0, &first), (0, forged), (110, "process 5 exited after 0.1 seconds")];
    check(all, &["110 5"]);
    // Its own end as well, and of him who it says was killed.
    check(
        &[
            (0, &first),
            (0, "process 5 exited after 0.1 seconds"),
            (0, forged),
            (1, "process 1 exited after 0.1 seconds"),
        ],
        &["0 5"],
    );
    let forged = OTHER;
    check(&[(0, &first), (20, forged)], &["2000 5"]);
    let (_, killers) = play(&[(0, &first), (20, forged), (30, forged)]);
    assert_eq!(killers.doubted(), 2);
    // In its own message it may not say either that it lives.
    for lie in [DRY, REFUSED] {
        check(&[(0, &first), (0, lie), (100, "process 5 exited after 0.1 seconds")], &["100 5"]);
        check(&[(0, &first), (0, lie), (9000, "process 5 exited after 9.0 seconds")], &["9000 5"]);
    }
    // Broken off in the name: what it says is a kill, and the next one is another.
    let broken = r#"sending SIGTERM to process 5 uid 0 "a"#;
    check(
        &[
            (0, broken),
            (0, r#"b": badness 9, VmRSS 3 MiB"#),
            (100, "process exited after 0.1 seconds"),
            (200, OTHER),
        ],
        &["100 5", "2200 6"],
    );
}

#[test]
fn a_group_is_told_with_the_count_of_its_processes() {
    const KILLED: &str = "oomd: Killed /a/b.service due to x";
    const MARKED: &str = "oomd: Marked /a/b.service for killing due to x";
    let counted = "systemd: b.service: systemd-oomd killed 20 process(es) in this unit.";
    check(&[(0, KILLED), (300, counted)], &["300 /a/b.service x20: x"]);
    check(&[(0, MARKED), (300, counted)], &["300 /a/b.service x20: x"]);
    check(&[(0, KILLED)], &["1000 /a/b.service: x"]);
    check(&[(0, MARKED)], &["2000 /a/b.service: x"]);
    // Late: it was told.
    check(&[(0, KILLED), (3000, counted)], &["1000 /a/b.service: x"]);
    // Of another one, in words that are not known.
    check(&[(0, "oomd: In other words"), (9, counted)], &["2100 …/b.service x20"]);
    // systemd was read first: it is one kill.
    check(&[(0, counted), (300, KILLED)], &["300 /a/b.service x20: x"]);
    check(&[(0, counted), (300, MARKED)], &["300 /a/b.service x20: x"]);
    check(&[(0, counted), (300, KILLED), (400, counted)], &["300 /a/b.service x20: x"]);
    check(
        &[(0, KILLED), (0, "systemd: c.service: systemd-oomd killed some process(es) in this unit.")],
        &["1000 /a/b.service: x", "2000 …/c.service"],
    );
    // Several at once, and a group inside a unit.
    check(
        &[
            (0, KILLED),
            (0, "oomd: Killed /a/c.service/sub due to x"),
            (1, counted),
            (2, "systemd: c.service: systemd-oomd killed 1 process(es) in this unit."),
        ],
        &["1 /a/b.service x20: x", "2 /a/c.service/sub x1: x"],
    );
}

#[test]
fn no_more_than_some_wait() {
    let lines: Vec<(u64, String)> = (0..40).map(|n| (0, format!("oomd: Killed /a/{n} due to x"))).collect();
    let lines: Vec<(u64, &str)> = lines.iter().map(|(at, line)| (*at, line.as_str())).collect();
    let (told, killers) = play(&lines);
    assert_eq!(told.len(), 40);
    assert_eq!(told.iter().filter(|line| line.starts_with("0 ")).count(), 40 - MAX_WAITING);
    assert_eq!((killers.due_ns(), killers.told.len()), (None, MAX_WAITING));
}
