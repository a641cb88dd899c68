use std::sync::LazyLock;

use super::*;
use crate::alert::Severity;
use crate::event::{Constraint, Oom};
use crate::watch::rules::Custom;
use proptest::prelude::*;

const NOW: Now = Now { mono_ns: 100_000_000_000, wall_ns: 1_000_000_000_000 };

fn scanner(resume: Resume) -> Scanner {
    static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| Arc::new(RuleSet::new(&[], true).unwrap()));
    Scanner::new(RULES.clone(), resume)
}

/// Reads records; the first `old` of them are in the buffer at the start.
fn read(mut scanner: Scanner, records: &[String], old: usize) -> Vec<Event> {
    let mut out = Vec::new();
    for record in &records[..old] {
        scanner.record(record.as_bytes(), NOW, &mut out);
    }
    scanner.drained(true, NOW, &mut out);
    for record in &records[old..] {
        scanner.record(record.as_bytes(), NOW, &mut out);
    }
    scanner.drained(true, NOW, &mut out);
    out
}

fn live(records: &[String]) -> Vec<Event> {
    read(scanner(Resume::Fresh), records, 0)
}

/// Records of a file of raw `/dev/kmsg` text.
fn raw(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Records of `dmesg` text. What tests wrote into the log themselves has another facility.
fn dmesg(text: &str) -> Vec<String> {
    let line = |(seq, line): (usize, &str)| {
        let (time, text) = line.strip_prefix('[').unwrap().split_once("] ").unwrap();
        let micros: u64 = time.trim().replace('.', "").parse().unwrap();
        let ours = ["@@MARK", "forged", "facility1"].iter().any(|mark| text.contains(mark));
        format!("{},{seq},{micros},-;{}", if ours { 11 } else { 3 }, text.replace('\\', "\\x5c"))
    };
    text.lines().enumerate().map(line).collect()
}

/// Events as short words, marks left out.
fn words(events: &[Event]) -> Vec<String> {
    let words = events.iter().filter_map(|event| {
        Some(match &event.what {
            What::Oom(oom) => format!("oom {} {}", oom.victim.comm.as_deref()?, oom.victim.pid?),
            What::Hang(hang) if hang.stack.is_empty() => {
                format!("hang {} {}", hang.task.pid?, hang.blocked_secs?)
            }
            What::Hang(hang) => format!("stack {} {}", hang.task.pid?, hang.wchan.as_deref().unwrap_or("?")),
            What::Log(found) => found.rule.clone(),
            What::Lost(lost) => format!("lost {}", lost.count),
            What::UserKill(kill) => format!("{:?} {}", event.source, kill.killer),
            What::SlowIo(_) => "slow".to_owned(),
            What::IoError(_) => "error".to_owned(),
            What::Hardware(_)
            | What::HostChange(_)
            | What::HangFacts(_)
            | What::Released(_)
            | What::KmsgMark(_)
            | What::JournalMark(_)
            | What::SyslogMark(_)
            | What::Witness { .. } => return None,
        })
    });
    words.collect()
}

fn ooms(events: &[Event]) -> Vec<&Oom> {
    events
        .iter()
        .filter_map(|event| if let What::Oom(oom) = &event.what { Some(&**oom) } else { None })
        .collect()
}

#[test]
fn an_oom_kill_of_6_18() {
    let events = live(&raw(include_str!("../testdata/6.18-oom.kmsg")));
    assert_eq!(words(&events), ["oom python3 12085"]);
    let oom = ooms(&events)[0];
    assert_eq!(
        (oom.total_vm_kb, oom.anon_rss_kb, oom.file_rss_kb),
        (Some(221_368), Some(32_512), Some(6540))
    );
    assert_eq!((oom.shmem_rss_kb, oom.pgtables_kb, oom.oom_score_adj), (Some(0), Some(136), Some(0)));
    assert_eq!((oom.limit_kb, oom.usage_kb, oom.failcnt), (Some(32_768), Some(32_768), Some(173)));
    assert_eq!(
        (oom.constraint.as_ref(), oom.oom_memcg.as_deref()),
        (Some(&Constraint::Memcg), Some("/lab_oom"))
    );
    assert_eq!((oom.victim.uid, oom.victim.cgroup.as_deref()), (Some(0), Some("/lab_oom")));
    assert_eq!(
        (oom.trigger.pid, oom.trigger.uid, oom.trigger.comm.as_deref()),
        (Some(12_085), Some(0), Some("python3"))
    );
    assert_eq!((oom.gfp_mask.as_deref(), oom.order), (Some("0xcc0(GFP_KERNEL)"), Some(0)));
}

#[test]
fn a_hang_of_6_18() {
    let events = live(&raw(include_str!("../testdata/6.18-hang.kmsg")));
    assert_eq!(words(&events), ["hang 14415 3", "stack 14415 percpu_rwsem_wait"]);
    let What::Hang(hang) = &events[1].what else { panic!("{events:?}") };
    assert_eq!(hang.stack[0], "__schedule+0x3cc/0xf50");
    assert_eq!(hang.stack.last().unwrap(), "entry_SYSCALL_64_after_hwframe+0x76/0x7e");
    assert_eq!((hang.stack.len(), hang.task.comm.as_deref()), (11, Some("dd")));
    assert_eq!(events[0].at, events[1].at);
}

/// `kills`: memcg victim, global victim. Counted by hand in the files.
fn guest(text: &str, kills: [u32; 2], hung: u32, extra: &[&str]) -> Vec<Event> {
    let events = live(&dmesg(text));
    let mut expect = kills.map(|pid| format!("oom labh {pid}")).to_vec();
    expect.extend([2, 4, 6].map(|secs| format!("hang {hung} {secs}")));
    expect.extend(extra.iter().map(|&word| word.to_owned()));
    assert_eq!(words(&events), expect);
    let ooms = ooms(&events);
    assert_eq!(
        (ooms[0].constraint.as_ref(), ooms[0].oom_memcg.as_deref()),
        (Some(&Constraint::Memcg), Some("/lab"))
    );
    assert_eq!((ooms[0].limit_kb, ooms[0].victim.cgroup.as_deref()), (Some(32_768), Some("/lab")));
    assert_eq!((ooms[0].trigger.pid, ooms[1].trigger.pid), (Some(kills[0]), None));
    assert_eq!((ooms[1].constraint.as_ref(), ooms[1].oom_memcg.as_deref()), (Some(&Constraint::None), None));
    assert_eq!((ooms[1].limit_kb, ooms[1].victim.cgroup.as_deref()), (None, Some("/")));
    events
}

#[test]
fn guests_of_5_10_6_1_and_7_2() {
    let events =
        guest(include_str!("../testdata/5.10.dmesg"), [164, 174], 191, &["filesystem_error", "scsi_reset"]);
    assert_eq!((ooms(&events)[0].failcnt, ooms(&events)[1].total_vm_kb), (Some(20), Some(429_028)));
    assert_eq!(ooms(&events)[1].gfp_mask.as_deref(), Some("0x100dca(GFP_HIGHUSER_MOVABLE|__GFP_ZERO)"));
    let events =
        guest(include_str!("../testdata/6.1.dmesg"), [174, 184], 202, &["filesystem_error", "scsi_reset"]);
    assert_eq!((ooms(&events)[0].failcnt, ooms(&events)[0].trigger.uid), (Some(23), None));
    let events = guest(include_str!("../testdata/7.2.dmesg"), [186, 196], 215, &["filesystem_error"]);
    assert_eq!((ooms(&events)[0].failcnt, ooms(&events)[0].trigger.uid), (Some(18), Some(0)));
}

#[test]
fn disks_of_5_10() {
    let events = live(&dmesg(include_str!("../testdata/5.10-storage.dmesg")));
    let mut expect = vec!["io_error"; 6];
    expect.extend(["scsi_error", "io_error"]);
    assert_eq!(words(&events), expect);
    let What::Log(last) = &events[7].what else { panic!("{events:?}") };
    assert_eq!(
        last.fields,
        [("device".to_owned(), "sda".to_owned()), ("sector".to_owned(), "4656".to_owned())]
    );
}

#[test]
fn hardware_of_6_1() {
    let events = live(&dmesg(include_str!("../testdata/6.1-hardware.dmesg")));
    let mut expect = vec!["io_error"; 20 + 2];
    expect.extend(["scsi_error", "io_error"]);
    expect.extend(["hardware_error"; 4]);
    expect.extend(["network_up", "network_down", "network_up"]);
    assert_eq!(words(&events), expect);
    assert!(events.iter().all(|event| event.source == Source::Kmsg && !event.historic));
}

fn record(seq: u64, text: &str) -> String {
    format!("4,{seq},{},-;{text}", seq * 1_000_000)
}

fn kill(pid: u32) -> String {
    format!("Out of memory: Killed process {pid} (x) total-vm:1kB")
}

#[test]
fn what_was_there_at_the_start_is_historic() {
    let events = read(scanner(Resume::Fresh), &[record(1, &kill(1)), record(2, &kill(2))], 1);
    assert_eq!(events.iter().map(|e| e.historic).collect::<Vec<_>>(), [true, false, false, false]);
    assert_eq!(words(&events), ["oom x 1", "oom x 2"]);
}

#[test]
fn a_storm_at_the_start_does_not_make_everything_historic() {
    let events = read(
        scanner(Resume::Fresh),
        &[record(99, &kill(1)), record(105, &kill(2)), record(111, &kill(3))],
        3,
    );
    let kills = events.iter().filter(|event| matches!(event.what, What::Oom(_)));
    assert_eq!(kills.map(|e| e.historic).collect::<Vec<_>>(), [true, true, false]);
}

#[test]
fn after_an_absence_the_rest_is_news_and_begun_kills_are_completed() {
    let memory = "memory: usage 5kB, limit 6kB, failcnt 7";
    let records =
        [record(7, &kill(1)), record(8, "nvme nvme0: I/O error"), record(9, memory), record(10, &kill(2))];
    let events = read(scanner(Resume::After { seq: 9 }), &records, 4);
    assert_eq!(words(&events), ["oom x 2"]);
    assert!(!events[0].historic);
    assert_eq!(ooms(&events)[0].limit_kb, Some(6));
}

#[test]
fn what_was_overwritten_during_an_absence_is_counted() {
    let events = read(scanner(Resume::After { seq: 9 }), &[record(15, &kill(1))], 1);
    assert_eq!(words(&events), ["lost 5", "oom x 1"]);
}

#[test]
fn a_mark_of_another_boot_does_not_silence_for_ever() {
    let events = read(scanner(Resume::After { seq: 900 }), &[record(1, &kill(1)), record(2, &kill(2))], 1);
    assert_eq!(words(&events), ["oom x 2"]);
}

#[test]
fn gaps_are_losses() {
    let events = live(&[record(1, "a"), record(2, "b"), record(9, &kill(1))]);
    assert_eq!(words(&events), ["lost 6", "oom x 1"]);
    assert!(live(&[record(u64::MAX / 10_000_000, "a")]).len() == 1, "no gap before the first");
}

#[test]
fn one_mark_a_burst() {
    let mut scanner = scanner(Resume::Fresh);
    let mut out = Vec::new();
    scanner.drained(false, NOW, &mut out);
    assert_eq!(out, [], "nothing was read");
    for seq in 5..9 {
        scanner.record(record(seq, "x").as_bytes(), NOW, &mut out);
    }
    scanner.drained(false, NOW, &mut out);
    scanner.drained(true, NOW, &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].what, What::KmsgMark(KmsgMark { seq: 8 }));
}

