use super::*;
use crate::event::KillGroup;
use proptest::prelude::*;

fn tell(log: &str) -> Vec<Oom> {
    let mut text = OomText::default();
    log.lines().filter_map(|line| text.line(1_000_000, line)).collect()
}

fn one(log: &str) -> Oom {
    let mut ooms = tell(log);
    assert_eq!(ooms.len(), 1, "{ooms:?}");
    ooms.remove(0)
}

const INVOKED: &str = "java invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0";
const CPU: &str = "CPU: 4 UID: 33 PID: 63635 Comm: java Not tainted 6.18.0 #86";
const MEMORY: &str = "memory: usage 32768kB, limit 32768kB, failcnt 173";
const VERDICT: &str = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,task=java,pid=7,uid=33";
const KILLED: &str = "Memory cgroup out of memory: Killed process 7 (java) total-vm:100kB, anon-rss:90kB, file-rss:8kB, shmem-rss:1kB, UID:33 pgtables:4kB oom_score_adj:-5";

#[test]
fn a_kill_of_today() {
    let oom = one(&[INVOKED, CPU, "Call Trace:", MEMORY, VERDICT, KILLED].join("\n"));
    let expect = Oom {
        victim: Task {
            pid: Some(7),
            comm: Some("java".into()),
            uid: Some(33),
            cgroup: Some("/a/b".into()),
            ..Task::default()
        },
        victim_tgid: None,
        trigger: Task { pid: Some(63635), comm: Some("java".into()), uid: Some(33), ..Task::default() },
        trigger_tid: Some(63635),
        total_vm_kb: Some(100),
        anon_rss_kb: Some(90),
        file_rss_kb: Some(8),
        table_rss_kb: None,
        shmem_rss_kb: Some(1),
        pgtables_kb: Some(4),
        oom_score_adj: Some(-5),
        constraint: Some(Constraint::Memcg),
        oom_memcg: Some("/a".into()),
        limit_kb: Some(32768),
        usage_kb: Some(32768),
        failcnt: Some(173),
        gfp_mask: Some("0xcc0(GFP_KERNEL)".into()),
        order: Some(0),
        count: 1,
        ..Oom::default()
    };
    assert_eq!(oom, expect);
}

/// RHEL 7; the announced pid is a thread of the victim.
#[test]
fn a_kill_of_3_10() {
    let oom = one("java invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=-998\n\
         java cpuset=1e479e759020 mems_allowed=0\n\
         CPU: 9 PID: 14881 Comm: java Tainted: G    B          ------------ T 3.10.0-327.4.5.el7.x86_64 #1\n\
         Task in /kubepods/pod95387fa4/6895a killed as a result of limit of /kubepods/pod95387fa4\n\
         memory: usage 524288kB, limit 524288kB, failcnt 12\n\
         memory+swap: usage 524288kB, limit 9007199254740988kB, failcnt 0\n\
         [ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name\n\
         [28438]     0 28438  5063909   119961    1661   136409          -998 java\n\
         Memory cgroup out of memory: Kill process 24572 (java) score 0 or sacrifice child\n\
         Killed process 28438 (java) total-vm:20255636kB, anon-rss:466160kB, file-rss:13684kB");
    assert_eq!((oom.victim.pid, oom.trigger.pid), (Some(28438), Some(14881)));
    assert_eq!(oom.victim.cgroup, None, "the path is that of the announced task");
    assert_eq!(oom.oom_memcg.as_deref(), Some("/kubepods/pod95387fa4"));
    assert_eq!((oom.limit_kb, oom.failcnt, oom.shmem_rss_kb), (Some(524_288), Some(12), None));
    assert_eq!((oom.constraint, oom.gfp_mask.as_deref()), (Some(Constraint::Memcg), Some("0xd0")));
}

#[test]
fn the_announced_process_has_the_path() {
    let oom = one("Task in /a/b killed as a result of limit of /a\n\
         Memory cgroup out of memory: Kill process 5 (x) score 9 or sacrifice child\n\
         Killed process 5 (x), UID 48, total-vm:1kB, anon-rss:2kB, file-rss:0kB, shmem-rss:0kB");
    assert_eq!((oom.victim.cgroup.as_deref(), oom.victim.uid), (Some("/a/b"), Some(48)));
}

