//! Programs that tests need and a small system may lack.

use crate::sh;

/// Programs used by the tests, and the Debian package each comes in.
pub const FOR_TESTS: &[(&str, &str)] = &[
    ("mke2fs", "e2fsprogs"),
    ("mount", "mount"),
    ("losetup", "mount"),
    ("fsfreeze", "util-linux"),
    ("setpriv", "util-linux"),
    ("capsh", "libcap2-bin"),
    ("systemd-analyze", "systemd"),
    ("bpftrace", "bpftrace"),
    ("podman", "podman"),
    ("redis-server", "redis-server"),
    ("aiosmtpd", "python3-aiosmtpd"),
    ("prometheus_client", "python3-prometheus-client"),
    ("prometheus-alertmanager", "prometheus-alertmanager"),
    ("nats-server", "nats-server"),
    ("logrotate", "logrotate"),
    ("openssl", "openssl"),
    ("free", "procps"),
    ("ss", "iproute2"),
    ("iostat", "sysstat"),
    ("prometheus-node-exporter", "prometheus-node-exporter"),
    ("promtool", "prometheus"),
];

/// What pictures of mails need.
pub const FOR_PICTURES: &[(&str, &str)] = &[("chromium", "chromium")];

/// What the static build needs.
pub const FOR_MUSL: &[(&str, &str)] = &[("musl-gcc", "musl-tools")];

/// What the virtual machines need.
pub const FOR_VM: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("iasl", "acpica-tools"),
    ("mke2fs", "e2fsprogs"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
    ("xz", "xz-utils"),
    ("mmdebstrap", "mmdebstrap"),
];

/// What a shell in one needs.
pub const FOR_VM_SHELL: &[(&str, &str)] = &[("busybox", "busybox-static")];

/// Installs what is missing where that is possible (root, apt-get), and tells what is still missing then.
pub fn ensure(wanted: &[(&str, &str)]) -> Vec<String> {
    let missing = missing(wanted);
    if missing.is_empty() || !sh::is_root() || !sh::has("apt-get") {
        return describe(&missing);
    }
    let mut packages: Vec<&str> = missing.iter().map(|&(_, package)| package).collect();
    packages.dedup();
    if let Err(why) = install(&packages) {
        eprintln!("{why}");
    }
    describe(&self::missing(wanted))
}

fn missing<'a>(wanted: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    // Debian's place of modules of Python, which are no programs.
    let modules = std::path::Path::new("/usr/lib/python3/dist-packages");
    let is_there = |name: &str| sh::has(name) || modules.join(name).is_dir();
    wanted.iter().copied().filter(|(name, _)| !is_there(name)).collect()
}

fn install(packages: &[&str]) -> Result<(), String> {
    // apt-get does not wait for another one.
    let path = std::env::temp_dir().join("sysops-agent-packages.lock");
    let _lock = std::fs::File::create(path).and_then(|file| file.lock().map(|()| file));
    sh::run(&mut sh::command("apt-get", &["update", "--quiet"]))?;
    let mut command = sh::command("apt-get", &["install", "--quiet", "--yes", "--no-install-recommends"]);
    sh::run(command.args(packages).env("DEBIAN_FRONTEND", "noninteractive"))
}

fn describe(missing: &[(&str, &str)]) -> Vec<String> {
    missing
        .iter()
        .map(|(program, package)| format!("{program} is missing: apt-get install {package}"))
        .collect()
}
