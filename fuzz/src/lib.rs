//! What must hold for any bytes from outside: one function a parser, called by libFuzzer (`fuzz_targets/`) and, with
//! the committed `seeds/`, by an ordinary test. A property that does not hold is a panic.

#[cfg(feature = "ebpf")]
mod btf;
#[cfg(feature = "ebpf")]
mod ebpf;
mod gpu;
mod hangs;
mod history;
mod journal;
mod kernel_log;
mod machine;
mod pipe;
mod replayed;
mod settings;
mod stored;
mod symbols;
mod syslog;

/// A parser under test: takes any bytes and panics if what must hold does not.
pub type Target = fn(&[u8]);

/// All targets by name. Each has a file in `fuzz_targets` and seeds in `seeds`.
pub const TARGETS: &[(&str, Target)] = &[
    #[cfg(feature = "ebpf")]
    ("btf", btf::btf),
    ("cgroup_path", machine::cgroup_path),
    ("config", settings::config),
    ("disk_health", machine::disk_health),
    ("dstate", hangs::dstate),
    ("glob", settings::glob),
    ("gpu_smi", gpu::smi),
    ("history", history::history),
    ("journal", journal::entries),
    ("kallsyms", symbols::kallsyms),
    ("kmsg_log", kernel_log::log),
    ("kmsg_record", kernel_log::record),
    ("mounts", machine::mounts),
    ("numbers", machine::numbers),
    ("outbox", stored::outbox),
    ("pattern", settings::pattern),
    ("position", stored::position),
    ("proc_files", machine::files),
    ("replay", replayed::file),
    ("retry_after", stored::retry_after),
    #[cfg(feature = "ebpf")]
    ("ring_record", ebpf::record),
    ("ship_places", stored::ship_places),
    ("smbios", machine::smbios),
    ("spool", stored::spool),
    ("syslog", syslog::lines),
    ("systemctl", journal::systemctl),
    ("template", settings::template),
    #[cfg(feature = "ebpf")]
    ("trace_format", ebpf::format),
];

/// Gives `data` to the target of this name.
///
/// # Panics
/// If there is no such target, or something that must hold does not.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    target(data);
}
