//! `cargo xtask vm`: real Debian kernels in QEMU, real kernel events in them, and what the static agent says.
//!
//! ```text
//! pool (apt) → kernel ┐
//! agent, vm-guest ────┴→ image → machine (three at a time) → judge → page (docs/KERNELS.md)
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
pub mod root;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use vm_guest::scenarios;

use crate::{dist, packages, sh};
use guest::{DISKS, FAULTY, FULL, Guest, LARGE, LOCKED, NEWER, STABLE, SYSTEMD, Source, USER_MODE};
use image::Programs;
use judge::Judged;
use kernel::{Flavour, Kernel};
use machine::Report;
use pool::Pool;

/// Guests at a time, on the two cores of the smallest machine this runs on: each waits for a third of its time.
const AT_A_TIME: usize = 3;
static FETCHING: Mutex<()> = Mutex::new(());

/// What to run, and how.
#[derive(Debug, Default, clap::Args)]
pub struct Options {
    /// Kernels: a Debian series (6.1), the same with drivers of real hardware (6.1-full), `6.1-lockdown`,
    /// `6.12-disks`, `6.12-faulty`, `6.12-large`, `6.12-systemd`, `uml`;
    /// without any all of docs/KERNELS.md
    kernels: Vec<String>,
    /// Only these scenarios, with commas between them; `--scenario list` lists them
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<String>,
    /// Builds the programs for the guests without optimisation: sooner built, slower in the guest
    #[arg(long)]
    dev: bool,
    /// A shell on the console of one kernel, with devices and modules but without agent
    #[arg(long)]
    shell: bool,
    /// Fails if docs/KERNELS.md does not say what ran, instead of writing it
    #[arg(long)]
    check: bool,
    /// The profile of the programs, if it is neither of the two above.
    #[arg(skip)]
    profile: Option<&'static str>,
}

/// Without optimisation.
const DEV: &str = "dev";

/// Boots the kernels and judges what the agent said in them.
pub fn run(options: &Options) -> Result<(), String> {
    if options.scenario.iter().any(|s| s == "list") {
        for scenario in scenarios::all() {
            println!("{:<18} {}", scenario.name, scenario.title);
        }
        return Ok(());
    }
    for name in &options.scenario {
        scenarios::find(name).ok_or_else(|| format!("there is no scenario {name}; --scenario list"))?;
    }
    can_run(options.shell)?;
    // The default agent is the very file that is shipped.
    let profile = options.profile.unwrap_or(if options.dev { DEV } else { "release" });
    let programs = programs(profile, options.shell)?;
    let dir = sh::target_dir().join("vm");
    let pool = Pool::open(&dir.join("apt"))?;
    let guests = guests(options, &pool)?;
    if options.shell {
        let guest = guests.into_iter().next().ok_or("a shell in which kernel?")?;
        let kernel = fetch(&pool, &dir, &guest)?;
        let (initrd, dir) = prepare(&dir, &guest, &kernel, &programs)?;
        return machine::shell(&guest, &kernel.image, &initrd, &dir);
    }
    let mut judged = all(guests, &|guest| {
        let kernel = {
            // One download at a time, while the others boot.
            let _turn = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
            fetch(&pool, &dir, &guest)
        };
        match kernel.and_then(|kernel| Ok((boot(&dir, &guest, &kernel, &programs)?, kernel))) {
            Ok((report, kernel)) => judge::judge(guest, kernel.package, report),
            Err(why) => judge::absent(guest, why),
        }
    });
    judged.sort_by_key(|j| pool::natural(&j.guest.name));
    let whole = options.kernels.is_empty() && options.scenario.is_empty();
    let (apart, judged): (Vec<_>, Vec<_>) =
        judged.into_iter().partition(|j| [DISKS, LARGE].contains(&j.guest.name.as_str()));
    let of_page = conclude(&judged, whole.then_some(options.check));
    conclude(&apart, None).and(of_page)
}

