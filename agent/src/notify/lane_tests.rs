use super::*;
use crate::alert::Alert;
use crate::notify::channel::{Channel, Sending};
use crate::notify::tests::alert;
use Severity::{Critical, Emergency, Info, Warn};
use Status::{Firing, Resolved, Updated};
use proptest::prelude::*;
use std::sync::Arc;

struct Dummy;
impl Channel for Dummy {
    fn name(&self) -> &'static str {
        "dummy"
    }
    fn send<'a>(&'a self, _: &'a Alert, _: &'a str) -> Sending<'a> {
        Box::pin(async { Ok(()) })
    }
}

/// One lane with its surroundings, and a clock that is set by hand.
struct Scene {
    lane: Lane,
    ledger: Ledger,
    total: Window,
    now: Now,
    settled: Settled,
}

impl Scene {
    fn new(limits: Limits) -> Self {
        let mut ledger = Ledger::default();
        let slot = ledger.slot("dummy").unwrap();
        let lane = Lane::new(slot, &Route::new(Arc::new(Dummy)), limits);
        let total = Window::new(limits.total_per_hour);
        Self { lane, ledger, total, now: Now::default().plus_secs(1000), settled: vec![] }
    }

    fn add(&mut self, id: &str, severity: Severity, status: Status) -> u64 {
        self.push(alert(id, severity, status))
    }

    fn push(&mut self, alert: Alert) -> u64 {
        let due = self.ledger.set(["dummy"].into_iter());
        self.ledger.push(Entry::new(Arc::new(alert), self.now, due)).0
    }

    fn wait(&mut self, secs: u64) {
        self.now = self.now.plus_secs(secs);
    }

    fn next(&mut self) -> Next {
        self.lane.next(self.now, &mut self.ledger, &mut self.total, &mut self.settled)
    }

    fn end(&mut self, result: Result<(), SendError>) -> Option<(u64, Outcome)> {
        let fate = self.lane.finished(self.now, result, 0.0, &mut self.ledger, &mut self.total);
        assert!(fate.len() < 2, "{fate:?}");
        fate.first().map(|(seq, outcome)| (seq.0, *outcome))
    }

    fn fail(&mut self) {
        assert_eq!(self.end(Err(SendError::retry("down"))), None);
    }

    /// Sends all that goes now; their numbers.
    fn run(&mut self) -> Vec<u64> {
        let mut told = Vec::new();
        while let Next::Tell(seq, _) = self.next() {
            told.push(seq.0);
            assert_eq!(self.end(Ok(())), Some((seq.0, Outcome::Delivered)));
        }
        told
    }

    fn wait_of(&mut self) -> Option<u64> {
        match self.next() {
            Next::Wait(until) => Some((until - self.now.mono_ns) / 1_000_000_000),
            Next::Idle => None,
            other => panic!("{other:?}"),
        }
    }

    fn settled(&mut self) -> Vec<(u64, Outcome)> {
        std::mem::take(&mut self.settled).into_iter().map(|(seq, outcome)| (seq.0, outcome)).collect()
    }
}

#[test]
fn the_more_severe_goes_first_but_an_incident_keeps_its_order() {
    let mut scene = Scene::new(Limits::OFF);
    scene.add("a", Info, Firing);
    scene.add("b", Warn, Firing);
    scene.add("a", Emergency, Updated);
    scene.add("c", Critical, Firing);
    scene.add("b", Warn, Resolved);
    assert_eq!(scene.run(), [3, 1, 4, 0, 2]);
    assert_eq!(scene.next(), Next::Idle);
}

#[test]
fn one_message_at_a_time() {
    let mut scene = Scene::new(Limits::OFF);
    scene.add("a", Info, Firing);
    scene.add("b", Info, Firing);
    assert_eq!(scene.next(), Next::Tell(Seq(0), 0));
    assert!(scene.lane.is_busy());
    assert_eq!(scene.next(), Next::Idle);
}

