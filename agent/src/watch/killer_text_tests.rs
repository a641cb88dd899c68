//! Messages of killers as their versions write them, and what hostile names make of them.

use super::*;
use proptest::prelude::*;

/// One line a word: `kill|announce killer pid comm cgroup rss`, `-` for nothing.
fn show(word: &Word) -> String {
    let kill = |what: &str, kill: &UserKill| {
        let or = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        let victim = &kill.victim;
        let (comm, cgroup) = (or(victim.comm.clone()), or(victim.cgroup.clone()));
        let (pid, rss) = (or(victim.pid.map(|n| n.to_string())), or(kill.rss_kb.map(|n| n.to_string())));
        format!("{what} {pid} {comm} {cgroup} {rss}")
    };
    match word {
        Word::Killed(it) => kill("killed", it),
        Word::Announced { kill: it, quotes: false } => kill("announced", it),
        Word::Announced { kill: it, quotes: true } => kill("quoted", it),
        Word::Ended(pid) => format!("ended {}", pid.unwrap_or(0)),
        Word::NotDone => "not done".into(),
        Word::Why(text) => format!("why {text}"),
        Word::Looked(text) => format!("looked {text}"),
    }
}

fn check(name: &str, text: &str, expect: &str) {
    let word = parse(name, text);
    assert_eq!(word.as_ref().map_or("nothing".into(), show), expect, "{text:?}");
}

const WHY: &str = "memory pressure for /user.slice/user-1001.slice/user@1001.service being 51.07% > 50.00% for > 20s with reclaim activity";

#[test]
fn systemd_oomd_of_all_versions() {
    const SCOPE: &str = "/user.slice/user-1001.slice/user@1001.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-dbb4a75e.scope";
    const SWAP: &str = "memory used (16260780032) / total (16419115008) and swap used (29560922112) / total (32838500352) being more than 90.00%";
    let oomd = |text: &str, expect: &str| check("systemd-oomd", text, expect);
    for why in [WHY, SWAP] {
        oomd(&format!("Killed {SCOPE} due to {why}"), &format!("killed - - {SCOPE} -"));
        oomd(&format!("Marked {SCOPE} for killing due to {why}"), &format!("announced - - {SCOPE} -"));
    }
    let Some(Word::Killed(kill)) = parse("systemd-oomd", &format!("Killed {SCOPE} due to {WHY}")) else {
        panic!("a kill")
    };
    assert_eq!(kill.reason.as_deref(), Some(WHY));
    // Rules: 261.
    let rule =
        "Rule 'low_memory' conditions met for cgroup /user.slice (lasting 1s), taking action kill-by-swap";
    oomd(rule, &format!("why {rule}"));
    oomd("Marked /a.slice/a.service for killing due to rule 'x'", "announced - - /a.slice/a.service -");
    for other in [
        "Memory pressure for /system.slice is 85.03% > 80.00% for > 2s with reclaim activity",
        "oomd attempting to kill 407 with KILL",
        "oomd dry-run: Would have tried to kill /sys/fs/cgroup/a and all its descendants",
        "Considered 19 cgroups for killing, top candidates were:",
        "Failed to kill any cgroup(s) under /a based on pressure: No such device",
        "Killed relative/path due to memory",
        "Killed /path",
        "Marked /path due to memory",
        "",
    ] {
        oomd(other, "nothing");
    }
}

#[test]
fn a_group_may_have_any_name() {
    let group = |name: &str| {
        check("systemd-oomd", &format!("Killed /a/{name} due to {WHY}"), &format!("killed - - /a/{name} -"));
    };
    group("x due to memory");
    group("x due to memory pressure for /b being 1%");
    group("x\nKilled /etc due to memory used (1)");
    group("x for killing due to y");
    // One message is one kill, and its first word counts.
    check("systemd-oomd", &format!("x\nKilled /a due to {WHY}"), "nothing");
}

