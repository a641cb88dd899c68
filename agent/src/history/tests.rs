#![expect(clippy::float_cmp, reason = "exact is what is promised")]

use proptest::prelude::*;

use super::*;
use crate::time::SECOND;

#[path = "../../tests/history/recording.rs"]
mod recording;
#[path = "../../tests/history/recording_write.rs"]
mod recording_write;

const ID: SeriesId = SeriesId(3);

/// Whether `told` is `given` to five significant digits: half a unit of the fifth at most.
fn is_near(told: f64, given: f64) -> bool {
    if given.is_nan() || given == 0.0 || given.is_infinite() || told == given {
        return told == given || told.is_nan() && given.is_nan();
    }
    let half = 0.5 * 10_f64.powf(given.abs().log10().floor() - 4.0);
    (told - given).abs() <= half.max(given.abs() * 4e-6) * (1.0 + 1e-9)
}

/// What the store has of `samples` is their end, and at least `capacity` of them.
fn check(samples: &[(u64, f64)], capacity: usize, rounding: u64) {
    let mut store = Store::new(capacity);
    for &(at, value) in samples {
        store.append(ID, at, value);
    }
    let told: Vec<_> = store.range(ID, 0, u64::MAX).collect();
    assert!(told.len() >= capacity.min(samples.len()), "{} of {}", told.len(), samples.len());
    for (told, given) in told.iter().rev().zip(samples.iter().rev()) {
        assert!(told.0.abs_diff(given.0) <= rounding, "{told:?} of {given:?}");
        assert!(is_near(told.1, given.1), "{told:?} of {given:?}");
    }
    if let (Some(from), Some(to)) = (told.get(told.len() / 3), told.get(told.len() / 2)) {
        let part: Vec<_> = store.range(ID, from.0, to.0).map(|(at, v)| (at, v.to_bits())).collect();
        let whole = told.iter().filter(|(at, _)| (from.0..=to.0).contains(at));
        assert_eq!(part, whole.map(|(at, v)| (*at, v.to_bits())).collect::<Vec<_>>());
    }
    store.forget(ID);
    assert_eq!(store.range(ID, 0, u64::MAX).count(), 0);
}

fn each_second(values: impl IntoIterator<Item = f64>) -> Vec<(u64, f64)> {
    values.into_iter().enumerate().map(|(i, value)| (1000 * SECOND + i as u64 * SECOND, value)).collect()
}

/// The same, and the values are exact.
fn check_exact(values: &[f64]) {
    let samples = each_second(values.iter().copied());
    check(&samples, samples.len(), 0);
    let mut store = Store::new(samples.len());
    for &(at, value) in &samples {
        store.append(ID, at, value);
    }
    let told: Vec<f64> = store.since(ID, 0).collect();
    assert!(told.iter().zip(values).all(|(a, b)| a == b || a.is_nan() && b.is_nan()), "{told:?}\n{values:?}");
}

fn run(count: u32, value: impl Fn(f64) -> f64) -> Vec<f64> {
    (0..count).map(|i| value(f64::from(i))).collect()
}

#[test]
fn whole_numbers_and_short_decimals_are_exact() {
    check_exact(&[]);
    check_exact(&run(1000, |_| 0.0));
    check_exact(&run(1000, |i| i * 1_234_567.0));
    check_exact(&run(300, |i| 9_007_199_254_740_000.0 + i));
    check_exact(&run(300, |i| if i < 100.0 { 1e15 + i } else { i }));
    check_exact(&run(300, |i| (i % 7.0) * -4096.0));
    check_exact(&run(300, |i| 1e18 * (i % 3.0 - 1.0)));
    check_exact(&run(300, |i| ((i * 37.0) % 101.0).floor() / 100.0));
    check_exact(&run(300, |i| 20.0 + ((i * 37.0) % 80.0).floor() / 10.0));
}

#[test]
fn whatever_is_no_number_survives() {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, 1e308, -1e308, 5e-324, f64::MAX, 0.1];
    check_exact(&run(400, |i| odd[i as usize % odd.len()]));
    check_exact(&run(400, |i| if i == 200.0 { f64::NAN } else { i * 1e9 }));
    check_exact(&run(400, |_| f64::NAN));
    for least in [1e-300, 1e-9, 0.001, 1.0] {
        for most in [1.0, 1e5, 1e12, 1e300, f64::MAX] {
            let samples =
                each_second(run(400, |i| if i % 5.0 == 0.0 { most } else { -least * (1.0 + i.sin()) }));
            check(&samples, 400, 0);
        }
    }
}

