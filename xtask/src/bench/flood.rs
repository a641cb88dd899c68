//! `cargo xtask bench flood`: what a log that is flooded costs the agent, into docs/COST.md.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::time::{ClockId, clock_gettime};

use crate::measure::{self, Cost};
use crate::vm::page;
use crate::{probe_cost, sh};

/// Lines a second, and how long.
const RATE: usize = 100_000;
const LENGTH: Duration = Duration::from_secs(30);
/// Lines written at once: the agent and the writer share the machine, and a program that floods its log does not rest between lines.
const BURST: usize = RATE / 50;
/// What it may cost: percent of a core, and kB of resident memory.
const MAX_CPU: f64 = 10.0;
const MAX_KB: u64 = 32 << 10;
/// Whether processes may write to the kernel log as fast as they like (`printk_devkmsg=`, kernel-parameters.txt).
const DEVKMSG: &str = "/proc/sys/kernel/printk_devkmsg";

/// A log and what is written to it.
struct Kind {
    name: &'static str,
    source: &'static str,
    line: fn(usize, &mut Vec<u8>),
}

const KINDS: [Kind; 4] = [
    Kind { name: "file, lines that no rule wants", source: "syslog", line: unwanted },
    Kind { name: "file, lines of one shape", source: "syslog", line: same },
    Kind { name: "file, lines that all differ", source: "syslog", line: distinct },
    Kind { name: "/dev/kmsg, lines that all differ", source: "dmesg", line: forged },
];

// Writing to a vector cannot fail.
fn unwanted(n: usize, out: &mut Vec<u8>) {
    let _ = writeln!(out, "{HEAD} usb 1-1: new high-speed USB device number {n} using xhci_hcd");
}

fn same(n: usize, out: &mut Vec<u8>) {
    let _ = writeln!(
        out,
        "{HEAD} EXT4-fs error (device sda1): ext4_lookup:1855: inode #{n}: comm app: deleted inode"
    );
}

fn distinct(n: usize, out: &mut Vec<u8>) {
    let _ = writeln!(
        out,
        "{HEAD} w{n:x}q[{n}]: segfault at 0 ip 00007f0c0a5b9d2a sp 00007ffd0a5b9d2a error 4 in lib{n:x}.so[7f0c+e]"
    );
}

/// As a process writes it, for debugging: so it is on no console.
fn forged(n: usize, out: &mut Vec<u8>) {
    let _ = writeln!(out, "<15>w{n:x}q[{n}]: EXT4-fs error (device sda1): forged {n}");
}

const HEAD: &str = "2026-11-22T22:20:00.000000+00:00 web-1 kernel: [99000.000001]";

/// Measures as root and writes the table.
pub(super) fn run(profile: &str) -> Result<(), String> {
    sh::run(&mut sh::cargo(&[
        "build",
        "--profile",
        profile,
        "--package",
        "sysops-agent",
        "--bin",
        "sysops-agent",
    ]))?;
    let agent = sh::target_dir().join(profile).join("sysops-agent");
    let home = sh::target_dir().join("bench/flood");
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(&home).map_err(|e| format!("{} cannot be made: {e}", home.display()))?;
    let mut table = "| log | lines a second | % of a core | peak kB | | not read | not judged |\n|---|---|---|---|---|---|---|\n".to_owned();
    for kind in &KINDS {
        let cost = of_agent(kind, &agent, &home)?;
        let is_kept = cost.cpu <= MAX_CPU && cost.peak_kb <= MAX_KB;
        let word = if is_kept { "kept" } else { "**missed**" };
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {} | {:.0} | {:.1} | {} | {word} | {} | {} |",
            kind.name,
            cost.lines,
            cost.cpu,
            cost.peak_kb,
            share(cost.unread, cost.lines),
            share(cost.unjudged, cost.lines)
        );
    }
    let (rate, cpu) = of_reading()?;
    let _ =
        writeln!(table, "| /dev/kmsg, a program that only reads it | {rate:.0} | {cpu:.1} | | floor | | |");
    println!("{table}");
    let machine = probe_cost::machine();
    let machine = machine.split(": medians").next().unwrap_or_default();
    page::write_to("COST.md", "flood", &format!("{machine}, profile `{profile}`.\n\n{table}"))
}

/// The agent beside a flood, from its begin to a second after its end.
fn of_agent(kind: &Kind, agent: &Path, home: &Path) -> Result<Flooded, String> {
    let log = home.join("syslog");
    let problem = |e: io::Error| format!("{}: {e}", log.display());
    File::create(&log).map_err(problem)?;
    let config = home.join("config.toml");
    fs::write(&config, config_of(kind.source, home, &log))
        .map_err(|e| format!("{}: {e}", config.display()))?;
    let (target, _open) = if kind.source == "dmesg" {
        (PathBuf::from(KMSG), Some(Unlimited::set()?))
    } else {
        (log.clone(), None)
    };
    let mut rate = Ok(0.0);
    let mut flood = || {
        rate = write(kind, &target);
        std::thread::sleep(Duration::from_secs(1));
    };
    let Cost { cpu_ns, peak_kb } = {
        let (agent, config) = (agent.to_string_lossy(), config.to_string_lossy());
        // Where the kernel's own log can be read, no file of syslog is.
        let hide = "mount --bind /dev/null /dev/kmsg; exec \"$0\" --config \"$1\"";
        let (program, args): (&str, Vec<&str>) = match kind.source {
            "dmesg" => (&agent, vec!["--config", &config]),
            _ => ("unshare", vec!["--mount", "sh", "-c", hide, &agent, &config]),
        };
        measure::during(Path::new(program), &args, home, &mut flood)?
    };
    let _ = fs::remove_file(&log);
    let said = fs::read_to_string(home.join("run.log")).unwrap_or_default();
    Ok(Flooded {
        unread: counted(&said, "overwritten"),
        unjudged: counted(&said, "flood"),
        lines: rate.map_err(problem)?,
        cpu: cpu_ns as f64 / LENGTH.as_nanos() as f64 * 100.0,
        peak_kb,
    })
}

