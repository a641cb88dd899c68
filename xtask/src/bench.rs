//! `cargo xtask bench collect`: what collecting costs beside programs that only read, and the whole agent at one second,
//! into docs/COST.md; [`engine`]: what a sample costs in the engine; [`history`]: what a day of history costs; [`logs`]: what the rules for log lines cost;
//! [`flood`]: what a flooded log costs; [`fleet`]: what a host tells in an hour; [`scrape`]: what a scrape costs.

mod engine;
mod fleet;
mod flood;
mod history;
mod logs;
mod scrape;

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::vm::page;
use crate::{measure, sh};

/// The page and its part that this makes.
const FILE: &str = "COST.md";
const PART: &str = "collect";
/// Processes beside which a pass is measured.
const CROWDS: [usize; 3] = [100, 2_000, 10_000];
/// The same for the whole agent, how long, and what it may cost, percent of a core.
const AGENT: [(usize, f64); 2] = [(100, 0.15), (2_000, 0.3)];
const LENGTH: Duration = Duration::from_secs(30);
/// Each is measured so often, and the median counts: what else runs on the machine changes it by a few percent.
const RUNS: usize = 3;

/// What can be measured.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum What {
    /// The collectors.
    Collect,
    /// The engine: rates, history and analyzers.
    Engine,
    /// History: bytes and time a sample.
    History,
    /// Log rules: bytes a second, time a line.
    Logs,
    /// Bytes that a host sends over NATS in an hour.
    Fleet,
    /// The agent beside a log that is flooded.
    Flood,
    /// A scrape of the endpoint, beside `node_exporter`'s.
    Scrape,
}

/// Goals of the rows they name: at most so many times the floor.
const RATIOS: [(&str, usize, f64); 2] = [("**all host files**", 100, 1.3), ("process, /proc", 2_000, 1.3)];
/// A pass over 2,000 processes through the iterator, µs.
const ITERATOR: (&str, usize, f64) = ("process, iterator", 2_000, 1500.0);

/// Measures as root and writes the table. With `quick` without link-time optimisation: built in a third of the time.
pub fn run(what: What, quick: bool) -> Result<(), String> {
    match what {
        What::Collect => collect(if quick { "quick" } else { "release" }),
        What::Engine => engine::run(if quick { "quick" } else { "release" }),
        What::History => history::run(),
        What::Logs => logs::run(if quick { "quick" } else { "release" }),
        What::Fleet => fleet::run(),
        What::Flood => flood::run(if quick { "quick" } else { "release" }),
        What::Scrape => scrape::run(if quick { "quick" } else { "release" }),
    }
}

fn collect(profile: &str) -> Result<(), String> {
    let programs = ["--bin", "sysops-agent", "--example", "collect_cost"];
    let build = ["build", "--profile", profile, "--package", "sysops-agent"];
    sh::run(sh::cargo(&build).args(programs))?;
    let folder = sh::target_dir().join(profile);
    let tool = folder.join("examples/collect_cost");
    let load_before = load();
    let mut tables = String::new();
    for size in CROWDS {
        let table = sh::output(Command::new(&tool).arg(size.to_string()))?;
        println!("{table}\n");
        let _ = write!(tables, "{}\n\n", table.trim());
    }
    let agents = agents(&folder.join("sysops-agent"), &tool)?;
    let agent = agent_table(&agents);
    println!("{agent}");
    let goals = table_of(&goals(&tables, &agents));
    println!("{goals}");
    let head = format!("{}, load {load_before} before and {} after, profile `{profile}`.", machine(), load());
    page::write_to(FILE, PART, &format!("{head}\n\n{tables}{agent}\n{goals}"))
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count();
    format!("Measured on {cpus} threads, Linux {}", read("/proc/sys/kernel/osrelease").trim())
}

fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// What the whole agent took beside so many processes, percent of a core.
struct Whole {
    size: usize,
    goal: f64,
    all: f64,
    collectors: f64,
}

/// The whole agent, everything on, everything each second.
fn agents(agent: &Path, tool: &Path) -> Result<Vec<Whole>, String> {
    let home = sh::target_dir().join("bench");
    fs::create_dir_all(&home).map_err(|e| format!("{} cannot be made: {e}", home.display()))?;
    let config = home.join("config.toml");
    fs::write(&config, config_of(&home)).map_err(|e| format!("{}: {e}", config.display()))?;
    let mut rows = Vec::new();
    for (size, goal) in AGENT {
        let crowd = Crowd::gather(tool, size)?;
        let config = config.to_string_lossy();
        let run = |_| measure::cpu_percent(agent, &["--config", &config], LENGTH, &home);
        let mut runs = (0..RUNS).map(run).collect::<Result<Vec<_>, _>>()?;
        runs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (all, collectors) = runs[RUNS / 2];
        rows.push(Whole { size, goal, all, collectors });
        drop(crowd);
    }
    Ok(rows)
}

fn agent_table(rows: &[Whole]) -> String {
    let mut out = String::from(
        "| whole agent at 1 s, sleeping processes | % of a core, median of three | of it the collectors' thread |\n|---|---|---|\n",
    );
    for Whole { size, all, collectors, .. } in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| {size} | {all:.3} | {collectors:.3} |");
    }
    out
}

