//! `nvidia-smi`, as CSV; what no CSV has (replays, replaced rows, instances) from its XML, once a minute.

use std::sync::Arc;

use super::table::{Row, Table};
use super::{Driver, Error, Gpu, Instance, Link, MAX_GPUS, MAX_LINKS, Process, bus_of, metrics, tame};
use crate::host::Host;
use crate::metric::Metric;

mod detail;
mod lost;

/// The program.
pub const PROGRAM: &str = "nvidia-smi";
/// Detailed looks are made once in so many passes: each costs the driver some hundred milliseconds.
const DETAIL_EVERY: u32 = 6;
/// Columns a driver may refuse; with more it is asked no further.
const MAX_REFUSED: usize = 12;

const MIB: f64 = (1u64 << 20) as f64;
const GIB_OF_MIB: f64 = 1.0 / 1024.0;

/// Columns that every driver has, and those by which a GPU is known.
const KNOWN_BY: [&str; 6] = ["index", "uuid", "name", "pci.bus_id", "driver_version", "ecc.mode.current"];

/// A metric, the value of its label behind `gpu`, the column and its alias on other drivers, what to multiply it by.
type Line = (&'static Metric, &'static str, &'static [&'static str], f64);

/// Columns that are a metric.
const LINES: &[Line] = &[
    (&metrics::UTILIZATION, "", &["utilization.gpu"], 1.0),
    (&metrics::MEMORY_UTILIZATION, "", &["utilization.memory"], 1.0),
    (&metrics::MEMORY_TOTAL, "", &["memory.total"], GIB_OF_MIB),
    (&metrics::MEMORY_USED, "", &["memory.used"], GIB_OF_MIB),
    (&metrics::TEMPERATURE, "", &["temperature.gpu"], 1.0),
    (&metrics::MEMORY_TEMPERATURE, "", &["temperature.memory"], 1.0),
    (&metrics::POWER, "", &["power.draw"], 1.0),
    (&metrics::POWER_LIMIT, "", &["enforced.power.limit"], 1.0),
    (&metrics::CLOCK, "sm", &["clocks.current.sm", "clocks.sm"], 1.0),
    (&metrics::CLOCK, "mem", &["clocks.current.memory", "clocks.mem"], 1.0),
    (&metrics::FAN, "", &["fan.speed"], 1.0),
    (&metrics::ECC_CORRECTED, "volatile", &["ecc.errors.corrected.volatile.total"], 1.0),
    (&metrics::ECC_UNCORRECTED, "volatile", &["ecc.errors.uncorrected.volatile.total"], 1.0),
    (&metrics::ECC_CORRECTED, "aggregate", &["ecc.errors.corrected.aggregate.total"], 1.0),
    (&metrics::ECC_UNCORRECTED, "aggregate", &["ecc.errors.uncorrected.aggregate.total"], 1.0),
    (&metrics::PAGES_RETIRED, "corrected", &["retired_pages.single_bit_ecc.count"], 1.0),
    (&metrics::PAGES_RETIRED, "uncorrected", &["retired_pages.double_bit.count"], 1.0),
    (&metrics::PCIE_GENERATION, "now", &["pcie.link.gen.current"], 1.0),
    (&metrics::PCIE_GENERATION, "best", &["pcie.link.gen.max"], 1.0),
    (&metrics::PCIE_WIDTH, "now", &["pcie.link.width.current"], 1.0),
    (&metrics::PCIE_WIDTH, "best", &["pcie.link.width.max"], 1.0),
];

/// The bits of the reasons for lower clocks; the second name is that of drivers before 535.
const THROTTLE: [&str; 2] = ["clocks_event_reasons.active", "clocks_throttle_reasons.active"];

/// Asks through `nvidia-smi`.
pub struct Smi {
    host: Arc<dyn Host>,
    /// Columns this driver does not know.
    refused: Vec<String>,
    passes: u32,
    details: detail::Details,
    links: Vec<(String, Vec<Link>)>,
    busy: Vec<(u32, f64)>,
    /// Number, bus address, uuid and model of boards that have been seen.
    seen: Vec<Known>,
}

/// What a board is known by.
#[derive(Clone, Debug)]
struct Known {
    index: u32,
    bus: String,
    uuid: String,
    model: String,
}

impl Smi {
    /// Asks nothing yet.
    pub fn new(host: Arc<dyn Host>) -> Self {
        Self {
            host,
            refused: Vec::new(),
            passes: 0,
            details: detail::Details::default(),
            links: Vec::new(),
            busy: Vec::new(),
            seen: Vec::new(),
        }
    }

    fn run(&self, args: &[&str]) -> Result<String, Error> {
        let printed = self.host.run(PROGRAM, args).map_err(|error| Error::of(&error))?;
        Ok(printed.text)
    }

