//! `/proc/meminfo`: what memory and swap are used for.

use super::kept::Kept;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::parse::{Cursor, key, lines, number, words};
use crate::metric::{Metric, Unit, metrics};
use crate::sample::Samples;
use crate::time::SECOND;

metrics! {
    TOTAL: Gauge Bytes "memory_total_bytes" [] "Memory the kernel can use.", "/proc/meminfo MemTotal";
    FREE: Gauge Bytes "memory_free_bytes" [] "Memory used for nothing at all.", "/proc/meminfo MemFree";
    AVAILABLE: Gauge Bytes "memory_available_bytes" []
        "Memory programs can get without swapping, with what the ARC of ZFS would give back; on kernels before 3.14, which do not say it, estimated as they would.",
        "/proc/meminfo MemAvailable; else MemFree, Active(file), Inactive(file), SReclaimable, /proc/sys/vm/min_free_kbytes; /proc/spl/kstat/zfs/arcstats size, c_min";
    USED: Gauge Bytes "memory_used_bytes" [] "Memory that is not available.", "/proc/meminfo MemTotal, MemAvailable";
    USED_PERCENT: Gauge Percent "memory_used_percent" []
        "Share of memory that is not available.", "/proc/meminfo MemTotal, MemAvailable";
    BUFFERS: Gauge Bytes "memory_buffers_bytes" [] "Cache of block devices.", "/proc/meminfo Buffers";
    CACHED: Gauge Bytes "memory_cached_bytes" [] "Page cache, with shared memory and tmpfs.", "/proc/meminfo Cached";
    SWAP_CACHED: Gauge Bytes "swap_cached_bytes" []
        "Memory that is also in swap still.", "/proc/meminfo SwapCached";
    ACTIVE: Gauge Bytes "memory_active_bytes" [] "Pages used recently.", "/proc/meminfo Active";
    INACTIVE: Gauge Bytes "memory_inactive_bytes" [] "Pages that are reclaimed first.", "/proc/meminfo Inactive";
    ACTIVE_ANON: Gauge Bytes "memory_active_anon_bytes" []
        "Pages of programs used recently.", "/proc/meminfo Active(anon)";
    INACTIVE_ANON: Gauge Bytes "memory_inactive_anon_bytes" []
        "Pages of programs that are swapped first.", "/proc/meminfo Inactive(anon)";
    ACTIVE_FILE: Gauge Bytes "memory_active_file_bytes" []
        "Pages of files used recently.", "/proc/meminfo Active(file)";
    INACTIVE_FILE: Gauge Bytes "memory_inactive_file_bytes" []
        "Pages of files that are dropped first.", "/proc/meminfo Inactive(file)";
    UNEVICTABLE: Gauge Bytes "memory_unevictable_bytes" []
        "Memory that cannot be reclaimed.", "/proc/meminfo Unevictable";
    MLOCKED: Gauge Bytes "memory_locked_bytes" [] "Memory locked by programs.", "/proc/meminfo Mlocked";
    DIRTY: Gauge Bytes "memory_dirty_bytes" [] "Memory waiting to be written to disk.", "/proc/meminfo Dirty";
    WRITEBACK: Gauge Bytes "memory_writeback_bytes" []
        "Memory being written to disk.", "/proc/meminfo Writeback";
    ANON: Gauge Bytes "memory_anon_bytes" [] "Memory of programs, without files.", "/proc/meminfo AnonPages";
    ANON_HUGE: Gauge Bytes "memory_anon_huge_bytes" []
        "Memory of programs in transparent huge pages.", "/proc/meminfo AnonHugePages";
    MAPPED: Gauge Bytes "memory_mapped_bytes" [] "Files mapped into programs.", "/proc/meminfo Mapped";
    SHMEM: Gauge Bytes "memory_shared_bytes" [] "Shared memory and tmpfs.", "/proc/meminfo Shmem";
    SLAB: Gauge Bytes "memory_slab_bytes" [] "Data structures of the kernel.", "/proc/meminfo Slab";
    SLAB_RECLAIMABLE: Gauge Bytes "memory_slab_reclaimable_bytes" []
        "Data structures of the kernel that can be dropped.", "/proc/meminfo SReclaimable";
    SLAB_UNRECLAIMABLE: Gauge Bytes "memory_slab_unreclaimable_bytes" []
        "Data structures of the kernel that cannot be dropped.", "/proc/meminfo SUnreclaim";
    KERNEL_STACK: Gauge Bytes "memory_kernel_stack_bytes" []
        "Kernel stacks of all tasks.", "/proc/meminfo KernelStack";
    PAGE_TABLES: Gauge Bytes "memory_page_tables_bytes" [] "Page tables.", "/proc/meminfo PageTables";
    PERCPU: Gauge Bytes "memory_percpu_bytes" []
        "Memory of the kernel per CPU; BPF maps too.", "/proc/meminfo Percpu";
    VMALLOC: Gauge Bytes "memory_vmalloc_used_bytes" []
        "Memory the kernel took with vmalloc; 0 before 5.3.", "/proc/meminfo VmallocUsed";
    CORRUPTED: Gauge Bytes "memory_hardware_corrupted_bytes" []
        "Memory taken out of use because it is broken.", "/proc/meminfo HardwareCorrupted";
    COMMIT_LIMIT: Gauge Bytes "memory_commit_limit_bytes" []
        "Memory that may be promised; holds with vm.overcommit_memory=2 only.", "/proc/meminfo CommitLimit";
    COMMITTED: Gauge Bytes "memory_committed_bytes" [] "Memory promised to programs.", "/proc/meminfo Committed_AS";
    HUGEPAGES: Gauge Count "hugepages_count" [] "Huge pages set aside.", "/proc/meminfo HugePages_Total";
    HUGEPAGES_FREE: Gauge Count "hugepages_free_count" [] "Huge pages not used.", "/proc/meminfo HugePages_Free";
    HUGEPAGES_RESERVED: Gauge Count "hugepages_reserved_count" []
        "Huge pages promised and not yet used.", "/proc/meminfo HugePages_Rsvd";
    HUGEPAGES_SURPLUS: Gauge Count "hugepages_surplus_count" []
        "Huge pages beyond those set aside.", "/proc/meminfo HugePages_Surp";
    HUGEPAGE_SIZE: Gauge Bytes "hugepage_size_bytes" [] "Size of a huge page.", "/proc/meminfo Hugepagesize";
    ZSWAP: Gauge Bytes "memory_zswap_bytes" [] "Memory that holds compressed swap.", "/proc/meminfo Zswap";
    ZSWAPPED: Gauge Bytes "memory_zswapped_bytes" []
        "Memory of programs that is compressed in zswap.", "/proc/meminfo Zswapped";
    SWAP_TOTAL: Gauge Bytes "swap_total_bytes" [] "Swap space.", "/proc/meminfo SwapTotal";
    SWAP_FREE: Gauge Bytes "swap_free_bytes" [] "Swap space not used.", "/proc/meminfo SwapFree";
    SWAP_USED: Gauge Bytes "swap_used_bytes" [] "Swap space used.", "/proc/meminfo SwapTotal, SwapFree";
    SWAP_USED_PERCENT: Gauge Percent "swap_used_percent" []
        "Share of swap space used; nothing on hosts without swap.", "/proc/meminfo SwapTotal, SwapFree";
}

