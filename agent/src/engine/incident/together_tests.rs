//! Kills of whole groups as guests with 5.10, 6.1 and 6.12 told them, and in every other order.

use super::*;
use crate::engine::incident::{Report, Witnesses};
use crate::event::{KillGroup, Task, Victim};

/// Kernel time of the first victim; the others followed within 3 ms.
const BEGIN: u64 = 28_467_458_000;
/// Trigger and chosen victim, and the two that die with it.
const PIDS: [u32; 3] = [115, 113, 114];
const AFTER_US: [u64; 3] = [0, 865, 1419];

fn event(source: Source, victim: usize, oom: Oom) -> Event {
    let at = Now { mono_ns: BEGIN + AFTER_US[victim] * 1000, wall_ns: 0 };
    let task = Task { pid: Some(PIDS[victim]), comm: Some(format!("batch-{victim}")), ..Task::default() };
    let oom = Oom { victim: Task { cgroup: oom.victim.cgroup.clone(), ..task }, count: 1, ..oom };
    Event { at, source, historic: false, what: What::Oom(Box::new(oom)) }
}

/// A record of eBPF. With BTF it names the group; nobody could ask any more where the victim was.
fn seen(victim: usize, serial: Option<u64>) -> Event {
    let group = serial.map(|serial| KillGroup { serial: Some(serial), ..KillGroup::default() });
    event(Source::Ebpf, victim, Oom { group, trigger_tid: Some(PIDS[0]), ..Oom::default() })
}

/// The line of the kernel log; those after the first stand below the line that says that all die.
fn logged(victim: usize) -> Event {
    let path = Some("/system.slice/batch.service".to_owned());
    let group = (victim > 0).then(|| KillGroup { path: path.clone(), first: Some(PIDS[0]), serial: None });
    event(Source::Kmsg, victim, Oom { group, oom_memcg: path, trigger_tid: Some(PIDS[0]), ..Oom::default() })
}

fn incidents() -> Incidents {
    let oom = vec![Source::Ebpf, Source::Kmsg];
    Incidents::new(Witnesses { oom, ..Witnesses::default() })
}

fn late(ms: u64) -> Now {
    Now { mono_ns: BEGIN + ms * MILLI, wall_ns: 0 }
}

/// Incident, victims of it in the order of their numbers, update.
fn told(reports: &[Report]) -> Vec<(u64, Vec<u32>, bool)> {
    let pids = |report: &Report| {
        let Body::Oom(oom) = &report.incident.body else { return Vec::new() };
        let all = oom.victim.pid.into_iter().chain(oom.others.iter().filter_map(|v| v.task.pid));
        let mut all: Vec<u32> = all.collect();
        all.sort_unstable();
        all
    };
    reports.iter().map(|r| (r.incident.number, pids(r), r.update)).collect()
}

/// All orders in which two witnesses can be heard who each keep their own.
fn orders(one: &[Event], other: &[Event]) -> Vec<Vec<Event>> {
    let mut all = Vec::new();
    for choice in 0u32..1 << (one.len() + other.len()) {
        if choice.count_ones() as usize != one.len() {
            continue;
        }
        let (mut a, mut b) = (one.iter(), other.iter());
        let pick = |nth: usize| if choice >> nth & 1 == 1 { a.next() } else { b.next() };
        all.push((0..one.len() + other.len()).map(pick).map(|e| e.unwrap().clone()).collect());
    }
    all
}

#[test]
fn every_order_of_the_witnesses_makes_one_incident() {
    let log: Vec<Event> = (0..3).map(logged).collect();
    // With BTF; and without, where only the log tells of the group.
    for serial in [Some(77), None] {
        let mut records: Vec<Event> = (0..3).map(|victim| seen(victim, serial)).collect();
        for _ in 0..3 {
            // Buffers of several processors are not read in the order of time.
            records.rotate_left(1);
            for order in orders(&records, &log) {
                let mut all = incidents();
                for (nth, event) in order.iter().enumerate() {
                    let reports = all.take(late(10 + nth as u64), event);
                    let early = reports.iter().any(|r| r.incident.is_of_group());
                    assert!(!early, "{reports:?}");
                }
                let last = told(&all.due(late(500)));
                let first = last.first().map(|(number, ..)| *number);
                assert!(last.iter().all(|(number, ..)| Some(*number) == first), "{order:#?}: {last:?}");
                assert_eq!(last.last().map(|(_, pids, _)| pids.as_slice()), Some(&[113, 114, 115][..]));
                assert_eq!((all.oom_seen(), all.group_kills(), all.open.len()), (3, 1, 1), "{order:#?}");
            }
        }
    }
}

