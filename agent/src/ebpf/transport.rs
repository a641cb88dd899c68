//! How records come from the kernel: perf buffers, which every kernel with eBPF has, or where they are
//! refused a ring buffer.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya::maps::perf::PerfBufferError;
use aya::maps::perf::{PerfEvent, PerfEventArrayBuffer};
use aya::maps::{Map, MapData, MapError, PerfEventArray, RingBuf};
use rustix::event::epoll;

/// User memory all buffers may take together; pages per processor are halved until it fits.
pub const MAX_BUFFER_BYTES: u64 = 8 << 20;

/// Records taken from a ring buffer at once; about as many as fit into the largest.
const MAX_DRAIN: u32 = 1 << 16;

/// What a drained buffer held.
#[derive(Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A record, perhaps with up to 7 bytes of padding behind it.
    Bytes(&'a [u8]),
    /// So many did not fit.
    Lost(u64),
}

/// The kinds of transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// One buffer a processor, each a perf event.
    PerfBuffer,
    /// One ring buffer.
    Ring,
}

impl Way {
    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PerfBuffer => "perf buffer",
            Self::Ring => "ring buffer",
        }
    }
}

/// A processor that is online.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Its number.
    pub number: u32,
    /// Inode of its `topology` in sysfs, where the host tells it. The kernel makes that directory anew whenever the processor
    /// comes online (`topology_add_dev`, `drivers/base/topology.c`): so one that was away for a moment is known.
    pub node: Option<u64>,
}

