use proptest::prelude::*;

use super::*;
use crate::history::chunk::{Chunk, Names};
use crate::history::{Key, Store};
use crate::time::{Now, SECOND};

const HOUR: u64 = 3600;
const BOOT: &str = "b";

fn at(secs: u64) -> Now {
    Now { mono_ns: secs * SECOND, wall_ns: (1_700_000_000 + secs) as i64 * SECOND as i64 }
}

fn key(label: &str) -> Key {
    Key { metric: "m".into(), labels: [label.into()].into() }
}

/// Files in a directory, written as the agent does.
struct Scene {
    dir: tempfile::TempDir,
    segments: Segments,
    names: Names,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::with_past(100);
    let mut loader = Loader::new(&mut store, BOOT, at(0), HOUR * SECOND);
    let (segments, found) = Segments::open(&dir.path().join("h"), HOUR * SECOND, &mut loader).unwrap();
    assert_eq!(found, Found::default());
    Scene { dir, segments, names: Names::default() }
}

impl Scene {
    fn dir(&self) -> PathBuf {
        self.dir.path().join("h")
    }

    /// Writes readings of two series until `secs`.
    fn write(&mut self, from: u64, secs: u64) {
        let now = at(secs);
        let begin = self.segments.begins(now.wall_ns);
        if begin {
            self.names = Names::default();
        }
        let mut chunk = Chunk::new(now, BOOT);
        for label in ["a", "b"] {
            let value = |s: u64| (s as f64) * if label == "a" { 1.0 } else { -0.5 };
            let samples: Vec<_> = (from..secs).step_by(10).map(|s| (s * SECOND, value(s))).collect();
            chunk.add(&mut self.names, key(label), &samples);
        }
        self.segments.append(&chunk.bytes(), begin, now.wall_ns).unwrap();
    }

