//! What disks say of their own health.
//!
//! Each is asked aside: one that does not answer costs its own readings and nobody else's.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::kept::failure;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::aside::{Answer, Aside};
use crate::host::glob::Globs;
use crate::host::health::{self, Health, Kind, Reading, Warning};
use crate::metric::{Metric, metrics};
use crate::sample::Samples;

metrics! {
    HEALTHY: Gauge Count "smart_healthy" ["device"]
        "1 where the disk calls itself healthy, 0 where it does not. Heat alone is no damage.", "NVMe log page 2 byte 0, ATA SMART RETURN STATUS, SCSI log page 2Fh";
    WARNING: Gauge Count "smart_warning" ["device", "warning"]
        "1 where the disk warns of this: spare, temperature, reliability, read_only, backup, memory_region (NVMe), failing (ATA), failing, temperature (SCSI).",
        "NVMe log page 2 bytes 0, 3, 4, ATA SMART RETURN STATUS, SCSI log page 2Fh";
    ASLEEP: Gauge Count "smart_asleep" ["device"]
        "1 where the disk sleeps; it is left asleep and not asked further.", "ATA CHECK POWER MODE, SCSI REQUEST SENSE, power/runtime_status";
    STUCK: Gauge Count "smart_stuck" ["device"] "1 where the disk does not answer within 2 s.", "the agent";
    TEMPERATURE: Gauge Celsius "smart_temperature_celsius" ["device"] "Temperature of the disk.", "NVMe log page 2 byte 1, ATA attribute 194, else 190, SCSI log page 0Dh, else 2Fh";
    POWER_ON: Counter Seconds "smart_power_on_seconds_total" ["device"]
        "Time under power; the disk counts hours or minutes.", "NVMe log page 2 byte 128, ATA attribute 9, SCSI log page 15h";
    POWER_CYCLES: Counter Count "smart_power_cycles_total" ["device"]
        "How often the disk was switched on.", "NVMe log page 2 byte 112, ATA attribute 12, SCSI log page 0Eh";
    UNSAFE_SHUTDOWNS: Counter Count "smart_unsafe_shutdowns_total" ["device"]
        "How often power went away unannounced.", "NVMe log page 2 byte 144";
    USED: Gauge Percent "smart_used_percent" ["device"]
        "Share of the promised life that is used up; may exceed 100.", "NVMe log page 2 byte 5";
    SPARE: Gauge Percent "smart_spare_percent" ["device"] "Spare cells that are left.", "NVMe log page 2 byte 3";
    SPARE_THRESHOLD: Gauge Percent "smart_spare_threshold_percent" ["device"]
        "Spare cells below which the disk warns.", "NVMe log page 2 byte 4";
    READ_BYTES: Counter Bytes "smart_read_bytes_total" ["device"]
        "Bytes read from the disk in its life; of NVMe in steps of 512,000.", "NVMe log page 2 byte 32, SCSI log page 03h";
    WRITTEN_BYTES: Counter Bytes "smart_written_bytes_total" ["device"]
        "Bytes written to the disk in its life; of NVMe in steps of 512,000.", "NVMe log page 2 byte 48, SCSI log page 02h";
    MEDIA_ERRORS: Counter Count "smart_media_errors_total" ["device"]
        "Data that came back wrong and could not be corrected.", "NVMe log page 2 byte 160, SCSI log pages 02h, 03h, 05h";
    LOG_ENTRIES: Counter Count "smart_error_log_entries_total" ["device"]
        "Entries of the disk's error log in its life.", "NVMe log page 2 byte 176";
    REALLOCATED: Gauge Count "smart_reallocated_sectors_count" ["device"]
        "Sectors replaced by spare ones.", "ATA attribute 5, SCSI READ DEFECT DATA, grown list";
    PENDING: Gauge Count "smart_pending_sectors_count" ["device"]
        "Sectors that could not be read and wait to be replaced.", "ATA attribute 197";
    UNCORRECTABLE: Gauge Count "smart_uncorrectable_sectors_count" ["device"]
        "Sectors that could not be read when the disk checked itself.", "ATA attribute 198";
    REPORTED: Counter Count "smart_reported_errors_total" ["device"]
        "Errors the disk could not correct and reported.", "ATA attribute 187";
    CRC_ERRORS: Counter Count "smart_crc_errors_total" ["device"]
        "Transfers that arrived damaged: the cable.", "ATA attribute 199";
}

/// Disks asked at most; further ones, in the order of their names, are left out and reported.
const MAX_DISKS: usize = 512;
/// Threads that hang on disks at most.
const MAX_STUCK: usize = 32;
/// How long a disk may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a pass waits for all of them together; other collectors wait meanwhile.
const PASS_PATIENCE: Duration = Duration::from_secs(4);
/// The least one disk is waited for.
const LEAST_PATIENCE: Duration = Duration::from_millis(50);
/// Seconds in an hour.
const HOUR: f64 = 3600.0;

/// Asks the disks.
pub struct Smart {
    exclude: Globs,
    aside: Aside<io::Result<Reading>>,
    patience: Duration,
}

impl Smart {
    /// Leaves out devices whose names `exclude` fits.
    pub fn new(exclude: Globs) -> Self {
        Self { exclude, aside: Aside::new("smart", MAX_STUCK), patience: PATIENCE }
    }

