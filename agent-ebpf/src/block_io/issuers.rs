//! Who issues requests: counted where the current task still is the one that wants them, at insert, or at
//! issue for a request that goes straight to the device.

use agent_common::limits::MAX_ISSUERS;
use agent_common::{DEFAULT_HIERARCHY, IoIssuer, IoRecord, MEMORY_HIERARCHY};
use aya_ebpf::helpers::generated::{bpf_get_current_cgroup_id, bpf_get_current_task};
use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;
use bytemuck::Zeroable;

use crate::ctx::{constant, current_name, current_pid};
use crate::oom::group;
use crate::out::{Mode, add};

/// log2 of the nanoseconds of a window of counting.
#[unsafe(no_mangle)]
static ISSUER_WINDOW_SHIFT: u32 = 33;

/// Inode of the root of a hierarchy; before 5.5 the upper half of the number is a generation.
const ROOT: u32 = 1;

/// By device and process.
#[map]
static ISSUERS: LruHashMap<[u32; 2], IoIssuer> = LruHashMap::with_max_entries(MAX_ISSUERS, 0);

/// Counts a request of the current process; gives its id.
#[inline(always)]
pub fn account(mode: Mode, now: u64, dev: u32, bytes: u32) -> u32 {
    let pid = current_pid();
    let key = [dev, pid];
    let window = (now >> (constant(&ISSUER_WINDOW_SHIFT) & 63)) as u32;
    let Some(issuer) = ISSUERS.get_ptr_mut(key) else {
        let mut issuer = IoIssuer::zeroed();
        (issuer.window, issuer.requests, issuer.bytes) = (window, 1, bytes as u64);
        name(mode, &mut issuer);
        // A full map gives up its least used entry; of two processors that race one is not counted.
        let _ = ISSUERS.insert(key, issuer, 0);
        return pid;
    };
    // SAFETY: the entry is memory of the map as long as the program runs; should the LRU take it for
    // another process at this very moment, one request is counted for the wrong one.
    let issuer = unsafe { &mut *issuer };
    if issuer.window != window {
        let last = issuer.window + 1 == window;
        issuer.requests_before = if last { issuer.requests } else { 0 };
        issuer.bytes_before = if last { issuer.bytes } else { 0 };
        (issuer.window, issuer.requests, issuer.bytes) = (window, 0, 0);
        // The number may belong to another process by now, or the process run another program.
        name(mode, issuer);
    }
    add(&raw mut issuer.requests, 1);
    add(&raw mut issuer.bytes, bytes as u64);
    pid
}

/// Copies name and control group of a process that was counted.
#[inline(always)]
pub fn name_of(dev: u32, pid: u32, to: &mut IoRecord) {
    if let Some(issuer) = ISSUERS.get_ptr([dev, pid]) {
        // SAFETY: as above.
        unsafe {
            to.issuer_comm = (*issuer).comm;
            to.issuer_cgroup = (*issuer).cgroup_id;
            to.issuer_hierarchy = (*issuer).hierarchy;
        }
    }
}

/// Once a window for a process.
#[inline(always)]
fn name(mode: Mode, issuer: &mut IoIssuer) {
    current_name(&mut issuer.comm);
    // SAFETY: no arguments.
    let id = unsafe { bpf_get_current_cgroup_id() };
    (issuer.hierarchy, issuer.cgroup_id) = (DEFAULT_HIERARCHY, id);
    // Where the default hierarchy is not used all are in its root; units are groups of version 1 then.
    if mode == Mode::Btf && id as u32 == ROOT {
        // SAFETY: no arguments.
        let task = unsafe { bpf_get_current_task() };
        let id = group::id_of(group::memory(task));
        if id != 0 {
            (issuer.hierarchy, issuer.cgroup_id) = (MEMORY_HIERARCHY, id);
        }
    }
}
