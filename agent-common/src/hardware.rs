//! Rare reports of hardware: one layout for all of them, so that a tracepoint is a row of numbers and
//! texts, not code of its own on either side.

use bytemuck::{Pod, Zeroable};

use crate::{ABSENT_U64, Header};

/// Numbers a record has room for.
pub const NUMBERS: usize = 10;
/// Texts a record has room for.
pub const TEXTS: usize = 2;
/// Length of a text, the final NUL included.
pub const TEXT_LEN: usize = 64;

/// Which tracepoint spoke. The numbers are stable, like those of [`RecordKind`](crate::RecordKind).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Reporter {
    /// `ras:mc_event`: an EDAC driver found an error of memory. Numbers: type, count, controller, three
    /// layers, address, syndrome; texts: label, message.
    MemoryController = 1,
    /// `ras:aer_event`: a PCI Express port reports an error. Numbers: status, severity; text: device.
    Pcie = 2,
    /// `ras:memory_failure_event`: the kernel took a broken page out of use. Numbers: page, type, result.
    MemoryFailure = 3,
    /// `ras:extlog_mem_event`: firmware reports an error of memory. Numbers: type, severity, address,
    /// sequence number; text: the replaceable unit.
    ExtendedLog = 4,
    /// `mce:mce_record`: a machine check. Numbers: status, address, misc, syndrome, `mcgstatus`,
    /// processor, bank, socket, vendor, cpuid.
    MachineCheck = 5,
    /// `net:net_dev_xmit_timeout`: an adapter does not send. Number: queue; texts: interface, driver.
    TransmitTimeout = 6,
    /// `thermal:thermal_zone_trip`: a temperature passed a limit. Numbers: zone, trip, type of trip,
    /// temperature in millidegrees; text: type of the zone.
    ThermalTrip = 7,
}

impl Reporter {
    /// The one with this number, if there is one.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::MemoryController),
            2 => Some(Self::Pcie),
            3 => Some(Self::MemoryFailure),
            4 => Some(Self::ExtendedLog),
            5 => Some(Self::MachineCheck),
            6 => Some(Self::TransmitTimeout),
            7 => Some(Self::ThermalTrip),
            _ => None,
        }
    }
}

/// A report.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct HardwareRecord {
    /// Kind, size, time.
    pub header: Header,
    /// A [`Reporter`] number.
    pub reporter: u32,
    /// Keeps the layout free of padding; zero.
    pub reserved: u32,
    /// What the reporter's line above says, widened without a sign; [`ABSENT_U64`] where this kernel does
    /// not tell it; 0 behind the last.
    pub numbers: [u64; NUMBERS],
    /// NUL-terminated; empty where this kernel does not tell it.
    pub texts: [[u8; TEXT_LEN]; TEXTS],
}

impl HardwareRecord {
    /// A number, if this kernel tells it.
    pub fn number(&self, place: usize) -> Option<u64> {
        self.numbers.get(place).copied().filter(|&n| n != ABSENT_U64)
    }
}

const _: () = assert!(size_of::<HardwareRecord>() == 24 + 8 * NUMBERS + TEXT_LEN * TEXTS);
