//! The work of [`Ebpf::load`]: what this host can do for each probe, tried in order.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use agent_common::names;
use aya::maps::perf::PerfBufferError;
use aya::maps::{Map, MapData, PerfEventArray};

use super::attach::{self, Attachment};
use super::btf::Btf;
use super::format::Format;
use super::hist::HistMap;
use super::issuers::Issuers;
use super::object::{Loader, Sizes};
use super::probes::{Constant, Mode, PROBES, Probe, ProbeReport, ProbeState, lacking};
use super::remedy::{Circumstances, Failure, Step, explain, refusal};
use super::stats::{Counts, Stats};
use super::tracefs::{Tracefs, TracefsError};
use super::transport::{self, PerfBuffers, Ring, Transport, Way};
use super::{Ebpf, Options};
use crate::host::{Host, HostFile, read_text};
use crate::time::{MILLI, SECOND};

/// Where the kernel describes its types.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// A program and what it is put on.
struct Point {
    program: &'static str,
    /// Number of the tracepoint, or in BTF mode of its type.
    target: u32,
}

/// A mode in which a probe may run here.
struct Plan {
    mode: Mode,
    points: Vec<Point>,
}

/// Why a mode is out, and what to do.
struct Obstacle {
    mode: Mode,
    why: String,
    remedy: String,
}

/// A probe that is wanted.
struct Candidate {
    probe: &'static Probe,
    plans: Vec<Plan>,
    obstacles: Vec<Obstacle>,
}

/// Probes leave `alive` as they fail.
pub(super) struct Loading<'a> {
    host: &'a dyn Host,
    options: &'a Options,
    around: Circumstances,
    alive: Vec<Candidate>,
    constants: Vec<Constant>,
    states: Vec<(&'static Probe, ProbeState)>,
}

impl<'a> Loading<'a> {
    pub(super) fn new(host: &'a dyn Host, options: &'a Options) -> Self {
        let around = Circumstances::of(host);
        Self { host, options, around, alive: Vec::new(), constants: Vec::new(), states: Vec::new() }
    }

    pub(super) fn run(&mut self) -> Option<Ebpf> {
        self.choose();
        self.plan();
        self.drop_hopeless();
        if self.alive.is_empty() {
            return None;
        }
        self.load().unwrap_or_else(|failure| {
            self.keep_alive(|_| Err(failure.again()));
            None
        })
    }

    /// One report a probe, in the order of the table.
    pub(super) fn reports(mut self) -> Vec<ProbeReport> {
        let place = |probe: &Probe| PROBES.iter().position(|p| p.name == probe.name);
        self.states.sort_by_key(|(probe, _)| place(probe));
        self.states.into_iter().map(|(probe, state)| ProbeReport { probe, state }).collect()
    }

    fn choose(&mut self) {
        for probe in PROBES {
            if (probe.wanted)(self.options) {
                self.alive.push(Candidate { probe, plans: Vec::new(), obstacles: Vec::new() });
            } else {
                let reason = format!("switched off by ebpf.{} = false", probe.name);
                self.states.push((probe, ProbeState::Off { reason }));
            }
        }
    }

    /// Finds out for each probe and mode where things lie.
    fn plan(&mut self) {
        if self.alive.is_empty() {
            return;
        }
        let mut alive = std::mem::take(&mut self.alive);
        let tracefs = Tracefs::open(self.host);
        let mut btf = self.open_btf(&alive);
        for candidate in &mut alive {
            for mode in candidate.probe.modes().filter(|&mode| self.options.allows(mode)) {
                let points = match mode {
                    Mode::Classic => self.find_events(&tracefs, candidate.probe),
                    Mode::Btf => self.find_types(&mut btf, candidate.probe),
                };
                match points {
                    Ok(points) => candidate.plans.push(Plan { mode, points }),
                    Err((why, remedy)) => candidate.obstacles.push(Obstacle { mode, why, remedy }),
                }
            }
        }
        self.alive = alive;
    }

    fn open_btf(&self, alive: &[Candidate]) -> Result<Btf<Box<dyn HostFile>>, (String, String)> {
        let names: Vec<String> = alive.iter().flat_map(|c| c.probe.btf.names()).collect();
        let file = self.host.open(BTF).map_err(|error| no_btf(&error))?;
        Btf::parse(file, names.iter().map(String::as_str)).map_err(|error| {
            (format!("{BTF} is not usable: {error}"), "please report it with `uname -r`".to_owned())
        })
    }

