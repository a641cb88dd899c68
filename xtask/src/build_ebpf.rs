//! `cargo xtask build-ebpf [--check]`: builds the eBPF programs, byte for byte the same everywhere.
//!
//! The object is committed, so that `cargo build` needs neither rust-src nor a BPF linker. That is
//! only trustworthy while anybody can make the same bytes: everything that could change them is
//! fixed here (compiler, linker, flags, paths) and nothing is taken from the caller's environment.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Compiler the object is made with; `rust-toolchain.toml` names the same.
const TOOLCHAIN: &str = "1.95.0";
/// Newer ones want a newer compiler.
const LINKER_VERSION: &str = "0.10.3";
const TARGET: &str = "bpfel-unknown-none";
/// Where the object is kept.
const OBJECT: &str = "agent/src/ebpf/sysops.bpf.o";

/// Builds the object and puts it in its place, or with `check` compares it with the one there.
pub(crate) fn run(check: bool) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask lies in no folder")?;
    let sysroot = toolchain()?;
    let linker = linker(root)?;
    let built = build(root, &sysroot, &linker)?;
    let fresh = read(&built)?;
    let kept = root.join(OBJECT);
    if !check {
        fs::write(&kept, &fresh).map_err(|e| format!("cannot write {}: {e}", kept.display()))?;
        println!("{OBJECT}: {} bytes", fresh.len());
        return Ok(());
    }
    if read(&kept)? != fresh {
        return Err(format!(
            "{OBJECT} is not what its source gives (built: {}). \
             Run `cargo xtask build-ebpf` and commit the object with the change of the source.",
            built.display()
        ));
    }
    println!("{OBJECT} is what its source gives");
    Ok(())
}

fn build(root: &Path, sysroot: &Path, linker: &Path) -> Result<PathBuf, String> {
    let target_dir = root.join("target/ebpf");
    let mut cargo = clean("rustup");
    cargo
        .args(["run", TOOLCHAIN, "cargo", "build", "--locked", "--release"])
        .args(["-Z", "build-std=core", "--target", TARGET])
        .current_dir(root.join("agent-ebpf"))
        // The one nightly feature in use is `-Z build-std`: the target has no prebuilt core.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", &target_dir)
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker)
        // Replaces any other source of flags, that of configuration files included.
        .env("CARGO_ENCODED_RUSTFLAGS", flags(root, sysroot)?.join("\x1f"));
    finish(&mut cargo, "building agent-ebpf")?;
    Ok(target_dir.join(TARGET).join("release/agent-ebpf"))
}

fn flags(root: &Path, sysroot: &Path) -> Result<Vec<String>, String> {
    let mut flags: Vec<String> = [
        // Instructions that kernels before 5.1 take; LLVM's default is v3.
        "-Ctarget-cpu=v2",
        // Copies and zeroes as plain loads and stores, never as calls of memcpy or memset.
        "-Clink-arg=--disable-expand-memcpy-in-order",
        "-Clink-arg=--disable-memory-builtins",
    ]
    .map(str::to_owned)
    .into();
    flags.push(remap(root, "/src"));
    flags.push(remap(sysroot, "/toolchain"));
    let registry = cargo_home()?.join("registry/src");
    for source in fs::read_dir(&registry).into_iter().flatten().flatten() {
        flags.push(remap(&source.path(), "/registry"));
    }
    Ok(flags)
}

fn remap(from: &Path, to: &str) -> String {
    format!("--remap-path-prefix={}={to}", from.display())
}

/// Makes sure of compiler and rust-src; the toolchain's folder.
fn toolchain() -> Result<PathBuf, String> {
    let mut rustc = clean("rustup");
    rustc.args(["run", "--install", TOOLCHAIN, "rustc", "--print", "sysroot"]);
    let sysroot = PathBuf::from(output(&mut rustc)?);
    if !sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists() {
        let mut add = clean("rustup");
        add.args(["component", "add", "rust-src", "--toolchain", TOOLCHAIN]);
        finish(&mut add, "installing rust-src")?;
    }
    Ok(sysroot)
}

/// Makes sure of the linker: the one in the path if it is the right one, else our own.
fn linker(root: &Path) -> Result<PathBuf, String> {
    let own = root.join(".tools/bin/bpf-linker");
    for candidate in [PathBuf::from("bpf-linker"), own.clone()] {
        let version = output(clean(&candidate).arg("--version"));
        if version.is_ok_and(|v| v == format!("bpf-linker {LINKER_VERSION}")) {
            return Ok(candidate);
        }
    }
    let mut install = clean("rustup");
    install
        // What works in it is LLVM, which comes built: a debug build of the rest links as fast, and is there sooner.
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .args(["run", TOOLCHAIN, "cargo", "install", "bpf-linker", "--locked", "--debug"])
        .args(["--version", LINKER_VERSION, "--root"])
        .arg(root.join(".tools"));
    finish(&mut install, "installing bpf-linker")?;
    Ok(own)
}

/// A command without the caller's settings for cargo and rustc.
fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let ours = text.starts_with("CARGO") || text.starts_with("RUST");
        let keep = ["CARGO_HOME", "RUSTUP_HOME"].contains(&&*text)
            || text.starts_with("CARGO_HTTP")
            || text.starts_with("CARGO_NET")
            || text.starts_with("CARGO_REGISTR")
            || text.starts_with("CARGO_SOURCE")
            || text.starts_with("RUSTUP_DIST");
        if ours && !keep {
            command.env_remove(name);
        }
    }
    command
}

fn cargo_home() -> Result<PathBuf, String> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::var_os("HOME").ok_or("neither CARGO_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cargo"))
}

fn finish(command: &mut Command, what: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what} failed: {status}")),
        Err(error) => Err(format!("{what} failed: {command:?} does not start: {error}")),
    }
}

fn output(command: &mut Command) -> Result<String, String> {
    let done = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{command:?} does not start: {error}"))?;
    if !done.status.success() {
        return Err(format!("{command:?} failed: {}", done.status));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
