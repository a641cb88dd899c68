//! NVIDIA's Xids: what each documented code means and what to do (docs.nvidia.com/deploy/xid-errors; names in
//! `src/common/sdk/nvidia/inc/nverror.h` of the open kernel modules).

use crate::alert::Severity::{self, Critical, Info, Warn};

/// A code, or several that mean the same.
#[derive(Clone, Copy, Debug)]
pub struct Xid {
    /// First code.
    pub from: u16,
    /// Last code.
    pub to: u16,
    /// How bad.
    pub severity: Severity,
    /// What it means.
    pub meaning: &'static str,
    /// What to do.
    pub action: &'static str,
}

const APP: &str =
    "restart the program; if others meet it too on this GPU only, test the GPU (`dcgmi diag -r 3`)";
const RESET: &str =
    "take work off the GPU and reset it (`nvidia-smi -r`); if it comes back, have the GPU replaced";
const REBOOT: &str = "drain the machine and restart it; if it comes back, power it off fully, look at slot, power and heat, have the GPU replaced";
const DRIVER: &str = "update the driver; if it comes back, report it to NVIDIA (`nvidia-bug-report.sh`)";
const LINK: &str = "jobs over NVLink fail: drain the machine, reset all GPUs together; if it is always the same link, have the GPU, baseboard or cable replaced";
const WATCH: &str = "nothing at once; watch this GPU";
const SUPPORT: &str = "report it to NVIDIA (`nvidia-bug-report.sh`)";
const DISPLAY: &str = "look at monitor and cable; update the driver";

const fn x(from: u16, to: u16, severity: Severity, meaning: &'static str, action: &'static str) -> Xid {
    Xid { from, to, severity, meaning, action }
}