#[test]
fn a_recovery_goes_only_to_who_was_told() {
    let mut scene = Scene::new(Limits { per_hour: 1, ..Limits::OFF });
    scene.add("told", Warn, Firing);
    scene.add("limited", Warn, Firing);
    assert_eq!(scene.run(), [0]);
    assert_eq!(scene.settled(), [(1, Outcome::Limited)]);
    scene.add("told", Warn, Resolved);
    scene.add("limited", Warn, Resolved);
    scene.add("never heard of", Warn, Resolved);
    assert_eq!(scene.run(), [2], "past the limit");
    assert_eq!(scene.settled(), [(3, Outcome::Untold), (4, Outcome::Untold)]);
    // The firing one was refused: nobody wants to hear that it is over.
    let mut scene = Scene::new(Limits::OFF);
    scene.add("x", Warn, Firing);
    scene.add("x", Warn, Resolved);
    scene.next();
    assert_eq!(scene.end(Err(SendError::refused("no"))), Some((0, Outcome::Refused)));
    assert_eq!(scene.next(), Next::Idle);
    assert_eq!(scene.settled(), [(1, Outcome::Untold)]);
}

#[test]
fn what_is_held_back_is_told_with_the_next_message() {
    let mut scene = Scene::new(Limits { per_minute: 2, ..Limits::OFF });
    for n in 0..7 {
        scene.add(&n.to_string(), Warn, Firing);
    }
    assert_eq!(scene.run(), [0, 1]);
    assert_eq!(scene.settled().len(), 5);
    scene.wait(30);
    scene.add("later", Warn, Firing);
    assert_eq!(scene.next(), Next::Tell(Seq(7), 5));
    scene.fail();
    assert_eq!(scene.wait_of(), Some(1));
    scene.wait(1);
    assert_eq!(scene.next(), Next::Tell(Seq(7), 5), "told again, since it did not arrive");
    scene.end(Ok(()));
    assert_eq!(scene.next(), Next::Idle);
    let stats = scene.lane.stats(Now::default(), &scene.ledger);
    assert_eq!((stats.delivered, stats.limited, stats.retries, stats.queued), (3, 5, 1, 0));
}

#[test]
fn what_is_held_back_is_told_by_itself_when_nothing_follows() {
    let mut scene = Scene::new(Limits { per_minute: 1, ..Limits::OFF });
    scene.add("a", Warn, Firing);
    scene.add("b", Warn, Firing);
    assert_eq!(scene.run(), [0]);
    assert_eq!(scene.wait_of(), Some(SUMMARY_SECS));
    scene.wait(SUMMARY_SECS);
    assert_eq!(scene.next(), Next::Summary(1));
    scene.fail();
    scene.wait(1);
    assert_eq!(scene.next(), Next::Summary(1));
    assert_eq!(scene.end(Ok(())), None);
    assert_eq!(scene.next(), Next::Idle);
}

#[test]
fn a_summary_obeys_the_limits_too() {
    let mut scene = Scene::new(Limits { per_hour: 1, ..Limits::OFF });
    scene.add("a", Warn, Firing);
    scene.add("b", Warn, Firing);
    scene.run();
    for _ in 0..59 {
        assert_eq!(scene.wait_of(), Some(60));
        scene.wait(60);
    }
    assert_eq!(scene.wait_of(), Some(60));
    scene.wait(60);
    assert_eq!(scene.next(), Next::Summary(1));
}

#[test]
fn emergencies_pass_unless_told_not_to() {
    for (emergency_bypass, expect) in [(true, vec![0, 1, 2, 3]), (false, vec![0])] {
        let mut scene = Scene::new(Limits { per_hour: 1, emergency_bypass, ..Limits::OFF });
        for n in 0..3 {
            scene.add(&n.to_string(), Emergency, Firing);
        }
        scene.add("warn", Warn, Firing);
        assert_eq!(scene.run(), expect);
    }
}

#[test]
fn a_limit_takes_the_least_severe() {
    let mut scene = Scene::new(Limits { per_minute: 2, ..Limits::OFF });
    scene.add("i", Info, Firing);
    scene.add("c", Critical, Firing);
    scene.add("w", Warn, Firing);
    assert_eq!(scene.run(), [1, 2]);
    assert_eq!(scene.settled(), [(0, Outcome::Limited)]);
}

