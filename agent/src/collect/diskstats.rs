//! `/proc/diskstats`: requests, bytes and time of each disk.

use super::kept::Kept;
use super::readings::word;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::glob::Globs;
use crate::host::parse::{lines, number, words};
use crate::metric::{Metric, metrics};
use crate::sample::Samples;

metrics! {
    READS: Counter Count "disk_reads_completed_total" ["device"] "Read requests completed.", "/proc/diskstats field 4";
    READS_MERGED: Counter Count "disk_reads_merged_total" ["device"]
        "Read requests merged with another.", "/proc/diskstats field 5";
    READ_BYTES: Counter Bytes "disk_read_bytes_total" ["device"] "Bytes read.", "/proc/diskstats field 6";
    READ_TIME: Counter Seconds "disk_read_time_seconds_total" ["device"]
        "Time all read requests took together.", "/proc/diskstats field 7";
    WRITES: Counter Count "disk_writes_completed_total" ["device"]
        "Write requests completed.", "/proc/diskstats field 8";
    WRITES_MERGED: Counter Count "disk_writes_merged_total" ["device"]
        "Write requests merged with another.", "/proc/diskstats field 9";
    WRITTEN_BYTES: Counter Bytes "disk_written_bytes_total" ["device"] "Bytes written.", "/proc/diskstats field 10";
    WRITE_TIME: Counter Seconds "disk_write_time_seconds_total" ["device"]
        "Time all write requests took together.", "/proc/diskstats field 11";
    IN_FLIGHT: Gauge Count "disk_requests_in_flight_count" ["device"]
        "Requests issued and not completed.", "/proc/diskstats field 12";
    IO_TIME: Counter Seconds "disk_io_time_seconds_total" ["device"]
        "Time with at least one request in flight; its share of time is the utilisation.", "/proc/diskstats field 13";
    IO_TIME_WEIGHTED: Counter Seconds "disk_io_time_weighted_seconds_total" ["device"]
        "Time times requests in flight; per second it is the mean queue length.", "/proc/diskstats field 14";
    DISCARDS: Counter Count "disk_discards_completed_total" ["device"]
        "Discard requests completed; from 4.18 on.", "/proc/diskstats field 15";
    DISCARDS_MERGED: Counter Count "disk_discards_merged_total" ["device"]
        "Discard requests merged with another; from 4.18 on.", "/proc/diskstats field 16";
    DISCARDED_BYTES: Counter Bytes "disk_discarded_bytes_total" ["device"]
        "Bytes discarded; from 4.18 on.", "/proc/diskstats field 17";
    DISCARD_TIME: Counter Seconds "disk_discard_time_seconds_total" ["device"]
        "Time all discard requests took together; from 4.18 on.", "/proc/diskstats field 18";
    FLUSHES: Counter Count "disk_flushes_completed_total" ["device"]
        "Flush requests completed; from 5.5 on.", "/proc/diskstats field 19";
    FLUSH_TIME: Counter Seconds "disk_flush_time_seconds_total" ["device"]
        "Time all flush requests took together; from 5.5 on.", "/proc/diskstats field 20";
}

/// Columns after the name (`diskstats_show`, `block/genhd.c`), with what one unit of them is worth.
static COLUMNS: [(&Metric, f64); 17] = [
    (&READS, 1.0),
    (&READS_MERGED, 1.0),
    (&READ_BYTES, SECTOR),
    (&READ_TIME, MILLISECOND),
    (&WRITES, 1.0),
    (&WRITES_MERGED, 1.0),
    (&WRITTEN_BYTES, SECTOR),
    (&WRITE_TIME, MILLISECOND),
    (&IN_FLIGHT, 1.0),
    (&IO_TIME, MILLISECOND),
    (&IO_TIME_WEIGHTED, MILLISECOND),
    (&DISCARDS, 1.0),
    (&DISCARDS_MERGED, 1.0),
    (&DISCARDED_BYTES, SECTOR),
    (&DISCARD_TIME, MILLISECOND),
    (&FLUSHES, 1.0),
    (&FLUSH_TIME, MILLISECOND),
];
/// Always 512, whatever the device's own sector size.
const SECTOR: f64 = 512.0;
const MILLISECOND: f64 = 1e-3;

/// Columns every kernel since 2.6 writes.
const LEAST_COLUMNS: usize = 11;