    fn find_types(
        &mut self,
        btf: &mut Result<Btf<Box<dyn HostFile>>, (String, String)>,
        probe: &Probe,
    ) -> Result<Vec<Point>, (String, String)> {
        let btf = btf.as_mut().map_err(|obstacle| obstacle.clone())?;
        let facts = probe.btf.facts(btf).map_err(|gap| {
            (format!("{BTF} does not serve: {gap}"), "nothing short of another kernel".to_owned())
        })?;
        self.constants.extend(facts.constants);
        let points = facts.tracepoints.into_iter();
        Ok(points.map(|(program, target)| Point { program, target }).collect())
    }

    fn find_events(
        &mut self,
        tracefs: &Result<Tracefs, TracefsError>,
        probe: &'static Probe,
    ) -> Result<Vec<Point>, (String, String)> {
        let told = |error: &TracefsError| (error.to_string(), error.remedy().to_owned());
        let tracefs = tracefs.as_ref().map_err(told)?;
        let mut points = Vec::new();
        for hook in probe.classic {
            let text = match tracefs.format(self.host, hook.category, hook.event) {
                Err(_) if lacking(hook.program).is_some() => continue,
                text => text.map_err(|error| told(&error))?,
            };
            let (format, constants) = Format::parse(&text)
                .and_then(|format| hook.constants(&format).map(|constants| (format, constants)))
                .map_err(|error| {
                    let why =
                        format!("the format file of {}:{} is not usable: {error}", hook.category, hook.event);
                    (why, "please report it with that file and `uname -r`".to_owned())
                })?;
            self.constants.extend(constants);
            points.push(Point { program: hook.program, target: format.id });
        }
        Ok(points)
    }

    /// Lets go of probes that have no way left.
    fn drop_hopeless(&mut self) {
        for candidate in std::mem::take(&mut self.alive) {
            if candidate.plans.is_empty() {
                self.states.push((candidate.probe, failed(&candidate.obstacles)));
            } else {
                self.alive.push(candidate);
            }
        }
    }

    /// What all probes share; a failure here is the failure of all.
    fn load(&mut self) -> Result<Option<Ebpf>, Failure> {
        let cpus = aya::util::online_cpus().map_err(|(_, error)| Failure::at(Step::Buffer)(error))?;
        let pages = self.options.perf_buffer_pages;
        let sizes = Sizes {
            ring_bytes: transport::ring_bytes(cpus.len() as u32, pages, self.host.page_size()),
            ..Sizes::of(cpus.len() as u32, self.count_disks())
        };
        let mut loader = Loader::new(sizes)?;
        let out = self.open_transport(&mut loader, &cpus, sizes)?;
        self.drop_hopeless();
        let issuer_shift = self.options.issuer_window_secs.max(1).saturating_mul(SECOND).ilog2();
        self.add_settings(sizes, out.transport.way(), issuer_shift);
        loader.make_constants(&self.constants)?;
        loader.make_map(names::STATS)?;
        let shared_bytes: u64 = loader.maps().map(|map| self.memory_of(map)).sum();
        self.keep_alive(|probe| loader.make_maps(probe));
        let programs = self.alive.iter().flat_map(|c| &c.plans).flat_map(|plan| &plan.points);
        let programs: HashSet<&str> = programs.map(|point| point.program).collect();
        loader.relocate(&programs, out.map.as_fd())?;
        let stats = take(&mut loader, names::STATS, Stats::new)?;
        let attached = self.attach(&mut loader, &out, cpus[0]);
        if attached.is_empty() {
            return Ok(None);
        }
        let probe_bytes: u64 = loader.probe_maps().map(|map| self.memory_of(map)).sum();
        Ok(Some(Ebpf {
            map_bytes: shared_bytes + probe_bytes + out.bytes,
            transport: out.transport,
            _attached: attached,
            stats: Arc::new(stats),
            histograms: take(&mut loader, names::HIST, HistMap::new).ok(),
            issuers: take(&mut loader, names::ISSUERS, |map| Issuers::new(map, issuer_shift)).ok(),
            threshold_ms: self.options.io_latency_threshold_ms as f64,
            lost: 0,
            reported: Counts::default(),
            undecodable: 0,
        }))
    }

