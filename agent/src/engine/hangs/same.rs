//! Which reports are of one task, and which tasks wait for one thing.

use crate::event::{Hang, TaskId};

/// Two reports of one task.
pub(super) fn hang(a: &Hang, b: &Hang) -> bool {
    a.id().is_some_and(|id| task(&id, a.task.comm.as_deref(), b))
}

/// Whether a report is of this task: the same pid, and the same life as far as both tell. Names differ by source:
/// `/proc` shows more of a kernel worker than the kernel's own report, which says `kworker/u4:1`.
pub(super) fn task(id: &TaskId, comm: Option<&str>, hang: &Hang) -> bool {
    if hang.task.pid != Some(id.pid) {
        return false;
    }
    match (id.start_ticks, hang.task.start_ticks) {
        (Some(a), Some(b)) => a == b,
        _ => match (comm, hang.task.comm.as_deref()) {
            (Some(a), Some(b)) => a.starts_with(b) || b.starts_with(a),
            _ => true,
        },
    }
}

/// Pid of the owner of the lock that a task waits for.
pub(super) fn owner(hang: &Hang) -> Option<u32> {
    Some(hang.lock.as_ref()?.owner.as_ref()?.pid)
}

/// Whether a hang is known only by its task.
pub(super) fn nothing(hang: &Hang) -> bool {
    hang.wchan.is_none() && hang.place.device.is_none() && hang.place.mount.is_none() && owner(hang).is_none()
}

/// Whether a task waits for the same as an incident, of which `first` and the pids of its tasks are known: for
/// the same owner of a lock; for one that hangs itself; or in the same function, and nothing that is known of
/// both differs.
pub(super) fn wait(mut pids: impl Iterator<Item = u32>, first: &Hang, hang: &Hang) -> bool {
    let owners = (owner(first), owner(hang));
    let chained = owners.1.is_some_and(|owner| pids.any(|pid| pid == owner));
    if chained || owners.0.is_some() && (owners.0 == owners.1 || owners.0 == hang.task.pid) {
        return true;
    }
    let (a, b) = (&first.place, &hang.place);
    let agrees = agree(owners.0.as_ref(), owners.1.as_ref())
        && agree(a.layer.as_ref(), b.layer.as_ref())
        && agree(a.device.as_ref(), b.device.as_ref())
        && agree(a.mount.as_ref(), b.mount.as_ref());
    first.wchan.is_some() && first.wchan == hang.wchan && agrees
}

fn agree<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
    a.is_none() || b.is_none() || a == b
}
