//! `cargo xtask capture`: this machine as a fixture.

use std::path::Path;

use crate::sh;

/// Writes it into a file, or into `captured.host` of a directory.
pub fn run(to: &Path, wait: u64, processes: usize) -> Result<(), String> {
    let to = std::path::absolute(to).map_err(|e| format!("{} is no path: {e}", to.display()))?;
    let file = if to.is_dir() { to.join("captured.host") } else { to };
    let mut command = sh::cargo(&["run", "--quiet", "--package", "sysops-agent", "--", "capture"]);
    command.arg(&file).args(["--wait", &wait.to_string(), "--processes", &processes.to_string()]);
    sh::run(&mut command)?;
    let bytes = std::fs::metadata(&file).map_or(0, |meta| meta.len());
    println!(
        "{} written, {bytes} bytes. Read it before you pass it on: names of programs, units and volumes are in it.",
        file.display()
    );
    Ok(())
}
