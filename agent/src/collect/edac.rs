//! `/sys/devices/system/edac/mc`: memory errors that were corrected, and those that could not be, of each
//! memory controller and module.
//!
//! Three layouts: modules as `dimmN` or, where the driver knows chip-select rows only, as `rankN`
//! (counts in them since 4.11); older kernels have `csrowN` with a count for each channel.

use super::names::{Names, list};
use super::readings::{Readings, numbered, word};
use super::{CollectError, Collector};
use crate::host::Host;
use crate::metric::metrics;
use crate::sample::Samples;
use crate::text::clean;

metrics! {
    CORRECTABLE: Counter Count "ecc_correctable_errors" as "ecc_correctable_errors_total" ["mc"]
        "Memory errors that were corrected, of a memory controller; from the start of its driver.", "edac/mc/mc*/ce_count";
    UNCORRECTABLE: Counter Count "ecc_uncorrectable_errors" as "ecc_uncorrectable_errors_total" ["mc"]
        "Memory errors that could not be corrected, of a memory controller.", "edac/mc/mc*/ue_count";
    UNPLACED: Counter Count "ecc_correctable_unplaced_errors" as "ecc_correctable_unplaced_errors_total" ["mc"]
        "Corrected memory errors of which the controller does not know the module.", "edac/mc/mc*/ce_noinfo_count";
    UNPLACED_BAD: Counter Count "ecc_uncorrectable_unplaced_errors" as "ecc_uncorrectable_unplaced_errors_total" ["mc"]
        "Uncorrected memory errors of which the controller does not know the module.", "edac/mc/mc*/ue_noinfo_count";
    MODULE: Counter Count "ecc_dimm_correctable_errors" as "ecc_dimm_correctable_errors_total" ["mc", "dimm", "slot"]
        "Memory errors that were corrected, of a module; the slot is as its driver labels it.",
        "edac/mc/mc*/{dimm,rank}*/dimm_ce_count, csrow*/ch*_ce_count";
    MODULE_BAD: Counter Count "ecc_dimm_uncorrectable_errors" as "ecc_dimm_uncorrectable_errors_total" ["mc", "dimm", "slot"]
        "Memory errors that could not be corrected, of a module or, on old kernels, of a row.",
        "edac/mc/mc*/{dimm,rank}*/dimm_ue_count, csrow*/ue_count";
}

const ROOT: &str = "/sys/devices/system/edac/mc";
/// Controllers, times their four counts.
const MAX_CONTROLLERS: usize = 4 * 64;
/// Modules, times their two counts.
const MAX_MODULES: usize = 2 * 512;
/// Longest label of a slot, characters.
const MAX_SLOT: usize = 64;

/// Reads the counts.
pub struct Edac {
    names: Names,
    controllers: Readings<1>,
    modules: Readings<3>,
}

impl Edac {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self {
            names: Names::new(ROOT),
            controllers: Readings::new(MAX_CONTROLLERS),
            modules: Readings::new(MAX_MODULES),
        }
    }

    fn find(&mut self, host: &dyn Host) {
        self.controllers.clear();
        self.modules.clear();
        for name in self.names.list(host) {
            let Some(mc) = numbered(&name, "mc") else { continue };
            let dir = format!("{ROOT}/{name}");
            for (metric, file) in [
                (&CORRECTABLE, "ce_count"),
                (&UNCORRECTABLE, "ue_count"),
                (&UNPLACED, "ce_noinfo_count"),
                (&UNPLACED_BAD, "ue_noinfo_count"),
            ] {
                self.controllers.push_if(host, metric, [mc], format!("{dir}/{file}"));
            }
            self.find_modules(host, mc, &dir);
        }
    }

    fn find_modules(&mut self, host: &dyn Host, mc: &str, dir: &str) {
        let parts = list(host, dir);
        let is_module = |name: &&String| {
            (numbered(name, "dimm").is_some() || numbered(name, "rank").is_some())
                && word(host, &format!("{dir}/{name}/dimm_ce_count")).is_some()
        };
        let modules: Vec<&String> = parts.iter().filter(is_module).collect();
        for name in &modules {
            let slot = slot(host, &format!("{dir}/{name}/dimm_label"));
            let labels = [mc, name.as_str(), &slot];
            self.modules.push(&MODULE, labels, format!("{dir}/{name}/dimm_ce_count"), 1.0);
            self.modules.push_if(host, &MODULE_BAD, labels, format!("{dir}/{name}/dimm_ue_count"));
        }
        if !modules.is_empty() {
            return;
        }
        for row in parts.iter().filter(|name| numbered(name, "csrow").is_some()) {
            self.find_channels(host, mc, &format!("{dir}/{row}"), row);
        }
    }

    fn find_channels(&mut self, host: &dyn Host, mc: &str, dir: &str, row: &str) {
        for file in list(host, dir) {
            let Some(channel) = file.strip_suffix("_ce_count").filter(|name| numbered(name, "ch").is_some())
            else {
                continue;
            };
            let slot = slot(host, &format!("{dir}/{channel}_dimm_label"));
            let labels = [mc, &format!("{row}/{channel}"), &slot];
            self.modules.push(&MODULE, labels, format!("{dir}/{file}"), 1.0);
        }
        self.modules.push_if(host, &MODULE_BAD, [mc, row, ""], format!("{dir}/ue_count"));
    }
}

impl Default for Edac {
    fn default() -> Self {
        Self::new()
    }
}

/// What firmware or driver call the slot.
fn slot(host: &dyn Host, path: &str) -> String {
    clean(&word(host, path).unwrap_or_default(), MAX_SLOT)
}

