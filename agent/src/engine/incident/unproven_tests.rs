use super::*;
use crate::engine::incident::{Report, Witnesses};
use crate::event::{Oom, Task};
use crate::time::{MILLI, SECOND};
use Source::{Ebpf, Kmsg};

fn ms(ms: u64) -> Now {
    Now { mono_ns: 1_000 * SECOND + ms * MILLI, wall_ns: 0 }
}

/// At a moment a source tells of a pid; whether the mark was not counted.
type Seen = (u64, Source, u32, bool);

/// Expects the pids told (first reports), the kills counted, and the marks dismissed.
fn check(witnesses: &[Source], seen: &[Seen], expect: (&[u32], u64, u64)) {
    let mut all = Incidents::new(Witnesses { oom: witnesses.to_vec(), ..Witnesses::default() });
    let mut reports = Vec::new();
    for &(at, source, pid, uncounted) in seen {
        let victim = Task { pid: Some(pid), ..Task::default() };
        let group = Some(crate::event::KillGroup { serial: Some(3), ..Default::default() });
        let group = group.filter(|_| source == Ebpf && uncounted);
        let oom = Oom { victim, group, trigger_tid: Some(1), count: 1, uncounted, ..Oom::default() };
        let event = Event { at: ms(at), source, historic: false, what: What::Oom(Box::new(oom)) };
        reports.extend(all.due(ms(at)));
        reports.extend(all.take(ms(at), &event));
    }
    reports.extend(all.due(ms(seen.last().map_or(0, |s| s.0)).plus_secs(1)));
    let pid = |r: &Report| match &r.incident.body {
        Body::Oom(oom) => oom.victim.pid,
        Body::IoError(_) => None,
    };
    let told: Vec<u32> = reports.iter().filter(|r| !r.update).filter_map(pid).collect();
    assert_eq!((&told[..], all.oom_seen(), all.dismissed()), expect, "{seen:?}");
    assert_eq!(all.next_deadline(), None);
    all.due(ms(0).plus_secs(60));
    let silent = all.disagreed().filter(|kind| *kind == "ebpf_only").count() as u64;
    assert!(expect.2 == 0 || silent == 0, "what is no kill is no disagreement");
}

#[test]
fn a_mark_without_a_kill_is_not_told() {
    let both = [Ebpf, Kmsg];
    check(&both, &[(0, Ebpf, 7, true)], (&[], 0, 1));
    check(&both, &[(0, Ebpf, 7, true), (3, Ebpf, 8, false), (5, Kmsg, 8, false)], (&[8], 1, 1));
    check(&both, &[(0, Ebpf, 7, true), (1, Ebpf, 8, true)], (&[], 0, 2));
}

#[test]
fn what_the_log_or_the_counter_bears_out_is_told_once() {
    let both = [Ebpf, Kmsg];
    check(&both, &[(0, Ebpf, 7, false)], (&[7], 1, 0));
    check(&both, &[(0, Ebpf, 7, true), (5, Kmsg, 7, false)], (&[7], 1, 0));
    check(&both, &[(0, Kmsg, 7, false), (5, Ebpf, 7, true)], (&[7], 1, 0));
    // Late: it was given up already.
    check(&both, &[(0, Ebpf, 7, true), (3_000, Kmsg, 7, false)], (&[7], 1, 1));
    check(&both, &[(0, Ebpf, 7, true), (9_000, Ebpf, 7, true), (9_001, Kmsg, 7, false)], (&[7], 1, 1));
}

#[test]
fn nobody_waits_for_a_log_that_is_down() {
    check(&[Ebpf], &[(0, Ebpf, 7, true)], (&[7], 1, 0));
}

#[test]
fn the_counter_was_read_after_both_marks() {
    let both = [Ebpf, Kmsg];
    check(&both, &[(0, Ebpf, 7, false), (0, Ebpf, 8, true), (2, Kmsg, 8, false)], (&[8], 1, 1));
    // Both are real after all.
    let all = [(0, Ebpf, 7, false), (0, Ebpf, 8, true), (2, Kmsg, 8, false), (4, Kmsg, 7, false)];
    check(&both, &all, (&[8, 7], 2, 0));
}

#[test]
fn one_that_the_log_names_as_the_first_of_a_group_is_told() {
    for late in [10, 3_000] {
        let mut all = Incidents::new(Witnesses { oom: vec![Ebpf, Kmsg], ..Witnesses::default() });
        let event = |at, source, pid, oom: Oom| {
            let victim = Task { pid: Some(pid), ..Task::default() };
            let what = What::Oom(Box::new(Oom { victim, count: 1, ..oom }));
            Event { at: ms(at), source, historic: false, what }
        };
        all.take(ms(0), &event(0, Ebpf, 7, Oom { uncounted: true, ..Oom::default() }));
        all.due(ms(late));
        let group = Some(crate::event::KillGroup { first: Some(7), ..Default::default() });
        all.take(ms(late), &event(late, Kmsg, 8, Oom { group, ..Oom::default() }));
        let told = all.due(ms(late + 100));
        assert_eq!(
            (told.len(), told.first().map(|r| r.update), all.oom_seen()),
            (1, Some(false), 2),
            "{late}"
        );
    }
}

#[test]
fn an_agent_that_ends_tells_what_it_doubts() {
    let mut all = Incidents::new(Witnesses { oom: vec![Ebpf, Kmsg], ..Witnesses::default() });
    let what = What::Oom(Box::new(Oom { uncounted: true, ..Oom::default() }));
    all.take(ms(0), &Event { at: ms(0), source: Ebpf, historic: false, what });
    assert_eq!(all.finish().len(), 1);
}
