//! GPUs, from their driver.

use std::time::Duration;

use super::Gpu;
use crate::host::Host;
use crate::host::aside::{Answer, Aside};
use crate::host::gpu::{self, LOADED, metrics};
use crate::metric::Metric;
use crate::time::Now;

/// How long the driver may take: `nvidia-smi` needs a second, and several on a machine with many boards.
const PATIENCE: Duration = Duration::from_secs(10);
/// The driver's library may want more stack than a system call.
const STACK: usize = 1 << 20;

/// Asks the driver; one that does not answer is not asked again.
#[derive(Debug)]
pub(super) struct Asker {
    aside: Aside<Option<Vec<gpu::Gpu>>>,
}

impl Default for Asker {
    fn default() -> Self {
        Self { aside: Aside::new("gpus", 1).with_stack(STACK) }
    }
}

impl Asker {
    /// The GPUs; none where there is no driver or it does not answer.
    pub(super) fn gpus(&mut self, host: &dyn Host, now: Now) -> Vec<Gpu> {
        let mut version = Vec::new();
        if host.read(LOADED, &mut version).is_err() {
            return Vec::new();
        }
        let shared = host.shared();
        match self.aside.ask("gpus", now, PATIENCE, move || shared.gpus().read().ok()) {
            Answer::Done(gpus) => gpus.iter().flatten().filter(|gpu| !gpu.forbidden).map(row).collect(),
            Answer::Stuck { .. } | Answer::NotAsked => Vec::new(),
        }
    }
}

fn row(gpu: &gpu::Gpu) -> Gpu {
    let reading = |metric: &Metric, label: &str| {
        gpu.readings.iter().find(|(m, l, _)| *m == metric && *l == label).map(|&(.., value)| value)
    };
    let whole = |metric: &Metric, label| reading(metric, label).map(|value| value.round() as u64);
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Gpu {
        index: gpu.index,
        model: text(&gpu.model),
        uuid: text(&gpu.uuid),
        bus: text(&gpu.bus),
        vram_gb: whole(&metrics::MEMORY_TOTAL, ""),
        driver: text(&gpu.driver),
        cuda: text(&gpu.cuda),
        pcie_gen: whole(&metrics::PCIE_GENERATION, "best"),
        pcie_width: whole(&metrics::PCIE_WIDTH, "best"),
        power_limit_w: whole(&metrics::POWER_LIMIT, ""),
        ecc: gpu.ecc,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    fn json(text: &str) -> serde_json::Value {
        let host = FixtureHost::parse(text).unwrap();
        serde_json::to_value(Asker::default().gpus(&host, Now::default())).unwrap()
    }

    #[test]
    fn boards_are_listed() {
        let gpus = json(include_str!("../collect/gpu/testdata/a100x8.host"));
        assert_eq!(gpus.as_array().unwrap().len(), 8);
        let expect = serde_json::json!({
            "index": 0, "model": "NVIDIA A100-SXM4-80GB", "uuid": "GPU-a1000000-1111-2222-3333-000000000000",
            "bus": "0000:07:00.0", "vram_gb": 80, "driver": "535.129.03", "cuda": "12.2", "pcie_gen": 4,
            "pcie_width": 16, "power_limit_w": 400, "ecc": true
        });
        assert_eq!(gpus[0], expect);
        assert_eq!(gpus[6].get("vram_gb"), None, "lost: only what is known");
        assert_eq!(json(""), serde_json::json!([]));
    }
}
