//! The agent itself, the inventory and eBPF.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{DAY, WEEK};
use crate::config::must::Must::{Labels, PowerOfTwo, Real, Whole};
use crate::config::section::{choice, section};

section! {
    /// Who this agent is and where it keeps its things.
    pub struct Agent {
        /// Name of this host in alerts and payloads. Empty: the system's own.
        hostname: String = "";
        /// Labels on every alert, metric batch, payload and scrape: environment, team, data centre.
        labels: BTreeMap<String, String> => Labels;
        /// Seconds between two readings, for every collector without an interval of its own in this file.
        collect_interval_secs: u64 = 10 => Whole(1, DAY);
        /// How much the agent writes about itself.
        log_level: LogLevel = LogLevel::Info;
        /// File for the agent's own log. Empty: standard error.
        log_file: PathBuf = "";
        /// Directory for what must survive a restart: alerts on their way, places in log files.
        data_dir: PathBuf = "/var/lib/sysops-agent";
        /// File with the agent's process id. Empty: none. One that cannot be written is a warning.
        pid_file: PathBuf = "";
        /// Root of the watched host; in a container the place where it is mounted, as `rslave`, so that later mounts are seen.
        host_root: PathBuf = "/";
        /// Where the watched host's proc file system is.
        proc_root: PathBuf = "/proc";
        /// Where the watched host's sysfs is.
        sys_root: PathBuf = "/sys";
    }
}

choice! {
    /// How much is logged.
    pub enum LogLevel = Info {
        /// Everything.
        Trace = "trace";
        /// What helps to find a fault.
        Debug = "debug";
        /// What an operator may want to know.
        Info = "info";
        /// What an operator should look at.
        Warn = "warn";
        /// What does not work.
        Error = "error";
    }
}

section! {
    /// What the host is made of: processors, memory, disks, network, firmware. `--inventory-dump` prints it.
    pub struct Inventory {
        /// Whether it is read.
        enabled: bool = true;
        /// Seconds between two readings.
        collect_interval_secs: u64 = 300 => Whole(10, DAY);
        /// Whether single memory modules are listed; needs the right to read the SMBIOS tables.
        include_dimm_details: bool = true;
        /// Whether the disks' own health is asked for; needs the right to send them commands.
        include_smart: bool = false;
        /// Whether board and firmware are listed.
        include_bios: bool = true;
    }
}

choice! {
    /// Something that can decide for itself whether it is on.
    pub enum Switch = Auto, bool ("on", "off") {
        /// Where it works.
        Auto = "auto";
        /// Always; that it fails is an error.
        On = "on";
        /// Never.
        Off = "off";
    }
}

choice! {
    /// How records come from the kernel.
    pub enum Transport = Auto {
        /// Whichever this kernel has.
        Auto = "auto";
        /// Perf buffers, one per CPU; Linux 4.9 and later.
        Perf = "perf";
        /// One ring buffer; Linux 5.8 and later.
        Ring = "ring";
    }
}

section! {
    /// Kernel events through eBPF. Where it cannot run, the kernel log takes its place.
    pub struct Ebpf, feature "ebpf" {
        /// auto: where the kernel and the rights allow it; on: not being able to is an error; off: never.
        enabled: Switch = Switch::Auto;
        /// How records come from the kernel.
        transport: Transport = Transport::Auto;
        /// Whether out-of-memory kills are watched.
        oom: bool = true;
        /// Whether tasks that hang in the kernel are watched.
        hung_task: bool = true;
        /// Whether block devices are measured.
        block_io: bool = true;
        /// Whether reports of faulty hardware are watched: memory controllers, PCI Express, machine checks, broken pages.
        ras: bool = true;
        /// Whether network adapters that do not send are watched.
        net_tx_timeout: bool = true;
        /// Whether trip points of temperatures are watched.
        thermal: bool = true;
        /// Whether TCP retransmits and resets are counted by remote address.
        tcp: bool = true;
        /// Whether the time threads spend on freeing or compacting memory themselves is measured.
        memory_stalls: bool = true;
        /// Whether the time threads wait for a processor is measured. It costs something at every switch between tasks.
        run_queue: bool = false;
        /// Whether processes are read through the kernel's task iterator, Linux 5.8 and later, instead of `/proc`.
        process_iterator: bool = true;
        /// Milliseconds from which one disk request is an event of its own.
        io_latency_threshold_ms: u64 = 500 => Whole(1, 600_000);
        /// Most such events per second; the others are counted.
        max_io_events_per_sec: u32 = 20 => Whole(1, 10_000);
        /// How many times its usual 99th percentile the latency of a block device must be to be told, as
        /// info. The usual is learned in ten minutes of traffic. 0: never.
        io_rise_factor: f64 = 10.0 => Real(0.0, 1_000_000.0);
        /// Milliseconds below which such a rise is not worth telling.
        io_rise_min_ms: f64 = 20.0 => Real(0.0, 600_000.0);
        /// Seconds for which it must last.
        io_rise_for_secs: u64 = 60 => Whole(0, DAY);
        /// Size of the perf buffer of each CPU, in pages; a ring buffer has the size of all of them together.
        perf_buffer_pages: u32 = 16 => PowerOfTwo(1024);
        /// Seconds in uninterruptible sleep after which a task is reported. 0: not watched.
        dstate_watch_secs: u64 = 30 => Whole(0, WEEK);
    }
}
