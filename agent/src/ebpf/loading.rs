//! The work of [`Ebpf::load`]: what this host can do for each probe, tried in order.

mod out;
pub(super) mod plan;

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use agent_common::names;

use self::out::{Out, memory_of, take};
use self::plan::{Candidate, Obstacle, Plan, Point, failed, remedies};
use super::attach::{self, Attachment};
use super::hist::HistMap;
use super::issuers::Issuers;
use super::object::{Loader, Sizes};
use super::probes::{Constant, Lack, Mode, PROBES, Probe, ProbeReport, ProbeState, is_on_function, lacking};
use super::programs::Programs;
use super::remedy::{Circumstances, Failure, Step, explain, refusal};
use super::stats::{Counts, Stats};
use super::sys::For;
use super::transport::{self, Way};
use super::{Ebpf, Options};
use crate::host::Host;
use crate::time::{MILLI, SECOND};

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
                let reason = format!("switched off by ebpf.{} = false", probe.key);
                self.states.push((probe, ProbeState::Off { reason }));
            }
        }
    }

    /// Finds out for each probe and mode where things lie.
    fn plan(&mut self) {
        if !self.alive.is_empty() {
            let allowed = |mode: Mode| self.options.only_mode.is_none_or(|only| only == mode);
            self.constants = plan::plan(self.host, &self.around, &mut self.alive, &allowed);
        }
    }

    /// Lets go of probes that have no way left.
    fn drop_hopeless(&mut self) {
        for candidate in std::mem::take(&mut self.alive) {
            if candidate.plans.is_empty() {
                self.states.push((candidate.probe, candidate.hopeless()));
            } else {
                self.alive.push(candidate);
            }
        }
    }

    /// What all probes share; a failure here is the failure of all.
    fn load(&mut self) -> Result<Option<Ebpf>, Failure> {
        let cpus = aya::util::online_cpus().map_err(|(_, error)| Failure::at(Step::Cpus)(error))?;
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
        let shared_bytes: u64 = loader.maps().map(|map| memory_of(self.host, map)).sum();
        self.keep_alive(|probe| loader.make_maps(probe));
        let programs = self.alive.iter().flat_map(|c| &c.plans).flat_map(|plan| &plan.points);
        let programs: HashSet<&str> = programs.map(|point| point.program).collect();
        loader.relocate(&programs, Some(out.map.as_fd()))?;
        let stats = take(&mut loader, names::STATS, Stats::new)?;
        let running = self.attach(&mut loader, &out, cpus[0]);
        if running.is_empty() {
            return Ok(None);
        }
        let (attached, programs): (_, Vec<_>) =
            running.into_iter().map(|r| (r.attachment, (r.name, r.program))).unzip();
        let probe_bytes: u64 = loader.probe_maps().map(|map| memory_of(self.host, map)).sum();
        Ok(Some(Ebpf {
            map_bytes: shared_bytes + probe_bytes + out.bytes,
            transport: out.transport,
            attached,
            stats: Arc::new(stats),
            programs: Programs::new(programs),
            histograms: take(&mut loader, names::HIST, HistMap::new).ok(),
            remotes: out::take_remotes(&mut loader),
            waits: out::take_waits(&mut loader),
            issuers: take(&mut loader, names::ISSUERS, |map| Issuers::new(map, issuer_shift)).ok(),
            threshold_ms: self.options.io_latency_threshold_ms as f64,
            lost: 0,
            odd: 0,
            reported: Counts::default(),
            undecodable: 0,
        }))
    }

    /// Perf buffers wherever they are allowed, else a ring buffer, which needs no perf event.
    fn open_transport(&mut self, loader: &mut Loader, cpus: &[u32], sizes: Sizes) -> Result<Out, Failure> {
        let only = self.options.only_transport;
        let perf = match only {
            Some(Way::Ring) => Err(None),
            _ => Out::perf(self.host, loader, cpus, self.options.perf_buffer_pages).map_err(Some),
        };
        let refused = match perf {
            Ok(out) => return Ok(out),
            Err(Some(failure)) if only.is_some() || !self.any_btf() => return Err(failure),
            Err(refused) => refused,
        };
        let why = match &refused {
            Some(failure) => refusal(failure, &self.around),
            None => "ebpf.transport is \"ring\"".to_owned(),
        };
        let out = Out::ring(self.host, loader, sizes, Some(why)).map_err(|failure| {
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

    /// Loads and attaches the programs of each probe, all of them or none.
    fn attach(&mut self, loader: &mut Loader, out: &Out, cpu: u32) -> Vec<Running> {
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
                        let refuses_all = self.around.refuses_all(&failure);
                        obstacles.push(Obstacle { mode: plan.mode, absent: false, refuses_all, why, remedy });
                    }
                }
            }
            let state = if let Some((mode, absences)) = running {
                let lacks = (probe.lacks)(self.host, &self.around, mode);
                // What keeps it from a better mode is what it lacks.
                let lacks = lacks.map(|lack| match remedies(&obstacles) {
                    remedy if mode != probe.prefers && !remedy.is_empty() => Lack { remedy, ..lack },
                    _ => lack,
                });
                ProbeState::On { mode: describe(probe, mode, out, &obstacles) + &absences, lacks }
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
            Constant::new("WAIT_SHARD_MASK", (sizes.shards - 1).to_ne_bytes()),
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

/// Mode and transport of a running probe, and why not the preferred ones.
fn describe(probe: &Probe, mode: Mode, out: &Out, obstacles: &[Obstacle]) -> String {
    let way = format!("{} and {}", mode.name(), out.transport.way().name());
    // Without perf events there is no other mode than one.
    let better = obstacles.iter().filter(|_| mode != probe.prefers && out.why.is_none());
    let not = better.map(|o| format!("; not as {}: {}", o.mode.name(), o.why));
    let no_perf = out.why.iter().map(|why| format!("; no perf buffer: {why}"));
    std::iter::once(way).chain(not).chain(no_perf).collect()
}

/// A program on its tracepoint.
struct Running {
    name: &'static str,
    program: OwnedFd,
    attachment: Attachment,
}

/// What runs, and the optional programs that were refused.
type Attached = (Vec<Running>, Vec<&'static str>);

fn attach_all(loader: &Loader, plan: &Plan, cpu: u32) -> Result<Attached, Failure> {
    let mut optional_failed = Vec::new();
    // All are loaded before the first is attached: what cannot run leaves nothing behind.
    let mut programs = Vec::new();
    for point in &plan.points {
        let purpose = match plan.mode {
            Mode::Classic => For::Record,
            Mode::Btf if is_on_function(point.program) => For::Function(point.target),
            Mode::Btf => For::Tracepoint(point.target),
        };
        match loader.load(point.program, purpose) {
            Ok(program) => programs.push((point, program)),
            Err(_) if lacking(point.program).is_some() => optional_failed.push(point.program),
            Err(failure) => return Err(failure),
        }
    }
    let mut attached = Vec::new();
    for (point, program) in programs {
        let attachment = match plan.mode {
            Mode::Classic => attach::to_event(program.as_fd(), point.target, cpu),
            Mode::Btf => attach::to_type(program.as_fd()),
        };
        match attachment {
            Ok(attachment) => attached.push(Running { name: point.program, program, attachment }),
            Err(_) if lacking(point.program).is_some() => optional_failed.push(point.program),
            Err(failure) => return Err(failure),
        }
    }
    Ok((attached, optional_failed))
}

/// What a probe lacks because of optional programs that do not run.
fn absences(probe: &Probe, mode: Mode, on: &[&str]) -> String {
    let hooks = probe.hooks.iter().map(|hook| (hook.program(mode), hook.event));
    let missing = hooks.filter(|(program, _)| !on.contains(program));
    missing.filter_map(|(program, event)| Some(format!("; without {event}: {}", lacking(program)?))).collect()
}
