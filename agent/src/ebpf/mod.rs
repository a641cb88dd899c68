//! eBPF: loading, attaching and reading the programs of `agent-ebpf/`.
//!
//! Nothing behind this module knows of eBPF: histograms come out as samples of a collector,
//! records as events. What does not work here is said in a [`ProbeReport`] and replaced elsewhere.

mod attach;
pub mod decode;
pub mod devices;
pub mod format;
pub mod hist;
pub mod io_metrics;
mod object;
pub mod percentile;
pub mod probes;
pub mod remedy;
mod stats;
mod sys;
pub mod tracefs;
pub mod transport;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use agent_common::{Stat, names};
use aya::maps::perf::PerfBufferError;
use aya::maps::{Map, MapData, PerfEventArray};

use self::attach::Attachment;
use self::decode::{DeviceName, decode};
use self::format::Format;
use self::hist::{EbpfCollector, HistMap, Look};
use self::object::{Loader, Sizes};
use self::probes::{Constant, Hook, PROBES, Probe, ProbeReport, ProbeState};
use self::remedy::{Circumstances, Failure, Step, explain};
use self::stats::{Counts, Stats, loses};
use self::tracefs::Tracefs;
use self::transport::{PerfBuffers, Record, Transport};
use crate::event::{Event, Lost, Source, What};
use crate::host::{Host, read_text};
use crate::time::{MILLI, Now};

/// The keys of `[ebpf]` that concern loading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Probe on OOM kills.
    pub oom: bool,
    /// Probe on hung tasks.
    pub hung_task: bool,
    /// Probe on block requests.
    pub block_io: bool,
    /// Latency from which on a request is an event, milliseconds.
    pub io_latency_threshold_ms: u64,
    /// Such events per second at most.
    pub max_io_events_per_sec: u32,
    /// Pages of a perf buffer, one buffer per processor; rounded up to a power of two, and down
    /// where all buffers together exceed [`transport::MAX_BUFFER_BYTES`].
    pub perf_buffer_pages: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            oom: true,
            hung_task: true,
            block_io: true,
            io_latency_threshold_ms: 500,
            max_io_events_per_sec: 20,
            perf_buffer_pages: 16,
        }
    }
}

/// Running probes. Its descriptor becomes readable when [`Ebpf::drain`] has something to give.
pub struct Ebpf {
    transport: Box<dyn Transport>,
    _attached: Vec<Attachment>,
    stats: Arc<Stats>,
    histograms: Option<HistMap>,
    map_bytes: u64,
    threshold_ms: f64,
    /// Lost by the transport's own count; kernels before 5.1 do not tell the program.
    lost: u64,
    reported: Counts,
    undecodable: u64,
}

impl Ebpf {
    /// Loads and attaches what is wanted and possible; says of every probe how it stands.
    pub fn load(host: &dyn Host, options: &Options) -> (Option<Self>, Vec<ProbeReport>) {
        let mut loading = Loading::new(host, options);
        let ebpf = loading.run();
        (ebpf, loading.reports())
    }

    /// Hands over what has arrived. Wants to be called when the descriptor is readable, and every
    /// few seconds besides.
    pub fn drain(&mut self, now: Now, device: &mut DeviceName<'_>, each: &mut dyn FnMut(Event)) {
        let Self { transport, threshold_ms, lost, undecodable, .. } = self;
        transport.drain(&mut |record| match record {
            Record::Bytes(bytes) => match decode(bytes, now, *threshold_ms, device) {
                Ok(event) => each(event),
                Err(_) => *undecodable += 1,
            },
            Record::Lost(count) => *lost += count,
        });
    }

    /// Hands over what was lost since the previous call, by reason. Wants to be called every few seconds.
    pub fn losses(&mut self, now: Now, each: &mut dyn FnMut(Event)) -> io::Result<()> {
        let mut counts = self.stats.read().map_err(io::Error::other)?;
        let output = &mut counts[Stat::OutputLost as usize];
        *output = (*output).max(self.lost);
        for ((stat, &count), reported) in Stat::ALL.into_iter().zip(&counts).zip(&self.reported) {
            let (Some(part), Some(more @ 1..)) = (loses(stat), count.checked_sub(*reported)) else {
                continue;
            };
            let what = What::Lost(Lost { part, count: more, reason: stat.name() });
            each(Event { at: now, source: Source::Ebpf, historic: false, what });
        }
        self.reported = counts;
        Ok(())
    }

