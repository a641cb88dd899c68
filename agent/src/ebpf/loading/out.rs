//! Opening the way that records take out of the kernel.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use agent_common::names;
use aya::maps::perf::PerfBufferError;
use aya::maps::{Map, MapData, PerfEventArray};

use crate::ebpf::object::{Loader, Sizes};
use crate::ebpf::probes::PROBES;
use crate::ebpf::remedy::{Failure, Step};
use crate::ebpf::remotes::RemoteMaps;
use crate::ebpf::transport::{PerfBuffers, Ring, Transport};
use crate::ebpf::waits::WaitMap;
use crate::host::{Host, read_text};

/// The way out that was found.
pub(super) struct Out {
    pub(super) transport: Box<dyn Transport>,
    /// Its map.
    pub(super) map: OwnedFd,
    /// Memory it holds, bytes.
    pub(super) bytes: u64,
    /// Why it is not a perf buffer.
    pub(super) why: Option<String>,
}

impl Out {
    pub(super) fn perf(
        host: &dyn Host,
        loader: &mut Loader,
        cpus: &[u32],
        pages: u32,
    ) -> Result<Self, Failure> {
        loader.make_map(names::EVENTS)?;
        let (mut map, mut bytes) = (None, 0);
        let events = take(loader, names::EVENTS, |events| {
            bytes = memory_of(host, &events);
            map = Some(events.fd().as_fd().try_clone_to_owned());
            PerfEventArray::try_from(Map::PerfEventArray(events))
        })?;
        let buffers = PerfBuffers::open(events, cpus, pages, host.page_size())
            .map_err(|error| Failure::at(Step::Buffer)(buffer_error(error)))?;
        Self::new(buffers, map, bytes, None)
    }

    pub(super) fn ring(
        host: &dyn Host,
        loader: &mut Loader,
        sizes: Sizes,
        why: Option<String>,
    ) -> Result<Self, Failure> {
        loader.make_map(names::RING)?;
        let mut map = None;
        let ring = take(loader, names::RING, |ring| {
            map = Some(ring.fd().as_fd().try_clone_to_owned());
            Ring::open(ring, sizes.ring_bytes, host.page_size())
        })?;
        Self::new(ring, map, 0, why)
    }

    fn new(
        transport: impl Transport + 'static,
        map: Option<io::Result<OwnedFd>>,
        map_bytes: u64,
        why: Option<String>,
    ) -> Result<Self, Failure> {
        let map =
            map.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into())).map_err(Failure::at(Step::Buffer))?;
        Ok(Self { map, bytes: map_bytes + transport.bytes(), transport: Box::new(transport), why })
    }
}

/// What the kernel accounts for a map.
pub(super) fn memory_of(host: &dyn Host, map: &MapData) -> u64 {
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let text = read_text(host, &path).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok()).unwrap_or_default()
}

/// Takes a map out of the loader as what it is.
pub(super) fn take<T>(
    loader: &mut Loader,
    name: &'static str,
    make: impl FnOnce(MapData) -> Result<T, aya::maps::MapError>,
) -> Result<T, Failure> {
    let map = loader.take_map(name).ok_or(aya::maps::MapError::ElementNotFound);
    map.and_then(make).map_err(|error| Failure::at(Step::Object)(io::Error::other(error)))
}

fn buffer_error(error: PerfBufferError) -> io::Error {
    match error {
        PerfBufferError::OpenError { io_error }
        | PerfBufferError::MMapError { io_error }
        | PerfBufferError::PerfEventEnableError { io_error }
        | PerfBufferError::IOError(io_error) => io_error,
        other @ PerfBufferError::InvalidPageCount { .. } => io::Error::other(other),
    }
}

/// The maps of TCP trouble, where that probe runs.
pub(super) fn take_remotes(loader: &mut Loader) -> Option<RemoteMaps> {
    let (remotes, totals) = (loader.take_map(names::REMOTES)?, loader.take_map(names::REMOTE_TOTALS)?);
    RemoteMaps::new(remotes, totals).ok()
}

/// The histograms of the waits that are measured.
pub(super) fn take_waits(loader: &mut Loader) -> Vec<(&'static str, WaitMap)> {
    let kinds = PROBES.iter().filter_map(|probe| {
        let name = probe.maps.iter().find(|map| map.ends_with("_WAITS"))?;
        Some((probe.name, take(loader, name, WaitMap::new).ok()?))
    });
    kinds.collect()
}
