//! ATA SMART, carried by ATA PASS-THROUGH(16) (SAT-3, 12.2.2; ATA8-ACS, 7.53).

use std::io;

use super::{Health, Reading, Warning};
use crate::host::{Host, read_text};

const SECTOR: usize = 512;
const PASS_THROUGH_16: u8 = 0x85;
const NO_DATA: u8 = 3 << 1;
const PIO_IN: u8 = 4 << 1;
/// Tell the registers afterwards.
const CHECK_CONDITION: u8 = 0x20;
/// From the device, as many blocks as the count says.
const READ_COUNT_BLOCKS: u8 = 0x0e;

const CHECK_POWER_MODE: u8 = 0xe5;
const SMART: u8 = 0xb0;
const SMART_READ_DATA: u8 = 0xd0;
const SMART_RETURN_STATUS: u8 = 0xda;
/// The two bytes that every SMART command carries in its address, and that mean "fine" in an answer.
const SMART_FINE: [u8; 2] = [0x4f, 0xc2];
/// In an answer: a threshold is exceeded.
const SMART_EXCEEDED: [u8; 2] = [0xf4, 0x2c];

pub(super) fn ask(host: &dyn Host, name: &str) -> io::Result<Reading> {
    let device = format!("/dev/{name}");
    let turns = read_text(host, &format!("/sys/block/{name}/queue/rotational"));
    if turns.is_ok_and(|turns| turns.trim() == "1") {
        match power_mode(host, &device)? {
            Some(mode) if is_awake(mode) => {}
            Some(_) => return Ok(Reading::Asleep),
            // Who does not say whether it sleeps is not woken.
            None => return Ok(Reading::Silent),
        }
    }
    let mut health = Health::default();
    let mut data = [0; SECTOR];
    let sense = host.scsi(&device, &smart(SMART_READ_DATA), &mut data)?;
    let told = sense.is_empty() && attributes(&data, &mut health);
    let sense = host.scsi(&device, &smart(SMART_RETURN_STATUS), &mut [])?;
    match registers(&sense).map(|registers| registers.address) {
        Some(SMART_FINE) => health.judged = true,
        Some(SMART_EXCEEDED) => {
            health.judged = true;
            health.warnings.push(Warning::Failing);
        }
        // The adapter does not pass the answer on.
        Some(_) | None if !told => return Ok(Reading::Silent),
        Some(_) | None => {}
    }
    Ok(Reading::Told(Box::new(health)))
}

fn power_mode(host: &dyn Host, device: &str) -> io::Result<Option<u8>> {
    let mut command = [0; 16];
    [command[0], command[1], command[2]] = [PASS_THROUGH_16, NO_DATA, CHECK_CONDITION];
    command[14] = CHECK_POWER_MODE;
    let sense = host.scsi(device, &command, &mut [])?;
    Ok(registers(&sense).map(|registers| registers.count))
}

/// Idle (80h-83h), active (40h, 41h: with spindle), or either (FFh); what is below are kinds of standby.
const fn is_awake(mode: u8) -> bool {
    matches!(mode, 0x40 | 0x41 | 0x80..=0x83 | 0xff)
}

fn smart(feature: u8) -> [u8; 16] {
    let mut command = [0; 16];
    command[0] = PASS_THROUGH_16;
    [command[1], command[2]] =
        if feature == SMART_RETURN_STATUS { [NO_DATA, CHECK_CONDITION] } else { [PIO_IN, READ_COUNT_BLOCKS] };
    command[4] = feature;
    command[6] = u8::from(feature != SMART_RETURN_STATUS);
    [command[10], command[12]] = SMART_FINE;
    command[14] = SMART;
    command
}

/// What is left in the drive's registers.
#[derive(Debug, PartialEq, Eq)]
struct Registers {
    count: u8,
    /// Middle and high byte of the address.
    address: [u8; 2],
}

