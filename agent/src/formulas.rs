//! The rates and ratios the engine computes from what collectors read raw.
//!
//! Data for the engine, which knows no collector: this table is handed to it at the start.

use crate::collect::{
    cpu, diskstats, edac, filesystem, memory, netstat, network, numa, pressure, process, softnet, units,
    vmstat, zfs,
};
use crate::engine::analysis::rooms::Room;
use crate::engine::derive::{Formula, Per};
use crate::metric::{Metric, metrics};

metrics! {
    CPU_USAGE: Gauge Percent "cpu_usage_percent" [] "CPU time in use, of all CPUs.", "computed: cpu_busy_seconds_total over cpu_all_seconds_total";
    CPU_MODE: Gauge Percent "cpu_mode_percent" ["mode"] "Share of CPU time in a mode, of all CPUs.", "computed: cpu_mode_seconds_total over cpu_all_seconds_total";
    CPU_CORE: Gauge Percent "cpu_core_usage_percent" ["cpu"] "CPU time in use, of one CPU.", "computed: cpu_core_busy_seconds_total over cpu_core_all_seconds_total";
    CPU_SOCKET: Gauge Percent "cpu_socket_usage_percent" ["socket"] "CPU time in use, of one socket.", "computed: cpu_socket_busy_seconds_total over cpu_socket_all_seconds_total";
    CPU_NODE: Gauge Percent "cpu_numa_usage_percent" ["node"] "CPU time in use, of one NUMA node.", "computed: cpu_numa_busy_seconds_total over cpu_numa_all_seconds_total";
    NUMA_MISSES: Gauge PerSecond "numa_misses_per_second" ["node"] "Pages allocated on a node though another was wanted, a second.", "computed: numa_miss_total";
    CONTEXT_SWITCHES: Gauge PerSecond "context_switches_per_second" [] "Switches between tasks a second.", "computed: context_switches_total";
    INTERRUPTS: Gauge PerSecond "interrupts_per_second" [] "Interrupts a second.", "computed: interrupts_total";
    FORKS: Gauge PerSecond "forks_per_second" [] "Processes and threads created a second.", "computed: forks_total";
    DISK_READ: Gauge BytesPerSecond "disk_read_bytes_per_second" ["device"] "Bytes read a second.", "computed: disk_read_bytes_total";
    DISK_WRITTEN: Gauge BytesPerSecond "disk_written_bytes_per_second" ["device"] "Bytes written a second.", "computed: disk_written_bytes_total";
    DISK_READS: Gauge PerSecond "disk_reads_per_second" ["device"] "Read requests completed a second.", "computed: disk_reads_completed_total";
    DISK_WRITES: Gauge PerSecond "disk_writes_per_second" ["device"] "Write requests completed a second.", "computed: disk_writes_completed_total";
    DISK_AWAIT: Gauge Milliseconds "disk_await_ms" as "disk_await_seconds" ["device"] "Mean time of a read or write, queue included.", "computed: time over requests completed";
    DISK_READ_AWAIT: Gauge Milliseconds "disk_read_await_ms" as "disk_read_await_seconds" ["device"] "Mean time of a read, queue included.", "computed: disk_read_time_seconds_total over disk_reads_completed_total";
    DISK_WRITE_AWAIT: Gauge Milliseconds "disk_write_await_ms" as "disk_write_await_seconds" ["device"] "Mean time of a write, queue included.", "computed: disk_write_time_seconds_total over disk_writes_completed_total";
    DISK_BUSY: Gauge Percent "disk_busy_percent" ["device"] "Time with at least one request under way.", "computed: disk_io_time_seconds_total";
    NET_RX: Gauge BytesPerSecond "network_receive_bytes_per_second" ["interface"] "Bytes received a second.", "computed: network_receive_bytes_total";
    NET_TX: Gauge BytesPerSecond "network_transmit_bytes_per_second" ["interface"] "Bytes sent a second.", "computed: network_transmit_bytes_total";
    NET_RX_PACKETS: Gauge PerSecond "network_receive_packets_per_second" ["interface"] "Packets received a second.", "computed: network_receive_packets_total";
    NET_TX_PACKETS: Gauge PerSecond "network_transmit_packets_per_second" ["interface"] "Packets sent a second.", "computed: network_transmit_packets_total";
    NET_DROPS: Gauge PerSecond "network_drops_per_second" ["interface"] "Packets dropped a second, both ways.", "computed: network_receive_drops_total, network_transmit_drops_total";
    NET_ERRORS: Gauge Ratio "network_error_ratio" ["interface"] "Errors per packet, both ways; fewer than 100 packets count as 100.", "computed: errors over packets";
    TCP_RETRANSMITS: Gauge PerSecond "tcp_retransmits_per_second" [] "Segments sent again, a second.", "computed: tcp_retransmits_total";
    TCP_RETRANSMIT_SHARE: Gauge Percent "tcp_retransmit_percent" [] "Segments sent again, of those sent; fewer than 100 count as 100.", "computed: tcp_retransmits_total over tcp_segments_sent_total";
    TCP_LISTEN_DROPS: Gauge PerSecond "tcp_listen_drops_per_second" [] "Connections turned away, a second.", "computed: tcp_listen_drops_total";
    TCP_RESETS: Gauge PerSecond "tcp_established_resets_per_second" [] "Connections that were reset, a second.", "computed: tcp_established_resets_total";
    UDP_ERRORS: Gauge PerSecond "udp_receive_errors_per_second" ["family"] "Datagrams that could not be delivered, a second.", "computed: udp_receive_errors_total";
    SOFTNET_DROPS: Gauge PerSecond "softnet_drops_per_second" [] "Packets dropped because a CPU's queue was full, a second.", "computed: softnet_dropped_total";
    SOFTNET_SQUEEZES: Gauge PerSecond "softnet_squeezes_per_second" [] "Times CPUs stopped with packets left, a second.", "computed: softnet_squeezed_total";
    ECC_RATE: Gauge Count "ecc_correctable_errors_per_hour" ["mc"] "Memory errors corrected, as of an hour.", "computed: ecc_correctable_errors";
    ECC_DIMM_RATE: Gauge Count "ecc_dimm_correctable_errors_per_hour" ["mc", "dimm", "slot"] "Memory errors of a module corrected, as of an hour.", "computed: ecc_dimm_correctable_errors";
    ECC_BAD_RATE: Gauge Count "ecc_uncorrectable_errors_per_hour" ["mc"] "Memory errors that could not be corrected, as of an hour.", "computed: ecc_uncorrectable_errors";
    ECC_DIMM_BAD_RATE: Gauge Count "ecc_dimm_uncorrectable_errors_per_hour" ["mc", "dimm", "slot"] "Memory errors of a module that could not be corrected, as of an hour.", "computed: ecc_dimm_uncorrectable_errors";
    ARC_HITS: Gauge Percent "zfs_arc_hit_percent" [] "Reads the ARC answered, of all.", "computed: zfs_arc_hits_total, zfs_arc_misses_total";
    CGROUP_CPU: Gauge Percent "cgroup_cpu_percent" ["cgroup", "kind", "name"] "CPU use of a unit, container or pod, percent of one CPU.", "computed: cgroup_cpu_seconds_total";
    CGROUP_THROTTLED: Gauge Percent "cgroup_cpu_throttled_percent" ["cgroup", "kind", "name"] "Time it was kept from CPUs by its own limit; of several CPUs together.", "computed: cgroup_cpu_throttled_seconds_total";
    CGROUP_SOME: Gauge Percent "cgroup_pressure_some_percent" ["cgroup", "kind", "name", "resource"] "Time in which some of its tasks waited for a resource.", "computed: cgroup_pressure_some_seconds_total";
    CGROUP_FULL: Gauge Percent "cgroup_pressure_full_percent" ["cgroup", "kind", "name", "resource"] "Time in which all of its tasks waited for a resource.", "computed: cgroup_pressure_full_seconds_total";
    PRESSURE_SOME: Gauge Percent "pressure_some_percent" ["resource"] "Time in which some tasks waited for a resource.", "computed: pressure_some_seconds_total";
    PRESSURE_FULL: Gauge Percent "pressure_full_percent" ["resource"] "Time in which all tasks waited for a resource.", "computed: pressure_full_seconds_total";
    DISK_FULL: Gauge Hours "disk_full_hours" as "disk_full_seconds" ["mount", "device", "fstype"] "Hours until users other than root have no room left, if it goes on as in the last hours; 8760 where it does not fill up.", "computed: disk_available_bytes, disk_total_bytes";
    MEMORY_EXHAUSTED: Gauge Hours "memory_exhausted_hours" as "memory_exhausted_seconds" [] "Hours until no memory is available, if it goes on as in the last hours; 8760 where it does not.", "computed: memory_available_bytes, memory_total_bytes";
    PROCESS_CPU: Gauge Percent "process_cpu_percent" ["pid", "comm"] "CPU use of a process, percent of one CPU.", "computed: process_cpu_seconds_total";
    SWAP_IN: Gauge BytesPerSecond "swap_in_bytes_per_second" [] "Read from swap a second.", "computed: swap_in_bytes_total";
    SWAP_OUT: Gauge BytesPerSecond "swap_out_bytes_per_second" [] "Written to swap a second.", "computed: swap_out_bytes_total";
    FAULTS: Gauge PerSecond "page_faults_per_second" [] "Page faults a second.", "computed: page_faults_total";
    MAJOR_FAULTS: Gauge PerSecond "page_faults_major_per_second" [] "Page faults that read from disk, a second.", "computed: page_faults_major_total";
}

