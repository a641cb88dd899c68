//! Names of block devices.

use std::collections::HashMap;
use std::sync::Arc;

use crate::host::{Host, read_text};

const DISKSTATS: &str = "/proc/diskstats";

/// Devices remembered at most.
const MAX_DEVICES: usize = 4096;

/// The kernel's `dev_t` as records carry it: 20 bits of minor (`MINORBITS`, `include/linux/kdev_t.h`).
const MINOR_BITS: u32 = 20;

/// `major:minor`.
pub fn number(dev: u32) -> String {
    format!("{}:{}", dev >> MINOR_BITS, dev & ((1 << MINOR_BITS) - 1))
}

/// Names by `dev_t`, from `/proc/diskstats`.
#[derive(Debug, Default)]
pub struct Devices {
    names: HashMap<u32, Arc<str>>,
    /// Passes since the names were read; 0: in this one.
    age: u32,
}

/// Passes after which the names are read again: a number can go to another device.
const MAX_AGE: u32 = 60;

impl Devices {
    /// Begins a pass: what is unknown may be looked for again, once.
    pub fn begin(&mut self) {
        self.age += 1;
        if self.age > MAX_AGE {
            self.names.clear();
        }
    }

    /// The name; `None` if the host does not know it.
    pub fn name(&mut self, host: &dyn Host, dev: u32) -> Option<Arc<str>> {
        if self.age > 0 && !self.names.contains_key(&dev) {
            self.read(host);
        }
        self.names.get(&dev).cloned()
    }

    fn read(&mut self, host: &dyn Host) {
        self.age = 0;
        let Ok(text) = read_text(host, DISKSTATS) else { return };
        self.names.clear();
        self.names.extend(text.lines().filter_map(parse).take(MAX_DEVICES));
    }
}

fn parse(line: &str) -> Option<(u32, Arc<str>)> {
    let mut words = line.split_ascii_whitespace();
    let major: u32 = words.next()?.parse().ok()?;
    let minor: u32 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let fits = major < 1 << (32 - MINOR_BITS) && minor < 1 << MINOR_BITS;
    fits.then(|| (major << MINOR_BITS | minor, name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_diskstats() {
        let sda = 8 << 20;
        for (line, expect) in [
            ("   8       0 sda 1 2 3", Some((sda, "sda"))),
            (" 259 17 nvme1n1p17", Some(((259 << 20) + 17, "nvme1n1p17"))),
            ("4095 1048575 x", Some((u32::MAX, "x"))),
            ("4096 0 x", None),
            ("8 1048576 x", None),
            ("-8 0 sda", None),
            ("8 0", None),
            ("8 sda 0", None),
            ("", None),
        ] {
            assert_eq!(parse(line), expect.map(|(dev, name)| (dev, name.into())), "{line:?}");
        }
    }

    #[test]
    fn numbers_are_major_and_minor() {
        assert_eq!(number(7 << 20 | 1), "7:1");
        assert_eq!(number(u32::MAX), "4095:1048575");
    }
}
