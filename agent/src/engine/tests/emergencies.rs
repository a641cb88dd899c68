//! What is worth waking everybody goes at once, and does not wake them a hundred times.

use super::held::{eager, flap, hold};
use super::rules::with;
use super::*;
use crate::engine::speak::MAX_URGENT;

fn emergency(n: u32) -> What {
    What::Log(Box::new(LogMatch {
        rule: "panic".into(),
        severity: Severity::Emergency,
        meaning: "m".into(),
        line: format!("l{n}"),
        fields: vec![("n".into(), n.to_string())],
        ..LogMatch::default()
    }))
}

#[test]
fn the_first_emergencies_of_a_cause_go_at_once() {
    let mut r = run(30);
    for n in 0..MAX_URGENT as u32 {
        r.event(Source::Kmsg, emergency(n));
    }
    assert_eq!(r.told().len(), MAX_URGENT);
}

#[test]
fn a_storm_of_emergencies_is_a_few_pages_and_summaries_that_count_it() {
    let mut r = run(30);
    for n in 0..300 {
        r.event(Source::Kmsg, emergency(n)).wait_ms(200);
    }
    r.wait_ms(61_000);
    let told = r.alerts();
    assert!((MAX_URGENT + 1..=MAX_URGENT + 3).contains(&told.len()), "{}", told.len());
    let more: f64 = told[MAX_URGENT..].iter().map(|alert| alert.value).sum();
    assert_eq!(more as usize + MAX_URGENT, 300);
    assert!(told.iter().all(|alert| alert.severity == Severity::Emergency));
}

#[test]
fn an_agent_that_ends_in_a_storm_tells_what_waits_in_one_summary_a_rule() {
    let mut r = with(|settings| (settings.manners.group_secs, settings.manners.dedup_secs[3]) = (30, 600));
    for n in 0..1000 {
        r.event(Source::Kmsg, emergency(n % 100));
    }
    let before = r.alerts().len();
    r.engine.finish(r.now, &mut r.out);
    r.drop_kept();
    let told = &r.alerts()[before..];
    assert_eq!(told.len(), 1, "{told:#?}");
    // Those that were not told yet, and the repetitions of all.
    assert_eq!(told[0].context["grouped"], 100 - MAX_URGENT + 100, "all that waits");
}

#[test]
fn another_place_goes_at_once_behind_a_storm() {
    let mut r = run(30);
    let of = |device: &str, n: u32| {
        let What::Log(mut line) = emergency(n) else { unreachable!() };
        line.fields.push(("device".into(), device.into()));
        What::Log(line)
    };
    for n in 0..300 {
        r.event(Source::Kmsg, of("sda", n));
    }
    let before = r.alerts().len();
    r.event(Source::Kmsg, of("sdb", 1000)).wait_ms(200);
    assert_eq!(r.alerts().len(), before + 1, "sdb waits; {before} of sda told");
}

#[test]
fn what_is_held_in_a_group_and_becomes_an_emergency_goes_at_once() {
    let mut r = with(|settings| {
        settings.manners.group_secs = 600;
        settings.escalation.emergency_after_mins = 1;
    });
    // Both at one moment: the first is told, the other follows it.
    for _ in 0..18 {
        r.disks(&[("/a", 95.0), ("/b", 95.0)]);
    }
    let told = r.told();
    assert_eq!(told.iter().filter(|told| told.contains("emergency")).count(), 2, "{told:#?}");
}

#[test]
fn what_flapped_and_is_away_is_no_emergency_by_time() {
    let mut r = with(|settings| {
        eager(settings);
        settings.escalation.emergency_after_mins = 1;
    });
    flap(&mut r, 5, 95.0);
    assert!(r.told().iter().any(|line| line.contains("keeps coming and going")), "{:#?}", r.told());
    for _ in 0..30 {
        r.disks(&[("/", 10.0)]);
    }
    assert!(!r.told().iter().any(|line| line.contains("emergency")), "{:#?}", r.told());
    // Once it comes and stays, it is.
    hold(&mut r, 10, "/", 95.0);
    assert!(r.told().iter().any(|line| line.starts_with("updated emergency")), "{:#?}", r.told());
}