#[test]
fn moments_survive_gaps_and_steps_back() {
    let value = |i: u64| (i * i % 97) as f64;
    let check_times = |time: &dyn Fn(u64) -> u64, rounding: u64| {
        let samples: Vec<_> = (0..500).map(|i| (time(i), value(i))).collect();
        check(&samples, 500, rounding);
    };
    check_times(&|i| i, 0);
    check_times(&|_| 77, 0);
    check_times(&|i| i * 10 * SECOND, 0);
    check_times(&|i| i * 10 * SECOND + i * 7919 % 1_000_003, 500_000);
    check_times(&|i| i * 10 * SECOND + if i > 100 { 86_400 * SECOND } else { 3 }, 500_000);
    check_times(&|i| if i < 250 { (1000 + i) * SECOND + i } else { i * SECOND + 5 }, 500_000);
    check_times(&|i| (500 - i) * SECOND, 500_000);
    check_times(&|i| if i % 2 == 0 { 0 } else { u64::MAX }, 0);
    check_times(&|i| u64::MAX - i * SECOND, 500_000);
    check_times(&|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15), 0);
    check_times(&|i| i * 400_000 % 7_000_000, 500);
}

#[test]
fn the_ceiling_is_shared_and_the_oldest_goes_first() {
    let noise = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) as f64).sqrt();
    let mut store = Store::with_ceiling(1_000_000, 64);
    for i in 0..20_000 {
        store.append(SeriesId(0), i * SECOND, noise(i));
        store.append(SeriesId(1), i * SECOND, 5.0);
    }
    let held = store.bytes();
    assert!(held <= 64 * 1024 + 32 * 1024, "{held}");
    assert!(store.evicted() >= 10, "{}", store.evicted());
    assert_eq!(store.since(SeriesId(1), 0).count(), 20_000, "a quiet series keeps its own");
    let kept = store.range(SeriesId(0), 0, u64::MAX).collect::<Vec<_>>();
    assert!(kept.len() > 5000 && kept.windows(2).all(|two| two[1].0 - two[0].0 == SECOND), "{}", kept.len());
    for id in 2..200 {
        (0..100).for_each(|i| store.append(SeriesId(id), (20_000 + i) * SECOND, i as f64));
    }
    assert!(store.refused() > 0);
    assert!(store.bytes() <= 64 * 1024 + 32 * 1024);
    assert_eq!(store.since(SeriesId(2), 0).last(), Some(99.0));
    (0..200).for_each(|id| store.forget(SeriesId(id)));
    assert!((0..200).all(|id| store.since(SeriesId(id), 0).count() == 0));
    store.append(SeriesId(150), 1, 1.0);
    assert_eq!(store.since(SeriesId(150), 0).collect::<Vec<_>>(), [1.0]);
}

#[test]
fn moments_are_shared_and_go_with_the_last_who_needs_them() {
    let jitter = |i: u64| i * 10 * SECOND + i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % SECOND;
    let mut store = Store::new(5000);
    let free = |store: &Store| store.pool.given();
    for i in 0..6000 {
        (0..50).for_each(|id| store.append(SeriesId(id), jitter(i), f64::from(id)));
    }
    let alone = (6000 * 12 / 8) / 980;
    assert!(free(&store) < 50 * 3 + 2 * alone, "{}", free(&store));
    for id in 0..50 {
        let told: Vec<_> = store.range(SeriesId(id), 0, u64::MAX).collect();
        assert!(told.len() >= 5000);
        for (told, i) in told.iter().rev().zip((0..6000).rev()) {
            assert!(told.0.abs_diff(jitter(i)) <= 500_000 && told.1 == f64::from(id), "{told:?} {i}");
        }
        store.forget(SeriesId(id));
    }
    assert!(free(&store) <= 1, "only the block for the next moments is left: {}", free(&store));
}

#[test]
fn nothing_is_kept_where_nothing_may_be() {
    let mut store = Store::with_ceiling(100, 1);
    (0..300).for_each(|i| store.append(ID, i, i as f64));
    store.append(SeriesId(4), 1, 1.0);
    assert!(store.refused() > 0);
    assert_eq!(store.since(SeriesId(4), 0).count(), 0);
    assert_eq!(store.summary(SeriesId(u32::MAX - 1), 0), None);
    store.forget(SeriesId(1 << 30));
}

#[test]
fn a_series_keeps_its_capacity_and_little_more() {
    let mut store = Store::new(1000);
    (0..50_000).for_each(|i| store.append(ID, i * SECOND, (i % 97) as f64 * 1.25));
    let kept = store.since(ID, 0).count();
    assert!((1000..4000).contains(&kept), "{kept}");
    assert!(store.bytes() <= 64 * 1024 + 32 * 1024);
    assert_eq!(store.evicted(), 0);
}

