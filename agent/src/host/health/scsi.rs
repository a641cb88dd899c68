//! SCSI and SAS disks: LOG SENSE (SPC-4, 6.10 and 7.3; SBC-3, 6.4) and the list of grown defects (SBC-3, 5.18).
//!
//! A disk is asked for the pages it says it has. The commands are those the kernel lets everybody send who may read
//! the device (`scsi_cmd_allowed`, `drivers/scsi/scsi_ioctl.c`).

use std::io;

use super::{Health, Reading, Warning};
use crate::host::{Host, read_text};

const REQUEST_SENSE: u8 = 0x03;
const READ_DEFECT_DATA: u8 = 0x37;
const LOG_SENSE: u8 = 0x4d;

const SUPPORTED: u8 = 0x00;
const WRITE_ERRORS: u8 = 0x02;
const READ_ERRORS: u8 = 0x03;
const VERIFY_ERRORS: u8 = 0x05;
const TEMPERATURE: u8 = 0x0d;
const START_STOP: u8 = 0x0e;
const BACKGROUND_SCAN: u8 = 0x15;
const INFORMATIONAL_EXCEPTIONS: u8 = 0x2f;

/// As much of a page as is read: what is looked for is at the beginning of long ones.
const ROOM: usize = 252;
/// Bytes before the parameters of a page, before the value of a parameter, and before a list of defects.
const HEAD: usize = 4;

pub(super) fn ask(host: &dyn Host, name: &str) -> io::Result<Reading> {
    let disk = Disk { host, device: format!("/dev/{name}") };
    let turns = read_text(host, &format!("/sys/block/{name}/queue/rotational"));
    if turns.is_ok_and(|turns| turns.trim() == "1") && disk.sleeps()? {
        return Ok(Reading::Asleep);
    }
    let Some(pages) = disk.page(SUPPORTED)? else { return Ok(Reading::Silent) };
    let mut health = Health::default();
    let mut told = false;
    for &page in pages.body() {
        let decode = match page & 0x3f {
            WRITE_ERRORS => written,
            READ_ERRORS => read,
            VERIFY_ERRORS => uncorrected,
            TEMPERATURE => temperature,
            START_STOP => starts,
            BACKGROUND_SCAN => power_on,
            INFORMATIONAL_EXCEPTIONS => exceptions,
            _ => continue,
        };
        if let Some(page) = disk.page(page & 0x3f)? {
            decode(&page, &mut health);
            told = true;
        }
    }
    if !told {
        return Ok(Reading::Silent);
    }
    health.reallocated_sectors = disk.grown_defects()?;
    Ok(Reading::Told(Box::new(health)))
}

struct Disk<'a> {
    host: &'a dyn Host,
    device: String,
}

impl Disk<'_> {
    /// Sends a command; `None` where the disk refuses it.
    fn send(&self, command: &[u8; 16], data: &mut [u8]) -> io::Result<Option<()>> {
        let sense = self.host.scsi(&self.device, command, data)?;
        // NO SENSE and RECOVERED ERROR are no refusal.
        Ok(sense_of(&sense).is_none_or(|(key, ..)| key <= 1).then_some(()))
    }

    /// A log page, with current cumulative values.
    fn page(&self, page: u8) -> io::Result<Option<Page>> {
        let mut command = [0; 16];
        [command[0], command[2], command[8]] = [LOG_SENSE, 1 << 6 | page, ROOM as u8];
        let mut data = [0; ROOM];
        let answered = self.send(&command, &mut data)?;
        Ok(answered.and_then(|()| Page::of(page, data)))
    }

    /// REQUEST SENSE wakes nobody.
    fn sleeps(&self) -> io::Result<bool> {
        let mut command = [0; 16];
        let mut data = [0; 18];
        [command[0], command[4]] = [REQUEST_SENSE, data.len() as u8];
        let answered = self.send(&command, &mut data)?;
        Ok(answered.is_some() && sense_of(&data).is_some_and(is_asleep))
    }

    /// Blocks replaced since it left the factory, of which only the length of the list is read.
    fn grown_defects(&self) -> io::Result<Option<f64>> {
        let mut command = [0; 16];
        // The grown list, in long block format: others are told what else the disk gives.
        [command[0], command[2], command[8]] = [READ_DEFECT_DATA, 1 << 3 | 3, HEAD as u8];
        let mut head = [0; HEAD];
        let answered = self.send(&command, &mut head)?;
        Ok(answered.and_then(|()| defects(head)))
    }
}

/// One log page.
struct Page([u8; ROOM]);

impl Page {
    /// `None` for another page, or one that nobody filled in.
    fn of(page: u8, data: [u8; ROOM]) -> Option<Self> {
        let filled = data.iter().any(|&byte| byte != 0);
        (filled && data[0] & 0x3f == page).then_some(Self(data))
    }

