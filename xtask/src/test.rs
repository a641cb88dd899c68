//! `cargo xtask test`: every test this machine can run, and a word about the others.

use crate::failures::Failures;
use crate::{packages, sh, together};

/// How a live test says that it could not run: a line of its output that starts so.
const SKIPPED: &str = "SKIPPED: ";

/// Programs of tests that look at what is different without features; the others, and the library's own, would
/// tell the same once more.
const BARE: [&str; 4] = ["bare", "e2e_cli", "e2e_control", "e2e_service"];

/// Runs the tests. `quick` leaves out the second build and the tests that need root.
pub fn run(quick: bool) -> Result<(), String> {
    let mut skipped = packages::ensure(packages::FOR_TESTS);
    let all = ["--workspace", "--features", sh::ALL_FEATURES];
    // Everything runs, so that one report tells everything.
    let mut results = vec![together::run(&all), documented(&all)];
    if quick {
        skipped.push("--quick: the build without features and the live tests".into());
    } else {
        results.push(bare());
        results.push(live(&mut skipped));
    }
    let failed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    let reported = report(&skipped);
    if failed.is_empty() { reported } else { Err(failed.join("\n")) }
}

/// Examples in the documentation.
fn documented(all: &[&str]) -> Result<(), String> {
    sh::run(sh::cargo(&["test", "--doc", "--no-fail-fast"]).args(all))
}

/// The build without features.
fn bare() -> Result<(), String> {
    let mut args = vec!["--package", "sysops-agent", "--no-default-features", "--bins"];
    args.extend(BARE.iter().flat_map(|name| ["--test", name]));
    together::run(&args)
}

/// Tests marked `#[ignore = "live: …"]` cause real kernel events. They change sysctls, mounts and control
/// groups of the machine, so they run one after the other.
fn live(skipped: &mut Vec<String>) -> Result<(), String> {
    if !sh::is_root() {
        skipped.push(
            "live tests (real OOM kill, hung task, slow disk) need root: sudo -E cargo xtask test".into(),
        );
        return Ok(());
    }
    let mut command = sh::cargo(&["test", "--package", "sysops-agent", "--features", sh::ALL_FEATURES]);
    command.args(["--no-fail-fast", "--tests", "--", "--ignored", "--test-threads=1", "--nocapture"]);
    let mut failures = Failures::default();
    let done = sh::run_watched(&mut command, |line| {
        failures.read(line);
        // `--nocapture` may put the marker behind the `test name ... ` the harness has begun.
        if let Some((_, why)) = line.split_once(SKIPPED) {
            skipped.push(why.to_owned());
        }
    });
    done.map_err(|why| {
        [why, "failed live tests:".into()].into_iter().chain(failures.names).collect::<Vec<_>>().join("\n  ")
    })
}

fn report(skipped: &[String]) -> Result<(), String> {
    if skipped.is_empty() {
        println!("\nAll tests ran; nothing was skipped.");
        return Ok(());
    }
    println!("\nNot tested here:");
    for why in skipped {
        println!("  - {why}");
    }
    if sh::in_ci() {
        return Err("CI is set: a skipped test counts as a failed one (see the list above)".into());
    }
    Ok(())
}