fn config_of(home: &Path) -> String {
    let paces = ["cpu", "memory", "disk", "disk_io", "network", "process", "fd", "gpu"];
    let paces = paces.map(|pace| format!("{pace}_interval_secs = 1\n")).concat();
    let data = home.join("data");
    format!(
        "[agent]\ndata_dir = \"{}\"\n[collector]\n{paces}[alerting]\nterminal = {{ enabled = \"off\" }}\n\
         syslog = {{ enabled = false }}\n",
        data.display()
    )
}

/// Sleeping processes of the tool; they end with it.
struct Crowd(Child);

impl Crowd {
    fn gather(tool: &Path, size: usize) -> Result<Self, String> {
        let mut command = Command::new(tool);
        command.args(["--crowd", &size.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut crowd = Self(command.spawn().map_err(|e| format!("{}: {e}", tool.display()))?);
        let mut said = String::new();
        let out = crowd.0.stdout.take().ok_or("the crowd has no output")?.read_to_string(&mut said);
        match out {
            Ok(_) if said.trim() == "ready" => Ok(crowd),
            _ => Err(format!("{size} processes cannot be had: {said}")),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What was wanted, and what came of it.
#[derive(Debug)]
struct Goal {
    of: String,
    limit: f64,
    value: f64,
    unit: &'static str,
    /// The same with swept caches.
    swept: Option<f64>,
}

fn goals(tables: &str, agents: &[Whole]) -> Vec<Goal> {
    let row = |name: &str, size: usize, limit: f64, cell: usize, unit| {
        let value = find(tables, name, size, cell)?;
        let swept = find(tables, name, size, cell + SWEPT);
        let name = name.trim_matches('*');
        Some(Goal { of: format!("{name}, {size} processes"), limit, value, unit, swept })
    };
    let (name, size, limit) = ITERATOR;
    let passes = RATIOS.iter().map(|&(name, size, limit)| row(name, size, limit, 3, "x floor"));
    let passes = passes.chain([row(name, size, limit, 1, "µs")]).flatten();
    let whole = agents.iter().map(|&Whole { size, goal, all, .. }| {
        let of = format!("whole agent at 1 s, {size} processes");
        Goal { of, limit: goal, value: all, unit: "% of a core", swept: None }
    });
    passes.chain(whole).collect()
}

/// All of them, and how many were reached.
fn table_of(goals: &[Goal]) -> String {
    let is_reached = |goal: &&Goal| goal.value <= goal.limit;
    let reached = goals.iter().filter(is_reached).count();
    let mut out = format!("{reached} of {} goals are reached; judged with warm caches.\n\n", goals.len());
    out.push_str("| goal | limit | measured | | swept |\n|---|---|---|---|---|\n");
    for goal @ Goal { of, limit, value, unit, swept } in goals {
        let word = if is_reached(&goal) { "reached" } else { "**missed**" };
        let swept = swept.map_or(String::new(), |swept| format!("{swept} {unit}"));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| {of} | {limit} {unit} | {} {unit} | {word} | {swept} |", rounded(*value));
    }
    out
}

/// To three digits.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Columns from a figure of warm caches to that of swept ones.
const SWEPT: usize = 3;

/// A number out of the table of so many processes.
fn find(tables: &str, name: &str, size: usize, cell: usize) -> Option<f64> {
    let head = format!("| {size} sleeping processes");
    let table =
        tables.lines().skip_while(|line| !line.starts_with(&head)).take_while(|line| !line.is_empty());
    let mut rows = table.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    rows.find(|cells| cells.first() == Some(&name))?.get(cell)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_compared_with_their_rows() {
        let tables = "| 100 sleeping processes, 190 in all | warm µs | floor | ratio | swept µs | floor | ratio |\n|---|\n\
            | **all host files** | 150.0 | 100.0 | 1.50 | 400 | 200 | 2.00 | 70 |\n\n\
            | 2000 sleeping processes, 2090 in all | µs |\n|---|\n| process, iterator | 900.0 | 700.0 | 1.29 | 1800.0 | 2 | 3 | 9 |\n\
            | process, /proc | 12 | 10 | 1.2 | 24 | 20 | 1.2 | 4000 |\n\n";
        assert_eq!(find(tables, "process, iterator", 2000, 1), Some(900.0));
        assert_eq!(find(tables, "process, iterator", 100, 1), None);
        let agents = [Whole { size: 100, goal: 0.15, all: 0.1234, collectors: 0.1 }];
        let goals = table_of(&goals(tables, &agents));
        assert!(goals.starts_with("3 of 4 goals are reached"), "{goals}");
        for row in [
            "1.3 x floor | 1.5 x floor | **missed** | 2 x floor |",
            "| 1500 µs | 900 µs | reached | 1800 µs |",
            "whole agent at 1 s, 100 processes | 0.15 % of a core | 0.123 % of a core | reached |  |",
        ] {
            assert!(goals.contains(row), "{goals}");
        }
        assert!(agent_table(&agents).contains("| 100 | 0.123 | 0.100 |"));
    }
}
