//! Loads the probes, says what they cost, and prints what they see for some seconds. Static enough
//! for the initramfs of another kernel. As root:
//! `cargo run -p sysops-agent --no-default-features --features ebpf --example ebpf_watch -- 10 100`
//! (10 seconds, requests from 100 ms on). The words `classic`, `btf`, `perf`, `ring` behind leave only that
//! mode or transport; `run_queue` switches on what is off by default.
#![expect(clippy::disallowed_methods, reason = "a tool that measures itself")]

#[path = "../tests/lab/mod.rs"]
mod lab;

fn main() -> std::io::Result<()> {
    use std::time::{Duration, Instant};

    use sysops_agent::collect::Collector;
    use sysops_agent::ebpf::devices::Devices;
    use sysops_agent::ebpf::hist::Look;
    use sysops_agent::ebpf::probes::Mode;
    use sysops_agent::ebpf::transport::Way;
    use sysops_agent::ebpf::{Ebpf, Options};
    use sysops_agent::host::clock::now;
    use sysops_agent::sample::Samples;

    let mut numbers = std::env::args().skip(1).map_while(|a| a.parse().ok());
    let seconds = numbers.next().unwrap_or(0);
    let io_latency_threshold_ms = numbers.next().unwrap_or(500);
    println!("before: {}", memory());
    let word = |word: &str| std::env::args().any(|arg| arg == word);
    let options = Options {
        io_latency_threshold_ms,
        run_queue: word("run_queue"),
        only_mode: word("classic").then_some(Mode::Classic).or(word("btf").then_some(Mode::Btf)),
        only_transport: word("perf").then_some(Way::PerfBuffer).or(word("ring").then_some(Way::Ring)),
        ..Options::default()
    };
    let (ebpf, reports) = Ebpf::load(&sysops_agent::host::live::LiveHost::default(), &options);
    println!("loaded: {}", memory());
    for report in reports {
        println!("{}: {:?}", report.probe.name, report.state);
    }
    let Some(mut ebpf) = ebpf else { return Ok(()) };
    println!("maps and perf buffers: {} bytes", ebpf.map_bytes());

    let start = Instant::now();
    let mut devices = Devices::default();
    while start.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_millis(100));
        devices.begin();
        let mut name = |dev| {
            devices.name(&sysops_agent::host::live::LiveHost::default(), dev).map(|name| name.to_string())
        };
        ebpf.drain(now(), &mut name, &mut |event| print(event.what));
        ebpf.losses(now(), &mut |event| println!("{:?}", event.what))?;
    }
    let mut collectors: Vec<Box<dyn Collector>> =
        vec![Box::new(ebpf.collector(Look { skip: Box::new(|_| false), scene_from_ms: 0.0 }))];
    collectors.extend(ebpf.tcp_collector().map(|c| -> Box<dyn Collector> { Box::new(c) }));
    collectors.extend(ebpf.wait_collector().map(|c| -> Box<dyn Collector> { Box::new(c) }));
    let mut samples = Samples::new(1000);
    samples.begin("ebpf", now(), None);
    for collector in &mut collectors {
        let host = sysops_agent::host::live::LiveHost::default();
        collector.collect(&host, &mut samples).map_err(std::io::Error::other)?;
    }
    let batch = samples.finish();
    for (def, (_, value)) in batch.defs.iter().zip(&batch.samples) {
        println!("{} {:?} {value}", def.metric.name, def.labels);
    }
    println!("at the end: {}", memory());
    Ok(())
}

fn print(mut what: sysops_agent::event::What) {
    use sysops_agent::host::kallsyms::Symbols;
    if let sysops_agent::event::What::Hang(hang) = &mut what {
        let (mut symbols, start) = (Symbols::default(), std::time::Instant::now());
        let learnt =
            symbols.learn(&sysops_agent::host::live::LiveHost::default(), hang.addresses.iter().copied());
        hang.stack = symbols.stack(&hang.addresses);
        println!("names: {learnt:?} after {:?}", start.elapsed());
    }
    println!("{what:?}");
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines = status.lines().filter(|l| ["VmRSS", "VmHWM", "RssAnon"].iter().any(|k| l.starts_with(k)));
    lines.map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}