#[test]
fn a_global_kill_of_4_x_has_no_certain_constraint() {
    let oom = one(
        "x invoked oom-killer: gfp_mask=0x24201ca(GFP_HIGHUSER_MOVABLE|__GFP_COLD), nodemask=(null),  order=3, oom_score_adj=0\n\
         Out of memory: Kill process 5 (x) score 9 or sacrifice child\n\
         Killed process 5 (x) total-vm:1kB, anon-rss:2kB, file-rss:0kB, shmem-rss:0kB",
    );
    assert_eq!((oom.constraint, oom.order), (None, None));
    assert_eq!(oom.gfp_mask.as_deref(), Some("0x24201ca(GFP_HIGHUSER_MOVABLE|__GFP_COLD)"));
}

#[test]
fn constraints() {
    for (word, expect) in [
        ("CONSTRAINT_NONE", Constraint::None),
        ("CONSTRAINT_CPUSET", Constraint::Cpuset),
        ("CONSTRAINT_MEMORY_POLICY", Constraint::MemoryPolicy),
        ("CONSTRAINT_MEMCG", Constraint::Memcg),
        ("CONSTRAINT_MOON", Constraint::Other("CONSTRAINT_MOON".into())),
    ] {
        let log = format!(
            "oom-kill:constraint={word},nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/s,task=x,pid=5,uid=0\n\
             Out of memory: Killed process 5 (x) total-vm:1kB"
        );
        let oom = one(&log);
        assert_eq!(
            (oom.constraint, oom.oom_memcg, oom.victim.cgroup.as_deref()),
            (Some(expect), None, Some("/s"))
        );
    }
}

#[test]
fn killed_lines_with_hostile_names() {
    for (line, comm, pid, uid, total) in [
        ("Killed process 5 (a) b) total-vm:1kB, anon-rss:2kB", Some("a) b"), 5, None, Some(1)),
        ("Killed process 5 ()) total-vm:1kB", Some(")"), 5, None, Some(1)),
        ("Killed process 5 () total-vm:1kB", Some(""), 5, None, Some(1)),
        ("Killed process 5 (() total-vm:1kB", Some("("), 5, None, Some(1)),
        (
            "Killed process 5 () total-vm:9kB,) total-vm:1kB, UID:3 x",
            Some(") total-vm:9kB,"),
            5,
            Some(3),
            Some(1),
        ),
        (
            "Killed process 5 (a, UID:7 b\"'\\) total-vm:1kB, UID:3 x",
            Some("a, UID:7 b\"'\\"),
            5,
            Some(3),
            Some(1),
        ),
        ("Killed process 5 (a), UID 7,) total-vm:1kB, UID:3 x", Some("a), UID 7,"), 5, Some(3), Some(1)),
        ("Killed process 5 (a), UID 7,), UID 8, total-vm:1kB", Some("a), UID 7,"), 5, Some(8), Some(1)),
        (
            "Killed process 2592, UID 501, (java) total-vm:1kB, anon-rss:2kB",
            Some("java"),
            2592,
            Some(501),
            Some(1),
        ),
        ("Killed process 5 (java)", Some("java"), 5, None, None),
        ("Killed process 5 (ja", None, 5, None, None),
        ("Killed process 5", None, 5, None, None),
        ("Killed process 5 (java) total-vm:xkB", Some("java"), 5, None, None),
        (
            "Out of memory (oom_kill_allocating_task): Killed process 5 (x) total-vm:1kB",
            Some("x"),
            5,
            None,
            Some(1),
        ),
    ] {
        let oom = one(line);
        assert_eq!(oom.victim.comm.as_deref(), comm, "{line}");
        assert_eq!((oom.victim.pid, oom.victim.uid, oom.total_vm_kb), (Some(pid), uid, total), "{line}");
    }
}

