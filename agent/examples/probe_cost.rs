//! What each probe costs an event: loads all of them in both modes, causes what they watch, and prints
//! what the kernel measured (`BPF_ENABLE_STATS`, Linux 5.8) as a table. As root: `cargo xtask probe-cost`.
#![expect(clippy::disallowed_methods, reason = "a tool that causes what it measures")]

#[path = "../tests/lab/mod.rs"]
mod lab;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sysops_agent::ebpf::probes::{Mode, PROBES};
use sysops_agent::ebpf::{Ebpf, Options};
use sysops_agent::host::live::LiveHost;

/// How long each mode is measured.
const LENGTH: Duration = Duration::from_secs(6);

fn main() -> std::io::Result<()> {
    let _alone = lab::alone();
    let _stats = aya::sys::enable_stats(aya::sys::Stats::RunTime).map_err(std::io::Error::other)?;
    println!("| probe | program | mode | events | events/s | ns an event |");
    println!("|---|---|---|---|---|---|");
    for mode in Mode::ALL {
        let options = Options { run_queue: true, only_mode: Some(mode), ..Options::default() };
        let before = programs();
        let (ebpf, _) = Ebpf::load(&LiveHost::default(), &options);
        let start = Instant::now();
        load();
        print(mode, &before, start.elapsed().as_secs_f64());
        drop(ebpf);
    }
    Ok(())
}

/// Run time and runs by id and name.
fn programs() -> BTreeMap<u32, (String, u64, u64)> {
    let infos = aya::programs::loaded_programs().filter_map(Result::ok);
    infos
        .map(|p| {
            let name = p.name_as_str().unwrap_or_default().to_owned();
            (p.id(), (name, p.run_time().as_nanos() as u64, p.run_count()))
        })
        .collect()
}

fn print(mode: Mode, before: &BTreeMap<u32, (String, u64, u64)>, secs: f64) {
    let own: Vec<_> = programs().into_iter().filter(|(id, _)| !before.contains_key(id)).collect();
    for probe in PROBES {
        for name in probe.hooks.iter().map(|hook| hook.program(mode)) {
            // The kernel keeps 15 letters.
            let found = own
                .iter()
                .find(|(_, (own, ..))| name.starts_with(own.as_str()) && own.len() >= name.len().min(15));
            let Some((_, (_, ns, runs))) = found else { continue };
            let each = if *runs == 0 { "–".to_owned() } else { format!("{}", ns / runs) };
            let rate = *runs as f64 / secs;
            println!("| {} | `{name}` | {} | {runs} | {rate:.0} | {each} |", probe.name, mode.name());
        }
    }
}

/// Something for each probe that can be made to speak here.
fn load() {
    let end = Instant::now() + LENGTH;
    let image = tempfile::NamedTempFile::new().ok();
    let device = image.as_ref().and_then(|image| {
        image.as_file().set_len(16 << 20).ok()?;
        lab::LoopDevice::over(image.path()).ok()
    });
    if let Ok(group) = lab::MemoryCgroup::new("sysops-lab-cost", 32 << 20) {
        let _ = group.oom_victim();
    }
    let _ = std::fs::write("/proc/sys/vm/compact_memory", "1");
    while Instant::now() < end {
        ping_pong(2000);
        if let Some(device) = &device {
            let _ = device.direct_reads(500);
        }
        for _ in 0..200 {
            let _ = std::net::TcpStream::connect("127.0.0.1:1");
        }
    }
}

/// Two threads that wake each other.
fn ping_pong(rounds: u32) {
    let Ok((mut here, mut there)) = UnixStream::pair() else { return };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut byte = [0];
            while there.read_exact(&mut byte).is_ok() && there.write_all(&byte).is_ok() {}
        });
        let mut byte = [0];
        for _ in 0..rounds {
            if here.write_all(&byte).is_err() || here.read_exact(&mut byte).is_err() {
                break;
            }
        }
        drop(here);
    });
}
