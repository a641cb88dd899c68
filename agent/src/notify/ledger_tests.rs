use super::*;
use crate::alert::{LEVEL, STANDS};
use crate::notify::tests::alert;

const PLACE: Place = Place { offset: 0, len: 999 };

/// `id severity status due told age`, one alert a line, all on disk; channels are a and b.
fn ledger(lines: &[(&str, Severity, Status, &str, &str, u64)], now: Now) -> Ledger {
    let mut ledger = Ledger::default();
    for (id, severity, status, due, told, age) in lines {
        let mut alert = alert(id, *severity, *status);
        if *id == "level" {
            alert.context.insert(LEVEL.into(), severity.name().into());
        }
        let mut entry = Entry::new(Arc::new(alert), now, Set::default());
        entry.born_ns -= *age as i64 * 1_000_000_000;
        entry.place = Some(PLACE);
        entry.due = ledger.set(due.split_whitespace());
        entry.told = ledger.set(told.split_whitespace());
        ledger.push(entry);
    }
    ledger
}

fn ids(ledger: &Ledger) -> Vec<u64> {
    ledger.iter().map(|(seq, _)| seq.0).collect()
}

use Severity::{Critical, Emergency, Info, Warn};
use Status::{Firing, Resolved};

fn at(secs: u64) -> Now {
    Now::default().plus_secs(secs)
}

#[test]
fn sets_hold_channels() {
    let mut ledger = Ledger::default();
    let (a, b) = (ledger.slot("a").unwrap(), ledger.slot("b").unwrap());
    assert_eq!(ledger.slot("a"), Some(a));
    let mut set = Set::default();
    set.add(b);
    assert!(set.has(b) && !set.has(a) && !set.is_empty());
    assert_eq!(ledger.names(set).collect::<Vec<_>>(), ["b"]);
    set.remove(b);
    assert!(set.is_empty());
    for n in 2..MAX_CHANNELS {
        assert!(ledger.slot(&n.to_string()).is_some());
    }
    assert_eq!(ledger.slot("one too many"), None);
    assert_eq!(ledger.set(["a", "one too many"].into_iter()).slots().collect::<Vec<_>>(), [a]);
}

#[test]
fn told_incidents_that_are_over_are_forgotten_after_an_hour() {
    let now = at(10_000);
    let mut ledger = ledger(
        &[
            ("over", Warn, Firing, "", "a", 4000),
            ("open", Warn, Firing, "", "a", 4000),
            ("pending", Warn, Firing, "", "a", 4000),
            ("pending", Warn, Resolved, "a", "", 3999),
            ("over", Warn, Resolved, "", "a", 3700),
            ("young", Warn, Firing, "", "a", 100),
            ("young", Warn, Resolved, "", "a", 90),
        ],
        now,
    );
    ledger.forget_told(now);
    assert_eq!(ids(&ledger), [1, 2, 3, 5, 6]);
}

#[test]
fn only_so_many_told_ones_are_remembered() {
    let now = at(10_000);
    let mut ledger = ledger(&[("first", Info, Firing, "a", "", 9)], now);
    for n in 0..MAX_RECENT + 10 {
        ledger.push(Entry::new(Arc::new(alert(&n.to_string(), Warn, Firing)), now, Set::default()));
    }
    ledger.forget_told(now);
    assert_eq!(ledger.len(), MAX_RECENT + 1, "those, and the one still to be told");
    assert_eq!(ids(&ledger)[..2], [0, 11]);
}

#[test]
fn at_the_limit_told_ones_go_first_then_the_least_severe() {
    let now = at(0);
    let mut ledger = ledger(
        &[
            ("e", Emergency, Firing, "a", "", 0),
            ("i1", Info, Firing, "a", "", 0),
            ("told", Emergency, Firing, "", "a", 0),
            ("w", Warn, Firing, "a", "", 0),
            ("i2", Info, Firing, "a b", "", 0),
        ],
        now,
    );
    let due = ledger.set(["a"].into_iter());
    for _ in 0..MAX_ALERTS - 2 {
        let mut entry = Entry::new(Arc::new(alert("c", Critical, Firing)), now, due);
        (entry.place, entry.held) = (Some(Place { offset: 0, len: 9 }), None);
        ledger.push(entry);
    }
    let lost: Vec<_> = ledger.enforce().into_iter().map(|(seq, _)| seq.0).collect();
    assert_eq!(lost, [1, 4], "the told one is no loss");
    assert_eq!(ledger.len(), MAX_ALERTS);
    assert_eq!(ids(&ledger)[..3], [0, 3, 5]);
    assert!(ledger.enforce().is_empty());
}