/// Devices remembered; the lines of further ones are judged anew at each pass.
const MAX_KNOWN: usize = 4096;

/// Reads `/proc/diskstats`.
pub struct Diskstats {
    exclude: Globs,
    stats: Kept,
    /// The devices in the file's order, and whether they are wanted.
    known: Vec<(Box<[u8]>, bool)>,
}

impl Diskstats {
    /// Leaves out devices whose names `exclude` fits, and partitions.
    pub fn new(exclude: Globs) -> Self {
        Self { exclude, stats: Kept::new("/proc/diskstats"), known: Vec::new() }
    }
}

impl Collector for Diskstats {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let mut bad = 0;
        let text = self.stats.read(host)?;
        for (at, line) in lines(text).enumerate() {
            let Some((name, columns)) = Columns::parse(line) else {
                bad += 1;
                continue;
            };
            let wanted = match self.known.get(at) {
                Some((known, wanted)) if **known == *name => *wanted,
                _ => {
                    let wanted = is_wanted(host, &self.exclude, name);
                    self.known.truncate(at);
                    if self.known.len() == at && at < MAX_KNOWN {
                        self.known.push((name.into(), wanted));
                    }
                    wanted
                }
            };
            if wanted {
                columns.put(&String::from_utf8_lossy(name), out);
            }
        }
        if bad > 0 {
            return Err(self.stats.parse_error(&format!("{bad} of its lines have fewer than 14 numbers")));
        }
        Ok(())
    }
}

/// A whole disk that is not excluded.
fn is_wanted(host: &dyn Host, exclude: &Globs, name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name);
    if exclude.matches(&name) {
        return false;
    }
    // `/sys/block` lists whole disks only; a `/` in a name (cciss/c0d0) is `!` there.
    let dir = format!("/sys/block/{}", name.replace('/', "!"));
    match host.read_link(&dir) {
        // One path to a disk with several, `nvme0c0n1` of `nvme0n1` (`GENHD_FL_HIDDEN`, 4.15): the disk counts its requests.
        Ok(_) => word(host, &format!("{dir}/hidden")).as_deref() != Some("1"),
        Err(_) if host.list("/sys/block", &mut |_| {}).is_ok() => false,
        Err(_) => !looks_like_partition(&name),
    }
}

/// `sda1`, `nvme0n1p2`, `mmcblk0p1`: for hosts whose `/sys` is not to be seen.
fn looks_like_partition(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == name.len() {
        return false;
    }
    match stem.strip_suffix('p') {
        Some(disk) if disk.ends_with(|c: char| c.is_ascii_digit()) => true,
        _ => ["sd", "hd", "vd", "xvd"].iter().any(|kind| stem.starts_with(kind)),
    }
}

struct Columns {
    values: [u64; COLUMNS.len()],
    count: usize,
}

impl Columns {
    /// Major, minor, name and at least [`LEAST_COLUMNS`] numbers.
    fn parse(line: &[u8]) -> Option<(&[u8], Self)> {
        let mut words = words(line);
        number(words.next()?)?;
        number(words.next()?)?;
        let name = words.next()?;
        let mut columns = Self { values: [0; COLUMNS.len()], count: 0 };
        for (slot, word) in columns.values.iter_mut().zip(words) {
            *slot = number(word)?;
            columns.count += 1;
        }
        (columns.count >= LEAST_COLUMNS).then_some((name, columns))
    }

