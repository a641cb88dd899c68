//! Other programs: the one place that starts them.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

use super::{Printed, clock};
use crate::text::clean;

/// Output kept of one run, bytes; what comes beyond is read and dropped, so that the program can end.
pub(super) const MAX_OUTPUT: u64 = 4 << 20;

/// Of the complaints of a program that ended, bytes.
const MAX_COMPLAINT: usize = 4096;

/// Where programs are looked for: the agent's own `PATH` may be anything. The last ones are where containers get
/// the driver's tools.
const FOLDERS: [&str; 7] = [
    "/usr/bin",
    "/usr/sbin",
    "/bin",
    "/sbin",
    "/usr/local/bin",
    "/usr/local/nvidia/bin",
    "/run/nvidia/driver/usr/bin",
];

/// Runs a program with nothing but these arguments, and waits for its end. `NotFound`: it is in none of the folders. What one
/// printed that a signal ended is not told: it may be half of it.
pub(super) fn run(program: &str, args: &[&str]) -> io::Result<Printed> {
    let mut child = start(program, args, &|command| {
        command.stderr(Stdio::null());
    })?;
    let mut text = Vec::new();
    let dropped = child.stdout.take().map_or(Ok(0), |mut out| {
        out.by_ref().take(MAX_OUTPUT).read_to_end(&mut text)?;
        io::copy(&mut out, &mut io::sink())
    });
    let status = child.wait()?;
    if let Some(signal) = status.signal() {
        return Err(io::Error::other(format!("{program} was ended by signal {signal}")));
    }
    let is_cut = dropped? > 0;
    Ok(Printed { text: String::from_utf8_lossy(&text).into_owned(), success: status.success(), is_cut })
}

/// Where a program of this name is, if anywhere.
pub fn find(program: &str) -> Option<String> {
    FOLDERS
        .iter()
        .map(|folder| format!("{folder}/{program}"))
        .find(|path| super::state::is_there(path.as_ref()))
}

#[expect(clippy::disallowed_methods, reason = "this is the place")]
fn start(program: &str, args: &[&str], more: &dyn Fn(&mut Command)) -> io::Result<Child> {
    let mut refused = io::Error::from(io::ErrorKind::NotFound);
    for folder in FOLDERS {
        let mut command = Command::new(format!("{folder}/{program}"));
        command.args(args).env_clear().env("LC_ALL", "C").env("PATH", FOLDERS.join(":"));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        more(&mut command);
        // SAFETY: the closure only makes system calls, which is all that may be done between fork and exec.
        unsafe { command.pre_exec(confine) };
        match command.spawn() {
            Ok(child) => return Ok(child),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// A program that runs until it is told to end. Ended when this value is dropped, and by the kernel when the thread that started it
/// ends.
#[derive(Debug)]
pub struct Followed {
    child: Option<Child>,
}

/// Starts a program that prints as long as it runs.
pub fn follow(program: &str, args: &[&str]) -> io::Result<Followed> {
    let child = start(program, args, &|command| {
        command.stderr(Stdio::piped());
    })?;
    Ok(Followed { child: Some(child) })
}

/// Between fork and exec: the new program ends with us, and cannot do what it has no need to. User and groups stay: root reads
/// its own files, and `systemd-journal` the journal, without any capability. Another user keeps the one to read files.
fn confine() -> io::Result<()> {
    let wanted = if rustix::process::geteuid().is_root() {
        CapabilitySet::empty()
    } else {
        CapabilitySet::DAC_READ_SEARCH
    };
    let keep = capabilities(None)?.permitted.intersection(wanted);
    for capability in CapabilitySet::all().iter() {
        // It takes CAP_SETPCAP; and one that this kernel does not know is not held. Without it the next lines do.
        let _ = remove_capability_from_bounding_set(capability);
    }
    // Before 4.3 there is none.
    let _ = clear_ambient_capability_set();
    set_capabilities(None, CapabilitySets { effective: keep, permitted: keep, inheritable: keep })?;
    for capability in keep.iter() {
        let _ = configure_capability_in_ambient_set(capability, true);
    }
    // Root gets at exec what its bounding set holds, unless nothing may be gained.
    set_no_new_privs(true)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

/// Runs a program for at most `limit`, its output dropped: whether it does what it should, else what it said.
pub fn try_out(program: &str, args: &[&str], limit: Duration) -> Result<(), String> {
    let mut child = follow(program, args).map_err(|error| format!("it cannot be started: {error}"))?;
    let out = child.take_output().map_err(|error| error.to_string())?;
    let (begin, mut buf) = (clock::now(), vec![0; 16 << 10]);
    loop {
        let left = limit.saturating_sub(Duration::from_nanos(clock::now().since(begin)));
        if left.is_zero() {
            return Err(format!("it took longer than {} s", limit.as_secs()));
        }
        let wait = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().clamp(1_000_000, 100_000_000).into() };
        match rustix::io::read(&out, &mut buf) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // A pause is enough; what comes is read then.
            Err(rustix::io::Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&out, PollFlags::IN)], Some(&wait));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    let status = child.child.as_mut().map_or(Err(io::ErrorKind::NotFound.into()), Child::wait);
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            Err(Some(child.complaint()).filter(|words| !words.is_empty()).unwrap_or(status.to_string()))
        }
        Err(error) => Err(error.to_string()),
    }
}

