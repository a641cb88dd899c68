//! `/sys/block/md*/md`: software RAID arrays, their missing disks, and how far a rebuild is.

use super::names::{Names, list};
use super::readings::word;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::parse::number;
use crate::metric::metrics;
use crate::sample::Samples;

metrics! {
    DISKS: Gauge Count "md_disks_count" ["array"] "Disks an array wants.", "/sys/block/md*/md/raid_disks";
    DEGRADED: Gauge Count "md_degraded_disks_count" ["array"]
        "Disks an array lacks; nothing for levels without redundancy.", "/sys/block/md*/md/degraded";
    FAULTY: Gauge Count "md_faulty_disks_count" ["array"]
        "Disks of an array that failed and were not taken out.", "/sys/block/md*/md/dev-*/state";
    INACTIVE: Gauge Count "md_inactive" ["array"]
        "1 where an array is assembled and does not run.", "/sys/block/md*/md/array_state";
    SYNCING: Gauge Count "md_syncing" ["array"]
        "1 while an array is rebuilt, resynchronised, checked or reshaped.", "/sys/block/md*/md/sync_action";
    SYNCED: Gauge Percent "md_sync_percent" ["array"]
        "How far that is; nothing while it waits or does not happen.", "/sys/block/md*/md/sync_completed";
    MISMATCHES: Gauge Count "md_mismatches_count" ["array"]
        "Sectors that differed between disks at the last check.", "/sys/block/md*/md/mismatch_cnt";
}

const ROOT: &str = "/sys/block";
/// Arrays read at most.
const MAX_ARRAYS: usize = 128;

/// Reads the arrays.
pub struct Md {
    names: Names,
    /// What may be an array: one that is being assembled may not have its files yet.
    candidates: Vec<String>,
    arrays: Vec<String>,
}

impl Md {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self { names: Names::new(ROOT), candidates: Vec::new(), arrays: Vec::new() }
    }
}

impl Default for Md {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Md {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        if self.names.changed(host)? {
            let names = self.names.list(host).into_iter();
            self.candidates = names.filter(|name| name.starts_with("md")).take(MAX_ARRAYS).collect();
            self.arrays.clear();
        }
        if self.arrays.len() < self.candidates.len() {
            let is_array = |name: &&String| word(host, &format!("{ROOT}/{name}/md/array_state")).is_some();
            self.arrays = self.candidates.iter().filter(is_array).cloned().collect();
        }
        if self.arrays.is_empty() {
            return Err(CollectError::Absent { path: format!("{ROOT}/md0") });
        }
        for array in &self.arrays {
            put(host, array, out);
        }
        Ok(())
    }
}

/// A set of disks that is no array: Intel's IMSM or DDF describes there which arrays lie in it. It has no level, and its
/// state is `inactive` for ever. It names its format, `external:imsm`; the arrays in it name their container,
/// `external:/md127/0` or, while nothing may write to them, `external:-md127/0` (`metadata_store`, `drivers/md/md.c`).
fn is_container(metadata: &str) -> bool {
    metadata.strip_prefix("external:").is_some_and(|format| !format.starts_with(['/', '-']))
}

