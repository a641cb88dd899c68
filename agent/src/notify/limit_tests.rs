use super::*;
use crate::notify::slots::Set;
use proptest::prelude::*;
use std::sync::atomic::{AtomicU32, Ordering};

const A: Slot = Slot(0);
const B: Slot = Slot(1);

/// Another rule each time.
#[expect(clippy::unnecessary_wraps, reason = "as the limiter takes it")]
fn class() -> Option<Class> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    Some(Class(NEXT.fetch_add(1, Ordering::Relaxed)))
}

fn at(secs: u64) -> Now {
    Now::default().plus_secs(secs)
}

/// How many of `tries` pass, one each `step` seconds.
fn passed(limits: Limits, step: u64, tries: u64) -> u64 {
    let (mut limiter, mut total) = (Limiter::new(&limits, A, false), Window::new(limits.total_per_hour));
    (0..tries).filter(|n| limiter.take(at(n * step), &mut total, class()).is_ok()).count() as u64
}

#[test]
fn each_limit_holds_alone() {
    let off = Limits::OFF;
    for (limits, step, tries, expect) in [
        (off, 0, 5000, 5000),
        (Limits { per_minute: 10, ..off }, 0, 50, 10),
        (Limits { per_minute: 10, ..off }, 6, 50, 50),
        (Limits { per_minute: 1, ..off }, 59, 3, 2),
        (Limits { per_hour: 60, ..off }, 0, 100, 60),
        (Limits { per_hour: 60, ..off }, 60, 200, 200),
        (Limits { per_hour: 60, ..off }, 36, 200, 120),
        (Limits { total_per_hour: 100, ..off }, 1, 3600, 100),
        (Limits::default(), 0, 100, 10),
        (Limits::default(), 6, 100, 60),
    ] {
        assert_eq!(passed(limits, step, tries), expect, "{limits:?} {step} {tries}");
    }
}

#[test]
fn a_storm_of_one_rule_leaves_room_for_others() {
    let limits = Limits { total_per_hour: 100, ..Limits::OFF };
    let (mut limiter, mut total) = (Limiter::new(&limits, A, false), Window::new(100));
    let mut passed = |class: Option<u32>, tries: u64, from: u64| {
        let tries = (0..tries).map(|n| limiter.take(at(from + n), &mut total, class.map(Class)));
        let passed = tries.flatten().count();
        let free = limiter.free_at(at(from), &total, class.map(Class));
        (passed, free / SECOND)
    };
    assert_eq!(passed(Some(1), 1000, 0), (85, 3600));
    assert_eq!(passed(None, 10, 1000).0, 0);
    assert_eq!(passed(Some(2), 10, 1000).0, 5);
    assert_eq!(passed(Some(3), 10, 1100).0, 5);
    assert_eq!(passed(Some(1), 10, 1200).0, 0);
    assert_eq!(passed(Some(4), 10, 1200).0, 5);
    assert_eq!(passed(Some(5), 10, 1200), (0, 3600), "the hour is full");
    // An hour after the storm there is room for all.
    assert_eq!(passed(None, 10, 3700).0, 10);
}

#[test]
fn the_stop_names_the_limit_and_counts_nothing() {
    let limits = Limits { per_minute: 2, per_hour: 3, total_per_hour: 4, ..Limits::OFF };
    let (mut a, mut b, mut total) =
        (Limiter::new(&limits, A, false), Limiter::new(&limits, B, false), Window::new(4));
    assert_eq!([0; 3].map(|_| a.take(at(0), &mut total, class())), [Ok(()), Ok(()), Err(Stop::Minute)]);
    assert_eq!([0; 2].map(|_| b.take(at(0), &mut total, class())), [Ok(()), Ok(())]);
    assert_eq!(a.take(at(60), &mut total, class()), Err(Stop::Total));
    a.give_back(at(0), &mut total);
    assert_eq!(a.take(at(60), &mut total, class()), Ok(()));
    assert_eq!(a.take(at(3599), &mut total, class()), Err(Stop::Total));
    assert_eq!(a.take(at(3600), &mut total, class()), Ok(()));
}

fn all(slots: impl IntoIterator<Item = Slot>) -> Set {
    slots.into_iter().fold(Set::default(), |mut set, slot| {
        set.add(slot);
        set
    })
}

