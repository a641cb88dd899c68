//! The driver's own library, `libnvidia-ml.so.1`, loaded while running where it is there.

use std::ffi::OsStr;

use nvml_wrapper::enum_wrappers::device::{
    Clock, EccCounter, MemoryError, RetirementCause, TemperatureSensor,
};
use nvml_wrapper::enum_wrappers::nv_link::ErrorCounter;
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id;
use nvml_wrapper::{Device, Nvml};

use super::{
    Driver, Error, Gpu, Instance, Link, LinkError, MAX_GPUS, MAX_LINKS, NVML, Process, bus_of, metrics, tame,
};

/// Names under which the library is looked for; the first is what a driver package installs, the second what its
/// development package adds.
const LIBRARIES: [&str; 2] = ["libnvidia-ml.so.1", "libnvidia-ml.so"];

const GIB: f64 = (1u64 << 30) as f64;

/// The library, loaded and initialised.
pub struct Library {
    nvml: Nvml,
    driver: String,
    cuda: String,
    /// Boards that have answered, by number.
    seen: [bool; MAX_GPUS],
}

impl Library {
    /// Loads it; `None` where it is not there, does not go with the driver, or is too old.
    pub fn load() -> Option<Self> {
        LIBRARIES.iter().find_map(|name| Self::open(name.as_ref()))
    }

    /// Loads this one; a name without a path is looked for where libraries are.
    pub fn open(name: &OsStr) -> Option<Self> {
        let nvml = Nvml::builder().lib_path(name).init().ok()?;
        if nvml.device_by_index(0).is_ok_and(|device| lacks_calls(&device)) {
            return None;
        }
        let driver = nvml.sys_driver_version().map(|version| tame(&version)).unwrap_or_default();
        // 12020 is 12.2 (`nvmlSystemGetCudaDriverVersion`, nvml.h).
        let cuda = nvml.sys_cuda_driver_version().map(|v| format!("{}.{}", v / 1000, v % 1000 / 10));
        let cuda = cuda.unwrap_or_default();
        Some(Self { nvml, driver, cuda, seen: [false; MAX_GPUS] })
    }

    /// `None`: it is not there, or the driver has no answer that says anything of the board.
    fn gpu(&mut self, index: u32) -> Option<Gpu> {
        let mut gpu = Gpu { index, driver: self.driver.clone(), cuda: self.cuda.clone(), ..Gpu::default() };
        let seen = self.seen.get_mut(index as usize)?;
        match self.nvml.device_by_index(index) {
            Ok(device) => {
                *seen = true;
                read(&device, &mut gpu);
            }
            Err(NvmlError::NoPermission) => gpu.forbidden = true,
            Err(error) if is_lost(&error) || (*seen && matches!(error, NvmlError::NotFound)) => {
                gpu.lost = Some(error.to_string());
            }
            Err(_) => return None,
        }
        Some(gpu)
    }
}

/// Whether the driver cannot speak with a board: all that `nvmlDeviceGetHandleByIndex` gives for that (`nvml.h`). `nvidia-smi`
/// writes a line `Unable to determine the device handle` for them.
const fn is_lost(error: &NvmlError) -> bool {
    use NvmlError::{GpuLost, InsufficientPower, IrqIssue, ResetRequired, Unknown};
    matches!(error, GpuLost | ResetRequired | InsufficientPower | IrqIssue | Unknown)
}

/// Before driver 510 there is no second form of the question for memory and no third of that for processes, the only ones
/// that are asked here; `nvidia-smi` of that driver answers both.
fn lacks_calls(device: &Device<'_>) -> bool {
    matches!(device.memory_info(), Err(NvmlError::FailedToLoadSymbol(_)))
        || matches!(device.running_compute_processes_count(), Err(NvmlError::FailedToLoadSymbol(_)))
}

