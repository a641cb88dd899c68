//! Operating system, memory and firmware.

use super::read::{tidy, value};
use super::{Bios, Os};
use crate::host::{Host, Uname, read_text};

pub(super) fn os(host: &dyn Host, uname: Uname) -> Os {
    let text = read_text(host, "/etc/os-release").or_else(|_| read_text(host, "/usr/lib/os-release"));
    let text = text.unwrap_or_default();
    let [name, version, version_id, id] =
        ["NAME", "VERSION", "VERSION_ID", "ID"].map(|key| setting(&text, key));
    Os {
        distro: name.unwrap_or_else(|| "Linux".to_owned()),
        version: version.as_deref().and_then(without_code_name).or(version_id).unwrap_or_default(),
        id: id.unwrap_or_default(),
        kernel: uname.release,
        arch: uname.machine,
    }
}

/// Value of `KEY=value` or `KEY="value"` (os-release(5)).
fn setting(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
    let quoted = ['"', '\''].iter().find_map(|&q| value.strip_prefix(q)?.strip_suffix(q));
    tidy(&quoted.unwrap_or(value).replace('\\', ""))
}

/// `22.04.4 LTS (Jammy Jellyfish)` without what is in parentheses.
fn without_code_name(version: &str) -> Option<String> {
    tidy(version.split('(').next().unwrap_or_default())
}

/// In kB.
const GIB: u64 = 1 << 20;

pub(super) fn total_gb(host: &dyn Host) -> u64 {
    let text = read_text(host, "/proc/meminfo").unwrap_or_default();
    kb_of(&text, "MemTotal:").unwrap_or(0).saturating_add(GIB / 2) / GIB
}

/// Value of a line `KEY 123 kB`, which may stand behind other words (`Node 0 KEY 123 kB`).
pub(super) fn kb_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.split_once(key)?.1.split_whitespace().next()?.parse().ok())
}

pub(super) fn bios(host: &dyn Host) -> Option<Bios> {
    let id = |name: &str| value(host, &format!("/sys/class/dmi/id/{name}"));
    let bios = Bios {
        vendor: id("bios_vendor"),
        version: id("bios_version"),
        product: id("product_name"),
        serial: id("product_serial"),
    };
    (bios != Bios::default()).then_some(bios)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    #[test]
    fn distributions_name_themselves() {
        for (text, distro, version, id) in [
            (
                "NAME=\"Ubuntu\"\nVERSION_ID=\"22.04\"\nVERSION=\"22.04.4 LTS (Jammy Jellyfish)\"\nID=ubuntu\n",
                "Ubuntu",
                "22.04.4 LTS",
                "ubuntu",
            ),
            (
                "NAME='Rocky Linux'\nVERSION=\"8.9 (Green Obsidian)\"\nID=\"rocky\"",
                "Rocky Linux",
                "8.9",
                "rocky",
            ),
            ("NAME=\"CentOS Linux\"\nVERSION=\"7 (Core)\"\nID=\"centos\"", "CentOS Linux", "7", "centos"),
            ("PRETTY_NAME=x\nNAME=Arch\nBUILD_ID=rolling\nID=arch\n", "Arch", "", "arch"),
            ("VERSION_ID=3.20\nVERSION=\"(x)\"", "Linux", "3.20", ""),
            ("", "Linux", "", ""),
            ("NAME\nNAME=\"\x1b[31m\"\n=\nID=\"", "?[31m", "", "\""),
        ] {
            let host = FixtureHost::default();
            host.set("/etc/os-release", text);
            let os = os(&host, Uname::default());
            assert_eq!((&*os.distro, &*os.version, &*os.id), (distro, version, id), "{text}");
        }
    }

    #[test]
    fn memory_is_rounded() {
        for (kb, gb) in [
            ("24684092", 24),
            ("527955968", 503),
            ("18446744073709551615", 17_592_186_044_415),
            ("1048576", 1),
            ("0", 0),
            ("x", 0),
            ("500000", 0),
            ("786432", 1),
        ] {
            let host = FixtureHost::default();
            host.set("/proc/meminfo", format!("MemTotal:  {kb} kB\n"));
            assert_eq!(total_gb(&host), gb, "{kb}");
        }
    }
}
