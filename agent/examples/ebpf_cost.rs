//! What the probes cost in memory. As root: `cargo run -p sysops-agent --example ebpf_cost`.

#[cfg(feature = "ebpf")]
fn main() {
    use sysops_agent::ebpf::{Ebpf, Options};

    println!("before: {}", memory());
    let (ebpf, reports) = Ebpf::load(&sysops_agent::host::live::LiveHost::default(), &Options::default());
    println!("loaded: {}", memory());
    for report in reports {
        println!("{}: {:?}", report.probe.name, report.state);
    }
    println!("maps and perf buffers: {} bytes", ebpf.as_ref().map_or(0, Ebpf::map_bytes));
}

#[cfg(not(feature = "ebpf"))]
fn main() {
    println!("built without the feature `ebpf`");
}

#[cfg(feature = "ebpf")]
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines = status.lines().filter(|l| ["VmRSS", "VmHWM", "RssAnon"].iter().any(|k| l.starts_with(k)));
    lines.map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}

#[cfg(feature = "ebpf")]
#[path = "../tests/lab/mod.rs"]
mod lab;
