//! What is left out of a capture, and what stands for it.
//!
//! Four ways: files that nobody needs are dropped (arguments), files that hold one secret are replaced (serial numbers), of what
//! programs printed only what is read is kept, and in all other text the host's name, names of users, machine ids, addresses,
//! ids of containers and names of units after disks, folders and users are replaced, the same one by the same one.

#![expect(clippy::disallowed_types, reason = "numbers are given out in the order of what is found")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use regex::{Captures, Regex};

use super::{printed, smbios};
use crate::host::recorder::Record;
use crate::host::{Host, read_text};

/// Last parts of paths whose content is a serial number or an address.
const SECRET_FILES: &[&str] = &[
    "serial",
    "product_serial",
    "board_serial",
    "chassis_serial",
    "product_uuid",
    "board_asset_tag",
    "chassis_asset_tag",
    "product_sku",
    "wwid",
    "vpd_pg80",
    "vpd_pg83",
    "unique_id",
    "nguid",
    "eui",
    "uuid",
    "subsysnqn",
    "address",
    "broadcast",
    "permanent_address",
    "phys_switch_id",
    "phys_port_id",
    "machine-id",
    "boot_id",
    "dm-uuid",
    "cid",
    "csd",
];
/// The same of a process: what it was told.
const DROPPED_OF_PROCESSES: &[&str] = &["cmdline", "environ"];
/// Characters of a name from which on it is replaced: shorter ones are parts of everything.
const LEAST_NAME: usize = 3;

/// Replaces what is a host's own.
pub struct Scrubber {
    /// The host, its users, its ids: each with what stands for it.
    names: Vec<(Regex, String)>,
    addresses: [Regex; 4],
    /// Units named after a disk or folder, and what a unit is the instance for: both are in names of groups, too.
    units: [Regex; 2],
    given: Mutex<BTreeMap<String, usize>>,
    processes: usize,
}

impl Scrubber {
    /// Learns names from the host itself; keeps so many processes.
    pub fn of(host: &dyn Host, processes: usize) -> Self {
        let text = |path: &str| read_text(host, path).unwrap_or_default();
        let node = host.uname().nodename;
        let mut names: Vec<(String, String)> = Vec::new();
        names.push((node.clone(), "host".into()));
        if let Some((short, _)) = node.split_once('.') {
            names.push((short.to_owned(), "host".into()));
        }
        for path in ["/etc/machine-id", "/proc/sys/kernel/random/boot_id", "/etc/hostname"] {
            names.push((text(path).trim().to_owned(), "scrubbed".into()));
        }
        let mut users = 0;
        for user in text("/etc/passwd").lines() {
            let fields: Vec<&str> = user.split(':').collect();
            if let [name, _, uid, ..] = fields[..]
                && uid.parse::<u32>().is_ok_and(|uid| (1000..65534).contains(&uid))
            {
                users += 1;
                names.push((name.to_owned(), format!("user{users}")));
            }
        }
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let word = |(name, to): (String, String)| {
            let regex =
                Regex::new(&format!(r"(?i)(^|[^A-Za-z0-9]){}($|[^A-Za-z0-9])", regex::escape(&name))).ok()?;
            (name.len() >= LEAST_NAME && name != "localhost").then_some((regex, to))
        };
        Self {
            names: names.into_iter().filter_map(word).collect(),
            addresses: addresses(),
            units: units(),
            given: Mutex::default(),
            processes,
        }
    }

    /// The same record without them.
    pub fn record(&self, record: Record) -> Record {
        let pids = kept_pids(&record, self.processes);
        let of_kept_process = |path: &str| pid_of(path).is_none_or(|pid| pids.contains(&pid));
        let left_out = record.left_out + record.files.keys().filter(|path| !of_kept_process(path)).count();
        let mut files = BTreeMap::new();
        for (path, content) in record.files {
            let file = path.rsplit('/').next().unwrap_or_default();
            let of_process = path.starts_with("/proc/") && DROPPED_OF_PROCESSES.contains(&file);
            if of_process || !of_kept_process(&path) {
                continue;
            }
            let content = content.map(|content| self.content(&path, file, content));
            files.insert(self.text(&path), content);
        }
        let links = record.links.into_iter().filter(|(path, _)| of_kept_process(path));
        let target = |target: String| match target.strip_prefix("socket:") {
            Some(_) => target,
            None if target.starts_with("../") || target.starts_with("/sys/") => self.text(&target),
            None => "scrubbed".to_owned(),
        };
        let mut dirs = record.dirs;
        dirs.entry("/proc".to_owned()).and_modify(|names| {
            names.retain(|name| name.parse().map_or(true, |pid: u32| pids.contains(&pid)));
        });
        dirs.retain(|dir, _| of_kept_process(dir));
        let dirs = dirs
            .into_iter()
            .map(|(dir, names)| (self.text(&dir), names.into_iter().map(|name| self.text(&name)).collect()));
        let sockets = record.sockets.into_iter().map(|mut socket| {
            socket.address = self.address(socket.address);
            socket
        });
        Record {
            files,
            links: links.map(|(path, to)| (self.text(&path), target(to))).collect(),
            dirs: dirs.collect(),
            subdirs: record.subdirs.into_iter().map(|path| self.text(&path)).collect(),
            filesystems: record
                .filesystems
                .into_iter()
                .map(|(path, stat)| (self.text(&path), stat))
                .collect(),
            printed: record
                .printed
                .iter()
                .filter_map(|(command, text)| self.printed(command, text))
                .collect(),
            sockets: sockets.collect(),
            left_out,
            ..Record { nics: record.nics, clock: record.clock, ..Record::default() }
        }
    }