    /// What another run at `now` finds of a series: seconds and values.
    fn read(&self, boot: &str, now: Now, label: &str) -> (Found, Vec<(i64, f64)>) {
        let mut store = Store::with_past(100_000);
        let mut loader = Loader::new(&mut store, boot, now, HOUR * SECOND);
        let found = Segments::peek(&self.dir(), &mut loader).unwrap();
        let id = store.keep_for(&key(label)).unwrap();
        let told = store.stretch_waiting(id, i64::MIN / 2, i64::MAX);
        (found, told.map(|(at, value)| ((at + 5_000_000).div_euclid(SECOND as i64), value)).collect())
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut all: Vec<_> = fs::read_dir(self.dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    }
}

#[test]
fn what_was_written_is_read_by_metric_and_labels() {
    let mut s = scene();
    for chunk in 0..6 {
        s.write(1000 + chunk * 300, 1300 + chunk * 300);
    }
    let (found, a) = s.read(BOOT, at(2810), "a");
    assert_eq!((found.torn, found.newest), (0, at(2800).wall_ns));
    assert!(found.files > 1, "a file for each part of the hour");
    let expect: Vec<_> = (1000..2800).step_by(10).map(|s| (i64::from(s), f64::from(s))).collect();
    assert_eq!(a, expect);
    let (_, b) = s.read(BOOT, at(2810), "b");
    assert_eq!(b.last(), Some(&(2790, -1395.0)));
    assert_eq!(s.read(BOOT, at(2810), "c").1, []);
    // Of another boot the wall clock tells when it was: now it is 60 s after the boot, ten seconds later.
    let later = Now { mono_ns: 60 * SECOND, ..at(2810) };
    let (_, moved) = s.read("c", later, "a");
    assert_eq!((moved[0], moved.len()), ((1000 - 2750, 1000.0), 180));
    // What is too old is not taken, nor what is to come: the clock was set back.
    assert_eq!(s.read(BOOT, at(1000 + HOUR + 500), "a").1.len(), 130);
    assert_eq!(s.read(BOOT, at(1500), "a").1.len(), 51);
}

#[test]
fn old_files_go_and_a_long_time_costs_no_more() {
    let mut s = scene();
    let mut from = 1000;
    while from < 1000 + 5 * HOUR {
        s.write(from, from + 300);
        from += 300;
    }
    assert!(s.files().len() <= 26, "{}", s.files().len());
    let on_disk: u64 = s.files().iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert_eq!(on_disk, s.segments.bytes());
    let (_, a) = s.read(BOOT, at(from), "a");
    assert!((350..=361).contains(&a.len()), "{}", a.len());
}

#[test]
fn torn_and_foreign_files_are_passed_over_and_stay_harmless() {
    let mut s = scene();
    s.write(1000, 1300);
    s.write(1300, 1600);
    let last = s.files().pop().unwrap();
    let whole = fs::read(&last).unwrap();
    for cut in [0, 3, 9, 12, 17, 40, whole.len() / 2, whole.len() - 1] {
        fs::write(&last, &whole[..cut]).unwrap();
        let (found, a) = s.read(BOOT, at(1610), "a");
        assert_eq!(found.torn, 1, "{cut}");
        assert!(a.len() < 60, "{cut}");
    }
    for at_byte in (0..whole.len()).step_by(7) {
        let mut bent = whole.clone();
        bent[at_byte] ^= 0x40;
        fs::write(&last, &bent).unwrap();
        assert_eq!(s.read(BOOT, at(1610), "a").0.torn, 1, "{at_byte}");
    }
    fs::write(&last, &whole).unwrap();
    fs::write(s.dir().join("0000000000000000.ring"), "somebody's own text").unwrap();
    fs::write(s.dir().join("notes.txt"), "x").unwrap();
    let (found, a) = s.read(BOOT, at(1610), "a");
    assert_eq!((found.torn, a.len()), (1, 60));
    // Another run goes on in a file of its own.
    let mut store = Store::with_past(100);
    let mut loader = Loader::new(&mut store, BOOT, at(1610), HOUR * SECOND);
    (s.segments, _) = Segments::open(&s.dir(), HOUR * SECOND, &mut loader).unwrap();
    s.write(1600, 1900);
    assert_ne!(s.files().iter().rfind(|file| file.extension().is_some_and(|e| e == "ring")), Some(&last));
    assert_eq!(s.read(BOOT, at(1910), "a").1.len(), 90);
}

#[test]
fn a_disk_that_takes_nothing_is_told_and_leaves_nothing_half() {
    let mut s = scene();
    s.write(1000, 1300);
    // Of a directory that is gone, a file stands in the way.
    fs::remove_dir_all(s.dir()).unwrap();
    fs::write(s.dir(), "x").unwrap();
    let mut chunk = Chunk::new(at(1600), BOOT);
    chunk.add(&mut Names::default(), key("a"), &[(1300 * SECOND, 1.0)]);
    let bytes = chunk.bytes();
    let why = s.segments.append(&bytes, true, at(1600).wall_ns).unwrap_err();
    assert!(why.contains("cannot write to") && why.contains("/h"), "{why}");
    assert!(s.segments.begins(at(1600).wall_ns), "another file is begun");
    fs::remove_file(s.dir()).unwrap();
    s.segments.append(&bytes, true, at(1600).wall_ns).unwrap();
    assert_eq!(s.read(BOOT, at(1610), "a").1, [(1300, 1.0)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_with_a_right_checksum_do_no_harm(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        changed in proptest::collection::vec((0..400_usize, any::<u8>()), 0..4),
    ) {
        let mut store = Store::with_past(1000);
        let mut names = Names::default();
        let mut chunk = Chunk::new(at(100), BOOT);
        let samples: Vec<_> = (0..90).map(|i| (i * SECOND, if i == 7 { f64::NAN } else { i as f64 / 3.0 })).collect();
        chunk.add(&mut names, key("a"), &samples);
        let mut real = chunk.bytes();
        for (place, byte) in changed {
            if let Some(at) = real.get_mut(place) {
                *at = byte;
            }
        }
        let mut loader = Loader::new(&mut store, BOOT, at(200), HOUR * SECOND);
        loader.chunk(&bytes);
        loader.chunk(&real);
        prop_assert!(store.waiting().count() < 400);
    }
}
