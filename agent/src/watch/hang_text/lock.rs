//! Lines about locks: the blocker of a hung task (`debug_show_blocker`, `kernel/hung_task.c`, 6.16 and
//! later) and lockdep's list (`debug_show_all_locks`, `kernel/locking/lockdep.c`).

use crate::event::{Lock, LockKind, LockOwner, Side};

/// What the kernel says behind the task, the kind of lock, and whether the owner follows.
const FORMS: [(&str, LockKind, bool); 6] = [
    (" is blocked on a mutex likely owned by task ", LockKind::KMutex, true),
    (" is blocked on a mutex, but the owner is not found.", LockKind::KMutex, false),
    (" blocked on a semaphore likely last held by task ", LockKind::Semaphore, true),
    (" is blocked on a semaphore, but the last holder is not found.", LockKind::Semaphore, false),
    (" blocked on an rw-semaphore likely owned by task ", LockKind::Rwsem, true),
    (" is blocked on an rw-semaphore, but the owner is not found.", LockKind::Rwsem, false),
];

/// `NAME:PID [<reader>] blocked on an rw-semaphore likely owned by task OTHER:PID [<writer>]` and its kin,
/// about the task `comm:pid`. Names may hold anything; that of the hung task is known.
pub(super) fn blocker(info: &str, comm: &str, pid: u32) -> Option<Lock> {
    let rest = info.strip_prefix(comm)?.strip_prefix(':')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    let (number, rest) = rest.split_at(digits);
    if number.parse() != Ok(pid) {
        return None;
    }
    let (wanted_as, rest) = match rest {
        _ if rest.starts_with(" <reader>") => (Some(Side::Reader), &rest[9..]),
        _ if rest.starts_with(" <writer>") => (Some(Side::Writer), &rest[9..]),
        _ => (None, rest),
    };
    let (form, kind, named) = FORMS.iter().find(|(form, ..)| rest.starts_with(form))?;
    let owner = if *named { Some(owner(&rest[form.len()..])?) } else { None };
    Some(Lock { kind: *kind, wanted_as, owner })
}

/// `NAME:PID`, `NAME:PID.`, `NAME:PID <reader>`.
fn owner(text: &str) -> Option<LockOwner> {
    let sides = [(" <reader>", Side::Reader), (" <writer>", Side::Writer)];
    let found = sides.iter().find_map(|(end, side)| Some((text.strip_suffix(end)?, *side)));
    let (text, held_as) = found.map_or((text, None), |(text, side)| (text, Some(side)));
    let (comm, pid) = text.strip_suffix('.').unwrap_or(text).rsplit_once(':')?;
    Some(LockOwner { pid: pid.parse().ok()?, comm: comm.to_owned(), held_as })
}

/// `NAME/PID` of a line that begins the list of a task's locks.
pub(super) fn holder(text: &str) -> Option<&str> {
    // `2 locks held by dd/7:`, `1 lock held by dd/7:`
    if let Some((count, rest)) = text.split_once(" held by ")
        && let Some(task) = rest.strip_suffix(':')
        && let Some(number) = count.strip_suffix(" locks").or_else(|| count.strip_suffix(" lock"))
        && number.parse::<u32>().is_ok()
    {
        return Some(task);
    }
    // `locks held by dd/7: 2, last CPU#1:`
    let (task, _) = text.strip_prefix("locks held by ")?.rsplit_once(": ")?;
    Some(task)
}

/// ` #0: ffff88810b0c2420 (sb_writers#4){.+.+}-{0:0}, at: ksys_write+0x6c/0xf0`
pub(super) fn is_held(text: &str) -> bool {
    let number = text.strip_prefix(" #").and_then(|rest| rest.split_once(':'));
    number.is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// The rule below the list.
pub(super) fn is_end(text: &str) -> bool {
    text.starts_with("=====")
}