fn put(host: &dyn Host, array: &str, out: &mut Samples) {
    let dir = format!("{ROOT}/{array}/md");
    let text = |file: &str| word(host, &format!("{dir}/{file}"));
    let count = |file: &str| text(file).and_then(|text| number(text.as_bytes()));
    // It was stopped meanwhile.
    let Some(state) = text("array_state") else { return };
    let flag = |set: bool| f64::from(u8::from(set));
    let inactive = matches!(&*state, "inactive" | "broken");
    if inactive && text("metadata_version").is_some_and(|metadata| is_container(&metadata)) {
        return;
    }
    out.put(&INACTIVE, &[array], flag(inactive));
    for (metric, file) in [(&DISKS, "raid_disks"), (&DEGRADED, "degraded"), (&MISMATCHES, "mismatch_cnt")] {
        count(file).inspect(|&value| out.put(metric, &[array], value as f64));
    }
    let disks = list(host, &dir);
    let disks = disks.iter().filter(|name| name.starts_with("dev-"));
    let states = disks.filter_map(|disk| text(&format!("{disk}/state")));
    let faulty = states.filter(|state| state.split(',').any(|word| word == "faulty")).count();
    out.put(&FAULTY, &[array], faulty as f64);
    let Some(action) = text("sync_action") else { return };
    out.put(&SYNCING, &[array], flag(!matches!(&*action, "idle" | "frozen")));
    // `none`, `delayed`, or sectors: `1234 / 5678`.
    let done = text("sync_completed").and_then(|text| {
        let (done, all) = text.split_once(" / ")?;
        let (done, all) = (number(done.as_bytes())?, number(all.as_bytes())?);
        (all > 0).then(|| (100.0 * done as f64 / all as f64).min(100.0))
    });
    done.inspect(|&percent| out.put(&SYNCED, &[array], percent));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    /// As Documentation/admin-guide/md describes them.
    const HOST: &str = "\
//- /sys/block/sda/size
100
//- /sys/block/md0/md/array_state
active
//- /sys/block/md0/md/raid_disks
3
//- /sys/block/md0/md/degraded
1
//- /sys/block/md0/md/mismatch_cnt
128
//- /sys/block/md0/md/sync_action
recover
//- /sys/block/md0/md/sync_completed
2500 / 10000
//- /sys/block/md0/md/dev-sda1/state
in_sync
//- /sys/block/md0/md/dev-sdb1/state
faulty,want_replacement
//- /sys/block/md127/md/array_state
inactive
//- /sys/block/md9/size
1
";

    #[test]
    fn arrays_are_read() {
        let mut bench = Bench::new(HOST, Md::new());
        for _ in 0..2 {
            bench.pass().unwrap();
            bench.expect(&[
                ("md_disks_count{md0}", 3.0),
                ("md_degraded_disks_count{md0}", 1.0),
                ("md_faulty_disks_count{md0}", 1.0),
                ("md_mismatches_count{md0}", 128.0),
                ("md_inactive{md0}", 0.0),
                ("md_syncing{md0}", 1.0),
                ("md_sync_percent{md0}", 25.0),
                ("md_inactive{md127}", 1.0),
            ]);
            assert!(!bench.has("md_degraded_disks_count{md127}"), "it is not known");
        }
        bench.host.set("/sys/block/md0/md/sync_action", "idle\n");
        bench.host.set("/sys/block/md0/md/sync_completed", "none\n");
        bench.host.remove("/sys/block/md127");
        bench.pass().unwrap();
        bench.expect(&[("md_syncing{md0}", 0.0)]);
        assert!(!bench.has("md_sync_percent{md0}") && !bench.has("md_inactive{md127}"));
    }

    #[test]
    fn containers_are_no_arrays() {
        let mut bench = Bench::new(HOST, Md::new());
        let mut check = |format: &str, is_array: bool| {
            bench.host.set("/sys/block/md127/md/metadata_version", format);
            bench.pass().unwrap();
            assert_eq!(bench.has("md_inactive{md127}"), is_array, "{format}");
        };
        check("external:imsm\n", false);
        check("external:/md126/0\n", true);
        check("external:ddf\n", false);
        check("external:-md126/0\n", true);
        check("1.2\n", true);
    }

    #[test]
    fn arrays_appear_and_bad_content_is_left_out() {
        let mut bench = Bench::new("//- /sys/block/md0/size\n1\n", Md::new());
        assert!(matches!(bench.pass(), Err(CollectError::Absent { .. })));
        bench.host.apply(HOST).unwrap();
        bench.pass().unwrap();
        for (file, content) in [
            ("degraded", &b"-1"[..]),
            ("raid_disks", b"4 (3)"),
            ("mismatch_cnt", b"\xff"),
            ("sync_completed", b"5 / 0"),
            ("sync_completed", b"18446744073709551616 / 7"),
            ("dev-sdb1/state", b""),
        ] {
            bench.host.set(&format!("/sys/block/md0/md/{file}"), content);
            bench.pass().unwrap();
        }
        bench.expect(&[("md_faulty_disks_count{md0}", 0.0)]);
        for gone in ["md_degraded_disks_count{md0}", "md_mismatches_count{md0}", "md_sync_percent{md0}"] {
            assert!(!bench.has(gone), "{gone}");
        }
        bench.host.set("/sys/block/md0/md/sync_completed", "9 / 7");
        bench.pass().unwrap();
        bench.expect(&[("md_sync_percent{md0}", 100.0)]);
    }
}
