//! `/proc/pressure`: time tasks lost waiting for CPU, memory and I/O. Kernels from 4.20 on; on some
//! distributions only with `psi=1` on the kernel command line.

use super::kept::Kept;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::parse::{decimal, key, lines, number, words};
use crate::metric::{Metric, metrics};
use crate::sample::Samples;

metrics! {
    SOME: Counter Seconds "pressure_some_seconds_total" ["resource"]
        "Time at least one task waited for the resource.", "/proc/pressure/* some total";
    FULL: Counter Seconds "pressure_full_seconds_total" ["resource"]
        "Time all tasks that could run waited for the resource.", "/proc/pressure/* full total";
    SOME_10: Gauge Percent "pressure_some_avg10_percent" ["resource"]
        "Share of the last 10 seconds in which at least one task waited for the resource.", "/proc/pressure/* some avg10";
    FULL_10: Gauge Percent "pressure_full_avg10_percent" ["resource"]
        "Share of the last 10 seconds in which all tasks that could run waited for the resource.", "/proc/pressure/* full avg10";
}

/// Reads `/proc/pressure`.
pub struct Pressure {
    resources: [(&'static str, Kept); 3],
}

impl Pressure {
    /// Reads nothing yet.
    pub const fn new() -> Self {
        Self {
            resources: [
                ("cpu", Kept::new("/proc/pressure/cpu")),
                ("memory", Kept::new("/proc/pressure/memory")),
                ("io", Kept::new("/proc/pressure/io")),
            ],
        }
    }
}

impl Default for Pressure {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Pressure {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        for (resource, file) in &mut self.resources {
            let mut good = false;
            for line in lines(file.read(host)?) {
                good |= put(resource, line, out).is_some();
            }
            if !good {
                return Err(file.parse_error("it has no line `some` or `full` with avg10= and total="));
            }
        }
        Ok(())
    }
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=12345`, the total in microseconds.
fn put(resource: &str, line: &[u8], out: &mut Samples) -> Option<()> {
    let (kind, rest) = key(line);
    let (total_metric, avg_metric): (&'static Metric, &'static Metric) = match kind {
        b"some" => (&SOME, &SOME_10),
        b"full" => (&FULL, &FULL_10),
        _ => return None,
    };
    let total = words(rest).find_map(|word| word.strip_prefix(b"total=")).and_then(number)?;
    let avg = words(rest).find_map(|word| word.strip_prefix(b"avg10=")).and_then(decimal)?;
    out.put(total_metric, &[resource], total as f64 * 1e-6);
    out.put(avg_metric, &[resource], avg);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    const HOST: &str = "\
//- /proc/pressure/cpu
some avg10=1.50 avg60=0.00 avg300=0.00 total=2500000
//- /proc/pressure/memory
some avg10=0.00 avg60=0.00 avg300=0.00 total=0
full avg10=0.00 avg60=0.00 avg300=0.00 total=0
//- /proc/pressure/io
some avg10=0.00 avg60=0.00 avg300=0.00 total=3
full avg10=99.00 avg60=0.00 avg300=0.00 total=1000000
";

    #[test]
    fn a_host_is_read() {
        let mut bench = Bench::new(HOST, Pressure::new());
        bench.pass().unwrap();
        bench.expect(&[
            ("pressure_some_seconds_total{cpu}", 2.5),
            ("pressure_some_avg10_percent{cpu}", 1.5),
            ("pressure_full_seconds_total{io}", 1.0),
            ("pressure_full_avg10_percent{io}", 99.0),
            ("pressure_some_seconds_total{memory}", 0.0),
        ]);
        assert!(!bench.has("pressure_full_seconds_total{cpu}"), "before 5.13 cpu has no full line");
    }

    #[test]
    fn switched_off_is_absent() {
        // CONFIG_PSI_DEFAULT_DISABLED: the file opens, reading gives EOPNOTSUPP.
        let mut bench = Bench::new("//- error /proc/pressure/cpu 95\n", Pressure::new());
        assert!(matches!(bench.pass(), Err(CollectError::Absent { .. })));
        let mut bench = Bench::new("", Pressure::new());
        assert!(matches!(bench.pass(), Err(CollectError::Absent { .. })));
    }

    #[test]
    fn bad_content_is_an_error() {
        for content in [
            "",
            "some",
            "some avg10=x total=1",
            "some avg10=1.0 total=-1",
            "none avg10=1 total=1",
            "some total=5",
        ] {
            let mut bench = Bench::new(HOST, Pressure::new());
            bench.host.set("/proc/pressure/memory", content);
            assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{content}");
            assert!(bench.has("pressure_some_seconds_total{cpu}"));
        }
    }
}