#[test]
fn on_a_slow_machine_the_others_are_one_update() {
    let mut all = incidents();
    let mut reports = all.take(late(0), &seen(0, Some(77)));
    reports.extend(all.due(late(51)));
    for (at, victim) in [(200, 1), (230, 2)] {
        reports.extend(all.take(late(at), &seen(victim, Some(77))));
    }
    reports.extend(all.due(late(260)));
    for (at, victim) in [(270, 0), (280, 1), (300, 2)] {
        reports.extend(all.take(late(at), &logged(victim)));
    }
    reports.extend(all.due(late(900)));
    let told: Vec<_> =
        told(&reports).into_iter().map(|(number, pids, update)| (number, pids.len(), update)).collect();
    // The last one: the log tells whose limit it was.
    assert_eq!(told, [(0, 1, false), (0, 3, true), (0, 3, true)]);
}

#[test]
fn what_was_told_stays_the_incident() {
    // Without BTF a member is told alone before the log is heard.
    let mut all = incidents();
    let mut reports = all.take(late(0), &seen(1, None));
    reports.extend(all.due(late(60)));
    reports.extend(all.take(late(61), &seen(0, None)));
    reports.extend(all.take(late(62), &logged(1)));
    reports.extend(all.due(late(300)));
    let told = told(&reports);
    assert_eq!(told.first(), Some(&(0, vec![113], false)));
    assert_eq!(told.last(), Some(&(0, vec![113, 115], true)));
    assert!(told.iter().all(|(number, ..)| *number == 0), "{told:?}");
}

#[test]
fn what_speaks_for_one_kill() {
    let group = |serial, path: &str, first| {
        let path = (!path.is_empty()).then(|| path.to_owned());
        Some(KillGroup { path, serial, first })
    };
    let check =
        |a: (u32, Option<u32>, Option<KillGroup>), b: (u32, Option<u32>, Option<KillGroup>), expect| {
            let oom = |(pid, trigger_tid, group): (u32, Option<u32>, Option<KillGroup>)| Oom {
                victim: Task { pid: Some(pid), ..Task::default() },
                trigger_tid,
                group,
                ..Oom::default()
            };
            let (a, b) = (oom(a), oom(b));
            assert_eq!((kinship(&a, &b), kinship(&b, &a)), (expect, expect), "{a:?} {b:?}");
        };
    check((1, None, None), (2, None, None), Kinship::None);
    check((1, Some(9), None), (2, Some(9), None), Kinship::None);
    check((1, Some(9), group(Some(5), "", None)), (2, Some(9), group(Some(5), "", None)), Kinship::Thread);
    check((1, Some(9), group(Some(5), "", None)), (2, Some(8), group(Some(5), "", None)), Kinship::None);
    check((1, Some(9), group(Some(5), "", None)), (2, Some(9), group(Some(6), "/a", None)), Kinship::None);
    check((1, Some(9), group(Some(5), "/a", None)), (2, Some(9), group(Some(6), "/a", None)), Kinship::None);
    check((1, Some(9), group(None, "/a", None)), (2, Some(9), group(Some(6), "/a", None)), Kinship::Thread);
    check((1, Some(9), group(None, "/a", None)), (2, None, group(Some(6), "/a", None)), Kinship::Place);
    check((1, Some(9), group(None, "", None)), (2, Some(9), group(None, "", None)), Kinship::None);
    check((1, None, None), (2, None, group(None, "", Some(1))), Kinship::Named);
    check((1, None, None), (2, None, group(None, "", Some(3))), Kinship::None);
    check((1, None, group(None, "", Some(3))), (2, None, group(None, "/a", Some(3))), Kinship::Named);
    check((1, Some(9), group(None, "/a", Some(3))), (2, Some(9), group(None, "/a", Some(4))), Kinship::None);
    check((3, Some(9), group(Some(5), "", None)), (2, None, group(None, "/a", Some(3))), Kinship::Named);
}

