//! The systemd journal: what user-space killers tell of their kills, the kernel's lines where `/dev/kmsg` is closed, and where there is
//! no syslog file the lines of all programs, if the user has patterns for them.
//!
//! `journalctl` reads the journal's files; [`entry`] parses what it prints, [`read`] makes events of it, [`follow`] keeps it running.
//!
//! Anybody may write text into the journal. What journald itself adds begins with `_` and cannot be sent by a client:
//! the control group of the writer (`_SYSTEMD_UNIT`), and that a line came out of `/dev/kmsg` (`_TRANSPORT=kernel`). Into that
//! device processes may write too, but not with the kernel's facility.

pub mod entry;
pub mod follow;
pub mod place;
pub mod programs;
pub mod read;
pub mod state;

use std::io;

use crate::host::Host;
use place::Place;

/// Killers: what their programs and their units are called.
pub const KILLERS: [&str; 2] = ["systemd-oomd", "earlyoom"];
/// `MESSAGE_ID` of systemd's word on what systemd-oomd killed in a unit (`SD_MESSAGE_UNIT_OOMD_KILL`).
pub const KILLED_MESSAGE: &str = "d989611b15e44c9dbf31e3c81256e4ed";
/// Units of killers that are heard: instances of a template are some more.
pub const MAX_UNITS: usize = 16;
/// Slices that are looked into for them.
pub const MAX_SLICES: usize = 64;

/// The killer whose unit this is: `earlyoom.service`, or an instance `earlyoom@a.service`.
pub fn killer_of(unit: &str) -> Option<&'static str> {
    let name = unit.strip_suffix(".service")?;
    let name = name.split_once('@').map_or(name, |(template, _)| template);
    KILLERS.into_iter().find(|killer| *killer == name)
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
    /// Whether the lines of all programs too, for the patterns of the user.
    pub programs: bool,
}

impl Wanted {
    /// Arguments for `journalctl` that make it print all entries from `place` on of these units of killers, and each that
    /// comes.
    pub fn arguments(&self, place: &Place, units: &[String]) -> Vec<String> {
        let mut args = vec!["--follow".to_owned(), "--no-tail".to_owned()];
        // Inclusive: `--after-cursor` of an entry that does not match also passes over the next one that does. A time
        // of day is no place, since clocks are set back: without a cursor it is all of this boot that matches.
        if let Place::Cursor(cursor) = place {
            args.push(format!("--cursor={cursor}"));
        }
        self.ask(&mut args, units);
        args
    }

    /// The same for its newest entry only: whether it can be read at all.
    pub fn trial(&self) -> Vec<String> {
        let mut args = vec!["--lines=1".to_owned()];
        self.ask(&mut args, &KILLERS.map(|killer| format!("{killer}.service")));
        args
    }

    fn ask(&self, args: &mut Vec<String>, units: &[String]) {
        args.extend(["--output=json", "--quiet", "--no-pager"].map(str::to_owned));
        // What users' own journals hold is nobody's word that counts. A folder holds only what it holds.
        args.push(self.folder.as_ref().map_or("--system".into(), |folder| format!("--directory={folder}")));
        let boot = format!("_BOOT_ID={}", self.boot_id.replace('-', ""));
        let mut any = false;
        let mut or = |matches: Vec<String>| {
            args.extend(any.then(|| "+".to_owned()));
            args.push(boot.clone());
            args.extend(matches);
            any = true;
        };
        if !units.is_empty() {
            or(units.iter().map(|unit| format!("_SYSTEMD_UNIT={unit}")).collect());
        }
        if units.iter().any(|unit| killer_of(unit) == Some("systemd-oomd")) {
            or(vec!["_PID=1".into(), format!("MESSAGE_ID={KILLED_MESSAGE}")]);
        }
        if self.kernel {
            or(vec!["_TRANSPORT=kernel".into()]);
        }
        if self.programs {
            // Matches of one field are alternatives.
            or(["journal", "stdout", "syslog"].map(|way| format!("_TRANSPORT={way}")).into());
        }
    }
}

/// Folders in which control groups of slices may be: v2, v1, both.
const ROOTS: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"];
/// Slices in which no unit of the system is: users' own, machines, pods.
const OTHERS: [&str; 3] = ["user.slice", "machine.slice", "kubepods.slice"];

