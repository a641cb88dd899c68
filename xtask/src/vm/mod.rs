//! `cargo xtask vm`: real Debian kernels in QEMU, real kernel events in them, and what the static agent says.
//!
//! ```text
//! pool (apt) → kernel ┐
//! agent, vm-guest ────┴→ image → machine (two at a time) → judge → page (docs/KERNELS.md)
//! ```
//!
//! A further machine is a [`guest::Guest`] value, a further event a row in `vm_guest::scenarios::ALL`.

pub mod cpio;
pub mod guest;
pub mod image;
pub mod judge;
pub mod kernel;
pub mod machine;
pub mod page;
pub mod pool;

use std::collections::VecDeque;
use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use vm_guest::scenarios;

use crate::{dist, packages, sh};
use guest::{Guest, LOCKED, NEWER, STABLE, Source, USER_MODE};
use image::Programs;
use kernel::{Flavour, Kernel};
use pool::Pool;

/// Guests at a time: one for each core of the smallest machine this runs on.
const AT_A_TIME: usize = 2;

/// What to run, and how.
#[derive(Debug, Default, clap::Args)]
pub struct Options {
    /// Kernels: a Debian series (6.1), `6.1-lockdown` or `uml` [default: all of docs/KERNELS.md]
    kernels: Vec<String>,
    /// Only these scenarios, with commas between them; `--scenario list` lists them
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<String>,
    /// Kernels with drivers for real hardware, not those for virtual machines
    #[arg(long)]
    full: bool,
    /// Builds the programs for the guests without optimisation: sooner built, slower in the guest
    #[arg(long)]
    dev: bool,
    /// A shell on the console of one kernel, with devices and modules but without agent
    #[arg(long)]
    shell: bool,
    /// Fails if docs/KERNELS.md does not say what ran, instead of writing it
    #[arg(long)]
    check: bool,
}

/// Boots the kernels and judges what the agent said in them.
pub fn run(options: &Options) -> Result<(), String> {
    if options.scenario.iter().any(|s| s == "list") {
        for scenario in scenarios::ALL {
            println!("{:<18} {}", scenario.name, scenario.title);
        }
        return Ok(());
    }
    for name in &options.scenario {
        scenarios::find(name).ok_or_else(|| format!("there is no scenario {name}; --scenario list"))?;
    }
    can_run(options.shell)?;
    let programs = programs(options.dev, options.shell)?;
    let dir = sh::target_dir().join("vm");
    let pool = Pool::open(&dir.join("apt"))?;
    let guests = guests(options, &pool)?;
    let fetched = guests.into_iter().map(|guest| fetch(&pool, &dir.join("kernels"), guest));
    let (ready, missing): (Vec<_>, Vec<_>) = fetched.partition(Result::is_ok);
    let missing: Vec<(Guest, String)> = missing.into_iter().filter_map(Result::err).collect();
    let ready: Vec<(Guest, Kernel)> = ready.into_iter().filter_map(Result::ok).collect();
    if options.shell {
        let (guest, kernel) = ready.first().ok_or("no kernel for the shell")?;
        let (initrd, dir) = prepare(&dir, guest, kernel, &programs)?;
        return machine::shell(guest, &kernel.image, &initrd, &dir);
    }
    let queue = Mutex::new(ready.into_iter().collect::<VecDeque<_>>());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((guest, kernel)) = next else { return };
                    let judged = boot(&dir, guest, &kernel, &programs);
                    judged.print();
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(judged);
                }
            });
        }
    });
    let mut judged = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    judged.extend(missing.into_iter().map(|(guest, why)| judge::absent(guest, why)));
    judged.sort_by_key(|j| pool::natural(&j.guest.name));
    let whole = options.kernels.is_empty() && options.scenario.is_empty() && !options.full;
    conclude(&judged, whole.then_some(options.check))
}

/// As a gate of CI: where it cannot run, that is said, and counts as a failure only where nobody watches.
pub fn gate() -> Result<(), String> {
    match can_run(false) {
        Err(why) if !sh::in_ci() => {
            println!("not checked here: {why}");
            Ok(())
        }
        Err(why) => Err(why),
        Ok(()) => run(&Options { check: true, ..Options::default() }),
    }
}

fn can_run(shell: bool) -> Result<(), String> {
    kernel::supported()?;
    let mut missing = packages::ensure(packages::FOR_VM);
    if shell {
        missing.extend(packages::ensure(packages::FOR_VM_SHELL));
    }
    if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
}