impl Driver for Library {
    fn read(&mut self) -> Result<Vec<Gpu>, Error> {
        let count = self.nvml.device_count().map_err(|error| Error::Failed(error.to_string()))?;
        Ok((0..count.min(MAX_GPUS as u32)).filter_map(|index| self.gpu(index)).collect())
    }

    fn name(&self) -> &'static str {
        NVML
    }
}

fn read(device: &Device<'_>, gpu: &mut Gpu) {
    gpu.uuid = device.uuid().map(|uuid| tame(&uuid)).unwrap_or_default();
    gpu.model = device.name().map(|name| tame(&name)).unwrap_or_default();
    gpu.bus = device.pci_info().map(|pci| bus_of(&pci.bus_id)).unwrap_or_default();
    gpu.ecc = device.is_ecc_enabled().ok().map(|mode| mode.currently_enabled);
    load(device, gpu);
    health(device, gpu);
    bus(device, gpu);
    gpu.links = links(device);
    gpu.instances = instances(device);
    gpu.set_processes(processes(device));
    gpu.conclude();
}

fn real(value: Result<u32, NvmlError>) -> Option<f64> {
    value.ok().map(f64::from)
}

fn load(device: &Device<'_>, gpu: &mut Gpu) {
    match device.utilization_rates() {
        Ok(rates) => {
            gpu.put(&metrics::UTILIZATION, "", Some(f64::from(rates.gpu)));
            gpu.put(&metrics::MEMORY_UTILIZATION, "", Some(f64::from(rates.memory)));
        }
        // Its answers from here on are worth nothing.
        Err(error @ (NvmlError::GpuLost | NvmlError::ResetRequired)) => gpu.lost = Some(error.to_string()),
        Err(_) => {}
    }
    if let Ok(memory) = device.memory_info() {
        gpu.put(&metrics::MEMORY_TOTAL, "", Some(memory.total as f64 / GIB));
        gpu.put(&metrics::MEMORY_USED, "", Some(memory.used as f64 / GIB));
    }
    gpu.put(&metrics::TEMPERATURE, "", real(device.temperature(TemperatureSensor::Gpu)));
    gpu.put(&metrics::POWER, "", real(device.power_usage()).map(|milliwatts| milliwatts / 1e3));
    gpu.put(
        &metrics::POWER_LIMIT,
        "",
        real(device.enforced_power_limit()).map(|milliwatts| milliwatts / 1e3),
    );
    gpu.put(&metrics::CLOCK, "sm", real(device.clock_info(Clock::SM)));
    gpu.put(&metrics::CLOCK, "mem", real(device.clock_info(Clock::Memory)));
    gpu.put(&metrics::FAN, "", real(device.fan_speed(0)));
    gpu.put_throttle(device.current_throttle_reasons().ok().map(|reasons| reasons.bits()));
}

fn health(device: &Device<'_>, gpu: &mut Gpu) {
    let errors = |kind, span| device.total_ecc_errors(kind, span).ok().map(|count| count as f64);
    for (name, span) in [("volatile", EccCounter::Volatile), ("aggregate", EccCounter::Aggregate)] {
        gpu.put(&metrics::ECC_CORRECTED, name, errors(MemoryError::Corrected, span));
        gpu.put(&metrics::ECC_UNCORRECTED, name, errors(MemoryError::Uncorrected, span));
    }
    let [corrected, uncorrected, pending, failed, temperature] = fields(
        device,
        [
            field_id::NVML_FI_DEV_REMAPPED_COR,
            field_id::NVML_FI_DEV_REMAPPED_UNC,
            field_id::NVML_FI_DEV_REMAPPED_PENDING,
            field_id::NVML_FI_DEV_REMAPPED_FAILURE,
            field_id::NVML_FI_DEV_MEMORY_TEMP,
        ],
    );
    gpu.put(&metrics::REMAPPED, "corrected", corrected);
    gpu.put(&metrics::REMAPPED, "uncorrected", uncorrected);
    gpu.put(&metrics::REMAP_PENDING, "", pending);
    gpu.put(&metrics::REMAP_FAILED, "", failed);
    // 0 where there is no such sensor.
    gpu.put(&metrics::MEMORY_TEMPERATURE, "", temperature.filter(|celsius| *celsius > 0.0));
    if corrected.is_none() {
        let retired = |cause| device.retired_pages(cause).ok().map(|pages| pages.len() as f64);
        gpu.put(&metrics::PAGES_RETIRED, "corrected", retired(RetirementCause::MultipleSingleBitEccErrors));
        gpu.put(&metrics::PAGES_RETIRED, "uncorrected", retired(RetirementCause::DoubleBitEccError));
    }
}