#[test]
fn a_process_may_only_tell_of_killers_in_user_space() {
    let oomd =
        "Killed /system.slice/a.service due to memory pressure for /system.slice being 85.03% > 80.00%";
    let lines = [
        format!("30,1,1,-;systemd-oomd[659]: {oomd}"),
        "12,2,2,-;earlyoom[7]: sending SIGTERM to process 5 uid 0 \"java\": badness 1, VmRSS 9 MiB"
            .to_owned(),
        format!("30,3,3,-;systemd-oomd[659]: {}", kill(1)),
        format!("12,4,4,-;{}", kill(1)),
        // The kernel does not speak for them; what looks like it has come out of a process name.
        format!("4,5,5,-;systemd-oomd[659]: {oomd}"),
    ];
    let events = read(scanner(Resume::After { seq: 0 }), &lines, 0);
    assert_eq!(words(&events), ["UserLog systemd-oomd", "UserLog earlyoom"]);
    let events = read(scanner(Resume::After { seq: 1 }), &lines, lines.len());
    assert_eq!(words(&events), ["UserLog earlyoom"], "the first was told by an earlier run");
    let events = read(scanner(Resume::Fresh), &lines[..1], 1);
    assert!(events[0].historic && words(&events).len() == 1, "{events:?}");
}

