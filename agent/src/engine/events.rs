//! Counters of kernel events: the `metric` of their alerts.

use crate::metric::metrics;

metrics! {
    OOM_KILLS: Counter Count "kernel_oom_kills_total" [] "OOM kills, each once however many sources saw it.", "eBPF, /dev/kmsg, /proc/vmstat";
    DISAGREEMENTS: Counter Count "oom_witness_disagreements_total" ["kind"]
        "OOM kills that a source which was up did not tell: log_only, ebpf_only, counter_only.", "eBPF, /dev/kmsg, /proc/vmstat";
    EXITING: Counter Count "oom_marks_of_dying_total" []
        "Marks of tasks that were exiting anyway; no kill, and no alert.", "eBPF, /dev/kmsg, /proc/vmstat";
    USER_KILLS: Counter Count "user_oom_kills_total" ["killer"]
        "Kills for lack of memory that a process tells of: systemd-oomd, earlyoom, oomd.", "journal, /dev/kmsg";
    HUNG_TASKS: Counter Count "kernel_hung_tasks_total" [] "Hung tasks, each once however many sources saw it.", "eBPF, /dev/kmsg, /proc/[pid]/status";
    KERNEL_EVENTS: Counter Count "kernel_events_total" ["rule"]
        "What the kernel complained of, by the rule that names it: lines of its log, and kills and hangs put together of several.", "/dev/kmsg, journal, syslog";
    LOG_EVENTS: Counter Count "kernel_log_events_total" ["rule"] "Kernel-log lines that a rule names.", "/dev/kmsg";
    EXPLAINED: Counter Count "kernel_log_events_explained_total" ["rule"] "Kernel-log lines that only tell of the end of a process that was killed for lack of memory; they are no alerts.", "/dev/kmsg";
    HARDWARE: Counter Count "kernel_hardware_events_total" ["rule"] "Reports of hardware by tracepoints, by the kernel-log rule for the same faults.", "eBPF";
    INVENTORY: Counter Count "inventory_changes_total" [] "Changes of what the host is made of that were told.", "inventory";
    FINDINGS: Counter Count "analyzer_findings_total" ["analyzer"] "What the analyzers found: surprise, zscore, ema, leak.", "computed: the course of each series";
    LOST: Counter Count "kernel_events_lost_total" ["reason"] "Records of kernel events that did not reach the agent, by reason.", "eBPF, /dev/kmsg";
    SLOW_IO: Counter Count "block_io_slow_total" ["device"] "Block requests over the threshold that were reported.", "eBPF";
    IO_ERRORS: Counter Count "kernel_io_errors_total" ["device"] "Failed block requests that were reported, each once.", "eBPF, /dev/kmsg";
    IO_LATENCY: Gauge Milliseconds "block_io_latency_ms" as "" ["device", "op"] "Time of one block request over the threshold; on alerts only.", "eBPF";
}