#[test]
fn lines_that_are_no_kill() {
    for line in [
        "Killed process  (x) total-vm:1kB",
        "Killed process 99999999999 (x) total-vm:1kB",
        "killed process 5 (x) total-vm:1kB",
        " Killed process 5 (x) total-vm:1kB",
        "said: Killed process 5 (x) total-vm:1kB",
        "Killed process [123]: segfault at 0 ip 0",
        "oom_reaper: reaped process 5 (x), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
        "Out of memory: Kill process 5 (x) score 9 or sacrifice child",
        "Kill process 5 (x) sharing same memory",
        "Memory cgroup out of memory: OOM victim 5 (x) is already exiting. Skip killing the task",
        "Out of memory and no killable processes...",
        "",
    ] {
        assert_eq!(tell(line), [], "{line}");
    }
}

#[test]
fn hostile_names_in_the_verdict() {
    for (task, comm) in [
        ("task=a,pid=1,uid=2,pid=7,uid=33", "a,pid=1,uid=2"),
        ("task=a,task=b,pid=7,uid=33", "a,task=b"),
        ("task=,task_memcg=/x,pid=7,uid=33", ",task_memcg=/x"),
        ("task=,pid=7,uid=33", ""),
        ("task=a\nb,pid=7,uid=33", "a\nb"),
    ] {
        let verdict = format!(
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,{task}"
        );
        let mut text = OomText::default();
        assert_eq!(text.line(1, &verdict), None);
        let oom = text
            .line(1, &format!("Memory cgroup out of memory: Killed process 7 ({comm}) total-vm:1kB"))
            .unwrap();
        assert_eq!(oom.victim.comm.as_deref(), Some(comm));
        assert_eq!(
            (oom.oom_memcg.as_deref(), oom.victim.cgroup.as_deref()),
            (Some("/a"), Some("/a/b")),
            "{verdict}"
        );
        assert_eq!(oom.victim.uid, Some(33));
    }
}

#[test]
fn a_name_may_look_like_another_line() {
    let oom =
        one(&format!("memory: usage  invoked oom-killer: gfp_mask=0x1, order=0, oom_score_adj=0\n{KILLED}"));
    assert_eq!(oom.trigger.comm.as_deref(), Some("memory: usage "));
    let oom =
        one(&format!("Tasks in x invoked oom-killer: gfp_mask=0x1, order=-1, oom_score_adj=0\n{KILLED}"));
    assert_eq!((oom.trigger.comm.as_deref(), oom.order), (Some("Tasks in x"), Some(-1)));
}

#[test]
fn large_user_ids_are_printed_negative() {
    let log = "oom-kill:constraint=CONSTRAINT_NONE,task_memcg=/,task=x,pid=7,uid=-2\nOut of memory: Killed process 7 (x) total-vm:1kB";
    assert_eq!(one(log).victim.uid, Some(4_294_967_294));
}

#[test]
fn a_verdict_in_two_records() {
    let log = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)\n\
               ,cpuset=/,mems_allowed=0\n\
               ,oom_memcg=/a,task_memcg=/a/b,task=java,pid=7,uid=33\n\
               Memory cgroup out of memory: Killed process 7 (java) total-vm:1kB";
    let oom = one(log);
    assert_eq!((oom.oom_memcg.as_deref(), oom.victim.cgroup.as_deref()), (Some("/a"), Some("/a/b")));
}

#[test]
fn a_verdict_names_no_group_that_is_not() {
    let check = |verdict: &str, expect: [Option<&str>; 2]| {
        let log = format!(
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0{verdict}\n\
             Memory cgroup out of memory: Killed process 7 (java) total-vm:1kB"
        );
        let oom = one(&log);
        assert_eq!([oom.oom_memcg.as_deref(), oom.victim.cgroup.as_deref()], expect, "{verdict}");
    };
    let end = ",task=java,pid=7,uid=33";
    // Broken behind a key, and behind the first path.
    check(",oom_memcg=/r,task_memcg=", [Some("/r"), None]);
    check(",oom_memcg=/r", [Some("/r"), None]);
    check(",oom_memcg=", [None, None]);
    check(&format!(",oom_memcg=/r\n,task_memcg=/r/a{end}"), [Some("/r"), Some("/r/a")]);
    // A group named `x,task_memcg=` with `system.slice/sshd.service` below it.
    let forged = "/x,task_memcg=/system.slice/sshd.service";
    check(
        &format!(",oom_memcg={forged},task_memcg={forged}/a{end}"),
        [Some(forged), Some(&format!("{forged}/a"))],
    );
    check(&format!(",oom_memcg={forged}"), [None, None]);
    check(&format!(",oom_memcg={forged},task_memcg="), [Some(forged), None]);
    check(",oom_memcg=/x,task_memcg=/x/y,task_memcg=", [None, None]);
    check(&format!(",oom_memcg=/r,task_memcg=/q{end}"), [None, None]);
    check(&format!(",global_oom,task_memcg={forged}{end}"), [None, Some(forged)]);
    check(&format!(",global_oom,task_memcg=/x,oom_memcg=/y{end}"), [None, Some("/x,oom_memcg=/y")]);
}

