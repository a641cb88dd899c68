//! `/proc/uptime`.

use super::kept::Kept;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::parse::{decimal, words};
use crate::metric::metrics;
use crate::sample::Samples;

metrics! {
    UPTIME: Gauge Seconds "host_uptime_seconds" [] "Time since the boot.", "/proc/uptime";
}

/// Reads `/proc/uptime`.
pub struct Uptime {
    uptime: Kept,
}

impl Uptime {
    /// Reads nothing yet.
    pub const fn new() -> Self {
        Self { uptime: Kept::new("/proc/uptime") }
    }
}

impl Default for Uptime {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Uptime {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let first = words(self.uptime.read(host)?.trim_ascii()).next().and_then(decimal);
        let Some(seconds) = first else {
            return Err(self.uptime.parse_error("it does not begin with seconds"));
        };
        out.put(&UPTIME, &[], seconds);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    #[test]
    fn seconds_or_an_error() {
        for (content, expect) in [
            ("1101.65 1785.98\n", Some(1101.65)),
            ("7", Some(7.0)),
            ("", None),
            ("-5 1", None),
            ("\u{fe} 1", None),
        ] {
            let mut bench = Bench::new("", Uptime::new());
            bench.host.set("/proc/uptime", content);
            match expect {
                Some(seconds) => {
                    bench.pass().unwrap();
                    bench.expect(&[("host_uptime_seconds", seconds)]);
                }
                None => assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{content}"),
            }
        }
    }
}
