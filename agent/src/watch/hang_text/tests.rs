//! Texts of all kernel generations, and hostile ones.

use super::*;
use proptest::prelude::*;

fn tell(log: &str) -> Vec<Hang> {
    let mut out = Vec::new();
    let mut text = HangText::default();
    for line in log.lines() {
        text.line(1, line, &mut |_, hang| out.push(hang));
    }
    text.flush(&mut |_, hang| out.push(hang));
    out
}

fn first(line: &str) -> Option<(String, u32, u64)> {
    let hang = tell(line).into_iter().next()?;
    Some((hang.task.comm?, hang.task.pid?, hang.blocked_secs?))
}

#[test]
fn first_lines() {
    for (line, expect) in [
        ("INFO: task java:1234 blocked for more than 120 seconds.", Some(("java", 1234, 120))),
        (
            "INFO: task kworker/u146:16:495 blocked for more than 120 seconds.",
            Some(("kworker/u146:16", 495, 120)),
        ),
        ("INFO: task dd:5 blocked in I/O wait for more than 9 seconds.", Some(("dd", 5, 9))),
        ("INFO: task a blocked b:7 blocked for more than 2 seconds.", Some(("a blocked b", 7, 2))),
        ("INFO: task :7 blocked for more than 2 seconds.", Some(("", 7, 2))),
        ("INFO: task java blocked for more than 120 seconds.", None),
        ("INFO: task java:x blocked for more than 120 seconds.", None),
        ("INFO: task java:1 blocked for more than x seconds.", None),
        ("INFO: task java:99999999999 blocked for more than 1 seconds.", None),
        ("INFO: rcu_sched self-detected stall on CPU", None),
        (" INFO: task java:1 blocked for more than 1 seconds.", None),
    ] {
        let expect = expect.map(|(comm, pid, secs)| (comm.to_owned(), pid, secs));
        assert_eq!(first(line), expect, "{line}");
    }
}

#[test]
fn a_stack_of_3_10() {
    let hangs = tell(
        "INFO: task glusterfsd:26120 blocked for more than 120 seconds.\n\
         \"echo 0 > /proc/sys/kernel/hung_task_timeout_secs\" disables this message.\n\
         glusterfsd      D ffff8817dddf80b0     0 26120  26119 0x00000080\n \
         ffff882fd0627c70 0000000000000086 ffff880844fe8fb0 ffff882fd0627fd8\n\
         Call Trace:\n \
         [<ffffffff8168c889>] schedule_preempt_disabled+0x29/0x70\n \
         [<ffffffff8168a4e5>] __mutex_lock_slowpath+0xc5/0x1c0\n \
         [<ffffffff8168994f>] ? unsure+0x1f/0x2f\n \
         [<ffffffff8168994f>] mutex_lock+0x1f/0x2f\n",
    );
    assert_eq!(hangs.len(), 2);
    assert!(hangs[0].stack.is_empty());
    let frames =
        ["schedule_preempt_disabled+0x29/0x70", "__mutex_lock_slowpath+0xc5/0x1c0", "mutex_lock+0x1f/0x2f"];
    assert_eq!(hangs[1].stack, frames);
    assert_eq!(hangs[1].wchan.as_deref(), Some("__mutex_lock_slowpath"));
    assert_eq!(hangs[1].task, hangs[0].task);
}

#[test]
fn what_it_waits_for_is_told_and_the_holders_stack_is_not_taken() {
    let hangs = tell(
        "INFO: task a:1 blocked for more than 9 seconds.\n\
         task:a state:D stack:0 pid:1 tgid:1 ppid:0 task_flags:0x0 flags:0x0\n\
         Call Trace:\n <TASK>\n __schedule+0x1/0x2\n mutex_lock+0x1/0x2\n </TASK>\n\
         INFO: task a:1 is blocked on a mutex likely owned by task b:2.\n\
         task:b state:S stack:0 pid:2 tgid:2 ppid:0 task_flags:0x0 flags:0x0\n\
         Call Trace:\n <TASK>\n __schedule+0x1/0x2\n msleep+0x1/0x2\n </TASK>\n",
    );
    assert_eq!(hangs.len(), 2);
    assert_eq!(hangs[1].stack, ["__schedule+0x1/0x2", "mutex_lock+0x1/0x2"]);
    let owner = hangs[1].lock.as_ref().and_then(|lock| lock.owner.as_ref()).unwrap();
    assert_eq!((owner.pid, owner.comm.as_str()), (2, "b"));
    assert_eq!(hangs[1].wchan.as_deref(), Some("mutex_lock"));
}