#[test]
fn lines_of_others_between() {
    let noise = "CPU: 1 PID: 5 Comm: javac Not tainted\nCPU: 1 PID: 6 Comm: other Not tainted\nusb 1-1: reset\n, odd\nTask in hand\n";
    let oom = one(&[INVOKED, noise, CPU, noise, MEMORY, VERDICT, noise, KILLED].join("\n"));
    assert_eq!((oom.trigger.pid, oom.limit_kb), (Some(63635), Some(32768)));
}

#[test]
fn the_first_lines_may_be_missing() {
    let all = [INVOKED, CPU, MEMORY, VERDICT, KILLED];
    let full = one(&all.join("\n"));
    for from in 0..all.len() {
        let oom = one(&all[from..].join("\n"));
        assert_eq!(
            (&oom.victim.pid, oom.total_vm_kb, &oom.constraint),
            (&Some(7), Some(100), &Some(Constraint::Memcg))
        );
        assert_eq!(oom.trigger.comm.is_some(), from < 1);
        assert_eq!(oom.trigger.pid.is_some(), from < 1);
        assert_eq!(oom.limit_kb.is_some(), from < 3);
        assert_eq!(oom.victim.cgroup.is_some(), from < 4);
        assert_eq!(oom == full, from == 0);
    }
}

#[test]
fn a_kill_does_not_inherit_from_the_one_before() {
    let second = "Out of memory: Killed process 8 (other) total-vm:5kB";
    let ooms = tell(&[INVOKED, CPU, MEMORY, VERDICT, KILLED, second].join("\n"));
    assert_eq!(ooms.len(), 2);
    assert_eq!((&ooms[1].trigger, &ooms[1].constraint, ooms[1].limit_kb), (&Task::default(), &None, None));
    let again = [INVOKED, CPU, MEMORY, VERDICT, KILLED].join("\n");
    let ooms = tell(&format!("{again}\n{again}"));
    assert_eq!((ooms.len(), &ooms[0]), (2, &ooms[1]), "the same pid a second time is a second process");
}

#[test]
fn a_verdict_about_another_process_gives_no_victim_facts() {
    let oom =
        one(&[INVOKED, VERDICT, "Memory cgroup out of memory: Killed process 8 (child) total-vm:1kB"]
            .join("\n"));
    assert_eq!((oom.victim.cgroup, oom.victim.uid, oom.oom_memcg.as_deref()), (None, None, Some("/a")));
}

#[test]
fn a_whole_group() {
    let group = "Tasks in /a are going to be killed due to memory.oom.group set";
    let member =
        |pid: u32| format!("Memory cgroup out of memory: Killed process {pid} (w) total-vm:1kB, UID:9 x");
    let ooms =
        tell(&[INVOKED, MEMORY, VERDICT, KILLED, group, &member(7), &member(8), &member(9)].join("\n"));
    let pids: Vec<_> = ooms.iter().filter_map(|oom| oom.victim.pid).collect();
    assert_eq!(pids, [7, 8, 9], "the first victim is met again");
    for oom in &ooms[1..] {
        assert_eq!((oom.oom_memcg.as_deref(), oom.limit_kb), (Some("/a"), Some(32768)));
        assert_eq!((&oom.victim.cgroup, oom.victim.uid), (&None, Some(9)));
        assert_eq!(oom.group, Some(KillGroup { path: Some("/a".into()), first: Some(7), serial: None }));
    }
    assert_eq!(ooms[0].group, None, "the kernel says it after the first");
    let bare = tell(&[KILLED, group, &member(7), &member(8)].join("\n"));
    assert_eq!(bare.len(), 2);
}

