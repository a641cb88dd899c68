//! A guest's initial file system: our process 1, the agent, modules, the plan. Nothing else runs in it.

use std::fs;
use std::path::{Path, PathBuf};

use vm_guest::plan::{self, Plan};
use vm_guest::systemd;

use super::cpio::Archive;
use super::guest::{Guest, Source};
use super::kernel::Kernel;
use crate::sh;

/// Programs built for the guests.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The agent, static.
    pub agent: PathBuf,
    /// `vm-guest`, static.
    pub guest: PathBuf,
    /// `vm-readings`, static.
    pub readings: PathBuf,
    /// A shell, where one is asked for.
    pub busybox: Option<PathBuf>,
}

/// Seconds after which a guest switches itself off; the host's own limit is a little longer.
pub const DEADLINE_SECS: u64 = 480;

/// The archive for the kernel's `initrd`.
pub fn build(guest: &Guest, kernel: &Kernel, programs: &Programs) -> Result<Vec<u8>, String> {
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "mnt", "modules", "proc", "root", "run", "sys", "tmp"] {
        archive.dir(dir);
    }
    // The kernel opens the console, and the Rust runtime /dev/null, before /dev is mounted.
    archive.device("dev/console", (5, 1));
    archive.device("dev/null", (1, 3));
    archive.device("dev/tty1", (4, 1));
    archive.device("dev/ttyS1", (4, 65));
    let program = read(&programs.guest)?;
    archive.file("init", &program);
    archive.file(below_root(plan::GUEST), &program);
    archive.file(below_root(plan::AGENT), &read(&programs.agent)?);
    if guest.readings {
        archive.file(below_root(plan::READINGS), &read(&programs.readings)?);
    }
    if let Some(busybox) = &programs.busybox {
        archive.file("bin/busybox", &read(busybox)?);
        archive.file("bin/sh", &read(busybox)?);
    }
    let wanted: Vec<&str> = guest.modules.iter().chain(&guest.spare_modules).copied().collect();
    for module in kernel.modules(&wanted)? {
        let path = format!("{}/{}", below_root(plan::MODULES), module.name);
        archive.file(&format!("{path}.ko"), &module.object);
        archive.file(&format!("{path}.deps"), module.needs.join(" ").as_bytes());
    }
    if guest.root.is_some() {
        archive.dir(below_root(systemd::DEPLOY));
        for file in super::pool::entries(&sh::root().join("deploy"))?.iter().filter(|path| path.is_file()) {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            archive.file(&format!("{}/{name}", below_root(systemd::DEPLOY)), &read(file)?);
        }
    }
    let plan = plan(guest, programs.busybox.is_some());
    let json = serde_json::to_vec(&plan).map_err(|e| format!("the plan is no JSON: {e}"))?;
    archive.file(below_root(plan::PATH), &json);
    Ok(archive.finish())
}

fn plan(guest: &Guest, shell: bool) -> Plan {
    Plan {
        report: match guest.source {
            Source::Debian(..) => "/dev/ttyS1".into(),
            Source::UserMode => "/dev/tty1".into(),
        },
        modules: guest.modules.iter().map(|m| (*m).to_owned()).collect(),
        scenarios: guest.scenarios.iter().map(|s| (*s).to_owned()).collect(),
        rights: guest.rights.clone(),
        systemd: guest.root.is_some(),
        shell,
        deadline_secs: DEADLINE_SECS,
    }
}

fn below_root(path: &str) -> &str {
    path.trim_start_matches('/')
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}