fn bus(device: &Device<'_>, gpu: &mut Gpu) {
    gpu.put(&metrics::PCIE_REPLAYS, "", real(device.pcie_replay_counter()));
    gpu.put(&metrics::PCIE_GENERATION, "now", real(device.current_pcie_link_gen()));
    gpu.put(&metrics::PCIE_GENERATION, "best", real(device.max_pcie_link_gen()));
    gpu.put(&metrics::PCIE_WIDTH, "now", real(device.current_pcie_link_width()));
    gpu.put(&metrics::PCIE_WIDTH, "best", real(device.max_pcie_link_width()));
}

fn fields<const N: usize>(device: &Device<'_>, ids: [u32; N]) -> [Option<f64>; N] {
    let mut values = [None; N];
    for (slot, sample) in
        values.iter_mut().zip(device.field_values_for(&ids.map(FieldId)).into_iter().flatten())
    {
        *slot = sample.ok().and_then(|sample| sample.value.ok()).map(|value| match value {
            SampleValue::F64(value) => value,
            SampleValue::U32(value) => f64::from(value),
            SampleValue::U64(value) => value as f64,
            SampleValue::I64(value) => value as f64,
        });
    }
    values
}

fn links(device: &Device<'_>) -> Vec<Link> {
    let link = |number: u32| {
        let link = device.link_wrapper_for(number);
        link.is_active().ok().filter(|active| *active)?;
        let count = |counter| link.error_counter(counter).ok();
        let mut errors = [None; LinkError::NAMES.len()];
        errors[LinkError::Replay as usize] = count(ErrorCounter::DlReplay);
        errors[LinkError::Recovery as usize] = count(ErrorCounter::DlRecovery);
        errors[LinkError::Crc as usize] = count(ErrorCounter::DlCrcFlit);
        Some(Link { link: number, errors })
    };
    (0..MAX_LINKS as u32).filter_map(link).collect()
}

fn instances(device: &Device<'_>) -> Vec<Instance> {
    let instance = |index| {
        let memory = device.mig_device_by_index(index).ok()?.memory_info().ok()?;
        Some(Instance { index, memory_total: memory.total, memory_used: memory.used })
    };
    (0..device.mig_device_count().unwrap_or(0).min(super::MAX_INSTANCES)).filter_map(instance).collect()
}

/// Those that compute, as `nvidia-smi --query-compute-apps` lists them; one that draws is a desktop's.
fn processes(device: &Device<'_>) -> Vec<Process> {
    let compute = device.running_compute_processes().unwrap_or_default();
    let mut processes: Vec<Process> = Vec::with_capacity(compute.len());
    for info in compute {
        if processes.iter().any(|process| process.pid == info.pid) {
            continue;
        }
        let memory = match info.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        };
        processes.push(Process { pid: info.pid, memory, busy_percent: None });
    }
    // The samples of the last seconds; the newest of each process counts.
    let mut samples = device.process_utilization_stats(None).unwrap_or_default();
    samples.sort_by_key(|sample| sample.timestamp);
    for sample in samples.into_iter().filter(|sample| sample.sm_util <= 100) {
        if let Some(process) = processes.iter_mut().find(|process| process.pid == sample.pid) {
            process.busy_percent = Some(f64::from(sample.sm_util));
        }
    }
    processes
}
