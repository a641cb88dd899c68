//! `cargo xtask ci`: every gate a change must pass.

use std::time::Instant;

use crate::{build_ebpf, deps, dist, docs, sh, test, vm};

/// One gate: a name for the table at the end, and what it does.
type Gate = (&'static str, fn() -> Result<(), String>);

/// Cheap ones first.
const GATES: &[Gate] = &[
    ("format", format),
    ("format (eBPF)", format_ebpf),
    ("format (fuzz targets)", format_fuzz),
    ("lints, default features", || clippy(&["--workspace", "--lib", "--bins"])),
    ("lints, no features", || {
        clippy(&["--package", "sysops-agent", "--no-default-features", "--all-targets"])
    }),
    // What all features have, the default ones have too: their tests and examples are looked at here.
    ("lints, all features", || clippy(&["--workspace", "--features", sh::ALL_FEATURES, "--all-targets"])),
    ("lints (eBPF)", clippy_ebpf),
    ("API documentation", rustdoc),
    ("dependencies", deps::run),
    ("eBPF object is its source", || build_ebpf::run(true)),
    ("reference pages are the code", || docs::run(true)),
    ("static build", dist::gate),
    // With the binary that the gate before has built.
    ("kernels", vm::gate),
];

/// Passes all gates, then the tests; says at the end which failed.
pub fn run(skip_tests: bool) -> Result<(), String> {
    let tests: &[Gate] = if skip_tests { &[] } else { &[("tests", || test::run(false))] };
    let results: Vec<_> = GATES.iter().chain(tests).map(pass).collect();
    println!();
    for (name, secs, result) in &results {
        println!("{:>6} s  {}  {name}", secs, if result.is_ok() { "ok    " } else { "FAILED" });
    }
    let failed: Vec<_> =
        results.iter().filter_map(|(name, _, r)| Some(format!("{name}: {}", r.as_ref().err()?))).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("{} failed\n{}", failed.len(), failed.join("\n"))) }
}

fn pass(&(name, gate): &Gate) -> (&'static str, u64, Result<(), String>) {
    eprintln!("\n=== {name}");
    let start = Instant::now();
    let result = gate();
    if let Err(why) = &result {
        eprintln!("FAILED: {why}");
    }
    (name, start.elapsed().as_secs(), result)
}

fn format() -> Result<(), String> {
    sh::run(&mut sh::cargo(&["fmt", "--all", "--check"]))
        .map_err(|e| format!("{e}; to mend it: cargo fmt --all"))
}

/// The fuzz crate stands outside the workspace too; what it checks is linted as a part of an ordinary test.
fn format_fuzz() -> Result<(), String> {
    sh::run(sh::cargo(&["fmt", "--check"]).current_dir(sh::root().join("fuzz")))
}

fn clippy(what: &[&str]) -> Result<(), String> {
    sh::run(sh::cargo(&["clippy", "--locked"]).args(what).args(["--", "--deny", "warnings"]))
}

fn rustdoc() -> Result<(), String> {
    let mut command = sh::cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    sh::run(command.env("RUSTDOCFLAGS", "--deny warnings"))
}

/// The eBPF crate stands outside the workspace; a tree without it has nothing to check.
fn has_ebpf() -> bool {
    let there = sh::root().join("agent-ebpf/Cargo.toml").is_file();
    if !there {
        println!("there is no agent-ebpf crate in this tree: nothing to check");
    }
    there
}

fn format_ebpf() -> Result<(), String> {
    if !has_ebpf() {
        return Ok(());
    }
    sh::run(sh::cargo(&["fmt", "--check"]).current_dir(sh::root().join("agent-ebpf")))
}

fn clippy_ebpf() -> Result<(), String> {
    if !has_ebpf() {
        return Ok(());
    }
    let mut command = sh::cargo(&["clippy", "--locked", "--release", "-Z", "build-std=core"]);
    command.args(["--target", "bpfel-unknown-none", "--", "--deny", "warnings"]);
    // The pinned stable compiler with the bootstrap switch: `-Z build-std` wants that or a nightly.
    command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", sh::target_dir().join("ebpf-lints"));
    sh::run(command.current_dir(sh::root().join("agent-ebpf")))
}
