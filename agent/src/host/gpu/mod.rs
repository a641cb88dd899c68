//! NVIDIA GPUs: what their driver tells, whichever way it is asked.
//!
//! [`smi::Smi`] reads what `nvidia-smi` prints, `nvml::Nvml` calls the driver's library. Both give the same readings;
//! a static binary cannot load a library, so that one has `nvidia-smi` only. A driver in trouble may keep its caller
//! for ever: whoever asks does so aside and never ends a thread or a program that is inside.

use std::io;

pub mod metrics;
#[cfg(all(feature = "gpu", not(target_env = "musl")))]
pub mod nvml;
pub mod smi;
mod table;

use crate::metric::Metric;

/// GPUs read at most; the driver's own limit is 32 boards (`NV_MAX_DEVICES`, `nvlimits.h` of the open kernel modules).
pub const MAX_GPUS: usize = 32;
/// Processes kept of one GPU, those with most memory.
pub const MAX_PROCESSES: usize = 16;
/// Name of the way through the driver's library.
pub const NVML: &str = "NVML";
/// Links read of one GPU (`NVML_NVLINK_MAX_LINKS`, `nvml.h`).
pub const MAX_LINKS: usize = 18;
/// Instances read of one GPU (MIG divides one into seven at most).
const MAX_INSTANCES: u32 = 8;
/// Longest name or identifier kept, characters.
const MAX_TEXT: usize = 96;

/// The file by which the driver shows that it is loaded.
pub const LOADED: &str = "/proc/driver/nvidia/version";

/// One GPU at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gpu {
    /// Number the driver gives it: the order of the PCI addresses.
    pub index: u32,
    /// `GPU-…`.
    pub uuid: String,
    /// Model.
    pub model: String,
    /// PCI address as sysfs writes it: `0000:3b:00.0`.
    pub bus: String,
    /// Driver version.
    pub driver: String,
    /// Newest CUDA version the driver knows, `12.2`; empty: unknown.
    pub cuda: String,
    /// Whether errors of its memory are corrected; `None`: it cannot, or does not tell.
    pub ecc: Option<bool>,
    /// Why nothing can be read of it; the driver's words.
    pub lost: Option<String>,
    /// Nothing can be read of it because this process may not: it was given to another container. Nothing is wrong with it.
    pub forbidden: bool,
    /// A metric, the value of its label behind `gpu` (empty: it has none), and the value.
    pub readings: Vec<(&'static Metric, &'static str, f64)>,
    /// Links to other GPUs or switches.
    pub links: Vec<Link>,
    /// Instances the GPU is divided into (MIG).
    pub instances: Vec<Instance>,
    /// Processes on it, those with most memory first; at most [`MAX_PROCESSES`].
    pub processes: Vec<Process>,
    /// All processes on it.
    pub processes_total: usize,
}

/// Errors of a link, counted since the driver was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Number.
    pub link: u32,
    /// Count of each [`LinkError`]; `None` where this kind of link does not count it.
    pub errors: [Option<u64>; LinkError::NAMES.len()],
}

/// What may go wrong on a link: the first three up to Hopper, the others and recoveries from Blackwell on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// Transmissions repeated.
    Replay,
    /// Trainings of the link repeated, with success.
    Recovery,
    /// Checksums that were wrong.
    Crc,
    /// Packets that make no sense.
    Malformed,
    /// Packets for which a receiver had no room.
    Overrun,
    /// Packets that arrived with an error.
    Received,
    /// Packets that the other side marked as broken.
    Remote,
    /// Packets that were refused for other reasons.
    General,
    /// Errors of the link itself beyond what it bears.
    Integrity,
    /// Packets that were not sent.
    Discarded,
    /// Trainings of the link repeated in vain.
    RecoveryFailed,
}

impl LinkError {
    /// Names, in the order of the variants.
    pub const NAMES: [&str; 11] = [
        "replay",
        "recovery",
        "crc",
        "malformed",
        "overrun",
        "received",
        "remote",
        "general",
        "integrity",
        "discarded",
        "recovery_failed",
    ];
}

/// One instance of a divided GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Number.
    pub index: u32,
    /// Bytes it has.
    pub memory_total: u64,
    /// Bytes in use.
    pub memory_used: u64,
}

/// A process on a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Process id, as the host counts.
    pub pid: u32,
    /// Bytes of the GPU's memory; `None` where the driver does not tell (MIG, no right).
    pub memory: Option<u64>,
    /// Share of time its kernels ran, percent.
    pub busy_percent: Option<f64>,
}

/// One way to ask the driver. Any call may take for ever.
pub trait Driver: Send {
    /// All GPUs, by number.
    fn read(&mut self) -> Result<Vec<Gpu>, Error>;
    /// Name for people: `NVML`, `nvidia-smi`.
    fn name(&self) -> &'static str;
}

