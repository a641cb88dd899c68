//! Metrics of block devices as the kernel's histograms tell them.

use crate::metric::metrics;

metrics! {
    P50: Gauge Milliseconds "block_io_latency_p50_ms" as "block_io_latency_p50_seconds" ["device", "op"]
        "Half of the requests of the interval were faster, from issue to completion.", "eBPF histogram of block:block_rq_issue to block:block_rq_complete";
    P90: Gauge Milliseconds "block_io_latency_p90_ms" as "block_io_latency_p90_seconds" ["device", "op"]
        "Nine of ten requests of the interval were faster.", "as block_io_latency_p50_ms";
    P99: Gauge Milliseconds "block_io_latency_p99_ms" as "block_io_latency_p99_seconds" ["device", "op"]
        "99 of 100 requests of the interval were faster.", "as block_io_latency_p50_ms";
    P999: Gauge Milliseconds "block_io_latency_p999_ms" as "block_io_latency_p999_seconds" ["device", "op"]
        "999 of 1000 requests of the interval were faster.", "as block_io_latency_p50_ms";
    MAX: Gauge Milliseconds "block_io_latency_max_ms" as "block_io_latency_max_seconds" ["device", "op"]
        "Longest latency of the interval (at most 6.25 % too high).", "as block_io_latency_p50_ms";
    REQUESTS: Counter Count "block_io_requests_total" ["device", "op"]
        "Requests completed since the agent started.", "as block_io_latency_p50_ms";
    TIME: Counter Seconds "block_io_latency_seconds_total" ["device", "op"]
        "Latencies of all requests since the agent started, added up.", "as block_io_latency_p50_ms";
    DURATION: Histogram Seconds "block_io_duration_seconds" ["device", "op"]
        "Requests by their latency, from issue to completion, since the agent started.", "as block_io_latency_p50_ms";
    ERRORS: Counter Count "block_io_errors_total" ["device", "op"]
        "Requests that completed with an error.", "as block_io_latency_p50_ms";
    QUEUE_P50: Gauge Milliseconds "block_io_queue_p50_ms" as "block_io_queue_p50_seconds" ["device", "op"]
        "Half of the requests that were queued in the interval waited less, from insert to issue; those that go straight to the device do not count.", "eBPF histogram of block:block_rq_insert to block:block_rq_issue";
    QUEUE_P90: Gauge Milliseconds "block_io_queue_p90_ms" as "block_io_queue_p90_seconds" ["device", "op"]
        "Nine of ten of them waited less.", "as block_io_queue_p50_ms";
    QUEUE_P99: Gauge Milliseconds "block_io_queue_p99_ms" as "block_io_queue_p99_seconds" ["device", "op"]
        "99 of 100 of them waited less.", "as block_io_queue_p50_ms";
    QUEUE_P999: Gauge Milliseconds "block_io_queue_p999_ms" as "block_io_queue_p999_seconds" ["device", "op"]
        "999 of 1000 of them waited less.", "as block_io_queue_p50_ms";
    QUEUE_MAX: Gauge Milliseconds "block_io_queue_max_ms" as "block_io_queue_max_seconds" ["device", "op"]
        "Longest wait of the interval (at most 6.25 % too high).", "as block_io_queue_p50_ms";
    QUEUED: Counter Count "block_io_queued_requests_total" ["device", "op"]
        "Requests that waited in a queue before they were issued, since the agent started.", "as block_io_queue_p50_ms";
    QUEUE_TIME: Counter Seconds "block_io_queue_seconds_total" ["device", "op"]
        "Their waits, added up.", "as block_io_queue_p50_ms";
    QUEUE_DURATION: Histogram Seconds "block_io_queue_duration_seconds" ["device", "op"]
        "Requests that were queued by their wait, from insert to issue, since the agent started.", "as block_io_queue_p50_ms";
    EBPF_DROPS: Counter Count "ebpf_drops_total" ["reason"]
        "Records or requests that eBPF programs saw but could not deliver or match, by reason.", "counters kept by the eBPF programs";
    EBPF_MAP_BYTES: Gauge Bytes "ebpf_map_bytes" []
        "Memory of the BPF maps and of the buffers for records; not part of the resident memory of the agent.", "/proc/self/fdinfo memlock, and the size of the buffers";
    EBPF_MISSES: Counter Count "ebpf_recursion_misses_total" ["program"]
        "Events that a program did not see because it would have interrupted another one on the same processor; always 0 for classic tracepoint programs before Linux 6.7.", "recursion_misses of BPF_OBJ_GET_INFO_BY_FD, Linux 5.12";
    EBPF_RUNS: Counter Count "ebpf_runs_total" ["program"]
        "Runs of a program while kernel.bpf_stats_enabled was 1.", "run_cnt of BPF_OBJ_GET_INFO_BY_FD";
    EBPF_RUN_TIME: Counter Seconds "ebpf_run_seconds_total" ["program"]
        "Time of those runs.", "run_time_ns of BPF_OBJ_GET_INFO_BY_FD";
}