#[test]
fn two_tasks_one_after_the_other() {
    let hangs = tell(
        "INFO: task a:1 blocked for more than 9 seconds.\nCall Trace:\n schedule+0x1/0x2\n down+0x1/0x2\n\
         INFO: task b:2 blocked for more than 9 seconds.\nCall Trace:\n schedule+0x1/0x2\n wait+0x1/0x2\n",
    );
    let told: Vec<_> = hangs.iter().map(|h| (h.task.pid.unwrap(), h.wchan.as_deref())).collect();
    assert_eq!(told, [(1, None), (1, Some("down")), (2, None), (2, Some("wait"))]);
}

#[test]
fn lines_of_others_do_not_cut_a_stack_until_they_are_many() {
    let noise = "usb 1-1: new device\n";
    let log = |n| {
        let noise = noise.repeat(n);
        format!(
            "INFO: task a:1 blocked for more than 9 seconds.\nCall Trace:\n down+0x1/0x2\n{noise} up+0x1/0x2\n"
        )
    };
    assert_eq!(tell(&log(2))[1].stack.len(), 2);
    assert_eq!(tell(&log(50))[1].stack.len(), 1);
}

#[test]
fn a_deep_stack_is_cut() {
    let frames = " f+0x1/0x2\n".repeat(99);
    let hangs = tell(&format!("INFO: task a:1 blocked for more than 9 seconds.\nCall Trace:\n{frames}"));
    assert_eq!((hangs.len(), hangs[1].stack.len()), (2, MAX_FRAMES));
}

#[test]
fn not_frames() {
    for line in
        [" <TASK>", "RIP: 0033:0x7f179cefd011", " RAX: 0 RBX: 0", " a b+0x1/0x2", " f+0x1", " [<f", ""]
    {
        assert_eq!(frame(line), None, "{line}");
    }
}

proptest! {
    #[test]
    fn no_lines_make_it_panic_or_grow(lines in proptest::collection::vec("(INFO: task |task:|Call Trace:| f\\+0x1/0x2|a:1 |is blocked on | blocked on a semaphore likely last held by task | 2 locks held by a/1:| #0: |<reader>|====| blocked for more than 1 seconds\\.| pid:1|[ -~é]){0,5}", 0..30)) {
        let hangs = tell(&lines.join("\n"));
        prop_assert!(hangs.len() <= 3 * lines.len());
        prop_assert!(hangs.iter().all(|h| h.stack.len() <= MAX_FRAMES && h.held_locks.len() <= MAX_LOCKS));
    }
}

/// `kind wanted-as owner:pid held-as` of what the kernel says the task `comm`:`pid` is blocked on.
fn check_lock(comm: &str, pid: u32, line: &str, expect: Option<&str>) {
    let log = format!("INFO: task {comm}:{pid} blocked for more than 9 seconds.\n{line}");
    let lock = tell(&log).pop().unwrap().lock.map(|lock| {
        let side = |side: Option<crate::event::Side>| side.map_or("-", crate::event::Side::name);
        let owner =
            lock.owner.map_or("-".to_owned(), |o| format!("{}:{} {}", o.comm, o.pid, side(o.held_as)));
        format!("{} {} {owner}", lock.kind.name(), side(lock.wanted_as))
    });
    assert_eq!(lock.as_deref(), expect, "{line}");
}

#[test]
fn blockers_in_all_their_forms() {
    for (line, expect) in [
        ("INFO: task a:1 is blocked on a mutex likely owned by task b:2.", Some("mutex - b:2 -")),
        ("INFO: task a:1 is blocked on a mutex, but the owner is not found.", Some("mutex - -")),
        ("INFO: task a:1 blocked on a semaphore likely last held by task b:2", Some("semaphore - b:2 -")),
        (
            "INFO: task a:1 is blocked on a semaphore, but the last holder is not found.",
            Some("semaphore - -"),
        ),
        (
            "INFO: task a:1 <writer> blocked on an rw-semaphore likely owned by task kworker/u16:0:12 <reader>",
            Some("rwsem writer kworker/u16:0:12 reader"),
        ),
        (
            "INFO: task a:1 <reader> blocked on an rw-semaphore likely owned by task b:2 <writer>",
            Some("rwsem reader b:2 writer"),
        ),
        ("INFO: task a:1 is blocked on an rw-semaphore, but the owner is not found.", Some("rwsem - -")),
        ("INFO: task a:1 is blocked on a spoon likely owned by task b:2.", None),
        ("INFO: task a:1 is blocked on a mutex likely owned by task b:x.", None),
        ("INFO: task a:1 is blocked on a mutex likely owned by task b.", None),
        ("INFO: task a:1 is blocked on a mutex likely owned by task b:99999999999.", None),
        ("INFO: task a:2 is blocked on a mutex likely owned by task b:2.", None),
        ("INFO: task b:1 is blocked on a mutex likely owned by task b:2.", None),
        ("INFO: task a:1", None),
        ("INFO: task a:", None),
        ("INFO: task a:1é", None),
    ] {
        check_lock("a", 1, line, expect);
    }
}