#[test]
fn summaries_cover_the_asked_stretch() {
    let mut store = Store::new(1000);
    (0..300).for_each(|i| store.append(ID, i * SECOND, i as f64));
    let s = store.summary(ID, 290 * SECOND).expect("samples");
    assert_eq!((s.samples, s.first, s.min, s.max, s.mean), (10, 290.0, 290.0, 299.0, 294.5));
    assert_eq!(store.summary(SeriesId(7), 0), None);
    assert_eq!(store.points(ID, 298 * SECOND).collect::<Vec<_>>(), [(0.0, 298.0), (1.0, 299.0)]);
}

#[test]
fn a_recorded_machine_fits() {
    let recording =
        recording::Recording::read(include_bytes!("../../tests/history/busy.rec")).expect("a recording");
    assert_eq!(recording::Recording::read(&recording.write()).as_ref(), Some(&recording));
    let sample = |series: &recording::Recorded, nth: usize| {
        let times = &recording.times[series.times];
        let length = times[times.len() - 1] - times[0] + 10 * SECOND;
        let (round, at) = (nth / times.len(), nth % times.len());
        (times[at] + round as u64 * length, series.values[at])
    };
    let series: Vec<_> = (0..).map(SeriesId).zip(recording.series.iter().step_by(3)).collect();
    let mut store = Store::new(8640);
    for nth in 0..5000 {
        for (id, series) in &series {
            let (at, value) = sample(series, nth);
            store.append(*id, at, value);
        }
    }
    for (id, series) in &series {
        let told: Vec<_> = store.range(*id, 0, u64::MAX).collect();
        let near = |(nth, told): (usize, &(u64, f64))| {
            let given = sample(series, nth);
            told.0.abs_diff(given.0) <= 500_000 && is_near(told.1, given.1)
        };
        assert!(told.len() == 5000 && told.iter().enumerate().all(near), "{}", series.metric);
    }
    let count = series.len() as f64 * 5000.0;
    // 20 MB for 1,000 series of 8,640 samples.
    let each = store.bytes() as f64 / count;
    assert!(each < 2.3 && store.evicted() == 0, "{each} bytes a sample");
}

/// Values as series have them: of one kind for a while, then of another.
fn values() -> impl Strategy<Value = Vec<f64>> {
    let one = prop_oneof![
        4 => (any::<i32>(), 1_i32..1000).prop_map(|(start, step)| run(70, |i| f64::from(start) + i * f64::from(step))),
        4 => prop::collection::vec(0.0..100.0, 1..90),
        2 => prop::collection::vec((0_u32..10_000).prop_map(|n| f64::from(n) / 100.0), 1..90),
        2 => prop::collection::vec(any::<u64>().prop_map(|n| (n >> 2) as f64), 1..90),
        2 => prop::collection::vec(-1e12..1e12, 1..90),
        1 => prop::collection::vec(any::<f64>(), 1..90),
        1 => prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 1..90),
    ];
    prop::collection::vec(one, 0..12).prop_map(|parts| parts.concat())
}

/// Steps from one moment to the next, backwards ones too.
fn steps() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        12 => Just(10_000_000_000_i64),
        8 => 9_900_000_000..10_100_000_000_i64,
        1 => 0..2_000_000_i64,
        1 => -100_000_000_000..100_000_000_000_i64,
        1 => any::<i64>(),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_comes_out_is_what_went_in(values in values(), steps in steps(), capacity in 1_usize..2000) {
        let mut at = 50_000 * SECOND;
        let moments = steps.iter().cycle().map(|step| { at = at.wrapping_add_signed(*step); at });
        let samples: Vec<_> = moments.zip(values).collect();
        check(&samples, capacity, 500_000);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), n in 1_u8..61, form in 0_u8..5) {
        let (mut frame, pool) = (frame::Frame::empty(), Pool::new(1));
        let _ = frame.read(&bytes, 5, &pool, |_| true);
        let mut likely = vec![n, 200, 0, form];
        likely.extend(&bytes);
        likely.resize(200, 0);
        let _ = frame.read(&likely, 5, &pool, |_| true);
    }

    #[test]
    fn series_do_not_mix(ops in prop::collection::vec((0_u32..20, 0_u32..200, any::<bool>()), 1..200)) {
        let mut store = Store::with_ceiling(300, 48);
        let mut all = vec![Vec::new(); 20];
        for (round, (id, count, forget)) in ops.into_iter().enumerate() {
            if forget && count < 20 {
                store.forget(SeriesId(id));
                all[id as usize].clear();
            }
            for i in 0..count {
                let value = f64::from(id) * 1e6 + f64::from(i * i % 1013) + round as f64 * 1000.5;
                store.append(SeriesId(id), round as u64 * SECOND, value);
                all[id as usize].push(value);
            }
        }
        for (id, all) in all.iter().enumerate() {
            let told: Vec<f64> = store.since(SeriesId(id as u32), 0).collect();
            prop_assert!(told.len() <= all.len());
            prop_assert!(told.iter().rev().zip(all.iter().rev()).all(|(told, given)| is_near(*told, *given)));
        }
    }
}
