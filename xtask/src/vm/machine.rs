//! One guest from power-on to its report, with a limit on everything: time, console log, processes left behind.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use vm_guest::report::{Doctor, Kernel, Line, MARK, Outcome};

use super::guest::{Device, Guest, Source};
use super::image::DEADLINE_SECS;
use crate::sh;

/// Longest life of a guest.
const LIMIT: Duration = Duration::from_secs(DEADLINE_SECS + 10);
/// Longest console log that is kept, bytes.
const MAX_CONSOLE: usize = 4 << 20;
/// Lines of it that are shown when something is wrong.
const SHOWN: usize = 120;
/// Name of the root file system in a guest's folder.
pub const ROOT: &str = "root.ext4";
/// Size of the guests' disks: the least that mke2fs gives a journal, with room.
const DISK: u64 = 16 << 20;

/// What became of a guest.
#[derive(Debug, Default)]
pub struct Report {
    /// The kernel that ran; none if it did not come that far.
    pub kernel: Option<Kernel>,
    /// The agent's features, for each of its runs.
    pub doctors: Vec<Doctor>,
    /// What happened.
    pub outcomes: Vec<Outcome>,
    /// What went wrong outside the scenarios.
    pub problems: Vec<String>,
    /// Last lines of the console.
    pub console: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// Whether our program came to speak in it.
    pub fn booted(&self) -> bool {
        self.kernel.is_some()
    }
}

/// Boots `guest` in the folder `dir`, which keeps command line, console log and report.
pub fn run(guest: &Guest, image: &Path, initrd: &Path, dir: &Path) -> Result<Report, String> {
    let mut command = command(guest, image, initrd, dir)?;
    fs::write(dir.join("command"), format!("{command:?}\n"))
        .map_err(|e| format!("{}: {e}", dir.display()))?;
    let begin = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    let pipes = child.stdout.take().zip(child.stderr.take()).ok_or("a guest without pipes")?;
    let (console_log, report_log) = (create(dir, "console.log")?, create(dir, "report.log")?);
    let (mut report, over) = thread::scope(|scope| {
        let console = scope.spawn(|| watch_console(pipes.0, console_log));
        let told = scope.spawn(|| listen(pipes.1, report_log, dir));
        let over = wait(&mut child, begin);
        let mut report = told.join().unwrap_or_default();
        report.console = console.join().unwrap_or_default();
        (report, over)
    });
    report.took = begin.elapsed();
    report.problems.extend(over.err());
    Ok(report)
}

/// Boots a guest whose console is this terminal.
pub fn shell(guest: &Guest, image: &Path, initrd: &Path, dir: &Path) -> Result<(), String> {
    println!("A shell in {}; `poweroff -f` or the end of the shell switches it off.", guest.name);
    sh::run(&mut command(guest, image, initrd, dir)?)
}

fn create(dir: &Path, name: &str) -> Result<File, String> {
    let path = dir.join(name);
    File::create(&path).map_err(|e| format!("{}: {e}", path.display()))
}

/// The command line that boots it. It ends with us, however we end.
fn command(guest: &Guest, image: &Path, initrd: &Path, dir: &Path) -> Result<Command, String> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).current_dir(dir).process_group(0);
    match guest.source {
        Source::Debian(..) => qemu(&mut command, guest, image, initrd, dir)?,
        Source::UserMode => user_mode(&mut command, guest, image, initrd),
    }
    Ok(command)
}

