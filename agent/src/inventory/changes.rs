//! What changed since the last time.
//!
//! [`Parts`] is what counts of an inventory: parts by a name that stays, each with facts that stay. What comes
//! and goes by itself is no part, so that it makes no noise:
//!
//! - disks on USB, memory cards and other removable ones; loop, ram and dm devices are not in the inventory at all;
//! - network interfaces without hardware, on USB, and virtual functions, which come and go with virtual machines;
//! - numbers of GPUs, which follow from the places of those that are there;
//! - speed, MTU and hardware address of an interface (a bond gives its members one address), names of disks and
//!   interfaces (they depend on the order in which the kernel finds them), host name, current frequency;
//! - the size of memory where a balloon takes and gives it back.
//!
//! A kind of part that could not be read this time has not changed, and neither has a fact that is not told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::read::{entries, number, value};
use super::{Disk, Gpu, Inventory, Nic};
use crate::event::{Change, HostChange, MAX_CHANGES};
use crate::host::Host;
use crate::text::clean;

/// Parts remembered; a kind that does not fit whole is not compared.
const MAX_PARTS: usize = 1024;
/// Longest fact, characters.
const MAX_FACT: usize = 100;
/// Longest name of a part, characters: a place in the tree of devices.
const MAX_NAME: usize = 200;

/// What counts of an inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// What was left out by the configuration; with another choice, disks and interfaces are not comparable.
    choice: String,
    /// Kinds that could be read.
    kinds: Vec<Kind>,
    by_name: BTreeMap<String, Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    kind: Kind,
    /// What people call it now; no fact.
    title: String,
    facts: BTreeMap<Fact, String>,
}

/// The weightiest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    MemoryModule,
    Disk,
    Gpu,
    NetworkCard,
    Processors,
    Memory,
    Kernel,
    System,
    Firmware,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fact {
    Model,
    Serial,
    Size,
    Version,
    Firmware,
    Driver,
    Count,
    Threads,
    Microcode,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::MemoryModule => "memory_module",
            Self::Disk => "disk",
            Self::Gpu => "gpu",
            Self::NetworkCard => "network_card",
            Self::Processors => "processors",
            Self::Memory => "memory",
            Self::Kernel => "kernel",
            Self::System => "system",
            Self::Firmware => "firmware",
        }
    }

    /// Whether a part of this kind can come and go; the others are always there, and only what is told of
    /// them changes.
    const fn is_countable(self) -> bool {
        matches!(self, Self::MemoryModule | Self::Disk | Self::Gpu | Self::NetworkCard)
    }

    /// Whether the configuration leaves out some of them.
    const fn is_chosen(self) -> bool {
        matches!(self, Self::Disk | Self::NetworkCard)
    }
}

impl Fact {
    const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Serial => "serial number",
            Self::Size => "size",
            Self::Version => "version",
            Self::Firmware => "firmware",
            Self::Driver => "driver",
            Self::Count => "sockets",
            Self::Threads => "threads",
            Self::Microcode => "microcode",
        }
    }
}

impl Parts {
    /// What counts of `inventory`, which was just read from `host` with this choice of devices.
    pub fn of(host: &dyn Host, inventory: &Inventory, choice: String) -> Self {
        let mut out = Self { choice, ..Self::default() };
        out.system(host, inventory);
        if let Some(dimms) = &inventory.memory.dimms {
            out.kinds.push(Kind::MemoryModule);
            let mut named: BTreeMap<&str, usize> = BTreeMap::new();
            for dimm in dimms {
                let slot = dimm.slot.as_deref().unwrap_or("without a name");
                // Some boards give all slots one name.
                let nth = named.entry(slot).and_modify(|n| *n += 1).or_insert(1);
                let slot = if *nth > 1 { format!("{slot} #{nth}") } else { slot.to_owned() };
                let size = crate::text::kib(dimm.size_mib.saturating_mul(1024));
                let facts = [
                    (Fact::Model, dimm.part_number.clone().or_else(|| dimm.manufacturer.clone())),
                    (Fact::Serial, dimm.serial.clone()),
                    (Fact::Size, Some(size)),
                ];
                out.add(Kind::MemoryModule, &slot, &format!("memory module {slot}"), facts);
            }
        }
        // Every Linux with hardware lists something here: nothing at all means that it cannot be seen.
        if !entries(host, "/sys/block").is_empty() {
            out.kinds.push(Kind::Disk);
            inventory.disks.iter().for_each(|disk| out.disk(host, disk));
        }
        // A driver that is in trouble lists nothing: then nothing is known, and the collector tells of the trouble.
        if !inventory.gpu.is_empty() {
            out.kinds.push(Kind::Gpu);
            inventory.gpu.iter().for_each(|gpu| out.gpu(gpu));
        }
        if !entries(host, "/sys/class/net").is_empty() {
            out.kinds.push(Kind::NetworkCard);
            inventory.network.iter().for_each(|nic| out.nic(host, nic));
        }
        out
    }