/// Builds agent and `vm-guest`. The default agent is the very file that is shipped.
fn programs(dev: bool, shell: bool) -> Result<Programs, String> {
    let target = format!("{ARCH}-unknown-linux-musl");
    let build = |package: &str, more: &[&str]| {
        let mut cargo = sh::cargo(&["build", "--package", package, "--target", &target]);
        sh::run(cargo.args(more))
    };
    let (profile, folder): (&[&str], _) = if dev { (&[], "debug") } else { (&["--release"], "release") };
    let built = sh::target_dir().join(&target).join(folder);
    if dev {
        build("sysops-agent", &["--features", sh::ALL_FEATURES])?;
    } else {
        dist::run()?;
    }
    build("vm-guest", profile)?;
    let agent = if dev { stripped(&built.join("sysops-agent"))? } else { built.join("sysops-agent") };
    let guest = if dev { stripped(&built.join("vm-guest"))? } else { built.join("vm-guest") };
    Ok(Programs { agent, guest, busybox: shell.then(|| PathBuf::from("/bin/busybox")) })
}

/// Without debug information: a guest holds its programs in memory.
fn stripped(program: &Path) -> Result<PathBuf, String> {
    let to = program.with_extension("stripped");
    sh::run(sh::command("strip", &["-o"]).arg(&to).arg(program))?;
    Ok(to)
}

fn guests(options: &Options, pool: &Pool) -> Result<Vec<Guest>, String> {
    let flavour = if options.full { Flavour::Full } else { Flavour::Cloud };
    let mut names = options.kernels.clone();
    if names.is_empty() {
        // The slowest first, so that the last ones end together.
        let newest = STABLE.last().copied().unwrap_or_default();
        names.extend(kernel::newer(pool, newest)?.into_iter().take(NEWER));
        names.extend(STABLE.iter().rev().map(|s| (*s).to_owned()));
        names.extend([LOCKED, USER_MODE].map(str::to_owned));
    }
    let mut guests: Vec<Guest> = names
        .iter()
        .map(|name| match name.as_str() {
            LOCKED => guest::locked(),
            USER_MODE => guest::user_mode(),
            series => guest::ordinary(series, flavour),
        })
        .collect();
    if !options.scenario.is_empty() {
        let asked: Vec<&str> =
            options.scenario.iter().filter_map(|s| Some(scenarios::find(s)?.name)).collect();
        guests.iter_mut().for_each(|g| g.scenarios.clone_from(&asked));
    }
    Ok(guests)
}

fn fetch(pool: &Pool, cache: &Path, guest: Guest) -> Result<(Guest, Kernel), (Guest, String)> {
    let kernel = match &guest.source {
        Source::Debian(series, flavour) => kernel::debian(pool, cache, series, *flavour),
        Source::UserMode => kernel::uml(pool, cache),
    };
    match kernel {
        Ok(kernel) => Ok((guest, kernel)),
        Err(why) => Err((guest, why)),
    }
}

/// An empty folder for the guest, with its initial file system.
fn prepare(
    dir: &Path,
    guest: &Guest,
    kernel: &Kernel,
    programs: &Programs,
) -> Result<(PathBuf, PathBuf), String> {
    let dir = dir.join("run").join(&guest.name);
    let _ = fs::remove_dir_all(&dir);
    pool::make(&dir)?;
    let initrd = dir.join("initrd");
    let bytes = image::build(guest, kernel, programs)?;
    fs::write(&initrd, bytes).map_err(|e| format!("{}: {e}", initrd.display()))?;
    Ok((initrd, dir))
}

fn boot(dir: &Path, guest: Guest, kernel: &Kernel, programs: &Programs) -> judge::Judged {
    let report = prepare(dir, &guest, kernel, programs)
        .and_then(|(initrd, dir)| machine::run(&guest, &kernel.image, &initrd, &dir));
    match report {
        Ok(report) => judge::judge(guest, kernel.package.clone(), report),
        Err(why) => judge::absent(guest, why),
    }
}

/// Fails for what a stable kernel did wrong; `page`: whether docs/KERNELS.md is compared (or else written).
fn conclude(judged: &[judge::Judged], page: Option<bool>) -> Result<(), String> {
    let mut failed = Vec::new();
    for one in judged {
        for problem in &one.problems {
            if one.guest.stable || page.is_none() {
                failed.push(format!("{}: {problem}", one.guest.name));
            } else {
                println!("not counted, {} is not stable: {problem}", one.guest.name);
            }
        }
    }
    if let Some(check) = page {
        failed.extend(page::kernels(judged, check).err());
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}