/// Every documented code; one that is not here is critical.
pub const XIDS: &[Xid] = &[
    x(1, 7, Warn, "broken stream of commands (DMA engine)", APP),
    x(8, 8, Warn, "the GPU stopped working on a channel", APP),
    x(9, 9, Warn, "the driver programmed the GPU wrongly", DRIVER),
    x(11, 11, Warn, "broken stream of commands", APP),
    x(12, 12, Warn, "the driver could not handle an exception of the GPU", DRIVER),
    x(
        13,
        13,
        Warn,
        "graphics engine exception: most often the program reads or writes where it may not",
        APP,
    ),
    x(16, 16, Warn, "the display engine hangs", DISPLAY),
    x(
        18,
        18,
        Critical,
        "bus mastering is off for this GPU",
        "look at firmware settings and hot plug; restart the machine",
    ),
    x(19, 19, Warn, "display engine error", DISPLAY),
    x(20, 22, Warn, "broken stream of commands (video engine)", APP),
    x(24, 24, Warn, "a semaphore of the GPU was waited for too long", APP),
    x(25, 25, Warn, "broken or forbidden stream of commands", APP),
    x(26, 26, Critical, "the GPU's memory does not answer", RESET),
    x(27, 30, Warn, "video engine or semaphore error", APP),
    x(31, 31, Warn, "GPU memory page fault: most often the program uses an address it may not", APP),
    x(32, 32, Warn, "broken stream of commands (PBDMA): the program, or PCI Express", APP),
    x(33, 33, Critical, "a micro-controller of the GPU failed", RESET),
    x(34, 36, Warn, "video engine error", APP),
    x(37, 37, Warn, "the driver's firmware failed", DRIVER),
    x(38, 38, Warn, "the driver's firmware failed", DRIVER),
    x(39, 42, Warn, "copy or video engine error", APP),
    x(43, 43, Warn, "the GPU stopped working on a channel: the program's fault, others go on", APP),
    x(44, 44, Warn, "fault while changing from one program to another", APP),
    x(
        45,
        45,
        Info,
        "channels were cleaned up after another error, or since the program was ended",
        "look at the Xid before it, if there is one",
    ),
    x(46, 46, Critical, "the GPU stopped working", RESET),
    x(47, 47, Warn, "video engine error", APP),
    x(
        48,
        48,
        Critical,
        "double-bit error in the GPU's memory: data is lost",
        "with Xid 63 or 64 behind it: drain, then reset the GPU so that the memory is taken out of use; if it comes back, have the GPU replaced",
    ),
    x(54, 54, Critical, "auxiliary power is not connected", "look at the GPU's power cables"),
    x(56, 56, Warn, "display engine error", DISPLAY),
    x(57, 58, Critical, "the interface of the GPU's memory is unstable", RESET),
    x(59, 59, Critical, "a micro-controller of the GPU failed", RESET),
    x(60, 60, Warn, "video or security engine error", APP),
    x(61, 61, Critical, "a micro-controller of the GPU reached a breakpoint or warns", RESET),
    x(62, 62, Critical, "a micro-controller of the GPU halted", RESET),
    x(
        63,
        63,
        Warn,
        "memory of the GPU was marked to be taken out of use",
        "reset the GPU when it is idle, so that it takes effect",
    ),
    x(64, 64, Critical, "memory of the GPU could not be taken out of use", RESET),
    x(65, 65, Warn, "video engine error", APP),
    x(66, 67, Warn, "the driver accessed what it may not", DRIVER),
    x(68, 68, Warn, "video decoder exception", APP),
    x(69, 69, Warn, "graphics engine class error", APP),
    x(70, 73, Warn, "copy or video engine error", APP),
    x(74, 74, Critical, "NVLink error", LINK),
    x(75, 77, Warn, "copy engine error", APP),
    x(
        78,
        78,
        Warn,
        "a virtual GPU cannot be started",
        "compare the versions of driver and host; look at the licence",
    ),
    x(79, 79, Critical, "the GPU has fallen off the bus: it does not answer over PCI Express", REBOOT),
    x(80, 80, Critical, "broken data came to the GPU (checksum of the stream of commands)", RESET),
    x(81, 81, Critical, "error of the VGA part", RESET),
    x(82, 86, Warn, "video, JPEG, copy or optical-flow engine error", APP),
    x(88, 89, Warn, "video decoder error", APP),
    x(90, 90, Critical, "error of the GPU's memory interface", RESET),
    x(
        92,
        92,
        Warn,
        "many corrected single-bit errors in the GPU's memory",
        "watch it; test the GPU (`dcgmi diag -r 3`) when it is idle",
    ),
    x(93, 93, Warn, "the GPU's InfoROM has been written too often", WATCH),
    x(
        94,
        94,
        Warn,
        "an uncorrected memory error that was contained: only one program is hit",
        "restart that program; reset the GPU when it is idle",
    ),
    x(
        95,
        95,
        Critical,
        "an uncorrected memory error that was not contained: all programs on this GPU are hit",
        RESET,
    ),
    x(96, 105, Warn, "video or JPEG engine error", APP),
    x(106, 107, Info, "message of the management bus", WATCH),
    x(109, 109, Critical, "changing from one program to another took too long", RESET),
    x(
        110,
        110,
        Critical,
        "security fault",
        "power the machine off fully; if it comes back, have the GPU replaced",
    ),
    x(111, 118, Warn, "display engine or display link error", DISPLAY),
    x(119, 119, Critical, "the GPU's system processor (GSP) does not answer", RESET),
    x(120, 120, Critical, "the GPU's system processor (GSP) failed", RESET),
    x(121, 121, Warn, "corrected errors of the link between chips (C2C)", "reset the GPU when it is idle"),
    x(122, 124, Warn, "the GPU's flash memory cannot be read or written", SUPPORT),
    x(125, 125, Warn, "the GPU's InfoROM is damaged", SUPPORT),
    x(136, 136, Critical, "the training of a link failed", RESET),
    x(137, 137, Warn, "an access over NVLink that is not allowed: most often the program's fault", APP),
    x(140, 140, Critical, "an uncorrected memory error that could not be recovered from", RESET),
    x(142, 142, Warn, "video encoder error", SUPPORT),
    x(143, 143, Critical, "the GPU could not be initialised", RESET),
    x(144, 150, Critical, "NVLink error (generation 5; the text names the unit)", LINK),
    x(151, 151, Critical, "rotation of keys failed (confidential computing)", "restart the virtual machine"),
    x(152, 153, Warn, "error of the deep-learning accelerator", SUPPORT),
    x(
        154,
        154,
        Warn,
        "what must be done with the GPU has changed",
        "do what the line says: reset the GPU, drain it, or restart the machine",
    ),
    x(
        155,
        155,
        Warn,
        "an NVLink went down (as software defines it)",
        "nothing if it was meant; else reset the GPU",
    ),
    x(156, 156, Warn, "a unit of the GPU was taken out of use", "reset the GPU when it is idle"),
    x(157, 157, Warn, "a unit of the GPU could not be taken out of use", SUPPORT),
    x(158, 158, Critical, "the GPU did not answer in time", RESET),
    x(159, 159, Warn, "error of the link between chips (CHI)", SUPPORT),
    x(160, 160, Warn, "a memory channel of the GPU was taken out of use", "reset the GPU when it is idle"),
    x(161, 161, Critical, "a memory channel of the GPU could not be taken out of use", SUPPORT),
    x(162, 162, Info, "power smoothing works again", WATCH),
    x(163, 165, Warn, "power smoothing is off, or nears the end of its life", SUPPORT),
    x(167, 167, Critical, "PCI Express did not answer in time", REBOOT),
    x(
        171,
        172,
        Critical,
        "says more of Xid 48: whether it was in DRAM (171) or in SRAM (172)",
        "as for Xid 48",
    ),
];

/// What is known of a code.
pub fn xid(code: u16) -> Option<&'static Xid> {
    XIDS.iter().find(|known| (known.from..=known.to).contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_do_not_overlap_and_say_something() {
        let mut last = 0;
        for known in XIDS {
            assert!(known.from > last && known.to >= known.from, "{known:?}");
            assert!(!known.meaning.is_empty() && !known.action.is_empty());
            last = known.to;
        }
        let check = |code, expect| assert_eq!(xid(code).map(|x| x.severity), expect, "{code}");
        check(79, Some(Critical));
        check(13, Some(Warn));
        check(45, Some(Info));
        check(147, Some(Critical));
        check(0, None);
        check(999, None);
    }
}
