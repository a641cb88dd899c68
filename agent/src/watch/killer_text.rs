//! Kills by user-space killers out of their own words: systemd-oomd, earlyoom, oomd.
//!
//! They write to the journal or to syslog; what is in `/dev/kmsg` of it was written there by a process
//! (oomd does, journald with `ForwardToKMsg=`, systemd early in the boot). Anybody with that right can write
//! the same, so a line here is never taken for the kernel's.

use crate::event::{Task, UserKill};

/// Longest process name, bytes: `TASK_COMM_LEN` less its NUL, each byte perhaps replaced by U+FFFD.
const MAX_COMM: usize = 45;
/// Longest command line and reason kept, bytes.
const MAX_TEXT: usize = 512;

/// What a record that a process wrote to `/dev/kmsg` tells of a kill: `systemd-oomd[659]: Killed …`.
pub fn kmsg_line(text: &str) -> Option<UserKill> {
    let (head, said) = text.split_once(": ")?;
    // Of oomd, which writes no name of its own.
    if head == "oomd kill" {
        return oomd(said);
    }
    let (name, pid) = match head.split_once('[') {
        Some((name, pid)) => (name, pid.strip_suffix(']')?.parse().ok()),
        None => (head, None),
    };
    Some(UserKill { killer_pid: pid, ..parse(name, said)? })
}

/// What a message of the program `name` tells of a kill.
pub fn parse(name: &str, text: &str) -> Option<UserKill> {
    match name {
        "systemd-oomd" => systemd_oomd(text),
        "earlyoom" => earlyoom(text),
        "oomd" => oomd(text.strip_prefix("oomd kill: ")?),
        _ => None,
    }
}

/// `Killed PATH due to REASON` (247 to 258), `Marked PATH for killing due to REASON` (later).
fn systemd_oomd(text: &str) -> Option<UserKill> {
    let (path, reason) = match text.strip_prefix("Killed ") {
        Some(rest) => rest.split_once(" due to ")?,
        None => text.strip_prefix("Marked ")?.split_once(" for killing due to ")?,
    };
    path.starts_with('/').then_some(())?;
    let victim = Task { cgroup: Some(path.to_owned()), ..Task::default() };
    Some(UserKill { killer: "systemd-oomd", victim, reason: Some(cut(reason)), ..UserKill::default() })
}

