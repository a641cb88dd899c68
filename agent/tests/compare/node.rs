//! `node_exporter`, started on the loopback and asked once a look.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::lab::ports::free_port;
use super::lab::wait_for;
use super::rows::{Allowed, Theirs};

/// As Debian names it.
pub(crate) const PROGRAM: &str = "prometheus-node-exporter";

/// A running exporter.
pub(crate) struct Exporter {
    child: Child,
    port: u16,
}

impl Exporter {
    /// Starts it with all disks and interfaces.
    pub(crate) fn start() -> Self {
        let free = free_port();
        let child = Command::new(PROGRAM)
            .arg(format!("--web.listen-address=127.0.0.1:{free}"))
            .args(["--collector.diskstats.device-exclude=^$", "--collector.softnet"])
            .args(["--no-collector.systemd", "--collector.netclass.ignored-devices=^$"])
            .stderr(Stdio::null())
            .spawn()
            .expect("node_exporter starts");
        let exporter = Self { child, port: free };
        wait_for(Duration::from_secs(20), || exporter.scrape().ok()).expect("node_exporter answers");
        exporter
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn scrape(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// What it reads now of all that we read too.
    pub(crate) fn read(&self) -> Vec<Theirs> {
        let text = self.scrape().expect("node_exporter answers");
        let samples: Vec<_> = text.lines().filter_map(sample).collect();
        PAIRS.iter().flat_map(|pair| pair.of(&samples)).collect()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Sample<'a> = (&'a str, BTreeMap<&'a str, &'a str>, f64);

/// `name{label="value"} 1.5e+09`
fn sample(line: &str) -> Option<Sample<'_>> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else { return Some((series, BTreeMap::new(), value)) };
    let labels = labels.strip_suffix('}')?.split("\",").filter_map(|pair| pair.split_once("=\""));
    Some((name, labels.map(|(name, value)| (name, value.trim_end_matches('"'))).collect(), value))
}

/// Their name, ours, their labels in our order, what one of theirs is of ours, and what is allowed.
struct Pair(&'static str, &'static str, &'static [&'static str], f64, Allowed, &'static str);

impl Pair {
    fn of(&self, samples: &[Sample<'_>]) -> Vec<Theirs> {
        let &Self(name, ours, labels, scale, allowed, why) = self;
        let fits = samples.iter().filter(|(known, ..)| *known == name);
        if labels == SUM {
            let value = fits.map(|(.., value)| value * scale).sum();
            return vec![Theirs {
                tool: "node_exporter",
                what: format!("sum of {name}"),
                ours: ours.into(),
                value,
                allowed,
                why,
            }];
        }
        fits.map(|(_, known, value)| {
            let values: Vec<&str> =
                labels.iter().map(|label| known.get(label).copied().unwrap_or("")).collect();
            let braces = if labels.is_empty() { String::new() } else { format!("{{{}}}", values.join(",")) };
            Theirs {
                tool: "node_exporter",
                what: format!("{name}{braces}"),
                ours: format!("{ours}{braces}"),
                value: value * scale,
                allowed,
                why,
            }
        })
        .collect()
    }
}

/// They tell it for each CPU, we for all together.
const SUM: &[&str] = &["sum"];
const DEVICE: &[&str] = &["device"];
const MOUNT: &[&str] = &["mountpoint", "device", "fstype"];

/// Reason for sockets.
const ASKED: &str = "the question to node_exporter is a connection of two sockets itself";

const fn counter(theirs: &'static str, ours: &'static str) -> Pair {
    Pair(theirs, ours, &[], 1.0, Allowed::Nothing, "")
}

/// A gauge that moves between the readings.
const fn moving(theirs: &'static str, ours: &'static str, by: f64) -> Pair {
    Pair(theirs, ours, &[], 1.0, Allowed::By(by), "the moment differs")
}

const fn memory(theirs: &'static str, ours: &'static str) -> Pair {
    moving(theirs, ours, 64e6)
}

const fn of_device(theirs: &'static str, ours: &'static str) -> Pair {
    Pair(theirs, ours, DEVICE, 1.0, Allowed::Nothing, "")
}

const PAIRS: &[Pair] = &[
    Pair(
        "node_cpu_seconds_total",
        "cpu_seconds_total",
        &["cpu", "mode"],
        1.0,
        Allowed::By(0.05),
        "idle and waiting time of a sleeping CPU is counted when it wakes up",
    ),
    counter("node_boot_time_seconds", "boot_time_seconds"),
    counter("node_context_switches_total", "context_switches_total"),
    counter("node_intr_total", "interrupts_total"),
    counter("node_forks_total", "forks_total"),
    moving("node_procs_running", "processes_running_count", 3.0),
    moving("node_procs_blocked", "processes_blocked_count", 3.0),
    moving("node_load1", "load_1min", 0.2),
    moving("node_load5", "load_5min", 0.1),
    moving("node_load15", "load_15min", 0.1),
    memory("node_memory_MemTotal_bytes", "memory_total_bytes"),
    memory("node_memory_MemFree_bytes", "memory_free_bytes"),
    memory("node_memory_MemAvailable_bytes", "memory_available_bytes"),
    memory("node_memory_Buffers_bytes", "memory_buffers_bytes"),
    memory("node_memory_Cached_bytes", "memory_cached_bytes"),
    memory("node_memory_SwapCached_bytes", "swap_cached_bytes"),
    memory("node_memory_Active_bytes", "memory_active_bytes"),
    memory("node_memory_Inactive_bytes", "memory_inactive_bytes"),
    memory("node_memory_Active_anon_bytes", "memory_active_anon_bytes"),
    memory("node_memory_Inactive_anon_bytes", "memory_inactive_anon_bytes"),
    memory("node_memory_Active_file_bytes", "memory_active_file_bytes"),
    memory("node_memory_Inactive_file_bytes", "memory_inactive_file_bytes"),
    memory("node_memory_Unevictable_bytes", "memory_unevictable_bytes"),
    memory("node_memory_Mlocked_bytes", "memory_locked_bytes"),
    memory("node_memory_Dirty_bytes", "memory_dirty_bytes"),
    memory("node_memory_Writeback_bytes", "memory_writeback_bytes"),
    memory("node_memory_AnonPages_bytes", "memory_anon_bytes"),
    memory("node_memory_AnonHugePages_bytes", "memory_anon_huge_bytes"),
    memory("node_memory_Mapped_bytes", "memory_mapped_bytes"),
    memory("node_memory_Shmem_bytes", "memory_shared_bytes"),
    memory("node_memory_Slab_bytes", "memory_slab_bytes"),
    memory("node_memory_SReclaimable_bytes", "memory_slab_reclaimable_bytes"),
    memory("node_memory_SUnreclaim_bytes", "memory_slab_unreclaimable_bytes"),
    moving("node_memory_KernelStack_bytes", "memory_kernel_stack_bytes", 4e6),
    moving("node_memory_PageTables_bytes", "memory_page_tables_bytes", 4e6),
    moving("node_memory_Percpu_bytes", "memory_percpu_bytes", 4e6),
    moving("node_memory_VmallocUsed_bytes", "memory_vmalloc_used_bytes", 4e6),
    counter("node_memory_CommitLimit_bytes", "memory_commit_limit_bytes"),
    memory("node_memory_Committed_AS_bytes", "memory_committed_bytes"),
    counter("node_memory_HugePages_Total", "hugepages_count"),
    counter("node_memory_HugePages_Free", "hugepages_free_count"),
    counter("node_memory_Hugepagesize_bytes", "hugepage_size_bytes"),
    counter("node_memory_SwapTotal_bytes", "swap_total_bytes"),
    Pair("node_vmstat_pgpgin", "paged_in_bytes_total", &[], 1024.0, Allowed::Nothing, ""),
    Pair("node_vmstat_pgpgout", "paged_out_bytes_total", &[], 1024.0, Allowed::Nothing, ""),
    Pair("node_vmstat_pswpin", "swap_in_bytes_total", &[], 4096.0, Allowed::Nothing, ""),
    Pair("node_vmstat_pswpout", "swap_out_bytes_total", &[], 4096.0, Allowed::Nothing, ""),
    counter("node_vmstat_pgfault", "page_faults_total"),
    counter("node_vmstat_pgmajfault", "page_faults_major_total"),
    counter("node_vmstat_oom_kill", "kernel_oom_kill_count_total"),
    of_device("node_disk_reads_completed_total", "disk_reads_completed_total"),
    of_device("node_disk_reads_merged_total", "disk_reads_merged_total"),
    of_device("node_disk_read_bytes_total", "disk_read_bytes_total"),
    of_device("node_disk_read_time_seconds_total", "disk_read_time_seconds_total"),
    of_device("node_disk_writes_completed_total", "disk_writes_completed_total"),
    of_device("node_disk_writes_merged_total", "disk_writes_merged_total"),
    of_device("node_disk_written_bytes_total", "disk_written_bytes_total"),
    of_device("node_disk_write_time_seconds_total", "disk_write_time_seconds_total"),
    Pair(
        "node_disk_io_now",
        "disk_requests_in_flight_count",
        DEVICE,
        1.0,
        Allowed::By(64.0),
        "the moment differs",
    ),
    of_device("node_disk_io_time_seconds_total", "disk_io_time_seconds_total"),
    of_device("node_disk_io_time_weighted_seconds_total", "disk_io_time_weighted_seconds_total"),
    of_device("node_disk_discards_completed_total", "disk_discards_completed_total"),
    of_device("node_disk_discards_merged_total", "disk_discards_merged_total"),
    Pair(
        "node_disk_discarded_sectors_total",
        "disk_discarded_bytes_total",
        DEVICE,
        512.0,
        Allowed::Nothing,
        "",
    ),
    of_device("node_disk_discard_time_seconds_total", "disk_discard_time_seconds_total"),
    of_device("node_disk_flush_requests_total", "disk_flushes_completed_total"),
    of_device("node_disk_flush_requests_time_seconds_total", "disk_flush_time_seconds_total"),
    Pair("node_filesystem_size_bytes", "disk_total_bytes", MOUNT, 1.0, Allowed::Nothing, ""),
    Pair(
        "node_filesystem_free_bytes",
        "disk_free_bytes",
        MOUNT,
        1.0,
        Allowed::By(64e6),
        "the moment differs",
    ),
    Pair(
        "node_filesystem_avail_bytes",
        "disk_available_bytes",
        MOUNT,
        1.0,
        Allowed::By(64e6),
        "the moment differs",
    ),
    Pair("node_filesystem_files", "disk_inodes_count", MOUNT, 1.0, Allowed::Nothing, ""),
    Pair(
        "node_filesystem_files_free",
        "disk_inodes_free_count",
        MOUNT,
        1.0,
        Allowed::By(1000.0),
        "the moment differs",
    ),
    Pair("node_filesystem_readonly", "disk_read_only", MOUNT, 1.0, Allowed::Nothing, ""),
    of_device("node_network_receive_bytes_total", "network_receive_bytes_total"),
    of_device("node_network_receive_packets_total", "network_receive_packets_total"),
    of_device("node_network_receive_errs_total", "network_receive_errors_total"),
    of_device("node_network_receive_drop_total", "network_receive_drops_total"),
    of_device("node_network_receive_fifo_total", "network_receive_fifo_errors_total"),
    of_device("node_network_receive_frame_total", "network_receive_frame_errors_total"),
    of_device("node_network_receive_compressed_total", "network_receive_compressed_total"),
    of_device("node_network_receive_multicast_total", "network_receive_multicast_total"),
    of_device("node_network_transmit_bytes_total", "network_transmit_bytes_total"),
    of_device("node_network_transmit_packets_total", "network_transmit_packets_total"),
    of_device("node_network_transmit_errs_total", "network_transmit_errors_total"),
    of_device("node_network_transmit_drop_total", "network_transmit_drops_total"),
    of_device("node_network_transmit_fifo_total", "network_transmit_fifo_errors_total"),
    of_device("node_network_transmit_colls_total", "network_transmit_collisions_total"),
    of_device("node_network_transmit_carrier_total", "network_transmit_carrier_errors_total"),
    of_device("node_network_transmit_compressed_total", "network_transmit_compressed_total"),
    counter("node_netstat_Tcp_ActiveOpens", "tcp_active_opens_total"),
    counter("node_netstat_Tcp_PassiveOpens", "tcp_passive_opens_total"),
    Pair("node_netstat_Tcp_CurrEstab", "tcp_connections_count", &[], 1.0, Allowed::By(2.0), ASKED),
    counter("node_netstat_Tcp_InSegs", "tcp_segments_received_total"),
    counter("node_netstat_Tcp_OutSegs", "tcp_segments_sent_total"),
    counter("node_netstat_Tcp_RetransSegs", "tcp_retransmits_total"),
    counter("node_netstat_Tcp_InErrs", "tcp_receive_errors_total"),
    counter("node_netstat_Tcp_OutRsts", "tcp_resets_sent_total"),
    counter("node_netstat_TcpExt_ListenOverflows", "tcp_listen_overflows_total"),
    counter("node_netstat_TcpExt_ListenDrops", "tcp_listen_drops_total"),
    counter("node_netstat_TcpExt_SyncookiesSent", "tcp_syncookies_sent_total"),
    counter("node_netstat_TcpExt_SyncookiesFailed", "tcp_syncookies_failed_total"),
    counter("node_netstat_TcpExt_TCPSynRetrans", "tcp_syn_retransmits_total"),
    counter("node_netstat_TcpExt_TCPTimeouts", "tcp_timeouts_total"),
    Pair("node_sockstat_sockets_used", "sockets_used_count", &[], 1.0, Allowed::By(20.0), ASKED),
    Pair("node_sockstat_TCP_alloc", "tcp_allocated_count", &[], 1.0, Allowed::By(4.0), ASKED),
    moving("node_sockstat_TCP_orphan", "tcp_orphans_count", 2.0),
    moving("node_sockstat_TCP_tw", "tcp_sockets_count{time_wait}", 2.0),
    moving("node_sockstat_TCP_mem_bytes", "tcp_memory_bytes", 1e6),
    moving("node_sockstat_UDP_inuse", "udp_sockets_count{ipv4}", 2.0),
    moving("node_sockstat_UDP_mem_bytes", "udp_memory_bytes", 1e6),
    moving("node_sockstat_RAW_inuse", "raw_sockets_count{ipv4}", 1.0),
    Pair("node_softnet_processed_total", "softnet_processed_total", SUM, 1.0, Allowed::Nothing, ""),
    Pair("node_softnet_dropped_total", "softnet_dropped_total", SUM, 1.0, Allowed::Nothing, ""),
    Pair("node_softnet_times_squeezed_total", "softnet_squeezed_total", SUM, 1.0, Allowed::Nothing, ""),
    Pair(
        "node_filefd_allocated",
        "fd_used_count",
        &[],
        1.0,
        Allowed::By(200.0),
        "the files that our collectors keep open are closed when node_exporter reads",
    ),
    counter("node_filefd_maximum", "fd_max_count"),
    counter("node_entropy_available_bits", "entropy_available_bits_count"),
    counter("node_timex_sync_status", "clock_synchronized"),
    moving("node_timex_maxerror_seconds", "clock_max_error_seconds", 0.01),
    moving("node_timex_estimated_error_seconds", "clock_estimated_error_seconds", 0.01),
    counter("node_pressure_cpu_waiting_seconds_total", "pressure_some_seconds_total{cpu}"),
    counter("node_pressure_io_waiting_seconds_total", "pressure_some_seconds_total{io}"),
    counter("node_pressure_io_stalled_seconds_total", "pressure_full_seconds_total{io}"),
    counter("node_pressure_memory_waiting_seconds_total", "pressure_some_seconds_total{memory}"),
    counter("node_pressure_memory_stalled_seconds_total", "pressure_full_seconds_total{memory}"),
];
