//! `cargo xtask bench scrape`: CPU time of one scrape, of the agent's page and of `node_exporter`'s, into docs/COST.md.
//!
//! The agent collects each second here, and is asked once a second, so that every page is a new one. Its pages are made and
//! sent by a thread of their own, which does nothing else: of the agent that thread's time counts. It collects whether or
//! not it is asked, and its collecting differs by more from one minute to the next than all scrapes of it cost. Of
//! `node_exporter` all threads count, less what they take without being asked.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::vm::page;
use crate::{packages, probe_cost, sh};

/// Addresses while measuring.
const OURS: &str = "127.0.0.1:19105";
const THEIRS: &str = "127.0.0.1:19106";
const EXPORTER: &str = "prometheus-node-exporter";
/// The agent's thread that makes and sends pages.
const THREAD: &str = "endpoints";
/// Time without and with questions, and the pause between two.
const LENGTH: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(1050);
/// Longest start.
const START: Duration = Duration::from_secs(30);
/// How often cheaper it is to be.
const GOAL: f64 = 5.0;

/// Measures and writes the table.
pub(super) fn run(profile: &str) -> Result<(), String> {
    if let Some(missing) = packages::ensure(packages::FOR_TESTS).into_iter().next() {
        return Err(missing);
    }
    let build = ["build", "--profile", profile, "--package", "sysops-agent", "--features", sh::ALL_FEATURES];
    sh::run(sh::cargo(&build).args(["--bin", "sysops-agent"]))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    let agent = sh::target_dir().join(folder).join("sysops-agent");
    let home = sh::target_dir().join("bench");
    fs::create_dir_all(&home).map_err(|e| format!("{} cannot be made: {e}", home.display()))?;
    let (plain, named) = (measure_agent(&agent, &home, false)?, measure_agent(&agent, &home, true)?);
    let theirs = {
        let mut command = Command::new(EXPORTER);
        command.arg(format!("--web.listen-address={THEIRS}"));
        measure(&mut command, THEIRS, None)?
    };
    let mut table = String::from("| one scrape of | CPU ms | bytes | times cheaper |\n|---|---|---|---|\n");
    for (name, cost) in
        [("the agent", &plain), ("the agent, with names of node_exporter", &named), (EXPORTER, &theirs)]
    {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {name} | {:.3} | {} | {:.1} |", cost.ms, cost.bytes, theirs.ms / cost.ms);
    }
    let times = theirs.ms / named.ms;
    let word = if times >= GOAL { "reached" } else { "missed" };
    let _ = writeln!(table, "\nGoal: at least {GOAL} times cheaper: {word}.");
    println!("{table}");
    let machine = probe_cost::machine();
    let machine = machine.split(": medians").next().unwrap_or_default();
    page::write_to("COST.md", "scrape", &format!("{machine}, profile `{profile}`.\n\n{table}"))
}

/// Of one scrape.
struct Cost {
    ms: f64,
    bytes: usize,
}

fn measure_agent(agent: &Path, home: &Path, node_names: bool) -> Result<Cost, String> {
    let config = home.join("scrape.toml");
    let text = format!(
        "{}[prometheus]\nenabled = true\nbind = \"{OURS}\"\nnode_exporter_names = {node_names}\n",
        super::config_of(home)
    );
    fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))?;
    measure(Command::new(agent).arg("--config").arg(&config), OURS, Some(THREAD))
}

/// A program that is ended with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(command: &mut Command, address: &str, thread: Option<&str>) -> Result<Cost, String> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child =
        Running(child.map_err(|e| format!("{} cannot be started: {e}", command.get_program().display()))?);
    let begin = Instant::now();
    while scrape(address).unwrap_or_default() < 1000 {
        if begin.elapsed() > START {
            return Err(format!("{} does not answer on {address}", command.get_program().display()));
        }
        sleep(Duration::from_millis(200));
    }
    // Caches and buffers are what they will be.
    for _ in 0..3 {
        sleep(PAUSE);
        let _ = scrape(address);
    }
    let pid = child.0.id();
    let (begin, before) = (Instant::now(), cpu_ns(pid, thread)?);
    sleep(LENGTH);
    let idle = (cpu_ns(pid, thread)? - before) / begin.elapsed().as_secs_f64();
    let (begin, before) = (Instant::now(), cpu_ns(pid, thread)?);
    let (mut count, mut bytes) = (0.0, 0);
    while begin.elapsed() < LENGTH {
        bytes = scrape(address).map_err(|e| format!("{address}: {e}"))?;
        count += 1.0;
        sleep(PAUSE);
    }
    let busy = cpu_ns(pid, thread)? - before - idle * begin.elapsed().as_secs_f64();
    Ok(Cost { ms: busy / count / 1e6, bytes })
}

/// Asks for the page; its size with the head.
fn scrape(address: &str) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: h\r\nAccept: text/plain\r\n\r\n")?;
    let mut page = Vec::new();
    stream.read_to_end(&mut page)
}

/// Time on a CPU of all threads, or of one, nanoseconds (`/proc/PID/task/*/schedstat`).
fn cpu_ns(pid: u32, thread: Option<&str>) -> Result<f64, String> {
    let dir = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&dir).map_err(|e| format!("{dir}: {e}"))?;
    let of = |task: fs::DirEntry| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        if thread.is_some_and(|thread| name.trim_end() != thread) {
            return None;
        }
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    Ok(tasks.filter_map(Result::ok).filter_map(of).sum())
}