#[test]
fn names_of_blockers_are_hostile() {
    let line = "INFO: task x:1 is blocked:1 is blocked on a mutex likely owned by task <w> y:3. z:2:9.";
    check_lock("x:1 is blocked", 1, line, Some("mutex - <w> y:3. z:2:9 -"));
    check_lock(
        "",
        1,
        "INFO: task :1 blocked on a semaphore likely last held by task :2",
        Some("semaphore - :2 -"),
    );
    check_lock(
        "a",
        1,
        "INFO: task a:1 blocked on a semaphore likely last held by task <reader>:2 <reader>",
        Some("semaphore - <reader>:2 reader"),
    );
}

#[test]
fn a_blocker_that_comes_late_is_of_the_task_it_names() {
    let hangs = tell(
        "INFO: task a:1 blocked for more than 9 seconds.\nCall Trace:\n f+0x1/0x2\n\
         INFO: task b:2 blocked in I/O wait for more than 9 seconds.\nCall Trace:\n f+0x1/0x2\n\
         INFO: task a:1 is blocked on a mutex likely owned by task b:2.\n",
    );
    let told: Vec<_> =
        hangs.iter().map(|h| (h.task.pid.unwrap(), h.stack.len(), h.lock.is_some(), h.io_wait)).collect();
    assert_eq!(
        told,
        [
            (1, 0, false, false),
            (1, 1, false, false),
            (2, 0, false, true),
            (1, 0, true, false),
            (2, 1, false, true)
        ]
    );
}

#[test]
fn locks_that_lockdep_lists() {
    let rest =
        " #0: ffff88810b0c2420 (sb_writers#4){.+.+}-{0:0}, at: ksys_write+0x6c/0xf0\n #1: (x){+}, at: y\n";
    for (header, is) in [
        ("2 locks held by dd/7:", true),
        ("1 lock held by dd/7:", true),
        ("locks held by dd/7: 2, last CPU#1:", true),
        ("locks held by dd/7: 0, on CPU#1", true),
        ("2 locks held by dd/8:", false),
        ("2 locks held by d/7:", false),
        ("no locks held by dd/7.", false),
        ("many locks held by dd/7:", false),
        (" held by dd/7:", false),
    ] {
        let hangs = tell(&format!(
            "INFO: task dd:7 blocked for more than 9 seconds.\n\nShowing all locks held in the system:\n\
             1 lock held by khungtaskd/32:\n #0: (rcu_read_lock){{....}}-{{1:3}}, at: z\n{header}\n{rest}\n\
             =============================================\n #2: behind\n"
        ));
        let held: Vec<_> = hangs.iter().flat_map(|h| &h.held_locks).collect();
        assert_eq!(held.len(), if is { 2 } else { 0 }, "{header}");
        assert!(held.iter().all(|line| line.starts_with('#')), "{held:?}");
    }
    let many = rest.repeat(99);
    let hangs =
        tell(&format!("INFO: task dd:7 blocked for more than 9 seconds.\n2 locks held by dd/7:\n{many}"));
    assert_eq!(hangs.last().unwrap().held_locks.len(), MAX_LOCKS);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut text = HangText::default();
    for pid in 0..1000 {
        text.line(1, &format!("INFO: task x:{pid} blocked for more than 9 seconds."), &mut |_, _| {});
    }
    assert_eq!(text.recent.len(), MAX_RECENT);
}

#[test]
fn the_process_of_a_thread() {
    let hangs = tell(
        "INFO: task a:5 blocked for more than 9 seconds.\n\
         task:a state:D stack:0 pid:5 tgid:4 ppid:0 task_flags:0x0 flags:0x0\nCall Trace:\n f+0x1/0x2\n",
    );
    assert_eq!((hangs[1].tgid, hangs[0].tgid), (Some(4), None));
}