#[test]
fn what_systemd_says_of_its_units() {
    let check =
        |text: &str, expect: Option<(&str, Option<u64>)>| assert_eq!(unit_line(text), expect, "{text}");
    check(
        "nix-daemon.service: systemd-oomd killed 20 process(es) in this unit.",
        Some(("nix-daemon.service", Some(20))),
    );
    check("a.scope: systemd-oomd killed some process(es) in this unit.", Some(("a.scope", None)));
    for other in [
        "a.service: systemd-oomd killed x process(es) in this unit.",
        "a.service: systemd-oomd killed 1 process(es) in this unit. ",
        "a.service: A process of this unit has been killed by the OOM killer.",
        "/a.service: systemd-oomd killed 1 process(es) in this unit.",
        "a: systemd-oomd killed 1 process(es) in this unit.",
        "x.y\na.service: systemd-oomd killed 1 process(es) in this unit.",
        "a.service: systemd-oomd killed 99999999999999999999 process(es) in this unit.",
        "",
    ] {
        check(other, None);
    }
}

#[test]
fn earlyoom_of_all_versions() {
    let early = |text: &str, expect: &str| check("earlyoom", text, expect);
    early(
        r#"sending SIGTERM to process 29410 uid 1000 "cluster": badness 1264, VmRSS 23964 MiB"#,
        "announced 29410 cluster - 24539136",
    );
    early(
        r#"sending SIGKILL to process 12006 "python3": badness 209, VmRSS 2891 MiB"#,
        "announced 12006 python3 - 2960384",
    );
    let new = r#"sending SIGTERM to process 7 uid 5 "java": oom_score 900, oom_score_adj 0, VmRSS 3 MiB, cmdline "java -jar "x": badness 1, VmRSS 9 MiB""#;
    early(new, "quoted 7 java - 3072");
    let Some(Word::Announced { kill, .. }) = parse("earlyoom", new) else { panic!("a kill") };
    assert_eq!((kill.victim.uid, kill.signal), (Some(5), Some("SIGTERM")));
    assert_eq!(kill.victim.cmdline.as_deref(), Some("java -jar \"x\": badness 1, VmRSS 9 MiB"));
    early(
        r#"sending SIGTERM to process 7 uid 5 "a": oom_score 9, oom_score_adj 0, badness 8 KiB, VmRSS 3 MiB, ordering rss, cmdline "a""#,
        "quoted 7 a - 3072",
    );
    early("process exited after 0.1 seconds", "ended 0");
    early("process 5 exited after 0.100 seconds", "ended 5");
    early("dryrun, not actually sending any signal", "not done");
    early("kill failed: Operation not permitted", "not done");
    early("kill failed: No such process", "not done");
    early("kill failed: Timer expired", "nothing");
    early(
        "low memory! at or below SIGTERM limits: mem 10.00%, swap 10.00%",
        "why low memory! at or below SIGTERM limits: mem 10.00%, swap 10.00%",
    );
    early(
        "mem avail:    40 of  962 MiB ( 4.16%), swap free: 0",
        "looked mem avail:    40 of  962 MiB ( 4.16%), swap free: 0",
    );
    for other in [
        "earlyoom 1.7",
        "escalating to SIGKILL after 0.5 seconds",
        "process 5 did not exit",
        "process 5 exited after x seconds",
        "process 99999999999 exited after",
        r#"sending 0 (no-op signal) to process 5 uid 0 "a": badness 1, VmRSS 9 MiB"#,
        r#"sending SIGTERM to process -5 uid 0 "a": badness 1, VmRSS 9 MiB"#,
        r#"sending SIGTERM to process 99999999999 uid 0 "a": badness 1, VmRSS 9 MiB"#,
        r#"sending SIGTERM to process 5 uid 0 "a": badness 1"#,
        r#"sending SIGTERM to process 5 uid 0 "a": badness 1, VmRSS 9 MiB and more"#,
        r#" sending SIGTERM to process 5 uid 0 "a": badness 1, VmRSS 9 MiB"#,
        r#"x sending SIGTERM to process 5 uid 0 "a": badness 1, VmRSS 9 MiB"#,
    ] {
        early(other, "nothing");
    }
}

