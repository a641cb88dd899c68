//! What is told of a GPU. Collector `gpu` puts the label `gpu` (its number) before the others.

use crate::metric::metrics;

metrics! {
    UTILIZATION: Gauge Percent "gpu_utilization_percent" ["gpu", "model"]
        "Time in which a kernel ran on the GPU.", "nvmlDeviceGetUtilizationRates, utilization.gpu";
    MEMORY_UTILIZATION: Gauge Percent "gpu_memory_utilization_percent" ["gpu"]
        "Time in which the GPU's memory was read or written.", "nvmlDeviceGetUtilizationRates, utilization.memory";
    MEMORY_TOTAL: Gauge Gibibytes "gpu_memory_total_gb" as "gpu_memory_total_bytes" ["gpu"]
        "Memory of the GPU, 2^30 bytes.", "nvmlDeviceGetMemoryInfo, memory.total";
    MEMORY_USED: Gauge Gibibytes "gpu_memory_used_gb" as "gpu_memory_used_bytes" ["gpu"]
        "Memory of the GPU in use, 2^30 bytes.", "nvmlDeviceGetMemoryInfo, memory.used";
    MEMORY_PERCENT: Gauge Percent "gpu_memory_used_percent" ["gpu"]
        "Share of the GPU's memory in use.", "computed: gpu_memory_used_gb of gpu_memory_total_gb";
    TEMPERATURE: Gauge Celsius "gpu_temperature_celsius" ["gpu"]
        "Temperature of the GPU.", "nvmlDeviceGetTemperature, temperature.gpu";
    MEMORY_TEMPERATURE: Gauge Celsius "gpu_memory_temperature_celsius" ["gpu"]
        "Temperature of the GPU's memory.", "NVML_FI_DEV_MEMORY_TEMP, temperature.memory";
    POWER: Gauge Watts "gpu_power_watts" ["gpu"]
        "Power the board draws.", "nvmlDeviceGetPowerUsage, power.draw";
    POWER_LIMIT: Gauge Watts "gpu_power_limit_watts" ["gpu"]
        "Power the board may draw.", "nvmlDeviceGetEnforcedPowerLimit, enforced.power.limit";
    POWER_PERCENT: Gauge Percent "gpu_power_percent" ["gpu"]
        "Power as a share of its limit; peaks may be over 100.", "computed: gpu_power_watts of gpu_power_limit_watts";
    CLOCK: Gauge Megahertz "gpu_clock_mhz" as "gpu_clock_hertz" ["gpu", "clock"]
        "Clock of the multiprocessors (sm) or of the memory (mem).", "nvmlDeviceGetClockInfo, clocks.sm, clocks.mem";
    THROTTLED: Gauge Count "gpu_throttled" ["gpu", "reason"]
        "1 where the clocks are held down, by reason.", "nvmlDeviceGetCurrentClocksThrottleReasons, clocks_event_reasons.active";
    FAN: Gauge Percent "gpu_fan_percent" ["gpu"] "Speed of the fan.", "nvmlDeviceGetFanSpeed, fan.speed";
    ECC_CORRECTED: Counter Count "gpu_ecc_corrected_errors_total" ["gpu", "span"]
        "Memory errors the GPU corrected, since the driver was loaded (volatile) or ever (aggregate).",
        "nvmlDeviceGetTotalEccErrors, ecc.errors.corrected.*.total";
    ECC_UNCORRECTED: Counter Count "gpu_ecc_uncorrected_errors_total" ["gpu", "span"]
        "Memory errors the GPU could not correct, since the driver was loaded (volatile) or ever (aggregate).",
        "nvmlDeviceGetTotalEccErrors, ecc.errors.uncorrected.*.total";
    REMAPPED: Gauge Count "gpu_remapped_rows_count" ["gpu", "cause"]
        "Rows of memory replaced by spare ones, by what was found.", "NVML_FI_DEV_REMAPPED_COR, _UNC, nvidia-smi -q";
    REMAP_PENDING: Gauge Count "gpu_remap_pending" ["gpu"]
        "1 where a row is replaced at the next reset of the GPU.", "NVML_FI_DEV_REMAPPED_PENDING, nvidia-smi -q";
    REMAP_FAILED: Gauge Count "gpu_remap_failed" ["gpu"]
        "1 where no spare row is left: the board must be exchanged.", "NVML_FI_DEV_REMAPPED_FAILURE, nvidia-smi -q";
    PAGES_RETIRED: Gauge Count "gpu_retired_pages_count" ["gpu", "cause"]
        "Pages of memory taken out of use, on GPUs before Ampere.", "nvmlDeviceGetRetiredPages, retired_pages.*.count";
    PCIE_REPLAYS: Counter Count "gpu_pcie_replays_total" ["gpu"]
        "PCI Express packets sent again.", "nvmlDeviceGetPcieReplayCounter, nvidia-smi -q";
    PCIE_GENERATION: Gauge Count "gpu_pcie_generation" ["gpu", "state"]
        "Generation of PCI Express now (lower when idle) and at best.", "nvmlDeviceGetCurrPcieLinkGeneration, pcie.link.gen.*";
    PCIE_WIDTH: Gauge Count "gpu_pcie_width" ["gpu", "state"]
        "Lanes of PCI Express now and at best; fewer than at best mean a bad slot or riser.",
        "nvmlDeviceGetCurrPcieLinkWidth, pcie.link.width.*";
}
