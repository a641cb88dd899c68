//! Cargo's own additions, of the versions that this project was built with.

use std::path::PathBuf;

use crate::sh;

/// The program of a crate: that in `.tools` if it is there, else one on the PATH, else it is installed.
pub fn ensure(name: &str, version: &str) -> Result<String, String> {
    let own: PathBuf = sh::root().join(".tools/bin").join(name);
    if sh::has(name) && !own.is_file() {
        return Ok(name.into());
    }
    if !own.is_file() {
        // Built once and run for seconds: not worth the minutes that an optimised build takes.
        let install = ["install", name, "--version", version, "--locked", "--debug", "--root", ".tools"];
        sh::run(sh::cargo(&install).env("CARGO_PROFILE_DEV_DEBUG", "0"))?;
    }
    Ok(own.to_string_lossy().into_owned())
}