#[test]
fn failures_wait_longer_and_longer_and_do_not_use_up_the_limit() {
    let mut scene = Scene::new(Limits { per_minute: 1, per_hour: 1, total_per_hour: 1, ..Limits::OFF });
    scene.add("a", Warn, Firing);
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(scene.next(), Next::Tell(Seq(0), 0));
        scene.fail();
        assert_eq!(scene.wait_of(), Some(wait));
        scene.wait(wait);
    }
    assert_eq!(scene.run(), [0]);
    assert_eq!(scene.lane.stats(Now::default(), &scene.ledger).failing, 0);
}

#[test]
fn the_servers_wish_counts_up_to_an_hour() {
    for (after, expect) in [(30, 30), (0, 1), (86_400, 3600)] {
        let mut scene = Scene::new(Limits::OFF);
        scene.add("a", Warn, Firing);
        scene.next();
        let after = Some(Duration::from_secs(after));
        scene.end(Err(SendError::Retry { after, why: "429".into() }));
        assert_eq!(scene.wait_of(), Some(expect));
    }
}

#[test]
fn a_message_that_always_fails_does_not_stop_the_others() {
    let mut scene = Scene::new(Limits::OFF);
    scene.add("poison", Emergency, Firing);
    let mut told = Vec::new();
    for n in 1..20 {
        scene.add(&n.to_string(), Info, Firing);
        for _ in 0..5 {
            match scene.next() {
                Next::Tell(Seq(0), _) => scene.fail(),
                Next::Tell(seq, _) => {
                    told.push(seq.0);
                    scene.end(Ok(()));
                }
                _ => {}
            }
            scene.wait(1);
        }
    }
    assert_eq!(told, (1..20).collect::<Vec<_>>());
    assert!(scene.lane.stats(Now::default(), &scene.ledger).retries < 10);
}

#[test]
fn after_days_it_is_given_up() {
    let mut scene = Scene::new(Limits::OFF);
    scene.add("old", Warn, Firing);
    scene.wait(EXPIRE_SECS);
    scene.add("new", Warn, Firing);
    scene.wait(1);
    assert_eq!(scene.run(), [1]);
    assert_eq!(scene.settled(), [(0, Outcome::Expired)]);
}

#[test]
fn updates_keep_their_distance_and_the_newest_wins() {
    let mut scene = Scene::new(Limits { min_interval_secs: 300, ..Limits::OFF });
    scene.add("x", Warn, Firing);
    assert_eq!(scene.run(), [0]);
    scene.wait(10);
    scene.add("x", Warn, Updated);
    assert_eq!(scene.wait_of(), Some(290));
    scene.add("x", Warn, Updated);
    assert_eq!(scene.wait_of(), Some(290));
    assert_eq!(scene.settled(), [(1, Outcome::Superseded)]);
    scene.wait(290);
    assert_eq!(scene.run(), [2]);
    // Worse news do not wait; neither does the end.
    scene.add("x", Critical, Updated);
    assert_eq!(scene.run(), [3]);
    scene.add("x", Critical, Updated);
    scene.add("x", Critical, Resolved);
    assert_eq!(scene.run(), [5]);
    assert_eq!(scene.settled(), [(4, Outcome::Superseded)]);
    // Another incident of the same condition is news.
    scene.add("y", Warn, Firing);
    assert_eq!(scene.run(), [6]);
}

#[test]
fn who_hears_of_it_first_through_an_update_hears_both() {
    let mut scene = Scene::new(Limits::default());
    scene.add("x", Critical, Updated);
    scene.add("x", Critical, Resolved);
    assert_eq!(scene.run(), [0, 1]);
}

#[test]
fn what_cannot_be_read_back_is_lost_and_counted() {
    let mut scene = Scene::new(Limits::OFF);
    scene.add("x", Warn, Firing);
    scene.next();
    let fate = scene.lane.unreadable(&mut scene.ledger, &mut scene.total);
    assert_eq!(fate, [(Seq(0), Outcome::Unreadable)]);
    assert_eq!(scene.next(), Next::Idle);
    assert_eq!(scene.lane.stats(Now::default(), &scene.ledger).lost, 1);
}

