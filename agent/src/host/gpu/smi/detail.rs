//! What `nvidia-smi -q -x` tells beyond the CSV. It prints one element a line, so that lines are enough: the
//! document has a DTD that a general reader would have to fetch, and some hundred elements nobody asks for.

use super::super::{MAX_GPUS, MAX_INSTANCES};
use super::{Gpu, Instance, bus_of, metrics, tame};

/// The document.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Details {
    /// Newest CUDA version the driver knows.
    pub(super) cuda: String,
    pub(super) gpus: Vec<Detail>,
}

/// What is kept of one GPU.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Detail {
    pub(super) bus: String,
    replays: Option<f64>,
    remapped_corrected: Option<f64>,
    remapped_uncorrected: Option<f64>,
    remap_pending: Option<f64>,
    remap_failed: Option<f64>,
    instances: Vec<Instance>,
}

impl Detail {
    pub(super) fn put(&self, gpu: &mut Gpu) {
        gpu.put(&metrics::PCIE_REPLAYS, "", self.replays);
        gpu.put(&metrics::REMAPPED, "corrected", self.remapped_corrected);
        gpu.put(&metrics::REMAPPED, "uncorrected", self.remapped_uncorrected);
        gpu.put(&metrics::REMAP_PENDING, "", self.remap_pending);
        gpu.put(&metrics::REMAP_FAILED, "", self.remap_failed);
        gpu.instances.clone_from(&self.instances);
    }

    fn element(&mut self, name: &str, text: &str) {
        let number = || text.split_whitespace().next()?.parse::<f64>().ok();
        let flag = || match text {
            "Yes" => Some(1.0),
            "No" => Some(0.0),
            _ => None,
        };
        match name {
            "replay_counter" => self.replays = number(),
            "remapped_row_corr" => self.remapped_corrected = number(),
            "remapped_row_unc" => self.remapped_uncorrected = number(),
            "remapped_row_pending" => self.remap_pending = flag(),
            "remapped_row_failure" => self.remap_failed = flag(),
            _ => {}
        }
    }
}

/// Whether a line is of those that are read here.
pub(super) fn is_read(line: &str) -> bool {
    let line = line.trim();
    let name = line.trim_start_matches(['<', '/']).split(['>', ' ']).next().unwrap_or_default();
    line.starts_with('<') && READ.contains(&name)
}

/// Elements that are read, and those they stand in.
const READ: [&str; 13] = [
    "nvidia_smi_log",
    "cuda_version",
    "gpu",
    "replay_counter",
    "remapped_row_corr",
    "remapped_row_unc",
    "remapped_row_pending",
    "remapped_row_failure",
    "mig_device",
    "fb_memory_usage",
    "index",
    "total",
    "used",
];

/// Inside which element a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Gpu,
    Instance,
    InstanceMemory,
}

pub(super) fn details(text: &str) -> Details {
    let mut cuda = String::new();
    let mut gpus: Vec<Detail> = Vec::new();
    let mut within = Within::Gpu;
    for line in text.lines().map(str::trim) {
        if let Some(id) = line.strip_prefix("<gpu id=\"").and_then(|rest| rest.strip_suffix("\">")) {
            if gpus.len() >= MAX_GPUS {
                break;
            }
            gpus.push(Detail { bus: bus_of(id), ..Detail::default() });
            within = Within::Gpu;
            continue;
        }
        let Some(gpu) = gpus.last_mut() else {
            if let Some(("cuda_version", version)) = element(line) {
                cuda = tame(version);
            }
            continue;
        };
        within = match (line, within) {
            ("<mig_device>", _) => {
                gpu.instances.push(Instance::default());
                Within::Instance
            }
            ("</mig_device>", _) => Within::Gpu,
            ("<fb_memory_usage>", Within::Instance) => Within::InstanceMemory,
            ("</fb_memory_usage>", Within::InstanceMemory) => Within::Instance,
            _ => within,
        };
        let Some((name, text)) = element(line) else { continue };
        match within {
            Within::Gpu => gpu.element(name, text),
            Within::Instance | Within::InstanceMemory => instance(gpu, within, name, text),
        }
    }
    for gpu in &mut gpus {
        gpu.instances.truncate(MAX_INSTANCES as usize);
    }
    Details { cuda, gpus }
}

fn instance(gpu: &mut Detail, within: Within, name: &str, text: &str) {
    let Some(instance) = gpu.instances.last_mut() else { return };
    let mib = || {
        text.strip_suffix(" MiB")
            .and_then(|mib| mib.parse::<u64>().ok())
            .map(|mib| mib.saturating_mul(1 << 20))
    };
    match (within, name) {
        (Within::Instance, "index") => instance.index = text.parse().unwrap_or_default(),
        (Within::InstanceMemory, "total") => instance.memory_total = mib().unwrap_or_default(),
        (Within::InstanceMemory, "used") => instance.memory_used = mib().unwrap_or_default(),
        _ => {}
    }
}

/// `<name>text</name>`
fn element(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix('<')?.split_once('>')?;
    let text = rest.strip_suffix('>')?.strip_suffix(name)?.strip_suffix("</")?;
    Some((name, text.trim()))
}
