//! The eBPF object: constants, maps, programs.
//!
//! aya-obj parses and relocates it; the maps are aya's. Its `EbpfLoader` is not used: it reads the
//! whole of `/sys/kernel/btf/vmlinux` when it is made, wanted or not.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use agent_common::names;
use aya::maps::{MapData, MapError};
use aya_obj::{EbpfSectionKind, Object};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::probes::{Constant, PROBES, Probe};
use super::remedy::{Failure, Step};
use super::sys;

/// Made by `cargo xtask build-ebpf` from `agent-ebpf/`.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!("sysops.bpf.o");

/// Room for the verifier's words, bytes.
const VERIFIER_LOG: usize = 64 << 10;

/// The section constants live in.
const CONSTANTS: &str = ".rodata";

/// Entries of maps whose size depends on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Requests in flight that are remembered.
    pub(super) starts: u32,
    /// Histograms.
    pub(super) histograms: u32,
    /// Shards of one histogram, a power of two.
    pub(super) shards: u32,
    /// Devices times processes whose requests are counted.
    pub(super) issuers: u32,
    /// Bytes of the ring buffer.
    pub(super) ring_bytes: u32,
    /// Words of what the task iterator told; 1 where it remembers nothing.
    pub(super) tasks_told: u32,
}

impl Sizes {
    /// For so many processors and disks: room for three operations of each disk and of eight to
    /// come, and the queue of two, in as many shards as there are processors and as the limit leaves.
    pub(super) fn of(cpus: u32, disks: u32) -> Self {
        use agent_common::limits::{
            ISSUERS_PER_CPU, MAX_HIST_ENTRIES, MAX_ISSUERS, MAX_SHARDS, MAX_STARTS, MIN_ISSUERS, MIN_STARTS,
            STARTS_PER_CPU,
        };
        let single = disks.saturating_add(8).saturating_mul(5).min(MAX_HIST_ENTRIES);
        let mut shards = cpus.clamp(1, MAX_SHARDS).next_power_of_two();
        while shards > 1 && single * shards > MAX_HIST_ENTRIES {
            shards /= 2;
        }
        let starts = cpus.saturating_mul(STARTS_PER_CPU).clamp(MIN_STARTS, MAX_STARTS);
        let issuers = cpus.saturating_mul(ISSUERS_PER_CPU).clamp(MIN_ISSUERS, MAX_ISSUERS);
        Self { starts, histograms: single * shards, shards, issuers, ring_bytes: 0, tasks_told: 1 }
    }
}

/// The object on its way into the kernel.
pub(super) struct Loader {
    object: Object,
    maps: BTreeMap<&'static str, MapData>,
    sizes: Sizes,
}

impl Loader {
    /// Parses the object.
    pub(super) fn new(sizes: Sizes) -> Result<Self, Failure> {
        let object = Object::parse(OBJECT).map_err(|e| own_fault(&e))?;
        Ok(Self { object, maps: BTreeMap::new(), sizes })
    }

    /// Sets constants and makes them a map.
    pub(super) fn make_constants(&mut self, constants: &[Constant]) -> Result<(), Failure> {
        let values: HashMap<&str, (&[u8], bool)> =
            constants.iter().map(|c| (c.name, (&*c.bytes, true))).collect();
        self.object.patch_map_data(values).map_err(|e| own_fault(&e))?;
        self.make_map(CONSTANTS)?;
        let map = &self.maps[CONSTANTS];
        let value = self.object.maps.get(CONSTANTS).map_or(&[][..], |map| map.data());
        sys::fill_constants(map.fd().as_fd(), value).map_err(Failure::at(Step::Map("of constants")))
    }

    /// Makes the maps of one probe, all or none.
    pub(super) fn make_maps(&mut self, probe: &Probe) -> Result<(), Failure> {
        for name in probe.maps {
            self.make_map(name).inspect_err(|_| self.drop_maps(probe))?;
        }
        Ok(())
    }

    /// Gives the maps of one probe back.
    pub(super) fn drop_maps(&mut self, probe: &Probe) {
        self.maps.retain(|made, _| !probe.maps.contains(made));
    }