#[test]
fn bytes_and_unstored_alerts_have_their_own_limits() {
    let now = at(0);
    let mut ledger = ledger(&[("a", Info, Firing, "a", "", 0), ("b", Info, Firing, "a", "", 0)], now);
    ledger.get_mut(Seq(1)).unwrap().place = Some(Place { offset: 0, len: MAX_BYTES as u32 });
    assert_eq!(ledger.enforce().len(), 2, "the oldest of equals first, until it fits");

    let due = ledger.set(["a"].into_iter());
    let mut stored = Entry::new(Arc::new(alert("stored", Info, Firing)), now, due);
    stored.place = Some(PLACE);
    let stored = ledger.push(stored);
    for n in 0..=MAX_UNSTORED {
        let severity = if n == 5 { Info } else { Critical };
        ledger.push(Entry::new(Arc::new(alert("new", severity, Firing)), now, due));
    }
    let lost = ledger.enforce();
    assert_eq!(lost.iter().map(|(seq, e)| (seq.0, e.severity)).collect::<Vec<_>>(), [(stored.0 + 6, Info)]);
    assert!(ledger.get(stored).is_some(), "what the disk has does not help memory");
}

#[test]
fn texts_stay_in_memory_only_while_they_are_of_use() {
    let now = at(0);
    let mut ledger = Ledger::default();
    let due = ledger.set(["a"].into_iter());
    for n in 0..MAX_HOT + 5 {
        let due = if n == MAX_HOT + 4 { Set::default() } else { due };
        let mut entry = Entry::new(Arc::new(alert("x", Info, Firing)), now, due);
        entry.place = (n != 0).then_some(PLACE);
        ledger.push(entry);
    }
    ledger.cool();
    let held: Vec<_> =
        ledger.iter().filter(|(_, e)| e.held.is_some()).map(|(seq, _)| seq.0 as usize).collect();
    assert_eq!(held.len(), MAX_HOT + 1);
    assert_eq!((held[0], held[1], held[MAX_HOT]), (0, 4, MAX_HOT + 3), "the unstored one, then the newest");
}

#[test]
fn a_rewrite_drops_what_it_could_not_copy() {
    let now = at(0);
    let lines =
        [("a", Info, Firing, "a", "", 0), ("b", Info, Firing, "a", "", 0), ("c", Info, Firing, "a", "", 0)];
    let mut ledger = ledger(&lines, now);
    ledger.get_mut(Seq(0)).unwrap().held = None;
    ledger.get_mut(Seq(1)).unwrap().held = None;
    let place = Place { offset: 7, len: 7 };
    let lost = ledger.moved(&[(Seq(1), place), (Seq(99), place)]);
    assert_eq!(lost.iter().map(|(seq, _)| seq.0).collect::<Vec<_>>(), [0]);
    assert_eq!(
        ledger.iter().map(|(seq, e)| (seq.0, e.place)).collect::<Vec<_>>(),
        [(1, Some(place)), (2, None)]
    );
}

