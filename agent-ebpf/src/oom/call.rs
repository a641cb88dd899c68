//! `out_of_memory`, `mm/oom_kill.c`: what the kernel looks for a victim for. The tracepoint is not told, and the
//! kernel's own report is left out beyond ten in five seconds (`oom_rs`).

use core::ffi::c_void;

use agent_common::{ABSENT_ORDER, ABSENT_U32, OomRecord};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;

use super::group::{CONSTRAINT_MEMCG, node_of};
use crate::ctx::{Argument, Member, argument, member};

#[unsafe(no_mangle)]
static OOM_CALL_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static OOM_CALL_MEMCG: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_CALL_GFP: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_CALL_ORDER: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_CALL_CHOSEN: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_CALL_CONSTRAINT: Member = Member::ABSENT;

/// One search for a victim. The mutex `oom_lock` lets no other begin before it ends.
#[repr(C)]
struct Call {
    /// The `struct oom_control`, on the stack of …
    control: u64,
    /// … this thread.
    tid: u64,
}

#[map]
static OOM_CALL: Array<Call> = Array::with_max_entries(1, 0);

#[unsafe(link_section = "fentry")]
#[unsafe(no_mangle)]
fn oom_begin(ctx: *mut c_void) -> u32 {
    if let Some(call) = OOM_CALL.get_ptr_mut(0) {
        // SAFETY: the map's value; nobody else writes it meanwhile, see `Call`.
        let call = unsafe { &mut *call };
        call.control = argument(ctx, &OOM_CALL_ARG);
        call.tid = bpf_get_current_pid_tgid();
    }
    0
}

/// The search that the current thread is in, 0 if none was seen. Victims are marked nowhere else, so what an
/// earlier search of the same thread left is never taken for it.
#[inline(always)]
pub fn current() -> u64 {
    let Some(call) = OOM_CALL.get_ptr(0) else { return 0 };
    // SAFETY: as above.
    let call = unsafe { &*call };
    if call.tid == bpf_get_current_pid_tgid() { call.control } else { 0 }
}

/// The task it chose, 0 if none.
#[inline(always)]
pub fn chosen(control: u64) -> u64 {
    member(control, &OOM_CALL_CHOSEN, 0)
}

/// Fills in why; gives the node of the group whose limit was hit, 0 for that of the machine.
#[inline(always)]
pub fn describe(control: u64, record: &mut OomRecord) -> u64 {
    record.gfp_mask = member(control, &OOM_CALL_GFP, ABSENT_U32);
    record.order = member(control, &OOM_CALL_ORDER, ABSENT_ORDER);
    let group: u64 = member(control, &OOM_CALL_MEMCG, 0);
    // The constraint is worked out after a task that is exiting anyway was marked.
    record.constraint =
        if group != 0 { CONSTRAINT_MEMCG } else { member(control, &OOM_CALL_CONSTRAINT, ABSENT_U32) };
    // `css` is the first member of `struct mem_cgroup`.
    node_of(group)
}
