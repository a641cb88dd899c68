//! Scripts of reports, and what is told.

use super::*;
use crate::event::{Lock, LockKind, LockOwner, Place, TaskId};
use crate::time::MILLI;

struct Run {
    hangs: Hangs,
    now: Now,
    told: Vec<String>,
}

fn run() -> Run {
    Run { hangs: Hangs::default(), now: Now::default().plus_secs(1000), told: Vec::new() }
}

fn hang(pid: u32, wchan: &str) -> Hang {
    let task = Task { pid: Some(pid), comm: Some("dd".into()), start_ticks: Some(1), ..Task::default() };
    let wchan = (!wchan.is_empty()).then(|| wchan.to_owned());
    Hang { task, wchan, blocked_secs: Some(30), ..Hang::default() }
}

fn at(mut hang: Hang, device: &str) -> Hang {
    hang.place = Place { layer: None, device: Some(device.into()), mount: None };
    hang
}

fn behind(mut hang: Hang, owner: u32) -> Hang {
    let owner = LockOwner { pid: owner, comm: "b".into(), held_as: None };
    hang.lock = Some(Lock { kind: LockKind::KMutex, wanted_as: None, owner: Some(owner) });
    hang
}

impl Run {
    fn tell(&mut self, reports: Vec<Report>) {
        self.told.extend(reports.into_iter().map(|report| {
            let Report { incident: i, status, .. } = report;
            let sources: Vec<_> = i.sources.iter().map(|s| s.name()).collect();
            let first = i.first.task.pid.unwrap_or(0);
            let how = match (i.was_over, i.was_lost) {
                (true, _) => " over",
                (_, true) => " lost",
                _ => "",
            };
            format!("{} {first} of {} {}{how}", status.name(), i.total, sources.join("+"))
        }));
    }

    fn event(&mut self, source: Source, what: What) -> &mut Self {
        let event = Event { at: self.now, source, historic: false, what };
        let reports = self.hangs.take(self.now, &event);
        self.tell(reports);
        self
    }

    fn hang(&mut self, source: Source, hang: Hang) -> &mut Self {
        self.event(source, What::Hang(Box::new(hang)))
    }

    fn free(&mut self, pids: impl IntoIterator<Item = u32>) -> &mut Self {
        let ids = pids.into_iter().map(|pid| TaskId { pid, start_ticks: Some(1) }).collect();
        self.event(Source::Watch, What::Released(ids))
    }

    fn wait(&mut self, ms: u64) -> &mut Self {
        let end = self.now.mono_ns + ms * MILLI;
        while let Some(next) = self.hangs.next_deadline().filter(|next| *next <= end) {
            self.now = self.now.at_mono(next.max(self.now.mono_ns));
            let reports = self.hangs.due(self.now);
            self.tell(reports);
        }
        self.now = self.now.at_mono(end);
        let reports = self.hangs.due(self.now);
        self.tell(reports);
        self
    }

    fn check(&self, expect: &[&str]) {
        assert_eq!(self.told, expect);
    }
}

#[test]
fn one_hang_of_three_witnesses_until_it_is_over() {
    let mut r = run();
    r.hang(Source::Watch, hang(7, "f")).wait(90_000);
    for _ in 0..5 {
        r.hang(Source::Ebpf, hang(7, "f")).hang(Source::Kmsg, hang(7, "")).wait(120_000);
    }
    r.check(&["firing 7 of 1 dstate"]);
    r.free([8]).wait(5000).free([7]).wait(5000);
    r.check(&["firing 7 of 1 dstate", "resolved 7 of 1 dstate+ebpf+kmsg"]);
    assert_eq!(r.hangs.take_follow().len(), 1);
}

#[test]
fn tasks_in_one_wait_are_one_incident_and_in_another_place_another() {
    let mut r = run();
    r.hang(Source::Ebpf, at(hang(1, "f"), "sda")).hang(Source::Ebpf, at(hang(2, "f"), "sda"));
    r.hang(Source::Ebpf, hang(3, "f"))
        .hang(Source::Ebpf, at(hang(4, "f"), "sdb"))
        .hang(Source::Ebpf, hang(5, "g"));
    r.wait(100);
    r.check(&["firing 1 of 3 ebpf", "firing 4 of 1 ebpf", "firing 5 of 1 ebpf"]);
}

#[test]
fn what_is_found_out_within_the_wait_decides() {
    let mut r = run();
    r.hang(Source::Ebpf, hang(1, "f")).hang(Source::Ebpf, hang(2, "f")).wait(10);
    r.event(Source::Watch, What::HangFacts(Box::new(at(hang(1, "f"), "sda"))));
    r.event(Source::Watch, What::HangFacts(Box::new(at(hang(2, "f"), "sdb"))));
    r.event(Source::Watch, What::HangFacts(Box::new(at(hang(9, "f"), "sdb")))).wait(100);
    r.check(&["firing 1 of 1 ebpf", "firing 2 of 1 ebpf"]);
}

