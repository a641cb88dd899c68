//! Times of CPUs added up by socket and by NUMA node.
//!
//! What is added is each CPU's growth since the pass before: a CPU that goes offline takes nothing away,
//! and one that comes back brings nothing of earlier times. Numbers are what the kernel says they are:
//! sockets 0 and 36, nodes without CPUs, CPUs 0, 2 and 4.

use super::cpu::{NODE_ALL, NODE_BUSY, NODE_CPUS, SOCKET_ALL, SOCKET_BUSY, SOCKET_CPUS};
use crate::host::Host;
use crate::host::parse::{number, ranges};
use crate::metric::Metric;
use crate::sample::Samples;

/// Sockets, and nodes, told at most; CPUs of further ones are in none.
const MAX_GROUPS: usize = 64;
/// CPUs followed at most: `NR_CPUS` of the largest x86 kernels.
const MAX_CPUS: usize = 8192;

/// Which sums are made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Of sockets.
    pub sockets: bool,
    /// Of NUMA nodes.
    pub nodes: bool,
}

/// The CPUs, and what they belong to.
pub struct Topology {
    wanted: Wanted,
    cpus: Vec<Cpu>,
    /// CPUs of this pass so far.
    at: usize,
    /// Other CPUs than in the pass before.
    changed: bool,
    sockets: Vec<Sum>,
    nodes: Vec<Sum>,
    /// A socket had more than one CPU.
    real: bool,
}

struct Cpu {
    number: u64,
    socket: Option<usize>,
    node: Option<usize>,
    busy: f64,
    all: f64,
    /// Growth in this pass; `None` in the first.
    grown: Option<(f64, f64)>,
}

struct Sum {
    name: String,
    cpus: usize,
    busy: f64,
    all: f64,
}

impl Topology {
    /// Knows nothing yet.
    pub fn new(wanted: Wanted) -> Self {
        let (cpus, sockets, nodes) = (Vec::new(), Vec::new(), Vec::new());
        Self { wanted, cpus, at: 0, changed: false, sockets, nodes, real: false }
    }

    /// Takes one CPU's times, seconds; called in the order of `/proc/stat`.
    pub fn read(&mut self, number: u64, busy: f64, all: f64) {
        if !(self.wanted.sockets || self.wanted.nodes) || self.at >= MAX_CPUS {
            return;
        }
        if self.cpus.get(self.at).is_none_or(|cpu| cpu.number != number) {
            self.changed = true;
            match self.cpus[self.at..].iter().position(|cpu| cpu.number == number) {
                Some(skipped) => drop(self.cpus.drain(self.at..self.at + skipped)),
                None => self.cpus.insert(self.at, Cpu::new(number, busy, all)),
            }
        }
        self.cpus[self.at].step(busy, all);
        self.at += 1;
    }

    /// Adds up what was read, and puts it out.
    pub fn put(&mut self, host: &dyn Host, out: &mut Samples) {
        self.changed |= self.at < self.cpus.len();
        self.cpus.truncate(self.at);
        self.at = 0;
        if std::mem::take(&mut self.changed) {
            self.learn(host);
        }
        for cpu in &self.cpus {
            let Some((busy, all)) = cpu.grown else { continue };
            for sum in [cpu.socket.map(|at| &mut self.sockets[at]), cpu.node.map(|at| &mut self.nodes[at])] {
                let Some(sum) = sum else { continue };
                sum.busy += busy;
                sum.all += all;
            }
        }
        // A virtual machine may show each CPU as a socket: that says no more than the CPUs do.
        self.real |= self.sockets.iter().any(|sum| sum.cpus > 1);
        if self.real {
            put_all(&self.sockets, [&SOCKET_CPUS, &SOCKET_BUSY, &SOCKET_ALL], out);
        }
        put_all(&self.nodes, [&NODE_CPUS, &NODE_BUSY, &NODE_ALL], out);
    }

    /// Asks the kernel anew who belongs where. Sums of what is still there go on.
    fn learn(&mut self, host: &dyn Host) {
        let mut text = Vec::new();
        for sum in self.sockets.iter_mut().chain(&mut self.nodes) {
            sum.cpus = 0;
        }
        let nodes = if self.wanted.nodes { node_ranges(host, &mut text) } else { Vec::new() };
        for cpu in &mut self.cpus {
            (cpu.socket, cpu.node) = (None, None);
            if self.wanted.sockets
                && let Some(name) = package(host, cpu.number, &mut text)
            {
                cpu.socket = join(&mut self.sockets, &name);
            }
            let node = nodes.iter().find(|(_, first, last)| (*first..=*last).contains(&cpu.number));
            cpu.node = node.and_then(|(name, ..)| join(&mut self.nodes, name));
        }
    }
}

impl Cpu {
    const fn new(number: u64, busy: f64, all: f64) -> Self {
        Self { number, socket: None, node: None, busy, all, grown: None }
    }

    /// `iowait` and `idle` may go back by a little (`get_cpu_iowait_time_us`), and a CPU that was offline
    /// has its old times: such an interval counts for nothing.
    fn step(&mut self, busy: f64, all: f64) {
        let (more_busy, more) = (busy - self.busy, all - self.all);
        self.grown = (more_busy >= 0.0 && more >= more_busy).then_some((more_busy, more));
        (self.busy, self.all) = (busy, all);
    }
}

/// The place of a sum, made where it is new.
fn join(sums: &mut Vec<Sum>, name: &str) -> Option<usize> {
    let at = sums.iter().position(|sum| sum.name == name).unwrap_or(sums.len());
    if at == sums.len() {
        if at >= MAX_GROUPS {
            return None;
        }
        sums.push(Sum { name: name.to_owned(), cpus: 0, busy: 0.0, all: 0.0 });
    }
    sums[at].cpus += 1;
    Some(at)
}

fn put_all(sums: &[Sum], [cpus, busy, all]: [&'static Metric; 3], out: &mut Samples) {
    let alive = || sums.iter().filter(|sum| sum.cpus > 0);
    if alive().count() < 2 {
        return;
    }
    for sum in alive() {
        out.put(cpus, &[&sum.name], sum.cpus as f64);
        out.put(busy, &[&sum.name], sum.busy);
        out.put(all, &[&sum.name], sum.all);
    }
}

/// Number of a CPU's socket; firmware that does not know it says -1.
fn package(host: &dyn Host, cpu: u64, text: &mut Vec<u8>) -> Option<String> {
    host.read(&format!("/sys/devices/system/cpu/cpu{cpu}/topology/physical_package_id"), text).ok()?;
    number(text.trim_ascii()).map(|number| number.to_string())
}

/// Node numbers with the ranges of their CPUs.
fn node_ranges(host: &dyn Host, text: &mut Vec<u8>) -> Vec<(String, u64, u64)> {
    let mut names = Vec::new();
    // Without NUMA there is nothing to list.
    let _ = host.list("/sys/devices/system/node", &mut |name| {
        names.extend(name.strip_prefix("node").filter(|n| number(n.as_bytes()).is_some()).map(str::to_owned));
    });
    let mut nodes = Vec::new();
    for name in names {
        if host.read(&format!("/sys/devices/system/node/node{name}/cpulist"), text).is_ok() {
            nodes.extend(ranges(text).flatten().map(|(first, last)| (name.clone(), first, last)));
        }
    }
    nodes
}

#[cfg(test)]
#[path = "topology_tests.rs"]
mod tests;
