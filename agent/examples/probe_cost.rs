//! What each probe costs an event: loads all of them in both modes, causes what they watch, and prints
//! what the kernel measured (`BPF_ENABLE_STATS`, Linux 5.8) as a table. As root: `cargo xtask probe-cost`.
#![expect(clippy::disallowed_methods, reason = "a tool that causes what it measures")]

#[path = "../tests/lab/mod.rs"]
mod lab;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::net::SocketFlags;
use sysops_agent::ebpf::probes::{Mode, PROBES};
use sysops_agent::ebpf::{Ebpf, Options};
use sysops_agent::host::live::LiveHost;

/// How long one round is.
const LENGTH: Duration = Duration::from_secs(6);
/// Rounds in each mode; an event costs the median.
const ROUNDS: usize = 5;
/// Kills, hangs and failures in a round: rare events want more than one.
const RARE: usize = 8;

fn main() -> std::io::Result<()> {
    let _alone = lab::alone();
    let _stats = aya::sys::enable_stats(aya::sys::Stats::RunTime).map_err(std::io::Error::other)?;
    println!("| probe | program | mode | events | events/s | ns an event |");
    println!("|---|---|---|---|---|---|");
    for mode in Mode::ALL {
        let options = Options { run_queue: true, only_mode: Some(mode), ..Options::default() };
        let (mut secs, mut costs) = (0.0, Costs::new());
        for _ in 0..ROUNDS {
            let before = programs();
            let (ebpf, _) = Ebpf::load(&LiveHost::default(), &options);
            let start = Instant::now();
            load();
            note(mode, &before, &mut costs);
            secs += start.elapsed().as_secs_f64();
            drop(ebpf);
        }
        print(mode, secs, &mut costs);
    }
    Ok(())
}

/// By program: its runs, and what one of them took in each round, nanoseconds.
type Costs = BTreeMap<&'static str, (u64, Vec<u64>)>;

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

fn note(mode: Mode, before: &BTreeMap<u32, (String, u64, u64)>, costs: &mut Costs) {
    let own: Vec<_> = programs().into_iter().filter(|(id, _)| !before.contains_key(id)).collect();
    for name in PROBES.iter().flat_map(|probe| probe.hooks).map(|hook| hook.program(mode)) {
        // The kernel keeps 15 letters.
        let found = own
            .iter()
            .find(|(_, (own, ..))| name.starts_with(own.as_str()) && own.len() >= name.len().min(15));
        let Some((_, (_, ns, runs))) = found else { continue };
        let (all, each) = costs.entry(name).or_default();
        *all += runs;
        each.extend(ns.checked_div(*runs));
    }
}

fn print(mode: Mode, secs: f64, costs: &mut Costs) {
    for probe in PROBES {
        for name in probe.hooks.iter().map(|hook| hook.program(mode)) {
            let Some((runs, each)) = costs.get_mut(name) else { continue };
            each.sort_unstable();
            let median = each.get(each.len() / 2).map_or("–".to_owned(), u64::to_string);
            let rate = *runs as f64 / secs;
            println!("| {} | `{name}` | {} | {runs} | {rate:.0} | {median} |", probe.name, mode.name());
        }
    }
}

/// Something for each probe that can be made to speak here.
fn load() {
    let end = Instant::now() + LENGTH;
    let hangs = lab::detect_hangs(0);
    let frozen = hang();
    let device = Disk::new();
    for _ in 0..RARE {
        if let Ok(group) = lab::MemoryCgroup::new("sysops-lab-cost", 32 << 20) {
            let _ = group.oom_victim();
        }
    }
    let waiting = unanswered();
    let _ = std::fs::write("/proc/sys/vm/compact_memory", "1");
    while Instant::now() < end {
        ping_pong(2000);
        if let Some(disk) = &device {
            let _ = disk.device.direct_reads(500);
        }
        for _ in 0..200 {
            let _ = TcpStream::connect("127.0.0.1:1");
        }
    }
    if let Some(disk) = &device {
        disk.fail();
    }
    if let Some((mut filesystem, mut writer)) = frozen {
        let _ = filesystem.thaw();
        let _ = writer.wait();
    }
    drop((hangs, waiting));
}

/// A writer that hangs until its filesystem is let go.
fn hang() -> Option<(lab::FreezableFs, Child)> {
    let mut frozen = lab::FreezableFs::new().ok()?;
    frozen.freeze().ok()?;
    let writer = frozen.spawn_writer().ok()?;
    Some((frozen, writer))
}

/// Connections to a port whose queue is full: they are asked for again after 1 s and 3 s.
fn unanswered() -> Option<(OwnedFd, Vec<TcpStream>)> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, getsockname, listen, socket_with};
    let socket = |flags| socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).ok();
    let listener = socket(SocketFlags::empty())?;
    bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).ok()?;
    listen(&listener, 0).ok()?;
    let address = getsockname(&listener).ok()?;
    let callers = (0..RARE).filter_map(|_| {
        let caller = socket(SocketFlags::NONBLOCK)?;
        let _ = connect(&caller, &address);
        Some(TcpStream::from(caller))
    });
    Some((listener, callers.collect()))
}

/// A file as a device with a scheduler.
struct Disk {
    image: tempfile::NamedTempFile,
    device: lab::LoopDevice,
}

impl Disk {
    fn new() -> Option<Self> {
        let image = tempfile::NamedTempFile::new().ok()?;
        image.as_file().set_len(16 << 20).ok()?;
        let device = lab::LoopDevice::over(image.path()).ok()?;
        let _ = std::fs::write(format!("/sys/block/{}/queue/scheduler", device.name()), "mq-deadline");
        Some(Self { image, device })
    }

    /// Reads over the end of the file: the first part completes, the rest is tried again and fails.
    fn fail(&self) {
        let _ = self.image.as_file().set_len(4096);
        for _ in 0..RARE {
            let _ = self.device.direct_read_of_two(0);
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
