//! The table of probes: which programs, on which tracepoints, reading which fields, replaced by what.

use agent_common::names;

use super::Options;
use super::format::{Field, Format, FormatError, Kind};

/// One feature that eBPF serves. It works or fails as a whole, and alone.
#[derive(Debug)]
pub struct Probe {
    /// Name in reports, and the key that switches it in `[ebpf]`.
    pub name: &'static str,
    /// Its programs.
    pub hooks: &'static [Hook],
    /// Maps that only it uses.
    pub maps: &'static [&'static str],
    /// What stands in when it does not work.
    pub fallback: &'static str,
    /// Whether the configuration wants it.
    pub wanted: fn(&Options) -> bool,
}

/// A program and its tracepoint.
#[derive(Debug)]
pub struct Hook {
    /// Name of the program in the object.
    pub program: &'static str,
    /// Category of the tracepoint.
    pub category: &'static str,
    /// Name of the tracepoint.
    pub event: &'static str,
    /// What the program reads.
    pub fields: &'static [FieldUse],
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
    /// The first bytes of an array of at least so many.
    Letters(u16),
    /// A task name, in place or by reference; the constant named here says which.
    Name(&'static str),
}

/// All probes.
pub const PROBES: &[Probe] = &[OOM, HUNG_TASK, BLOCK_IO];

const OOM: Probe = Probe {
    name: "oom",
    hooks: &[Hook {
        program: names::OOM_KILL,
        category: "oom",
        event: "mark_victim",
        fields: &[
            needs("pid", "OOM_PID", Shape::Number(4)),
            // Kernels without commit 72ba14deb40a (5.10 among them) tell the pid only.
            takes("uid", "OOM_UID", Shape::Number(4)),
            takes("comm", "OOM_COMM", Shape::Name("OOM_COMM_BY_REF")),
            takes("total_vm", "OOM_TOTAL_VM", Shape::Number(8)),
            takes("anon_rss", "OOM_ANON_RSS", Shape::Number(8)),
            takes("file_rss", "OOM_FILE_RSS", Shape::Number(8)),
            takes("shmem_rss", "OOM_SHMEM_RSS", Shape::Number(8)),
            takes("pgtables", "OOM_PGTABLES", Shape::Number(8)),
            takes("oom_score_adj", "OOM_SCORE_ADJ", Shape::Number(2)),
        ],
    }],
    maps: &[],
    fallback: "OOM kills are read from the kernel log (/dev/kmsg)",
    wanted: |options| options.oom,
};

const HUNG_TASK: Probe = Probe {
    name: "hung_task",
    hooks: &[Hook {
        program: names::HUNG_TASK,
        category: "sched",
        event: "sched_process_hang",
        fields: &[
            needs("pid", "HANG_PID", Shape::Number(4)),
            takes("comm", "HANG_COMM", Shape::Name("HANG_COMM_BY_REF")),
        ],
    }],
    maps: &[],
    fallback: "hung tasks are read from the kernel log (/dev/kmsg), which falls silent after \
               kernel.hung_task_warnings reports",
    wanted: |options| options.hung_task,
};

const BLOCK_IO: Probe = Probe {
    name: "block_io",
    hooks: &[
        Hook {
            program: names::IO_ISSUE,
            category: "block",
            event: "block_rq_issue",
            fields: &[
                needs("dev", "ISSUE_DEV", Shape::Number(4)),
                needs("sector", "ISSUE_SECTOR", Shape::Number(8)),
                needs("nr_sector", "ISSUE_NR_SECTOR", Shape::Number(4)),
                takes("bytes", "ISSUE_BYTES", Shape::Number(4)),
            ],
        },
        Hook {
            program: names::IO_COMPLETE,
            category: "block",
            event: "block_rq_complete",
            fields: &[
                needs("dev", "COMPLETE_DEV", Shape::Number(4)),
                needs("sector", "COMPLETE_SECTOR", Shape::Number(8)),
                needs("nr_sector", "COMPLETE_NR_SECTOR", Shape::Number(4)),
                takes("error", "COMPLETE_ERROR", Shape::Number(4)),
                takes("rwbs", "COMPLETE_RWBS", Shape::Letters(2)),
            ],
        },
    ],
    maps: &[names::STARTS, names::HIST, names::EMPTY, names::WINDOW],
    fallback: "block latency is the average of /proc/diskstats only; slow requests are not reported one by one",
    wanted: |options| options.block_io,
};

const fn needs(field: &'static str, constant: &'static str, shape: Shape) -> FieldUse {
    FieldUse { field, constant, shape, required: true }
}

const fn takes(field: &'static str, constant: &'static str, shape: Shape) -> FieldUse {
    FieldUse { field, constant, shape, required: false }
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

impl Hook {
    /// The constants that make the program read this kernel's records. A field that the program
    /// can do without and that is absent, or of a type not known, stays absent.
    pub fn constants(&self, format: &Format) -> Result<Vec<Constant>, FormatError> {
        let mut constants = Vec::new();
        for wanted in self.fields {
            match format.field(wanted.field) {
                Some(field) if wanted.shape.fits(field) => wanted.fill(field, &mut constants),
                _ if !wanted.required => {}
                Some(field) => {
                    return Err(FormatError::OtherType { field: wanted.field, found: field.describe() });
                }
                None => return Err(FormatError::NoField { field: wanted.field }),
            }
        }
        Ok(constants)
    }
}

impl FieldUse {
    fn fill(&self, field: &Field, constants: &mut Vec<Constant>) {
        constants.push(Constant::new(self.constant, field.offset.to_ne_bytes()));
        if let Shape::Name(by_reference) = self.shape {
            constants.push(Constant::new(by_reference, [u8::from(field.kind == Kind::DataLoc)]));
        }
    }
}

impl Shape {
    fn fits(self, field: &Field) -> bool {
        match self {
            Self::Number(size) => field.kind == Kind::Plain && field.size == size,
            Self::Letters(least) => field.kind == Kind::Array && field.size >= least,
            Self::Name(_) => match field.kind {
                Kind::Array => field.size as usize == agent_common::COMM_LEN,
                Kind::DataLoc => field.size == 4,
                Kind::Plain => false,
            },
        }
    }
}

/// How a probe stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeState {
    /// It runs.
    On {
        /// Attachment and transport.
        mode: String,
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

/// A probe and how it stands.
#[derive(Clone, Debug)]
pub struct ProbeReport {
    /// Which.
    pub probe: &'static Probe,
    /// How.
    pub state: ProbeState,
}

#[cfg(test)]
#[path = "probes_tests.rs"]
mod tests;
