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

#[test]
fn one_with_thousands_of_things_leaves_room_for_the_others() {
    let names = ["disk", "md", "zfs", "network"];
    let labels: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let many = |n: usize| labels[..n].iter().map(|label| (&DISK, label.as_str())).collect::<Vec<_>>();
    let md = [(&LOAD, "md0"), (&LOAD, "md1")];
    let mut samples = Samples::new(400).shared_by(names.into_iter());
    // Half is shared out: 50 each.
    pass(&mut samples, "disk", 0, &many(1000));
    assert_eq!((samples.len(), samples.refused(), samples.wanted()), (250, 0, 1000));
    pass(&mut samples, "md", 0, &md);
    pass(&mut samples, "zfs", 0, &[]);
    pass(&mut samples, "network", 0, &[]);
    assert_eq!((samples.len(), samples.refused()), (252, 0), "what waits for the others is not refused");
    // Who needs little keeps little; what is left is for whoever wants it.
    for second in 1..5 {
        for name in ["md", "zfs", "network"] {
            pass(&mut samples, name, second, if name == "md" { &md } else { &[] });
        }
        pass(&mut samples, "disk", second, &many(1000));
    }
    assert!(samples.refused() > 0);
    assert_eq!(samples.len(), 400 - 3 * 8);
    // A pool that comes later finds room.
    let refused = samples.refused();
    let pools: Vec<_> = labels[..20].iter().map(|label| (&PROCESS, label.as_str())).collect();
    pass(&mut samples, "zfs", 9, &pools[..8]);
    assert_eq!(samples.refused(), refused);
    // It takes nothing of what is kept for the others.
    pass(&mut samples, "zfs", 10, &pools);
    assert_eq!((samples.len(), samples.refused()), (400 - 2 * 8, refused + 12));
    samples.put_always(&LOAD, &["how it does"], 1.0);
    assert!(samples.len() <= 401);
}