#[test]
fn dumps_that_run_into_each_other_give_nothing_to_the_wrong_one() {
    let other = "mysqld invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0";
    let ooms = tell(
        &[
            INVOKED,
            other,
            "Task in /a killed as a result of limit of /a",
            "Task in /b killed as a result of limit of /b",
            MEMORY,
            "Memory cgroup out of memory: Kill process 1 (java) score 9 or sacrifice child",
            "Memory cgroup out of memory: Kill process 2 (mysqld) score 9 or sacrifice child",
            "Killed process 1 (java) total-vm:1kB",
            "Killed process 2 (mysqld) total-vm:2kB",
        ]
        .join("\n"),
    );
    assert_eq!(ooms.len(), 2);
    for oom in ooms {
        let told = (oom.trigger, oom.oom_memcg, oom.limit_kb, oom.victim.cgroup);
        assert_eq!(told, (Task::default(), None, None, None));
    }
    let oom = one(&[INVOKED, other, MEMORY, VERDICT, KILLED].join("\n"));
    assert_eq!(
        (oom.trigger, oom.limit_kb, oom.victim.cgroup.as_deref()),
        (Task::default(), None, Some("/a/b"))
    );
    assert_eq!(oom.oom_memcg.as_deref(), Some("/a"), "a verdict names its victim");
}

#[test]
fn a_dump_without_a_kill_ends() {
    for end in [
        "Out of memory and no killable processes...",
        "Memory cgroup out of memory: OOM victim 5 (x) is already exiting. Skip killing the task",
    ] {
        let oom = one(&[
            INVOKED,
            MEMORY,
            end,
            "mysqld invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0",
            KILLED,
        ]
        .join("\n"));
        assert_eq!((oom.trigger.comm.as_deref(), oom.limit_kb), (Some("mysqld"), None));
    }
}

#[test]
fn old_lines_are_forgotten() {
    let mut text = OomText::default();
    for line in [INVOKED, MEMORY, VERDICT] {
        assert_eq!(text.line(0, line), None);
    }
    let oom = text.line(MAX_AGE_US + 1, KILLED).unwrap();
    assert_eq!((oom.trigger, oom.limit_kb, oom.victim.cgroup), (Task::default(), None, None));
}

#[test]
fn absurd_limits_are_none() {
    for limit in ["9007199254740988", "18014398509481983", "99999999999999999999", "x"] {
        let oom = one(&format!("memory: usage 5kB, limit {limit}kB, failcnt 0\n{KILLED}"));
        assert_eq!((oom.usage_kb, oom.limit_kb, oom.failcnt), (Some(5), None, Some(0)));
    }
    let oom = one(&format!("memory: usage 5kB\n{KILLED}"));
    assert_eq!((oom.usage_kb, oom.limit_kb, oom.failcnt), (Some(5), None, None));
}

fn any_line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(INVOKED.to_owned()),
        Just(CPU.to_owned()),
        Just(MEMORY.to_owned()),
        Just(VERDICT.to_owned()),
        Just(KILLED.to_owned()),
        Just("Tasks in /a are going to be killed due to memory.oom.group set".to_owned()),
        Just("Task in /a/b killed as a result of limit of /a".to_owned()),
        Just("Memory cgroup out of memory: Kill process 7 (java) score 9 or sacrifice child".to_owned()),
        Just("Killed process 8 (x), UID 4, total-vm:1kB".to_owned()),
        "\\PC{0,60}",
    ]
}

proptest! {
    #[test]
    fn no_mixture_tells_more_victims_than_killed_lines(
        lines in proptest::collection::vec((any_line(), any::<prop::sample::Index>(), any::<bool>()), 0..40),
    ) {
        let mut text = OomText::default();
        let mut told = 0;
        let mut killed = 0;
        for (line, at, whole) in &lines {
            let end = if *whole { line.len() } else { line.floor_char_boundary(at.index(line.len() + 1)) };
            let line = &line[..end];
            killed += usize::from(line.contains("Killed process"));
            if let Some(oom) = text.line(1, line) {
                told += 1;
                prop_assert!(oom.victim.pid.is_some() && oom.count == 1);
            }
        }
        prop_assert!(told <= killed);
    }
}