/// Errors of so few packets make no ratio.
const LEAST_PACKETS: f64 = 100.0;

type List = &'static [&'static Metric];

const fn rate(out: &'static Metric, above: List) -> Formula {
    Formula { out, above, per: Per::Second, scale: 1.0, max: f64::MAX }
}

const fn per_hour(out: &'static Metric, above: List) -> Formula {
    Formula { out, above, per: Per::Second, scale: 3600.0, max: f64::MAX }
}

/// Seconds of something a second, as percent.
const fn share_of_time(out: &'static Metric, above: List, max: f64) -> Formula {
    Formula { out, above, per: Per::Second, scale: 100.0, max }
}

const fn percent(out: &'static Metric, above: List, of: List) -> Formula {
    Formula { out, above, per: Per::Growth { of, min: 0.0 }, scale: 100.0, max: 100.0 }
}

const fn mean_ms(out: &'static Metric, above: List, of: List) -> Formula {
    Formula { out, above, per: Per::Growth { of, min: 0.0 }, scale: 1000.0, max: f64::MAX }
}

/// What may be used up.
pub static ROOMS: &[Room] = &[
    Room { free: &filesystem::AVAILABLE, size: &filesystem::TOTAL, out: &DISK_FULL },
    Room { free: &memory::AVAILABLE, size: &memory::TOTAL, out: &MEMORY_EXHAUSTED },
];

