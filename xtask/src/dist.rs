//! `cargo xtask dist`: the one static binary that `scp` installs.

use std::env::consts::ARCH;
use std::fs;
use std::path::PathBuf;

use crate::{packages, sh};

/// Builds it with everything on, proves that it is static and puts it into dist/.
pub fn run() -> Result<(), String> {
    let binary = build("release")?;
    let name = format!("dist/sysops-agent-{ARCH}");
    let write = |e| format!("{name} cannot be written: {e}");
    fs::create_dir_all(sh::root().join("dist")).map_err(write)?;
    let bytes = fs::copy(&binary, sh::root().join(&name)).map_err(write)?;
    println!("{name}: static, {:.1} MiB", bytes as f64 / f64::from(1 << 20));
    Ok(())
}

/// As a gate of CI: without link-time optimisation, which takes longer than all the rest.
pub fn gate() -> Result<(), String> {
    build(GATE).map(drop)
}

/// The profile of the gate, and of the programs that it boots kernels with.
pub const GATE: &str = "gate";

/// The target of it.
pub fn target() -> String {
    format!("{ARCH}-unknown-linux-musl")
}

/// Where cargo puts what it builds for that target.
pub fn folder(profile: &str) -> PathBuf {
    sh::target_dir().join(target()).join(if profile == "dev" { "debug" } else { profile })
}

/// Builds it and proves that it is static.
pub fn build(profile: &str) -> Result<PathBuf, String> {
    if let Some(missing) = packages::ensure(packages::FOR_MUSL).into_iter().next() {
        return Err(missing);
    }
    let target = target();
    sh::run(&mut sh::command("rustup", &["target", "add", &target]))?;
    let mut build = sh::cargo(&["build", "--profile", profile, "--package", "sysops-agent"]);
    sh::run(build.args(["--target", &target, "--features", sh::ALL_FEATURES]))?;
    let binary = folder(profile).join("sysops-agent");
    let elf = fs::read(&binary).map_err(|e| format!("{} cannot be read: {e}", binary.display()))?;
    if interpreter(&elf)? {
        return Err(format!("{} asks for a dynamic loader: it is not static", binary.display()));
    }
    Ok(binary)
}

/// Whether a 64-bit little-endian ELF file has a `PT_INTERP` segment (elf(5)).
fn interpreter(elf: &[u8]) -> Result<bool, String> {
    const PT_INTERP: u64 = 3;
    let number = |at: u64, len: usize| -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let bytes = elf.get(at..at.checked_add(len)?)?;
        Some(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    };
    let look = || {
        let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        let mut found = false;
        for i in 0..count {
            found |= number(table.checked_add(i * size)?, 4)? == PT_INTERP;
        }
        Some(found)
    };
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return Err("the built file is no 64-bit little-endian ELF file".into());
    }
    look().ok_or_else(|| "the built ELF file is cut short".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_binary_has_a_loader_and_garbage_is_refused() {
        let own = std::env::current_exe().and_then(fs::read).expect("the running program");
        assert_eq!(interpreter(&own), Ok(cfg!(not(target_feature = "crt-static"))));
        assert!(interpreter(&own[..60]).is_err(), "cut inside the segment table's description");
        assert!(interpreter(b"#!/bin/sh\n").is_err());
        assert!(interpreter(b"").is_err());
    }
}