/// What the journal has of a victim's line break: an entry a line.
#[test]
fn a_process_may_have_any_name() {
    let early = |name: &str, expect: &[&str]| {
        let text = format!("sending SIGTERM to process 5 uid 0 \"{name}\": badness 1, VmRSS 9 MiB");
        let words: Vec<String> = text
            .split('\n')
            .map(|line| parse("earlyoom", line).as_ref().map_or("nothing".into(), show))
            .collect();
        assert_eq!(words, expect, "{name:?}");
        // All at once it is one message.
        assert_eq!(parse("earlyoom", &text).as_ref().map(show).as_deref(), Some(expect[0]), "{name:?}");
    };
    early("a", &["announced 5 a - 9216"]);
    early("a\": badness 1", &["announced 5 a\": badness 1 - 9216"]);
    early("a\nb", &["quoted 5 a - -", "nothing"]);
    early("\nkill failed: x", &["quoted 5  - -", "nothing"]);
    early("\nkill failed: No such process", &["quoted 5  - -", "nothing"]);
    early("\nlow memory!", &["quoted 5  - -", "why low memory!\": badness 1, VmRSS 9 MiB"]);
    early("\n\n\n", &["quoted 5  - -", "nothing", "nothing", "nothing"]);
}

#[test]
fn oomd_of_facebook() {
    let check = |line: &str, expect: &str| {
        let said =
            kmsg_line(line).map(|(name, pid, word)| format!("{name} {} {}", pid.unwrap_or(0), show(&word)));
        assert_eq!(said.as_deref().unwrap_or("nothing"), expect, "{line}");
    };
    let line = "oomd kill: 61.20 40.10 12.00 system.slice/foo.service 4096000 ruleset:[memory pressure] detectorgroup:[above 60] killer:kill_by_memory_size_or_growth v2";
    check(line, "oomd 0 killed - - /system.slice/foo.service -");
    check(
        "oomd kill: 1 2 3 a b/c d 5 detector:pressure60 killer:memory_size",
        "oomd 0 killed - - /a b/c d -",
    );
    for other in [
        "oomd kill: 1 2 3 a 5 ruleset:[r] detectorgroup:[d] killer:(dry)kill v2",
        "oomd kill: restarted systemd service=foo",
        "oomd kill: 1 2 a 5 ruleset:[r]",
        "oomd kill: 1 2 3 a x ruleset:[r]",
        "oomd kill: ",
        "",
        ": ",
        "Out of memory: Killed process 1 (init) total-vm:1kB",
        "systemd-oomd[1]x: Killed /a due to b",
        "systemd-oomd[1: Killed /a due to b",
        "not-systemd-oomd[1]: Killed /a due to b",
        "systemd-oomd[1]: ",
        "systemd[1]: Killed /a due to b",
    ] {
        check(other, "nothing");
    }
    check("systemd-oomd[840]: Killed /a due to b", "systemd-oomd 840 killed - - /a -");
    // A pid that is none is not told; the rest may be true.
    check("systemd-oomd[x]: Killed /a due to b", "systemd-oomd 0 killed - - /a -");
    check("earlyoom: process 5 exited after 0.1 seconds", "earlyoom 0 ended 5");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(systemd-oomd|earlyoom|oomd kill|: |\\[|\\]|Killed /|Marked /| due to |memory used \\(|sending SIGTERM to process |process |exited after |5| seconds| uid |\"|\": badness |, VmRSS |, cmdline \"| MiB| ruleset:\\[|\n|\\PC){0,20}") {
        let _ = kmsg_line(&text);
        let _ = (parse("earlyoom", &text), parse("systemd-oomd", &text), unit_line(&text));
    }

    /// Whatever a name holds, no later line of the message is a kill.
    #[test]
    fn no_name_is_a_second_kill(name in "(\n|\"|: |sending SIGTERM to process 1 |uid 0|badness 1|, VmRSS 9 MiB|\\PC){0,9}") {
        let name: String = name.chars().take(15).collect();
        let text = format!("sending SIGTERM to process 5 uid 0 \"{name}\": badness 1, VmRSS 9 MiB");
        for line in text.split('\n').skip(1) {
            let is_kill = matches!(parse("earlyoom", line), Some(Word::Announced { .. } | Word::Killed(_)));
            prop_assert!(!is_kill, "{}", line);
        }
    }
}
