//! From a failed system call to two sentences: why, and what to do.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use rustix::thread::CapabilitySet;

use crate::host::parse::maps_all_users;
use crate::host::{Host, read_text};
use crate::text;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Making a map.
    Map(&'static str),
    /// Loading a program.
    Program(&'static str),
    /// Opening a perf buffer.
    Buffer,
    /// Opening a tracepoint as a perf event.
    OpenTracepoint,
    /// Putting the program on it.
    Attach,
    /// Tying a program to its iterator, and running it.
    Iterate,
    /// Reading which processors are online.
    Cpus,
    /// Reading the object; our own fault.
    Object,
}

/// A step that failed.
#[derive(Debug)]
pub struct Failure {
    /// Which.
    pub step: Step,
    /// The system's answer.
    pub error: io::Error,
    /// The verifier's last words, if it spoke.
    pub verifier: String,
}

impl Failure {
    /// Turns an error at this step into a failure.
    pub fn at<E: Into<io::Error>>(step: Step) -> impl Fn(E) -> Self {
        move |error| Self { step, error: error.into(), verifier: String::new() }
    }

    /// The same, for another probe.
    #[must_use]
    pub fn again(&self) -> Self {
        let error = match self.error.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::other(self.error.to_string()),
        };
        Self { step: self.step, error, verifier: self.verifier.clone() }
    }
}

/// What decides whether eBPF is allowed here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of the machine")]
pub struct Circumstances {
    /// `kernel.perf_event_paranoid`.
    pub paranoid: Option<i32>,
    /// Whether `CAP_SYS_ADMIN` is held.
    pub sys_admin: bool,
    /// Whether `CAP_BPF` is held.
    pub bpf: bool,
    /// Whether `CAP_PERFMON` is held.
    pub perfmon: bool,
    /// Whether folders open to root only can be read.
    pub reads_all: bool,
    /// Whether this is a user namespace of its own: capabilities held there are none to BPF.
    pub user_namespace: bool,
    /// Whether locked memory is unlimited (`RLIMIT_MEMLOCK`).
    pub memlock_free: bool,
    /// Whether the kernel is in lockdown, and which: `integrity` or `confidentiality`.
    pub lockdown: Option<String>,
}

impl Circumstances {
    /// Looks around.
    pub fn of(host: &dyn Host) -> Self {
        let held = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |c| c.effective);
        Self {
            paranoid: read_text(host, "/proc/sys/kernel/perf_event_paranoid")
                .ok()
                .and_then(|t| t.trim().parse().ok()),
            sys_admin: held.contains(CapabilitySet::SYS_ADMIN),
            bpf: held.contains(CapabilitySet::BPF),
            perfmon: held.contains(CapabilitySet::PERFMON),
            reads_all: rustix::process::geteuid().is_root()
                || held.intersects(CapabilitySet::DAC_READ_SEARCH | CapabilitySet::DAC_OVERRIDE),
            user_namespace: read_text(host, "/proc/self/uid_map").is_ok_and(|map| !maps_all_users(&map)),
            memlock_free: getrlimit(Resource::Memlock).current.is_none(),
            lockdown: read_text(host, "/sys/kernel/security/lockdown").ok().and_then(|t| parse_lockdown(&t)),
        }
    }

    /// What a tracepoint of tracefs wants besides a mount, each a piece of advice: all of it, so that nobody has to
    /// come back for the rest.
    pub fn besides_tracefs(&self) -> Vec<String> {
        let folder = (!self.reads_all)
            .then(|| "give the agent CAP_DAC_READ_SEARCH (the folder is open to root only)".to_owned());
        let programs = self.missing().map(|missing| format!("give the agent {missing}"));
        let events = self
            .paranoid
            .filter(|level| *level >= 3 && !self.sys_admin)
            .map(|level| format!("run `sysctl kernel.perf_event_paranoid=2` (it is {level})"));
        folder.into_iter().chain(programs).chain(events).collect()
    }

    /// Whether every mode is refused this way until a capability is given.
    pub fn refuses_all(&self, failure: &Failure) -> bool {
        self.missing().is_some() && matches!(errno(failure), Some(Errno::PERM | Errno::ACCESS))
    }

    /// Capabilities that loading programs wants and that are missing.
    fn missing(&self) -> Option<&'static str> {
        match (self.sys_admin, self.bpf, self.perfmon) {
            (true, ..) | (_, true, true) => None,
            (_, false, true) => Some("CAP_BPF"),
            (_, true, false) => Some("CAP_PERFMON"),
            (_, false, false) => Some("CAP_BPF and CAP_PERFMON"),
        }
    }
}

/// `none [integrity] confidentiality`: the word in brackets, unless it is `none`.
fn parse_lockdown(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    let (word, _) = rest.split_once(']')?;
    (word != "none").then(|| word.to_owned())
}

/// Why it failed and what to do, each a sentence without a full stop.
pub fn explain(failure: &Failure, around: &Circumstances) -> (String, String) {
    (why(failure, around), remedy(failure, around))
}