    fn printed(&self, command: &str, text: &str) -> Option<(String, String)> {
        let (command, text) = printed::kept(command, text, &|name| self.number(name))?;
        Some((self.text(&command), self.text(&text)))
    }

    fn content(&self, path: &str, file: &str, mut content: Vec<u8>) -> Vec<u8> {
        if SECRET_FILES.contains(&file) {
            return b"scrubbed\n".to_vec();
        }
        if path.starts_with("/sys/firmware/dmi/tables/") {
            smbios::scrub(&mut content);
            return content;
        }
        match String::from_utf8(content) {
            Ok(text) if file == "mountinfo" => self.text(&mounts(&text)).into_bytes(),
            Ok(text) if file == "cpuinfo" => {
                let lines = text.split_inclusive('\n').filter(|line| !line.starts_with("Serial"));
                self.text(&lines.collect::<String>()).into_bytes()
            }
            Ok(text) => self.text(&text).into_bytes(),
            Err(error) => error.into_bytes(),
        }
    }

    /// Text without names and addresses.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, to) in &self.names {
            // Twice: neighbours share the character between them.
            for _ in 0..2 {
                text = name
                    .replace_all(&text, |found: &Captures<'_>| format!("{}{to}{}", &found[1], &found[2]))
                    .into_owned();
            }
        }
        let [whole, instance] = &self.units;
        let text = whole.replace_all(&text, |found: &Captures<'_>| {
            format!("unit{}.{}{}", self.number(&found[1]), &found[2], &found[3])
        });
        let text = instance.replace_all(&text, |found: &Captures<'_>| {
            format!("@{}.{}{}", self.number(&found[1]), &found[2], &found[3])
        });
        let [uuid, mac, id, v4] = &self.addresses;
        let uuid_of = |found: &Captures<'_>| {
            let id = format!("00000000-0000-0000-0000-{:012}", self.number(&found[0]));
            // As systemd writes it in names of slices.
            if found[0].contains('_') { id.replace('-', "_") } else { id }
        };
        let text = uuid.replace_all(&text, uuid_of);
        let text = mac.replace_all(&text, |found: &Captures<'_>| {
            format!("02:00:00:00:00:{:02x}", self.number(&found[0]) % 256)
        });
        let text = id.replace_all(&text, |found: &Captures<'_>| {
            let length = found[0].len();
            format!("{:0length$x}", self.number(&found[0]))
        });
        let address = |found: &Captures<'_>| {
            found[0].parse().map_or("0.0.0.0".into(), |ip| self.address(ip).to_string())
        };
        v4.replace_all(&text, address).into_owned()
    }

    /// An address of those that are kept for documentation; what means no host in particular stays.
    fn address(&self, address: IpAddr) -> IpAddr {
        let number = || self.number(&address.to_string());
        match address {
            IpAddr::V4(ip) if ip.is_loopback() || ip.is_unspecified() || ip.is_broadcast() => address,
            IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, (number() % 254 + 1) as u8).into(),
            IpAddr::V6(ip) if ip.is_loopback() || ip.is_unspecified() => address,
            IpAddr::V6(_) => {
                Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, (number() % 65_535 + 1) as u16).into()
            }
        }
    }

    /// The number that stands for it.
    fn number(&self, what: &str) -> usize {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let next = given.len() + 1;
        *given.entry(what.to_owned()).or_insert(next)
    }
}

/// `mnt-data.mount`, which is no `memory.swap.max`; the `1001` of `user@1001.service`.
fn units() -> [Regex; 2] {
    [r"([\w:.\\@-]+)\.(device|mount|automount|swap)(\s|/|$)", r"@([\w:.\\-]+)\.(service|scope|slice)(\s|/|$)"]
        .map(pattern)
}

/// UUIDs, hardware addresses, ids of containers, addresses of the internet.
fn addresses() -> [Regex; 4] {
    [
        r"(?i)\b[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}\b",
        r"(?i)\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b",
        r"\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b",
        r"\b(\d{1,3})(\.\d{1,3}){3}\b",
    ]
    .map(pattern)
}

#[expect(clippy::expect_used, reason = "they are constants, and a test uses each")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern")
}

/// The process that a path is of.
fn pid_of(path: &str) -> Option<u32> {
    path.strip_prefix("/proc/")?.split('/').next()?.parse().ok()
}

/// The first processes.
fn kept_pids(record: &Record, most: usize) -> Vec<u32> {
    let mut pids: Vec<u32> = record.files.keys().filter_map(|path| pid_of(path)).collect();
    pids.sort_unstable();
    pids.dedup();
    pids.truncate(most);
    pids
}

/// The table of mounts without what stands in options (passwords, names of servers) and behind network mounts.
fn mounts(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let ([id, parent, device, root, point, options, optional @ ..], [fstype, source, flags, ..]) =
            (&left[..], &right[..])
        else {
            continue;
        };
        let flag = |options: &str| if options.split(',').any(|option| option == "ro") { "ro" } else { "rw" };
        let root = if *root == "/" || root.starts_with("/..") { root } else { &"/scrubbed" };
        let is_local = source.starts_with("/dev/") || !source.contains(['/', ':', '@', '\\']);
        let source = if is_local { source } else { &"scrubbed" };
        let optional: String = optional.iter().flat_map(|word| [" ", word]).collect();
        let line = [id, parent, device, *root, point, flag(options)].join(" ");
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{line}{optional} - {fstype} {source} {}", flag(flags));
    }
    out
}
