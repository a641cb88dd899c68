//! `/proc/net/softnet_stat`: packets that CPUs could not take from the interfaces in time.

use super::kept::Kept;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::parse::{hex, lines, words};
use crate::metric::{Metric, metrics};
use crate::sample::Samples;

metrics! {
    PROCESSED: Counter Count "softnet_processed_total" [] "Packets the CPUs took from interfaces.", "/proc/net/softnet_stat";
    DROPPED: Counter Count "softnet_dropped_total" []
        "Packets dropped because a CPU's queue was full (net.core.netdev_max_backlog).", "/proc/net/softnet_stat";
    SQUEEZED: Counter Count "softnet_squeezed_total" []
        "Times a CPU stopped with packets left, its share of time or packets used up.", "/proc/net/softnet_stat";
    FLOW_LIMITED: Counter Count "softnet_flow_limited_total" []
        "Packets dropped because one flow had too many; from 3.11 on.", "/proc/net/softnet_stat";
}

/// Columns of each CPU's line, hexadecimal with 32 bits (`softnet_seq_show`, `net/core/net-procfs.c`).
static COLUMNS: [(usize, &Metric); 4] = [(0, &PROCESSED), (1, &DROPPED), (2, &SQUEEZED), (10, &FLOW_LIMITED)];

/// Reads the file.
pub struct Softnet {
    stat: Kept,
}

impl Softnet {
    /// Reads nothing yet.
    pub const fn new() -> Self {
        Self { stat: Kept::new("/proc/net/softnet_stat") }
    }
}

impl Default for Softnet {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Softnet {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let mut sums = [None; COLUMNS.len()];
        for line in lines(self.stat.read(host)?) {
            let mut words = words(line).enumerate();
            for ((column, _), sum) in COLUMNS.iter().zip(&mut sums) {
                let word = words.find(|(at, _)| at == column);
                let Some(value) = word.and_then(|(_, word)| hex(word)) else { continue };
                *sum = Some(sum.unwrap_or(0u64).saturating_add(value));
            }
        }
        for ((_, metric), sum) in COLUMNS.iter().zip(sums) {
            sum.inspect(|&sum| out.put(metric, &[], sum as f64));
        }
        if sums[0].is_none() { Err(self.stat.parse_error("it has no hexadecimal numbers")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    fn pass(text: &[u8]) -> (Bench, Result<(), CollectError>) {
        let mut bench = Bench::new("", Softnet::new());
        bench.host.set("/proc/net/softnet_stat", text);
        let result = bench.pass();
        (bench, result)
    }

    #[test]
    fn cpus_are_added_up() {
        let (bench, result) = pass(
            b"00022d49 00000001 0000001d 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000003 00000000\n\
              ffffffff 00000002 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000004 00000000\n",
        );
        result.unwrap();
        bench.expect(&[
            ("softnet_processed_total", f64::from(0x22d49) + f64::from(u32::MAX)),
            ("softnet_dropped_total", 3.0),
            ("softnet_squeezed_total", 30.0),
            ("softnet_flow_limited_total", 7.0),
        ]);
        // 3.10 has nine columns.
        let (bench, result) =
            pass(b"0000000a 00000000 00000001 00000000 00000000 00000000 00000000 00000000 00000000\n");
        result.unwrap();
        bench.expect(&[("softnet_processed_total", 10.0)]);
        assert!(!bench.has("softnet_flow_limited_total"));
    }

    #[test]
    fn bad_content_is_an_error_or_left_out() {
        for bad in [&b""[..], b"x", b"\xff\xff", b"-1 -2 -3", b"0x10"] {
            assert!(matches!(pass(bad).1, Err(CollectError::Parse { .. })), "{bad:?}");
        }
        let (bench, result) = pass(b"x 5 6\n00000001 2");
        result.unwrap();
        bench.expect(&[("softnet_processed_total", 1.0), ("softnet_dropped_total", 7.0)]);
    }
}
