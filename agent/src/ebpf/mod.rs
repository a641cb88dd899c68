//! eBPF: loading, attaching and reading the programs of `agent-ebpf/`.
//!
//! Nothing behind this module knows of eBPF: histograms come out as samples of a collector,
//! records as events. What does not work here is said in a [`ProbeReport`] and replaced elsewhere.

mod attach;
pub mod btf;
pub mod decode;
pub mod devices;
pub mod format;
pub mod hardware;
pub mod hist;
pub mod io_metrics;
mod issuers;
mod loading;
mod object;
pub mod percentile;
pub mod probes;
pub mod programs;
pub mod remedy;
pub mod remotes;
mod stats;
mod sys;
pub mod tasks;
pub mod tracefs;
pub mod transport;
pub mod waits;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::thread;

use agent_common::Stat;

use self::attach::Attachment;
use self::decode::{DeviceName, decode};
use self::hist::{EbpfCollector, HistMap, Look};
use self::issuers::Issuers;
use self::loading::Loading;
use self::probes::{Mode, ProbeReport};
use self::programs::Programs;
use self::remotes::{RemoteMaps, TcpCollector};
use self::stats::{Counts, Stats, loses};
use self::transport::{Cpu, Record, Transport, Way};
use self::waits::{WaitCollector, WaitMap};
use crate::event::{Event, Lost, Source, What};
use crate::host::{Host, clock};
use crate::time::Now;

/// The keys of `[ebpf]` that concern loading.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one switch a key of the configuration")]
pub struct Options {
    /// Probe on OOM kills.
    pub oom: bool,
    /// Probe on hung tasks.
    pub hung_task: bool,
    /// Probe on block requests.
    pub block_io: bool,
    /// Probes on reports of faulty hardware.
    pub ras: bool,
    /// Probe on adapters that do not send.
    pub net_tx_timeout: bool,
    /// Probe on trip points of temperatures.
    pub thermal: bool,
    /// Probe on TCP retransmits and resets.
    pub tcp: bool,
    /// Probes on reclaim and compaction.
    pub memory_stalls: bool,
    /// Probe on waits for a processor.
    pub run_queue: bool,
    /// Latency from which on a request is an event, milliseconds.
    pub io_latency_threshold_ms: u64,
    /// Such events per second at most.
    pub max_io_events_per_sec: u32,
    /// Pace of the collector of histograms, seconds: issuers are counted over about as long.
    pub issuer_window_secs: u64,
    /// Pages of a perf buffer, one buffer per processor; rounded up to a power of two, and down
    /// where all buffers together exceed [`transport::MAX_BUFFER_BYTES`].
    pub perf_buffer_pages: u32,
    /// Only this mode, for tests.
    pub only_mode: Option<Mode>,
    /// Only this transport.
    pub only_transport: Option<Way>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            oom: true,
            hung_task: true,
            block_io: true,
            ras: true,
            net_tx_timeout: true,
            thermal: true,
            tcp: true,
            memory_stalls: true,
            run_queue: false,
            io_latency_threshold_ms: 500,
            max_io_events_per_sec: 20,
            issuer_window_secs: 10,
            perf_buffer_pages: 16,
            only_mode: None,
            only_transport: None,
        }
    }
}

/// Running probes. Its descriptor becomes readable when [`Ebpf::drain`] has something to give.
pub struct Ebpf {
    transport: Box<dyn Transport>,
    attached: Vec<Attachment>,
    stats: Arc<Stats>,
    programs: Programs,
    histograms: Option<HistMap>,
    remotes: Option<RemoteMaps>,
    waits: Vec<(&'static str, WaitMap)>,
    issuers: Option<Issuers>,
    map_bytes: u64,
    threshold_ms: f64,
    /// Lost by the transport's own count; kernels before 5.1 do not tell the program.
    lost: u64,
    /// Refused records that the transport did not count, at the newest look.
    odd: u64,
    reported: Counts,
    undecodable: u64,
}

/// Detaching waits until every processor has left the program, 50 ms and more each. Side by side all wait for the same
/// moment, so that the agent ends at once.
impl Drop for Ebpf {
    fn drop(&mut self) {
        thread::scope(|scope| {
            for attachment in self.attached.drain(..) {
                // Where no thread can be had it is detached here.
                let detach = thread::Builder::new().stack_size(DETACH_STACK);
                let _ = detach.spawn_scoped(scope, move || drop(attachment));
            }
        });
    }
}

/// The start of a process as `/proc` tells it: by the clock of the agent's time namespace
/// (`timens_add_boottime_ns` in `do_task_stat`, `fs/proc/array.c`).
fn as_proc_tells(event: &mut Event) {
    if let What::Oom(oom) = &mut event.what
        && let Some(start) = &mut oom.victim.start_ticks
    {
        *start = start.saturating_add_signed(clock::offsets().boot_ns / decode::TICK_NS.cast_signed());
    }
}

/// Stack of a thread that closes a descriptor, bytes.
const DETACH_STACK: usize = 64 << 10;

impl Ebpf {
    /// Loads and attaches what is wanted and possible; says of every probe how it stands.
    pub fn load(host: &dyn Host, options: &Options) -> (Option<Self>, Vec<ProbeReport>) {
        let mut loading = Loading::new(host, options);
        let ebpf = loading.run();
        (ebpf, loading.reports())
    }

