//! History: whatever is appended comes back, through memory and through the disk; and any bytes may be on the disk.

use sysops_agent::history::chunk::{Chunk, Loader, Names};
use sysops_agent::history::{Key, Store};
use sysops_agent::sample::SeriesId;
use sysops_agent::time::{Now, SECOND};

use super::pipe::BOOT;

const ID: SeriesId = SeriesId(1);
/// Bytes of a sample: distance in time, value.
const SAMPLE: usize = 12;
/// Most samples looked at.
const MOST: usize = 2000;
const NOW: Now = Now { mono_ns: 1 << 58, wall_ns: 1 << 60 };

/// Samples: steps of milliseconds in both directions, and all bits of a value.
fn samples(data: &[u8]) -> Vec<(u64, f64)> {
    let mut at = 1 << 57;
    let step = |sample: &[u8; SAMPLE]| {
        let [a, b, c, d, value @ ..] = *sample;
        let step = i64::from(i32::from_le_bytes([a, b, c, d]));
        at = NOW.mono_ns.min(u64::saturating_add_signed(at, step * 1_000_000));
        (at, f64::from_le_bytes(value))
    };
    data.as_chunks::<SAMPLE>().0.iter().take(MOST).map(step).collect()
}

/// Five significant digits, or what is no number as it is.
fn is_near(told: f64, given: f64) -> bool {
    if given.is_nan() {
        return told.is_nan();
    }
    if given.is_infinite() || given.abs() < f64::MIN_POSITIVE {
        // Zero has no sign.
        return told.total_cmp(&given).is_eq() || told.abs() + given.abs() <= 0.0;
    }
    let half = 0.5 * 10_f64.powf(given.abs().log10().floor() - 4.0);
    (told - given).abs() <= half.max(given.abs() * 4e-6) * (1.0 + 1e-9)
}

fn check(told: &[(i64, f64)], given: &[(u64, f64)]) {
    assert_eq!(told.len(), given.len());
    for (told, given) in told.iter().zip(given) {
        // Rounded by a hundredth of the usual step, and at most to half a millisecond.
        assert!(told.0.abs_diff(given.0 as i64) <= 1_000_000, "{told:?} {given:?}");
        assert!(is_near(told.1, given.1), "{told:?} {given:?}");
    }
}

pub(crate) fn history(data: &[u8]) {
    let given = samples(data);
    let mut store = Store::with_past(MOST);
    for (at, value) in &given {
        store.append(ID, *at, *value);
    }
    check(&store.stretch(ID, i64::MIN / 2, i64::MAX).collect::<Vec<_>>(), &given);

    let key = Key { metric: "m".into(), labels: ["l".into()].into() };
    let mut chunk = Chunk::new(NOW, BOOT);
    chunk.add(&mut Names::default(), key.clone(), &given);
    let bytes = chunk.bytes();
    let mut restored = Store::with_past(MOST);
    let mut loader = Loader::new(&mut restored, BOOT, Now { mono_ns: NOW.mono_ns + SECOND, ..NOW }, u64::MAX);
    assert_eq!(loader.chunk(&bytes), Some(NOW));
    // It is rounded once more.
    assert_eq!(loader.samples, given.len());
    assert_eq!(restored.claim(ID, "m", &key.labels), !given.is_empty());
    assert_eq!(restored.stretch(ID, i64::MIN / 2, i64::MAX).count(), given.len());

    let mut loader = Loader::new(&mut restored, BOOT, NOW, u64::MAX);
    loader.chunk(data);
    loader.segment();
    loader.chunk(&[&bytes[..16.min(bytes.len())], data].concat());
    let waiting: Vec<_> = restored.waiting().map(|(_, id)| id).collect();
    for id in waiting {
        assert!(restored.stretch_waiting(id, i64::MIN / 2, i64::MAX).count() <= data.len() * 60);
    }
    restored.forget_waiting();
    restored.forget(ID);
}