#[test]
fn victims_of_two_incidents_are_put_together_within_the_limit() {
    let group = || Some(KillGroup { first: Some(PIDS[0]), ..KillGroup::default() });
    let mut all = incidents();
    all.take(late(0), &seen(1, None));
    let mut many = seen(0, None);
    if let What::Oom(oom) = &mut many.what {
        let victim = |pid| Victim { task: Task { pid: Some(pid), ..Task::default() }, rss_kb: None };
        oom.others = (1000..1000 + MAX_VICTIMS as u32 - 1).map(victim).collect();
        oom.others_more = 4;
    }
    all.take(late(1), &many);
    all.take(late(2), &event(Source::Kmsg, 1, Oom { group: group(), ..Oom::default() }));
    let reports = all.due(late(100));
    assert_eq!(reports.len(), 1);
    let Body::Oom(oom) = &reports[0].incident.body else { panic!() };
    assert_eq!((oom.others.len(), oom.others_more), (MAX_VICTIMS, 4));
    assert_eq!(reports[0].incident.sources, [Source::Ebpf, Source::Kmsg]);
}

/// A kill at `at` of which both witnesses tell; `whole`: the log says that the group of the victim dies with it.
fn kill(all: &mut Incidents, at: u64, pid: u32, whole: bool) -> Vec<Report> {
    let when = late(at);
    let task = Task { pid: Some(pid), comm: Some(format!("worker-{pid}")), ..Task::default() };
    let oom = |group| Oom { victim: task.clone(), group, trigger_tid: Some(9), count: 1, ..Oom::default() };
    let event = |source, oom| Event { at: when, source, historic: false, what: What::Oom(Box::new(oom)) };
    // The group in which one thread kills again and again.
    let serial = Some(KillGroup { serial: Some(77), ..KillGroup::default() });
    let mut reports = all.take(when, &event(Source::Ebpf, oom(serial)));
    reports.extend(all.take(when, &event(Source::Kmsg, oom(None))));
    if whole {
        let first = KillGroup { path: Some("/pod/c".into()), first: Some(pid), serial: None };
        reports.extend(all.take(when, &event(Source::Kmsg, oom(Some(first)))));
    }
    reports
}

#[test]
fn one_thread_that_kills_again_makes_two_incidents() {
    // A worker that is started anew in a group that dies together; and plain kills below such a group.
    for whole in [true, false] {
        for apart in [1, 20, 60, 190, 600, 1_100] {
            let mut all = incidents();
            let mut reports = kill(&mut all, 0, 174, whole);
            reports.extend(all.due(late(apart.min(51))));
            reports.extend(kill(&mut all, apart, 179, whole));
            reports.extend(all.due(late(apart + 500)));
            let told: Vec<_> = told(&reports).into_iter().map(|(_, pids, update)| (pids, update)).collect();
            assert_eq!(told, [(vec![174], false), (vec![179], false)], "{whole} {apart}");
            assert_eq!(all.oom_seen(), 2);
            assert!(!whole || all.group_kills() == 2, "each is counted twice by the kernel");
        }
    }
}

#[test]
fn without_the_log_what_ebpf_says_counts() {
    let oom = vec![Source::Ebpf];
    let mut all = Incidents::new(Witnesses { oom, ..Witnesses::default() });
    let mut reports = Vec::new();
    for victim in 0..3 {
        reports.extend(all.take(late(victim as u64), &seen(victim, Some(77))));
    }
    reports.extend(all.due(late(60)));
    reports.extend(all.due(late(500)));
    assert_eq!(told(&reports), [(0, vec![113, 114, 115], false)]);
}