#[test]
fn errors_are_kept_harmless() {
    let mut scene = Scene::new(Limits::OFF);
    scene.add("x", Warn, Firing);
    scene.next();
    scene.end(Err(SendError::retry(format!("\x1b[31m{}", "x".repeat(1000)))));
    let error = scene.lane.stats(Now::default(), &scene.ledger).last_error.unwrap();
    assert!(error.starts_with("?[31mx") && error.chars().count() == MAX_ERROR + 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever fails and whenever: every message ends exactly once, incidents keep their order, and nobody hears of
    /// an end without a beginning.
    #[test]
    fn every_message_ends_once(
        messages in prop::collection::vec((0_u8..5, 0_usize..4, 0_usize..3), 1..40),
        fates in prop::collection::vec(0_u8..10, 1..40), per_minute in 0_u32..4
    ) {
        let mut scene = Scene::new(Limits { per_minute, min_interval_secs: 30, ..Limits::OFF });
        let mut list = Vec::new();
        for (id, severity, status) in messages {
            let status = [Firing, Updated, Resolved][status];
            scene.add(&id.to_string(), Severity::ALL[severity], status);
            list.push((id, status));
        }
        let (mut ended, mut told, mut fates) = (Vec::new(), Vec::new(), fates.into_iter().cycle());
        for _ in 0..10_000 {
            match scene.next() {
                Next::Tell(seq, _) => {
                    let result = match fates.next() {
                        Some(0) => Err(SendError::refused("no")),
                        Some(1..4) => Err(SendError::retry("later")),
                        _ => Ok(()),
                    };
                    if result.is_ok() {
                        told.push(seq.0);
                    }
                    ended.extend(scene.end(result).map(|(seq, _)| seq));
                }
                Next::Summary(_) => { scene.end(Ok(())); }
                Next::Backlog(seqs, _) => {
                    let result = match fates.next() {
                        Some(0) => Err(SendError::refused("no")),
                        Some(1..4) => Err(SendError::retry("later")),
                        _ => Ok(()),
                    };
                    let fate = scene.lane.finished(scene.now, result, 0.0, &mut scene.ledger, &mut scene.total);
                    prop_assert!(fate.is_empty() || fate.len() == seqs.len());
                    told.extend(fate.iter().map(|(seq, _)| seq.0));
                    ended.extend(fate.iter().map(|(seq, _)| seq.0));
                }
                Next::Wait(until) => {
                    prop_assert!(until > scene.now.mono_ns, "no busy waiting");
                    scene.wait(1 + (until - scene.now.mono_ns) / 1_000_000_000);
                }
                Next::Idle => break,
            }
        }
        ended.extend(scene.settled().iter().map(|(seq, _)| *seq));
        ended.sort_unstable();
        prop_assert_eq!(ended, (0..list.len() as u64).collect::<Vec<_>>());
        for (at, seq) in told.iter().enumerate() {
            let (id, status) = list[*seq as usize];
            let earlier: Vec<_> = told[..at].iter().filter(|s| list[**s as usize].0 == id).collect();
            prop_assert!(earlier.iter().all(|s| *s < seq), "order of {}", id);
            prop_assert!(status != Resolved || !earlier.is_empty(), "an end needs a beginning");
        }
        prop_assert!(scene.lane.tries.is_empty(), "nothing is remembered for ever");
    }
}

#[test]
fn a_recovery_follows_the_summary_that_told_of_its_begin() {
    let mut s = Scene::new(Limits::OFF);
    let mut summary = alert("g", Warn, Firing);
    summary.context.insert("members".into(), vec!["m", "n"].into());
    let due = s.ledger.set(["dummy"].into_iter());
    let summary = s.ledger.push(Entry::new(Arc::new(summary), s.now, due)).0;
    let over = s.add("m", Warn, Resolved);
    assert_eq!(s.next(), Next::Tell(Seq(summary), 0));
    s.fail();
    assert!(matches!(s.next(), Next::Wait(_)), "the recovery waits too");
    assert_eq!(s.settled(), []);
    s.wait(3600);
    assert_eq!(s.run(), [summary, over]);
    let stranger = s.add("y", Warn, Resolved);
    assert_eq!(s.run(), [] as [u64; 0]);
    assert_eq!(s.settled(), [(stranger, Outcome::Untold)]);
}

#[test]
fn an_end_that_is_the_only_message_is_told_and_limited() {
    let mut s = Scene::new(Limits { per_hour: 1, ..Limits::OFF });
    for id in ["a", "b"] {
        let mut only = alert(id, Warn, Resolved);
        only.context.insert(crate::alert::ONLY_MESSAGE.into(), true.into());
        let due = s.ledger.set(["dummy"].into_iter());
        s.ledger.push(Entry::new(Arc::new(only), s.now, due));
    }
    assert_eq!(s.run(), [0]);
    assert_eq!(s.settled(), [(1, Outcome::Limited)]);
}

#[test]
fn what_is_critical_and_stands_waits_for_the_limit() {
    let mut s = Scene::new(Limits { per_minute: 1, ..Limits::OFF });
    for (id, severity) in [("c1", Critical), ("c2", Critical), ("c3", Critical), ("w", Warn)] {
        s.add(id, severity, Firing);
    }
    assert_eq!(s.run(), [0]);
    assert_eq!(s.settled(), [(3, Outcome::Limited)], "only the warning is dropped");
    assert_eq!(s.wait_of(), Some(60));
    // One of those that wait is over: nobody needs to hear of it.
    s.add("c2", Critical, Resolved);
    assert_eq!(s.wait_of(), Some(60));
    assert_eq!(s.settled(), [(1, Outcome::Limited), (4, Outcome::Untold)]);
    assert_eq!(s.lane.worst_held(), Some(Seq(1)));
    s.wait(60);
    assert_eq!(s.next(), Next::Tell(Seq(2), 2));
    assert_eq!(s.end(Ok(())), Some((2, Outcome::Delivered)));
    s.add("c3", Critical, Resolved);
    assert_eq!(s.run(), [5], "the end of what was told");
    assert_eq!((s.next(), s.lane.worst_held()), (Next::Idle, None));
    // The end of one member does not drop the summary.
    let mut summary = alert("g", Critical, Firing);
    summary.context.insert("members".into(), vec!["m", "n"].into());
    let due = s.ledger.set(["dummy"].into_iter());
    s.ledger.push(Entry::new(Arc::new(summary), s.now, due));
    s.add("m", Critical, Resolved);
    assert_eq!(s.wait_of(), Some(60));
    assert_eq!(s.settled(), []);
}

#[test]
fn a_warning_that_stands_waits_for_the_limit() {
    let mut s = Scene::new(Limits { per_minute: 1, ..Limits::OFF });
    let standing = |id: &str| {
        let mut alert = alert(id, Warn, Firing);
        alert.context.insert("level".into(), "warn".into());
        alert
    };
    for alert in [standing("a"), standing("b"), standing("c"), alert("event", Warn, Firing)] {
        s.push(alert);
    }
    let mut summary = standing("g");
    summary.context.insert("members".into(), vec!["m", "n"].into());
    s.push(summary);
    assert_eq!(s.run(), [0]);
    assert_eq!(s.settled(), [(3, Outcome::Limited)], "what has no end is only counted");
    assert_eq!(s.wait_of(), Some(60));
    assert!(s.lane.was_limited());
    // What is over meanwhile is only counted; the end of one member is not that of the summary.
    for id in ["b", "m"] {
        s.add(id, Warn, Resolved);
    }
    assert_eq!(s.wait_of(), Some(60));
    assert_eq!(s.settled(), [(1, Outcome::Limited), (5, Outcome::Untold)]);
    s.add("n", Warn, Resolved);
    assert_eq!(s.wait_of(), Some(60));
    let gone = [(4, Outcome::Limited), (6, Outcome::Untold), (7, Outcome::Untold)];
    assert_eq!(s.settled(), gone);
    s.wait(60);
    assert_eq!(s.next(), Next::Tell(Seq(2), 3));
    assert_eq!(s.end(Ok(())), Some((2, Outcome::Delivered)));
    s.add("c", Warn, Resolved);
    assert_eq!(s.run(), [8], "the end of what was told");
    assert_eq!(s.next(), Next::Idle);
}

#[test]
fn a_share_of_the_hour_is_kept_free_for_what_is_critical() {
    let mut s = Scene::new(Limits { per_hour: 10, ..Limits::OFF });
    for n in 0..20 {
        s.add(&n.to_string(), Warn, Firing);
    }
    assert_eq!(s.run().len(), 8);
    s.add("c1", Critical, Firing);
    s.add("c2", Critical, Firing);
    assert_eq!(s.run().len(), 1, "a part of it for each rule");
    let other = Alert { rule: "other".into(), ..alert("c3", Critical, Firing) };
    let due = s.ledger.set(["dummy"].into_iter());
    s.ledger.push(Entry::new(Arc::new(other), s.now, due));
    assert_eq!(s.run().len(), 1);
    assert_eq!(s.wait_of(), Some(3600));
    s.wait(3600);
    assert_eq!(s.run().len(), 1, "in time");
}

#[test]
fn what_waited_for_a_limit_is_one_message_in_the_end() {
    let mut s = Scene::new(Limits { per_hour: 1, ..Limits::OFF });
    for n in 0..6 {
        s.add(&n.to_string(), Critical, Firing);
    }
    assert_eq!(s.run(), [0]);
    s.wait(3600);
    assert_eq!(s.next(), Next::Backlog((1..6).map(Seq).collect(), 0));
    assert!(s.lane.was_limited());
}

#[test]
fn a_channel_that_bars_everything_fails_and_keeps_its_alerts() {
    let mut s = Scene::new(Limits::OFF);
    for id in ["a", "b", "c"] {
        s.add(id, Warn, Firing);
    }
    for (failing, wait) in [(1, 60), (2, 120), (3, 180), (4, 240), (5, 300), (6, 300)] {
        assert!(matches!(s.next(), Next::Tell(..) | Next::Backlog(..)));
        let barred = Err(SendError::barred("401"));
        assert_eq!(s.lane.finished(s.now, barred, 0.0, &mut s.ledger, &mut s.total), []);
        let stats = s.lane.stats(s.now, &s.ledger);
        assert_eq!((stats.failing, stats.queued, stats.refused), (failing, 3, 0));
        assert_eq!(s.wait_of(), Some(wait));
        s.wait(wait);
    }
    assert_eq!(s.run().len(), 3, "mended, everything is told");
    assert_eq!(s.lane.stats(s.now, &s.ledger).failing, 0);
}

#[test]
fn who_does_not_have_a_message_holds_up_nothing() {
    let mut s = Scene::new(Limits { per_hour: 8, ..Limits::OFF });
    let partly = |again| Err(SendError::Partly { why: "452 full".into(), again });
    let stats = |s: &Scene| s.lane.stats(s.now, &s.ledger);
    for id in ["a", "b", "c", "d", "e"] {
        s.add(id, Warn, Firing);
    }
    for seq in 0..5 {
        assert_eq!(s.next(), Next::Tell(Seq(seq), 0), "no pause");
        assert_eq!(s.end(partly(seq != 4)), (seq == 4).then_some((4, Outcome::Delivered)));
    }
    assert_eq!(s.wait_of(), Some(1));
    assert_eq!(stats(&s).failing, 0);
    assert_eq!(stats(&s).last_error.as_deref(), Some("452 full"));
    // A success elsewhere makes nobody try at once.
    s.add("f", Warn, Firing);
    assert_eq!(s.run(), [5]);
    assert_eq!(s.wait_of(), Some(1));
    // After a while it is no backlog for those who have it, and free.
    s.wait(STALE_SECS + 1);
    for seq in 0..4 {
        assert_eq!(s.next(), Next::Tell(Seq(seq), 0));
        assert_eq!(s.end(partly(true)), None);
    }
    // The server is gone: then everything waits.
    s.wait(2);
    assert_eq!(s.next(), Next::Tell(Seq(0), 0));
    s.fail();
    assert_eq!(stats(&s).failing, 1);
    s.wait(2);
    assert_eq!(s.run(), [1, 2, 3]);
    assert_eq!(s.lane.stats(s.now, &s.ledger).failing, 0);
}

#[test]
fn what_is_newer_does_not_wait_for_who_has_not_the_old() {
    let mut s = Scene::new(Limits::OFF);
    s.add("a", Warn, Firing);
    s.next();
    assert_eq!(s.end(Err(SendError::Partly { why: "452".into(), again: true })), None);
    s.add("a", Warn, Resolved);
    assert_eq!(s.run(), [1], "at once");
    assert_eq!(s.settled(), [(0, Outcome::Delivered)]);
    assert_eq!(s.next(), Next::Idle);
}

#[test]
fn what_is_refused_for_good_is_told_for_an_hour_or_until_something_is_delivered() {
    let mut s = Scene::new(Limits::OFF);
    for id in ["a", "b", "c", "d"] {
        s.add(id, Warn, Firing);
    }
    let state = |s: &Scene| {
        let stats = s.lane.stats(s.now, &s.ledger);
        (stats.failing, stats.refusing, stats.refused, stats.last_error_age_secs)
    };
    assert_eq!(state(&s), (0, 0, 0, None));
    let refuse = |s: &mut Scene| {
        assert!(matches!(s.next(), Next::Tell(..)));
        s.end(Err(SendError::refused("400")));
    };
    refuse(&mut s);
    refuse(&mut s);
    s.wait(3599);
    assert_eq!(state(&s), (0, 2, 2, Some(3599)), "nothing waits for it: it does not fail");
    s.wait(1);
    assert_eq!(state(&s), (0, 0, 2, Some(3600)));
    refuse(&mut s);
    assert_eq!(state(&s), (0, 3, 3, Some(0)));
    assert_eq!(s.run(), [3]);
    assert_eq!(state(&s), (0, 0, 3, Some(0)));
}

/// An alert of a condition.
fn of(condition: &str, id: &str, severity: Severity, status: Status) -> Alert {
    Alert { fingerprint: condition.into(), ..alert(id, severity, status) }
}

#[test]
fn the_end_of_what_was_goes_before_the_begin_of_what_is() {
    let mut s = Scene::new(Limits::OFF);
    s.push(of("disk", "old", Warn, Firing));
    assert_eq!(s.run(), [0]);
    // An outage: the end fails again and again, then it begins anew, and worse; another condition, too.
    s.push(of("disk", "old", Warn, Resolved));
    for _ in 0..5 {
        s.wait(60);
        assert_eq!(s.next(), Next::Tell(Seq(1), 0));
        s.fail();
    }
    s.push(of("disk", "new", Critical, Firing));
    s.push(of("disk", "new", Emergency, Updated));
    s.push(of("fan", "fan", Info, Firing));
    s.wait(60);
    assert_eq!(s.run(), [4, 1, 2, 3], "what failed less goes first, each condition in its order");
    s.push(of("disk", "new", Critical, Resolved));
    s.push(of("disk", "third", Emergency, Firing));
    s.push(of("disk", "third", Emergency, Resolved));
    assert_eq!(s.run(), [5, 6, 7]);
    assert_eq!(s.next(), Next::Idle);
}

#[test]
fn a_summary_waits_for_the_end_of_what_it_tells_anew() {
    let mut s = Scene::new(Limits::OFF);
    s.push(of("disk", "old", Warn, Firing));
    assert_eq!(s.run(), [0]);
    s.push(of("disk", "old", Warn, Resolved));
    let mut group = of("group", "g", Critical, Firing);
    group.context.insert("members".into(), vec!["new"].into());
    let whole = serde_json::json!([{ "id": "new", "fingerprint": "disk" }]);
    group.context.insert("alerts".into(), whole);
    s.push(group);
    s.push(of("disk", "new", Critical, Resolved));
    assert_eq!(s.run(), [1, 2, 3], "the worse one would go first");
}

#[test]
fn events_of_one_condition_do_not_wait_for_each_other() {
    let mut s = Scene::new(Limits::OFF);
    s.push(of("oom", "1", Warn, Firing));
    s.push(of("oom", "2", Critical, Firing));
    assert_eq!(s.run(), [1, 0]);
}

#[test]
fn other_keys_do_not_make_a_failing_channel_well() {
    let mut s = Scene::new(Limits::OFF);
    s.add("a", Warn, Firing);
    s.next();
    s.end(Err(SendError::barred("401")));
    s.lane.renew(&Route::new(Arc::new(Dummy)));
    assert_eq!(s.lane.stats(s.now, &s.ledger).failing, 1);
    assert_eq!(s.run(), [0], "at once");
    assert_eq!(s.lane.stats(s.now, &s.ledger).failing, 0);
}
