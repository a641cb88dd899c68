//! Where each program would be put, and what stands in the way.

use std::io;

use crate::ebpf::btf::Btf;
use crate::ebpf::format::Format;
use crate::ebpf::probes::{Constant, Mode, Probe, ProbeState, lacking};
use crate::ebpf::remedy::Circumstances;
use crate::ebpf::tracefs::{Tracefs, TracefsError};
use crate::host::{Host, HostFile};

/// Where the kernel describes its types.
pub(in crate::ebpf) const BTF: &str = "/sys/kernel/btf/vmlinux";

/// A program and what it is put on.
pub(super) struct Point {
    pub(super) program: &'static str,
    /// Number of the tracepoint, or in BTF mode of its type or the function's.
    pub(super) target: u32,
}

/// A mode in which a probe may run here.
pub(super) struct Plan {
    pub(super) mode: Mode,
    pub(super) points: Vec<Point>,
}

/// Why a mode is out, and what to do.
pub(super) struct Obstacle {
    pub(super) mode: Mode,
    /// The kernel has no such tracepoint.
    pub(super) absent: bool,
    /// A capability is missing that every mode wants.
    pub(super) refuses_all: bool,
    pub(super) why: String,
    pub(super) remedy: String,
}

/// A probe that is wanted.
pub(super) struct Candidate {
    pub(super) probe: &'static Probe,
    pub(super) plans: Vec<Plan>,
    pub(super) obstacles: Vec<Obstacle>,
}

impl Candidate {
    /// Many a machine has no memory controller that reports, and many a kernel not its tracepoint.
    pub(super) fn hopeless(&self) -> ProbeState {
        let absent = self.obstacles.iter().any(|obstacle| obstacle.absent);
        match self.probe.hooks.first() {
            Some(hook) if absent && self.probe.rare => {
                ProbeState::Off { reason: format!("this kernel has no {}:{}", hook.category, hook.event) }
            }
            _ => failed(&self.obstacles),
        }
    }
}

/// Why, and what to do.
#[derive(Clone, Debug)]
pub(in crate::ebpf) struct Reason {
    absent: bool,
    pub(in crate::ebpf) why: String,
    pub(in crate::ebpf) remedy: String,
}

impl Reason {
    pub(in crate::ebpf) fn new(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { absent: false, why: why.into(), remedy: remedy.into() }
    }
}

/// Fills in plans and obstacles of each candidate; the constants that all of them want.
pub(super) fn plan(
    host: &dyn Host,
    around: &Circumstances,
    candidates: &mut [Candidate],
    allowed: &dyn Fn(Mode) -> bool,
) -> Vec<Constant> {
    let tracefs = Tracefs::open(host);
    let besides = around.besides_tracefs();
    let names: Vec<String> = candidates.iter().flat_map(|c| c.probe.names()).collect();
    let mut btf = open_btf(host, names.iter().map(String::as_str));
    let mut constants = Vec::new();
    for candidate in candidates {
        for mode in candidate.probe.modes().into_iter().filter(|&mode| allowed(mode)) {
            let points = match mode {
                Mode::Classic => find_events(host, &tracefs, &besides, candidate.probe),
                Mode::Btf => find_types(&mut btf, candidate.probe),
            };
            match points {
                Ok((points, mut found)) => {
                    constants.append(&mut found);
                    candidate.plans.push(Plan { mode, points });
                }
                Err(Reason { absent, why, remedy }) => {
                    candidate.obstacles.push(Obstacle { mode, absent, refuses_all: false, why, remedy });
                }
            }
        }
    }
    constants
}

/// What the kernel says of these types and members.
pub(in crate::ebpf) fn open_btf<'n>(
    host: &dyn Host,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<Btf<Box<dyn HostFile>>, Reason> {
    let file = host.open(BTF).map_err(|error| no_btf(&error))?;
    Btf::parse(file, names).map_err(|error| {
        Reason::new(format!("{BTF} is not usable: {error}"), "please report it with `uname -r`")
    })
}

