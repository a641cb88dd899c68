//! From lines to events, and what anybody could write there.

use super::*;
use crate::alert::Severity;
use crate::time::SECOND;
use crate::watch::rules::Custom;

const NOW: Now = Now { mono_ns: 1_000 * SECOND, wall_ns: 1_795_355_130_000_000_000 };

fn reader(kernel: bool, custom: &[Custom<'_>]) -> Reader {
    Reader::new(Arc::new(RuleSet::new(custom, true).expect("patterns")), kernel, TimeZone::UTC)
}

const OWN: Custom<'_> =
    Custom { name: "login", pattern: "Failed password for (?P<user>\\w+)", severity: Severity::Warn };

fn take(reader: &mut Reader, text: &str) -> Vec<String> {
    let mut out = Vec::new();
    reader.take(text.as_bytes(), NOW, &mut out);
    reader.drained(true, NOW, &mut out);
    assert!(out.iter().all(|event| event.source == Source::Syslog), "{out:?}");
    out.iter().map(word).collect()
}

fn word(event: &Event) -> String {
    let word = match &event.what {
        What::Log(found) => {
            let fields: Vec<_> = found.fields.iter().map(|(k, v)| format!(" {k}={v}")).collect();
            format!("{}{}", found.rule, fields.concat())
        }
        What::Oom(oom) => format!("oom {:?}", oom.victim.pid),
        What::Hang(hang) => format!("hang {:?}", hang.task.pid),
        other => format!("{other:?}"),
    };
    if event.historic { format!("{word} (historic)") } else { word }
}

const LINES: &str = "\
Nov 22 13:45:20 h systemd[1]: Started x.\n\
Nov 22 13:45:21 h kernel: [  990.000001] EXT4-fs error (device sda1): ext4_lookup:1: inode #2: x\n\
Nov 22 13:45:22 h sshd[7]: Failed password for root from 10.0.0.1 port 22 ssh2\n\
Nov 22 13:45:23 h kernel: [  991.000001] Out of memory: Killed process 1234 (java) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:8kB oom_score_adj:0\n\
Nov 22 13:45:24 h kernel: [  992.000001] INFO: task dd:5 blocked for more than 120 seconds.\n";

#[test]
fn the_kernels_lines_are_read_where_nobody_else_hands_them_on() {
    let expect = ["filesystem_error device=sda1", "oom Some(1234)", "hang Some(5)"];
    assert_eq!(take(&mut reader(true, &[]), LINES), expect);
    assert_eq!(take(&mut reader(false, &[]), LINES), [""; 0]);
}

#[test]
fn patterns_of_the_user_see_what_programs_write() {
    assert_eq!(take(&mut reader(false, &[OWN]), LINES), ["login user=root program=sshd"]);
    let mut both = take(&mut reader(true, &[OWN]), LINES);
    both.sort();
    assert_eq!(
        both,
        ["filesystem_error device=sda1", "hang Some(5)", "login user=root program=sshd", "oom Some(1234)"]
    );
}

#[test]
fn only_lines_with_the_kernels_tag_count_as_its_own() {
    for forged in [
        "Nov 22 13:45:21 h app[9]: EXT4-fs error (device sda1): x",
        "Nov 22 13:45:21 h kernel[9]: EXT4-fs error (device sda1): x",
        "Nov 22 13:45:21 h app: kernel: EXT4-fs error (device sda1): x",
        "kernel: EXT4-fs error (device sda1): x",
        "EXT4-fs error (device sda1): x",
    ] {
        assert_eq!(take(&mut reader(true, &[]), &format!("{forged}\n")), [""; 0], "{forged}");
    }
}

#[test]
fn lines_of_an_earlier_boot_are_counted_only() {
    let line = "Nov 22 12:45:21 h kernel: [ 9990.000001] EXT4-fs error (device sda1): x\n";
    assert_eq!(take(&mut reader(true, &[]), line), ["filesystem_error device=sda1 (historic)"]);
}

#[test]
fn times_are_those_of_the_lines() {
    let mut out = Vec::new();
    let mut reader = reader(true, &[OWN]);
    reader.take(LINES.as_bytes(), NOW, &mut out);
    let ages: Vec<u64> =
        out.iter().filter(|e| matches!(e.what, What::Log(_))).map(|e| NOW.since(e.at) / SECOND).collect();
    // The kernel's own time counts: 990.000001 of 1000 s.
    assert_eq!(ages, [9, 8]);
}

#[test]
fn garbage_is_passed_over() {
    let mut reader = reader(true, &[OWN]);
    let mut block = vec![0xff_u8; 300_000];
    block.push(b'\n');
    block.extend(b"\0\x1b[31m\n\n\r\n");
    block.extend("é".repeat(3000).as_bytes());
    block.extend(b"\nNov 22 13:45:22 h sshd[7]: Failed password for \xff\n");
    let mut out = Vec::new();
    reader.take(&block, NOW, &mut out);
    assert!(out.is_empty(), "{out:?}");
    // None has what the pattern wants.
    assert_eq!(reader.lines(), 0);
}

#[test]
fn a_flood_is_one_event() {
    let mut reader = reader(false, &[OWN]);
    let line = "Nov 22 13:45:22 h sshd[7]: Failed password for root from 10.0.0.1\n";
    let mut out = Vec::new();
    reader.take(line.repeat(20_000).as_bytes(), NOW, &mut out);
    assert_eq!(out.len(), 100);
    out.clear();
    reader.drained(true, NOW.plus_secs(10), &mut out);
    let What::Log(found) = &out[0].what else { panic!("{out:?}") };
    assert_eq!((out.len(), found.repeats.as_ref().map(|r| r.count)), (1, Some(19_900)));
}

#[test]
fn lines_that_begin_alike_are_taken_apart_alike() {
    let error = "EXT4-fs error (device sda1): ext4_lookup:1: inode #2: x";
    let heads = [
        "Nov 22 13:45:20 h kernel:",
        "Nov 22 13:45:20 h kernel: ",
        "Nov 22 13:45:20 h kernel: [  990.000001] ",
    ];
    let mut text = String::new();
    for head in
        heads.iter().chain(&heads).chain(&["Nov 22 13:45:20 h kernel:  ", "Nov 22 13:45:20 h kernel:\n"])
    {
        text.push_str(head);
        text.push_str(error);
        text.push('\n');
    }
    let one_by_one: usize =
        text.lines().map(|line| take(&mut reader(true, &[]), &format!("{line}\n")).len()).sum();
    assert_eq!((take(&mut reader(true, &[]), &text).len(), one_by_one), (5, 5));
}
