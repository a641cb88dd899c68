//! What `/sys/block` tells of one device, on demand.

use super::{Host, read_text};

/// The drive's own name, where it has one.
pub fn model(host: &dyn Host, device: &str) -> Option<String> {
    let text = read_text(host, &format!("{}/device/model", dir(device)?)).ok()?;
    let model = text.trim();
    (!model.is_empty()).then(|| model.to_owned())
}

/// Reads, and writes with all else, that were issued and are not completed (`part_inflight_show`,
/// `block/genhd.c`).
pub fn in_flight(host: &dyn Host, device: &str) -> Option<(u64, u64)> {
    let text = read_text(host, &format!("{}/inflight", dir(device)?)).ok()?;
    let mut words = text.split_ascii_whitespace().map(str::parse);
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

/// A `/` in a device's name is a `!` in sysfs.
fn dir(device: &str) -> Option<String> {
    (!device.is_empty() && !device.starts_with('.'))
        .then(|| format!("/sys/block/{}", device.replace('/', "!")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    fn check(inflight: &str, expect: Option<(u64, u64)>) {
        let host = FixtureHost::parse("").expect("empty");
        host.set("/sys/block/sda/inflight", inflight);
        assert_eq!(in_flight(&host, "sda"), expect, "{inflight:?}");
    }

    #[test]
    fn requests_in_flight_are_two_numbers() {
        check("       3       12\n", Some((3, 12)));
        check("0 0", Some((0, 0)));
        for strange in ["", "3", "-1 2", "a b", "3 99999999999999999999999"] {
            check(strange, None);
        }
    }

    #[test]
    fn names_do_not_lead_elsewhere() {
        let host = FixtureHost::parse("").expect("empty");
        host.set("/sys/block/cciss!c0d0/device/model", "LOGICAL VOLUME  \n");
        host.set("/sys/block/sdb/device/model", " \n");
        host.set("/sys/device/model", "no");
        assert_eq!(model(&host, "cciss/c0d0").as_deref(), Some("LOGICAL VOLUME"));
        for other in ["sdb", "sdz", "", ".", "..", "../../sys"] {
            assert_eq!(model(&host, other), None, "{other:?}");
        }
    }
}
