//! Counters of kernel events: the `metric` of their alerts.

use crate::metric::metrics;

metrics! {
    OOM_KILLS: Counter Count "kernel_oom_kills_total" [] "OOM kills, each once however many sources saw it.", "eBPF, /dev/kmsg, /proc/vmstat";
    HUNG_TASKS: Counter Count "kernel_hung_tasks_total" [] "Hung tasks, each once however many sources saw it.", "eBPF, /dev/kmsg, /proc/[pid]/status";
    LOG_EVENTS: Counter Count "kernel_log_events_total" ["rule"] "Kernel-log lines that a rule names.", "/dev/kmsg";
    SLOW_IO: Counter Count "block_io_slow_total" ["device"] "Block requests over the threshold that were reported.", "eBPF";
    IO_ERRORS: Counter Count "kernel_io_errors_total" ["device"] "Failed block requests that were reported, each once.", "eBPF, /dev/kmsg";
    IO_LATENCY: Gauge Milliseconds "block_io_latency_ms" ["device", "op"] "Time of one block request over the threshold; on alerts only.", "eBPF";
}
