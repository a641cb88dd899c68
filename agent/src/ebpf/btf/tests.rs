use super::*;

#[test]
fn this_kernel() {
    let bytes = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let paths = [
        "request.__sector",
        "request.q",
        "request_queue.disk",
        "gendisk.major",
        "mm_struct.total_vm",
        "mm_struct.rss_stat[1].count",
        "mm_struct.pgtables_bytes.counter",
        "task_struct.comm",
        "task_struct.exit_state",
        "task_struct.in_iowait",
        "btf_trace_block_rq_issue",
        "btf_trace_mark_victim",
        "btf_trace_block_rq_complete",
        "btf_trace_sched_process_hang",
    ];
    let t = std::time::Instant::now();
    let mut btf = Btf::parse(&bytes[..], paths).unwrap();
    for p in paths {
        println!("{p} {:?}", btf.place(p));
    }
    for p in ["block_rq_issue", "mark_victim", "block_rq_complete", "sched_process_hang"] {
        println!("{p} {:?}", btf.tracepoint(p));
    }
    println!("{:?}", t.elapsed());
}
