//! `cargo xtask measure`: what the release agent costs on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{run, sh};

/// Left out of the figures: loading the programs and the first pass of every collector.
const WARM_UP: Duration = Duration::from_secs(5);
/// How long the agent may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Name of the thread that runs the collectors.
const COLLECT: &str = "collect";

/// One look at a process.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    /// Time on a CPU of the threads alive now, nanoseconds: exact.
    cpu_ns: u64,
    /// Of it, that of the thread that runs the collectors.
    collect_ns: u64,
    /// User and system time of all threads there ever were, clock ticks of 10 ms.
    cpu_ticks: u64,
    /// Threads.
    threads: usize,
    /// Resident memory, kB.
    rss_kb: u64,
    /// Most resident memory there ever was, kB.
    peak_kb: u64,
    /// Memory of the BPF maps it holds, bytes; not part of its resident memory.
    maps_bytes: u64,
}

/// Runs the agent `runs` times for `minutes` and prints a row for each.
pub fn run(minutes: f64, runs: u32, args: &[String]) -> Result<(), String> {
    let length = Duration::try_from_secs_f64(minutes * 60.0).map_err(|e| format!("--minutes: {e}"))?;
    let agent = run::build()?;
    let logs = sh::target_dir().join("measure");
    fs::create_dir_all(&logs).map_err(|e| format!("{} cannot be made: {e}", logs.display()))?;
    println!(
        "| run | minutes | CPU % of a core | CPU % with ended threads | RSS MiB | peak RSS MiB | BPF maps MiB | RSS + maps MiB | threads |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for number in 1..=runs {
        let log = logs.join(format!("run-{number}.log"));
        let out = fs::File::create(&log).map_err(|e| format!("{} cannot be written: {e}", log.display()))?;
        let err = out.try_clone().map_err(|e| format!("{}: {e}", log.display()))?;
        let mut child = Command::new(&agent)
            .args(args)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|e| format!("{} cannot be started: {e}", agent.display()))?;
        let row = one(&mut child, length);
        let stopped = stop(&mut child);
        let row = row.map_err(|e| format!("{e}; what the agent said is in {}", log.display()))?;
        println!("| {number} | {row} |");
        stopped?;
    }
    Ok(())
}

fn one(child: &mut Child, length: Duration) -> Result<String, String> {
    let (start, end, secs) = looks(child, length)?;
    Ok(row(start, end, secs))
}

/// A look after the warm-up, and one so much later; the seconds between them.
fn looks(child: &mut Child, length: Duration) -> Result<(Look, Look, f64), String> {
    sleep(WARM_UP);
    let start = look(child.id())?;
    let clock = Instant::now();
    sleep(length);
    let took = clock.elapsed().as_secs_f64();
    if let Ok(Some(status)) = child.try_wait() {
        return Err(format!("the agent ended by itself: {status}"));
    }
    Ok((start, look(child.id())?, took))
}

/// Processor time of the agent between its warm-up and so much later, percent of one core: all of it, and that of the thread
/// that runs the collectors.
pub fn cpu_percent(
    program: &Path,
    args: &[&str],
    length: Duration,
    logs: &Path,
) -> Result<(f64, f64), String> {
    let (mut child, log) = start(program, args, logs)?;
    let looks = looks(&mut child, length);
    let stopped = stop(&mut child);
    let (start, end, secs) = looks.map_err(|e| format!("{e}; what it said is in {}", log.display()))?;
    stopped?;
    let percent = |of: fn(&Look) -> u64| exact_percent(of(&start), of(&end), secs);
    Ok((percent(|look| look.cpu_ns), percent(|look| look.collect_ns)))
}

/// What the agent took while something happened.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Processor time, nanoseconds.
    pub cpu_ns: u64,
    /// Most resident memory since its start, kB.
    pub peak_kb: u64,
}

/// Starts the agent, and after its warm-up does this.
pub fn during(program: &Path, args: &[&str], logs: &Path, happens: &mut dyn FnMut()) -> Result<Cost, String> {
    let (mut child, log) = start(program, args, logs)?;
    sleep(WARM_UP);
    let before = look(child.id());
    happens();
    let after = look(child.id());
    let stopped = stop(&mut child);
    let said = |e| format!("{e}; what it said is in {}", log.display());
    let (before, after) = (before.map_err(said)?, after.map_err(said)?);
    stopped?;
    Ok(Cost { cpu_ns: after.cpu_ns.saturating_sub(before.cpu_ns), peak_kb: after.peak_kb })
}

/// It, and where its words go.
fn start(program: &Path, args: &[&str], logs: &Path) -> Result<(Child, PathBuf), String> {
    let log = logs.join("run.log");
    let out = fs::File::create(&log).map_err(|e| format!("{} cannot be written: {e}", log.display()))?;
    let err = out.try_clone().map_err(|e| format!("{}: {e}", log.display()))?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(out).stderr(err);
    let child = command.spawn().map_err(|e| format!("{} cannot be started: {e}", program.display()))?;
    Ok((child, log))
}

fn exact_percent(start_ns: u64, end_ns: u64, secs: f64) -> f64 {
    end_ns.saturating_sub(start_ns) as f64 / 1e9 / secs * 100.0
}