/// As a gate of CI: where it cannot run, that is said, and counts as a failure only where nobody watches.
pub fn gate() -> Result<(), String> {
    match can_run(false) {
        Err(why) if !sh::in_ci() => {
            println!("not checked here: {why}");
            Ok(())
        }
        Err(why) => Err(why),
        Ok(()) => run(&Options { check: true, profile: Some(dist::GATE), ..Options::default() }),
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

/// Builds agent and `vm-guest`.
fn programs(profile: &str, shell: bool) -> Result<Programs, String> {
    let agent = dist::build(profile)?;
    let build = |package: &str, more: &[&str]| {
        let mut cargo = sh::cargo(&["build", "--profile", profile, "--package", package]);
        sh::run(cargo.args(["--target", &dist::target()]).args(more))
    };
    build("vm-guest", &[])?;
    // The agent's features once more, so that its library is not built a second time.
    let features: Vec<String> = sh::ALL_FEATURES.split(',').map(|f| format!("sysops-agent/{f}")).collect();
    build("vm-readings", &["--features", &features.join(",")])?;
    let program = |path: PathBuf| if profile == DEV { stripped(&path) } else { Ok(path) };
    let folder = dist::folder(profile);
    Ok(Programs {
        agent: program(agent)?,
        guest: program(folder.join("vm-guest"))?,
        readings: program(folder.join("vm-readings"))?,
        busybox: shell.then(|| PathBuf::from("/bin/busybox")),
    })
}

/// Without debug information: a guest holds its programs in memory.
fn stripped(program: &Path) -> Result<PathBuf, String> {
    let to = program.with_extension("stripped");
    sh::run(sh::command("strip", &["-o"]).arg(&to).arg(program))?;
    Ok(to)
}

fn guests(options: &Options, pool: &Pool) -> Result<Vec<Guest>, String> {
    let mut names = options.kernels.clone();
    if names.is_empty() {
        // The slowest first, so that the last ones end together.
        let newest = STABLE.last().copied().unwrap_or_default();
        names.push(LARGE.to_owned());
        names.extend(kernel::newer(pool, newest)?.into_iter().take(NEWER));
        names.extend(STABLE.iter().rev().map(|s| (*s).to_owned()));
        // `SYSTEMD` only by its name: it takes minutes.
        names.extend([FAULTY, DISKS, LOCKED, USER_MODE].map(str::to_owned));
    }
    let mut guests: Vec<Guest> = names
        .iter()
        .map(|name| match name.as_str() {
            FAULTY => guest::faulty(),
            LOCKED => guest::locked(),
            USER_MODE => guest::user_mode(),
            DISKS => guest::disks(),
            SYSTEMD => guest::systemd(),
            LARGE => guest::large(),
            name => match name.strip_suffix(FULL) {
                Some(series) => guest::ordinary(name, series, Flavour::Full),
                None => guest::ordinary(name, name, Flavour::Cloud),
            },
        })
        .collect();
    if !options.scenario.is_empty() {
        let asked: Vec<&str> =
            options.scenario.iter().filter_map(|s| Some(scenarios::find(s)?.name)).collect();
        for guest in &mut guests {
            guest.scenarios.clone_from(&asked);
        }
    }
    Ok(guests)
}

/// Works through the guests, some at a time, and tells each as it ends.
fn all(guests: Vec<Guest>, work: &(impl Fn(Guest) -> Judged + Sync)) -> Vec<Judged> {
    let queue = Mutex::new(VecDeque::from(guests));
    let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let worker = || {
        let mut done = Vec::new();
        while let Some(guest) = take() {
            let judged = work(guest);
            judged.print();
            done.push(judged);
        }
        done
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap_or_default()).collect()
    })
}

fn fetch(pool: &Pool, dir: &Path, guest: &Guest) -> Result<Kernel, String> {
    let cache = dir.join("kernels");
    if let Some(suite) = guest.root {
        root::image(pool, dir, suite)?;
    }
    match &guest.source {
        Source::Debian(series, flavour) => kernel::debian(pool, &cache, series, *flavour),
        Source::UserMode => kernel::uml(pool, &cache),
    }
}

/// An empty folder for the guest, with its initial file system.
fn prepare(
    dir: &Path,
    guest: &Guest,
    kernel: &Kernel,
    programs: &Programs,
) -> Result<(PathBuf, PathBuf), String> {
    let all = dir;
    let dir = all.join("run").join(&guest.name);
    let _ = fs::remove_dir_all(&dir);
    pool::make(&dir)?;
    if let Some(suite) = guest.root {
        let link = std::os::unix::fs::symlink(root::path(all, suite), dir.join(machine::ROOT));
        link.map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    let initrd = dir.join("initrd");
    let bytes = image::build(guest, kernel, programs)?;
    fs::write(&initrd, bytes).map_err(|e| format!("{}: {e}", initrd.display()))?;
    Ok((initrd, dir))
}

fn boot(dir: &Path, guest: &Guest, kernel: &Kernel, programs: &Programs) -> Result<Report, String> {
    let (initrd, dir) = prepare(dir, guest, kernel, programs)?;
    let report = machine::run(guest, &kernel.image, &initrd, &dir)?;
    if report.booted() {
        return Ok(report);
    }
    // A kernel that dies under the emulator says nothing about the agent; one that dies twice does not work here.
    println!("{} did not boot; once more. Its console:\n{}", guest.name, report.console.join("\n"));
    machine::run(guest, &kernel.image, &initrd, &dir)
}

/// Fails for what a stable kernel did wrong; `page`: whether docs/KERNELS.md is compared (or else written).
fn conclude(judged: &[Judged], page: Option<bool>) -> Result<(), String> {
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
    if !failed.is_empty() {
        return Err(failed.join("\n"));
    }
    // The page tells what holds, never what failed.
    page.map_or(Ok(()), |check| page::kernels(judged, check))
}
