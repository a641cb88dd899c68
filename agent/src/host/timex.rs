//! One system call: `adjtimex` without a change, which needs no rights.

use std::io;
use std::mem::MaybeUninit;

use super::ClockSync;

/// What the kernel thinks of its clock.
pub(super) fn read() -> io::Result<ClockSync> {
    let mut timex = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: the kernel reads and writes one `struct timex`, which is this; `modes` is 0, so nothing is set.
    let state = unsafe { libc::adjtimex(timex.as_mut_ptr()) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all members are integers, for which zero is a value; the kernel has filled them in.
    let timex = unsafe { timex.assume_init() };
    let unit = if timex.status & libc::STA_NANO == 0 { 1000 } else { 1 };
    Ok(ClockSync {
        synchronized: timex.status & libc::STA_UNSYNC == 0 && state != libc::TIME_ERROR,
        offset_ns: timex.offset.saturating_mul(unit),
        max_error_us: timex.maxerror,
        estimated_error_us: timex.esterror,
        // Parts per million with 16 bits behind the point (`include/uapi/linux/timex.h`).
        frequency_ppm: timex.freq as f64 / 65_536.0,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_machine_has_a_clock() {
        let sync = super::read().unwrap();
        // `NTP_PHASE_LIMIT` is 16 s, the greatest frequency correction 500 ppm.
        assert!((0..=16_000_001).contains(&sync.max_error_us), "{sync:?}");
        assert!(sync.frequency_ppm.abs() <= 500.0, "{sync:?}");
    }
}