fn row(start: Look, end: Look, secs: f64) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let exact = exact_percent(start.cpu_ns, end.cpu_ns, secs);
    let ticks = end.cpu_ticks.saturating_sub(start.cpu_ticks) as f64 / 100.0 / secs * 100.0;
    let (rss, maps) = (end.rss_kb * 1024, end.maps_bytes);
    format!(
        "{:.1} | {exact:.4} | {ticks:.3} | {:.1} | {:.1} | {:.2} | {:.1} | {}",
        secs / 60.0,
        mib(rss),
        mib(end.peak_kb * 1024),
        mib(maps),
        mib(rss + maps),
        end.threads
    )
}

fn look(pid: u32) -> Result<Look, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|e| format!("{path} cannot be read: {e}"));
    let mut look = Look { cpu_ticks: ticks(&read(&format!("/proc/{pid}/stat"))?), ..Look::default() };
    let status = read(&format!("/proc/{pid}/status"))?;
    look.rss_kb = field(&status, "VmRSS:").unwrap_or(0);
    look.peak_kb = field(&status, "VmHWM:").unwrap_or(0);
    for task in entries(&format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading.
        if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/task/{task}/schedstat")) {
            let ns = stat.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
            look.threads += 1;
            look.cpu_ns += ns;
            let name = fs::read_to_string(format!("/proc/{pid}/task/{task}/comm")).unwrap_or_default();
            if name.trim() == COLLECT {
                look.collect_ns += ns;
            }
        }
    }
    let mut maps = BTreeMap::new();
    for fd in entries(&format!("/proc/{pid}/fdinfo"))? {
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
        maps.extend(map_memory(&info));
    }
    look.maps_bytes = maps.values().sum();
    Ok(look)
}

fn entries(dir: &str) -> Result<Vec<String>, String> {
    let list = fs::read_dir(dir).map_err(|e| format!("{dir} cannot be read: {e}"))?;
    Ok(list.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// Number behind `name` in a `/proc` file of `name value` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|l| l.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// utime + stime of a `/proc/PID/stat` line, whose second field may hold anything.
fn ticks(stat: &str) -> u64 {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum()
}

/// Id and memory of the BPF map behind a file descriptor, if it is one (`bpf_map_show_fdinfo`,
/// `kernel/bpf/syscall.c`). The id keeps a map held through two descriptors from counting twice.
fn map_memory(fdinfo: &str) -> Option<(u64, u64)> {
    field(fdinfo, "map_type:")?;
    Some((field(fdinfo, "map_id:")?, field(fdinfo, "memlock:")?))
}

fn stop(child: &mut Child) -> Result<(), String> {
    if matches!(child.try_wait(), Ok(Some(_))) {
        return Ok(());
    }
    // The shell's own `kill`: the standard library sends SIGKILL only.
    let ask = sh::command("sh", &["-c", &format!("kill -TERM {}", child.id())]).status();
    ask.map_err(|e| format!("no shell to stop the agent with: {e}"))?;
    let clock = Instant::now();
    while clock.elapsed() < STOP_LIMIT {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return Ok(());
        }
        sleep(Duration::from_millis(50));
    }
    child.kill().and_then(|()| child.wait()).map_err(|e| format!("the agent cannot be stopped: {e}"))?;
    Err(format!("the agent did not stop within {} s of SIGTERM", STOP_LIMIT.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_survive_a_hostile_name() {
        let rest = "S 1 1 1 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 3 0 100 1000 10";
        assert_eq!(ticks(&format!("12 (agent) {rest}")), 12);
        assert_eq!(ticks(&format!("12 (a) 9 (b c) {rest}")), 12);
        assert_eq!(ticks(""), 0);
        assert_eq!(ticks("12 (cut) S 1"), 0);
    }

    #[test]
    fn only_maps_count() {
        let map = "pos:\t0\nflags:\t02000002\nmap_type:\t6\nkey_size:\t4\nmemlock:\t13664\nmap_id:\t42\nfrozen:\t0\n";
        assert_eq!(map_memory(map), Some((42, 13664)));
        let program = "pos:\t0\nprog_type:\t5\nprog_jited:\t1\nmemlock:\t4096\nprog_id:\t7\n";
        assert_eq!(map_memory(program), None);
        assert_eq!(map_memory("pos:\t0\nflags:\t0100002\n"), None);
        assert_eq!(map_memory(""), None);
    }

    #[test]
    fn a_row_is_made_of_differences_and_last_values() {
        let start = Look { cpu_ns: 1_000_000_000, cpu_ticks: 100, ..Look::default() };
        let end = Look {
            cpu_ns: 1_060_000_000,
            collect_ns: 0,
            cpu_ticks: 106,
            threads: 4,
            rss_kb: 8192,
            peak_kb: 9216,
            maps_bytes: 1 << 20,
        };
        assert_eq!(row(start, end, 60.0), "1.0 | 0.1000 | 0.100 | 8.0 | 9.0 | 1.00 | 9.0 | 4");
    }

    #[test]
    fn a_look_at_this_very_process_sees_something() {
        let look = look(std::process::id()).expect("own /proc entry");
        assert!(look.threads >= 1 && look.rss_kb > 0 && look.peak_kb >= look.rss_kb && look.maps_bytes == 0);
    }
}