    fn system(&mut self, host: &dyn Host, inventory: &Inventory) {
        let Inventory { os, cpu, memory, bios, .. } = inventory;
        let told = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        self.always(Kind::Kernel, "kernel", [(Fact::Version, told(&os.kernel))]);
        let release = told(format!("{} {}", os.distro, os.version).trim());
        self.always(Kind::System, "distribution", [(Fact::Version, release)]);
        let count = |count: usize| (count > 0).then(|| count.to_string());
        let facts = [
            (Fact::Model, cpu.model.clone()),
            (Fact::Count, count(cpu.sockets)),
            (Fact::Threads, count(cpu.total_threads)),
            (Fact::Microcode, cpu.microcode.clone()),
        ];
        self.always(Kind::Processors, "processors", facts);
        if memory.total_gb > 0 && !has_balloon(host) {
            self.always(Kind::Memory, "memory", [(Fact::Size, Some(format!("{} GiB", memory.total_gb)))]);
        }
        if let Some(bios) = bios {
            self.always(Kind::Firmware, "firmware", [(Fact::Version, bios.version.clone())]);
        }
    }

    /// By its serial number, and the number of the namespace; by its name where it has none.
    fn disk(&mut self, host: &dyn Host, disk: &Disk) {
        let removable = number(host, &format!("/sys/block/{}/removable", disk.name)) == Some(1);
        if removable || matches!(disk.interface, "USB" | "MMC") {
            return;
        }
        let mut name = disk.serial.as_ref().unwrap_or(&disk.name).clone();
        // The namespaces of an NVMe controller have its serial number.
        match number(host, &format!("/sys/block/{}/nsid", disk.name)) {
            Some(namespace @ 2..) if disk.serial.is_some() => name = format!("{name} {namespace}"),
            _ => {}
        }
        let facts = [
            (Fact::Model, disk.model.clone()),
            (Fact::Serial, disk.serial.clone()),
            (Fact::Size, Some(format!("{} GB", disk.capacity_gb))),
            (Fact::Firmware, disk.firmware.clone()),
        ];
        self.add(Kind::Disk, &name, &format!("disk {}", disk.name), facts);
    }

    /// By its place on the bus: a board that is exchanged has another uuid there.
    fn gpu(&mut self, gpu: &Gpu) {
        let Some(bus) = &gpu.bus else { return };
        let facts = [
            (Fact::Model, gpu.model.clone()),
            (Fact::Serial, gpu.uuid.clone()),
            (Fact::Size, gpu.vram_gb.map(|gib| format!("{gib} GiB"))),
            (Fact::Driver, gpu.driver.clone()),
        ];
        self.add(Kind::Gpu, bus, &format!("GPU {} ({bus})", gpu.index), facts);
    }

    /// By its place in the tree of devices.
    fn nic(&mut self, host: &dyn Host, nic: &Nic) {
        let dir = format!("/sys/class/net/{}", nic.name);
        let Ok(link) = host.read_link(&dir) else { return };
        let Some((_, place)) = link.split_once("/devices/") else { return };
        let place = place.rsplit_once("/net/").map_or(place, |(place, _)| place);
        let virtual_function = host.read_link(&format!("{dir}/device/physfn")).is_ok();
        if place.starts_with("virtual") || place.contains("/usb") || virtual_function {
            return;
        }
        let port = value(host, &format!("{dir}/dev_port")).unwrap_or_default();
        let facts = [(Fact::Driver, nic.driver.clone()), (Fact::Firmware, nic.firmware.clone())];
        self.add(Kind::NetworkCard, &format!("{place} {port}"), &format!("network card {}", nic.name), facts);
    }