/// Lines that are put out as they are, in the order of the file.
static LINES: [(&[u8], &Metric); 39] = [
    (b"MemTotal:", &TOTAL),
    (b"MemFree:", &FREE),
    (b"MemAvailable:", &AVAILABLE),
    (b"Buffers:", &BUFFERS),
    (b"Cached:", &CACHED),
    (b"SwapCached:", &SWAP_CACHED),
    (b"Active:", &ACTIVE),
    (b"Inactive:", &INACTIVE),
    (b"Active(anon):", &ACTIVE_ANON),
    (b"Inactive(anon):", &INACTIVE_ANON),
    (b"Active(file):", &ACTIVE_FILE),
    (b"Inactive(file):", &INACTIVE_FILE),
    (b"Unevictable:", &UNEVICTABLE),
    (b"Mlocked:", &MLOCKED),
    (b"SwapTotal:", &SWAP_TOTAL),
    (b"SwapFree:", &SWAP_FREE),
    (b"Zswap:", &ZSWAP),
    (b"Zswapped:", &ZSWAPPED),
    (b"Dirty:", &DIRTY),
    (b"Writeback:", &WRITEBACK),
    (b"AnonPages:", &ANON),
    (b"Mapped:", &MAPPED),
    (b"Shmem:", &SHMEM),
    (b"Slab:", &SLAB),
    (b"SReclaimable:", &SLAB_RECLAIMABLE),
    (b"SUnreclaim:", &SLAB_UNRECLAIMABLE),
    (b"KernelStack:", &KERNEL_STACK),
    (b"PageTables:", &PAGE_TABLES),
    (b"CommitLimit:", &COMMIT_LIMIT),
    (b"Committed_AS:", &COMMITTED),
    (b"VmallocUsed:", &VMALLOC),
    (b"Percpu:", &PERCPU),
    (b"HardwareCorrupted:", &CORRUPTED),
    (b"AnonHugePages:", &ANON_HUGE),
    (b"HugePages_Total:", &HUGEPAGES),
    (b"HugePages_Free:", &HUGEPAGES_FREE),
    (b"HugePages_Rsvd:", &HUGEPAGES_RESERVED),
    (b"HugePages_Surp:", &HUGEPAGES_SURPLUS),
    (b"Hugepagesize:", &HUGEPAGE_SIZE),
];

