//! Who issues requests: counted where the current task still is the one that wants them, at insert, or at
//! issue for a request that goes straight to the device.

use agent_common::IoIssuer;
use agent_common::limits::MAX_ISSUERS;
use aya_ebpf::helpers::generated::bpf_get_current_cgroup_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;
use bytemuck::Zeroable;

use crate::ctx::{constant, current_name, current_pid};
use crate::out::add;

/// log2 of the nanoseconds of a window of counting.
#[unsafe(no_mangle)]
static ISSUER_WINDOW_SHIFT: u32 = 33;

/// By device and process.
#[map]
static ISSUERS: LruHashMap<[u32; 2], IoIssuer> = LruHashMap::with_max_entries(MAX_ISSUERS, 0);

/// Counts a request of the current process; gives its id.
#[inline(always)]
pub fn account(now: u64, dev: u32, bytes: u32) -> u32 {
    let pid = current_pid();
    let key = [dev, pid];
    let window = (now >> (constant(&ISSUER_WINDOW_SHIFT) & 63)) as u32;
    let Some(issuer) = ISSUERS.get_ptr_mut(key) else {
        let mut issuer = IoIssuer::zeroed();
        (issuer.window, issuer.requests, issuer.bytes) = (window, 1, bytes as u64);
        name(&mut issuer);
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
        name(issuer);
    }
    add(&raw mut issuer.requests, 1);
    add(&raw mut issuer.bytes, bytes as u64);
    pid
}

/// Copies the name of a process that was counted.
#[inline(always)]
pub fn name_of(dev: u32, pid: u32, to: &mut [u8; agent_common::COMM_LEN]) {
    if let Some(issuer) = ISSUERS.get_ptr([dev, pid]) {
        // SAFETY: as above.
        *to = unsafe { (*issuer).comm };
    }
}

#[inline(always)]
fn name(issuer: &mut IoIssuer) {
    current_name(&mut issuer.comm);
    // SAFETY: no arguments.
    issuer.cgroup_id = unsafe { bpf_get_current_cgroup_id() };
}