/// Units of killers that run, in whatever slice: those that have a control group. A user's own unit of that name is none:
/// whoever has a login could say so what he likes.
pub fn running(host: &dyn Host) -> Vec<String> {
    let (mut units, mut slices, mut looked) = (Vec::new(), Vec::new(), 0);
    for root in ROOTS {
        slices.push(root.to_owned());
        while let Some(slice) = slices.pop() {
            looked += 1;
            if looked > MAX_SLICES {
                break;
            }
            // What is no slice any more has no units.
            let _ = host.list(&slice, &mut |name| {
                if killer_of(name).is_some() && slice != root {
                    units.push(name.to_owned());
                } else if name.strip_suffix(".slice").is_some() && !OTHERS.contains(&name) {
                    slices.push(format!("{slice}/{name}"));
                }
            });
        }
        if !units.is_empty() {
            break;
        }
        slices.clear();
    }
    units.sort_unstable();
    units.dedup();
    units.truncate(MAX_UNITS);
    units
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

    const OUTPUT: &str = "--output=json --quiet --no-pager";

    #[test]
    fn what_is_asked_for() {
        let mut wanted = Wanted { folder: None, boot_id: "e712-67".into(), kernel: false, programs: false };
        let check = |wanted: &Wanted, place: &str, units: &[&str], expect: &str| {
            let units: Vec<String> = units.iter().map(ToString::to_string).collect();
            let args = wanted.arguments(&Place::parse(place).expect("valid"), &units).join(" ");
            let args = args.strip_prefix("--follow --no-tail ").expect("follows").replace(OUTPUT, "…");
            assert_eq!(args, expect.replace("BOOT", "_BOOT_ID=e71267"));
        };
        check(
            &wanted,
            "@5.000000",
            &["earlyoom@a.service"],
            "… --system BOOT _SYSTEMD_UNIT=earlyoom@a.service",
        );
        check(
            &wanted,
            "s=1;i=2",
            &["earlyoom.service", "systemd-oomd.service"],
            &format!(
                "--cursor=s=1;i=2 … --system BOOT _SYSTEMD_UNIT=earlyoom.service _SYSTEMD_UNIT=systemd-oomd.service + \
                 BOOT _PID=1 MESSAGE_ID={KILLED_MESSAGE}"
            ),
        );
        wanted.kernel = true;
        wanted.folder = Some("/host/var/log/journal".into());
        let folder = "--directory=/host/var/log/journal";
        check(&wanted, "s=1;i=2", &[], &format!("--cursor=s=1;i=2 … {folder} BOOT _TRANSPORT=kernel"));
        let one = "BOOT _SYSTEMD_UNIT=earlyoom.service";
        let expect = format!("… {folder} {one} + BOOT _TRANSPORT=kernel");
        check(&wanted, "@5.000000", &["earlyoom.service"], &expect);
        (wanted.kernel, wanted.programs) = (false, true);
        let ways = "_TRANSPORT=journal _TRANSPORT=stdout _TRANSPORT=syslog";
        check(&wanted, "s=1;i=2", &[], &format!("--cursor=s=1;i=2 … {folder} BOOT {ways}"));
        assert!(wanted.trial().join(" ").starts_with("--lines=1 --output=json"));
    }

    #[test]
    fn killers_run_where_their_units_have_groups() {
        let check = |groups: &[&str], expect: &[&str]| {
            let file = |group: &&str| format!("//- /sys/fs/cgroup/{group}/cgroup.procs\n1\n");
            let host: String = groups.iter().map(file).collect();
            assert_eq!(running(&FixtureHost::parse(&host).expect("valid")), expect, "{groups:?}");
        };
        check(&[], &[]);
        check(&["system.slice/cron.service", "system.slice"], &[]);
        check(&["system.slice/earlyoom.service"], &["earlyoom.service"]);
        check(&["systemd/system.slice/systemd-oomd.service"], &["systemd-oomd.service"]);
        check(&["unified/system.slice/systemd-oomd.service"], &["systemd-oomd.service"]);
        check(&["memory.slice/memory-kill.slice/earlyoom.service"], &["earlyoom.service"]);
        check(
            &["system.slice/system-earlyoom.slice/earlyoom@b.service", "a.slice/earlyoom@a.service"],
            &["earlyoom@a.service", "earlyoom@b.service"],
        );
        // A user's own, and what only has such a name.
        check(&["user.slice/user-1.slice/user@1.service/app.slice/earlyoom.service"], &[]);
        check(&["earlyoom.service", "system.slice/not-earlyoom.service"], &[]);
        check(&["system.slice/docker-1.scope/earlyoom.service", "machine.slice/earlyoom.service"], &[]);
        let group = |n| format!("//- /sys/fs/cgroup/system.slice/earlyoom@{n}.service/cgroup.procs\n1\n");
        let host = (0..99).map(group).collect::<Vec<_>>().concat();
        assert_eq!(running(&FixtureHost::parse(&host).expect("valid")).len(), MAX_UNITS);
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