fn qemu(command: &mut Command, guest: &Guest, image: &Path, initrd: &Path, dir: &Path) -> Result<(), String> {
    // TCG: nested KVM is rarely there, and the same everywhere is worth more than speed.
    // One thread for all processors: with several, a processor may trip over code that another one changes (int3 in
    // Linux 6.12), and several guests run at a time anyway. Without CMPXCHG16B: emulated by QEMU 7.2 it leaves
    // wrong flags behind when a timer interrupt comes at the wrong moment. Linux 6.12 uses it in kmalloc, and died at the boot in half of the runs with it, in none of 32 without.
    command.args([
        "qemu-system-x86_64",
        "-accel",
        "tcg,thread=single",
        "-cpu",
        "max,-cx16",
        "-machine",
        "q35",
    ]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.args(["-smp", &guest.smp.to_string(), "-m", &guest.memory_mib.to_string()]);
    // First serial line: console, on standard output. Second: the report, on standard error.
    command.args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
    command.args(["-chardev", "file,id=report,path=/proc/self/fd/2", "-serial", "chardev:report"]);
    command.args(["-monitor", "unix:monitor,server=on,wait=off"]);
    command.arg("-kernel").arg(image).arg("-initrd").arg(initrd);
    // panic=-1: reboot at once, which -no-reboot turns into an exit.
    command.args(["-append", &format!("console=ttyS0 panic=-1 loglevel=4 {}", guest.append)]);
    if guest.root.is_some() {
        // What is written to it is gone with the machine.
        let drive = format!("file={ROOT},format=raw,if=none,snapshot=on,cache=unsafe,id=root");
        command.args(["-drive", &drive, "-device", "virtio-blk-pci,drive=root"]);
    }
    for (number, device) in guest.devices.iter().enumerate() {
        let disk = || -> Result<String, String> {
            let name = format!("disk{number}.img");
            let fail = |e| format!("{}: {e}", dir.join(&name).display());
            create(dir, &name)?.set_len(DISK).map_err(fail)?;
            Ok(name)
        };
        let drive = match device {
            Device::Qemu(args) => {
                command.args(*args);
                continue;
            }
            Device::ThermalZone => {
                command.args(["-acpitable", &format!("file={}", thermal_zone(dir)?)]);
                continue;
            }
            Device::Ext4 => {
                let name = disk()?;
                sh::output(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(dir.join(&name)))?;
                format!("file={name},format=raw")
            }
            Device::Failing => {
                let rules = "[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\nonce = \"off\"\n\n\
                             [inject-error]\nevent = \"write_aio\"\nerrno = \"5\"\nonce = \"off\"\n";
                fs::write(dir.join("blkdebug"), rules).map_err(|e| format!("{}: {e}", dir.display()))?;
                // raw on top of blkdebug: the other way round its rules do not fire.
                format!(
                    "driver=raw,file.driver=blkdebug,file.config=blkdebug,file.image.driver=file,\
                     file.image.filename={},rerror=report,werror=report",
                    disk()?
                )
            }
        };
        // cache=unsafe: the host's own disk is not to be waited for.
        command.args(["-drive", &format!("{drive},if=none,cache=unsafe,id=d{number}")]);
        command.args(["-device", &format!("virtio-blk-pci,drive=d{number}")]);
    }
    Ok(())
}

/// The table of a thermal zone, as a file in `dir`.
fn thermal_zone(dir: &Path) -> Result<String, String> {
    let source = dir.join("thermal.asl");
    fs::write(&source, include_str!("thermal.asl")).map_err(|e| format!("{}: {e}", source.display()))?;
    sh::output(Command::new("iasl").args(["-vs", "-p", "thermal", "thermal.asl"]).current_dir(dir))?;
    Ok("thermal.aml".into())
}

fn user_mode(command: &mut Command, guest: &Guest, image: &Path, initrd: &Path) {
    // It is several processes, and leaves some behind when it is killed: not so as the first of a pid namespace.
    command.args(["unshare", "--pid", "--fork", "--kill-child"]);
    command.args((!sh::is_root()).then_some("--map-root-user")).arg("--");
    command.arg(image).arg(format!("mem={}M", guest.memory_mib));
    command.arg(format!("initrd={}", initrd.display()));
    // Consoles as above: the first one is standard output, the second one standard error.
    command.args(["rdinit=/init", "root=/dev/ram0", "con=null", "con0=fd:0,fd:1", "con1=null,fd:2", "quiet"]);
    command.args(guest.append.split_whitespace());
}

/// Waits for the end, or makes it.
fn wait(child: &mut Child, begin: Instant) -> Result<(), String> {
    while begin.elapsed() < LIMIT {
        match child.try_wait() {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(format!("the guest cannot be waited for: {error}")),
        }
    }
    if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    Err(format!("not finished after {} s; stopped", LIMIT.as_secs()))
}

/// Keeps the beginning of the console in the log, and its last lines.
fn watch_console(pipe: impl Read, mut log: File) -> Vec<String> {
    let (mut last, mut kept) = (VecDeque::new(), 0);
    for line in lines(pipe) {
        kept += line.len() + 1;
        if kept <= MAX_CONSOLE {
            let _ = writeln!(log, "{line}");
        }
        last.push_back(line);
        if last.len() > SHOWN {
            last.pop_front();
        }
    }
    last.into()
}

/// Takes the guest's report, and does for it what it asks.
fn listen(pipe: impl Read, mut log: File, dir: &Path) -> Report {
    let (mut report, mut done, mut other) = (Report::default(), false, Vec::new());
    for line in lines(pipe) {
        let _ = writeln!(log, "{line}");
        let Some(json) = line.strip_prefix(MARK) else {
            other.extend((!line.is_empty()).then_some(line));
            continue;
        };
        match serde_json::from_str(json) {
            Ok(Line::Kernel(kernel)) => report.kernel = Some(kernel),
            Ok(Line::Doctor(doctor)) => report.doctors.push(doctor),
            Ok(Line::Outcome(outcome)) => report.outcomes.push(outcome),
            Ok(Line::Broken(broken)) => report.problems.push(broken.why),
            Ok(Line::Monitor(monitor)) => report.problems.extend(type_in(dir, &monitor.command).err()),
            Ok(Line::Done) => done = true,
            Err(error) => report.problems.push(format!("a line that cannot be read ({error}): {json}")),
        }
    }
    if !done {
        let began = if report.booted() { "did not finish" } else { "did not boot" };
        report.problems.push(format!("the guest {began}; beside its report: {other:?}"));
    }
    report
}

fn lines(pipe: impl Read) -> impl Iterator<Item = String> {
    let split = BufReader::new(pipe).split(b'\n').map_while(Result::ok);
    split.map(|line| String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned())
}

/// Types a command into QEMU's monitor.
fn type_in(dir: &Path, command: &str) -> Result<(), String> {
    let socket = UnixStream::connect(dir.join("monitor"));
    let mut socket = socket.map_err(|e| format!("QEMU's monitor cannot be reached for `{command}`: {e}"))?;
    socket.write_all(format!("{command}\n").as_bytes()).map_err(|e| format!("monitor: {e}"))?;
    // Closing at once would drop the command.
    thread::sleep(Duration::from_millis(300));
    Ok(())
}