/// Why the driver told nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no library and no `nvidia-smi`.
    #[error(
        "the NVIDIA driver is loaded, but neither libnvidia-ml.so.1 nor nvidia-smi is found; install the driver's \
         utilities (Debian: nvidia-smi, Ubuntu: nvidia-utils)"
    )]
    NoTool,
    /// It failed.
    #[error("the NVIDIA driver does not tell its GPUs: {0}")]
    Failed(String),
}

impl Error {
    /// The system's error on starting a tool.
    fn of(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::NoTool } else { Self::Failed(error.to_string()) }
    }
}

impl Gpu {
    /// Adds a reading that makes sense.
    fn put(&mut self, metric: &'static Metric, label: &'static str, value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite() && *value >= 0.0) {
            self.readings.push((metric, label, value));
        }
    }

    /// What follows from two readings: use and power as shares.
    fn conclude(&mut self) {
        let get =
            |metric: &Metric| self.readings.iter().find(|(m, ..)| *m == metric).map(|&(.., value)| value);
        let share = |part, whole| Some(100.0 * get(part)? / get(whole).filter(|whole| *whole > 0.0)?);
        let memory = share(&metrics::MEMORY_USED, &metrics::MEMORY_TOTAL).map(|percent| percent.min(100.0));
        let power = share(&metrics::POWER, &metrics::POWER_LIMIT);
        self.put(&metrics::MEMORY_PERCENT, "", memory);
        self.put(&metrics::POWER_PERCENT, "", power);
    }

    /// Keeps the largest processes.
    fn set_processes(&mut self, mut processes: Vec<Process>) {
        self.processes_total = processes.len();
        processes.sort_by_key(|p| (std::cmp::Reverse(p.memory), p.pid));
        processes.truncate(MAX_PROCESSES);
        self.processes = processes;
    }

    /// The reasons why its clocks are lower than they could be, each as 0 or 1.
    fn put_throttle(&mut self, reasons: Option<u64>) {
        let Some(reasons) = reasons else { return };
        for (bit, name) in THROTTLE {
            self.put(&metrics::THROTTLED, name, Some(f64::from(u8::from(reasons & bit != 0))));
        }
    }
}

/// Bits of `nvmlClocksEventReasons` (`nvml.h`) that mean less speed than the work could use.
const THROTTLE: [(u64, &str); 6] = [
    (0x004, "power_cap"),
    (0x008, "hw_slowdown"),
    (0x010, "sync_boost"),
    (0x020, "sw_thermal"),
    (0x040, "hw_thermal"),
    (0x080, "power_brake"),
];

/// A PCI address as sysfs writes it, of NVML's `00000000:3B:00.0`.
fn bus_of(text: &str) -> String {
    let text = text.trim().to_ascii_lowercase();
    let (domain, rest) = text.split_once(':').unwrap_or(("", &text));
    match domain.strip_prefix("0000") {
        Some(domain) if domain.len() == 4 => format!("{domain}:{rest}"),
        _ => text,
    }
}

/// Outside text, harmless and short.
fn tame(text: &str) -> String {
    crate::text::clean(text.trim(), MAX_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_sysfs() {
        for (text, expect) in [
            ("00000000:3B:00.0", "0000:3b:00.0"),
            ("0000:3B:00.0", "0000:3b:00.0"),
            ("00010000:01:00.0", "00010000:01:00.0"),
            ("", ""),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(bus_of(text), expect);
        }
    }

    #[test]
    fn shares_follow_and_nonsense_is_left_out() {
        let mut gpu = Gpu::default();
        gpu.put(&metrics::MEMORY_USED, "", Some(20.0));
        gpu.put(&metrics::MEMORY_TOTAL, "", Some(80.0));
        gpu.put(&metrics::POWER, "", Some(f64::NAN));
        gpu.put(&metrics::POWER_LIMIT, "", Some(-1.0));
        gpu.conclude();
        let names: Vec<_> = gpu.readings.iter().map(|(metric, _, value)| (metric.name, *value)).collect();
        assert_eq!(
            names,
            [("gpu_memory_used_gb", 20.0), ("gpu_memory_total_gb", 80.0), ("gpu_memory_used_percent", 25.0)]
        );
    }

    #[test]
    fn the_largest_processes_stay() {
        let mut gpu = Gpu::default();
        let process = |pid| Process { pid, memory: (pid != 7).then_some(u64::from(pid)), busy_percent: None };
        gpu.set_processes((1..=40).map(process).collect());
        assert_eq!((gpu.processes_total, gpu.processes.len(), gpu.processes[0].pid), (40, MAX_PROCESSES, 40));
    }
}
