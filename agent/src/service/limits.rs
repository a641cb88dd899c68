//! Limits of the agent's own process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Most open files the agent asks for: the kept ones of processes and control groups.
const OPEN_FILES: u64 = 16_384;

/// Services start with a soft limit of 1024, for the sake of programs that use `select`.
pub(super) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Some(current) = limit.current.filter(|&current| current < OPEN_FILES) {
        let wanted = limit.maximum.unwrap_or(OPEN_FILES).clamp(current, OPEN_FILES);
        // Without it fewer files stay open.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
}

/// A core dump would hold every secret of the configuration. A limit of one byte keeps the kernel from writing a file and
/// from starting the program that takes dumps (`do_coredump`, fs/coredump.c); 0 would start that.
pub(super) fn no_core_dumps() {
    let maximum = getrlimit(Resource::Core).maximum;
    // One that is lower already cannot be raised.
    let _ =
        setrlimit(Resource::Core, Rlimit { current: Some(maximum.map_or(1, |most| most.min(1))), maximum });
}
