use super::*;
use proptest::prelude::*;

/// Five minutes.
const PACE_NS: u64 = 300 * crate::time::SECOND;

/// Numbers from 0 to 1, the same each time.
fn noise() -> impl FnMut() -> f64 {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Where a series is told as strange.
fn told(values: impl Iterator<Item = f64>) -> Vec<(usize, View)> {
    let mut detector = Detector::default();
    values.enumerate().filter_map(|(at, value)| Some((at, detector.step(value, PACE_NS)?.view))).collect()
}

fn quiet(values: impl Iterator<Item = f64>, most: usize) {
    let told = told(values);
    assert!(told.len() <= most, "{told:?}");
}

/// What is strange from `at` on is told within so many readings, and seldom anything before.
fn finds(values: impl Iterator<Item = f64>, at: usize, within: usize) {
    let told = told(values);
    let before = told.iter().filter(|(told, _)| *told < at).count();
    assert!(before <= 1, "{told:?}");
    assert!(told.iter().any(|(told, _)| (at..at + within).contains(told)), "{told:?} instead of {at}");
}

#[test]
fn ordinary_series_are_quiet() {
    let mut random = noise();
    quiet((0..20_000).map(|_| 7.0), 0);
    quiet((0..20_000).map(|at| f64::from(at % 2)), 0);
    quiet((0..20_000).map(|at| f64::from(u8::from(at % 300 < 150)) * 80.0), 0);
    quiet((0..20_000).map(|_| random()), 1);
    // A heavy tail without variance: one reading in ten thousand is a hundred times the least.
    quiet((0..20_000).map(|_| 1.0 / (1.0 - random()).sqrt()), 15);
    quiet(
        (0..20_000).map(|at| (f64::from(at) / 2880.0 * std::f64::consts::TAU).sin() * 30.0 + 50.0 + random()),
        2,
    );
    quiet((0..20_000).map(|at| f64::from(at) * 0.5), 1);
}

#[test]
fn what_is_strange_is_found() {
    let mut random = noise();
    let base: Vec<f64> = (0..3000).map(|_| 20.0 + 5.0 * random()).collect();
    let with = |from: usize, to: usize, change: &dyn Fn(f64) -> f64| {
        let mut values = base.clone();
        values[from..to].iter_mut().for_each(|value| *value = change(*value));
        finds(values.into_iter(), from, 30);
    };
    with(2000, 2006, &|value| value * 3.0);
    with(2000, 3000, &|value| value + 8.0);
    with(2000, 2100, &|value| value - 15.0);
    with(2000, 2060, &|value| (value - 22.5) * 4.0 + 22.5);
    with(1500, 1501, &|_| 60.0);
}

#[test]
fn a_strange_hour_is_told_once() {
    let mut random = noise();
    let values: Vec<f64> =
        (0..4000).map(|at| if at < 2000 { random() } else { 10.0 + 3.0 * random() }).collect();
    let found = told(values.into_iter());
    assert_eq!(found.iter().filter(|(at, _)| *at >= 2000).count(), 1, "{found:?}");
}

#[test]
fn what_follows_within_a_day_is_told_too() {
    let mut random = noise();
    let values: Vec<f64> = (0..2000)
        .map(|at| match at {
            // The first is much stranger than the second.
            1500..1506 => 400.0,
            1640..1646 => 200.0,
            _ => 20.0 + 5.0 * random(),
        })
        .collect();
    let found = told(values.into_iter());
    for begin in [1500, 1640] {
        assert!(found.iter().any(|(at, _)| (begin..begin + 12).contains(at)), "{begin}: {found:?}");
    }
}

#[test]
fn what_counts_is_time_and_not_readings() {
    // Half a day of slower readings is known as well, but of some readings nothing is.
    for (times, learned) in [(1, 150), (2, 75), (4, 38), (12, 30), (100, 30)] {
        let mut random = noise();
        let mut detector = Detector::default();
        // The views begin when the window is full.
        let begin = 23 + learned;
        let told = (0..200).filter(|at| {
            let value = random() + if *at + 1 >= begin { 1e3 } else { 0.0 };
            detector.step(value, times * PACE_NS).is_some()
        });
        let first = told.min().expect("a step of a thousand");
        assert!((begin - 1..begin + 2).contains(&first), "{times}: {first} instead of {begin}");
    }
    // What chance makes strange once in so many days is as rare at any pace.
    let bar = |times: u64| {
        let mut detector = Detector::default();
        for _ in 0..200 {
            let _ = detector.step(1.0, times * PACE_NS);
        }
        BAR - detector.window.pace().log10()
    };
    for (times, expect) in [(0, 8.0), (1, 8.0), (10, 7.0)] {
        assert!((bar(times) - expect).abs() < 1e-12, "{times}");
    }
}

#[test]
fn nonsense_changes_nothing() {
    let mut random = noise();
    let values: Vec<f64> = (0..1000).map(|at| if at == 800 { 50.0 } else { random() }).collect();
    let with = values.iter().flat_map(|value| [f64::NAN, *value, f64::INFINITY, f64::NEG_INFINITY]);
    let mut detector = Detector::default();
    let found = with.filter_map(|value| detector.step(value, PACE_NS)).count();
    assert_eq!(found, told(values.into_iter()).len());
    assert!(found > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Nothing breaks it, and its evidence is a number.
    #[test]
    fn any_series(values in prop::collection::vec(prop_oneof![
        any::<f64>(), Just(f64::MAX), Just(f64::MIN), Just(f64::MIN_POSITIVE), Just(0.0), -1e3..1e3_f64,
    ], 0..1500)) {
        let mut detector = Detector::default();
        for value in values {
            if let Some(strange) = detector.step(value, PACE_NS) {
                prop_assert!(strange.evidence.is_finite() && strange.evidence > BAR);
            }
        }
    }
}
