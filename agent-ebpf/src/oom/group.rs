//! The memory control group of a victim, and those around it.

use core::ffi::c_void;

use agent_common::{ABSENT_U32, ABSENT_U64, LIMIT_INFERRED, OomRecord, PATH_CUT, PATH_LEN};
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str};

use crate::ctx::{Member, member};

#[unsafe(no_mangle)]
static OOM_TASK_CGROUPS: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_SET_SUBSYS: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_CSS_SS: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_SS_NAME: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_CSS_PARENT: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_CSS_SERIAL: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_CSS_CGROUP: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_MEMCG_GROUP: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_MEMCG_LOCK: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_CGROUP_NODE: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_NODE_ID: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_NODE_NAME: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_NODE_PARENT: Member = Member::ABSENT;

/// Groups looked at from the victim's own upwards.
const MAX_DEPTH: u32 = 16;
/// Controllers of a kernel at most (`CGROUP_SUBSYS_COUNT`); what lies behind them is no controller.
const MAX_CONTROLLERS: u64 = 16;
const MEMORY: u64 = u64::from_le_bytes(*b"memory\0\0");
const MEMORY_MASK: u64 = (1 << 56) - 1;
/// `include/linux/oom.h`.
pub const CONSTRAINT_MEMCG: u32 = 3;
/// The longest name of a group with its NUL (`NAME_MAX`, `include/uapi/linux/limits.h`).
const NAME_SIZE: usize = 256;

/// A record, and room for a name that begins at its last byte.
#[repr(C)]
pub struct Scratch {
    pub record: OomRecord,
    room: [u8; NAME_SIZE],
}

/// What the memory controller keeps of a task's group, 0 if nothing. Its place among the controllers depends on
/// how the kernel was built.
#[inline(always)]
pub fn memory(task: u64) -> u64 {
    let slot = &mut 0;
    let places = OOM_SET_SUBSYS.find(all_of(task));
    let mut found = 0;
    if places != 0 {
        for nth in 0..MAX_CONTROLLERS {
            let css = read(places + nth * 8, slot);
            let controller = read(OOM_CSS_SS.find(css), slot);
            let name = read(OOM_SS_NAME.find(controller), slot);
            if read(name, slot) & MEMORY_MASK == MEMORY {
                found = css;
            }
        }
    }
    found
}

/// Fills in what is true of a group and of those around it: the outermost whose processes die together, as the
/// kernel looks for it (`mem_cgroup_get_oom_group`, `mm/memcontrol.c`), but up to the root; and with `infers` the
/// one whose limit was hit. While the kernel looks for a victim in a group it has locked that and all below it
/// (`mem_cgroup_oom_trylock`), unless another one below was first.
#[inline(always)]
pub fn around(mut css: u64, infers: bool, record: &mut OomRecord) {
    record.group = ABSENT_U64;
    if css == 0 || !OOM_MEMCG_GROUP.is_there() || !OOM_CSS_SERIAL.is_there() {
        return;
    }
    let slot = &mut 0;
    let (mut found, mut locked) = (0, ABSENT_U32);
    for level in 0..MAX_DEPTH {
        // `css` is the first member of `struct mem_cgroup`. A `bool`; the machine is little-endian.
        if read(OOM_MEMCG_GROUP.find(css), slot) & 0xff != 0 {
            found = read(OOM_CSS_SERIAL.find(css), slot);
        }
        if read(OOM_MEMCG_LOCK.find(css), slot) & 0xff != 0 {
            locked = level;
        }
        css = read(OOM_CSS_PARENT.find(css), slot);
    }
    record.group = found;
    if infers && locked != ABSENT_U32 {
        // The one beyond those looked at may be locked too.
        record.limit_level = if css == 0 || locked != MAX_DEPTH - 1 { locked } else { ABSENT_U32 };
        record.constraint = CONSTRAINT_MEMCG;
        record.flags |= LIMIT_INFERRED;
    }
}

/// The groups of a task, of all controllers, in one number: the same for tasks that live in the same ones.
#[inline(always)]
pub fn all_of(task: u64) -> u64 {
    member(task, &OOM_TASK_CGROUPS, 0)
}

/// The directory of a group, 0 if it is not known.
#[inline(always)]
pub fn node_of(css: u64) -> u64 {
    let cgroup: u64 = member(css, &OOM_CSS_CGROUP, 0);
    member(cgroup, &OOM_CGROUP_NODE, 0)
}

/// Number of a group's directory, 0 if it is not known.
#[inline(always)]
pub fn id_of(css: u64) -> u64 {
    member(node_of(css), &OOM_NODE_ID, 0)
}

/// Fills in the names of a group's directory and of those around it, and how far above it `limit` is.
#[inline(always)]
pub fn path(css: u64, limit: u64, scratch: &mut Scratch) {
    let mut node = node_of(css);
    if node == 0 || !OOM_NODE_NAME.is_there() || !OOM_NODE_PARENT.is_there() {
        return;
    }
    let slot = &mut 0;
    scratch.record.cgroup_id = member(node, &OOM_NODE_ID, 0);
    let mut used: u64 = 0;
    for level in 0..MAX_DEPTH {
        if node == limit && limit != 0 {
            scratch.record.limit_level = level;
        }
        let parent = read(OOM_NODE_PARENT.find(node), slot);
        let name = read(OOM_NODE_NAME.find(node), slot);
        let at_end = used >= PATH_LEN as u64;
        // The root has no parent, and no name.
        if parent != 0 && !at_end {
            let at = used & (PATH_LEN as u64 - 1);
            let base = (&raw mut scratch.record.path).cast::<u8>();
            // SAFETY: the name ends in the room behind the record at the latest; the helper checks the source.
            let length = unsafe {
                bpf_probe_read_kernel_str(
                    base.add(at as usize).cast(),
                    NAME_SIZE as u32,
                    name as *const c_void,
                )
            };
            used += length.max(0) as u64;
        }
        if parent != 0 && at_end {
            scratch.record.flags |= PATH_CUT;
        }
        node = parent;
    }
    if node != 0 {
        scratch.record.flags |= PATH_CUT;
    }
    scratch.record.path_len = used.min(PATH_LEN as u64) as u32;
}

/// Eight bytes from there, 0 where nothing can be read. Through one place on the stack: unrolled loops would take
/// one for each reading.
#[inline(always)]
fn read(address: u64, slot: &mut u64) -> u64 {
    *slot = 0;
    if address != 0 {
        // SAFETY: writes 8 bytes to the slot; the helper checks the source.
        unsafe { bpf_probe_read_kernel((&raw mut *slot).cast(), 8, address as *const c_void) };
    }
    *slot
}