#[test]
fn tasks_behind_one_owner_join_it() {
    let mut r = run();
    r.hang(Source::Kmsg, behind(hang(1, "f"), 9)).hang(Source::Kmsg, behind(hang(2, "g"), 9)).wait(100);
    r.hang(Source::Kmsg, hang(9, "h")).wait(100).hang(Source::Kmsg, behind(hang(3, "x"), 2)).wait(100);
    r.hang(Source::Kmsg, behind(hang(4, "f"), 77)).wait(100);
    r.check(&["firing 1 of 2 kmsg", "firing 4 of 1 kmsg"]);
    r.wait(10_000);
    assert_eq!(r.told.last().unwrap(), "updated 1 of 4 kmsg");
}

#[test]
fn a_task_of_which_nothing_is_known_joins_those_of_the_same_moment() {
    let mut r = run();
    r.hang(Source::Ebpf, hang(1, "f")).hang(Source::Ebpf, hang(2, "")).wait(100);
    r.check(&["firing 1 of 2 ebpf"]);
    r.wait(20_000).hang(Source::Ebpf, hang(3, "")).hang(Source::Ebpf, hang(4, "")).wait(100);
    r.check(&["firing 1 of 2 ebpf", "firing 3 of 2 ebpf"]);
}

#[test]
fn a_storm_is_few_messages_with_the_right_count() {
    let mut r = run();
    for pid in 1..=2000 {
        r.hang(Source::Ebpf, hang(pid, "f")).hang(Source::Kmsg, hang(pid, "f")).wait(20);
    }
    r.wait(10_000).free(1..=1999).wait(3000).free([2000]).wait(3000);
    assert!(r.told.len() <= 7, "{:#?}", r.told);
    assert_eq!(r.told.last().unwrap(), "resolved 1 of 2000 ebpf+kmsg");
}

#[test]
fn the_owner_of_a_lock_is_worth_an_update() {
    let mut r = run();
    r.hang(Source::Watch, hang(1, "f")).hang(Source::Watch, hang(2, "f")).wait(90_000);
    r.hang(Source::Kmsg, behind(hang(2, "f"), 9)).hang(Source::Kmsg, behind(hang(2, "f"), 9)).wait(100);
    r.check(&["firing 1 of 2 dstate", "updated 1 of 2 dstate+kmsg"]);
}

#[test]
fn a_report_that_comes_after_the_end_is_of_the_hang_that_ended() {
    let mut r = run();
    r.hang(Source::Ebpf, hang(1, "f")).wait(100);
    let before =
        Event { at: r.now, source: Source::Kmsg, historic: false, what: What::Hang(Box::new(hang(1, "f"))) };
    r.wait(1000).free([1]).wait(1000);
    assert_eq!(r.hangs.take(r.now, &before), []);
    r.wait(1000).hang(Source::Ebpf, hang(1, "f")).wait(100);
    r.check(&["firing 1 of 1 ebpf", "resolved 1 of 1 ebpf", "firing 1 of 1 ebpf"]);
}

#[test]
fn a_hang_that_is_over_before_it_is_told_is_told_with_its_end() {
    let mut r = run();
    r.hang(Source::Ebpf, hang(1, "f")).wait(10).free([1]).wait(1000);
    r.check(&["firing 1 of 1 ebpf over", "resolved 1 of 1 ebpf over"]);
}

#[test]
fn what_the_log_tells_of_an_earlier_time_is_told_as_over_where_it_is() {
    let mut r = run();
    let old = |r: &Run, pid| Event {
        at: r.now.at_mono(r.now.mono_ns - 20_000 * MILLI),
        source: Source::Kmsg,
        historic: false,
        what: What::Hang(Box::new(hang(pid, "f"))),
    };
    for pid in [1, 2, 3] {
        let event = old(&r, pid);
        let reports = r.hangs.take(r.now, &event);
        r.tell(reports);
    }
    // Whoever looks takes his time; of those that are over none is told as standing.
    r.wait(500).free([1]).wait(500).free([2]);
    r.check(&[]);
    r.event(Source::Watch, What::HangFacts(Box::new(hang(3, "f")))).wait(100);
    r.check(&["firing 3 of 1 kmsg"]);
    r.wait(15_000);
    r.check(&["firing 3 of 1 kmsg", "updated 3 of 3 kmsg"]);
}