#[test]
fn only_the_kernel_is_believed() {
    let forged = [format!("12,1,1,-;{}", kill(1)), "30,2,2,-;EXT4-fs error (device sda): x".to_owned()];
    assert_eq!(words(&live(&forged)), [""; 0]);
    let events = read(scanner(Resume::Fresh).trust_any_facility(), &forged, 0);
    assert_eq!(words(&events), ["oom x 1", "filesystem_error"]);
}

#[test]
fn fragments_are_joined() {
    let events = live(&[
        "6,1,1,c;Task in /a".to_owned(),
        "6,2,1,+; killed as a result of limit of /a".to_owned(),
        "6,3,1,-;Memory cgroup out of memory: Kill process 5 (x) score 1 or sacrifice child".to_owned(),
        "3,4,1,c;Killed process 5 (x)".to_owned(),
        "3,5,1,+; total-vm:1kB".to_owned(),
    ]);
    assert_eq!(words(&events), ["oom x 5"]);
    assert_eq!((ooms(&events)[0].oom_memcg.as_deref(), ooms(&events)[0].total_vm_kb), (Some("/a"), Some(1)));
}

#[test]
fn a_fragment_alone_counts_and_joined_text_is_bounded() {
    assert_eq!(words(&live(&[format!("3,1,1,c;{}", kill(1)), "3,2,1,c;x".to_owned()])), ["oom x 1"]);
    assert_eq!(words(&live(&["6,1,1,+;no beginning".to_owned()])), [""; 0]);
    let mut many = vec!["3,0,1,c;nvme nvme0: I/O error".to_owned()];
    many.extend((1..100).map(|seq| format!("3,{seq},1,+;{}", "x".repeat(900))));
    let events = live(&many);
    let What::Log(found) = &events[0].what else { panic!("{events:?}") };
    assert_eq!(found.line.len(), MAX_LINE);
}