    /// Perf buffers wherever they are allowed, else a ring buffer, which needs no perf event.
    fn open_transport(&mut self, loader: &mut Loader, cpus: &[u32], sizes: Sizes) -> Result<Out, Failure> {
        let only = self.options.only_transport;
        let perf = match only {
            Some(Way::Ring) => Err(None),
            _ => self.open_perf(loader, cpus).map_err(Some),
        };
        let refused = match perf {
            Ok(out) => return Ok(out),
            Err(Some(failure)) if only.is_some() || !self.any_btf() => return Err(failure),
            Err(refused) => refused,
        };
        let why = refused.as_ref().map(|failure| refusal(failure, &self.around));
        let out = self.open_ring(loader, sizes, why).map_err(|failure| {
            match (failure.error.raw_os_error(), refused) {
                // No such map here: then the perf buffers are what could be mended.
                (Some(libc::EINVAL | libc::ENOSYS), Some(refused)) => refused,
                _ => failure,
            }
        })?;
        for candidate in &mut self.alive {
            candidate.plans.retain(|plan| plan.mode == Mode::Btf);
        }
        Ok(out)
    }

    fn any_btf(&self) -> bool {
        self.alive.iter().flat_map(|candidate| &candidate.plans).any(|plan| plan.mode == Mode::Btf)
    }

    fn open_perf(&self, loader: &mut Loader, cpus: &[u32]) -> Result<Out, Failure> {
        let (pages, page_size) = (self.options.perf_buffer_pages, self.host.page_size());
        loader.make_map(names::EVENTS)?;
        let (mut map, mut bytes) = (None, 0);
        let events = take(loader, names::EVENTS, |events| {
            bytes = self.memory_of(&events);
            map = Some(events.fd().as_fd().try_clone_to_owned());
            PerfEventArray::try_from(Map::PerfEventArray(events))
        })?;
        let buffers = PerfBuffers::open(events, cpus, pages, page_size)
            .map_err(|error| Failure::at(Step::Buffer)(buffer_error(error)))?;
        Out::new(buffers, map, bytes, None)
    }

    fn open_ring(&self, loader: &mut Loader, sizes: Sizes, why: Option<String>) -> Result<Out, Failure> {
        loader.make_map(names::RING)?;
        let mut map = None;
        let ring = take(loader, names::RING, |ring| {
            map = Some(ring.fd().as_fd().try_clone_to_owned());
            Ring::open(ring, sizes.ring_bytes, self.host.page_size())
        })?;
        Out::new(ring, map, 0, why)
    }

    /// Loads and attaches the programs of each probe, all of them or none.
    fn attach(&mut self, loader: &mut Loader, out: &Out, cpu: u32) -> Vec<Attachment> {
        let mut attached = Vec::new();
        for Candidate { probe, plans, mut obstacles } in std::mem::take(&mut self.alive) {
            let mut running = None;
            for plan in plans {
                match attach_all(loader, &plan, cpu) {
                    Ok((attachments, failed)) => {
                        attached.extend(attachments);
                        let on: Vec<_> =
                            plan.points.iter().map(|p| p.program).filter(|p| !failed.contains(p)).collect();
                        running = Some((plan.mode, absences(probe, plan.mode, &on)));
                        break;
                    }
                    Err(failure) => {
                        let (why, remedy) = explain(&failure, &self.around);
                        obstacles.push(Obstacle { mode: plan.mode, why, remedy });
                    }
                }
            }
            let state = if let Some((mode, absences)) = running {
                ProbeState::On { mode: describe(mode, out, &obstacles) + &absences }
            } else {
                loader.drop_maps(probe);
                failed(&obstacles)
            };
            self.states.push((probe, state));
        }
        attached
    }

    fn add_settings(&mut self, sizes: Sizes, way: Way, issuer_shift: u32) {
        let Options { io_latency_threshold_ms, max_io_events_per_sec, .. } = self.options;
        let threshold = io_latency_threshold_ms.saturating_mul(MILLI);
        let error_hook = |point: &Point| [names::IO_ERROR, names::IO_ERROR_BTF].contains(&point.program);
        let has_errors = self.alive.iter().flat_map(|c| &c.plans).flat_map(|p| &p.points).any(error_hook);
        let page_kb_shift = (self.host.page_size() >> 10).max(1).ilog2() as u8;
        self.constants.extend([
            Constant::new("IO_THRESHOLD_NS", threshold.to_ne_bytes()),
            Constant::new("IO_MAX_PER_SECOND", max_io_events_per_sec.to_ne_bytes()),
            Constant::new("HIST_SHARD_MASK", (sizes.shards - 1).to_ne_bytes()),
            Constant::new("ERRORS_BY_COMPLETION", [u8::from(!has_errors)]),
            Constant::new("ISSUER_WINDOW_SHIFT", issuer_shift.to_ne_bytes()),
            Constant::new("USE_RING", [u8::from(way == Way::Ring)]),
            Constant::new("PAGE_KB_SHIFT", [page_kb_shift]),
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
        for candidate in std::mem::take(&mut self.alive) {
            match check(candidate.probe) {
                Ok(()) => self.alive.push(candidate),
                Err(failure) => {
                    let (why, remedy) = explain(&failure, &self.around);
                    self.states.push((candidate.probe, ProbeState::Failed { why, remedy }));
                }
            }
        }
    }
}

/// The way out that was found.
struct Out {
    transport: Box<dyn Transport>,
    /// Its map.
    map: OwnedFd,
    /// Memory it holds, bytes.
    bytes: u64,
    /// Why it is not a perf buffer.
    why: Option<String>,
}

impl Out {
    fn new(
        transport: impl Transport + 'static,
        map: Option<io::Result<OwnedFd>>,
        map_bytes: u64,
        why: Option<String>,
    ) -> Result<Self, Failure> {
        let map =
            map.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into())).map_err(Failure::at(Step::Buffer))?;
        Ok(Self { map, bytes: map_bytes + transport.bytes(), transport: Box::new(transport), why })
    }
}

