//! `/proc/net/softnet_stat`: packets that CPUs could not take from the interfaces in time.

use super::kept::Kept;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::parse::{hex, lines, ranges, words};
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

/// Where a line says which CPU it is of, from 5.10 on (7d58e6555870).
const CPU: usize = 12;
/// CPUs followed at most: `NR_CPUS` of the largest x86 kernels.
const MAX_CPUS: usize = 8192;

type Values = [Option<u64>; COLUMNS.len()];

/// Reads the file, and adds up what each CPU counted since the pass before: one that goes offline takes its line along and
/// nothing away, one that comes back brings all it ever counted and adds nothing of it.
pub struct Softnet {
    stat: Kept,
    /// Read where lines do not say it: the n-th is of the n-th CPU that is online (`softnet_get_online`).
    online: Kept,
    /// Each CPU's numbers in the newest pass it was online in, in the order of the file.
    cpus: Vec<(u64, Values)>,
    sums: Values,
    first: bool,
}

impl Softnet {
    /// Reads nothing yet.
    pub const fn new() -> Self {
        Self {
            stat: Kept::new("/proc/net/softnet_stat"),
            online: Kept::new("/sys/devices/system/cpu/online"),
            cpus: Vec::new(),
            sums: [None; COLUMNS.len()],
            first: true,
        }
    }
}

impl Default for Softnet {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Softnet {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let (cpus, sums, first) = (&mut self.cpus, &mut self.sums, self.first);
        let text = self.stat.read(host)?;
        let numbered = lines(text).next().is_some_and(|line| words(line).nth(CPU).is_some());
        let online = if numbered { None } else { self.online.read(host).ok() };
        let mut online = online.into_iter().flat_map(ranges).flatten().flat_map(|(first, last)| first..=last);
        let mut at = 0;
        for line in lines(text) {
            let (number, values) = values(line);
            if values[0].is_none() || at == MAX_CPUS {
                continue;
            }
            let number = number.or_else(|| online.next()).unwrap_or(at as u64);
            let known = place(cpus, at, number);
            at += 1;
            for ((sum, known), value) in sums.iter_mut().zip(known).zip(values) {
                let Some(value) = value else { continue };
                let before = if first { 0 } else { value };
                let grown = known.replace(value).map_or(value - before, |was| growth(was, value));
                *sum = Some(sum.unwrap_or(0).saturating_add(grown));
            }
        }
        if at == 0 {
            return Err(self.stat.parse_error("it has no hexadecimal numbers"));
        }
        // Those that went from the end; `place` lets the others go.
        cpus.truncate(at);
        self.first = false;
        for ((_, metric), sum) in COLUMNS.iter().zip(*sums) {
            sum.inspect(|&sum| out.put(metric, &[], sum as f64));
        }
        Ok(())
    }
}

/// The number of a line's CPU, where the line has it, and what it counted.
fn values(line: &[u8]) -> (Option<u64>, Values) {
    let (mut number, mut values) = (None, [None; COLUMNS.len()]);
    for (at, word) in words(line).enumerate().take(CPU + 1) {
        if at == CPU {
            number = hex(word);
        } else if let Some(to) = COLUMNS.iter().position(|(column, _)| *column == at) {
            values[to] = hex(word);
        }
    }
    (number, values)
}

/// What is known of a CPU; those that stood here before it and are not told any more are offline.
fn place(cpus: &mut Vec<(u64, Values)>, at: usize, number: u64) -> &mut Values {
    if cpus.get(at).is_none_or(|(known, _)| *known != number) {
        match cpus[at..].iter().position(|(known, _)| *known == number) {
            Some(skipped) => drop(cpus.drain(at..at + skipped)),
            None => cpus.insert(at, (number, [None; COLUMNS.len()])),
        }
    }
    &mut cpus[at].1
}

/// What a counter of 32 bits grew by; it begins anew after 2^32 packets.
const fn growth(was: u64, now: u64) -> u64 {
    now.wrapping_sub(was) & 0xffff_ffff
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

    /// Processed and dropped of each CPU, as of 5.10 on or before.
    fn stat(cpus: &[(u64, u64, u64)], numbered: bool) -> String {
        let line = |&(cpu, processed, dropped): &(u64, u64, u64)| {
            let zeros = "00000000 ".repeat(9);
            let number = if numbered { format!("00000000 {cpu:08x}") } else { String::new() };
            format!("{processed:08x} {dropped:08x} {zeros}{number}\n")
        };
        cpus.iter().map(line).collect()
    }

    /// One that goes takes nothing away, one that comes back brings nothing.
    #[test]
    fn a_cpu_comes_and_goes() {
        for numbered in [true, false] {
            let mut bench = Bench::new("", Softnet::new());
            let mut check = |online: &str, cpus: &[(u64, u64, u64)], processed: f64, dropped: f64| {
                bench.host.set("/sys/devices/system/cpu/online", online);
                bench.host.set("/proc/net/softnet_stat", stat(cpus, numbered));
                bench.pass().unwrap();
                bench.expect(&[("softnet_processed_total", processed), ("softnet_dropped_total", dropped)]);
            };
            check("0-2\n", &[(0, 10, 1), (1, 900, 1_007_184), (2, 5, 0)], 915.0, 1_007_185.0);
            check("0,2\n", &[(0, 11, 1), (2, 6, 0)], 917.0, 1_007_185.0);
            check("0-2\n", &[(0, 11, 1), (1, 950, 1_007_190), (2, 6, 1)], 917.0, 1_007_186.0);
            check("0-2\n", &[(0, 11, 1), (1, 951, 1_007_192), (2, 6, 1)], 918.0, 1_007_188.0);
            // As many as before, and others; then one at the end.
            check("0-1\n", &[(0, 12, 1), (1, 951, 1_007_192)], 919.0, 1_007_188.0);
            check("1-2\n", &[(1, 952, 1_007_192), (2, 600, 9)], 920.0, 1_007_188.0);
        }
    }

    #[test]
    fn a_counter_begins_anew_after_32_bits() {
        let mut bench = Bench::new("", Softnet::new());
        for (processed, expect) in [(0xffff_fff0, 4_294_967_280.0), (0x10, 4_294_967_312.0)] {
            bench.host.set("/proc/net/softnet_stat", stat(&[(0, processed, 0)], true));
            bench.pass().unwrap();
            bench.expect(&[("softnet_processed_total", expect)]);
        }
    }

    #[test]
    fn bad_content_is_an_error_or_left_out() {
        for bad in [&b""[..], b"x", b"\xff\xff", b"-1 -2 -3", b"0x10"] {
            assert!(matches!(pass(bad).1, Err(CollectError::Parse { .. })), "{bad:?}");
        }
        let (bench, result) = pass(b"x 5 6\n00000001 2");
        result.unwrap();
        bench.expect(&[("softnet_processed_total", 1.0), ("softnet_dropped_total", 2.0)]);
    }
}
