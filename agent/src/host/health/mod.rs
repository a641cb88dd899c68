//! What disks say of their own health: NVMe log page 2, ATA SMART through the SCSI layer, log pages of SCSI disks.
//!
//! A disk that sleeps is left asleep. Disks on USB are not asked: many bridges do worse than refuse.

use std::io;

use super::Host;

mod ata;
mod nvme;
mod scsi;

/// What a disk says of itself; what it does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// What it says is wrong.
    pub warnings: Vec<Warning>,
    /// Whether it said that something, or nothing, is wrong.
    pub judged: bool,
    /// Temperature, degrees Celsius.
    pub temperature_celsius: Option<f64>,
    /// Time under power, hours.
    pub power_on_hours: Option<f64>,
    /// How often it was switched on.
    pub power_cycles: Option<f64>,
    /// How often power went away unannounced (NVMe).
    pub unsafe_shutdowns: Option<f64>,
    /// Share of the life its maker promised, percent; may exceed 100 (NVMe).
    pub used_percent: Option<f64>,
    /// Spare cells that are left, percent (NVMe).
    pub spare_percent: Option<f64>,
    /// What it warns below, percent (NVMe).
    pub spare_threshold_percent: Option<f64>,
    /// Bytes read by the host (NVMe, SCSI).
    pub read_bytes: Option<f64>,
    /// Bytes written by the host (NVMe, SCSI).
    pub written_bytes: Option<f64>,
    /// Data that came back wrong and could not be corrected (NVMe, SCSI).
    pub media_errors: Option<f64>,
    /// Entries of its error log, over its life (NVMe).
    pub error_log_entries: Option<f64>,
    /// Sectors replaced by spare ones (ATA 5, grown defects of SCSI).
    pub reallocated_sectors: Option<f64>,
    /// Sectors that wait to be replaced (ATA 197).
    pub pending_sectors: Option<f64>,
    /// Sectors that could not be read even offline (ATA 198).
    pub uncorrectable_sectors: Option<f64>,
    /// Errors reported to the host (ATA 187).
    pub reported_errors: Option<f64>,
    /// Errors on the cable (ATA 199).
    pub crc_errors: Option<f64>,
}

/// Something a disk says is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// NVMe: its spare cells are used up to a threshold.
    Spare,
    /// NVMe, SCSI: too hot, or too cold.
    Temperature,
    /// NVMe: so many errors that it is not reliable any more.
    Reliability,
    /// NVMe: it takes no more writes.
    ReadOnly,
    /// NVMe: what saves its cache when power fails does not work.
    Backup,
    /// NVMe: its persistent memory region takes no more writes.
    MemoryRegion,
    /// ATA: SMART RETURN STATUS says that it is about to fail; SCSI: it has exceeded its threshold for predicting that.
    Failing,
}

impl Warning {
    /// Those a disk of this kind can have.
    pub const fn of(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Nvme => &nvme::WARNINGS,
            Kind::Ata => &[Self::Failing],
            Kind::Scsi => &[Self::Failing, Self::Temperature],
        }
    }

    /// Name in labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spare => "spare",
            Self::Temperature => "temperature",
            Self::Reliability => "reliability",
            Self::ReadOnly => "read_only",
            Self::Backup => "backup",
            Self::MemoryRegion => "memory_region",
            Self::Failing => "failing",
        }
    }
}

impl Health {
    /// Whether it calls itself healthy; `None` where it does not say. Heat comes and goes and is no damage.
    pub fn is_healthy(&self) -> Option<bool> {
        self.judged.then(|| self.warnings.iter().all(|warning| *warning == Warning::Temperature))
    }
}

/// What became of the question.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// It answered.
    Told(Box<Health>),
    /// It sleeps, and was left alone.
    Asleep,
    /// It has nothing to say.
    Silent,
}

/// How a disk is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By the NVMe admin command.
    Nvme,
    /// By ATA commands in SCSI ones.
    Ata,
    /// By the log pages of SCSI.
    Scsi,
}

impl Kind {
    /// How the disk `name` of `/sys/block` is asked; `None` if it is not.
    pub fn of(host: &dyn Host, name: &str) -> Option<Self> {
        let dir = format!("/sys/block/{name}");
        let file = |file: &str| super::read_text(host, &format!("{dir}/{file}")).unwrap_or_default();
        // With native multipath each path is a disk of its own that cannot be opened.
        if file("hidden").trim() == "1" {
            return None;
        }
        if name.starts_with("nvme") {
            return Some(Self::Nvme);
        }
        if !name.starts_with("sd") || host.read_link(&dir).is_ok_and(|link| link.contains("/usb")) {
            return None;
        }
        match file("device/vendor").trim() {
            "ATA" => Some(Self::Ata),
            // `TYPE_DISK`; virtual ones and volumes of controllers have no pages, and say so.
            _ => (file("device/type").trim() == "0").then_some(Self::Scsi),
        }
    }

    /// Rights it takes.
    pub const fn needs(self) -> &'static str {
        match self {
            Self::Nvme => "CAP_SYS_ADMIN, and CAP_DAC_READ_SEARCH for the device file",
            Self::Ata => "CAP_SYS_RAWIO, and CAP_DAC_READ_SEARCH for the device file",
            Self::Scsi => "CAP_DAC_READ_SEARCH for the device file",
        }
    }
}

/// Asks the disk `name`. Takes as long as the disk takes: call it aside.
pub fn ask(host: &dyn Host, name: &str, kind: Kind) -> io::Result<Reading> {
    let status = super::read_text(host, &format!("/sys/block/{name}/device/power/runtime_status"));
    // Opening it would wake it.
    if status.is_ok_and(|status| status.trim() == "suspended") {
        return Ok(Reading::Asleep);
    }
    match kind {
        Kind::Nvme => nvme::ask(host, name),
        Kind::Ata => ata::ask(host, name),
        Kind::Scsi => scsi::ask(host, name),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