    /// Makes a map.
    pub(super) fn make_map(&mut self, name: &'static str) -> Result<(), Failure> {
        let step = Step::Map(name);
        let mut map =
            self.object.maps.get(name).cloned().ok_or_else(|| own_fault(&format!("it has no map {name}")))?;
        match name {
            names::STARTS => map.set_max_entries(self.sizes.starts),
            names::HIST => map.set_max_entries(self.sizes.histograms),
            name if name.ends_with("_WAITS") => map.set_max_entries(self.sizes.shards),
            names::ISSUERS => map.set_max_entries(self.sizes.issuers),
            names::RING => map.set_max_entries(self.sizes.ring_bytes),
            names::TASKS_TOLD => map.set_max_entries(self.sizes.tasks_told),
            _ => {}
        }
        let kernel_name = if map.section_kind() == EbpfSectionKind::Rodata { "constants" } else { name };
        let made = MapData::create(map, kernel_name, None).map_err(|error| match error {
            MapError::CreateError { io_error, .. } => Failure::at(step)(io_error),
            other => Failure::at(step)(io::Error::other(other)),
        })?;
        self.maps.insert(name, made);
        Ok(())
    }

    /// Ties programs to maps. Others than the `wanted` are forgotten. `transport` is the map that records go
    /// through, if there are any; it also takes the place of the one that is not used, which the programs name but
    /// never touch.
    pub(super) fn relocate(
        &mut self,
        wanted: &HashSet<&str>,
        transport: Option<BorrowedFd<'_>>,
    ) -> Result<(), Failure> {
        self.object.programs.retain(|name, _| wanted.contains(name.as_str()));
        let keys: HashSet<_> = self.object.programs.values().map(aya_obj::Program::function_key).collect();
        let text = self.object.functions.keys().map(|&(section, _)| section).collect();
        self.object.functions.retain(|key, _| keys.contains(key));
        let originals = self.object.maps.clone();
        let own = self.maps.iter().map(|(name, data)| (*name, data.fd().as_fd().as_raw_fd()));
        let transport = transport.map(|fd| fd.as_raw_fd());
        let ways_out = [names::EVENTS, names::RING].into_iter().filter_map(|name| Some((name, transport?)));
        let maps = own.chain(ways_out).map(|(name, fd)| (name, fd, &originals[name]));
        self.object.relocate_maps(maps, &text).map_err(|e| own_fault(&e))?;
        // Puts `bpf_probe_read` for `bpf_probe_read_kernel`, which came with 5.5.
        self.object.sanitize_functions(aya::features());
        Ok(())
    }

    /// Loads a program.
    pub(super) fn load(&self, program: &'static str, purpose: sys::For) -> Result<OwnedFd, Failure> {
        let missing = || own_fault(&format!("it has no program {program}"));
        let entry = self.object.programs.get(program).ok_or_else(missing)?;
        let function = self.object.functions.get(&entry.function_key()).ok_or_else(missing)?;
        let name = aya::features().bpf_name().then_some(program);
        let load =
            |log: &mut [u8]| sys::load_program(name, purpose, &function.instructions, &entry.license, log);
        let result = load(&mut []).or_else(|error| match error.raw_os_error() {
            Some(libc::EPERM) if raise_memlock() => load(&mut []),
            _ => Err(error),
        });
        result.map_err(|error| {
            let mut log = vec![0; VERIFIER_LOG];
            let _ = load(&mut log);
            Failure { verifier: last_line(&log), ..Failure::at(Step::Program(program))(error) }
        })
    }

    /// A map, for whoever reads it.
    pub(super) fn take_map(&mut self, name: &str) -> Option<MapData> {
        self.maps.remove(name)
    }

    /// The maps it holds.
    pub(super) fn maps(&self) -> impl Iterator<Item = &MapData> {
        self.maps.values()
    }

    /// Those of them that belong to one probe each.
    pub(super) fn probe_maps(&self) -> impl Iterator<Item = &MapData> {
        let owned = |name: &str| PROBES.iter().any(|probe| probe.maps.contains(&name));
        self.maps.iter().filter(move |(name, _)| owned(name)).map(|(_, map)| map)
    }
}

fn own_fault(error: &dyn ToString) -> Failure {
    Failure::at(Step::Object)(io::Error::other(error.to_string()))
}

/// Kernels before 5.11 count programs as locked memory. Works for those who may.
fn raise_memlock() -> bool {
    setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }).is_ok()
}

/// The verifier ends with a line of statistics; the one before says what it did not like.
fn last_line(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let mut lines = text.trim_end_matches('\0').lines().rev();
    lines.find(|l| !l.is_empty() && !l.starts_with("processed ")).unwrap_or_default().to_owned()
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
