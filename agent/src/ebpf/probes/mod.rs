//! The table of probes: which programs, on which tracepoints, reading which fields, replaced by what.

mod block_io;
mod hardware;
mod hung_task;
mod oom;
mod resolve;
mod tcp;
mod waits;

use agent_common::names;

use super::Options;
use super::remedy::Circumstances;
use crate::host::Host;

/// How a program hangs on its tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As a perf event, reading the tracepoint's record: every kernel with eBPF.
    Classic,
    /// By the type of the tracepoint, reading its arguments: kernels from 5.8 on that describe their types.
    Btf,
}

impl Mode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Classic, Self::Btf];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "tracepoint",
            Self::Btf => "BTF tracepoint",
        }
    }
}

/// One feature that eBPF serves. It works or fails as a whole, and alone.
#[derive(Debug)]
pub struct Probe {
    /// Name in reports.
    pub name: &'static str,
    /// The key that switches it in `[ebpf]`.
    pub key: &'static str,
    /// Its tracepoints.
    pub hooks: &'static [Hook],
    /// Members of structs that its programs read in BTF mode.
    pub members: &'static [MemberUse],
    /// It is of use in BTF mode when all constants of one of these sets are found.
    pub enough: &'static [&'static [&'static str]],
    /// The mode that is tried first where both are possible.
    pub prefers: Mode,
    /// Maps that only it uses.
    pub maps: &'static [&'static str],
    /// Whether kernels in good order may lack its tracepoints: then it is off, and nobody needs to care.
    pub rare: bool,
    /// What stands in when it does not work.
    pub fallback: &'static str,
    /// Whether the configuration wants it.
    pub wanted: fn(&Options) -> bool,
    /// What it cannot tell although it runs in this mode, and what to do.
    pub lacks: fn(&dyn Host, &Circumstances, Mode) -> Option<Lack>,
}

/// The category of a [`Hook`] at the start of a function of the kernel: in BTF mode only, and never needed, since
/// kernels may be built without such places (`CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS`).
pub const FUNCTION: &str = "function";

/// A tracepoint, its programs, and what they read.
#[derive(Debug)]
pub struct Hook {
    /// Names of the programs in the object, the second in BTF mode; those that read nothing serve in both.
    pub programs: [&'static str; 2],
    /// Category of the tracepoint, or [`FUNCTION`].
    pub category: &'static str,
    /// Name of the tracepoint or the function.
    pub event: &'static str,
    /// What the program reads of the record in classic mode.
    pub fields: &'static [FieldUse],
    /// Arguments by type that it reads in BTF mode; kernels pass different ones at different places.
    pub arguments: &'static [ArgumentUse],
}

impl Hook {
    /// Whether it is the start of a function.
    pub fn is_function(&self) -> bool {
        self.category == FUNCTION
    }

    /// Name of its program in this mode.
    pub const fn program(&self, mode: Mode) -> &'static str {
        let [classic, btf] = self.programs;
        match mode {
            Mode::Classic => classic,
            Mode::Btf => btf,
        }
    }
}

/// An argument of a tracepoint and the constant that gets its place.
#[derive(Debug)]
pub struct ArgumentUse {
    /// Its type as the kernel writes it, `*` first for a pointer: `*request`, `uid_t`.
    pub of: &'static str,
    /// How many of that type stand before it.
    pub nth: usize,
    /// Name of the constant in the object.
    pub constant: &'static str,
}

/// A member of a struct and the constant that gets its offset.
#[derive(Debug)]
pub struct MemberUse {
    /// Where it lies, `request.__sector`; of several, one a generation of kernels, the first that fits.
    pub paths: &'static [&'static str],
    /// Name of the constant in the object.
    pub constant: &'static str,
    /// How the program reads it; never a name by reference.
    pub shape: Shape,
}

/// A field and the constant that gets its offset.
#[derive(Debug)]
pub struct FieldUse {
    /// Name in the `format` file.
    pub field: &'static str,
    /// Name of the constant in the object.
    pub constant: &'static str,
    /// How the program reads it.
    pub shape: Shape,
    /// Whether the probe is of use without it.
    pub required: bool,
}

/// How a program reads a field.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A number of exactly so many bytes.
    Number(u16),
    /// The low bytes of a number of at least so many; the machine is little-endian.
    Low(u16),
    /// The first bytes of an array of at least so many.
    Letters(u16),
    /// A text behind a reference.
    Text,
    /// A task name, in place or by reference; the constant named here says which.
    Name(&'static str),
}

/// What is not known without `block_rq_requeue`.
const REQUEUED: &str = "a request that its driver tries again is measured from its last issue";