impl Followed {
    /// What it prints: a pipe that does not block, to be taken once.
    pub fn take_output(&mut self) -> io::Result<OwnedFd> {
        let out = self.child.as_mut().and_then(|child| child.stdout.take());
        let out = OwnedFd::from(out.ok_or(io::ErrorKind::BrokenPipe)?);
        rustix::io::ioctl_fionbio(&out, true)?;
        Ok(out)
    }

    /// The last thing it complained about, in one line of at most 300 characters. Ends it.
    pub fn complaint(&mut self) -> String {
        let Some(child) = &mut self.child else { return String::new() };
        let _ = child.kill();
        let Some(mut err) = child.stderr.take() else { return String::new() };
        let mut bytes = vec![0; MAX_COMPLAINT];
        let read = rustix::io::ioctl_fionbio(&err, true)
            .map_err(io::Error::from)
            .and_then(|()| err.read(&mut bytes));
        bytes.truncate(read.unwrap_or(0));
        let text = String::from_utf8_lossy(&bytes);
        clean(text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default(), 300)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _ = child.kill();
        // It may sit in a read of a dead disk: nobody waits for it here.
        if !matches!(child.try_wait(), Ok(Some(_))) {
            let reap = move || child.wait();
            let _ = std::thread::Builder::new().name("reap".into()).stack_size(64 << 10).spawn(reap);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_and_read() {
        let printed = run("printf", &["%s", "a b; $PATH"]).unwrap();
        assert_eq!((printed.text.as_str(), printed.success), ("a b; $PATH", true));
        assert!(!run("false", &[]).unwrap().success);
        let half = run("sh", &["-c", "echo half; kill -9 $$"]).unwrap_err().to_string();
        assert!(half.contains("signal 9"), "{half}");
        assert_eq!(run("no-such-program", &[]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_followed_program_is_read_and_ended() {
        let mut cat = follow("sh", &["-c", "echo one; echo oh no >&2; exec sleep 1000"]).unwrap();
        let out = cat.take_output().unwrap();
        let mut text = [0; 16];
        let read = || rustix::io::read(&out, &mut text);
        let count = std::iter::repeat_with(read).find_map(Result::ok).unwrap();
        assert_eq!(&text[..count], b"one\n");
        assert!(cat.take_output().is_err());
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(cat.complaint(), "oh no");
        let pid = cat.child.as_ref().unwrap().id();
        drop(cat);
        let gone = || !super::super::state::is_there(format!("/proc/{pid}").as_ref());
        assert!(std::iter::repeat_with(gone).take(10_000_000).any(|gone| gone));
        assert_eq!(follow("no-such-program", &[]).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!((find("sh").is_some(), find("no-such-program")), (true, None));
    }

    #[test]
    fn a_program_gets_no_right_that_it_does_not_need() {
        let status = run("cat", &["/proc/self/status"]).unwrap().text;
        let mine = std::fs::read_to_string("/proc/self/status").unwrap();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).expect(name).to_owned();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let caps = |name: &str| u64::from_str_radix(&field(&status, name)[0], 16).unwrap();
        let may_be =
            if rustix::process::geteuid().is_root() { 0 } else { CapabilitySet::DAC_READ_SEARCH.bits() };
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(caps(set) & !may_be, 0, "{set} {status}");
        }
        // CAP_SETPCAP is 8.
        if u64::from_str_radix(&field(&mine, "CapEff:")[0], 16).unwrap() >> 8 & 1 == 1 {
            assert_eq!(caps("CapBnd:"), 0, "{status}");
        }
        assert_eq!(field(&status, "NoNewPrivs:"), ["1"]);
        for same in ["Uid:", "Gid:", "Groups:"] {
            assert_eq!(field(&status, same), field(&mine, same));
        }
    }

    #[test]
    fn a_trial_tells_what_went_wrong() {
        let check = |script: &str, limit_ms: u64, expect: &str| {
            let told =
                try_out("sh", &["-c", script], Duration::from_millis(limit_ms)).err().unwrap_or_default();
            assert!(told.contains(expect) && told.is_empty() == expect.is_empty(), "{script}: {told}");
        };
        check("echo some output", 20_000, "");
        check("echo no such thing >&2; exit 3", 20_000, "no such thing");
        check("exit 3", 20_000, "exit status: 3");
        check("exec sleep 1000", 1_000, "longer than 1 s");
        let told = try_out("no-such-program", &[], Duration::from_secs(1)).unwrap_err();
        assert!(told.starts_with("it cannot be started"), "{told}");
    }

    #[test]
    fn endless_output_is_cut_and_the_program_ends() {
        let printed = run("head", &["-c", "9000000", "/dev/zero"]).unwrap();
        assert_eq!((printed.text.len() as u64, printed.success, printed.is_cut), (MAX_OUTPUT, true, true));
        assert!(!run("printf", &["x"]).unwrap().is_cut);
    }
}