    fn columns(&self) -> String {
        let lines = LINES.iter().filter_map(|(.., names, _)| first_known(names, &self.refused));
        let throttle = first_known(&THROTTLE, &self.refused);
        let columns: Vec<&str> = KNOWN_BY.into_iter().chain(lines).chain(throttle).collect();
        columns.join(",")
    }

    /// The main table. A driver that does not know a column names it and prints nothing else: it is left out from then on.
    /// Boards that it cannot speak with stand before the table, or there is none.
    fn main_table(&mut self) -> Result<(Vec<lost::Board>, String), Error> {
        loop {
            let query = format!("--query-gpu={}", self.columns());
            let (lost, text) = lost::set_aside(&self.run(&[&query, "--format=csv,nounits"])?);
            if Table::read(&text).is_some() || !lost.is_empty() {
                return Ok((lost, text));
            }
            match unknown_column(&text) {
                Some(name) if self.refused.len() < MAX_REFUSED && !self.refused.iter().any(|r| r == name) => {
                    self.refused.push(name.to_owned());
                }
                _ => {
                    return Err(Error::Failed(tame(
                        text.lines().find(|l| !l.trim().is_empty()).unwrap_or("it printed nothing"),
                    )));
                }
            }
        }
    }

    fn look_closely(&mut self) {
        if let Ok(text) = self.run(&["-q", "-x"]) {
            self.details = detail::details(&text);
        }
        if let Ok(text) = self.run(&["nvlink", "-e"]) {
            self.links = links(&text);
        }
        if let Ok(text) = self.run(&["pmon", "-c", "1", "-s", "u"]) {
            self.busy = busy(&text);
        }
    }

    fn processes(&self) -> Vec<(String, Process)> {
        let Ok(text) = self.run(&["--query-compute-apps=gpu_uuid,pid,used_memory", "--format=csv,nounits"])
        else {
            return Vec::new();
        };
        let process = |row: Row<'_>| {
            let pid = row.number(&["pid"])? as u32;
            let memory = row.number(&["used_gpu_memory", "used_memory"]).map(|mib| (mib * MIB) as u64);
            let busy_percent = self.busy.iter().find(|(p, _)| *p == pid).map(|(_, percent)| *percent);
            Some((row.text(&["gpu_uuid"])?.to_owned(), Process { pid, memory, busy_percent }))
        };
        Table::read(&text).map(|table| table.rows().filter_map(process).collect()).unwrap_or_default()
    }

    fn remember(&mut self, gpus: &[Gpu]) {
        for gpu in gpus {
            self.seen.retain(|known| known.bus != gpu.bus);
            self.seen.truncate(MAX_GPUS);
            let (index, bus) = (gpu.index, gpu.bus.clone());
            self.seen.push(Known { index, bus, uuid: gpu.uuid.clone(), model: gpu.model.clone() });
        }
    }

    /// A board that only a line tells of. Its number is the one it had, or that the line gives, or a free one.
    fn lost(&self, board: lost::Board, others: &[Gpu]) -> Option<Gpu> {
        if others.len() >= MAX_GPUS {
            return None;
        }
        let known = self.seen.iter().find(|known| known.bus == board.bus);
        let free = || (0..=MAX_GPUS as u32).find(|index| !others.iter().any(|gpu| gpu.index == *index));
        let index = known.map(|known| known.index).or(board.index).or_else(free)?;
        let (uuid, model) = known.map(|known| (known.uuid.clone(), known.model.clone())).unwrap_or_default();
        Some(Gpu { index, uuid, model, bus: board.bus, lost: Some(board.why), ..Gpu::default() })
    }

    fn gpu(&self, row: Row<'_>, processes: &[(String, Process)]) -> Option<Gpu> {
        let text = |name| row.text(&[name]).map(tame).unwrap_or_default();
        let mut gpu = Gpu {
            index: row.number(&["index"])? as u32,
            uuid: text("uuid"),
            model: text("name"),
            bus: bus_of(&text("pci.bus_id")),
            driver: text("driver_version"),
            cuda: self.details.cuda.clone(),
            ecc: match row.text(&["ecc.mode.current"]) {
                Some("Enabled") => Some(true),
                Some("Disabled") => Some(false),
                _ => None,
            },
            lost: lost(row),
            ..Gpu::default()
        };
        for &(metric, label, names, scale) in LINES {
            gpu.put(metric, label, row.number(names).map(|value| value * scale));
        }
        gpu.put_throttle(row.bits(&THROTTLE));
        if let Some(detail) = self.details.gpus.iter().find(|detail| detail.bus == gpu.bus) {
            detail.put(&mut gpu);
        }
        gpu.links =
            self.links.iter().find(|(uuid, _)| *uuid == gpu.uuid).map(|(_, l)| l.clone()).unwrap_or_default();
        gpu.set_processes(processes.iter().filter(|(uuid, _)| *uuid == gpu.uuid).map(|(_, p)| *p).collect());
        gpu.conclude();
        Some(gpu)
    }
}