fn why(failure: &Failure, around: &Circumstances) -> String {
    let refused = matches!(errno(failure), Some(Errno::PERM | Errno::ACCESS));
    if let (true, Step::Map(_) | Step::Program(_), Some(missing)) = (refused, failure.step, around.missing())
    {
        return format!("the kernel allows no BPF without {missing}");
    }
    let what = match failure.step {
        Step::Map(_) => "the kernel refused a BPF map",
        Step::Program(_) => "the kernel refused the BPF program",
        Step::Buffer => "the perf buffer could not be opened",
        Step::OpenTracepoint => "the tracepoint could not be opened as a perf event",
        Step::Attach => "the BPF program could not be attached to the tracepoint",
        Step::Iterate => "the BPF iterator could not be run",
        Step::Cpus => "/sys/devices/system/cpu/online could not be read",
        Step::Object => "the built-in BPF object could not be read",
    };
    // Names of our own are for those who mend the agent: where the verifier speaks, or it is our fault.
    match (text::clean(failure.verifier.trim(), 200).as_str(), failure.step) {
        ("", _) => format!("{what}: {}", failure.error),
        (words, Step::Program(name)) => format!("{what} {name}: {} (verifier: {words})", failure.error),
        (words, _) => format!("{what}: {} (verifier: {words})", failure.error),
    }
}

fn errno(failure: &Failure) -> Option<Errno> {
    failure.error.raw_os_error().map(Errno::from_raw_os_error)
}

/// Why perf events are refused, in few words.
pub fn refusal(failure: &Failure, around: &Circumstances) -> String {
    match around.paranoid {
        Some(level @ 3..) if !around.sys_admin => {
            format!("kernel.perf_event_paranoid is {level} and CAP_SYS_ADMIN is not held")
        }
        _ => failure.error.to_string(),
    }
}

fn remedy(failure: &Failure, around: &Circumstances) -> String {
    match (failure.step, errno(failure)) {
        (Step::Object, _) => "this is a fault of the agent: please report it".to_owned(),
        (_, Some(Errno::PERM | Errno::ACCESS)) if around.user_namespace => {
            "run the agent outside of a user namespace, where its capabilities count: not in a rootless container, \
             with PrivateUsers=no in a unit"
                .to_owned()
        }
        (Step::Map(_), Some(Errno::PERM)) if around.missing().is_none() && !around.memlock_free => {
            "kernels before 5.11 count BPF maps as locked memory: set LimitMEMLOCK=infinity in the unit"
                .to_owned()
        }
        (Step::Map(_), Some(Errno::NOMEM | Errno::AGAIN)) => {
            "the memory limit of the agent's unit or the host leaves no room: raise MemoryMax".to_owned()
        }
        (_, Some(Errno::PERM | Errno::ACCESS)) => permission(failure, around),
        (_, Some(Errno::NOSYS)) => "this kernel is built without BPF or perf events".to_owned(),
        (Step::Program(_), Some(Errno::INVAL)) => {
            "this kernel has no BPF for tracepoints (CONFIG_BPF_EVENTS), or is older than 4.18".to_owned()
        }
        (Step::OpenTracepoint, Some(Errno::INVAL | Errno::NOENT)) => lockdown(around).unwrap_or_else(|| {
            "the kernel does not give this tracepoint to perf (CONFIG_PERF_EVENTS)".to_owned()
        }),
        (_, Some(Errno::MFILE | Errno::NFILE)) => "raise LimitNOFILE in the unit".to_owned(),
        (Step::Cpus, _) => "mount sysfs at /sys (in a container, the host's)".to_owned(),
        _ => "nothing that is known of: please report it with `uname -r` and these words".to_owned(),
    }
}

fn permission(failure: &Failure, around: &Circumstances) -> String {
    let by_perf = matches!(failure.step, Step::Buffer | Step::OpenTracepoint);
    if let (true, false, Some(level @ 3..)) = (by_perf, around.sys_admin, around.paranoid) {
        return format!(
            "kernel.perf_event_paranoid is {level}, as on Debian and Ubuntu: run `sysctl kernel.perf_event_paranoid=2` \
             (and put it into /etc/sysctl.d), or give the agent CAP_SYS_ADMIN"
        );
    }
    if let Some(missing) = around.missing() {
        return format!("give the agent {missing} (kernel 5.8 or newer), or CAP_SYS_ADMIN on an older one");
    }
    lockdown(around).unwrap_or_else(|| {
        "the capabilities are there, so a seccomp filter, a security module or a container refuses it: \
         allow `bpf` and `perf_event_open` (in a unit: SystemCallFilter=bpf perf_event_open)"
            .to_owned()
    })
}