/// A stream of records. Its descriptor becomes readable when there is something to drain.
pub trait Transport: AsFd + Send {
    /// Hands over everything that has arrived.
    fn drain(&mut self, each: &mut dyn FnMut(Record<'_>));
    /// User memory it holds, bytes.
    fn bytes(&self) -> u64;
    /// What it is.
    fn way(&self) -> Way;
    /// Takes up processors that have come online since, or were away meanwhile; with `suspect` all. How many it took up.
    fn follow(&mut self, online: &[Cpu], suspect: bool) -> Result<usize, PerfBufferError> {
        let _ = (online, suspect);
        Ok(0)
    }
}

/// One buffer a processor, and one epoll descriptor over all of them.
pub struct PerfBuffers {
    epoll: OwnedFd,
    array: PerfEventArray<MapData>,
    pages: u32,
    page_size: u64,
    buffers: Vec<Buffer>,
    /// Buffers that others have taken the place of, until they are drained.
    old: Vec<PerfEventArrayBuffer<MapData>>,
    /// For records that lie across the end of a buffer.
    joined: Vec<u8>,
}

struct Buffer {
    cpu: u32,
    /// [`Cpu::node`] since it was opened.
    node: Option<u64>,
    inner: PerfEventArrayBuffer<MapData>,
    /// Its processor went offline, and took the perf event along (`perf_event_exit_cpu_context`, `kernel/events/core.c`):
    /// nothing more comes, not even when the processor is back.
    dead: bool,
}

impl PerfBuffers {
    /// Opens a buffer of `pages` pages (rounded to a power of two) on each of `cpus`.
    pub fn open(
        array: PerfEventArray<MapData>,
        cpus: &[u32],
        pages: u32,
        page_size: u64,
    ) -> Result<Self, PerfBufferError> {
        let pages = fitting_pages(cpus.len() as u64, pages, page_size);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io)?;
        let (buffers, old, joined) = (Vec::with_capacity(cpus.len()), Vec::new(), Vec::new());
        let mut all = Self { epoll, array, pages, page_size, buffers, old, joined };
        cpus.iter().try_for_each(|&number| all.add(Cpu { number, node: None }))?;
        Ok(all)
    }

    /// Opens the buffer of a processor; records go there from now on.
    fn add(&mut self, Cpu { number: cpu, node }: Cpu) -> Result<(), PerfBufferError> {
        // More processors than at the start may not take more memory than all may.
        let count = self.buffers.iter().filter(|buffer| buffer.cpu != cpu).count() as u64;
        let pages = fitting_pages(count + 1, self.pages, self.page_size).min(self.pages);
        let inner = self.array.open(cpu, Some(pages as usize))?;
        let data = epoll::EventData::new_u64(u64::from(cpu));
        epoll::add(&self.epoll, inner.as_fd(), data, epoll::EventFlags::IN).map_err(io)?;
        let fresh = Buffer { cpu, node, inner, dead: false };
        match self.buffers.iter_mut().find(|buffer| buffer.cpu == cpu) {
            Some(place) => self.old.push(std::mem::replace(place, fresh).inner),
            None => self.buffers.push(fresh),
        }
        Ok(())
    }
}

fn io(errno: rustix::io::Errno) -> PerfBufferError {
    PerfBufferError::IOError(errno.into())
}

/// Pages per processor: a power of two, one page more for the kernel's own use within the limit.
fn fitting_pages(cpus: u64, wanted: u32, page_size: u64) -> u32 {
    let mut pages = wanted.clamp(1, 1 << 12).next_power_of_two();
    while pages > 1 && cpus * (u64::from(pages) + 1) * page_size > MAX_BUFFER_BYTES {
        pages /= 2;
    }
    pages
}

impl Transport for PerfBuffers {
    /// Looks into every buffer: a perf event reports being readable once (`perf_poll` clears it),
    /// and asking our epoll descriptor from an outer one has used that up.
    fn drain(&mut self, each: &mut dyn FnMut(Record<'_>)) {
        let joined = &mut self.joined;
        let buffers = self.old.iter_mut().chain(self.buffers.iter_mut().map(|buffer| &mut buffer.inner));
        for buffer in buffers.filter(|b| b.readable()) {
            buffer.for_each(|event| match event {
                PerfEvent::Sample { head, tail: [] } => each(Record::Bytes(head)),
                PerfEvent::Sample { head, tail } => {
                    joined.clear();
                    joined.extend_from_slice(head);
                    joined.extend_from_slice(tail);
                    each(Record::Bytes(joined));
                }
                PerfEvent::Lost { count } => each(Record::Lost(count)),
            });
        }
        self.old.clear();
    }

    fn bytes(&self) -> u64 {
        (u64::from(self.pages) + 1) * self.page_size * self.buffers.len() as u64
    }

    fn follow(&mut self, online: &[Cpu], suspect: bool) -> Result<usize, PerfBufferError> {
        for buffer in &mut self.buffers {
            let node = online.iter().find(|cpu| cpu.number == buffer.cpu).map(|cpu| cpu.node);
            let returned = node.flatten().zip(buffer.node).is_some_and(|(now, before)| now != before);
            buffer.dead |= suspect || node.is_none() || returned;
            buffer.node = node.flatten();
        }
        let lives = |cpu: &Cpu| self.buffers.iter().any(|buffer| buffer.cpu == cpu.number && !buffer.dead);
        let missing: Vec<Cpu> = online.iter().copied().filter(|cpu| !lives(cpu)).collect();
        missing.iter().try_for_each(|&cpu| self.add(cpu))?;
        Ok(missing.len())
    }

    fn way(&self) -> Way {
        Way::PerfBuffer
    }
}

impl AsFd for PerfBuffers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// One buffer for all processors; kernels from 5.8 on. Needs no perf event, so `perf_event_paranoid` does not matter.
pub struct Ring {
    buffer: RingBuf<MapData>,
    bytes: u64,
}

impl Ring {
    /// Maps the buffer of `bytes` bytes.
    pub fn open(map: MapData, bytes: u32, page_size: u64) -> Result<Self, MapError> {
        let buffer = RingBuf::try_from(Map::RingBuf(map))?;
        // Besides the data: positions of reader and writers, and the kernel's own page (`bpf_ringbuf_area_alloc`).
        Ok(Self { buffer, bytes: u64::from(bytes) + 3 * page_size })
    }
}

/// Size of a ring for so many processors: as much as their perf buffers would have, rounded up to a power of two.
pub fn ring_bytes(cpus: u32, pages: u32, page_size: u64) -> u32 {
    let cpus = u64::from(cpus.max(1));
    let all = cpus * u64::from(fitting_pages(cpus, pages, page_size)) * page_size;
    all.next_power_of_two().clamp(page_size, MAX_BUFFER_BYTES) as u32
}

impl Transport for Ring {
    fn drain(&mut self, each: &mut dyn FnMut(Record<'_>)) {
        // What arrives meanwhile is for the next time, or a storm would never let go.
        for _ in 0..MAX_DRAIN {
            let Some(item) = self.buffer.next() else { return };
            each(Record::Bytes(&item));
        }
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn way(&self) -> Way {
        Way::Ring
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.buffer.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_a_power_of_two_within_the_limit() {
        for (cpus, wanted, expect) in [
            (2, 16, 16),
            (2, 0, 1),
            (2, 5, 8),
            (2, 4096, 512),
            (64, 16, 16),
            (128, 16, 8),
            (512, 16, 2),
            (8192, 16, 1),
            (1, u32::MAX, 1024),
        ] {
            assert_eq!(fitting_pages(cpus, wanted, 4096), expect, "{cpus} processors, {wanted} pages");
        }
    }
}
