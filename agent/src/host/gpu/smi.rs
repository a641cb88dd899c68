//! `nvidia-smi`, as CSV; what no CSV has (replays, replaced rows, instances) from its XML, once a minute.

use std::sync::Arc;

use super::table::{Row, Table};
use super::{
    Driver, Error, Gpu, Instance, Link, LinkError, MAX_GPUS, MAX_LINKS, Process, bus_of, metrics, tame,
};
use crate::host::Host;
use crate::metric::Metric;

mod detail;
mod lost;

/// The program.
pub const PROGRAM: &str = "nvidia-smi";
/// Detailed looks are made once in so many passes: each costs the driver some hundred milliseconds.
const DETAIL_EVERY: u32 = 6;
/// Whether a line of `nvidia-smi -q -x` is of those that are read: the others tell serial numbers and command lines.
pub fn is_read(line: &str) -> bool {
    detail::is_read(line)
}

/// Columns a driver may refuse; with more it is asked no further.
const MAX_REFUSED: usize = 12;

/// Lines of processes read.
const MAX_BUSY: usize = 256;

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
    busy: Vec<Busy>,
    /// Number, bus address, uuid and model of boards that have been seen.
    seen: Vec<Known>,
}

/// How busy a process keeps a board.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Busy {
    gpu: u32,
    pid: u32,
    percent: f64,
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
            let none = text.trim_start().starts_with("No devices were found");
            if none || Table::read(&text, KNOWN_BY[0]).is_some() || !lost.is_empty() {
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
            Some((row.text(&["gpu_uuid"])?.to_owned(), Process { pid, memory, busy_percent: None }))
        };
        Table::read(&text, "gpu_uuid")
            .map(|table| table.rows().filter_map(process).collect())
            .unwrap_or_default()
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
        let is_it = |known: &&Known| match board.index.filter(|_| board.bus.is_empty()) {
            Some(index) => known.index == index,
            None => known.bus == board.bus,
        };
        let known = self.seen.iter().find(is_it);
        let free = || (0..=MAX_GPUS as u32).find(|index| !others.iter().any(|gpu| gpu.index == *index));
        let index = known.map(|known| known.index).or(board.index).or_else(free)?;
        let (uuid, model) = known.map(|known| (known.uuid.clone(), known.model.clone())).unwrap_or_default();
        let bus = known.map_or(board.bus, |known| known.bus.clone());
        // `NVML_ERROR_NO_PERMISSION` in words.
        let forbidden = board.why.to_ascii_lowercase().contains("insufficient permissions");
        let lost = (!forbidden).then_some(board.why);
        Some(Gpu { index, uuid, model, bus, lost, forbidden, ..Gpu::default() })
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
        let busy = |pid| self.busy.iter().find(|busy| (busy.gpu, busy.pid) == (gpu.index, pid));
        let of_this = processes.iter().filter(|(uuid, _)| *uuid == gpu.uuid);
        let processes =
            of_this.map(|(_, p)| Process { busy_percent: busy(p.pid).map(|busy| busy.percent), ..*p });
        gpu.set_processes(processes.collect());
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
        let table = Table::read(&text, KNOWN_BY[0]).unwrap_or_default();
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

/// A board that fell off the bus: a cell says so, or none has an answer and some an error. One cell with an error is a
/// sensor's.
fn lost(row: Row<'_>) -> Option<String> {
    let is_lost = |cell: &str| ["lost", "requires reset"].iter().any(|word| cell.contains(word));
    let is_error = |cell: &str| cell.contains("unknown error") || cell == "err!";
    let cells = || LINES.iter().filter_map(|(.., names, _)| row.text(names));
    let find = |is: &dyn Fn(&str) -> bool| cells().find(|cell| is(&cell.to_ascii_lowercase()));
    let answers = || LINES.iter().any(|(.., names, _)| row.number(names).is_some());
    let cell = find(&is_lost).or_else(|| find(&is_error).filter(|_| !answers()))?;
    Some(tame(cell.trim_matches(['[', ']'])))
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

/// What `nvidia-smi nvlink -e` calls them; from Blackwell on (seen with 595) none of the first four is there. Of its symbol
/// and effective errors most are mended by the code, so that they grow on a link that is well; so do the buckets of that.
const LINK_ERRORS: [(&str, LinkError); 13] = [
    ("Replay Errors", LinkError::Replay),
    ("Recovery Errors", LinkError::Recovery),
    ("CRC Errors", LinkError::Crc),
    ("CRC FLIT Errors", LinkError::Crc),
    ("Malformed packet Errors", LinkError::Malformed),
    ("Buffer overrun Errors", LinkError::Overrun),
    ("Rx Errors", LinkError::Received),
    ("Rx remote Errors", LinkError::Remote),
    ("Rx General Errors", LinkError::General),
    ("Local link integrity Errors", LinkError::Integrity),
    ("Tx discards", LinkError::Discarded),
    ("Link recovery successful events", LinkError::Recovery),
    ("Link recovery failed events", LinkError::RecoveryFailed),
];

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
    let (_, kind) = LINK_ERRORS.iter().find(|(name, _)| *name == what)?;
    *links.get_mut(at)?.errors.get_mut(*kind as usize)? = Some(count);
    Some(())
}

/// What `nvidia-smi pmon -c 1 -s u` prints: a line `# gpu  pid  type  sm …`, one with units, a line for each process on each
/// board; `-` where nothing was measured.
fn busy(text: &str) -> Vec<Busy> {
    let mut columns: Option<[usize; 3]> = None;
    let mut busy = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.trim_start_matches('#').split_whitespace().collect();
        let at = |name| words.iter().position(|word| *word == name);
        if line.starts_with('#') {
            columns = columns.or_else(|| Some([at("gpu")?, at("pid")?, at("sm")?]));
        } else if let Some(places) = columns {
            let number = |at: usize| words.get(at).and_then(|word| word.parse::<u32>().ok());
            if let [Some(gpu), Some(pid), Some(sm)] = places.map(number)
                && busy.len() < MAX_BUSY
            {
                busy.push(Busy { gpu, pid, percent: f64::from(sm.min(100)) });
            }
        }
    }
    busy
}

#[cfg(test)]
mod tests;