fn lockdown(around: &Circumstances) -> Option<String> {
    let mode = around.lockdown.as_deref().filter(|mode| *mode == "confidentiality")?;
    Some(format!("the kernel is in lockdown ({mode}), which forbids it: boot without, if that is acceptable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Circumstances = Circumstances {
        paranoid: Some(2),
        sys_admin: true,
        bpf: true,
        perfmon: true,
        reads_all: true,
        user_namespace: false,
        memlock_free: false,
        lockdown: None,
    };
    const CAPS: Circumstances = Circumstances { sys_admin: false, ..ROOT };

    fn check(step: Step, errno: Errno, around: &Circumstances, why: &str, remedy: &str) {
        let failure = Failure::at(step)(errno);
        let (said_why, said_remedy) = explain(&failure, around);
        assert!(said_why.contains(why), "{step:?} {errno:?}: {said_why}");
        assert!(said_remedy.contains(remedy), "{step:?} {errno:?} {around:?}: {said_remedy}");
    }

    #[test]
    fn each_circumstance_has_its_own_remedy() {
        let debian = Circumstances { paranoid: Some(3), ..CAPS };
        let nobody = Circumstances { bpf: false, perfmon: false, ..CAPS };
        let half = Circumstances { perfmon: false, ..CAPS };
        let locked = Circumstances { lockdown: Some("confidentiality".into()), ..ROOT };
        let inside = Circumstances { user_namespace: true, ..ROOT };
        let free = Circumstances { memlock_free: true, ..CAPS };
        let map = Step::Map("HIST");
        let program = Step::Program("oom_kill");
        check(Step::OpenTracepoint, Errno::ACCESS, &debian, "tracepoint", "kernel.perf_event_paranoid=2");
        check(Step::Buffer, Errno::ACCESS, &debian, "perf buffer", "kernel.perf_event_paranoid is 3");
        check(program, Errno::PERM, &debian, "BPF program: Operation not permitted", "seccomp");
        check(map, Errno::PERM, &nobody, "no BPF without CAP_BPF and CAP_PERFMON", "CAP_BPF and CAP_PERFMON");
        check(program, Errno::PERM, &half, "no BPF without CAP_PERFMON", "give the agent CAP_PERFMON (");
        check(map, Errno::PERM, &CAPS, "BPF map: Op", "LimitMEMLOCK=infinity");
        check(map, Errno::PERM, &free, "BPF map: Op", "seccomp");
        check(map, Errno::PERM, &inside, "BPF map: Op", "outside of a user namespace");
        check(Step::Buffer, Errno::ACCESS, &inside, "perf buffer", "PrivateUsers=no");
        check(map, Errno::NOMEM, &ROOT, "BPF map: Cannot allocate", "MemoryMax");
        check(program, Errno::INVAL, &ROOT, "Invalid argument", "CONFIG_BPF_EVENTS");
        check(Step::Buffer, Errno::NOSYS, &ROOT, "perf buffer", "without BPF");
        check(Step::OpenTracepoint, Errno::INVAL, &locked, "tracepoint", "lockdown (confidentiality)");
        check(Step::OpenTracepoint, Errno::INVAL, &ROOT, "tracepoint", "CONFIG_PERF_EVENTS");
        check(Step::Attach, Errno::ACCESS, &ROOT, "attached", "seccomp");
        check(Step::Buffer, Errno::MFILE, &ROOT, "perf buffer", "LimitNOFILE");
        check(Step::Attach, Errno::EXIST, &ROOT, "attached", "report it with `uname -r`");
        check(Step::Cpus, Errno::NOENT, &ROOT, "cpu/online", "sysfs");
        check(Step::Cpus, Errno::MFILE, &ROOT, "cpu/online", "LimitNOFILE");
        check(Step::Object, Errno::INVAL, &ROOT, "object", "report");
    }

    #[test]
    fn a_tracepoint_wants_all_of_it_at_once() {
        let check = |around: &Circumstances, expect: &[&str]| assert_eq!(around.besides_tracefs(), expect);
        let read = "give the agent CAP_DAC_READ_SEARCH (the folder is open to root only)";
        check(&ROOT, &[]);
        check(&CAPS, &[]);
        check(&Circumstances { reads_all: false, ..CAPS }, &[read]);
        let half = Circumstances { perfmon: false, reads_all: false, paranoid: Some(3), ..CAPS };
        let sysctl = "run `sysctl kernel.perf_event_paranoid=2` (it is 3)";
        check(&half, &[read, "give the agent CAP_PERFMON", sysctl]);
        let refused = |around: &Circumstances, errno| {
            around.refuses_all(&Failure::at(Step::Program("oom_kill"))(errno))
        };
        assert!(refused(&half, Errno::PERM) && !refused(&half, Errno::INVAL) && !refused(&CAPS, Errno::PERM));
    }

    #[test]
    fn the_verifiers_words_are_quoted_and_made_harmless() {
        let failure =
            Failure { verifier: "bad\x1b[31m load\n".into(), ..Failure::at(Step::Attach)(Errno::ACCESS) };
        let (why, _) = explain(&failure, &ROOT);
        assert!(why.ends_with("(verifier: bad?[31m load)"), "{why}");
    }

    #[test]
    fn lockdown_is_the_word_in_brackets() {
        for (text, expect) in [
            ("[none] integrity confidentiality\n", None),
            ("none [integrity] confidentiality\n", Some("integrity")),
            ("none integrity [confidentiality]\n", Some("confidentiality")),
            ("", None),
            ("[", None),
            ("]none[", None),
        ] {
            assert_eq!(parse_lockdown(text).as_deref(), expect, "{text:?}");
        }
    }
}