/// Out of sense data: the ATA descriptor of the descriptor format (SAT-3, 12.2.5), or the information and
/// command-specific fields of the fixed one (SAT-3, 12.2.6).
fn registers(sense: &[u8]) -> Option<Registers> {
    match sense.first()? & 0x7f {
        0x72 => {
            let mut rest = sense.get(8..)?;
            while let [kind, length, body @ ..] = rest {
                let body = body.get(..usize::from(*length))?;
                if *kind == 0x09 {
                    let [_, _, _, count, _, _, _, middle, _, high, ..] = *body else { return None };
                    return Some(Registers { count, address: [middle, high] });
                }
                rest = &rest[2 + body.len()..];
            }
            None
        }
        // 00/1D: ATA pass-through information is available.
        0x70 if sense.get(12..14)? == [0x00, 0x1d] => {
            Some(Registers { count: *sense.get(6)?, address: [*sense.get(10)?, *sense.get(11)?] })
        }
        _ => None,
    }
}

/// Reads the table of attributes; whether it was one. Which bytes of the raw value count is as smartmontools
/// has it by default.
fn attributes(data: &[u8; SECTOR], health: &mut Health) -> bool {
    let sum = data.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if sum != 0 || data.iter().all(|&byte| byte == 0) {
        return false;
    }
    let mut airflow = None;
    for attribute in data[2..362].chunks_exact(12) {
        let [id, _, _, _, _, raw @ ..] = attribute else { continue };
        let raw = raw.iter().take(6).rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let low = |bits: u32| Some((raw & ((1 << bits) - 1)) as f64);
        match id {
            5 => health.reallocated_sectors = low(16),
            9 => health.power_on_hours = low(24),
            12 => health.power_cycles = low(48),
            187 => health.reported_errors = low(48),
            190 => airflow = low(8),
            194 => health.temperature_celsius = low(8),
            197 => health.pending_sectors = low(48),
            198 => health.uncorrectable_sectors = low(48),
            199 => health.crc_errors = low(48),
            _ => {}
        }
    }
    health.temperature_celsius = health.temperature_celsius.or(airflow).filter(|&celsius| celsius > 0.0);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_found_in_both_formats() {
        // As libata writes it after CHECK POWER MODE of a drive that turns.
        let descriptor = [
            0x72, 0x01, 0x00, 0x1d, 0, 0, 0, 0x0e, 0x09, 0x0c, 0, 0, 0, 0xff, 0, 0, 0, 0x4f, 0, 0xc2, 0x40,
            0x50,
        ];
        let found = Registers { count: 0xff, address: SMART_FINE };
        assert_eq!(registers(&descriptor), Some(found));
        let fixed = [0x70, 0, 1, 0, 0x50, 0x40, 0x80, 10, 0, 0, 0xf4, 0x2c, 0x00, 0x1d, 0, 0];
        assert_eq!(registers(&fixed), Some(Registers { count: 0x80, address: SMART_EXCEEDED }));
        // Another descriptor before it.
        let mut two = descriptor[..8].to_vec();
        two.extend([0x00, 0x02, 1, 1]);
        two.extend(&descriptor[8..]);
        assert!(registers(&two).is_some());
        for cut in 0..descriptor.len() {
            assert_eq!(registers(&descriptor[..cut]), None, "cut at {cut}");
        }
        for cut in 0..14 {
            assert_eq!(registers(&fixed[..cut]), None, "cut at {cut}");
        }
        // Not supported; a descriptor of no length, over and over; too short for ATA.
        let refused = [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0x00];
        let empty = [0x72, 1, 0, 0x1d, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0];
        let short = [0x72, 1, 0, 0x1d, 0, 0, 0, 4, 9, 2, 0, 0];
        for sense in [&refused[..], &empty, &short, &[0; 64], &[0xff; 64]] {
            assert_eq!(registers(sense), None, "{sense:02x?}");
        }
    }

    #[test]
    fn sleeping_modes_are_told_from_waking_ones() {
        for (mode, awake) in [
            (0xff, true),
            (0x80, true),
            (0x82, true),
            (0x40, true),
            (0x00, false),
            (0x01, false),
            (0x7e, false),
        ] {
            assert_eq!(is_awake(mode), awake, "{mode:#x}");
        }
    }

    #[test]
    fn commands_are_as_the_standard_has_them() {
        assert_eq!(
            smart(SMART_READ_DATA),
            [0x85, 0x08, 0x0e, 0, 0xd0, 0, 1, 0, 0, 0, 0x4f, 0, 0xc2, 0, 0xb0, 0]
        );
        assert_eq!(
            smart(SMART_RETURN_STATUS),
            [0x85, 0x06, 0x20, 0, 0xda, 0, 0, 0, 0, 0, 0x4f, 0, 0xc2, 0, 0xb0, 0]
        );
    }
}
