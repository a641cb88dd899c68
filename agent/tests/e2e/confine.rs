//! Taking rights and kernel features away from a program.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// What a program must do without. All of them keep the process id: each step is an `exec`.
#[derive(Clone, Debug)]
pub(crate) enum Confine {
    /// Nothing.
    No,
    /// `bpf()` answers ENOSYS, as on a kernel built without.
    NoBpf,
    /// `perf_event_open()` answers EACCES, as where `kernel.perf_event_paranoid` forbids it; and more.
    NoPerf(Box<Self>),
    /// What `setpriv` takes away.
    Rights(Vec<&'static str>),
    /// The same after a shell script has changed mounts that only this program sees.
    Mounts(&'static str, Vec<&'static str>),
}

impl Confine {
    /// Nobody with these capabilities and no others; see [`nobody`].
    pub(crate) fn nobody(caps: &'static str) -> Self {
        Self::Rights(nobody(caps))
    }

    /// A command line that runs `program` so.
    pub(crate) fn command(&self, program: &Path) -> Command {
        match self {
            Self::No => Command::new(program),
            Self::NoBpf => {
                let mut command = Command::new(program);
                // SAFETY: between fork and exec only prctl-like system calls are made and nothing is allocated.
                unsafe { command.pre_exec(|| refuse(libc::SYS_bpf, libc::ENOSYS)) };
                command
            }
            Self::NoPerf(inner) => {
                let mut command = inner.command(program);
                // SAFETY: as above.
                unsafe { command.pre_exec(|| refuse(libc::SYS_perf_event_open, libc::EACCES)) };
                command
            }
            Self::Rights(args) => {
                let mut command = Command::new("setpriv");
                command.args(args).arg(program);
                command
            }
            Self::Mounts(script, args) => {
                let mut command = Command::new("unshare");
                let script = format!("{script} && exec \"$@\"");
                command.args(["--mount", "sh", "-c", &script, "sh", "setpriv"]).args(args).arg(program);
                command
            }
        }
    }
}

/// Arguments of `setpriv` that leave nobody with these capabilities: `-all,+bpf,+syslog`; empty for none.
pub(crate) fn nobody(caps: &'static str) -> Vec<&'static str> {
    let mut args = vec!["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    match caps {
        "" => args.extend(["--inh-caps", "-all", "--bounding-set", "-all"]),
        caps => args.extend(["--inh-caps", caps, "--ambient-caps", caps]),
    }
    args
}

/// Installs a seccomp filter on the calling thread: this system call fails with this error.
fn refuse(call: libc::c_long, error: i32) -> io::Result<()> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    // The first word of `struct seccomp_data` is the number of the system call.
    let mut filter = [
        libc::sock_filter { code: LOAD, jt: 0, jf: 0, k: 0 },
        libc::sock_filter { code: JUMP, jt: 0, jf: 1, k: call as u32 },
        libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ERRNO | error as u32 },
        libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the filter is complete, lives until the call returns, and the kernel copies it.
    let done =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