    /// Hands over what has arrived. Wants to be called when the descriptor is readable, and every
    /// few seconds besides.
    pub fn drain(&mut self, now: Now, device: &mut DeviceName<'_>, each: &mut dyn FnMut(Event)) {
        let Self { transport, threshold_ms, lost, undecodable, .. } = self;
        transport.drain(&mut |record| match record {
            Record::Bytes(bytes) => match decode(bytes, now, *threshold_ms, device) {
                Ok(mut event) => {
                    as_proc_tells(&mut event);
                    each(event);
                }
                Err(_) => *undecodable += 1,
            },
            Record::Lost(count) => *lost += count,
        });
    }

    /// Takes up processors that came online since the start, or went and came back: their buffers are not to be written
    /// to any more. Wants to be called every few seconds. How many it took up.
    pub fn follow_cpus(&mut self, host: &dyn Host) -> io::Result<usize> {
        let refused = self.stats.read().map_err(io::Error::other)?[Stat::OutputLost as usize];
        // What was refused and not for want of room: a processor was away and back between two looks, on a host that does not
        // tell which.
        let odd = refused.saturating_sub(self.lost);
        let suspect = odd > self.odd;
        self.odd = odd;
        let online = aya::util::online_cpus().map_err(|(_, error)| error)?;
        let cpus = online.into_iter().map(|number| {
            let node = host.inode(&format!("/sys/devices/system/cpu/cpu{number}/topology")).ok();
            Cpu { number, node }
        });
        self.transport.follow(&cpus.collect::<Vec<_>>(), suspect).map_err(io::Error::other)
    }

    /// Hands over what was lost since the previous call, by reason. Wants to be called every few seconds.
    pub fn losses(&mut self, now: Now, each: &mut dyn FnMut(Event)) -> io::Result<()> {
        let mut counts = self.stats.read().map_err(io::Error::other)?;
        let output = &mut counts[Stat::OutputLost as usize];
        *output = (*output).max(self.lost);
        for ((stat, &count), reported) in Stat::ALL.into_iter().zip(&counts).zip(&self.reported) {
            let (Some(part), Some(more @ 1..)) = (loses(stat), count.checked_sub(*reported)) else {
                continue;
            };
            let what = What::Lost(Lost { part, count: more, reason: stat.name() });
            each(Event { at: now, source: Source::Ebpf, historic: false, what });
        }
        self.reported = counts;
        Ok(())
    }

    /// The collector of histograms and counters, once.
    pub fn collector(&mut self, look: Look) -> EbpfCollector {
        let maps = (self.histograms.take(), self.issuers.take());
        let counters = (Arc::clone(&self.stats), std::mem::take(&mut self.programs));
        EbpfCollector::new(maps, counters, self.map_bytes, look)
    }

    /// The collector of TCP trouble, once, if that is counted.
    pub fn tcp_collector(&mut self) -> Option<TcpCollector> {
        self.remotes.take().map(TcpCollector::new)
    }

    /// The collector of waits, once, if any are measured.
    pub fn wait_collector(&mut self) -> Option<WaitCollector> {
        let waits = std::mem::take(&mut self.waits);
        (!waits.is_empty()).then(|| WaitCollector::new(waits))
    }

    /// Memory of maps and buffers, bytes; not part of the resident memory.
    pub fn map_bytes(&self) -> u64 {
        self.map_bytes
    }

    /// Records that could not be decoded, since the start; not 0 only if agent and object do not fit.
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }
}

impl AsRawFd for Ebpf {
    fn as_raw_fd(&self) -> RawFd {
        self.transport.as_fd().as_raw_fd()
    }
}

impl AsFd for Ebpf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}
