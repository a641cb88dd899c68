//! The watch on a host written as text.

use super::*;
use crate::host::fixture::FixtureHost;

struct Bench {
    host: FixtureHost,
    watch: DState,
    now: Now,
}

fn bench(after_secs: u64) -> Bench {
    let host =
        FixtureHost::parse("//- uname h 6.18.0 x86_64\n//- /proc/loadavg\n9.00 1.00 1.00 1/9 9\n").unwrap();
    Bench { host, watch: DState::new(after_secs, None), now: Now::default().plus_secs(1000) }
}

impl Bench {
    fn task(&self, pid: u32, state: char, switches: u64, start: u64) {
        let line = format!("{pid} (dd) {state} 1 1 1 0 -1 0 9 0 0 0 1 0 0 0 20 0 1 0 {start} 4096 1 18 1\n");
        let status = format!(
            "Name:\tdd\nState:\t{state} (x)\nTgid:\t{pid}\nvoluntary_ctxt_switches:\t{switches}\nnonvoluntary_ctxt_switches:\t0\n"
        );
        self.host.set(&format!("/proc/{pid}/stat"), line);
        self.host.set(&format!("/proc/{pid}/status"), status);
        self.host.set(&format!("/proc/{pid}/wchan"), "nfs_wait");
    }

    /// `hangs`, `free PID` or `hidden`.
    fn follow(&mut self, pid: u32, start_ticks: Option<u64>) -> String {
        match self.watch.follow(&self.host, TaskId { pid, start_ticks }, self.now) {
            Standing::Hangs => "hangs".into(),
            Standing::Hidden => "hidden".into(),
            Standing::Over(event) => match event.what {
                What::Released(ids) => format!("free {}", ids[0].pid),
                other => panic!("{other:?}"),
            },
        }
    }

    /// Looks for so many seconds, whenever the watch wants to; `hang PID SECS` and `free PID`.
    fn run(&mut self, secs: u64) -> Vec<String> {
        let (end, mut out) = (self.now.plus_secs(secs), Vec::new());
        loop {
            let idle = u64::try_from(self.watch.idle(self.now).as_nanos()).unwrap_or(u64::MAX);
            let next = self.now.mono_ns.saturating_add(idle);
            if next > end.mono_ns {
                self.now = end;
                break;
            }
            self.now = self.now.at_mono(next);
            self.watch.look(&self.host, self.now, &mut out);
        }
        let mut words: Vec<String> = out
            .into_iter()
            .flat_map(|event| match event.what {
                What::Hang(hang) => {
                    vec![format!("hang {} {}", hang.task.pid.unwrap(), hang.blocked_secs.unwrap())]
                }
                What::Released(ids) => ids.iter().map(|id| format!("free {}", id.pid)).collect(),
                other => panic!("{other:?}"),
            })
            .collect();
        words.sort();
        words
    }
}

#[test]
fn a_long_sleep_is_told_once() {
    let mut b = bench(30);
    b.task(7, 'D', 5, 1);
    b.task(8, 'S', 5, 1);
    assert_eq!(b.run(29), [""; 0]);
    assert_eq!(b.run(300), ["hang 7 30"]);
    b.task(7, 'D', 6, 1);
    assert_eq!(b.run(30), [""; 0]);
    assert_eq!(b.run(100), ["hang 7 30"], "another sleep");
}

#[test]
fn short_sleeps_and_tasks_that_were_just_made_are_none() {
    let mut b = bench(30);
    for switches in 1..20 {
        b.task(7, 'D', switches, 1);
        b.task(8, 'D', 0, 1);
        assert_eq!(b.run(15), [""; 0]);
    }
}

#[test]
fn an_idle_machine_is_not_looked_at() {
    let mut b = bench(30);
    b.task(7, 'D', 5, 1);
    b.host.set("/proc/loadavg", "0.01 0.00 0.00 1/9 9\n");
    assert_eq!(b.run(300), [""; 0]);
    b.host.set("/proc/loadavg", "1.00 0.00 0.00 1/9 9\n");
    assert_eq!(b.run(60), ["hang 7 30"]);
}

