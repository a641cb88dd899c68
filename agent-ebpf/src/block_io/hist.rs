//! Latencies into histograms.

use agent_common::hist::{HistKey, HistValue, Stage, bucket_of};
use agent_common::limits::{HIST_BUCKETS, MAX_HIST_ENTRIES};
use agent_common::{IoOp, Stat};
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap};

use crate::ctx::constant;
use crate::out::{add, count};

/// Number of shards less one; the number is a power of two.
#[unsafe(no_mangle)]
static HIST_SHARD_MASK: u32 = 0;

#[map]
static HIST: HashMap<HistKey, HistValue> = HashMap::with_max_entries(MAX_HIST_ENTRIES, 0);

/// An empty histogram to copy from: it does not fit on the stack of 512 bytes.
#[map]
static EMPTY: Array<HistValue> = Array::with_max_entries(1, 0);

/// Counts one request.
#[inline(always)]
pub fn measure(dev: u32, op: IoOp, stage: Stage, ns: u64, error: i32) {
    // SAFETY: no arguments.
    let shard = unsafe { bpf_get_smp_processor_id() } & constant(&HIST_SHARD_MASK);
    let Some(hist) = histogram(&HistKey { dev, op: op as u16, stage: stage as u16, shard }) else {
        count(Stat::HistFull);
        return;
    };
    let bucket = bucket_of(ns);
    // SAFETY: `hist` points to a map value as long as the program runs.
    unsafe {
        if bucket < HIST_BUCKETS {
            add((&raw mut (*hist).buckets).cast::<u32>().add(bucket), 1);
        }
        add(&raw mut (*hist).count, 1);
        add(&raw mut (*hist).sum_ns, ns);
        if error != 0 {
            add(&raw mut (*hist).errors, 1);
        }
        if ns > (*hist).max_ns {
            (*hist).max_ns = ns;
        }
    }
}

#[inline(always)]
fn histogram(key: &HistKey) -> Option<*mut HistValue> {
    if let Some(hist) = HIST.get_ptr_mut(key) {
        return Some(hist);
    }
    let empty = EMPTY.get(0)?;
    // Another processor may have been first; then that one's is found below.
    let _ = HIST.insert(key, empty, BPF_NOEXIST as u64);
    HIST.get_ptr_mut(key)
}