#[test]
fn a_hang_that_an_earlier_run_told_takes_nothing_in_before_it_is_seen_to_stand() {
    let told = |r: &Run, pid| ToldHang {
        id: format!("id{pid}"),
        at: r.now,
        since_ns: 0,
        hang: hang(pid, "f"),
        tasks: vec![Listed { id: TaskId { pid, start_ticks: None }, comm: Some("dd".into()), cgroup: None }],
        total: 1,
        over: false,
    };
    let mut r = run();
    let (now, stale) = (r.now, told(&r, 1));
    r.hangs.remember(now, stale);
    assert_eq!(r.hangs.take_follow().len(), 1);
    r.hang(Source::Ebpf, hang(5, "f")).hang(Source::Ebpf, hang(6, "")).wait(100);
    r.check(&["firing 5 of 2 ebpf"]);
    r.free([1]).check(&["firing 5 of 2 ebpf", "resolved 1 of 1  over"]);
    let mut r = run();
    let (now, standing) = (r.now, told(&r, 1));
    r.hangs.remember(now, standing);
    r.event(Source::Watch, What::HangFacts(Box::new(hang(1, "f"))));
    r.hang(Source::Ebpf, hang(5, "f")).wait(100).check(&[]);
    r.wait(10_000).check(&["updated 1 of 2 ebpf"]);
}

#[test]
fn tasks_of_an_incident_keep_their_units() {
    let living_in = |pid, group: &str| {
        let mut hang = hang(pid, "f");
        hang.task.cgroup = (!group.is_empty()).then(|| group.to_owned());
        hang
    };
    let mut r = run();
    r.hang(Source::Ebpf, living_in(1, "/system.slice/a.service"));
    r.hang(Source::Ebpf, living_in(2, "/system.slice/b.service"));
    r.hang(Source::Ebpf, living_in(3, "/system.slice/b.service"));
    r.hang(Source::Ebpf, living_in(4, "")).hang(Source::Ebpf, living_in(5, "/")).wait(100);
    r.event(Source::Watch, What::HangFacts(Box::new(living_in(4, "/x\n"))));
    let shot = r.hangs.open[0].snapshot(r.now);
    let groups: Vec<_> = shot.groups.iter().map(|(name, tasks)| format!("{name}:{tasks}")).collect();
    assert_eq!(groups, ["b.service:2", "/x?:1", "a.service:1"]);
    assert_eq!(shot.tasks[1].cgroup.as_deref(), Some("/system.slice/b.service"));
    for pid in 10..30 {
        r.hang(Source::Ebpf, living_in(pid, &format!("/u{pid}.service")));
    }
    r.wait(100);
    let shot = r.hangs.open[0].snapshot(r.now);
    assert_eq!((shot.groups.len(), shot.in_other_groups), (MAX_GROUPS, 15));
}

#[test]
fn a_pid_that_is_used_again_is_another_task() {
    let mut r = run();
    let mut other = hang(1, "g");
    other.task.start_ticks = Some(2);
    r.hang(Source::Ebpf, hang(1, "f")).hang(Source::Ebpf, other).wait(100);
    r.check(&["firing 1 of 1 ebpf", "firing 1 of 1 ebpf"]);
    let (mut worker, mut short) = (hang(5, "f"), hang(5, ""));
    (worker.task.comm, worker.task.start_ticks) = (Some("kworker/u4:1-flush-8:0".into()), Some(3));
    (short.task.comm, short.task.start_ticks) = (Some("kworker/u4:1".into()), None);
    assert!(same::hang(&worker, &short) && same::hang(&short, &worker));
    short.task.comm = Some("dd".into());
    assert!(!same::hang(&worker, &short));
}

#[test]
fn of_a_task_nobody_can_look_at_is_told_that_its_end_is_not_known() {
    let mut r = run();
    let mut hidden = hang(1, "f");
    hidden.task.start_ticks = None;
    r.hang(Source::Ebpf, hidden).wait(100).wait(1_000_000).free([]).wait(20_000);
    r.check(&["firing 1 of 1 ebpf", "resolved 1 of 1 ebpf lost"]);
    assert_eq!(r.hangs.open.len(), 0);
}

#[test]
fn memory_is_bounded() {
    let mut r = run();
    for pid in 1..=3000 {
        r.hang(Source::Ebpf, hang(pid, &format!("f{pid}"))).wait(60);
    }
    assert_eq!((r.hangs.open.len(), r.hangs.forgotten()), (MAX_OPEN, 3000 - MAX_OPEN as u64));
    let mut r = run();
    for pid in 1..=5000 {
        r.hang(Source::Ebpf, hang(pid, "f"));
    }
    r.wait(100);
    assert_eq!(r.hangs.open[0].members.len(), MAX_FOLLOWED);
    r.check(&["firing 1 of 4096 ebpf"]);
}

#[test]
fn an_event_without_a_pid_is_none() {
    let mut r = run();
    r.hang(Source::Ebpf, Hang::default()).event(Source::Watch, What::HangFacts(Box::default())).wait(100);
    r.check(&[]);
}