    /// What follows the head, as much as came.
    fn body(&self) -> &[u8] {
        let length = usize::from(u16::from_be_bytes([self.0[2], self.0[3]]));
        &self.0[HEAD..(HEAD + length).min(ROOM)]
    }

    /// Value of the parameter `code`; `None` if it is not there, or cut off.
    fn parameter(&self, code: u16) -> Option<&[u8]> {
        let mut rest = self.body();
        while let [high, low, _, length, more @ ..] = rest {
            let value = more.get(..usize::from(*length))?;
            if u16::from_be_bytes([*high, *low]) == code {
                return Some(value);
            }
            rest = &more[value.len()..];
        }
        None
    }

    /// A parameter that is a number, of up to 16 bytes; all ones mean that it is not known.
    fn number(&self, code: u16) -> Option<f64> {
        let value = self.parameter(code)?;
        let known = (1..=16).contains(&value.len()) && value.iter().any(|&byte| byte != 0xff);
        known.then(|| value.iter().fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte)) as f64)
    }
}

/// Parameters of the pages of error counters.
const BYTES_PROCESSED: u16 = 5;
const NOT_CORRECTED: u16 = 6;

fn uncorrected(page: &Page, health: &mut Health) {
    if let Some(count) = page.number(NOT_CORRECTED) {
        *health.media_errors.get_or_insert(0.0) += count;
    }
}

fn read(page: &Page, health: &mut Health) {
    uncorrected(page, health);
    health.read_bytes = page.number(BYTES_PROCESSED);
}

fn written(page: &Page, health: &mut Health) {
    uncorrected(page, health);
    health.written_bytes = page.number(BYTES_PROCESSED);
}

fn temperature(page: &Page, health: &mut Health) {
    if let Some([_, celsius, ..]) = page.parameter(0) {
        health.temperature_celsius = known_celsius(*celsius);
    }
}

/// Zero is what drives without a sensor say.
fn known_celsius(celsius: u8) -> Option<f64> {
    (!matches!(celsius, 0 | 0xff)).then(|| f64::from(celsius))
}

fn starts(page: &Page, health: &mut Health) {
    health.power_cycles = page.number(4);
}

/// Its first parameter begins with the minutes under power.
fn power_on(page: &Page, health: &mut Health) {
    let minutes = page.parameter(0).and_then(|value| value.first_chunk::<4>());
    health.power_on_hours = minutes.map(|minutes| f64::from(u32::from_be_bytes(*minutes)) / 60.0);
}

/// What the disk would warn of: FAILURE PREDICTION THRESHOLD EXCEEDED (5D, of which 5D/FF is a test), and
/// SPECIFIED TEMPERATURE EXCEEDED (0B/01).
fn exceptions(page: &Page, health: &mut Health) {
    let Some([code, qualifier, more @ ..]) = page.parameter(0) else { return };
    health.judged = true;
    match (code, qualifier) {
        (0x5d, 0xff) => {}
        (0x5d, _) => health.warnings.push(Warning::Failing),
        (0x0b, 0x01) => health.warnings.push(Warning::Temperature),
        _ => {}
    }
    health.temperature_celsius = health.temperature_celsius.or_else(|| known_celsius(*more.first()?));
}

/// Key, additional code and its qualifier out of sense data of both formats.
fn sense_of(sense: &[u8]) -> Option<(u8, u8, u8)> {
    match sense.first()? & 0x7f {
        0x70 | 0x71 => Some((sense.get(2)? & 0x0f, *sense.get(12)?, *sense.get(13)?)),
        0x72 | 0x73 => Some((sense.get(1)? & 0x0f, *sense.get(2)?, *sense.get(3)?)),
        _ => None,
    }
}

/// Standby (5E/03, 04, 09 to 0B: SPC-4, annex F), or stopped until somebody starts it (04/02).
const fn is_asleep((_, code, qualifier): (u8, u8, u8)) -> bool {
    matches!((code, qualifier), (0x5e, 0x03 | 0x04 | 0x09..=0x0b) | (0x04, 0x02))
}

/// Entries of a list of this length: block addresses of 4 or 8 bytes, or places on the medium of 8.
fn defects([_, format, high, low]: [u8; HEAD]) -> Option<f64> {
    let bytes = u16::from_be_bytes([high, low]);
    let each = match format & 0x07 {
        0 => 4,
        3..=5 => 8,
        _ => return None,
    };
    // Without the bit that says that this is the grown list it is nothing of the kind.
    (format & 1 << 3 != 0).then(|| f64::from(bytes / each))
}

#[cfg(test)]
#[path = "scsi_tests.rs"]
mod tests;
