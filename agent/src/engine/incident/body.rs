//! What an incident is about, and when two reports are about the same.

use super::{Body, IO_ERROR_SAME_NS, OOM_SAME_NS, io_error};
use crate::event::{Task, What};

impl Body {
    /// What an event says that an incident is made of, if it is such an event.
    pub(super) fn of(what: &What) -> Option<Self> {
        match what {
            What::Oom(oom) => Some(Self::Oom(oom.clone())),
            What::IoError(error) => Some(Self::IoError(error.clone())),
            What::Log(line) => io_error(line).map(|error| Self::IoError(Box::new(error))),
            _ => None,
        }
    }

    pub(super) fn same_ns(&self) -> u64 {
        match self {
            Self::Oom(_) => OOM_SAME_NS,
            Self::IoError(_) => IO_ERROR_SAME_NS,
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Oom(a), Self::Oom(b)) => {
                same_task(&a.victim, &b.victim) || a.others.iter().any(|v| same_task(&v.task, &b.victim))
            }
            (Self::IoError(a), Self::IoError(b)) => a.device == b.device && a.sector == b.sector,
            (Self::Oom(_) | Self::IoError(_), _) => false,
        }
    }

    pub(super) fn absorb(&mut self, other: Self) {
        match (self, other) {
            (Self::Oom(mine), Self::Oom(theirs)) if same_task(&mine.victim, &theirs.victim) => {
                mine.absorb(*theirs);
            }
            (Self::Oom(mine), Self::Oom(theirs)) => mine.add_victim(*theirs),
            (Self::IoError(mine), Self::IoError(theirs)) => mine.absorb(*theirs),
            (Self::Oom(_) | Self::IoError(_), _) => {}
        }
    }

    /// How many of the things a person asks first are known.
    pub(super) fn knowledge(&self) -> usize {
        match self {
            Self::Oom(o) => [
                o.constraint.is_some(),
                o.oom_memcg.is_some() && !o.memcg_guessed,
                o.limit_kb.is_some() && o.figures_belong() && !o.memcg_guessed,
                o.rss_kb().is_some(),
                o.victim.cgroup.is_some(),
                o.victim.comm.is_some(),
                o.trigger.pid.is_some() || o.trigger.comm.is_some(),
            ]
            .iter()
            .filter(|known| **known)
            .count(),
            Self::IoError(_) => 0,
        }
    }
}

/// Same pid, and nothing that both know differs.
fn same_task(a: &Task, b: &Task) -> bool {
    fn agree<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
        a.is_none() || b.is_none() || a == b
    }
    a.pid.is_some()
        && a.pid == b.pid
        && agree(a.start_ticks.as_ref(), b.start_ticks.as_ref())
        && agree(a.comm.as_ref(), b.comm.as_ref())
}
