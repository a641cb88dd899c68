//! The systemd journal: what user-space killers tell of their kills, and the kernel's lines where `/dev/kmsg` is closed.
//!
//! `journalctl` reads the journal's files; [`entry`] parses what it prints, [`read`] makes events of it, [`follow`] keeps it running.
//!
//! Anybody may write text into the journal. What journald itself adds begins with `_` and cannot be sent by a client:
//! the control group of the writer (`_SYSTEMD_UNIT`), and that a line came out of `/dev/kmsg` (`_TRANSPORT=kernel`). Into that
//! device processes may write too, but not with the kernel's facility.

pub mod entry;
pub mod follow;
pub mod read;

use std::io;

use crate::host::Host;

/// Units whose words count, and what their programs are called.
pub const KILLERS: [(&str, &str); 2] =
    [("systemd-oomd.service", "systemd-oomd"), ("earlyoom.service", "earlyoom")];

/// Longest place, bytes: a cursor has some 130.
const MAX_PLACE: usize = 300;

/// Whether a text is a place in the journal: a cursor (`s=…;i=…`), or `@` and a time in seconds.
pub fn is_place(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let cursor = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'=' | b';');
    text.len() <= MAX_PLACE
        && text.strip_prefix('@').map_or_else(|| text.starts_with("s=") && text.bytes().all(cursor), digits)
}

/// What of the journal is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Folder of the files where they are not this system's own.
    pub folder: Option<String>,
    /// This boot, `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Whether the kernel's lines too.
    pub kernel: bool,
}

impl Wanted {
    /// Arguments for `journalctl` that make it print all entries from `place` on, and each that comes.
    pub fn arguments(&self, place: &str) -> Vec<String> {
        let mut args =
            ["--output=json", "--quiet", "--no-pager", "--follow", "--no-tail"].map(str::to_owned).to_vec();
        // What users' own journals hold is nobody's word that counts. A folder holds only what it holds.
        args.push(self.folder.as_ref().map_or("--system".into(), |folder| format!("--directory={folder}")));
        // Inclusive: `--after-cursor` of an entry that does not match also passes over the next one that does.
        args.push(if place.starts_with('@') {
            format!("--since={place}")
        } else {
            format!("--cursor={place}")
        });
        let boot = format!("_BOOT_ID={}", self.boot_id.replace('-', ""));
        args.push(boot.clone());
        args.extend(KILLERS.map(|(unit, _)| format!("_SYSTEMD_UNIT={unit}")));
        if self.kernel {
            args.extend(["+".into(), boot, "_TRANSPORT=kernel".into()]);
        }
        args
    }
}

/// Folders in which control groups of units may be: v2, v1, both.
const SYSTEM_SLICES: [&str; 3] = [
    "/sys/fs/cgroup/system.slice",
    "/sys/fs/cgroup/systemd/system.slice",
    "/sys/fs/cgroup/unified/system.slice",
];

/// The killers that run: those whose unit has a control group.
pub fn running(host: &dyn Host) -> Vec<&'static str> {
    let runs =
        |unit: &str| SYSTEM_SLICES.iter().any(|at| host.list(&format!("{at}/{unit}"), &mut |_| {}).is_ok());
    KILLERS.iter().filter(|(unit, _)| runs(unit)).map(|(_, name)| *name).collect()
}

/// Where journald keeps its files: the one that survives a reboot first.
pub const FOLDERS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// The folder with the system's journal; `NotFound` where there is none, `PermissionDenied` where it may not be read.
pub fn folder(host: &dyn Host) -> io::Result<&'static str> {
    let machine = crate::host::read_text(host, "/etc/machine-id")?;
    let mut refused = io::Error::from(io::ErrorKind::NotFound);
    for folder in FOLDERS {
        match host.open(&format!("{folder}/{}/system.journal", machine.trim())) {
            Ok(_) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    #[test]
    fn what_is_asked_for() {
        const UNITS: &str =
            "_BOOT_ID=e71267 _SYSTEMD_UNIT=systemd-oomd.service _SYSTEMD_UNIT=earlyoom.service";
        let mut wanted = Wanted { folder: None, boot_id: "e712-67".into(), kernel: false };
        let check = |wanted: &Wanted, place: &str, expect: &str| {
            let args = wanted.arguments(place).join(" ");
            assert_eq!(
                args.strip_prefix("--output=json --quiet --no-pager --follow --no-tail ").unwrap(),
                expect
            );
        };
        check(&wanted, "@5.0", &format!("--system --since=@5.0 {UNITS}"));
        wanted.kernel = true;
        wanted.folder = Some("/host/var/log/journal".into());
        check(
            &wanted,
            "s=1;i=2",
            &format!(
                "--directory=/host/var/log/journal --cursor=s=1;i=2 {UNITS} + _BOOT_ID=e71267 _TRANSPORT=kernel"
            ),
        );
    }

    #[test]
    fn killers_run_where_their_units_have_groups() {
        let check = |host: &str, expect: &[&str]| {
            assert_eq!(running(&FixtureHost::parse(host).expect("valid")), expect, "{host}");
        };
        check("", &[]);
        check("//- /sys/fs/cgroup/system.slice/cron.service/cgroup.procs\n", &[]);
        check("//- /sys/fs/cgroup/system.slice/earlyoom.service/cgroup.procs\n", &["earlyoom"]);
        check("//- /sys/fs/cgroup/systemd/system.slice/systemd-oomd.service/tasks\n", &["systemd-oomd"]);
    }

    #[test]
    fn the_journal_is_where_it_may_be_read() {
        const ID: &str = "//- /etc/machine-id\nabc\n";
        let check = |host: &str, expect: Result<&str, io::ErrorKind>| {
            let found = folder(&FixtureHost::parse(host).expect("valid"));
            assert_eq!(found.map_err(|e| e.kind()), expect, "{host}");
        };
        check("", Err(io::ErrorKind::NotFound));
        check(ID, Err(io::ErrorKind::NotFound));
        check(&format!("{ID}//- /run/log/journal/abc/system.journal\nx\n"), Ok("/run/log/journal"));
        let denied = format!("{ID}//- denied /var/log/journal/abc/system.journal\n");
        check(&denied, Err(io::ErrorKind::PermissionDenied));
        check(&format!("{denied}//- /run/log/journal/abc/system.journal\nx\n"), Ok("/run/log/journal"));
        check(&format!("{ID}//- /var/log/journal/other/system.journal\nx\n"), Err(io::ErrorKind::NotFound));
    }
}
