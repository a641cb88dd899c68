//! Memory modules, out of the firmware's SMBIOS tables. Root and `CAP_DAC_READ_SEARCH` may read them.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use smbioslib::{
    MemoryArrayErrorCorrection, MemoryArrayUse, MemoryDeviceType, MemorySize, MemorySizeExtended,
    MemorySpeed, MemorySpeedExtended, SMBiosData, SMBiosMemoryDevice, SMBiosPhysicalMemoryArray,
    SMBiosString, SMBiosStruct,
};

use super::read::tidy;
use crate::host::Host;

/// Where Linux shows the tables, from 4.2 on.
pub(super) const TABLES: &str = "/sys/firmware/dmi/tables/DMI";
/// Modules listed; further ones are counted only.
const MAX_DIMMS: usize = 1024;
/// MiB in a GiB.
const GIB: u64 = 1024;

/// One memory module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dimm {
    /// Where it is plugged in, as the board is labelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// Size; told in GiB, whole where it is.
    #[serde(rename = "size_gb", serialize_with = "gib")]
    pub size_mib: u64,
    /// Kind of memory: `DDR4`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Speed it is made for, 10^6 transfers a second, which data sheets call MHz.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed_mhz: Option<u32>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// The maker's number for modules like this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_number: Option<String>,
    /// The number of this very module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Whether its errors are corrected; left out where the firmware does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecc: Option<bool>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn gib<S: Serializer>(mib: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    if mib.is_multiple_of(GIB) {
        serializer.serialize_u64(mib / GIB)
    } else {
        serializer.serialize_f64(*mib as f64 / GIB as f64)
    }
}

/// How many modules there are, and the first [`MAX_DIMMS`] of them; `None` where the tables cannot be
/// read or tell of none.
pub(super) fn dimms(host: &dyn Host) -> Option<(usize, Vec<Dimm>)> {
    let mut tables = Vec::new();
    host.read(TABLES, &mut tables).ok()?;
    let (count, dimms) = decode(tables);
    (count > 0).then_some((count, dimms))
}

/// Of structures that are cut short or say nonsense, what can be understood.
fn decode(tables: Vec<u8>) -> (usize, Vec<Dimm>) {
    let tables = SMBiosData::from_vec_and_version(tables, None);
    let mut arrays = BTreeMap::new();
    for array in tables.defined_struct_iter::<SMBiosPhysicalMemoryArray<'_>>() {
        arrays.insert(*array.parts().header.handle(), array);
    }
    let (mut count, mut dimms) = (0, Vec::new());
    for device in tables.defined_struct_iter::<SMBiosMemoryDevice<'_>>() {
        let array = device.physical_memory_array_handle().and_then(|handle| arrays.get(&*handle));
        if let Some(dimm) = dimm(&device, array) {
            count += 1;
            if dimms.len() < MAX_DIMMS {
                dimms.push(dimm);
            }
        }
    }
    (count, dimms)
}

/// `None` for an empty slot, and for memory that is not the system's (flash, cache, video).
fn dimm(device: &SMBiosMemoryDevice<'_>, array: Option<&SMBiosPhysicalMemoryArray<'_>>) -> Option<Dimm> {
    let usage = array.and_then(SMBiosPhysicalMemoryArray::usage);
    let foreign = usage.is_some_and(|usage| {
        use MemoryArrayUse::{CacheMemory, FlashMemory, NonVolatileRam, VideoMemory};
        matches!(usage.value, CacheMemory | FlashMemory | NonVolatileRam | VideoMemory)
    });
    if foreign {
        return None;
    }
    Some(Dimm {
        slot: text(&device.device_locator()).or_else(|| text(&device.bank_locator())),
        size_mib: size_mib(device)?,
        kind: kind(device),
        speed_mhz: speed(device),
        manufacturer: text(&device.manufacturer()),
        part_number: text(&device.part_number()),
        serial: text(&device.serial_number()),
        ecc: ecc(device, array),
    })
}

/// `None` for an empty slot.
fn size_mib(device: &SMBiosMemoryDevice<'_>) -> Option<u64> {
    let size = match device.size()? {
        MemorySize::Kilobytes(kib) => u64::from(kib) / 1024,
        MemorySize::Megabytes(mib) => u64::from(mib),
        MemorySize::SeeExtendedSize => match device.extended_size()? {
            MemorySizeExtended::Megabytes(mib) => u64::from(mib),
            MemorySizeExtended::SeeSize => return None,
        },
        MemorySize::NotInstalled | MemorySize::Unknown => return None,
    };
    (size > 0).then_some(size)
}

/// The name in capitals, as people write it.
fn kind(device: &SMBiosMemoryDevice<'_>) -> Option<String> {
    use MemoryDeviceType::{Ddr2Fbdimm, LogicalNonVolatileDevice, None as Undefined, Other, Unknown};
    match device.memory_type()?.value {
        Other | Unknown | Undefined => None,
        Ddr2Fbdimm => Some("DDR2 FB-DIMM".to_owned()),
        LogicalNonVolatileDevice => Some("non-volatile".to_owned()),
        named => Some(format!("{named:?}").to_uppercase()),
    }
}

/// What it is made for; where that is not told, what it runs at.
fn speed(device: &SMBiosMemoryDevice<'_>) -> Option<u32> {
    let of = |speed: Option<MemorySpeed>, extended: Option<MemorySpeedExtended>| match (speed?, extended) {
        (MemorySpeed::MTs(mts), _) => Some(u32::from(mts)),
        (MemorySpeed::SeeExtendedSpeed, Some(MemorySpeedExtended::MTs(mts))) => Some(mts),
        (MemorySpeed::SeeExtendedSpeed | MemorySpeed::Unknown, _) => None,
    };
    of(device.speed(), device.extended_speed())
        .or_else(|| of(device.configured_memory_speed(), device.extended_configured_memory_speed()))
}

/// What the memory controller does counts; where that is not told, whether the module has more bits than
/// it stores.
fn ecc(device: &SMBiosMemoryDevice<'_>, array: Option<&SMBiosPhysicalMemoryArray<'_>>) -> Option<bool> {
    use MemoryArrayErrorCorrection::{Crc, MultiBitEcc, NoCorrection, Parity, SingleBitEcc};
    match array.and_then(SMBiosPhysicalMemoryArray::memory_error_correction).map(|c| c.value) {
        Some(SingleBitEcc | MultiBitEcc | Crc) => Some(true),
        Some(NoCorrection | Parity) => Some(false),
        _ => {
            let known = |width: Option<u16>| width.filter(|&bits| bits != 0 && bits != u16::MAX);
            Some(known(device.total_width())? > known(device.data_width())?)
        }
    }
}

/// A text that says something: firmware without a value often writes `Not Specified`, `Unknown` or the like.
fn text(string: &SMBiosString) -> Option<String> {
    const SAY_NOTHING: [&str; 7] =
        ["not specified", "unknown", "none", "no dimm", "n/a", "to be filled by o.e.m.", "undefined"];
    let text = tidy(&string.to_utf8_lossy()?)?;
    (!SAY_NOTHING.contains(&text.to_lowercase().as_str())).then_some(text)
}

#[cfg(test)]
#[path = "dimm_tests.rs"]
mod tests;