    /// The collector of histograms and counters, once.
    pub fn collector(&mut self, look: Look) -> EbpfCollector {
        EbpfCollector::new(self.histograms.take(), Arc::clone(&self.stats), self.map_bytes, look)
    }

    /// Memory of maps and buffers, bytes; not part of the resident memory.
    pub fn map_bytes(&self) -> u64 {
        self.map_bytes
    }

    /// Records that could not be decoded, since the start; not 0 only if agent and object do not fit.
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }
}

impl AsRawFd for Ebpf {
    fn as_raw_fd(&self) -> RawFd {
        self.transport.as_fd().as_raw_fd()
    }
}

impl AsFd for Ebpf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}

/// A hook whose tracepoint was found.
struct Found {
    hook: &'static Hook,
    tracepoint: u32,
}

/// The work of [`Ebpf::load`]: probes leave `alive` as they fail.
struct Loading<'a> {
    host: &'a dyn Host,
    options: &'a Options,
    around: Circumstances,
    alive: Vec<(&'static Probe, Vec<Found>)>,
    constants: Vec<Constant>,
    states: Vec<(&'static Probe, ProbeState)>,
}

impl<'a> Loading<'a> {
    fn new(host: &'a dyn Host, options: &'a Options) -> Self {
        let around = Circumstances::of(host);
        Self { host, options, around, alive: Vec::new(), constants: Vec::new(), states: Vec::new() }
    }

    fn run(&mut self) -> Option<Ebpf> {
        self.find_tracepoints();
        if self.alive.is_empty() {
            return None;
        }
        self.load().unwrap_or_else(|failure| {
            self.keep_alive(|_| Err(failure.again()));
            None
        })
    }

    fn find_tracepoints(&mut self) {
        let tracefs = Tracefs::open(self.host);
        for probe in PROBES {
            if !(probe.wanted)(self.options) {
                let reason = format!("switched off by ebpf.{} = false", probe.name);
                self.states.push((probe, ProbeState::Off { reason }));
                continue;
            }
            let found = match &tracefs {
                Ok(tracefs) => self.find(tracefs, probe),
                Err(error) => Err((error.to_string(), error.remedy().to_owned())),
            };
            match found {
                Ok(found) => self.alive.push((probe, found)),
                Err((why, remedy)) => self.states.push((probe, ProbeState::Failed { why, remedy })),
            }
        }
    }

    /// Finds the tracepoints of one probe and notes where their fields lie.
    fn find(&mut self, tracefs: &Tracefs, probe: &'static Probe) -> Result<Vec<Found>, (String, String)> {
        let mut found = Vec::new();
        for hook in probe.hooks {
            let text = tracefs
                .format(self.host, hook.category, hook.event)
                .map_err(|error| (error.to_string(), error.remedy().to_owned()))?;
            let (format, constants) = Format::parse(&text)
                .and_then(|format| hook.constants(&format).map(|constants| (format, constants)))
                .map_err(|error| {
                    let why =
                        format!("the format file of {}:{} is not usable: {error}", hook.category, hook.event);
                    (why, "please report it with that file and `uname -r`".to_owned())
                })?;
            self.constants.extend(constants);
            found.push(Found { hook, tracepoint: format.id });
        }
        Ok(found)
    }

    /// What all probes share; a failure here is the failure of all.
    fn load(&mut self) -> Result<Option<Ebpf>, Failure> {
        let cpus = aya::util::online_cpus().map_err(|(_, error)| Failure::at(Step::Buffer)(error))?;
        let sizes = Sizes::of(cpus.len() as u32, self.count_disks());
        self.add_settings(sizes);
        let mut loader = Loader::new(&self.constants, sizes)?;
        loader.make_shared_maps()?;
        let shared_bytes: u64 = loader.maps().map(|map| self.memory_of(map)).sum();
        self.keep_alive(|probe| loader.make_maps(probe));
        let probes: Vec<_> = self.alive.iter().map(|(probe, _)| *probe).collect();
        loader.relocate(&probes)?;
        let transport = self.open_transport(&mut loader, &cpus)?;
        let stats = take(&mut loader, names::STATS, Stats::new)?;
        let attached = self.attach(&mut loader, &*transport, cpus[0]);
        if attached.is_empty() {
            return Ok(None);
        }
        let probe_bytes: u64 = loader.probe_maps().map(|map| self.memory_of(map)).sum();
        Ok(Some(Ebpf {
            map_bytes: shared_bytes + probe_bytes + transport.bytes(),
            transport,
            _attached: attached,
            stats: Arc::new(stats),
            histograms: take(&mut loader, names::HIST, HistMap::new).ok(),
            threshold_ms: self.options.io_latency_threshold_ms as f64,
            lost: 0,
            reported: Counts::default(),
            undecodable: 0,
        }))
    }

    /// Loads and attaches the programs of each probe, all of them or none.
    fn attach(&mut self, loader: &mut Loader, transport: &dyn Transport, cpu: u32) -> Vec<Attachment> {
        let mut attached = Vec::new();
        for (probe, found) in std::mem::take(&mut self.alive) {
            match attach_all(loader, &found, cpu) {
                Ok(attachments) => {
                    attached.extend(attachments);
                    let mode = format!("{} and {}", attach::MODE, transport.name());
                    self.states.push((probe, ProbeState::On { mode }));
                }
                Err(failure) => {
                    loader.drop_maps(probe);
                    self.fail(probe, &failure);
                }
            }
        }
        attached
    }

    fn open_transport(&self, loader: &mut Loader, cpus: &[u32]) -> Result<Box<dyn Transport>, Failure> {
        let events = take(loader, names::EVENTS, |map| PerfEventArray::try_from(Map::PerfEventArray(map)))?;
        PerfBuffers::open(events, cpus, self.options.perf_buffer_pages, self.host.page_size())
            .map(|buffers| Box::new(buffers) as Box<dyn Transport>)
            .map_err(|error| Failure::at(Step::Buffer)(buffer_error(error)))
    }

    fn add_settings(&mut self, sizes: Sizes) {
        let Options { io_latency_threshold_ms, max_io_events_per_sec, .. } = self.options;
        let threshold = io_latency_threshold_ms.saturating_mul(MILLI);
        self.constants.extend([
            Constant::new("IO_THRESHOLD_NS", threshold.to_ne_bytes()),
            Constant::new("IO_MAX_PER_SECOND", max_io_events_per_sec.to_ne_bytes()),
            Constant::new("HIST_SHARD_MASK", (sizes.shards - 1).to_ne_bytes()),
        ]);
    }

    fn count_disks(&self) -> u32 {
        let mut disks = 0;
        // Unreadable: the room for disks to come has to do; what does not fit is counted.
        let _ = self.host.list("/sys/block", &mut |_| disks += 1);
        disks
    }

    /// What the kernel accounts for a map.
    fn memory_of(&self, map: &MapData) -> u64 {
        let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
        let text = read_text(self.host, &path).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok()).unwrap_or_default()
    }

    fn keep_alive(&mut self, mut check: impl FnMut(&'static Probe) -> Result<(), Failure>) {
        for (probe, found) in std::mem::take(&mut self.alive) {
            match check(probe) {
                Ok(()) => self.alive.push((probe, found)),
                Err(failure) => self.fail(probe, &failure),
            }
        }
    }

    fn fail(&mut self, probe: &'static Probe, failure: &Failure) {
        let (why, remedy) = explain(failure, &self.around);
        self.states.push((probe, ProbeState::Failed { why, remedy }));
    }

    /// One report a probe, in the order of the table.
    fn reports(mut self) -> Vec<ProbeReport> {
        let place = |probe: &Probe| PROBES.iter().position(|p| p.name == probe.name);
        self.states.sort_by_key(|(probe, _)| place(probe));
        self.states.into_iter().map(|(probe, state)| ProbeReport { probe, state }).collect()
    }
}

fn attach_all(loader: &Loader, found: &[Found], cpu: u32) -> Result<Vec<Attachment>, Failure> {
    let programs: Vec<_> = found.iter().map(|f| loader.load(f.hook.program)).collect::<Result<_, _>>()?;
    let pairs = found.iter().zip(&programs);
    pairs.map(|(f, program)| attach::attach(program.as_fd(), f.tracepoint, cpu)).collect()
}

/// Takes a map out of the loader as what it is.
fn take<T>(
    loader: &mut Loader,
    name: &'static str,
    make: impl FnOnce(MapData) -> Result<T, aya::maps::MapError>,
) -> Result<T, Failure> {
    let map = loader.take_map(name).ok_or(aya::maps::MapError::ElementNotFound);
    map.and_then(make).map_err(|error| Failure::at(Step::Object)(io::Error::other(error)))
}

fn buffer_error(error: PerfBufferError) -> io::Error {
    match error {
        PerfBufferError::OpenError { io_error }
        | PerfBufferError::MMapError { io_error }
        | PerfBufferError::PerfEventEnableError { io_error }
        | PerfBufferError::IOError(io_error) => io_error,
        other @ PerfBufferError::InvalidPageCount { .. } => io::Error::other(other),
    }
}