    fn put(&self, device: &str, out: &mut Samples) {
        for ((metric, scale), value) in COLUMNS.iter().zip(&self.values[..self.count]) {
            out.put(metric, &[device], *value as f64 * scale);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    fn bench(text: &str) -> Bench {
        Bench::new(
            text,
            Diskstats::new(Globs::new(&crate::config::Config::default().collector.exclude_devices)),
        )
    }

    const HOST: &str = "\
//- /proc/diskstats
   7       0 loop0 9 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
 254       0 vda 12879 5077 5050530 20743 5130 39644 11635864 78554 2 12956 100780 5670 33 749000 1479 51 3
 254       1 vda1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
 104       0 cciss/c0d0 3 0 0 0 0 0 0 0 0 0 0
//- /sys/block/vda -> ../devices/vda
//- /sys/block/cciss!c0d0 -> ../devices/cciss
";

    #[test]
    fn whole_disks_are_read() {
        let mut bench = bench(HOST);
        for _ in 0..2 {
            bench.pass().unwrap();
            bench.expect(&[
                ("disk_reads_completed_total{vda}", 12_879.0),
                ("disk_reads_merged_total{vda}", 5077.0),
                ("disk_read_bytes_total{vda}", 5_050_530.0 * 512.0),
                ("disk_read_time_seconds_total{vda}", 20.743),
                ("disk_writes_completed_total{vda}", 5130.0),
                ("disk_written_bytes_total{vda}", 11_635_864.0 * 512.0),
                ("disk_requests_in_flight_count{vda}", 2.0),
                ("disk_io_time_seconds_total{vda}", 12.956),
                ("disk_io_time_weighted_seconds_total{vda}", 100.78),
                ("disk_discards_completed_total{vda}", 5670.0),
                ("disk_discarded_bytes_total{vda}", 749_000.0 * 512.0),
                ("disk_flushes_completed_total{vda}", 51.0),
                ("disk_flush_time_seconds_total{vda}", 0.003),
                ("disk_reads_completed_total{cciss/c0d0}", 3.0),
            ]);
            assert!(!bench.has("disk_discards_completed_total{cciss/c0d0}"), "an old kernel has no discards");
            for none in ["disk_reads_completed_total{loop0}", "disk_reads_completed_total{vda1}"] {
                assert!(!bench.has(none), "{none}");
            }
        }
    }

    #[test]
    fn paths_to_a_disk_are_no_disks() {
        let mut bench = bench(
            "//- /proc/diskstats\n259 0 nvme0c0n1 5 0 0 0 0 0 0 0 0 0 0\n259 1 nvme0n1 5 0 0 0 0 0 0 0 0 0 0\n\
             //- /sys/block/nvme0c0n1 -> x\n//- /sys/block/nvme0c0n1/hidden\n1\n\
             //- /sys/block/nvme0n1 -> x\n//- /sys/block/nvme0n1/hidden\n0\n",
        );
        bench.pass().unwrap();
        bench.expect(&[("disk_reads_completed_total{nvme0n1}", 5.0)]);
        assert!(!bench.has("disk_reads_completed_total{nvme0c0n1}"));
    }

    #[test]
    fn devices_come_and_go() {
        let mut bench = bench(HOST);
        bench.pass().unwrap();
        bench.host.apply("//- /sys/block/sdb -> x").unwrap();
        bench
            .host
            .set("/proc/diskstats", " 8 16 sdb 7 0 0 0 0 0 0 0 0 0 0\n 254 0 vda 1 0 0 0 0 0 0 0 0 0 0\n");
        bench.pass().unwrap();
        bench.expect(&[("disk_reads_completed_total{sdb}", 7.0), ("disk_reads_completed_total{vda}", 1.0)]);
        bench.host.set("/proc/diskstats", "");
        bench.pass().unwrap();
        bench.expect_nothing();
    }

    #[test]
    fn bad_lines_are_an_error_and_good_ones_count() {
        for bad in [
            "8 0",
            "8 0 sda",
            "8 0 sda 1 2 3",
            "8 0 sda 1 0 0 -1 0 0 0 0 0 0 0",
            "a b c 1 2 3 4 5 6 7 8 9 10 11",
        ] {
            let mut bench = bench(HOST);
            bench.host.set("/proc/diskstats", format!("{bad}\n 254 0 vda 1 0 0 0 0 0 0 0 0 0 0\n"));
            assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{bad}");
            bench.expect(&[("disk_reads_completed_total{vda}", 1.0)]);
        }
    }

    #[test]
    fn partitions_are_known_by_name_without_sys() {
        for (name, partition) in [
            ("sda", false),
            ("sda1", true),
            ("xvda1", true),
            ("nvme0n1", false),
            ("nvme0n1p2", true),
            ("mmcblk0", false),
            ("mmcblk0p1", true),
            ("dm-0", false),
            ("md127", false),
            ("md127p1", true),
            ("", false),
            ("7", false),
        ] {
            assert_eq!(looks_like_partition(name), partition, "{name}");
        }
        let mut bench =
            bench("//- /proc/diskstats\n8 0 sda 1 0 0 0 0 0 0 0 0 0 0\n8 1 sda1 1 0 0 0 0 0 0 0 0 0 0\n");
        bench.pass().unwrap();
        assert!(
            bench.has("disk_reads_completed_total{sda}") && !bench.has("disk_reads_completed_total{sda1}")
        );
    }
}
