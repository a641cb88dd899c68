//! `/proc/vmstat`: swapping, page faults, reclaim, and OOM kills as the kernel counts them.

use super::kept::Kept;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::parse::{Cursor, key, lines, number};
use crate::metric::{Metric, metrics};
use crate::sample::Samples;

metrics! {
    OOM_KILLS: Counter Count "kernel_oom_kill_count_total" []
        "Processes killed for lack of memory, as the kernel counts them; from 4.13 on.", "/proc/vmstat oom_kill";
    SWAP_IN: Counter Bytes "swap_in_bytes_total" [] "Read from swap.", "/proc/vmstat pswpin";
    SWAP_OUT: Counter Bytes "swap_out_bytes_total" [] "Written to swap.", "/proc/vmstat pswpout";
    PAGED_IN: Counter Bytes "paged_in_bytes_total" [] "Read from block devices.", "/proc/vmstat pgpgin";
    PAGED_OUT: Counter Bytes "paged_out_bytes_total" [] "Written to block devices.", "/proc/vmstat pgpgout";
    FAULTS: Counter Count "page_faults_total" [] "Page faults, major ones too.", "/proc/vmstat pgfault";
    MAJOR_FAULTS: Counter Count "page_faults_major_total" []
        "Page faults that had to read from disk.", "/proc/vmstat pgmajfault";
    SCANNED_KSWAPD: Counter Count "page_scans_kswapd_total" []
        "Pages looked at for reclaim in the background.", "/proc/vmstat pgscan_kswapd*";
    SCANNED_DIRECT: Counter Count "page_scans_direct_total" []
        "Pages looked at for reclaim by tasks that wait for memory.", "/proc/vmstat pgscan_direct*";
    STOLEN_KSWAPD: Counter Count "page_steals_kswapd_total" []
        "Pages reclaimed in the background.", "/proc/vmstat pgsteal_kswapd*";
    STOLEN_DIRECT: Counter Count "page_steals_direct_total" []
        "Pages reclaimed by tasks that wait for memory.", "/proc/vmstat pgsteal_direct*";
    STALLS: Counter Count "memory_allocation_stalls_total" []
        "Allocations that had to wait for reclaim.", "/proc/vmstat allocstall*";
    COMPACTION_STALLS: Counter Count "memory_compaction_stalls_total" []
        "Allocations that had to wait for compaction.", "/proc/vmstat compact_stall";
    REFAULTS: Counter Count "page_refaults_total" []
        "Pages that were read again soon after they had been dropped.", "/proc/vmstat workingset_refault*";
    THP_FALLBACKS: Counter Count "huge_page_fallbacks_total" []
        "Transparent huge pages that could not be had.", "/proc/vmstat thp_fault_fallback";
    NUMA_MISSES: Counter Count "numa_misses_total" []
        "Pages taken from another NUMA node than wanted.", "/proc/vmstat numa_miss";
}

/// What a line counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    Events,
    Pages,
    Kilobytes,
}

/// One metric and the lines it is the sum of: one, or one per zone (per LRU since 5.9) whose names
/// begin with `name`. Which of them a kernel has changed in 4.8 (zones to nodes) and 5.9.
struct Row {
    name: &'static [u8],
    zones: &'static [&'static [u8]],
    counts: Counts,
    metric: &'static Metric,
}

const ZONES: &[&[u8]] = &[b"", b"_dma", b"_dma32", b"_normal", b"_high", b"_movable", b"_device"];
const LRUS: &[&[u8]] = &[b"", b"_anon", b"_file"];
const ONE: &[&[u8]] = &[b""];

const fn row(
    name: &'static [u8],
    zones: &'static [&'static [u8]],
    counts: Counts,
    metric: &'static Metric,
) -> Row {
    Row { name, zones, counts, metric }
}

/// In the order of the file.
static ROWS: [Row; 16] = [
    row(b"numa_miss", ONE, Counts::Events, &NUMA_MISSES),
    row(b"workingset_refault", LRUS, Counts::Events, &REFAULTS),
    row(b"pgpgin", ONE, Counts::Kilobytes, &PAGED_IN),
    row(b"pgpgout", ONE, Counts::Kilobytes, &PAGED_OUT),
    row(b"pswpin", ONE, Counts::Pages, &SWAP_IN),
    row(b"pswpout", ONE, Counts::Pages, &SWAP_OUT),
    row(b"allocstall", ZONES, Counts::Events, &STALLS),
    row(b"pgfault", ONE, Counts::Events, &FAULTS),
    row(b"pgmajfault", ONE, Counts::Events, &MAJOR_FAULTS),
    row(b"pgsteal_kswapd", ZONES, Counts::Events, &STOLEN_KSWAPD),
    row(b"pgsteal_direct", ZONES, Counts::Events, &STOLEN_DIRECT),
    row(b"pgscan_kswapd", ZONES, Counts::Events, &SCANNED_KSWAPD),
    row(b"pgscan_direct", ZONES, Counts::Events, &SCANNED_DIRECT),
    row(b"oom_kill", ONE, Counts::Events, &OOM_KILLS),
    row(b"compact_stall", ONE, Counts::Events, &COMPACTION_STALLS),
    row(b"thp_fault_fallback", ONE, Counts::Events, &THP_FALLBACKS),
];

impl Row {
    fn has(&self, name: &[u8]) -> bool {
        name.strip_prefix(self.name).is_some_and(|zone| self.zones.contains(&zone))
    }
}

type Sums = [Option<u64>; ROWS.len()];

/// Reads `/proc/vmstat`.
pub struct Vmstat {
    vmstat: Kept,
    layout: Layout,
}

