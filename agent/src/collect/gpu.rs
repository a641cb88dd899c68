//! NVIDIA GPUs, from their driver ([`crate::host::gpu`]).
//!
//! A driver in trouble keeps its caller for seconds or for ever, so one thread aside does all the asking and is never
//! ended. What it answers after this pass is told in the next; what it has not answered for
//! 30 seconds makes the driver count as stuck.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::kept::{Absence, failure};
use super::{CollectError, Collector};
use crate::cgroup;
use crate::host::aside::{Answer, Aside};
use crate::host::gpu::smi::Smi;
use crate::host::gpu::{Driver, Error, Gpu, LOADED, LinkError, NVML, Process, metrics as read};
use crate::host::{Host, read_text};
use crate::metric::{Metric, metrics};
use crate::sample::Samples;
use crate::text::clean;
use crate::time::{Now, SECOND};

metrics! {
    COUNT: Gauge Count "gpu_count" as "gpus" [] "GPUs the NVIDIA driver knows.", "nvmlDeviceGetCount, nvidia-smi";
    STUCK: Gauge Count "gpu_driver_stuck" [] "1 where the NVIDIA driver has not answered for 30 seconds.", "the agent";
    FAILED: Gauge Count "gpu_driver_failed" []
        "1 where the NVIDIA driver is loaded, but for 30 seconds has not told its GPUs, or none any more.", "the agent";
    LOST: Gauge Count "gpu_lost" ["gpu"]
        "1 where the driver cannot speak with a GPU any more.", "NVML_ERROR_GPU_IS_LOST, nvidia-smi";
    INFO: Gauge Count "gpu_info" ["gpu", "model", "uuid", "bus", "driver"] "1; what a GPU is.", "NVML, nvidia-smi";
    LINK_ERRORS: Counter Count "gpu_nvlink_errors_total" ["gpu", "link", "kind"]
        "Errors of an NVLink: replay, recovery, crc; from Blackwell on recovery, recovery_failed, malformed, overrun, received, remote, general, integrity, discarded (by nvidia-smi only).", "nvmlDeviceGetNvLinkErrorCounter, nvidia-smi nvlink -e";
    INSTANCE_TOTAL: Gauge Gibibytes "gpu_instance_memory_total_gb" as "gpu_instance_memory_total_bytes" ["gpu", "instance"]
        "Memory of an instance of a divided GPU (MIG), 2^30 bytes.", "nvmlDeviceGetMigDeviceHandleByIndex, nvidia-smi -q";
    INSTANCE_USED: Gauge Gibibytes "gpu_instance_memory_used_gb" as "gpu_instance_memory_used_bytes" ["gpu", "instance"]
        "Memory of an instance in use, 2^30 bytes.", "nvmlDeviceGetMigDeviceHandleByIndex, nvidia-smi -q";
    PROCESSES: Gauge Count "gpu_processes_count" ["gpu"] "Processes on a GPU.", "nvmlDeviceGetComputeRunningProcesses, --query-compute-apps";
    PROCESS_MEMORY: Gauge Gibibytes "gpu_process_memory_gb" as "gpu_process_memory_bytes" ["gpu", "pid", "comm", "owner"]
        "GPU memory of a process, 2^30 bytes; its owner is a container, else a systemd unit.", "nvmlDeviceGetComputeRunningProcesses, --query-compute-apps";
    PROCESS_BUSY: Gauge Percent "gpu_process_utilization_percent" ["gpu", "pid", "comm", "owner"]
        "Time in which a kernel of a process ran on the GPU.", "nvmlDeviceGetProcessUtilization, nvidia-smi pmon";
}

/// All metrics of this collector.
pub static ALL: &[&Metric] = &[
    &COUNT,
    &STUCK,
    &FAILED,
    &LOST,
    &INFO,
    &LINK_ERRORS,
    &INSTANCE_TOTAL,
    &INSTANCE_USED,
    &PROCESSES,
    &PROCESS_MEMORY,
    &PROCESS_BUSY,
    &read::UTILIZATION,
    &read::MEMORY_UTILIZATION,
    &read::MEMORY_TOTAL,
    &read::MEMORY_USED,
    &read::MEMORY_PERCENT,
    &read::TEMPERATURE,
    &read::MEMORY_TEMPERATURE,
    &read::POWER,
    &read::POWER_LIMIT,
    &read::POWER_PERCENT,
    &read::CLOCK,
    &read::THROTTLED,
    &read::FAN,
    &read::ECC_CORRECTED,
    &read::ECC_UNCORRECTED,
    &read::REMAPPED,
    &read::REMAP_PENDING,
    &read::REMAP_FAILED,
    &read::PAGES_RETIRED,
    &read::PCIE_REPLAYS,
    &read::PCIE_GENERATION,
    &read::PCIE_WIDTH,
];