#[test]
fn a_lost_gpu_is_told_behind_a_flood_of_mild_errors() {
    let mut scanner = scanner(Resume::After { seq: 0 });
    let mut out = Vec::new();
    // All of them differ in more than numbers.
    for n in 0..100_000_u64 {
        let line =
            format!("NVRM: Xid (PCI:0000:3b:00): 13, pid={n}, name=a{n:x}, Graphics SM Warp Exception");
        scanner.record(record(n + 1, &line).as_bytes(), NOW, &mut out);
    }
    let lost = "NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.";
    scanner.record(record(100_001, lost).as_bytes(), NOW, &mut out);
    scanner.finish(NOW, &mut out);
    let is_it = |event: &Event| matches!(&event.what, What::Log(found) if found.line == lost);
    assert_eq!(out.iter().filter(|event| is_it(event)).count(), 1);
    let left_out = |event: &Event| if let What::Lost(lost) = &event.what { lost.count } else { 0 };
    assert!(out.iter().map(left_out).sum::<u64>() > 50_000);
}

#[test]
fn a_flood_hides_no_kill_and_what_stands_between_its_lines_is_found() {
    let mut scanner = scanner(Resume::After { seq: 0 });
    let mut out = Vec::new();
    let error = |n: u64| format!("EXT4-fs error (device sda1): ext4_lookup:1: inode #{n}: x");
    for n in 1..=20_000 {
        let line = match n {
            15_000 => kill(7),
            15_001 => "NETDEV WATCHDOG: eth0 (ixgbe): transmit queue 3 timed out".to_owned(),
            15_002 => "Kernel panic - not syncing: x".to_owned(),
            n => error(n),
        };
        scanner.record(record(n, &line).as_bytes(), NOW, &mut out);
    }
    scanner.finish(NOW, &mut out);
    let all = words(&out);
    let of = |word: &str| all.iter().filter(|one| *one == word).count();
    assert_eq!((of("oom x 7"), of("nic_hang"), of("kernel_panic")), (1, 1, 1), "{all:?}");
    let What::Log(last) = &out.iter().rev().find(|e| matches!(e.what, What::Log(_))).expect("one").what
    else {
        panic!()
    };
    assert_eq!(last.repeats.as_ref().map(|repeats| repeats.count), Some(20_000 - 3 - 100));
}

