//! `cargo xtask docs`: reference pages out of the agent's own tables.

use std::fs;
use std::path::{Path, PathBuf};

use crate::sh;

/// Page under docs/ and what `sysops-agent docs …` calls it.
const PAGES: &[(&str, &str)] =
    &[("METRICS.md", "metrics"), ("CONFIGURATION.md", "configuration"), ("LOG-RULES.md", "log-rules")];

/// Writes the pages; with `check` compares instead.
pub fn run(check: bool) -> Result<(), String> {
    let (agent, mut stale) = (agent()?, Vec::new());
    for &(file, topic) in PAGES {
        let fresh = page(&agent, topic)?;
        let path = sh::root().join("docs").join(file);
        let old = fs::read_to_string(&path).unwrap_or_default();
        if old == fresh {
            println!("docs/{file} is up to date");
        } else if check {
            stale.push(difference(file, &old, &fresh));
        } else {
            fs::write(&path, fresh).map_err(|e| format!("docs/{file} cannot be written: {e}"))?;
            println!("docs/{file} written");
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("{}\nto mend it: cargo xtask docs", stale.join("\n")))
}

/// The agent as the tests have it: together with one of them, cargo takes what is built already. By itself it is
/// built once more, with fewer features of what it stands on.
fn agent() -> Result<PathBuf, String> {
    let mut build = sh::cargo(&["build", "--quiet", "--package", "sysops-agent"]);
    let what = ["--bin", "sysops-agent", "--test", "layering"];
    sh::run(build.args(["--features", sh::ALL_FEATURES]).args(what))?;
    Ok(sh::target_dir().join("debug/sysops-agent"))
}

fn page(agent: &Path, topic: &str) -> Result<String, String> {
    let text = sh::output(&mut sh::command(&agent.to_string_lossy(), &["docs", topic]))?;
    if text.trim().is_empty() {
        return Err(format!("`sysops-agent docs {topic}` printed nothing"));
    }
    Ok(text)
}

/// Names the first line that differs: enough to see which change was forgotten.
pub(crate) fn difference(file: &str, old: &str, fresh: &str) -> String {
    let same = old.lines().zip(fresh.lines()).take_while(|(a, b)| a == b).count();
    let side = |text: &str| text.lines().nth(same).unwrap_or("(end of file)").to_owned();
    format!(
        "docs/{file} is stale at line {}:\n  committed: {}\n  the agent says: {}",
        same + 1,
        side(old),
        side(fresh)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_differing_line_is_named() {
        let check = |old, fresh, expect: &str| {
            let said = difference("X.md", old, fresh);
            assert!(said.contains(expect), "{said:?} lacks {expect:?}");
        };
        check("a\nb\n", "a\nc\n", "line 2:\n  committed: b\n  the agent says: c");
        check("", "a\n", "line 1:\n  committed: (end of file)\n  the agent says: a");
        check("a\nb\n", "a\n", "line 2:\n  committed: b\n  the agent says: (end of file)");
    }
}