/// How long a pass waits: NVML takes milliseconds, `nvidia-smi` a second.
const PATIENCE: Duration = Duration::from_millis(100);
/// A driver that takes longer is in trouble.
const STUCK_AFTER: u64 = 30 * SECOND;
/// The driver's library may want more stack than a system call.
const STACK: usize = 1 << 20;
const GIB: f64 = (1u64 << 30) as f64;
/// Characters of a name.
const MAX_NAME: usize = 64;

/// What came of one look.
struct Look {
    /// When it was asked for.
    asked: Now,
    driver: Box<dyn Driver>,
    gpus: Result<Vec<Gpu>, Error>,
    names: HashMap<u32, Name>,
}

/// Who a process is.
#[derive(Default)]
struct Name {
    comm: String,
    owner: String,
}

/// Asks the driver aside.
pub struct Gpus {
    aside: Aside<Look>,
    driver: Option<Box<dyn Driver>>,
    patience: Duration,
    absent: Absence,
    /// Whether the driver has told a GPU, and since when it tells none.
    had_some: bool,
    failed_since: Option<Now>,
}

impl Gpus {
    /// Asks nothing yet.
    pub fn new() -> Self {
        let aside = Aside::new("gpu", 1).with_stack(STACK);
        let absent = Absence::default();
        Self { aside, driver: None, patience: PATIENCE, absent, had_some: false, failed_since: None }
    }

    fn ask(&mut self, host: &dyn Host, at: Now, patience: Duration) -> Answer<Look> {
        let shared = host.shared();
        let driver = self.driver.take();
        let had_some = self.had_some;
        self.aside.ask("gpu", at, patience, move || look(&shared, driver, at, had_some))
    }
}

impl Default for Gpus {
    fn default() -> Self {
        Self::new()
    }
}

impl Gpus {
    /// Puts whether the driver does its work. A host that never had the tools to ask it is nobody's trouble.
    fn judge(
        &mut self,
        host: &dyn Host,
        gpus: Result<Vec<Gpu>, Error>,
        out: &mut Samples,
    ) -> Result<Vec<Gpu>, Error> {
        let gpus = match gpus {
            Ok(none) if none.is_empty() && has_boards(host).unwrap_or(self.had_some) => {
                Err(Error::Failed("it knows none, though it had some or boards are bound to it".into()))
            }
            gpus => gpus,
        };
        self.had_some |= gpus.is_ok() && gpus.iter().any(|gpus| !gpus.is_empty());
        let at = out.at();
        // What a container was not given is no fault of the driver.
        let is_denied = |why: &str| why.to_ascii_lowercase().contains("insufficient permissions");
        let failed = matches!(&gpus, Err(Error::Failed(why)) if !is_denied(why));
        self.failed_since = failed.then_some(self.failed_since.unwrap_or(at));
        match self.failed_since {
            None if gpus.is_ok() => out.put(&FAILED, &[], 0.0),
            Some(since) if at.since(since) >= STUCK_AFTER => out.put(&FAILED, &[], 1.0),
            // Until it is certain nothing is told: an alert of before a restart stands.
            _ => {}
        }
        gpus
    }
}

impl Collector for Gpus {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let at = out.at();
        if self.absent.is_young(at) {
            return Err(CollectError::Absent { path: LOADED.to_owned() });
        }
        let loaded = host.read(LOADED, &mut Vec::new()).map_err(|error| failure(LOADED, &error));
        self.absent.note(matches!(loaded, Err(CollectError::Absent { .. })), at);
        loaded?;
        let (gpus, names) = match self.ask(host, at, self.patience) {
            Answer::Done(Look { asked, driver, gpus, names }) => {
                self.driver = Some(driver);
                if asked != at {
                    // An answer to the pass before: the next is asked for at once and waited for by nobody.
                    let _ = self.ask(host, at, Duration::ZERO);
                }
                (gpus, names)
            }
            Answer::Stuck { since } => {
                let stuck = at.since(since) >= STUCK_AFTER;
                out.put(&STUCK, &[], f64::from(u8::from(stuck)));
                return Ok(());
            }
            Answer::NotAsked => return Ok(()),
        };
        out.put(&STUCK, &[], 0.0);
        let gpus = self.judge(host, gpus, out);
        let gpus =
            gpus.map_err(|error| CollectError::Read { path: LOADED.to_owned(), error: error.to_string() })?;
        out.put(&COUNT, &[], gpus.len() as f64);
        for gpu in gpus.iter().filter(|gpu| !gpu.forbidden) {
            put(gpu, &names, out);
        }
        forbidden(&gpus)
    }
}