/// Which lines are wanted, and for which row: a running kernel has the same lines at each pass.
#[derive(Default)]
struct Layout {
    wanted: Vec<(u32, u8)>,
    lines: u32,
}

impl Layout {
    /// Finds the lines.
    fn learn(&mut self, text: &[u8]) {
        let mut cursor = Cursor::default();
        self.wanted.clear();
        self.lines = 0;
        for line in lines(text) {
            let found = cursor.find_at(&ROWS, |row| row.has(key(line).0));
            self.wanted.extend(found.map(|(row, _)| (self.lines, row as u8)));
            self.lines += 1;
        }
    }

    /// `None` where these are other lines.
    fn sums(&self, text: &[u8]) -> Option<Sums> {
        let mut sums = [None::<u64>; ROWS.len()];
        let mut wanted = self.wanted.iter().peekable();
        let mut count = 0;
        for line in lines(text) {
            if let Some((_, row)) = wanted.next_if(|(at, _)| *at == count) {
                let row = usize::from(*row);
                let (name, rest) = key(line);
                if !ROWS[row].has(name) {
                    return None;
                }
                if let Some(value) = number(rest.trim_ascii()) {
                    sums[row] = Some(sums[row].unwrap_or(0).saturating_add(value));
                }
            }
            count += 1;
        }
        (count == self.lines).then_some(sums)
    }
}

impl Vmstat {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self { vmstat: Kept::new("/proc/vmstat"), layout: Layout::default() }
    }
}

impl Default for Vmstat {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Vmstat {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let text = self.vmstat.read(host)?;
        let sums = self.layout.sums(text).or_else(|| {
            self.layout.learn(text);
            self.layout.sums(text)
        });
        let sums = sums.unwrap_or([None; ROWS.len()]);
        for (row, sum) in ROWS.iter().zip(sums) {
            let Some(sum) = sum else { continue };
            let value = match row.counts {
                Counts::Events => sum,
                Counts::Pages => sum.saturating_mul(host.page_size()),
                Counts::Kilobytes => sum.saturating_mul(1024),
            };
            out.put(row.metric, &[], value as f64);
        }
        if sums.iter().all(Option::is_none) {
            return Err(self.vmstat.parse_error("it has none of the counters that every kernel has"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    #[test]
    fn the_zones_of_old_and_new_kernels_are_added_up() {
        for (text, stalls, scanned, refaults) in [
            // 3.10, 4.18, 6.18
            (
                "allocstall 5\npgscan_direct_dma 1\npgscan_direct_normal 2\nworkingset_refault 9",
                5.0,
                3.0,
                9.0,
            ),
            ("allocstall_dma 2\nallocstall_movable 3\npgscan_direct 4\nworkingset_refault 9", 5.0, 4.0, 9.0),
            (
                "allocstall_normal 5\npgscan_direct 4\npgscan_direct_throttle 80\nworkingset_refault_anon 1\nworkingset_refault_file 8",
                5.0,
                4.0,
                9.0,
            ),
        ] {
            let mut bench = Bench::new(&format!("//- /proc/vmstat\n{text}\n"), Vmstat::new());
            bench.pass().unwrap();
            bench.expect(&[
                ("memory_allocation_stalls_total", stalls),
                ("page_scans_direct_total", scanned),
                ("page_refaults_total", refaults),
            ]);
        }
    }

    #[test]
    fn units_are_bytes() {
        let text = "//- /proc/vmstat\npgpgin 3\npgpgout 4\npswpin 5\npswpout 6\noom_kill 2\npgfault 11\npgmajfault 1\n";
        let mut bench = Bench::new(text, Vmstat::new());
        bench.pass().unwrap();
        bench.expect(&[
            ("paged_in_bytes_total", 3072.0),
            ("paged_out_bytes_total", 4096.0),
            ("swap_in_bytes_total", 20480.0),
            ("swap_out_bytes_total", 24576.0),
            ("kernel_oom_kill_count_total", 2.0),
            ("page_faults_total", 11.0),
            ("page_faults_major_total", 1.0),
        ]);
    }

    #[test]
    fn other_lines_than_before_are_seen() {
        let mut bench = Bench::new("", Vmstat::new());
        for (content, expect) in [
            ("nr_free_pages 7\npgfault 1\nother 2\n", [Some(1.0), None]),
            ("nr_free_pages 7\npgfault 2\nother 2\n", [Some(2.0), None]),
            ("nr_free_pages 7\nother 2\npgfault 3\n", [Some(3.0), None]),
            ("nr_free_pages 7\nother 2\npgfault 4\npgmajfault 5\n", [Some(4.0), Some(5.0)]),
            ("pgmajfault 6\n", [None, Some(6.0)]),
            ("pgfault 8\npgfault 9\n", [Some(17.0), None]),
        ] {
            bench.host.set("/proc/vmstat", content);
            bench.pass().unwrap();
            for (name, value) in ["page_faults_total", "page_faults_major_total"].into_iter().zip(expect) {
                match value {
                    Some(value) => bench.expect(&[(name, value)]),
                    None => assert!(!bench.has(name), "{content}"),
                }
            }
        }
    }

    #[test]
    fn bad_content_is_an_error_or_left_out() {
        for content in [&b""[..], b"pgfault", b"pgfault -1", b"pgfault x", b"\xff\xfe 5", b"pgfaultx 5"] {
            let mut bench = Bench::new("", Vmstat::new());
            bench.host.set("/proc/vmstat", content);
            assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{content:?}");
            bench.expect_nothing();
        }
        let mut bench =
            Bench::new("//- /proc/vmstat\npgfault 1\noom_kill 99999999999999999999\n", Vmstat::new());
        bench.pass().unwrap();
        assert!(!bench.has("kernel_oom_kill_count_total"), "an old kernel does not count, it is not zero");
    }
}