/// All formulas.
pub static FORMULAS: &[Formula] = &[
    percent(&CPU_USAGE, &[&cpu::BUSY], &[&cpu::ALL]),
    percent(&CPU_MODE, &[&cpu::MODE], &[&cpu::ALL]),
    percent(&CPU_CORE, &[&cpu::CORE_BUSY], &[&cpu::CORE_ALL]),
    percent(&CPU_SOCKET, &[&cpu::SOCKET_BUSY], &[&cpu::SOCKET_ALL]),
    percent(&CPU_NODE, &[&cpu::NODE_BUSY], &[&cpu::NODE_ALL]),
    rate(&NUMA_MISSES, &[&numa::MISS]),
    rate(&CONTEXT_SWITCHES, &[&cpu::CONTEXT_SWITCHES]),
    rate(&INTERRUPTS, &[&cpu::INTERRUPTS]),
    rate(&FORKS, &[&cpu::FORKS]),
    rate(&DISK_READ, &[&diskstats::READ_BYTES]),
    rate(&DISK_WRITTEN, &[&diskstats::WRITTEN_BYTES]),
    rate(&DISK_READS, &[&diskstats::READS]),
    rate(&DISK_WRITES, &[&diskstats::WRITES]),
    mean_ms(
        &DISK_AWAIT,
        &[&diskstats::READ_TIME, &diskstats::WRITE_TIME],
        &[&diskstats::READS, &diskstats::WRITES],
    ),
    mean_ms(&DISK_READ_AWAIT, &[&diskstats::READ_TIME], &[&diskstats::READS]),
    mean_ms(&DISK_WRITE_AWAIT, &[&diskstats::WRITE_TIME], &[&diskstats::WRITES]),
    share_of_time(&DISK_BUSY, &[&diskstats::IO_TIME], 100.0),
    rate(&NET_RX, &[&network::RX_BYTES]),
    rate(&NET_TX, &[&network::TX_BYTES]),
    rate(&NET_RX_PACKETS, &[&network::RX_PACKETS]),
    rate(&NET_TX_PACKETS, &[&network::TX_PACKETS]),
    rate(&NET_DROPS, &[&network::RX_DROPS, &network::TX_DROPS]),
    Formula {
        out: &NET_ERRORS,
        above: &[&network::RX_ERRORS, &network::TX_ERRORS],
        per: Per::Growth { of: &[&network::RX_PACKETS, &network::TX_PACKETS], min: LEAST_PACKETS },
        scale: 1.0,
        max: 1.0,
    },
    rate(&TCP_RETRANSMITS, &[&netstat::RETRANSMITS]),
    Formula {
        out: &TCP_RETRANSMIT_SHARE,
        above: &[&netstat::RETRANSMITS],
        per: Per::Growth { of: &[&netstat::SEGMENTS_OUT], min: LEAST_PACKETS },
        scale: 100.0,
        max: 100.0,
    },
    rate(&TCP_LISTEN_DROPS, &[&netstat::LISTEN_DROPS]),
    rate(&TCP_RESETS, &[&netstat::RESETS]),
    rate(&UDP_ERRORS, &[&netstat::UDP_ERRORS]),
    rate(&SOFTNET_DROPS, &[&softnet::DROPPED]),
    rate(&SOFTNET_SQUEEZES, &[&softnet::SQUEEZED]),
    per_hour(&ECC_RATE, &[&edac::CORRECTABLE]),
    per_hour(&ECC_DIMM_RATE, &[&edac::MODULE]),
    per_hour(&ECC_BAD_RATE, &[&edac::UNCORRECTABLE]),
    per_hour(&ECC_DIMM_BAD_RATE, &[&edac::MODULE_BAD]),
    percent(&ARC_HITS, &[&zfs::HITS], &[&zfs::HITS, &zfs::MISSES]),
    share_of_time(&CGROUP_CPU, &[&units::CPU], f64::MAX),
    share_of_time(&CGROUP_THROTTLED, &[&units::THROTTLED], f64::MAX),
    share_of_time(&CGROUP_SOME, &[&units::SOME], 100.0),
    share_of_time(&CGROUP_FULL, &[&units::FULL], 100.0),
    share_of_time(&PRESSURE_SOME, &[&pressure::SOME], 100.0),
    share_of_time(&PRESSURE_FULL, &[&pressure::FULL], 100.0),
    share_of_time(&PROCESS_CPU, &[&process::CPU], f64::MAX),
    rate(&SWAP_IN, &[&vmstat::SWAP_IN]),
    rate(&SWAP_OUT, &[&vmstat::SWAP_OUT]),
    rate(&FAULTS, &[&vmstat::FAULTS]),
    rate(&MAJOR_FAULTS, &[&vmstat::MAJOR_FAULTS]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::builtin;
    use crate::engine::derive::{Derived, raw_id};
    use crate::engine::series::SeriesTable;
    use crate::metric::Unit;
    use crate::sample::{SeriesDef, SeriesId};
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::sync::LazyLock;

    #[test]
    fn labels_of_a_formula_fit() {
        for formula in FORMULAS {
            let above = formula.above;
            assert!(above.iter().all(|m| m.labels == formula.out.labels), "{}", formula.out.name);
            if let Per::Growth { of, .. } = formula.per {
                let known = |l: &&str| formula.out.labels.contains(l);
                assert!(of.iter().all(|m| m.labels.iter().all(known)), "{}", formula.out.name);
            }
        }
    }

    /// What a counter says next: a little more, less by a reset, less by the wrap of 32 bits, nothing, or anything.
    fn next(before: f64, (kind, by): (u8, u32)) -> Option<f64> {
        const WRAP: f64 = 4_294_967_296.0;
        match kind {
            0..=3 => Some(before + f64::from(by % 1000) / 7.0),
            4 => Some(f64::from(by % 10)),
            5 => Some((before + f64::from(by)) % WRAP),
            6 => None,
            _ => Some(f64::from(by) * 1e6),
        }
    }

    proptest! {
        /// Counters that no reading can be trusted of, at intervals from a nanosecond to hours.
        #[test]
        fn no_rate_is_negative_and_no_share_beyond_100(
            steps in prop::collection::vec(
                (1_u64..20_000_000_000_000, prop::collection::vec((0_u8..8, any::<u32>()), RAW.len())), 2..6),
        ) {
            let (mut table, mut derived) = (SeriesTable::default(), Derived::new(FORMULAS));
            for (number, metric) in (0..).zip(RAW.iter()) {
                let labels: Box<[Box<str>]> = metric.labels.iter().map(|label| (*label).into()).collect();
                derived.define(raw_id(SeriesId(number)), metric, &labels);
                table.define(SeriesDef { id: raw_id(SeriesId(number)), metric, labels });
            }
            let of: HashMap<SeriesId, &Metric> = derived.connect().into_iter().map(|b| (b.id, b.metric)).collect();
            prop_assert_eq!(of.len(), FORMULAS.len());
            let (mut at_ns, mut values) = (0, vec![0.0; RAW.len()]);
            for (step, changes) in steps {
                at_ns += step;
                for ((number, value), change) in (0..).zip(&mut values).zip(changes) {
                    if let Some(fresh) = next(*value, change) {
                        *value = fresh;
                        table.read(raw_id(SeriesId(number)), at_ns, fresh);
                    }
                }
                let mut out = Vec::new();
                derived.evaluate(&table, at_ns, SeriesId(0)..=SeriesId(u32::MAX), &mut out);
                for (id, value) in out {
                    let metric = of[&id];
                    prop_assert!(value >= 0.0 && value.is_finite(), "{} is {}", metric.name, value);
                    let formula = FORMULAS.iter().find(|f| f.out == metric).expect("its formula");
                    prop_assert!(value <= formula.max, "{} is {}", metric.name, value);
                    let may_exceed = metric.name.contains("cpu_percent") || metric.name.contains("throttled");
                    prop_assert!(metric.unit != Unit::Percent || may_exceed || value <= 100.0, "{} is {}", metric.name, value);
                }
            }
        }
    }

    /// All counters that formulas are made of.
    static RAW: LazyLock<Vec<&'static Metric>> = LazyLock::new(|| {
        let mut raw: Vec<&'static Metric> = Vec::new();
        for formula in FORMULAS {
            let below = if let Per::Growth { of, .. } = formula.per { of } else { &[] };
            raw.extend(formula.above.iter().chain(below));
        }
        raw.sort_by_key(|metric| metric.name);
        raw.dedup_by_key(|metric| metric.name);
        raw
    });

    #[test]
    fn every_computed_metric_has_its_formula() {
        for metric in METRICS {
            let formulas = FORMULAS.iter().filter(|f| f.out == *metric).count();
            let rooms = ROOMS.iter().filter(|room| room.out == *metric).count();
            assert_eq!(formulas + rooms, 1, "{}", metric.name);
        }
    }

    #[test]
    fn the_built_in_rules_judge_metrics_that_exist() {
        let all = crate::edge::metrics();
        for name in builtin::judged() {
            assert!(all.iter().any(|m| m.name == name), "{name}");
        }
    }
}
