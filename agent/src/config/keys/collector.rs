//! The collectors.

use std::path::PathBuf;

use secrecy::SecretString;
use toml::de::DeTable;

use super::DAY;
use crate::config::must::Must::{Collector as CollectorName, HostPort, Regex, Whole};
use crate::config::reader::Reader;
use crate::config::section::section;
use crate::config::value::Node;

/// Patterns of process names at most.
pub const MAX_PATTERNS: usize = 64;

section! {
    /// What is read from the host, how often, and what is left out.
    pub struct Collector, check few_patterns {
        /// Collectors that run. Empty: all.
        enabled: Vec<String> = &[] => CollectorName;
        /// Collectors that do not run.
        disabled: Vec<String> = &[] => CollectorName;
        /// Seconds between two readings of processors, load and pressure.
        cpu_interval_secs: u64 = 10 => Whole(1, DAY);
        /// Seconds between two readings of memory.
        memory_interval_secs: u64 = 10 => Whole(1, DAY);
        /// Seconds between two readings of file systems.
        disk_interval_secs: u64 = 60 => Whole(1, DAY);
        /// Seconds between two readings of block devices.
        disk_io_interval_secs: u64 = 10 => Whole(1, DAY);
        /// Seconds between two questions to the disks about their own health. Sleeping disks are left asleep.
        smart_interval_secs: u64 = 300 => Whole(10, DAY);
        /// Seconds between two readings of network interfaces.
        network_interval_secs: u64 = 10 => Whole(1, DAY);
        /// Seconds between two readings of processes.
        process_interval_secs: u64 = 30 => Whole(1, DAY);
        /// Seconds between two readings of file descriptors.
        fd_interval_secs: u64 = 30 => Whole(1, DAY);
        /// Seconds between two readings of GPUs.
        gpu_interval_secs: u64 = 10 => Whole(1, DAY);
        /// Seconds between two questions to systemd about its units.
        systemd_interval_secs: u64 = 60 => Whole(1, DAY);
        /// Whether each CPU thread has series of its own.
        per_core: bool = true;
        /// Types of file systems that are left out.
        exclude_fstypes: Vec<String> = &[
            "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs",
            "efivarfs", "erofs", "fuse.*.AppImage", "fuse.gvfsd-fuse", "fuse.lxcfs", "fuse.portal", "fuse.snapfuse",
            "fuse.squashfuse*", "fusectl", "hugetlbfs", "iso9660", "mqueue", "nsfs", "overlay", "proc", "procfs", "pstore",
            "ramfs", "rpc_pipefs", "securityfs", "selinuxfs", "squashfs", "sysfs", "tmpfs", "tracefs",
        ];
        /// Mount points that are left out; `*` stands for any characters. What container runtimes mount for their
        /// containers is left out besides (below `/var/lib/docker`, `/var/lib/containers/storage`, `/var/lib/containerd`).
        exclude_mountpoints: Vec<String> = &[];
        /// Block devices that are left out; `*` stands for any characters.
        exclude_devices: Vec<String> = &["loop*", "ram*", "zram*", "fd*", "sr*"];
        /// Network interfaces that are left out; `*` stands for any characters.
        exclude_interfaces: Vec<String> =
            &[
            "lo", "veth*", "cali*", "cni*", "flannel*", "cilium*", "lxc*", "docker*", "br-*", "virbr*", "vnet*", "tap*",
            "ifb*", "dummy*", "nodelocaldns",
        ];
        /// Patterns of process names that are always followed, at most 64. A name is what `ps -o comm` shows: 15 bytes.
        track_patterns: Vec<String> = &[] => Regex;
        /// How many processes are followed, by processor time and by memory.
        track_top_n: usize = 20 => Whole(0, 1000);
        /// Most series that are kept; later ones are counted and left out.
        max_series: usize = 4000 => Whole(100, 1_000_000);
        /// Containers, asked of the Docker daemon.
        docker: Docker;
        /// One Redis server.
        redis: Redis;
    }
}

fn few_patterns(collector: &Collector, node: &Node<'_>, table: &DeTable<'_>, cx: &mut Reader<'_>) {
    let count = collector.track_patterns.len();
    if count > MAX_PATTERNS {
        let span = table.get("track_patterns").map_or_else(|| node.span(), toml::Spanned::span);
        let what = format!("`{}.track_patterns` has {count} patterns.", cx.place());
        cx.finding(
            span,
            what,
            format!("Leave at most {MAX_PATTERNS}; one can name several: `^(nginx|php-fpm)`."),
        );
    }
}

section! {
    /// Containers, asked of the Docker daemon.
    pub struct Docker {
        /// Whether it is asked.
        enabled: bool = false;
        /// Its Unix socket.
        socket: PathBuf = "/var/run/docker.sock";
    }
}

section! {
    /// One Redis server.
    pub struct Redis {
        /// Whether it is asked.
        enabled: bool = false;
        /// Host and port.
        addr: String = "localhost:6379" => HostPort;
        /// Password. Empty: none.
        password: SecretString = "";
    }
}
