//! The configuration (stand-in with the fields collectors use).

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[agent]`
    pub agent: AgentSection,
    /// `[collector]`
    pub collector: CollectorSection,
    /// `[inventory]`
    pub inventory: InventorySection,
}

/// `[agent]`
#[derive(Clone, Debug)]
pub struct AgentSection {
    /// Name of the host; empty: the system's.
    pub hostname: String,
    /// Where the host's root is mounted.
    pub host_root: String,
    /// Where the host's `/proc` is mounted.
    pub proc_root: String,
    /// Where the host's `/sys` is mounted.
    pub sys_root: String,
}

/// `[collector]`
#[derive(Clone, Debug)]
pub struct CollectorSection {
    /// Seconds.
    pub cpu_interval_secs: u64,
    /// Seconds.
    pub memory_interval_secs: u64,
    /// Seconds.
    pub disk_interval_secs: u64,
    /// Seconds.
    pub disk_io_interval_secs: u64,
    /// Seconds.
    pub network_interval_secs: u64,
    /// Seconds.
    pub process_interval_secs: u64,
    /// Seconds.
    pub fd_interval_secs: u64,
    /// Names; empty: all.
    pub enabled: Vec<String>,
    /// Names.
    pub disabled: Vec<String>,
    /// Samples per core too.
    pub per_core: bool,
    /// Globs.
    pub exclude_fstypes: Vec<String>,
    /// Globs.
    pub exclude_mountpoints: Vec<String>,
    /// Globs.
    pub exclude_devices: Vec<String>,
    /// Globs.
    pub exclude_interfaces: Vec<String>,
    /// Processes with metrics of their own.
    pub track_top_n: usize,
    /// Series in all.
    pub max_series: usize,
}

/// `[inventory]`
#[derive(Clone, Debug)]
pub struct InventorySection {
    /// Read `/sys/class/dmi/id`.
    pub include_bios: bool,
}

impl Default for AgentSection {
    fn default() -> Self {
        let [host_root, proc_root, sys_root] = ["/", "/proc", "/sys"].map(str::to_owned);
        Self { hostname: String::new(), host_root, proc_root, sys_root }
    }
}

impl Default for InventorySection {
    fn default() -> Self {
        Self { include_bios: true }
    }
}

impl Default for CollectorSection {
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            cpu_interval_secs: 10,
            memory_interval_secs: 10,
            disk_interval_secs: 60,
            disk_io_interval_secs: 10,
            network_interval_secs: 10,
            process_interval_secs: 30,
            fd_interval_secs: 30,
            enabled: Vec::new(),
            disabled: Vec::new(),
            per_core: true,
            exclude_fstypes: list(crate::collect::filesystem::EXCLUDE_FSTYPES),
            exclude_mountpoints: Vec::new(),
            exclude_devices: list(crate::collect::diskstats::EXCLUDE_DEVICES),
            exclude_interfaces: list(crate::collect::network::EXCLUDE_INTERFACES),
            track_top_n: 20,
            max_series: 4000,
        }
    }
}
