//! The names, file by file as `node_exporter` reads them.

use super::{Factor, Name, Take};

const INTERFACE: &[Take] = &[Take::As("interface", "device")];
const MOUNT: &[Take] = &[Take::As("mount", "mountpoint")];
const IPV4: &[Take] = &[Take::Is("family", "ipv4")];
const IPV6: &[Take] = &[Take::Is("family", "ipv6")];

const fn same(theirs: &'static str, ours: &'static str) -> Name {
    Name { theirs, ours, take: &[], put: None, factor: Factor::Times(1.0), plus: 0.0 }
}

const fn labelled(theirs: &'static str, ours: &'static str, take: &'static [Take]) -> Name {
    Name { take, ..same(theirs, ours) }
}

const fn scaled(theirs: &'static str, ours: &'static str, factor: Factor) -> Name {
    Name { factor, ..same(theirs, ours) }
}

/// Our word for a state of processes is a letter there.
macro_rules! state {
    ($word:literal, $letter:literal) => {
        Name {
            put: Some(("state", $letter)),
            ..labelled("node_processes_state", "processes_state_count", &[Take::Is("state", $word)])
        }
    };
}

/// All names; those of one family follow each other.
pub(super) const NAMES: &[Name] = &[
    // stat, loadavg
    same("node_cpu_seconds_total", "cpu_seconds_total"),
    same("node_boot_time_seconds", "boot_time_seconds"),
    same("node_context_switches_total", "context_switches_total"),
    same("node_forks_total", "forks_total"),
    same("node_intr_total", "interrupts_total"),
    same("node_procs_running", "processes_running_count"),
    same("node_procs_blocked", "processes_blocked_count"),
    same("node_load1", "load_1min"),
    same("node_load5", "load_5min"),
    same("node_load15", "load_15min"),
    // meminfo
    same("node_memory_MemTotal_bytes", "memory_total_bytes"),
    same("node_memory_MemFree_bytes", "memory_free_bytes"),
    same("node_memory_MemAvailable_bytes", "memory_available_bytes"),
    same("node_memory_Buffers_bytes", "memory_buffers_bytes"),
    same("node_memory_Cached_bytes", "memory_cached_bytes"),
    same("node_memory_SwapCached_bytes", "swap_cached_bytes"),
    same("node_memory_Active_bytes", "memory_active_bytes"),
    same("node_memory_Inactive_bytes", "memory_inactive_bytes"),
    same("node_memory_Active_anon_bytes", "memory_active_anon_bytes"),
    same("node_memory_Inactive_anon_bytes", "memory_inactive_anon_bytes"),
    same("node_memory_Active_file_bytes", "memory_active_file_bytes"),
    same("node_memory_Inactive_file_bytes", "memory_inactive_file_bytes"),
    same("node_memory_Unevictable_bytes", "memory_unevictable_bytes"),
    same("node_memory_Mlocked_bytes", "memory_locked_bytes"),
    same("node_memory_SwapTotal_bytes", "swap_total_bytes"),
    same("node_memory_SwapFree_bytes", "swap_free_bytes"),
    same("node_memory_Zswap_bytes", "memory_zswap_bytes"),
    same("node_memory_Zswapped_bytes", "memory_zswapped_bytes"),
    same("node_memory_Dirty_bytes", "memory_dirty_bytes"),
    same("node_memory_Writeback_bytes", "memory_writeback_bytes"),
    same("node_memory_AnonPages_bytes", "memory_anon_bytes"),
    same("node_memory_Mapped_bytes", "memory_mapped_bytes"),
    same("node_memory_Shmem_bytes", "memory_shared_bytes"),
    same("node_memory_Slab_bytes", "memory_slab_bytes"),
    same("node_memory_SReclaimable_bytes", "memory_slab_reclaimable_bytes"),
    same("node_memory_SUnreclaim_bytes", "memory_slab_unreclaimable_bytes"),
    same("node_memory_KernelStack_bytes", "memory_kernel_stack_bytes"),
    same("node_memory_PageTables_bytes", "memory_page_tables_bytes"),
    same("node_memory_CommitLimit_bytes", "memory_commit_limit_bytes"),
    same("node_memory_Committed_AS_bytes", "memory_committed_bytes"),
    same("node_memory_VmallocUsed_bytes", "memory_vmalloc_used_bytes"),
    same("node_memory_Percpu_bytes", "memory_percpu_bytes"),
    same("node_memory_HardwareCorrupted_bytes", "memory_hardware_corrupted_bytes"),
    same("node_memory_AnonHugePages_bytes", "memory_anon_huge_bytes"),
    same("node_memory_Hugepagesize_bytes", "hugepage_size_bytes"),
    same("node_memory_HugePages_Total", "hugepages_count"),
    same("node_memory_HugePages_Free", "hugepages_free_count"),
    same("node_memory_HugePages_Rsvd", "hugepages_reserved_count"),
    same("node_memory_HugePages_Surp", "hugepages_surplus_count"),
    // vmstat
    scaled("node_vmstat_pgpgin", "paged_in_bytes_total", Factor::Times(1.0 / 1024.0)),
    scaled("node_vmstat_pgpgout", "paged_out_bytes_total", Factor::Times(1.0 / 1024.0)),
    scaled("node_vmstat_pswpin", "swap_in_bytes_total", Factor::Pages),
    scaled("node_vmstat_pswpout", "swap_out_bytes_total", Factor::Pages),
    same("node_vmstat_pgfault", "page_faults_total"),
    same("node_vmstat_pgmajfault", "page_faults_major_total"),
    same("node_vmstat_oom_kill", "kernel_oom_kill_count_total"),
    // diskstats
    same("node_disk_reads_completed_total", "disk_reads_completed_total"),
    same("node_disk_reads_merged_total", "disk_reads_merged_total"),
    same("node_disk_read_bytes_total", "disk_read_bytes_total"),
    same("node_disk_read_time_seconds_total", "disk_read_time_seconds_total"),
    same("node_disk_writes_completed_total", "disk_writes_completed_total"),
    same("node_disk_writes_merged_total", "disk_writes_merged_total"),
    same("node_disk_written_bytes_total", "disk_written_bytes_total"),
    same("node_disk_write_time_seconds_total", "disk_write_time_seconds_total"),
    same("node_disk_io_now", "disk_requests_in_flight_count"),
    same("node_disk_io_time_seconds_total", "disk_io_time_seconds_total"),
    same("node_disk_io_time_weighted_seconds_total", "disk_io_time_weighted_seconds_total"),
    same("node_disk_discards_completed_total", "disk_discards_completed_total"),
    same("node_disk_discards_merged_total", "disk_discards_merged_total"),
    same("node_disk_discard_time_seconds_total", "disk_discard_time_seconds_total"),
    same("node_disk_flush_requests_total", "disk_flushes_completed_total"),
    same("node_disk_flush_requests_time_seconds_total", "disk_flush_time_seconds_total"),
    scaled("node_disk_discarded_sectors_total", "disk_discarded_bytes_total", Factor::Times(1.0 / 512.0)),
    // filesystem
    labelled("node_filesystem_size_bytes", "disk_total_bytes", MOUNT),
    labelled("node_filesystem_free_bytes", "disk_free_bytes", MOUNT),
    labelled("node_filesystem_avail_bytes", "disk_available_bytes", MOUNT),
    labelled("node_filesystem_files", "disk_inodes_count", MOUNT),
    labelled("node_filesystem_files_free", "disk_inodes_free_count", MOUNT),
    labelled("node_filesystem_readonly", "disk_read_only", MOUNT),
    // netdev, netclass
    labelled("node_network_receive_bytes_total", "network_receive_bytes_total", INTERFACE),
    labelled("node_network_receive_packets_total", "network_receive_packets_total", INTERFACE),
    labelled("node_network_receive_errs_total", "network_receive_errors_total", INTERFACE),
    labelled("node_network_receive_drop_total", "network_receive_drops_total", INTERFACE),
    labelled("node_network_receive_fifo_total", "network_receive_fifo_errors_total", INTERFACE),
    labelled("node_network_receive_frame_total", "network_receive_frame_errors_total", INTERFACE),
    labelled("node_network_receive_compressed_total", "network_receive_compressed_total", INTERFACE),
    labelled("node_network_receive_multicast_total", "network_receive_multicast_total", INTERFACE),
    labelled("node_network_transmit_bytes_total", "network_transmit_bytes_total", INTERFACE),
    labelled("node_network_transmit_packets_total", "network_transmit_packets_total", INTERFACE),
    labelled("node_network_transmit_errs_total", "network_transmit_errors_total", INTERFACE),
    labelled("node_network_transmit_drop_total", "network_transmit_drops_total", INTERFACE),
    labelled("node_network_transmit_fifo_total", "network_transmit_fifo_errors_total", INTERFACE),
    labelled("node_network_transmit_colls_total", "network_transmit_collisions_total", INTERFACE),
    labelled("node_network_transmit_carrier_total", "network_transmit_carrier_errors_total", INTERFACE),
    labelled("node_network_transmit_compressed_total", "network_transmit_compressed_total", INTERFACE),
    labelled("node_network_up", "network_up", INTERFACE),
    labelled("node_network_speed_bytes", "network_speed_bytes", INTERFACE),
    labelled("node_network_mtu_bytes", "network_mtu_bytes", INTERFACE),
    labelled("node_network_carrier_changes_total", "network_carrier_changes_total", INTERFACE),
    // netstat
    same("node_netstat_Tcp_ActiveOpens", "tcp_active_opens_total"),
    same("node_netstat_Tcp_PassiveOpens", "tcp_passive_opens_total"),
    same("node_netstat_Tcp_CurrEstab", "tcp_connections_count"),
    same("node_netstat_Tcp_InSegs", "tcp_segments_received_total"),
    same("node_netstat_Tcp_OutSegs", "tcp_segments_sent_total"),
    same("node_netstat_Tcp_RetransSegs", "tcp_retransmits_total"),
    same("node_netstat_Tcp_InErrs", "tcp_receive_errors_total"),
    same("node_netstat_Tcp_OutRsts", "tcp_resets_sent_total"),
    same("node_netstat_TcpExt_ListenOverflows", "tcp_listen_overflows_total"),
    same("node_netstat_TcpExt_ListenDrops", "tcp_listen_drops_total"),
    same("node_netstat_TcpExt_SyncookiesSent", "tcp_syncookies_sent_total"),
    same("node_netstat_TcpExt_SyncookiesFailed", "tcp_syncookies_failed_total"),
    same("node_netstat_TcpExt_TCPSynRetrans", "tcp_syn_retransmits_total"),
    same("node_netstat_TcpExt_TCPTimeouts", "tcp_timeouts_total"),
    same("node_netstat_TcpExt_TCPRcvQDrop", "tcp_receive_queue_drops_total"),
    labelled("node_netstat_Udp_InDatagrams", "udp_datagrams_received_total", IPV4),
    labelled("node_netstat_Udp_OutDatagrams", "udp_datagrams_sent_total", IPV4),
    labelled("node_netstat_Udp_NoPorts", "udp_no_port_total", IPV4),
    labelled("node_netstat_Udp_InErrors", "udp_receive_errors_total", IPV4),
    labelled("node_netstat_Udp_RcvbufErrors", "udp_receive_buffer_errors_total", IPV4),
    labelled("node_netstat_Udp_SndbufErrors", "udp_send_buffer_errors_total", IPV4),
    labelled("node_netstat_Udp6_InDatagrams", "udp_datagrams_received_total", IPV6),
    labelled("node_netstat_Udp6_OutDatagrams", "udp_datagrams_sent_total", IPV6),
    labelled("node_netstat_Udp6_NoPorts", "udp_no_port_total", IPV6),
    labelled("node_netstat_Udp6_InErrors", "udp_receive_errors_total", IPV6),
    labelled("node_netstat_Udp6_RcvbufErrors", "udp_receive_buffer_errors_total", IPV6),
    labelled("node_netstat_Udp6_SndbufErrors", "udp_send_buffer_errors_total", IPV6),
    labelled("node_netstat_Icmp_InErrors", "icmp_receive_errors_total", IPV4),
    labelled("node_netstat_Icmp6_InErrors", "icmp_receive_errors_total", IPV6),
    // sockstat
    same("node_sockstat_sockets_used", "sockets_used_count"),
    same("node_sockstat_TCP_alloc", "tcp_allocated_count"),
    same("node_sockstat_TCP_orphan", "tcp_orphans_count"),
    same("node_sockstat_TCP_mem_bytes", "tcp_memory_bytes"),
    same("node_sockstat_UDP_mem_bytes", "udp_memory_bytes"),
    scaled("node_sockstat_TCP_mem", "tcp_memory_bytes", Factor::Pages),
    scaled("node_sockstat_UDP_mem", "udp_memory_bytes", Factor::Pages),
    labelled("node_sockstat_UDP_inuse", "udp_sockets_count", IPV4),
    labelled("node_sockstat_UDP6_inuse", "udp_sockets_count", IPV6),
    labelled("node_sockstat_RAW_inuse", "raw_sockets_count", IPV4),
    labelled("node_sockstat_RAW6_inuse", "raw_sockets_count", IPV6),
    labelled("node_sockstat_FRAG_memory", "ip_fragments_bytes", IPV4),
    labelled("node_sockstat_FRAG6_memory", "ip_fragments_bytes", IPV6),
    labelled("node_sockstat_TCP_tw", "tcp_sockets_count", &[Take::Is("state", "time_wait")]),
    same("node_tcp_connection_states", "tcp_sockets_count"),
    // softnet: of all CPUs together, without their label
    same("node_softnet_processed_total", "softnet_processed_total"),
    same("node_softnet_dropped_total", "softnet_dropped_total"),
    same("node_softnet_times_squeezed_total", "softnet_squeezed_total"),
    same("node_softnet_flow_limit_count_total", "softnet_flow_limited_total"),
    // conntrack, filefd, entropy, pressure
    same("node_nf_conntrack_entries", "conntrack_used_count"),
    same("node_nf_conntrack_entries_limit", "conntrack_max_count"),
    same("node_filefd_allocated", "fd_used_count"),
    same("node_filefd_maximum", "fd_max_count"),
    same("node_entropy_available_bits", "entropy_available_bits_count"),
    labelled(
        "node_pressure_cpu_waiting_seconds_total",
        "pressure_some_seconds_total",
        &[Take::Is("resource", "cpu")],
    ),
    labelled(
        "node_pressure_io_waiting_seconds_total",
        "pressure_some_seconds_total",
        &[Take::Is("resource", "io")],
    ),
    labelled(
        "node_pressure_io_stalled_seconds_total",
        "pressure_full_seconds_total",
        &[Take::Is("resource", "io")],
    ),
    labelled(
        "node_pressure_memory_waiting_seconds_total",
        "pressure_some_seconds_total",
        &[Take::Is("resource", "memory")],
    ),
    labelled(
        "node_pressure_memory_stalled_seconds_total",
        "pressure_full_seconds_total",
        &[Take::Is("resource", "memory")],
    ),
    labelled(
        "node_pressure_irq_stalled_seconds_total",
        "pressure_full_seconds_total",
        &[Take::Is("resource", "irq")],
    ),
    // timex
    same("node_timex_sync_status", "clock_synchronized"),
    same("node_timex_offset_seconds", "clock_offset_seconds"),
    same("node_timex_maxerror_seconds", "clock_max_error_seconds"),
    same("node_timex_estimated_error_seconds", "clock_estimated_error_seconds"),
    Name { plus: 1.0, ..same("node_timex_frequency_adjustment_ratio", "clock_frequency_correction_ratio") },
    // processes
    same("node_processes_pids", "processes_count"),
    same("node_processes_threads", "processes_threads_count"),
    state!("running", "R"),
    state!("sleeping", "S"),
    state!("uninterruptible", "D"),
    state!("zombie", "Z"),
    state!("stopped", "T"),
    state!("idle", "I"),
    // the exporter itself, with the names of our collectors
    same("node_scrape_collector_duration_seconds", "collector_duration_seconds"),
    same("node_scrape_collector_success", "collector_up"),
];
