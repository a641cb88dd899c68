//! `cargo xtask fuzz`: libFuzzer against every parser of outside text.
//!
//! What it finds belongs, once mended, into `fuzz/seeds`: from then on the ordinary tests replay it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::{sh, tools};

/// Builds on the pinned toolchain.
const VERSION: &str = "0.13.1";
/// The switches of the compiler that it wants are those of a nightly.
const BOOTSTRAP: (&str, &str) = ("RUSTC_BOOTSTRAP", "1");
/// One input: seconds, MiB in all, bytes.
const LIMITS: [&str; 3] = ["-timeout=5", "-rss_limit_mb=1024", "-max_len=8192"];

/// Runs one target, or all of them one after the other, each for so long.
pub fn run(target: Option<&str>, each: Duration) -> Result<(), String> {
    let tool = tools::ensure("cargo-fuzz", VERSION)?;
    let all = targets()?;
    let chosen: Vec<&String> = all.iter().filter(|name| target.is_none_or(|t| t == *name)).collect();
    if chosen.is_empty() {
        return Err(format!("there is no target {}; there are {}", target.unwrap_or(""), all.join(", ")));
    }
    let found: Vec<String> = chosen.iter().filter_map(|name| one(&tool, name, each).err()).collect();
    if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
}

/// Names of the programs in `fuzz/fuzz_targets`.
fn targets() -> Result<Vec<String>, String> {
    let folder = sh::root().join("fuzz/fuzz_targets");
    let files = fs::read_dir(&folder).map_err(|e| format!("cannot list {}: {e}", folder.display()))?;
    let name = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut names: Vec<String> = files.flatten().filter_map(|file| name(&file.path())).collect();
    names.sort();
    Ok(names)
}

fn one(tool: &str, name: &str, each: Duration) -> Result<(), String> {
    let corpus = format!("fuzz/corpus/{name}");
    fs::create_dir_all(sh::root().join(&corpus)).map_err(|e| format!("cannot make {corpus}: {e}"))?;
    let seconds = format!("-max_total_time={}", each.as_secs());
    let mut command = sh::command(tool, &["fuzz", "run", "--fuzz-dir", "fuzz", "--sanitizer", "none", name]);
    command.args([&corpus, &format!("fuzz/seeds/{name}")]).arg("--").args(LIMITS);
    command.args([&seconds, "-print_final_stats=1"]).env(BOOTSTRAP.0, BOOTSTRAP.1);
    sh::run(&mut command).map_err(|why| {
        format!(
            "{name}: {why}. If an input was found, it lies in fuzz/artifacts/{name}: mend the parser and put the \
             input into fuzz/seeds/{name}, where `cargo test --test fuzz_seeds` replays it"
        )
    })
}

/// `90`, `90s`, `2m`, `1h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        other => return Err(format!("`{other}` is no unit: write 90s, 2m or 1h")),
    };
    let count: u32 =
        digits.parse().map_err(|_| format!("`{digits}` is not a number: write 90s, 2m or 1h"))?;
    Ok(Duration::from_secs(u64::from(count) * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, secs) in [("90", 90), ("90s", 90), ("2m", 120), ("1h", 3600)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(secs)), "{text}");
        }
        for text in ["", "s", "1d", "-1s", "1.5m", "99999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_target_is_known() {
        assert!(targets().unwrap_or_default().contains(&"kmsg_log".to_owned()));
    }
}