    fn always<const N: usize>(&mut self, kind: Kind, title: &str, facts: [(Fact, Option<String>); N]) {
        self.kinds.push(kind);
        self.add(kind, "", title, facts);
    }

    fn add<const N: usize>(
        &mut self,
        kind: Kind,
        name: &str,
        title: &str,
        facts: [(Fact, Option<String>); N],
    ) {
        if self.by_name.len() >= MAX_PARTS {
            // Of a kind that is not known whole, nothing is known to be gone.
            self.kinds.retain(|known| *known != kind);
            return;
        }
        let told = facts.into_iter().filter_map(|(fact, text)| Some((fact, clean(&text?, MAX_FACT))));
        let part = Part { kind, title: clean(title, MAX_FACT), facts: told.collect() };
        // Two paths to one disk have one serial number, and are one disk.
        self.by_name.insert(clean(&format!("{} {name}", kind.name()), MAX_NAME), part);
    }

    /// What changed from `self` to `new`; `new` learns from `self` what it could not read.
    pub fn change_to(&self, new: &mut Self) -> Option<HostChange> {
        let same_choice = self.choice == new.choice;
        let comparable = |kind: Kind| {
            self.kinds.contains(&kind) && new.kinds.contains(&kind) && (same_choice || !kind.is_chosen())
        };
        let mut changes = Vec::new();
        for (name, part) in new.by_name.iter_mut().filter(|(_, part)| comparable(part.kind)) {
            match self.by_name.get(name) {
                Some(old) => part.compare(old, &mut changes),
                None if part.kind.is_countable() => changes.push(part.tell("is new")),
                None => {}
            }
        }
        for (name, old) in &self.by_name {
            if new.by_name.contains_key(name) {
                continue;
            }
            if comparable(old.kind) && old.kind.is_countable() {
                changes.push(old.tell("is gone"));
            } else if !new.kinds.contains(&old.kind) && new.by_name.len() < MAX_PARTS {
                new.by_name.insert(name.clone(), old.clone());
            }
        }
        let unread = self.kinds.iter().filter(|kind| !new.kinds.contains(kind)).copied().collect::<Vec<_>>();
        new.kinds.extend(unread);
        changes.sort_by_key(|(kind, _)| *kind);
        let left_out = changes.len().saturating_sub(MAX_CHANGES);
        changes.truncate(MAX_CHANGES);
        let changes: Vec<Change> =
            changes.into_iter().map(|(kind, text)| Change { part: kind.name(), text }).collect();
        (!changes.is_empty()).then_some(HostChange { changes, left_out })
    }
}

impl Part {
    /// `disk sda (INTEL SSD, 512 GB) is gone`
    fn tell(&self, what: &str) -> (Kind, String) {
        let known: Vec<String> = self
            .facts
            .iter()
            .map(|(fact, text)| match fact {
                Fact::Model | Fact::Size => text.clone(),
                _ => format!("{} {text}", fact.name()),
            })
            .collect();
        let known = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
        (self.kind, format!("{}{known} {what}", self.title))
    }

    /// Facts that both know and that differ; what this one does not know it takes from the other.
    fn compare(&mut self, old: &Self, changes: &mut Vec<(Kind, String)>) {
        let mut differ = Vec::new();
        for (fact, was) in &old.facts {
            match self.facts.get(fact) {
                Some(is) if is != was => differ.push(format!("{} is {is}, was {was}", fact.name())),
                Some(_) => {}
                None => drop(self.facts.insert(*fact, was.clone())),
            }
        }
        if !differ.is_empty() {
            changes.push((self.kind, format!("{}: {}", self.title, differ.join("; "))));
        }
    }
}

/// A guest whose hypervisor takes memory and gives it back.
fn has_balloon(host: &dyn Host) -> bool {
    let bound = |driver: &str, device: &str| {
        entries(host, &format!("/sys/bus/{driver}")).iter().any(|name| name.starts_with(device))
    };
    bound("virtio/drivers/virtio_balloon", "virtio")
        || !entries(host, "/sys/module/vmw_balloon").is_empty()
        || !entries(host, "/sys/module/hv_balloon").is_empty()
        || !entries(host, "/sys/devices/system/xen_memory").is_empty()
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