#[test]
fn a_quick_channel_leaves_a_slow_one_its_part() {
    let limits = Limits { total_per_hour: 100, ..Limits::OFF };
    let mut total = Window::new(100);
    total.share_among(all((0..4).map(Slot)));
    let mut lanes = [0, 1, 2].map(|slot| Limiter::new(&limits, Slot(slot), false));
    let mut storm = |lane: usize, from: u64, class: Option<Class>| {
        let passed = (0..1000).filter(|_| lanes[lane].take(at(from), &mut total, class).is_ok()).count();
        (passed, lanes[lane].free_at(at(from), &total, class) / SECOND)
    };
    // A fifth is for what is urgent; of the rest the other three have ten each for themselves.
    assert_eq!(storm(0, 0, None), (50, 3600));
    assert_eq!(storm(1, 100, None), (10, 3600));
    assert_eq!(
        storm(2, 200, None),
        (10, 3600),
        "of the others' part nothing, from what is common nothing any more"
    );
    assert_eq!(storm(0, 300, Some(Class(1))), (5, 3600), "what is urgent has more");
    assert_eq!(storm(2, 3600, None), (40, 3800), "when the quick one's are an hour old");
    assert_eq!(storm(0, 3600, None), (10, 3800));
}

#[test]
fn the_hourly_limit_of_a_channel_is_named() {
    let limits = Limits { per_hour: 1, ..Limits::OFF };
    let (mut limiter, mut total) = (Limiter::new(&limits, A, false), Window::new(0));
    assert_eq!(limiter.take(at(0), &mut total, class()), Ok(()));
    assert_eq!(limiter.take(at(3599), &mut total, class()), Err(Stop::Hour));
    assert_eq!(limiter.take(at(3600), &mut total, class()), Ok(()));
}

proptest! {
    #[test]
    fn no_window_ever_holds_more(
        limit in 1_u32..20, minute in 1_u32..10, steps in prop::collection::vec(0_u64..300, 1..300)
    ) {
        let limits = Limits { per_minute: minute, per_hour: limit, ..Limits::OFF };
        let (mut limiter, mut total) = (Limiter::new(&limits, A, false), Window::new(0));
        let (mut now, mut sent) = (0, Vec::new());
        for step in steps {
            now += step;
            if limiter.take(at(now), &mut total, class()).is_ok() {
                sent.push(now);
            }
        }
        for (i, start) in sent.iter().enumerate() {
            let within = |span: u64| sent[i..].iter().filter(|t| **t < start + span).count();
            prop_assert!(within(3600) <= limit as usize);
            // A bucket lets through its content and what flows in.
            prop_assert!(within(60) <= 2 * minute as usize);
        }
    }

    /// Whatever the others do, a channel gets its part; together they never get more than the limit, and one alone
    /// gets all but the parts of the others.
    #[test]
    fn every_channel_gets_its_part(
        limit in 10_u32..120, channels in 1_u8..6,
        steps in prop::collection::vec((0_u8..6, 0_u64..120, prop::bool::weighted(0.2), prop::bool::weighted(0.1)), 1..400)
    ) {
        let limits = Limits { total_per_hour: limit, ..Limits::OFF };
        let mut total = Window::new(limit);
        total.share_among(all((0..channels).map(Slot)));
        let open = (limit - limit / 5) as usize;
        let part = open / 2 / usize::from(channels);
        let mut lanes: Vec<_> = (0..channels).map(|slot| Limiter::new(&limits, Slot(slot), false)).collect();
        let (mut now, mut sent) = (0, Vec::new());
        for (slot, step, is_urgent, fails) in steps {
            now += step;
            let slot = slot % channels;
            let lane = &mut lanes[usize::from(slot)];
            let within = |sent: &[(u64, u8)], slot: Option<u8>| {
                sent.iter().filter(|(at, by)| now - at < 3600 && slot.is_none_or(|slot| slot == *by)).count()
            };
            let (mine, all) = (within(&sent, Some(slot)), within(&sent, None));
            let class = is_urgent.then(|| Class(u32::from(slot)));
            let free = lane.free_at(at(now), &total, class);
            if lane.take(at(now), &mut total, class).is_ok() {
                if fails {
                    lane.give_back(at(now), &mut total);
                } else {
                    sent.push((now, slot));
                }
            } else {
                prop_assert!(mine >= part, "{} of its {}", mine, part);
                prop_assert!(all > mine || mine >= open - part * usize::from(channels - 1));
                prop_assert!(free > at(now).mono_ns && free <= at(now + 3600).mono_ns);
            }
            prop_assert!(within(&sent, None) <= limit as usize);
        }
    }

    #[test]
    fn giving_back_leaves_no_trace(times in prop::collection::vec(0_u64..4000, 0..50)) {
        let limits = Limits { per_minute: 3, per_hour: 5, total_per_hour: 7, ..Limits::OFF };
        let (mut limiter, mut total) = (Limiter::new(&limits, A, false), Window::new(7));
        let mut times = times;
        times.sort_unstable();
        for secs in times {
            if limiter.take(at(secs), &mut total, class()).is_ok() {
                limiter.give_back(at(secs), &mut total);
            }
        }
        prop_assert!(total.is_untouched() && limiter.hour.is_untouched());
    }
}