/// Whether boards are bound to the driver, by their addresses, and this process was given one: those that are handed to virtual
/// machines are not bound, and a container sees the devices of all. `None`: what is bound cannot be listed.
pub fn has_boards(host: &dyn Host) -> Option<bool> {
    let (mut bound, mut given) = (false, false);
    host.list("/sys/bus/pci/drivers/nvidia", &mut |name| bound |= name.split(':').count() == 3).ok()?;
    let is_number = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    // Without it nothing is given.
    let _ = host.list("/dev", &mut |name| given |= name.strip_prefix("nvidia").is_some_and(is_number));
    Some(bound && given)
}

/// Boards of others are no fault of theirs: the collector says that it does not see them.
fn forbidden(gpus: &[Gpu]) -> Result<(), CollectError> {
    let numbers = gpus.iter().filter(|gpu| gpu.forbidden).map(|gpu| gpu.index.to_string());
    let numbers: Vec<String> = numbers.collect();
    if numbers.is_empty() {
        return Ok(());
    }
    let path = format!("GPU {}", numbers.join(", "));
    Err(CollectError::Denied {
        path,
        needs: "its device file, /dev/nvidiaN, which this container was not given",
    })
}

/// Runs aside.
fn look(host: &Arc<dyn Host>, driver: Option<Box<dyn Driver>>, asked: Now, had_some: bool) -> Look {
    let mut driver = driver.unwrap_or_else(|| host.gpus());
    let mut gpus = driver.read();
    let fails =
        |gpus: &Result<Vec<Gpu>, Error>| gpus.as_ref().map_or(true, |gpus| gpus.is_empty() && had_some);
    if fails(&gpus) && driver.name() == NVML {
        // A library that was loaded before the driver was exchanged knows the old one only, until it is closed.
        drop(driver);
        driver = host.gpus();
        gpus = driver.read();
    }
    if fails(&gpus) && driver.name() == NVML {
        driver = Box::new(Smi::new(Arc::clone(host)));
        gpus = driver.read();
    }
    let pids = gpus.iter().flatten().flat_map(|gpu| &gpu.processes).map(|process| process.pid);
    let names = pids.map(|pid| (pid, name(host.as_ref(), pid))).collect();
    Look { asked, driver, gpus, names }
}

fn name(host: &dyn Host, pid: u32) -> Name {
    let comm = read_text(host, &format!("/proc/{pid}/comm")).unwrap_or_default();
    let group = read_text(host, &format!("/proc/{pid}/cgroup")).ok().and_then(|text| cgroup::path_of(&text));
    let owner = group.map(|path| cgroup::owner(&path)).unwrap_or_default();
    let owner = owner.container.map(|container| container.short_id()).or(owner.unit).unwrap_or_default();
    Name { comm: clean(comm.trim_end(), MAX_NAME), owner: clean(&owner, MAX_NAME) }
}

fn put(gpu: &Gpu, names: &HashMap<u32, Name>, out: &mut Samples) {
    let index = gpu.index.to_string();
    let number: &str = &index;
    out.put(&LOST, &[number], f64::from(u8::from(gpu.lost.is_some())));
    if gpu.lost.is_some() {
        // What is still answered is stale.
        return;
    }
    out.put(&INFO, &[number, &gpu.model, &gpu.uuid, &gpu.bus, &gpu.driver], 1.0);
    for &(metric, label, value) in &gpu.readings {
        match metric.labels {
            [_] => out.put(metric, &[number], value),
            [_, "model"] => out.put(metric, &[number, &gpu.model], value),
            _ => out.put(metric, &[number, label], value),
        }
    }
    for link in &gpu.links {
        let name = link.link.to_string();
        for (kind, count) in LinkError::NAMES.into_iter().zip(link.errors) {
            count.inspect(|&count| out.put(&LINK_ERRORS, &[number, &name, kind], count as f64));
        }
    }
    for instance in &gpu.instances {
        let name = instance.index.to_string();
        out.put(&INSTANCE_TOTAL, &[number, &name], instance.memory_total as f64 / GIB);
        out.put(&INSTANCE_USED, &[number, &name], instance.memory_used as f64 / GIB);
    }
    out.put(&PROCESSES, &[number], gpu.processes_total as f64);
    for process in &gpu.processes {
        put_process(number, process, names.get(&process.pid).unwrap_or(&Name::default()), out);
    }
}

fn put_process(gpu: &str, process: &Process, name: &Name, out: &mut Samples) {
    let pid = process.pid.to_string();
    let labels = [gpu, &pid, &name.comm, &name.owner];
    if let Some(bytes) = process.memory {
        out.put(&PROCESS_MEMORY, &labels, bytes as f64 / GIB);
    }
    if let Some(percent) = process.busy_percent {
        out.put(&PROCESS_BUSY, &labels, percent);
    }
}

#[cfg(all(test, feature = "gpu", not(target_env = "musl")))]
mod nvml_tests;
#[cfg(test)]
mod tests;