    /// The disks to ask, one for each NVMe controller, and how many there are too many.
    fn disks(&self, host: &dyn Host) -> io::Result<(Vec<(String, Kind)>, usize)> {
        let mut names = Vec::new();
        host.list("/sys/block", &mut |name| names.push(name.to_owned()))?;
        names.retain(|name| !self.exclude.matches(name));
        names.sort_unstable();
        let mut disks: Vec<_> =
            names.into_iter().filter_map(|name| Kind::of(host, &name).map(|kind| (name, kind))).collect();
        disks.dedup_by(|(a, _), (b, _)| controller(a).is_some_and(|it| controller(b) == Some(it)));
        let left_out = disks.len().saturating_sub(MAX_DISKS);
        disks.truncate(MAX_DISKS);
        Ok((disks, left_out))
    }
}

/// `nvme0` of `nvme0n1`: all namespaces of a controller have one health.
fn controller(name: &str) -> Option<&str> {
    let number = name.strip_prefix("nvme")?.split('n').next()?;
    Some(&name[.."nvme".len() + number.len()])
}

impl Collector for Smart {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let (disks, left_out) = self.disks(host).map_err(|error| failure("/sys/block", &error))?;
        let shared = host.shared();
        let mut patience = PASS_PATIENCE;
        let (mut trouble, mut told) = (None, false);
        for (name, kind) in &disks {
            let wait = self.patience.min(patience).max(LEAST_PATIENCE);
            let asked = {
                let (host, name, kind) = (Arc::clone(&shared), name.clone(), *kind);
                self.aside.ask(&name.clone(), out.at(), wait, move || health::ask(host.as_ref(), &name, kind))
            };
            match asked {
                Answer::Done(Ok(reading)) => {
                    told |= reading != Reading::Silent;
                    put(name, *kind, &reading, out);
                }
                Answer::Done(Err(error)) if is_silence(&error) => {}
                Answer::Done(Err(error)) => trouble = trouble.or(Some(self::trouble(name, *kind, &error))),
                Answer::Stuck { since } => {
                    told = true;
                    if since == out.at() {
                        patience = patience.saturating_sub(wait);
                    }
                    out.put(&STUCK, &[name], 1.0);
                }
                Answer::NotAsked => {
                    let error =
                        format!("it was not asked: {MAX_STUCK} disks do not answer (smart_stuck names them)");
                    trouble = trouble.or(Some(CollectError::Read { path: format!("/dev/{name}"), error }));
                }
            }
        }
        match trouble {
            Some(trouble) => Err(trouble),
            None if left_out > 0 => {
                let why = format!(
                    "{left_out} disks more than the {MAX_DISKS} that are asked; set collector.exclude_devices"
                );
                Err(CollectError::Parse { path: "/sys/block".into(), why })
            }
            None if told => Ok(()),
            None => Err(CollectError::Absent { path: NO_DISK.into() }),
        }
    }
}

/// What a machine without such a disk lacks.
pub const NO_DISK: &str = "a disk that tells of its health (NVMe, SATA, SAS)";

/// The device or its driver does not know the question, or it is gone.
fn is_silence(error: &io::Error) -> bool {
    use rustix::io::Errno;
    const SILENT: [Errno; 6] =
        [Errno::NOTTY, Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::NODEV, Errno::NXIO];
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    errno.is_some_and(|errno| SILENT.contains(&errno)) || error.kind() == io::ErrorKind::NotFound
}

fn trouble(name: &str, kind: Kind, error: &io::Error) -> CollectError {
    match failure(&format!("/dev/{name}"), error) {
        CollectError::Denied { path, .. } => CollectError::Denied { path, needs: kind.needs() },
        other => other,
    }
}

fn put(name: &str, kind: Kind, reading: &Reading, out: &mut Samples) {
    let labels = &[name];
    out.put(&STUCK, labels, 0.0);
    let health = match reading {
        Reading::Silent => return,
        Reading::Asleep => return out.put(&ASLEEP, labels, 1.0),
        Reading::Told(health) => health,
    };
    out.put(&ASLEEP, labels, 0.0);
    if let Some(healthy) = health.is_healthy() {
        out.put(&HEALTHY, labels, f64::from(u8::from(healthy)));
        for warning in Warning::of(kind) {
            let set = health.warnings.contains(warning);
            out.put(&WARNING, &[name, warning.name()], f64::from(u8::from(set)));
        }
    }
    for (metric, value) in rows(health) {
        if let Some(value) = value {
            out.put(metric, labels, value);
        }
    }
}

fn rows(health: &Health) -> [(&'static Metric, Option<f64>); 16] {
    [
        (&TEMPERATURE, health.temperature_celsius),
        (&POWER_ON, health.power_on_hours.map(|hours| hours * HOUR)),
        (&POWER_CYCLES, health.power_cycles),
        (&UNSAFE_SHUTDOWNS, health.unsafe_shutdowns),
        (&USED, health.used_percent),
        (&SPARE, health.spare_percent),
        (&SPARE_THRESHOLD, health.spare_threshold_percent),
        (&READ_BYTES, health.read_bytes),
        (&WRITTEN_BYTES, health.written_bytes),
        (&MEDIA_ERRORS, health.media_errors),
        (&LOG_ENTRIES, health.error_log_entries),
        (&REALLOCATED, health.reallocated_sectors),
        (&PENDING, health.pending_sectors),
        (&UNCORRECTABLE, health.uncorrectable_sectors),
        (&REPORTED, health.reported_errors),
        (&CRC_ERRORS, health.crc_errors),
    ]
}

#[cfg(test)]
#[path = "smart_tests.rs"]
mod tests;