fn find_types(
    btf: &mut Result<Btf<Box<dyn HostFile>>, Reason>,
    probe: &Probe,
) -> Result<(Vec<Point>, Vec<Constant>), Reason> {
    let btf = btf.as_mut().map_err(|reason| reason.clone())?;
    let facts = probe.facts(btf).map_err(|gap| Reason {
        absent: gap.is_no_tracepoint(),
        ..Reason::new(format!("{BTF} does not serve: {gap}"), "nothing short of another kernel")
    })?;
    let points = facts.tracepoints.into_iter();
    let points = points.map(|(program, target)| Point { program, target }).collect();
    Ok((points, facts.constants))
}

fn find_events(
    host: &dyn Host,
    tracefs: &Result<Tracefs, TracefsError>,
    besides: &[String],
    probe: &Probe,
) -> Result<(Vec<Point>, Vec<Constant>), Reason> {
    let told = |error: &TracefsError| Reason {
        absent: matches!(error, TracefsError::NoTracepoint { .. }),
        ..Reason::new(error.to_string(), error.remedy(besides))
    };
    let tracefs = tracefs.as_ref().map_err(told)?;
    let (mut points, mut all) = (Vec::new(), Vec::new());
    for hook in probe.hooks.iter().filter(|hook| !hook.is_function()) {
        let program = hook.program(Mode::Classic);
        let text = match tracefs.format(host, hook.category, hook.event) {
            Err(_) if lacking(program).is_some() => continue,
            text => text.map_err(|error| told(&error))?,
        };
        let (format, constants) = Format::parse(&text)
            .and_then(|format| hook.constants(&format).map(|constants| (format, constants)))
            .map_err(|error| {
                let why =
                    format!("the format file of {}:{} is not usable: {error}", hook.category, hook.event);
                Reason::new(why, "please report it with that file and `uname -r`")
            })?;
        all.extend(constants);
        points.push(Point { program, target: format.id });
    }
    Ok((points, all))
}

/// Why there is no BTF, and what to do.
fn no_btf(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::NotFound => Reason::new(
            format!("this kernel does not describe its types ({BTF} does not exist)"),
            "a kernel with CONFIG_DEBUG_INFO_BTF",
        ),
        io::ErrorKind::PermissionDenied => {
            Reason::new(format!("{BTF} may not be read"), "give the agent CAP_DAC_READ_SEARCH")
        }
        _ => Reason::new(format!("{BTF} cannot be read: {error}"), "see the error"),
    }
}

/// What stood in the way of each mode.
pub(super) fn failed(obstacles: &[Obstacle]) -> ProbeState {
    let why: Vec<String> = match obstacles {
        [one] => vec![one.why.clone()],
        several => several.iter().map(|o| format!("as {}: {}", o.mode.name(), o.why)).collect(),
    };
    ProbeState::Failed { why: why.join("; "), remedy: remedies(obstacles) }
}

/// What would clear one of them away. Where a mode lacks nothing but a capability that all want, that suffices, and
/// nothing does without it.
pub(super) fn remedies(obstacles: &[Obstacle]) -> String {
    let refused = obstacles.iter().any(|obstacle| obstacle.refuses_all);
    let mut remedies: Vec<&str> = Vec::new();
    for obstacle in obstacles.iter().filter(|o| !o.remedy.is_empty() && (o.refuses_all || !refused)) {
        if !remedies.contains(&obstacle.remedy.as_str()) {
            remedies.push(&obstacle.remedy);
        }
    }
    remedies.join("; or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_suffices_is_said_and_nothing_that_does_not() {
        let check = |obstacles: &[(Mode, bool, &str)], expect: &str| {
            let obstacles: Vec<_> = obstacles
                .iter()
                .map(|&(mode, refuses_all, remedy)| Obstacle {
                    mode,
                    absent: false,
                    refuses_all,
                    why: String::new(),
                    remedy: remedy.into(),
                })
                .collect();
            assert_eq!(remedies(&obstacles), expect);
        };
        let mount = (Mode::Classic, false, "mount it");
        check(&[mount, (Mode::Btf, true, "give it")], "give it");
        check(&[(Mode::Classic, true, "give it"), (Mode::Btf, true, "give it")], "give it");
        check(&[mount, (Mode::Btf, false, "another kernel")], "mount it; or another kernel");
        check(&[mount, (Mode::Btf, false, "")], "mount it");
    }
}