/// Mode and transport of a running probe, and why not others.
fn describe(mode: Mode, out: &Out, obstacles: &[Obstacle]) -> String {
    let way = format!("{} and {}", mode.name(), out.transport.way().name());
    let others = obstacles.iter().map(|o| format!("; not as {}: {}", o.mode.name(), o.why));
    let no_perf = out.why.iter().map(|why| format!("; no perf buffer: {why}"));
    std::iter::once(way).chain(others).chain(no_perf).collect()
}

/// What stood in the way of each mode.
fn failed(obstacles: &[Obstacle]) -> ProbeState {
    let (mut why, mut remedy) = (Vec::new(), Vec::new());
    for obstacle in obstacles {
        why.push(match obstacles.len() {
            1 => obstacle.why.clone(),
            _ => format!("as {}: {}", obstacle.mode.name(), obstacle.why),
        });
        if !remedy.contains(&obstacle.remedy) {
            remedy.push(obstacle.remedy.clone());
        }
    }
    ProbeState::Failed { why: why.join("; "), remedy: remedy.join("; or ") }
}

/// Attachments, and the optional programs that were refused.
type Attached = (Vec<Attachment>, Vec<&'static str>);

fn attach_all(loader: &Loader, plan: &Plan, cpu: u32) -> Result<Attached, Failure> {
    let mut optional_failed = Vec::new();
    // All are loaded before the first is attached: what cannot run leaves nothing behind.
    let mut programs = Vec::new();
    for point in &plan.points {
        match loader.load(point.program, (plan.mode == Mode::Btf).then_some(point.target)) {
            Ok(program) => programs.push((point, program)),
            Err(_) if lacking(point.program).is_some() => optional_failed.push(point.program),
            Err(failure) => return Err(failure),
        }
    }
    let mut attached = Vec::new();
    for (point, program) in &programs {
        let attachment = match plan.mode {
            Mode::Classic => attach::to_event(program.as_fd(), point.target, cpu),
            Mode::Btf => attach::to_type(program.as_fd()),
        };
        match attachment {
            Ok(attachment) => attached.push(attachment),
            Err(_) if lacking(point.program).is_some() => optional_failed.push(point.program),
            Err(failure) => return Err(failure),
        }
    }
    Ok((attached, optional_failed))
}

/// What a probe lacks because of optional programs that do not run.
fn absences(probe: &Probe, mode: Mode, on: &[&str]) -> String {
    let classic = probe.classic.iter().map(|hook| (hook.program, hook.event));
    let btf = probe.btf.hooks.iter().map(|hook| (hook.program, hook.event));
    let hooks: Vec<_> = if mode == Mode::Classic { classic.collect() } else { btf.collect() };
    let missing = hooks.into_iter().filter(|(program, _)| !on.contains(program));
    missing.filter_map(|(program, event)| Some(format!("; without {event}: {}", lacking(program)?))).collect()
}

/// Why there is no BTF, and what to do.
fn no_btf(error: &io::Error) -> (String, String) {
    match error.kind() {
        io::ErrorKind::NotFound => (
            format!("this kernel does not describe its types ({BTF} does not exist)"),
            "a kernel with CONFIG_DEBUG_INFO_BTF".to_owned(),
        ),
        io::ErrorKind::PermissionDenied => {
            (format!("{BTF} may not be read"), "give the agent CAP_DAC_READ_SEARCH".to_owned())
        }
        _ => (format!("{BTF} cannot be read: {error}"), "see the error".to_owned()),
    }
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