/// What is not known without `block_rq_merge`, before 5.11 (f3bdc62fd82e).
const MERGED: &str = "a request may begin when one began that was merged into another";

/// Programs that their probe can do without, and what it lacks then.
const OPTIONAL: &[(&str, &str)] = &[
    (names::OOM_BEGIN, "whose limit was hit is inferred, or taken from the kernel log"),
    (names::IO_INSERT, "the time in queues is not known"),
    (names::IO_INSERT_BTF, "the time in queues is not known"),
    (names::IO_REQUEUE, REQUEUED),
    (names::IO_REQUEUE_BTF, REQUEUED),
    (names::IO_MERGE, MERGED),
    (names::IO_MERGE_BTF, MERGED),
    (names::IO_ERROR, "errors are taken from completions"),
    (names::IO_ERROR_BTF, "errors are taken from completions"),
];

/// What a probe lacks without this program; `None` if it is of no use without it.
pub fn lacking(program: &str) -> Option<&'static str> {
    OPTIONAL.iter().find(|(name, _)| *name == program).map(|(_, lacking)| *lacking)
}

/// Whether a program runs at the start of a function, not on a tracepoint.
pub fn is_on_function(program: &str) -> bool {
    let mut hooks = PROBES.iter().flat_map(|probe| probe.hooks);
    hooks.any(|hook| hook.is_function() && hook.programs.contains(&program))
}

/// All probes.
pub const PROBES: &[Probe] = &[
    oom::PROBE,
    hung_task::PROBE,
    block_io::PROBE,
    hardware::MEMORY_CONTROLLER,
    hardware::PCIE,
    hardware::MEMORY_FAILURE,
    hardware::EXTENDED_LOG,
    hardware::MACHINE_CHECK,
    hardware::TRANSMIT_TIMEOUT,
    hardware::THERMAL_TRIP,
    tcp::PROBE,
    waits::RECLAIM,
    waits::CGROUP_RECLAIM,
    waits::COMPACTION,
    waits::RUN_QUEUE,
];

impl Probe {
    /// All its programs.
    pub fn programs(&self) -> impl Iterator<Item = &'static str> {
        self.hooks.iter().flat_map(|hook| hook.programs)
    }

    /// The modes, the preferred one first.
    pub fn modes(&self) -> [Mode; 2] {
        match self.prefers {
            Mode::Classic => [Mode::Classic, Mode::Btf],
            Mode::Btf => [Mode::Btf, Mode::Classic],
        }
    }
}

/// For probes that tell all they can in every mode.
fn nothing(_: &dyn Host, _: &Circumstances, _: Mode) -> Option<Lack> {
    None
}

const fn needs(field: &'static str, constant: &'static str, shape: Shape) -> FieldUse {
    FieldUse { field, constant, shape, required: true }
}

const fn takes(field: &'static str, constant: &'static str, shape: Shape) -> FieldUse {
    FieldUse { field, constant, shape, required: false }
}

const fn argument(of: &'static str, constant: &'static str) -> ArgumentUse {
    argument_nth(of, 0, constant)
}

const fn argument_nth(of: &'static str, nth: usize, constant: &'static str) -> ArgumentUse {
    ArgumentUse { of, nth, constant }
}

const fn member(paths: &'static [&'static str], constant: &'static str, shape: Shape) -> MemberUse {
    MemberUse { paths, constant, shape }
}

/// A value for a constant of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constant {
    /// Its name.
    pub name: &'static str,
    /// Its bytes, native order.
    pub bytes: Vec<u8>,
}

impl Constant {
    /// From the bytes of a number.
    pub fn new(name: &'static str, bytes: impl AsRef<[u8]>) -> Self {
        Self { name, bytes: bytes.as_ref().to_vec() }
    }
}

/// How a probe stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeState {
    /// It runs.
    On {
        /// Attachment and transport, and why not others.
        mode: String,
        /// What it cannot tell all the same.
        lacks: Option<Lack>,
    },
    /// It is not wanted.
    Off {
        /// Who says so.
        reason: String,
    },
    /// It does not run.
    Failed {
        /// What went wrong: a sentence without a full stop.
        why: String,
        /// What to do: a sentence without a full stop.
        remedy: String,
    },
}

/// Something that a running probe cannot tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What, and why: a sentence without a full stop.
    pub why: String,
    /// What to do: a sentence without a full stop.
    pub remedy: String,
}

/// A probe and how it stands.
#[derive(Clone, Debug)]
pub struct ProbeReport {
    /// Which.
    pub probe: &'static Probe,
    /// How.
    pub state: ProbeState,
}

#[cfg(test)]
mod tests;