impl Collector for Edac {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        if self.names.changed_since(host, out.at())? {
            self.find(host);
        }
        if self.controllers.is_empty() {
            return Err(CollectError::Absent { path: format!("{ROOT}/mc0") });
        }
        let controllers = self.controllers.put(host, out);
        controllers.and(self.modules.put(host, out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    /// Layouts as in Documentation/admin-guide/RAS and `drivers/edac/edac_mc_sysfs.c`.
    const NEW: &str = "\
//- /sys/devices/system/edac/mc/power/control
auto
//- /sys/devices/system/edac/mc/mc0/ce_count
7
//- /sys/devices/system/edac/mc/mc0/ue_count
1
//- /sys/devices/system/edac/mc/mc0/ce_noinfo_count
2
//- /sys/devices/system/edac/mc/mc0/ue_noinfo_count
3
//- /sys/devices/system/edac/mc/mc0/csrow0/ce_count
7
//- /sys/devices/system/edac/mc/mc0/csrow0/ch0_ce_count
7
//- /sys/devices/system/edac/mc/mc0/dimm0/dimm_ce_count
5
//- /sys/devices/system/edac/mc/mc0/dimm0/dimm_ue_count
1
//- /sys/devices/system/edac/mc/mc0/dimm0/dimm_label
CPU_SrcID#0_MC#0_Chan#0_DIMM#0
//- /sys/devices/system/edac/mc/mc1/ce_count
0
//- /sys/devices/system/edac/mc/mc1/rank3/dimm_ce_count
4
";

    const OLD: &str = "\
//- /sys/devices/system/edac/mc/mc0/ce_count
7
//- /sys/devices/system/edac/mc/mc0/dimm0/dimm_label
mc#0csrow#0channel#0
//- /sys/devices/system/edac/mc/mc0/csrow2/ue_count
1
//- /sys/devices/system/edac/mc/mc0/csrow2/ch1_ce_count
6
//- /sys/devices/system/edac/mc/mc0/csrow2/ch1_dimm_label
DIMM_B1
";

    #[test]
    fn modules_of_all_layouts() {
        let mut bench = Bench::new(NEW, Edac::new());
        for _ in 0..2 {
            bench.pass().unwrap();
            bench.expect(&[
                ("ecc_correctable_errors{0}", 7.0),
                ("ecc_uncorrectable_errors{0}", 1.0),
                ("ecc_correctable_unplaced_errors{0}", 2.0),
                ("ecc_uncorrectable_unplaced_errors{0}", 3.0),
                ("ecc_dimm_correctable_errors{0,dimm0,CPU_SrcID#0_MC#0_Chan#0_DIMM#0}", 5.0),
                ("ecc_dimm_uncorrectable_errors{0,dimm0,CPU_SrcID#0_MC#0_Chan#0_DIMM#0}", 1.0),
                ("ecc_correctable_errors{1}", 0.0),
                ("ecc_dimm_correctable_errors{1,rank3,}", 4.0),
            ]);
            assert_eq!(bench.readings.len(), 8, "a module is not counted again as a row");
        }
        let mut bench = Bench::new(OLD, Edac::new());
        bench.pass().unwrap();
        bench.expect(&[
            ("ecc_correctable_errors{0}", 7.0),
            ("ecc_dimm_correctable_errors{0,csrow2/ch1,DIMM_B1}", 6.0),
            ("ecc_dimm_uncorrectable_errors{0,csrow2,}", 1.0),
        ]);
    }

    #[test]
    fn controllers_come_and_go() {
        for text in ["", "//- /sys/devices/system/edac/mc/power/control\nauto\n"] {
            assert!(matches!(Bench::new(text, Edac::new()).pass(), Err(CollectError::Absent { .. })));
        }
        let mut bench = Bench::new(NEW, Edac::new());
        bench.pass().unwrap();
        // The driver is loaded anew while its files are read.
        bench.host.remove("/sys/devices/system/edac/mc/mc0/dimm0");
        bench.pass().unwrap();
        assert!(!bench.has("ecc_dimm_correctable_errors{0,dimm0,CPU_SrcID#0_MC#0_Chan#0_DIMM#0}"));
        bench.host.remove("/sys/devices/system/edac/mc/mc0");
        bench.pass().unwrap();
        assert_eq!(bench.readings.len(), 2);
    }

    #[test]
    fn bad_counts_are_an_error_and_good_ones_count() {
        for content in [&b""[..], b"x", b"-3", b"99999999999999999999", b"\xff\xfe"] {
            let mut bench = Bench::new(NEW, Edac::new());
            bench.host.set("/sys/devices/system/edac/mc/mc0/ce_count", content);
            bench.host.set("/sys/devices/system/edac/mc/mc0/dimm0/dimm_label", b"a\xff\x1b[2J\n");
            assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{content:?}");
            bench.expect(&[("ecc_dimm_correctable_errors{0,dimm0,a\u{fffd}?[2J}", 5.0)]);
        }
        let many = (0..100).map(|n| format!("//- /sys/devices/system/edac/mc/mc{n}/ce_count\n1\n//- /sys/devices/system/edac/mc/mc{n}/ue_count\n1\n//- /sys/devices/system/edac/mc/mc{n}/ce_noinfo_count\n1\n")).collect::<Vec<_>>().concat();
        let mut bench = Bench::new(&many, Edac::new());
        assert!(bench.pass().unwrap_err().to_string().contains("44 files of its kind more than 256"));
        assert_eq!(bench.readings.len(), MAX_CONTROLLERS);
    }
}
