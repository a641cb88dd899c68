//! `cargo xtask compare`: our readings beside those of other programs, and docs/COMPARISON.md.

use std::path::Path;

use crate::{packages, sh};

/// Runs the comparison and writes the page, if all agree.
pub fn run() -> Result<(), String> {
    let missing = packages::ensure(packages::FOR_TESTS);
    for why in &missing {
        eprintln!("{why}");
    }
    if !sh::is_root() {
        return Err("it writes to a loop device, which needs root: sudo -E cargo xtask compare".into());
    }
    let mut command = sh::cargo(&["test", "--package", "sysops-agent", "--test", "compare"]);
    // NVML beside `nvidia-smi`, instead of `nvidia-smi` beside itself.
    if Path::new("/proc/driver/nvidia/version").exists() {
        command.args(["--features", "gpu"]);
    }
    command.args(["--", "--ignored", "--nocapture"]);
    sh::run(command.env("COMPARISON_PAGE", sh::root().join("docs/COMPARISON.md")))
}
