//! Floods, line by line.

use super::*;
use crate::alert::Severity;
use crate::watch::rules::Custom;

fn event(rule: &str, line: &str, fields: &[(&str, &str)]) -> Event {
    let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let found = LogMatch { rule: rule.into(), line: line.into(), fields, ..LogMatch::default() };
    Event { at: Now::default(), source: Source::Kmsg, historic: false, what: What::Log(Box::new(found)) }
}

fn at(millis: u64) -> Now {
    Now { mono_ns: SECOND + millis * MILLI, wall_ns: 0 }
}

/// Sends lines, one a millisecond; how many passed, and what was told at the end of the window.
fn check(count: u64, make: impl Fn(u64) -> Event, passed: usize, told: &[(u64, &str, &str)]) {
    let mut flood = Flood::of(Source::Kmsg);
    let got = (0..count).filter_map(|n| flood.pass(make(n), true, at(n))).count();
    assert_eq!(got, passed);
    assert_eq!(flood.due_ns().is_some(), !told.is_empty());
    let mut out = Vec::new();
    flood.due(at(9_999), false, &mut out);
    assert!(out.is_empty());
    flood.due(at(10_000), false, &mut out);
    let got: Vec<_> = out
        .iter()
        .map(|event| {
            let What::Log(found) = &event.what else { panic!("{event:?}") };
            let repeats = found.repeats.as_deref().cloned().unwrap_or_default();
            (repeats.count, repeats.first, found.line.clone())
        })
        .collect();
    let expect: Vec<_> = told.iter().map(|(n, a, b)| (*n, (*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(got, expect);
    assert_eq!(flood.due_ns(), None);
}

#[test]
fn few_lines_pass() {
    check(100, |n| event("a", &format!("line {n}"), &[]), 100, &[]);
}

#[test]
fn a_flood_is_told_with_its_count_first_and_last_line() {
    check(5000, |n| event("a", &format!("line {n}"), &[]), 100, &[(4900, "line 100", "line 4999")]);
    let numbered = |n: u64| event("a", "x", &[("pid", &n.to_string()), ("task", "java")]);
    check(5000, numbered, 100, &[(4900, "x", "x")]);
}

/// After a flood of `first`: whether `then` is counted without its rule.
fn again(first: &str, fields: &[(&str, &str)], then: &str, expect: bool) {
    let mut flood = Flood::of(Source::Kmsg);
    assert!(!flood.again(first, at(0), at(0)));
    for n in 0..=BURST {
        assert_eq!(flood.pass(event("a", first, fields), true, at(u64::from(n))).is_some(), n < BURST);
    }
    assert_eq!(flood.again(then, at(500), at(500)), expect, "{first:?} {then:?}");
    let mut out = Vec::new();
    flood.due(at(10_000), false, &mut out);
    let What::Log(told) = &out[0].what else { panic!("{out:?}") };
    let count = told.repeats.as_ref().map_or(1, |repeats| repeats.count);
    assert_eq!((count, told.line.as_str()), if expect { (2, then) } else { (1, first) });
    // The next window begins anew.
    assert!(!flood.again(first, at(11_000), at(11_000)));
}

#[test]
fn what_differs_in_numbers_alone_is_counted_without_its_rule() {
    again("sector 12 of sda", &[], "sector 4711 of sda", true);
    again("[12.5] pid=7, (x) 1", &[("pid", "7")], "[0.25] pid=123, (x) 22", true);
    again("error on sda1", &[("device", "sda1")], "error on sda2", false);
    again("0000:00:11.0: error", &[], "0000:00:12.0: error", false);
    again("host 1:0:0:0 reset", &[], "host 2:0:0:0 reset", false);
    again("code 0x1f", &[], "code 0x2f", false);
    again("a b", &[], "ab", false);
    again("a 1", &[], "a", false);
    again("", &[], "x", false);
    again("Xid (PCI:0000:3b:00): 79, x", &[("xid", "79")], "Xid (PCI:0000:3b:00): 48, x", false);
}

#[test]
fn another_place_or_other_words_are_no_part_of_it() {
    let two = |n: u64| {
        event("a", &format!("of {}", n % 2), &[("device", if n.is_multiple_of(2) { "sda" } else { "sdb" })])
    };
    check(400, two, 200, &[(100, "of 0", "of 0"), (100, "of 1", "of 1")]);
    check(200, |n| event("a", if n.is_multiple_of(2) { "yes" } else { "no" }, &[]), 200, &[]);
}

#[test]
fn kinds_and_lines_are_limited() {
    let mut flood = Flood::of(Source::Kmsg);
    let passed = (0..100_000_u64)
        .filter_map(|n| flood.pass(event("a", "x", &[("device", &format!("disk-{n}"))]), true, at(0)))
        .count();
    assert_eq!((passed, flood.kinds.len()), (MAX_KINDS + BURST as usize, MAX_KINDS + 1));
    let mut out = Vec::new();
    flood.due(at(0), true, &mut out);
    assert_eq!(out.len(), 1);
}

#[test]
fn one_line_that_was_held_back_is_told_as_it_is() {
    check(101, |n| event("a", &format!("line {n}"), &[]), 100, &[(0, "", "line 100")]);
}

#[test]
fn a_flood_for_one_rule_hides_nothing_from_another() {
    let mut flood = Flood::of(Source::Kmsg);
    let (one, both, none) = (Hits::of(&[3]), Hits::of(&[3, 7]), Hits::of(&[]));
    let rules = |(hits, _): (Hits, bool)| hits.rules().collect::<Vec<_>>();
    let mild = |_: usize| false;
    // What does not match costs a rule nothing of its share.
    assert!((0..100_000).all(|_| rules(flood.asked(one, mild, at(0))) == [3]));
    for _ in 0..u32::from(MAX_TOLD) + MAX_SHARED {
        assert_eq!(rules(flood.asked(one, mild, at(0))), [3]);
        flood.matched(3);
    }
    for _ in 0..100_000 {
        let (left, is_one_left_out) = flood.asked(one, mild, at(0));
        assert!(left.is_empty() && is_one_left_out);
        flood.left_out();
    }
    // In it another rule's literal is, too.
    assert_eq!(
        (rules(flood.asked(both, mild, at(1))), rules(flood.asked(none, mild, at(1)))),
        (vec![7], vec![])
    );
    assert!(flood.due_ns().is_some());
    let mut out = Vec::new();
    flood.due(at(10_000), false, &mut out);
    let What::Lost(lost) = &out[0].what else { panic!("{out:?}") };
    assert_eq!((lost.part, lost.reason, lost.count, out.len()), ("kmsg", "flood", 100_000, 1));
    // The next window begins anew.
    let asked = rules(flood.asked(one, mild, at(11_000)));
    assert!(flood.due_ns().is_none() && asked == [3]);
}

#[test]
fn a_flood_of_mild_lines_hides_no_worse_one_of_the_same_rule() {
    let mut flood = Flood::of(Source::Syslog);
    let one = Hits::of(&[3]);
    for _ in 0..u32::from(MAX_TOLD) + MAX_SHARED {
        flood.matched(3);
    }
    let worse = |flood: &mut Flood| flood.asked(one, |_| true, at(0)).0.rules().next();
    for _ in 0..MAX_TOLD {
        assert_eq!((worse(&mut flood), flood.asked(one, |_| false, at(0)).0.rules().next()), (Some(3), None));
        flood.matched(3);
    }
    assert_eq!(worse(&mut flood), None);
}

#[test]
fn a_flood_for_one_pattern_hides_nothing_from_the_others() {
    let pattern = |name, pattern| Custom { name, pattern, severity: Severity::Warn };
    let customs = [pattern("num", r"^NUMBERED (?P<n>\d+)"), pattern("rare", r"DISKFAIL (?P<d>\w+)$")];
    let rules = RuleSet::new(&customs, true).expect("rules");
    let mut flood = Flood::of(Source::Syslog);
    for window in 0..2 {
        let now = at(window * 10_000);
        let mut found = [0; 2];
        for n in 0..200_000 {
            let line = if n % 50_000 == 49_999 { format!("DISKFAIL sd{n}") } else { format!("NUMBERED {n}") };
            for one in flood.own(&rules, &line, now) {
                found[usize::from(one.rule == "rare")] += 1;
            }
        }
        assert_eq!(found, [MAX_ASKED_OWN - 1, 4]);
        let mut out = Vec::new();
        flood.due(at((window + 1) * 10_000), false, &mut out);
        let What::Lost(lost) = &out[0].what else { panic!("{out:?}") };
        assert_eq!(lost.count, 200_000 - u64::from(MAX_ASKED_OWN) - 3);
    }
}
