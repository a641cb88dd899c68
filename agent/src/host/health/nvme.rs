//! SMART / Health Information, log page 02h (NVM Express Base Specification 2.0, 5.16.1.3).

use std::io;

use super::{Health, Reading, Warning};
use crate::host::Host;

const PAGE: u8 = 0x02;
const PAGE_LEN: usize = 512;
/// A data unit is a thousand blocks of 512 bytes.
const DATA_UNIT: f64 = 512_000.0;
/// Zero degrees Celsius in Kelvin, as the specification rounds it.
const ZERO_CELSIUS: f64 = 273.0;

pub(super) fn ask(host: &dyn Host, name: &str) -> io::Result<Reading> {
    let mut page = [0; PAGE_LEN];
    host.nvme_log(&format!("/dev/{name}"), PAGE, &mut page)?;
    Ok(decode(&page).map_or(Reading::Silent, |health| Reading::Told(Box::new(health))))
}

/// Bits of the critical warning, lowest first.
pub(super) const WARNINGS: [Warning; 6] = [
    Warning::Spare,
    Warning::Temperature,
    Warning::Reliability,
    Warning::ReadOnly,
    Warning::Backup,
    Warning::MemoryRegion,
];

/// `None` for a page that nobody filled in.
fn decode(page: &[u8; PAGE_LEN]) -> Option<Health> {
    if page.iter().all(|&byte| byte == 0) {
        return None;
    }
    let [critical, low, high, spare, threshold, used, ..] = *page;
    let mut warnings: Vec<Warning> =
        (0..).zip(WARNINGS).filter(|(bit, _)| critical >> bit & 1 == 1).map(|(_, warning)| warning).collect();
    if spare < threshold && threshold <= 100 && !warnings.contains(&Warning::Spare) {
        warnings.insert(0, Warning::Spare);
    }
    let kelvin = u16::from_le_bytes([low, high]);
    let percent = |value: u8| (value <= 100).then(|| f64::from(value));
    Some(Health {
        warnings,
        judged: true,
        temperature_celsius: (kelvin > 0).then(|| f64::from(kelvin) - ZERO_CELSIUS),
        used_percent: Some(f64::from(used)),
        spare_percent: percent(spare),
        spare_threshold_percent: percent(threshold),
        read_bytes: count(page, 32).map(|units| units * DATA_UNIT),
        written_bytes: count(page, 48).map(|units| units * DATA_UNIT),
        power_cycles: count(page, 112),
        power_on_hours: count(page, 128),
        unsafe_shutdowns: count(page, 144),
        media_errors: count(page, 160),
        error_log_entries: count(page, 176),
        ..Health::default()
    })
}

/// A number of 16 bytes.
fn count(page: &[u8; PAGE_LEN], at: usize) -> Option<f64> {
    let bytes = page.get(at..)?.first_chunk::<16>()?;
    Some(u128::from_le_bytes(*bytes) as f64)
}