/// What came of a flood.
struct Flooded {
    /// Written, a second.
    lines: f64,
    cpu: f64,
    peak_kb: u64,
    /// Lines that were overwritten before they were read, and that no rule was asked about, as the agent says.
    unread: u64,
    unjudged: u64,
}

/// Events lost for this reason, out of what the agent says when it stops.
fn counted(said: &str, reason: &str) -> u64 {
    let key = format!("kernel_events_lost_total{{{reason}}} ");
    let count = said.rsplit_once(&key).and_then(|(_, rest)| rest.split([',', '\n']).next());
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// How much of all lines of a flood.
fn share(count: u64, a_second: f64) -> String {
    match count {
        0 => "0".to_owned(),
        _ => format!("{:.1} %", count as f64 / (a_second * LENGTH.as_secs_f64()) * 100.0),
    }
}

/// Nothing on but the log.
fn config_of(source: &str, home: &Path, log: &Path) -> String {
    format!(
        "[agent]\ndata_dir = \"{}\"\nlog_level = \"info\"\n[ebpf]\nenabled = false\n[collector]\ndisabled = [\"process\"]\n\
         [log_analyzer]\nsources = [\"{source}\"]\nsyslog_path = \"{}\"\n\
         [alerting]\nterminal = {{ enabled = \"off\" }}\nsyslog = {{ enabled = false }}\n",
        home.join("data").display(),
        log.display()
    )
}

/// Writes at the pace for the length; answers how many lines a second it were.
fn write(kind: &Kind, to: &Path) -> io::Result<f64> {
    let is_device = kind.source == "dmesg";
    let mut log = OpenOptions::new().append(true).open(to)?;
    let (start, mut n, mut lines) = (Instant::now(), 0, Vec::new());
    while start.elapsed() < LENGTH {
        lines.clear();
        (n..n + BURST).for_each(|n| (kind.line)(n, &mut lines));
        n += BURST;
        // The device takes a record a write.
        if is_device {
            lines.split_inclusive(|&b| b == b'\n').try_for_each(|line| log.write_all(line))?;
        } else {
            log.write_all(&lines)?;
        }
        let due = Duration::from_secs_f64(n as f64 / RATE as f64);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    Ok(n as f64 / start.elapsed().as_secs_f64())
}

const KMSG: &str = "/dev/kmsg";

/// The floor: reads each record of the device once and looks at none; lines a second and percent of a core.
fn of_reading() -> Result<(f64, f64), String> {
    let _open = Unlimited::set()?;
    let kind = KINDS.iter().find(|kind| kind.source == "dmesg").ok_or("no kind reads the device")?;
    let done = AtomicBool::new(false);
    let (rate, took) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_until(&done));
        let rate = write(kind, Path::new(KMSG));
        done.store(true, Ordering::Relaxed);
        (rate, reader.join())
    });
    let problem = |e: io::Error| format!("{KMSG}: {e}");
    let took = took.map_err(|_| "the reader died")?.map_err(problem)?;
    Ok((rate.map_err(problem)?, took.as_secs_f64() / LENGTH.as_secs_f64() * 100.0))
}

/// Processor time of it.
fn read_until(done: &AtomicBool) -> io::Result<Duration> {
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut device = OpenOptions::new().read(true).custom_flags(nonblock).open(KMSG)?;
    device.seek(SeekFrom::End(0))?;
    let mut record = [0; 8192];
    while !done.load(Ordering::Relaxed) {
        match device.read(&mut record) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1));
            }
            // Overwritten before it was read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(error),
        }
    }
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Ok(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.try_into().unwrap_or(0)))
}

/// Lets processes write to the kernel log without a limit, until it is dropped.
struct Unlimited(String);

impl Unlimited {
    fn set() -> Result<Self, String> {
        let before = fs::read_to_string(DEVKMSG).map_err(|e| format!("{DEVKMSG} cannot be read: {e}"))?;
        // The line counts with its end (devkmsg_sysctl_set_loglvl, kernel/printk/printk.c).
        fs::write(DEVKMSG, "on\n").map_err(|e| format!("{DEVKMSG} cannot be set; it takes root: {e}"))?;
        Ok(Self(before))
    }
}

impl Drop for Unlimited {
    fn drop(&mut self) {
        let _ = fs::write(DEVKMSG, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_read_out_of_the_last_words() {
        let said = "INFO stopping\nINFO counted since the start: kernel_events_lost_total{flood} 12, \
            kernel_events_lost_total{overwritten} 300000, lost{kmsg overwritten} 1\n";
        assert_eq!((counted(said, "overwritten"), counted(said, "flood")), (300_000, 12));
        assert_eq!(counted("INFO stopping\n", "flood"), 0);
        assert_eq!((share(0, 1e5).as_str(), share(300_000, 1e5).as_str()), ("0", "10.0 %"));
    }
}