/// Reads `/proc/meminfo`.
pub struct Memory {
    meminfo: Kept,
    min_free: Kept,
    arc: Kept,
    /// Without ZFS it is not asked for before, monotonic nanoseconds.
    arc_from_ns: u64,
    cursor: Cursor,
}

impl Memory {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self {
            meminfo: Kept::new("/proc/meminfo"),
            min_free: Kept::new("/proc/sys/vm/min_free_kbytes"),
            arc: Kept::new("/proc/spl/kstat/zfs/arcstats"),
            arc_from_ns: 0,
            cursor: Cursor::default(),
        }
    }
}

impl Memory {
    /// What the ARC would give back. A host has none, or loads the module that makes one later.
    fn reclaimable(&mut self, host: &dyn Host, now_ns: u64) -> u64 {
        if now_ns < self.arc_from_ns {
            return 0;
        }
        if let Ok(text) = self.arc.read(host) {
            return reclaimable_arc(text);
        }
        self.arc_from_ns = now_ns.saturating_add(ARC_AGAIN_NS);
        0
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Where there is no ARC, it is looked for every 10 minutes.
const ARC_AGAIN_NS: u64 = 600 * SECOND;

/// The values, in bytes, from which others are computed.
#[derive(Default)]
struct Known {
    total: Option<u64>,
    free: Option<u64>,
    available: Option<u64>,
    active_file: u64,
    inactive_file: u64,
    reclaimable: u64,
    swap_total: Option<u64>,
    swap_free: Option<u64>,
}

impl Known {
    fn note(&mut self, key: &[u8], value: u64) {
        match key {
            b"MemTotal:" => self.total = Some(value),
            b"MemFree:" => self.free = Some(value),
            b"MemAvailable:" => self.available = Some(value),
            b"Active(file):" => self.active_file = value,
            b"Inactive(file):" => self.inactive_file = value,
            b"SReclaimable:" => self.reclaimable = value,
            b"SwapTotal:" => self.swap_total = Some(value),
            b"SwapFree:" => self.swap_free = Some(value),
            _ => {}
        }
    }

    /// As the kernel computes it since 34e431b0ae39 (`si_mem_available`): free memory above the low
    /// watermark, and of caches what is above half of them or the watermark. The watermark is
    /// `min_free_kbytes` and a quarter (`__setup_per_zone_wmarks`).
    fn estimate_available(&self, min_free: u64) -> Option<u64> {
        let low = min_free.saturating_add(min_free / 4);
        let usable = |cache: u64| cache - (cache / 2).min(low);
        let cache = usable(self.active_file.saturating_add(self.inactive_file));
        let available = self.free?.saturating_sub(low).saturating_add(cache);
        Some(available.saturating_add(usable(self.reclaimable)))
    }
}

impl Collector for Memory {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let mut known = Known::default();
        for line in lines(self.meminfo.read(host)?) {
            let (name, rest) = key(line);
            let Some((_, metric)) = self.cursor.find(&LINES, |(known, _)| *known == name) else { continue };
            let Some(value) = words(rest).next().and_then(number) else { continue };
            let value = match metric.unit {
                Unit::Bytes => value.saturating_mul(1024),
                _ => value,
            };
            known.note(name, value);
            if **metric != AVAILABLE {
                out.put(metric, &[], value as f64);
            }
        }
        if known.available.is_none() {
            let min_free = self.min_free.read(host).ok().and_then(|text| number(text.trim_ascii()));
            known.available = known.estimate_available(min_free.unwrap_or(0).saturating_mul(1024));
        }
        let arc = self.reclaimable(host, out.at().mono_ns);
        known.available = known.available.map(|bytes| bytes.saturating_add(arc));
        known.available.inspect(|&bytes| out.put(&AVAILABLE, &[], bytes as f64));
        put_swap(&known, out);
        let (Some(total @ 1..), Some(available)) = (known.total, known.available) else {
            return Err(self.meminfo.parse_error("it has no MemTotal and MemFree"));
        };
        put_used(&USED, &USED_PERCENT, total, available, out);
        Ok(())
    }
}

/// Bytes that the ARC gives back when the kernel asks, down to its least size (`arc_shrinker_count`, `arc_os.c` of ZFS on Linux). It is a
/// cache that `MemAvailable` does not know of: its pages are neither on the lists of files nor in reclaimable slabs.
fn reclaimable_arc(text: &[u8]) -> u64 {
    let (mut size, mut least) = (0, u64::MAX);
    for line in lines(text) {
        // Name, type and value.
        let mut words = words(line);
        let (name, value) = (words.next(), words.nth(1).and_then(number));
        match (name, value) {
            (Some(b"size"), Some(value)) => size = value,
            (Some(b"c_min"), Some(value)) => least = value,
            _ => {}
        }
    }
    size.saturating_sub(least)
}

fn put_swap(known: &Known, out: &mut Samples) {
    if let (Some(total @ 1..), Some(free)) = (known.swap_total, known.swap_free) {
        put_used(&SWAP_USED, &SWAP_USED_PERCENT, total, free, out);
    }
}

fn put_used(used: &'static Metric, percent: &'static Metric, total: u64, free: u64, out: &mut Samples) {
    let bytes = total.saturating_sub(free);
    out.put(used, &[], bytes as f64);
    out.put(percent, &[], 100.0 * bytes as f64 / total as f64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    const NEW: &str = "\
//- /proc/meminfo
MemTotal:       1000 kB
MemFree:         100 kB
MemAvailable:    400 kB
Buffers:          13 kB
SwapCached:        0 kB
SwapTotal:       200 kB
SwapFree:        150 kB
Slab:             21 kB
HugePages_Total:       7
Hugepagesize:    2048 kB
";

    /// 3.10 has neither `MemAvailable` nor the newer lines.
    const OLD: &str = "\
//- /proc/meminfo
MemTotal:       10000 kB
MemFree:         2000 kB
Buffers:          130 kB
Cached:          4000 kB
Active(file):    1000 kB
Inactive(file):  2000 kB
SwapTotal:          0 kB
SwapFree:           0 kB
Shmem:           1000 kB
SReclaimable:     100 kB
//- /proc/sys/vm/min_free_kbytes
400
";

    #[test]
    fn a_host_is_read() {
        let mut bench = Bench::new(NEW, Memory::new());
        bench.pass().unwrap();
        bench.expect(&[
            ("memory_total_bytes", 1_024_000.0),
            ("memory_available_bytes", 409_600.0),
            ("memory_used_bytes", 614_400.0),
            ("memory_used_percent", 60.0),
            ("swap_used_bytes", 51_200.0),
            ("swap_used_percent", 25.0),
            ("memory_slab_bytes", 21_504.0),
            ("hugepages_count", 7.0),
            ("hugepage_size_bytes", 2_097_152.0),
        ]);
    }

    /// 600 kB of ARC, of which it keeps 100, in what would be 60 % used.
    #[test]
    fn the_arc_of_zfs_is_a_cache() {
        let mut bench = Bench::new(NEW, Memory::new());
        let arc = "9 1 0x01 147 39984 4189 1\nname  type data\nhits  4  700\nc  4  700000\nc_min 4  102400\nc_max 4  819200\nsize  4  614400\n";
        let mut check = |arc: &str, available: f64| {
            bench.host.set("/proc/spl/kstat/zfs/arcstats", arc);
            bench.pass().unwrap();
            bench.expect(&[("memory_available_bytes", available * 1024.0)]);
        };
        check(arc, 900.0);
        check("", 400.0);
        check("size 4 7\nc_min 4 102400\n", 400.0);
        check("size\nc_min 4\n", 400.0);
        bench.host.set("/proc/spl/kstat/zfs/arcstats", arc);
        bench.pass().unwrap();
        bench.expect(&[("memory_used_percent", 10.0)]);
    }

    #[test]
    fn an_old_kernel_is_estimated() {
        let mut bench = Bench::new(OLD, Memory::new());
        bench.pass().unwrap();
        // 2000 - 500 free, 3000 - 500 of files, 100 - 50 of slabs.
        bench.expect(&[
            ("memory_available_bytes", 4050.0 * 1024.0),
            ("memory_used_percent", 59.5),
            ("swap_total_bytes", 0.0),
        ]);
        assert!(!bench.has("swap_used_percent"), "no swap, no share of it");
        bench.host.remove("/proc/sys");
        bench.pass().unwrap();
        bench.expect(&[("memory_available_bytes", 5100.0 * 1024.0)]);
    }

    #[test]
    fn bad_content_is_an_error_or_left_out() {
        for content in [
            "",
            "MemTotal:",
            "MemTotal: 0 kB\nMemFree: 0 kB",
            "MemFree: 5 kB",
            "MemTotal: -5 kB\nMemFree: 1 kB",
        ] {
            let mut bench = Bench::new("", Memory::new());
            bench.host.set("/proc/meminfo", content);
            assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{content}");
        }
        let mut bench = Bench::new("", Memory::new());
        assert!(matches!(bench.pass(), Err(CollectError::Absent { .. })));
        bench.host.set("/proc/meminfo", b"\xff: 1\nSlab: 18446744073709551615 kB\nMemTotal: 4 kB\nMemAvailable: 9 kB\nDirty: x\nSwapTotal: 5 kB");
        bench.pass().unwrap();
        bench.expect(&[("memory_used_percent", 0.0), ("memory_slab_bytes", u64::MAX as f64)]);
        assert!(!bench.has("memory_dirty_bytes") && !bench.has("swap_used_bytes"));
    }
}
