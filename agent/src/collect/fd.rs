//! `/proc/sys/fs`: file descriptors and inodes of the whole system.

use super::kept::Kept;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::parse::{number, words};
use crate::metric::metrics;
use crate::sample::Samples;

metrics! {
    USED: Gauge Count "fd_used_count" [] "Open files of all processes.", "/proc/sys/fs/file-nr";
    MAX: Gauge Count "fd_max_count" [] "Files that may be open (fs.file-max).", "/proc/sys/fs/file-nr";
    USED_PERCENT: Gauge Percent "fd_used_percent" []
        "Share of the files that may be open; at 100 nothing can be opened.", "/proc/sys/fs/file-nr";
    INODES: Gauge Count "inodes_cached_count" [] "Inodes in memory.", "/proc/sys/fs/inode-nr";
    INODES_FREE: Gauge Count "inodes_cached_free_count" [] "Inodes in memory not used.", "/proc/sys/fs/inode-nr";
}

/// Reads `/proc/sys/fs/file-nr` and `inode-nr`.
pub struct Fd {
    files: Kept,
    inodes: Kept,
}

impl Fd {
    /// Reads nothing yet.
    pub const fn new() -> Self {
        Self { files: Kept::new("/proc/sys/fs/file-nr"), inodes: Kept::new("/proc/sys/fs/inode-nr") }
    }
}

impl Default for Fd {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Fd {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let Some([allocated, free, max]) = numbers(self.files.read(host)?) else {
            return Err(self.files.parse_error("it does not begin with three numbers"));
        };
        let used = allocated.saturating_sub(free) as f64;
        out.put(&USED, &[], used);
        out.put(&MAX, &[], max as f64);
        if max > 0 {
            // The limit may be lowered below what there is, and root may go over it.
            out.put(&USED_PERCENT, &[], (100.0 * used / max as f64).min(100.0));
        }
        let Some([inodes, free]) = numbers(self.inodes.read(host)?) else {
            return Err(self.inodes.parse_error("it does not begin with two numbers"));
        };
        out.put(&INODES, &[], inodes as f64);
        out.put(&INODES_FREE, &[], free as f64);
        Ok(())
    }
}

fn numbers<const N: usize>(text: &[u8]) -> Option<[u64; N]> {
    let mut words = words(text.trim_ascii());
    let mut numbers = [0; N];
    for slot in &mut numbers {
        *slot = number(words.next()?)?;
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    fn bench(files: &str, inodes: &str) -> Bench {
        Bench::new(
            &format!("//- /proc/sys/fs/file-nr\n{files}\n//- /proc/sys/fs/inode-nr\n{inodes}\n"),
            Fd::new(),
        )
    }

    #[test]
    fn a_host_is_read() {
        let mut bench = bench("522\t22\t1000", "38502\t7");
        bench.pass().unwrap();
        bench.expect(&[
            ("fd_used_count", 500.0),
            ("fd_max_count", 1000.0),
            ("fd_used_percent", 50.0),
            ("inodes_cached_count", 38502.0),
            ("inodes_cached_free_count", 7.0),
        ]);
    }

    #[test]
    fn limits_of_the_numbers() {
        // Since 5.2 the limit is 2^63 - 1 where systemd raised it.
        for (files, percent) in
            [("522 0 9223372036854775807", Some(0.0)), ("5 9 100", Some(0.0)), ("5 0 0", None)]
        {
            let mut bench = bench(files, "1 1");
            bench.pass().unwrap();
            match percent {
                Some(percent) => assert!((bench.value("fd_used_percent") - percent).abs() < 1e-6),
                None => assert!(!bench.has("fd_used_percent")),
            }
        }
    }

    #[test]
    fn bad_content_is_an_error() {
        for (files, inodes) in
            [("", "1 1"), ("5 5", "1 1"), ("5 -1 5", "1 1"), ("x", "1 1"), ("1 1 1", ""), ("1 1 1", "1")]
        {
            let mut bench = bench(files, inodes);
            assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{files} {inodes}");
        }
    }
}