#[test]
fn a_recovery_is_for_those_who_know_or_will_know() {
    let lines = [
        ("x", Info, Firing, "a", "", 0),
        ("x", Critical, Status::Updated, "", "b", 0),
        ("y", Info, Firing, "c", "", 0),
    ];
    let mut ledger = ledger(&lines, at(0));
    let audience = |ledger: &Ledger, id: &str| {
        let set = ledger.audience(&alert(id, Info, Resolved));
        ledger.names(set).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(audience(&ledger, "x"), ["a", "b"]);
    assert_eq!(audience(&ledger, "z"), [] as [&str; 0]);
    let (a, x) = (ledger.slot("a").unwrap(), Incident::of(&alert("x", Info, Firing)));
    assert!(!ledger.told_to(a).contains(&x));
    ledger.settle(Seq(0), a, Outcome::Delivered);
    assert!(ledger.told_to(a).contains(&x));
}

#[test]
fn channels_that_are_gone_owe_nothing() {
    let lines =
        [("x", Info, Firing, "a b", "", 0), ("y", Info, Firing, "a", "", 0), ("z", Info, Firing, "", "b", 0)];
    let mut ledger = ledger(&lines, at(0));
    let a = ledger.set(["a"].into_iter());
    let b = ledger.slot("b").unwrap();
    assert_eq!(ledger.retain_channels(a, |_| a), (vec![(Seq(0), b)], 0));
    assert!(ledger.iter().all(|(_, e)| e.due.minus(a).is_empty()));
    assert_eq!(ledger.get(Seq(0)).unwrap().due, a);
}

#[test]
fn what_nobody_was_told_goes_to_the_channels_that_are_left() {
    let lines = [
        ("x", Info, Firing, "b", "", 0),
        ("y", Critical, Firing, "b", "", 0),
        ("z", Critical, Resolved, "b", "", 0),
        ("u", Critical, Firing, "b", "c", 0),
        ("v", Critical, Firing, "b d", "", 0),
    ];
    let mut ledger = ledger(&lines, at(0));
    let (a, both) = (ledger.set(["a"].into_iter()), ledger.set(["a", "d"].into_iter()));
    let b = ledger.slot("b").unwrap();
    let takers = |severity| if severity >= Critical { a } else { Set::default() };
    let (left, moved) = ledger.retain_channels(both, takers);
    assert_eq!((left, moved), (vec![(Seq(0), b), (Seq(2), b), (Seq(3), b)], 2));
    assert_eq!(ledger.get(Seq(1)).unwrap().due, a);
    // That it waits for another one, too, does not mean that anybody hears of it.
    assert_eq!(ledger.get(Seq(4)).unwrap().due, both);
}

#[test]
fn ages_survive_clocks_that_are_set() {
    let wall = |secs: i64| Now { mono_ns: 50_000_000_000, wall_ns: secs * 1_000_000_000 };
    for (at, now, age) in [
        (1_771_745_400, 1_771_745_500, 100),
        (1_771_745_400, 1_771_745_000, 0),
        (30, 1_771_745_400, 0),
        (i64::MIN, i64::MAX / 1_000_000_000, 0),
        (1_771_745_400, 0, 0),
    ] {
        let entry = Entry::recovered(&alert("x", Info, Firing), PLACE, at, wall(now));
        assert_eq!(entry.age_secs(wall(now)), age, "accepted {at}, found {now}");
    }
    let fresh = Entry::new(Arc::new(alert("x", Info, Firing)), wall(30), Set::default());
    let later = Now { mono_ns: 60_000_000_000, wall_ns: i64::MAX };
    assert_eq!(fresh.age_secs(later), 10);
}

/// A summary of `members`.
fn summary(id: &str, status: Status, members: &[&str]) -> Arc<Alert> {
    let mut alert = alert(id, Warn, status);
    alert.context.insert("members".into(), members.to_vec().into());
    Arc::new(alert)
}

#[test]
fn a_summary_tells_of_its_members() {
    let now = at(10_000);
    let mut ledger = ledger(&[("x", Warn, Firing, "", "a", 0)], now);
    let b = ledger.set(["b"].into_iter());
    ledger.push(Entry::new(summary("g", Firing, &["m", "n"]), now, b));
    let audience =
        |alert: &Alert| ledger.names(ledger.audience(alert)).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(audience(&alert("m", Warn, Resolved)), ["b"]);
    assert_eq!(audience(&summary("h", Resolved, &["x", "n"])), ["a", "b"]);
    assert_eq!(audience(&summary("h", Resolved, &["y"])), [] as [&str; 0]);
}

#[test]
fn a_summary_is_remembered_until_all_its_members_are_over() {
    let now = at(10_000);
    let mut ledger = Ledger::default();
    ledger.push(Entry::new(summary("g", Firing, &["m", "n"]), at(0), Set::default()));
    ledger.push(Entry::new(Arc::new(alert("m", Warn, Resolved)), at(0), Set::default()));
    ledger.forget_told(now);
    assert_eq!(ids(&ledger), [0], "n stands");
    ledger.push(Entry::new(summary("h", Resolved, &["m", "n"]), at(0), Set::default()));
    ledger.forget_told(now);
    assert_eq!(ids(&ledger), [] as [u64; 0]);
}

#[test]
fn what_was_told_and_stands_is_not_forgotten() {
    let now = at(10_000);
    let begin = [("level", Warn, Firing, "", "a b", 9), ("level", Warn, Status::Updated, "", "a", 9)];
    let mut ledger = ledger(&begin, now);
    let mut event = Alert { threshold: None, ..alert("event", Critical, Firing) };
    event.context.insert("incident".into(), serde_json::json!({ "kind": "oom" }));
    let mut event = Entry::new(Arc::new(event), now, Set::default());
    event.told = ledger.set(["a"].into_iter());
    ledger.push(event);
    for n in 0..2 * MAX_RECENT {
        for status in [Firing, Resolved] {
            let mut entry = Entry::new(Arc::new(alert(&n.to_string(), Warn, status)), now, Set::default());
            entry.told = ledger.set(["a"].into_iter());
            ledger.push(entry);
        }
    }
    ledger.forget_told(now);
    assert_eq!(ids(&ledger)[..2], [0, 1], "the newest that each channel was told; an event has no end");
    assert_eq!(ledger.len(), MAX_RECENT + 2);
    let a = ledger.slot("a").unwrap();
    assert_eq!(ledger.standing_of(a, 9), [Seq(1)]);
    let end = alert("level", Warn, Resolved);
    let who = ledger.audience(&end);
    assert_eq!(ledger.names(who).collect::<Vec<_>>(), ["a", "b"]);
    let mut end = Entry::new(Arc::new(end), now, who);
    end.due.remove(a);
    ledger.push(end);
    assert_eq!(ledger.standing_of(a, 9), []);
    let b = ledger.slot("b").unwrap();
    assert_eq!(ledger.standing_of(b, 9), [Seq(0)], "not yet told there");
}

#[test]
fn only_so_many_that_stand_are_kept() {
    let mut ledger = Ledger::default();
    for n in 0..MAX_STANDING + MAX_RECENT + 10 {
        let mut level = alert(&n.to_string(), Warn, Firing);
        level.context.insert(LEVEL.into(), "warn".into());
        let mut entry = Entry::new(Arc::new(level), at(0), Set::default());
        entry.told = ledger.set(["a"].into_iter());
        ledger.push(entry);
    }
    ledger.forget_told(at(0));
    assert_eq!(ledger.len(), MAX_STANDING + MAX_RECENT);
}

#[test]
fn the_last_end_is_also_that_of_the_summary() {
    let mut ledger = Ledger::default();
    let a = ledger.set(["a"].into_iter());
    let mut begin = alert("g", Warn, Firing);
    begin.context.insert(STANDS.into(), true.into());
    let mut begin = Entry::new(Arc::new(begin), at(0), Set::default());
    begin.told = a;
    ledger.push(begin);
    let mut end = alert("m", Warn, Resolved);
    end.context.insert("closes".into(), vec!["g"].into());
    assert_eq!(ledger.audience(&end), a, "who heard of the summary hears of its end");
    ledger.push(Entry::new(Arc::new(end), at(0), Set::default()));
    assert_eq!(ledger.standing_of(Slot(0), 9), []);
}

#[test]
fn what_limits_hold_back_is_known_until_it_is_told() {
    let mut ledger = Ledger::default();
    let (a, b) = (ledger.slot("a").unwrap(), ledger.slot("b").unwrap());
    let both = ledger.set(["a", "b"].into_iter());
    let now = Now::default();
    let push = |ledger: &mut Ledger, id: &str| {
        ledger.push(Entry::new(Arc::new(alert(id, Critical, Firing)), now, both))
    };
    let (x, y) = (push(&mut ledger, "x"), push(&mut ledger, "y"));
    let asked = ["x", "y", "z"].map(Incident::of_id);
    let held = |ledger: &Ledger, limited: Set| -> Vec<String> {
        let all = ledger.held_back(&asked, limited);
        all.iter().map(|set| ledger.names(*set).collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(held(&ledger, Set::default()), ["", "", ""]);
    ledger.settle(x, a, Outcome::Limited);
    ledger.settle(y, a, Outcome::Delivered);
    assert_eq!(held(&ledger, Set::default()), ["a", "", ""]);
    let mut waits = Set::default();
    waits.add(b);
    assert_eq!(held(&ledger, waits), ["a b", "b", ""]);
    let news = push(&mut ledger, "x");
    ledger.settle(news, a, Outcome::Delivered);
    assert_eq!(held(&ledger, Set::default()), ["", "", ""]);
}

#[test]
fn a_clock_that_is_far_ahead_gives_nothing_up() {
    let now = Now { mono_ns: 5_000_000_000, wall_ns: 1_900_000_000_000_000_000 };
    for (at, age) in [
        (1_900_000_000 - 60, 60),
        (1_900_000_000 - 100 * 3600, 71 * 3600),
        (1_700_000_000, 71 * 3600),
        (2_000_000_000, 0),
        (5, 0),
    ] {
        let entry = Entry::recovered(&alert("x", Warn, Firing), Place { offset: 0, len: 1 }, at, now);
        assert_eq!(entry.age_secs(now), age, "{at}");
    }
}
