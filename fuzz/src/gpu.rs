//! What `nvidia-smi` prints: its tables, its document, its lists of links and processes, on a machine written as text
//! (`//- command nvidia-smi nvlink -e`, then what it prints).

use sysops_agent::host::Host;
use sysops_agent::host::fixture::FixtureHost;
use sysops_agent::host::gpu::smi::Smi;
use sysops_agent::host::gpu::{Driver, Gpu, MAX_GPUS, MAX_LINKS, MAX_PROCESSES};

use super::pipe::harmless;

/// Longest text of a GPU, bytes: 96 characters.
const MAX_TEXT: usize = 96 * 4;
/// Instances of a GPU, at most.
const MAX_INSTANCES: usize = 8;

pub(crate) fn smi(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // A command that hangs would hang this too.
    if text.contains("hang") {
        return;
    }
    let host = FixtureHost::default();
    // What comes before a line that is none of the fixture's stays.
    let _ = host.apply(&text);
    let mut smi = Smi::new(host.shared());
    // The second time without the columns that the driver refused.
    for _ in 0..2 {
        match smi.read() {
            Ok(gpus) => {
                assert!(gpus.len() <= MAX_GPUS, "{} GPUs", gpus.len());
                gpus.iter().for_each(check);
            }
            Err(why) => harmless("the reason", &why.to_string(), 1024),
        }
    }
}

fn check(gpu: &Gpu) {
    let lost = gpu.lost.as_deref().unwrap_or_default();
    for text in [&gpu.uuid, &gpu.model, &gpu.bus, &gpu.driver, &gpu.cuda, lost] {
        harmless("a GPU's text", text, MAX_TEXT);
    }
    for (metric, label, value) in &gpu.readings {
        assert!(value.is_finite() && *value >= 0.0, "{} {label} {value}", metric.name);
    }
    assert!(gpu.links.len() <= MAX_LINKS && gpu.instances.len() <= MAX_INSTANCES);
    assert!(gpu.processes.len() <= MAX_PROCESSES.min(gpu.processes_total));
    let busy = gpu.processes.iter().filter_map(|process| process.busy_percent);
    assert!(busy.into_iter().all(|percent| (0.0..=100.0).contains(&percent)), "{:?}", gpu.processes);
}