/// `sending SIGTERM to process 5 uid 0 "java": badness 9, VmRSS 3 MiB` and `…, cmdline "java -jar x"`; before
/// 1.6 without the user, from 1.8 with `oom_score` for `badness`.
fn earlyoom(text: &str) -> Option<UserKill> {
    let rest = text.strip_prefix("sending ")?;
    // A test at the start sends signal 0.
    let signal = ["SIGTERM", "SIGKILL"].into_iter().find(|signal| rest.starts_with(signal))?;
    let (pid, rest) = number(rest[signal.len()..].strip_prefix(" to process ")?)?;
    let (uid, rest) = match rest.strip_prefix(" uid ").and_then(number) {
        Some((uid, rest)) => (u32::try_from(uid).ok(), rest),
        None => (None, rest),
    };
    let rest = rest.strip_prefix(" \"")?;
    // The name may hold what follows it; it is short, and a command line is not.
    let head = &rest[..rest.floor_char_boundary(MAX_COMM + "\": oom_score ".len())];
    let end = ["\": badness ", "\": oom_score "].iter().filter_map(|end| head.rfind(end)).max();
    // A name with a line break ends the line: what follows it is lost, the kill is not.
    let end = end.or_else(|| (rest.len() < MAX_COMM && !rest.contains('"')).then_some(rest.len()))?;
    let facts = &rest[end..];
    let mib = facts.split_once(", VmRSS ").and_then(|(_, rest)| number(rest));
    let cmdline =
        facts.split_once(", cmdline \"").map(|(_, line)| cut(line.trim_end().trim_end_matches('"')));
    let comm = Some(rest[..end].to_owned());
    let victim = Task { pid: Some(u32::try_from(pid).ok()?), comm, uid, cmdline, ..Task::default() };
    let rss_kb = mib.map(|(mib, _)| mib.saturating_mul(1024));
    Some(UserKill { killer: "earlyoom", victim, rss_kb, signal: Some(signal), ..UserKill::default() })
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

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `killer writer pid comm cgroup`, `-` for nothing.
    fn check(line: &str, expect: &str) {
        let show = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        let is = kmsg_line(line).map(|kill| {
            let number = |n: Option<u32>| show(n.map(|n| n.to_string()));
            let (pid, writer) = (number(kill.victim.pid), number(kill.killer_pid));
            let (comm, cgroup) = (show(kill.victim.comm), show(kill.victim.cgroup));
            format!("{} {writer} {pid} {comm} {cgroup}", kill.killer)
        });
        assert_eq!(is.as_deref().unwrap_or("nothing"), expect, "{line}");
    }

    #[test]
    fn systemd_oomd_of_all_versions() {
        const SCOPE: &str = "/user.slice/user-1001.slice/user@1001.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-dbb4a75e-031f-480d-924b-5de5af7579d2.scope";
        let why = "memory pressure for /user.slice/user-1001.slice/user@1001.service being 51.07% > 50.00% for > 20s with reclaim activity";
        let expect = format!("systemd-oomd 840 - - {SCOPE}");
        check(&format!("systemd-oomd[840]: Killed {SCOPE} due to {why}"), &expect);
        check(&format!("systemd-oomd[840]: Marked {SCOPE} for killing due to {why}"), &expect);
        check(
            "systemd-oomd[1]: Killed /system.slice/a.service due to memory used (1) / total (2) and swap used (3) / total (4) being more than 90.00%",
            "systemd-oomd 1 - - /system.slice/a.service",
        );
        let kill = parse("systemd-oomd", &format!("Killed {SCOPE} due to {why}")).unwrap();
        assert_eq!(kill.reason.as_deref(), Some(why));
        for other in [
            "systemd-oomd[659]: Memory pressure for /system.slice is 85.03% > 80.00% for > 2s with reclaim activity",
            "systemd-oomd[659]: oomd attempting to kill 407 with KILL",
            "systemd-oomd[659]: Considered 19 cgroups for killing, top candidates were:",
            "systemd-oomd[659]: Failed to kill any cgroup(s) under /a based on pressure: No such device",
            "systemd-oomd[659]: Killed relative/path due to memory",
            "systemd[1]: systemd-journald.service: systemd-oomd killed 1 process(es) in this unit.",
        ] {
            check(other, "nothing");
        }
    }

    #[test]
    fn earlyoom_of_all_versions() {
        check(
            "earlyoom[1233]: sending SIGTERM to process 29410 uid 1000 \"cluster\": badness 1264, VmRSS 23964 MiB",
            "earlyoom 1233 29410 cluster -",
        );
        check(
            "earlyoom: sending SIGKILL to process 12006 \"python3\": badness 209, VmRSS 2891 MiB",
            "earlyoom - 12006 python3 -",
        );
        let new = "sending SIGTERM to process 7 uid 5 \"java\": oom_score 900, oom_score_adj 0, VmRSS 3 MiB, cmdline \"java -jar \"x\": badness 1, VmRSS 9 MiB\"";
        let kill = parse("earlyoom", new).unwrap();
        assert_eq!(
            (kill.victim.comm.as_deref(), kill.victim.uid, kill.rss_kb),
            (Some("java"), Some(5), Some(3072))
        );
        assert_eq!(kill.victim.cmdline.as_deref(), Some("java -jar \"x\": badness 1, VmRSS 9 MiB"));
        assert_eq!(kill.signal, Some("SIGTERM"));
        check(
            "earlyoom[1]: sending SIGTERM to process 5 uid 0 \"a\": badness 1\": badness 2, VmRSS 9 MiB",
            "earlyoom 1 5 a\": badness 1 -",
        );
        check("earlyoom[1]: sending SIGTERM to process 5 uid 0 \"a", "earlyoom 1 5 a -");
        for other in [
            "b\": badness 1, VmRSS 9 MiB",
            "earlyoom[1]: sending 0 (no-op signal) to process 5 uid 0 \"a\": badness 1, VmRSS 9 MiB",
            "earlyoom[1]: low memory! at or below SIGTERM limits: mem 10.00%, swap 10.00%",
            "earlyoom[1]: process 5 exited after 0.1 seconds",
            "earlyoom[1]: sending SIGTERM to process -5 uid 0 \"a\": badness 1",
            "earlyoom[1]: sending SIGTERM to process 99999999999 uid 0 \"a\": badness 1",
            "sending SIGTERM to process 5 uid 0 \"a\": badness 1, VmRSS 9 MiB",
        ] {
            check(other, "nothing");
        }
    }

    #[test]
    fn oomd_of_facebook() {
        let line = "oomd kill: 61.20 40.10 12.00 system.slice/foo.service 4096000 ruleset:[memory pressure] detectorgroup:[above 60] killer:kill_by_memory_size_or_growth v2";
        check(line, "oomd - - - /system.slice/foo.service");
        assert_eq!(kmsg_line(line).unwrap().usage_kb, Some(4000));
        check("oomd kill: 1 2 3 a b/c d 5 detector:pressure60 killer:memory_size", "oomd - - - /a b/c d");
        for other in [
            "oomd kill: 1 2 3 a 5 ruleset:[r] detectorgroup:[d] killer:(dry)kill v2",
            "oomd kill: restarted systemd service=foo",
            "oomd kill: 1 2 a 5 ruleset:[r]",
            "oomd kill: 1 2 3 a x ruleset:[r]",
            "oomd kill: ",
        ] {
            check(other, "nothing");
        }
    }

    #[test]
    fn what_only_looks_like_it() {
        for line in [
            "",
            ": ",
            "Out of memory: Killed process 1 (init) total-vm:1kB",
            "systemd-oomd[x]: Killed /a due to b",
            "systemd-oomd[1]x: Killed /a due to b",
            "systemd-oomd[1: Killed /a due to b",
            "not-systemd-oomd[1]: Killed /a due to b",
            "systemd-oomd[1]: ",
        ] {
            let kill = kmsg_line(line);
            // A pid that is none is not told; the rest may be true.
            assert!(
                kill.as_ref().is_none_or(|k| k.killer_pid.is_none() && line.contains("[x]")),
                "{line}: {kill:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(systemd-oomd|earlyoom|oomd kill|: |\\[|\\]|Killed /|sending SIGTERM to process |5| uid |\"|\": badness |, VmRSS |, cmdline \"| ruleset:\\[|\\PC){0,20}") {
            let _ = kmsg_line(&text);
        }
    }
}
