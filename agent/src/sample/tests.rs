use super::*;
use crate::metric::{Kind, Unit};

const fn metric(name: &'static str, labels: &'static [&'static str]) -> Metric {
    Metric { name, prometheus: name, kind: Kind::Gauge, unit: Unit::Count, labels, help: "", source: "" }
}

static DISK: Metric = metric("disk", &["mount"]);
static LOAD: Metric = metric("load", &["nth"]);
static PROCESS: Metric = metric("process", &["pid"]);

/// One pass of one collector: what it puts, and which series are given up then.
fn pass(
    samples: &mut Samples,
    name: &'static str,
    secs: u64,
    readings: &[(&'static Metric, &str)],
) -> Vec<SeriesId> {
    samples.begin(name, Now::default().plus_secs(secs), None);
    for (metric, label) in readings {
        samples.put(metric, &[label], 1.0);
    }
    samples.finish().retired
}

#[test]
fn who_is_read_seldom_is_not_idle() {
    let mut samples = Samples::new(8);
    let mut refused = 0;
    for second in 0..3600 {
        if second % 60 == 0 {
            let gone = pass(&mut samples, "filesystem", second, &[(&DISK, "/"), (&DISK, "/home")]);
            assert_eq!(gone, [], "at {second} s");
        }
        // Many collectors that are read each second, and one of whose processes none stays.
        for name in ["cpu", "load", "memory", "network"] {
            assert_eq!(pass(&mut samples, name, second, &[(&LOAD, name)]), [], "{name} at {second} s");
        }
        let pid = format!("{second}");
        let gone = pass(&mut samples, "process", second, &[(&PROCESS, &pid)]);
        assert!(gone.iter().all(|id| id.0 > 1), "a filesystem was given up at {second} s");
        refused = samples.refused();
    }
    assert_eq!((samples.len(), refused > 0), (8, true), "more processes came than there was room for");
    assert!(refused < 3600 / 2, "what is of processes that ended makes room: {refused}");
}

#[test]
fn what_is_gone_makes_room() {
    let mut samples = Samples::new(2);
    pass(&mut samples, "filesystem", 0, &[(&DISK, "/"), (&DISK, "/gone")]);
    for minute in 1..7 {
        let gone = pass(&mut samples, "filesystem", minute * 60, &[(&DISK, "/"), (&DISK, "/new")]);
        assert_eq!(
            (gone, samples.len()),
            (vec![], 2),
            "a condition on it may still stand after {minute} min"
        );
    }
    let gone = pass(&mut samples, "filesystem", 7 * 60, &[(&DISK, "/"), (&DISK, "/new")]);
    assert_eq!((gone, samples.refused()), (vec![SeriesId(1)], 6));
    // A fast collector waits as long as a condition does, and one that stands still gives nothing up.
    let mut samples = Samples::new(2);
    pass(&mut samples, "load", 0, &[(&LOAD, "1"), (&LOAD, "2")]);
    for second in 1..=330 {
        assert_eq!(pass(&mut samples, "load", second, &[(&LOAD, "1"), (&LOAD, "3")]), []);
    }
    assert_eq!(
        pass(&mut samples, "cpu", 4000, &[(&LOAD, "4")]),
        [SeriesId(1)],
        "its collector went on without it"
    );
    let mut samples = Samples::new(1);
    pass(&mut samples, "load", 0, &[(&LOAD, "1")]);
    assert_eq!(
        pass(&mut samples, "cpu", 4000, &[(&LOAD, "4")]),
        [],
        "its collector has not been there since"
    );
}