impl Driver for Smi {
    fn read(&mut self) -> Result<Vec<Gpu>, Error> {
        let (lost, text) = self.main_table()?;
        if self.passes.is_multiple_of(DETAIL_EVERY) {
            self.look_closely();
        }
        self.passes = self.passes.wrapping_add(1);
        let processes = self.processes();
        let table = Table::read(&text).unwrap_or_default();
        let mut gpus: Vec<Gpu> =
            table.rows().filter_map(|row| self.gpu(row, &processes)).take(MAX_GPUS).collect();
        self.remember(&gpus);
        for board in lost {
            gpus.extend(self.lost(board, &gpus));
        }
        gpus.sort_by_key(|gpu| gpu.index);
        Ok(gpus)
    }

    fn name(&self) -> &'static str {
        PROGRAM
    }
}

fn first_known<'a>(names: &[&'a str], refused: &[String]) -> Option<&'a str> {
    names.iter().find(|name| !refused.iter().any(|refused| refused == **name)).copied()
}

/// `Field "clocks_event_reasons.active" is not a valid field to query.`
fn unknown_column(text: &str) -> Option<&str> {
    let line = text.lines().find(|line| line.contains("not a valid field to query"))?;
    line.split('"').nth(1).filter(|name| name.len() < 64)
}

/// A board that fell off the bus: its cells say so.
fn lost(row: Row<'_>) -> Option<String> {
    let words = ["utilization.gpu", "temperature.gpu", "memory.total"];
    let bad = |cell: &&str| {
        let cell = cell.to_ascii_lowercase();
        ["lost", "requires reset", "unknown error"].iter().any(|word| cell.contains(word)) || cell == "err!"
    };
    words
        .iter()
        .filter_map(|name| row.text(&[name]))
        .find(bad)
        .map(|cell| tame(cell.trim_matches(['[', ']'])))
}

/// What `nvidia-smi nvlink -e` prints, by uuid:
/// `GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-…)`, then, indented, `Link 0: Replay Errors: 0`.
fn links(text: &str) -> Vec<(String, Vec<Link>)> {
    let mut gpus: Vec<(String, Vec<Link>)> = Vec::new();
    for line in text.lines() {
        if let Some((_, uuid)) = line.split_once("(UUID: ") {
            if gpus.len() < MAX_GPUS {
                gpus.push((tame(uuid.trim_end().trim_end_matches(')')), Vec::new()));
            }
        } else if let Some((_, links)) = gpus.last_mut() {
            link_line(line.trim(), links);
        }
    }
    gpus
}

fn link_line(line: &str, links: &mut Vec<Link>) -> Option<()> {
    let (number, rest) = line.strip_prefix("Link ")?.split_once(": ")?;
    let (what, count) = rest.split_once(": ")?;
    let (number, count) = (number.parse().ok()?, count.trim().parse().ok()?);
    let at = links.iter().position(|known| known.link == number).unwrap_or(links.len());
    if at == MAX_LINKS {
        return None;
    }
    if at == links.len() {
        links.push(Link { link: number, ..Link::default() });
    }
    let counters = links.get_mut(at)?;
    match what {
        "Replay Errors" => counters.replay = Some(count),
        "Recovery Errors" => counters.recovery = Some(count),
        "CRC Errors" | "CRC FLIT Errors" => counters.crc = Some(count),
        _ => {}
    }
    Some(())
}

/// What `nvidia-smi pmon -c 1 -s u` prints: a line `# gpu  pid  type  sm …`, one with units, a line a process; `-` where
/// nothing was measured. Process and percent.
fn busy(text: &str) -> Vec<(u32, f64)> {
    let mut columns: Option<(usize, usize)> = None;
    let mut busy = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.trim_start_matches('#').split_whitespace().collect();
        let at = |name| words.iter().position(|word| *word == name);
        if line.starts_with('#') {
            columns = columns.or_else(|| Some((at("pid")?, at("sm")?)));
        } else if let Some((pid, sm)) = columns {
            let number = |at: usize| words.get(at).and_then(|word| word.parse::<u32>().ok());
            if let (Some(pid), Some(sm)) = (number(pid), number(sm))
                && busy.len() < 256
            {
                busy.push((pid, f64::from(sm.min(100))));
            }
        }
    }
    busy
}

#[cfg(test)]
mod tests;