#[test]
fn the_dictionary_becomes_fields() {
    let record = "3,1,5140900,-;nvme nvme0: I/O error\n SUBSYSTEM=nvme\n DEVICE=+nvme:nvme0\n".to_owned();
    let events = live(&[record]);
    let What::Log(found) = &events[0].what else { panic!("{events:?}") };
    let fields: Vec<_> = found.fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(fields, ["device=nvme0", "subsystem=nvme", "kernel_device=+nvme:nvme0"]);
}

#[test]
fn user_patterns_apply_to_every_kernel_record() {
    let custom = [Custom { name: "mine", pattern: "Killed process", severity: Severity::Warn }];
    let scanner = Scanner::new(Arc::new(RuleSet::new(&custom, true).unwrap()), Resume::Fresh);
    assert_eq!(words(&read(scanner, &[record(1, &kill(1))], 0)), ["oom x 1", "mine"]);
}

#[test]
fn times_are_the_kernels_and_never_in_the_future() {
    let events = live(&[record(40, &kill(1)), record(41, "a"), record(5000, &kill(2))]);
    assert_eq!(events[0].at, Now { mono_ns: 40_000_000_000, wall_ns: 940_000_000_000 });
    assert_eq!(events.last().unwrap().at, NOW);
}

#[test]
fn unreadable_records_are_counted() {
    let mut scanner = scanner(Resume::Fresh);
    let mut out = Vec::new();
    for bytes in [&b"\xff\xfe"[..], b"", b"4,x,1,-;y"] {
        scanner.record(bytes, NOW, &mut out);
    }
    assert_eq!((scanner.unreadable(), out.len()), (3, 0));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..20)) {
        let mut scanner = scanner(Resume::Fresh);
        let mut out = Vec::new();
        for record in &records {
            scanner.record(record, NOW, &mut out);
        }
        scanner.drained(true, NOW, &mut out);
    }

    #[test]
    fn cut_and_shuffled_records_tell_no_more_victims(
        picks in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..60),
    ) {
        let all: Vec<String> = [
            raw(include_str!("../testdata/6.18-oom.kmsg")),
            raw(include_str!("../testdata/6.18-hang.kmsg")),
            dmesg(include_str!("../testdata/7.2.dmesg")),
        ]
        .concat();
        let mut scanner = scanner(Resume::Fresh);
        let mut out = Vec::new();
        let mut killed = 0;
        for (pick, end) in picks {
            let record = &all[pick.index(all.len())];
            let cut = &record.as_bytes()[..end.index(record.len() * 2).min(record.len())];
            killed += usize::from(String::from_utf8_lossy(cut).contains("Killed process"));
            scanner.record(cut, NOW, &mut out);
        }
        scanner.drained(true, NOW, &mut out);
        prop_assert!(ooms(&out).len() <= killed);
    }
}
