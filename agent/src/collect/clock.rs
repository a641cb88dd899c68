//! `adjtimex`: whether the clock is kept in step with others, and how far off it may be. Beside it the
//! entropy of the random number generator, which older kernels may run out of.

use super::kept::{Kept, failure};
use super::{CollectError, Collector};
use crate::host::Host;
use crate::metric::metrics;
use crate::sample::Samples;

metrics! {
    SYNCHRONIZED: Gauge Count "clock_synchronized" []
        "1 where a daemon told the kernel that the clock is in step with others.", "adjtimex STA_UNSYNC";
    OFFSET: Gauge Seconds "clock_offset_seconds" []
        "What the kernel still has to correct; positive where the clock is behind.", "adjtimex offset";
    MAX_ERROR: Gauge Seconds "clock_max_error_seconds" []
        "How far off the clock may be at most; grows until the next synchronisation.", "adjtimex maxerror";
    ESTIMATED_ERROR: Gauge Seconds "clock_estimated_error_seconds" []
        "How far off the clock probably is.", "adjtimex esterror";
    FREQUENCY: Gauge Ratio "clock_frequency_correction_ratio" []
        "By how much the clock is made faster; 0.00001 are 10 ppm.", "adjtimex freq";
    ENTROPY: Gauge Count "entropy_available_bits_count" as "entropy_available" []
        "Bits of entropy; always 256 from 5.18 on.", "/proc/sys/kernel/random/entropy_avail";
}

/// Asks for the state of the clock.
pub struct Clock {
    entropy: Kept,
}

impl Clock {
    /// Asks nothing yet.
    pub const fn new() -> Self {
        Self { entropy: Kept::new("/proc/sys/kernel/random/entropy_avail") }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Clock {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        self.entropy.number(host).inspect(|&bits| out.put(&ENTROPY, &[], bits as f64));
        let sync = host.clock_sync().map_err(|error| match failure("adjtimex", &error) {
            CollectError::Denied { path, .. } => {
                CollectError::Denied { path, needs: "a system call filter that allows it" }
            }
            other => other,
        })?;
        out.put(&SYNCHRONIZED, &[], f64::from(u8::from(sync.synchronized)));
        out.put(&OFFSET, &[], sync.offset_ns as f64 * 1e-9);
        out.put(&MAX_ERROR, &[], sync.max_error_us as f64 * 1e-6);
        out.put(&ESTIMATED_ERROR, &[], sync.estimated_error_us as f64 * 1e-6);
        out.put(&FREQUENCY, &[], sync.frequency_ppm * 1e-6);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    #[test]
    fn the_clock_is_asked() {
        let text = "//- clock offset=-2500000 max=16000 est=300 ppm=-12.5 synced\n\
            //- /proc/sys/kernel/random/entropy_avail\n256\n";
        let mut bench = Bench::new(text, Clock::new());
        bench.pass().unwrap();
        bench.expect(&[
            ("clock_synchronized", 1.0),
            ("clock_offset_seconds", -0.0025),
            ("clock_max_error_seconds", 0.016),
            ("clock_estimated_error_seconds", 0.0003),
            ("clock_frequency_correction_ratio", -0.000_012_5),
            ("entropy_available_bits_count", 256.0),
        ]);
        bench.host.apply("//- clock max=16000000").unwrap();
        bench.host.set("/proc/sys/kernel/random/entropy_avail", "-1\n");
        bench.pass().unwrap();
        bench.expect(&[("clock_synchronized", 0.0), ("clock_max_error_seconds", 16.0)]);
        assert!(!bench.has("entropy_available_bits_count"));
    }

    #[test]
    fn a_filter_may_forbid_it() {
        let mut bench =
            Bench::new("//- clock error=1\n//- /proc/sys/kernel/random/entropy_avail\n9\n", Clock::new());
        let told = bench.pass().unwrap_err().to_string();
        assert_eq!(told, "adjtimex may not be read: it needs a system call filter that allows it");
        bench.expect(&[("entropy_available_bits_count", 9.0)]);
    }
}
