//! What is under deploy/ works: the unit is clean, the example configuration is accepted, installing and
//! removing can be repeated and keep what is the user's.
#![expect(clippy::disallowed_methods, reason = "runs scripts and looks at the files they leave")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn words(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// Settings of the unit, comments left out.
fn settings(unit: &str) -> Vec<(&str, &str)> {
    unit.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once('=')).collect()
}

/// What systemd says of the unit, changed by `change`, with the drop-in beside it; nothing if it is clean.
fn verify(change: impl Fn(String) -> String) -> Option<String> {
    let dir = TempDir::new().expect("a folder");
    let unit = dir.path().join("sysops-agent.service");
    // `verify` wants the program to be there.
    let text = read(&deploy("sysops-agent.service")).replace("/usr/local/bin/sysops-agent ", "/bin/true ");
    fs::write(&unit, change(text)).expect("a copy of the unit");
    let drop_ins = dir.path().join("sysops-agent.service.d");
    fs::create_dir(&drop_ins).expect("a folder for the drop-in");
    fs::copy(deploy("kernel-before-5.8.conf"), drop_ins.join("kernel.conf")).expect("a copy of the drop-in");
    match Command::new("systemd-analyze").arg("verify").arg(&unit).output() {
        Ok(out) => Some(words(&out)),
        Err(e) => {
            assert!(std::env::var_os("CI").is_none(), "systemd-analyze cannot be run: {e}");
            println!("SKIPPED: systemd-analyze cannot be run: {e}");
            None
        }
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let Some(said) = verify(|unit| unit) else { return };
    assert_eq!(said, "");
    let said = verify(|unit| unit.replace("Restart=", "Restrat=")).expect("it just ran");
    assert!(said.contains("Restrat"), "a slip of the pen is seen: {said:?}");
}

#[test]
fn the_unit_leaves_ebpf_and_the_kernel_log_alone() {
    let unit = read(&deploy("sysops-agent.service"));
    let settings = settings(&unit);
    for off in [
        "DeviceAllow",
        "DevicePolicy",
        "PrivateDevices",
        "PrivateNetwork",
        "PrivateUsers",
        "ProcSubset",
        "ProtectClock",
        "ProtectKernelLogs",
        "ProtectProc",
    ] {
        assert!(settings.iter().all(|(name, _)| *name != off), "{off} must stay off");
    }
    for (name, value) in [
        ("Type", "notify"),
        ("Restart", "always"),
        ("RestartSec", "10"),
        ("User", "sysops-agent"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("LimitMEMLOCK", "infinity"),
        ("SupplementaryGroups", "video"),
        ("SystemCallFilter", "@system-service bpf perf_event_open adjtimex"),
    ] {
        assert!(settings.contains(&(name, value)), "{name}={value} is missing");
    }
    let of = |name| settings.iter().find(|s| s.0 == name).map(|s| s.1);
    assert_eq!(of("AmbientCapabilities"), of("CapabilityBoundingSet"));
}

#[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
fn validate(config: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sysops-agent"))
        .arg("--config")
        .arg(config)
        .arg("--validate")
        .env("HOOK_TOKEN", "t0ken")
        .env("SLACK_WEBHOOK", "https://hooks.example.com/services/x")
        .output()
        .expect("the agent runs")
}

/// It sends alerts over https, which a build without TLS refuses.
#[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
#[test]
fn the_example_configuration_is_accepted_also_with_its_comments_switched_on() {
    let example = read(&deploy("config.example.toml"));
    let switch_on = |line: &str| match line.strip_prefix("# ") {
        Some(key) if key.starts_with('[') || key.split_once(" = ").is_some_and(|(k, _)| !k.contains(' ')) => {
            key.to_owned()
        }
        _ => line.to_owned(),
    };
    let all: String = example.lines().map(|l| switch_on(l) + "\n").collect();
    assert!(all.contains("\n[[alerting.rules]]\n") && all.contains("\nheaders = "), "{all}");
    let dir = TempDir::new().expect("a folder");
    for text in [&example, &all] {
        let file = dir.path().join("config.toml");
        fs::write(&file, text).expect("a configuration");
        let out = validate(&file);
        assert!(out.status.success(), "{}\n{text}", words(&out));
    }
}

/// Runs a script of deploy/ so that it only touches `dest`.
fn script(name: &str, dest: &Path, args: &[&str]) -> Output {
    Command::new("sh").arg(deploy(name)).args(args).env("DESTDIR", dest).output().expect("sh runs")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o777
}

#[test]
fn installing_again_upgrades_and_keeps_the_configuration() {
    let dest = TempDir::new().expect("a folder");
    let at = |path: &str| dest.path().join(path);
    let binary = at("build");
    let (config, installed) = (at("etc/sysops-agent/config.toml"), at("usr/local/bin/sysops-agent"));
    let install = |content: &str| {
        fs::write(&binary, content).expect("something to install");
        let path = binary.to_str().expect("a temporary path is text");
        let out = script("install.sh", dest.path(), &["--binary", path]);
        assert!(out.status.success(), "{}", words(&out));
    };

    install("one");
    assert_eq!(read(&config), read(&deploy("config.example.toml")));
    assert_eq!((mode(&config), mode(&installed)), (0o600, 0o755));
    assert!(at("etc/systemd/system/sysops-agent.service").is_file());
    assert!(!at("etc/sysctl.d").exists(), "sysctls change only when asked for");

    fs::write(&config, "# mine\n").expect("the user edits");
    install("two");
    assert_eq!((read(&installed).as_str(), read(&config).as_str()), ("two", "# mine\n"));

    for _ in 0..2 {
        let out = script("uninstall.sh", dest.path(), &[]);
        assert!(out.status.success(), "{}", words(&out));
        assert!(!installed.exists() && !at("etc/systemd/system/sysops-agent.service").exists());
        assert_eq!(read(&config), "# mine\n");
    }
    assert!(script("uninstall.sh", dest.path(), &["--purge"]).status.success());
    assert!(!at("etc/sysops-agent").exists());
}

#[test]
fn the_sysctl_comes_and_goes() {
    let dest = TempDir::new().expect("a folder");
    let binary = deploy("install.sh");
    let path = binary.to_str().expect("a path of text");
    let file = dest.path().join("etc/sysctl.d/99-sysops-agent.conf");
    assert!(script("install.sh", dest.path(), &["--sysctl", "--binary", path]).status.success());
    assert!(read(&file).contains("\nkernel.perf_event_paranoid = 2\n"));
    assert!(script("uninstall.sh", dest.path(), &[]).status.success());
    assert!(!file.exists());
}

#[test]
fn wrong_use_of_the_scripts_is_told() {
    let dest = TempDir::new().expect("a folder");
    for (name, args, code, expect) in [
        ("install.sh", &["--binary", "/nowhere/agent"][..], 1, "/nowhere/agent does not exist"),
        ("install.sh", &["--binary"], 2, "--binary needs a file"),
        ("install.sh", &["--force"], 2, "usage:"),
        ("uninstall.sh", &["--force"], 2, "usage:"),
    ] {
        let out = script(name, dest.path(), args);
        assert_eq!(out.status.code(), Some(code), "{name} {args:?}: {}", words(&out));
        assert!(words(&out).contains(expect), "{name} {args:?}: {}", words(&out));
    }
    assert_eq!(fs::read_dir(dest.path()).expect("the folder").count(), 0, "nothing was written");
}