#[test]
fn excused_tasks_are_asked_once() {
    let mut b = bench(30);
    b.task(7, 'D', 5, 1);
    b.host.set("/proc/7/wchan", "kernel_clone");
    assert_eq!(b.run(90), [""; 0]);
    b.host.set("/proc/7/wchan", "nfs_wait");
    assert_eq!(b.run(300), [""; 0]);
}

#[test]
fn a_watch_that_is_off_only_follows() {
    let mut b = bench(0);
    b.task(7, 'D', 5, 1);
    assert_eq!(b.watch.idle(b.now), Duration::MAX);
    b.follow(7, Some(1));
    assert_eq!(b.run(300), [""; 0]);
    b.task(7, 'R', 6, 1);
    assert_eq!(b.run(10), ["free 7"]);
    assert_eq!(b.watch.idle(b.now), Duration::MAX);
}

/// Follows task 7, which started at tick `start`; after two looks the host is changed.
fn check(start: Option<u64>, change: impl FnOnce(&Bench), expect: &[&str]) {
    let mut b = bench(0);
    b.task(7, 'D', 5, 1);
    assert_eq!(b.follow(7, start), "hangs");
    assert_eq!(b.run(5), [""; 0]);
    change(&b);
    assert_eq!(b.run(5), expect);
}

#[test]
fn followed_tasks_are_released() {
    check(Some(1), |b| b.task(7, 'S', 6, 1), &["free 7"]);
    check(Some(1), |b| b.task(7, 'D', 6, 1), &["free 7"]);
    check(None, |b| b.host.remove("/proc/7"), &["free 7"]);
    check(None, |_| {}, &[]);
    check(None, |b| b.host.apply("//- denied /proc/7/status").unwrap(), &[]);
    check(None, |b| b.host.set("/proc/7/status", "Name:\tx\nnonsense"), &[]);
}

#[test]
fn a_task_that_went_on_before_it_is_followed_is_released_at_once() {
    let mut b = bench(0);
    b.task(7, 'D', 5, 2);
    b.task(6, 'S', 5, 2);
    assert_eq!(b.follow(7, Some(1)), "free 7", "another life");
    assert_eq!(b.follow(8, Some(1)), "free 8", "gone");
    assert_eq!(b.follow(6, None), "free 6", "does not hang");
    assert_eq!(b.follow(9, None), "hidden", "perhaps by hidepid");
    b.host.set("/proc/1/status", "Name:\tinit\n");
    assert_eq!(b.follow(9, None), "free 9", "others are shown, and it is not");
    b.host.apply("//- /proc/self/ns/pid -> pid:[4026532000]").unwrap();
    assert_eq!((b.follow(9, None), b.follow(7, None)), ("hidden".into(), "hidden".into()), "other numbers");
    assert_eq!(b.watch.followed.len(), 0);
}

#[test]
fn memory_is_bounded() {
    let mut b = bench(30);
    for pid in 0..=MAX_SEEN as u32 {
        b.task(pid + 1, 'D', 5, 1);
        b.follow(pid + 1, None);
    }
    assert_eq!(b.watch.followed.len(), MAX_FOLLOWED);
    b.run(1);
    assert_eq!(b.watch.seen.len(), MAX_SEEN);
}

#[test]
fn a_name_cannot_forge_a_status() {
    let text =
        "Name:\tx\\nState:\tR\nState:\tD (x)\nvoluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t2\n";
    let status = Status::parse(text).unwrap();
    assert_eq!((status.state, status.switches, status.tgid), (b'D', 3, None));
    for text in ["", "Name:\tx", "Name:\tx\nState:\t\n", "Name:\tx\nState:\tD\nvoluntary_ctxt_switches:\tx\n"]
    {
        assert!(Status::parse(text).is_none(), "{text}");
    }
}
