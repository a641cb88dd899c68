//! Debian's package pool, through this machine's own apt: its mirror, its keys, its proxy, but lists and cache
//! of our own, so that the system's stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::sh;

/// Where the kernels of the matrix come from, oldest first.
const SUITES: &[&str] = &["bullseye", "bookworm", "trixie", "trixie-backports", "sid"];
/// Package lists are fetched again after this time.
const STALE: Duration = Duration::from_hours(12);

/// The pool.
#[derive(Debug)]
pub struct Pool {
    dir: PathBuf,
}

impl Pool {
    /// Fetches the package lists unless they are fresh.
    pub fn open(dir: &Path) -> Result<Self, String> {
        let pool = Self { dir: dir.to_owned() };
        let (stamp, settings) = (dir.join("fetched"), settings(dir));
        let age = fs::metadata(&stamp).and_then(|m| m.modified()).ok().and_then(|m| m.elapsed().ok());
        // Lists that other settings have brought are none of ours.
        let ours = fs::read_to_string(&stamp).is_ok_and(|with| with == settings);
        if ours && age.is_some_and(|age| age < STALE) {
            return Ok(pool);
        }
        for part in ["lists/partial", "cache/archives/partial", "debs"] {
            make(&dir.join(part))?;
        }
        let mirror = mirror()?;
        let lines: Vec<String> = SUITES.iter().map(|suite| format!("deb {mirror} {suite} main")).collect();
        let write = |name: &str, text: &str| {
            fs::write(dir.join(name), text).map_err(|e| format!("{}: {e}", dir.join(name).display()))
        };
        write("sources.list", &(lines.join("\n") + "\n"))?;
        write("apt.conf", &settings)?;
        // A suite that has left the mirror costs its kernels, which is told where they are missed.
        match sh::run(pool.apt("apt-get").args(["update", "--quiet=2"])) {
            Ok(()) => write("fetched", &settings)?,
            Err(why) => eprintln!("not all package lists could be fetched: {why}"),
        }
        Ok(pool)
    }

    /// Where its packages come from.
    pub fn mirror(&self) -> Result<String, String> {
        mirror()
    }

    fn apt(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        // Beside the machine's own configuration, with its proxies and keys.
        command.env("APT_CONFIG", self.dir.join("apt.conf"));
        command.current_dir(self.dir.join("debs")).stdin(Stdio::null());
        command
    }

    /// Names of all packages that match.
    pub fn names(&self, pattern: &str) -> Result<Vec<String>, String> {
        let text = sh::output(self.apt("apt-cache").args(["--names-only", "search", pattern]))?;
        Ok(text.lines().filter_map(|l| l.split(" - ").next()).map(|n| n.trim().to_owned()).collect())
    }

    /// Newest version of a package, in `suite` if one is named.
    pub fn version(&self, package: &str, suite: Option<&str>) -> Result<String, String> {
        let text = sh::output(self.apt("apt-cache").args(["madison", package]))?;
        let rows = text.lines().filter_map(|line| {
            let mut cells = line.split('|').map(str::trim);
            Some((cells.nth(1)?, cells.next()?))
        });
        let of_suite = |place: &str| suite.is_none_or(|s| place.split([' ', '/']).any(|part| part == s));
        let versions = rows.filter(|(_, place)| of_suite(place)).map(|(version, _)| version);
        let newest = versions.max_by_key(|v| natural(v));
        newest.map(str::to_owned).ok_or_else(|| format!("the pool has no package {package}"))
    }

    /// Downloads a package and unpacks it into a folder; nothing is installed.
    pub fn unpack(&self, package: &str, version: &str, into: &Path) -> Result<(), String> {
        let spec = format!("{package}={version}");
        sh::run(self.apt("apt-get").args(["--quiet=2", "download", &spec]))?;
        let begin = format!("{package}_");
        let file = entries(&self.dir.join("debs"))?
            .into_iter()
            .find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&begin)))
            .ok_or_else(|| format!("apt-get download {spec} left no file"))?;
        make(into)?;
        sh::run(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(into))?;
        fs::remove_file(&file).map_err(|e| format!("{}: {e}", file.display()))
    }
}

fn settings(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"Dir::Etc::SourceList "{dir}/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "{dir}/lists";
Dir::Cache "{dir}/cache";
Acquire::Languages "none";
// The folder need not be open to the user _apt.
APT::Sandbox::User "root";
"#
    )
}

/// The mirror of this machine's own apt sources, one-line or deb822 alike.
fn mirror() -> Result<String, String> {
    let ask = || {
        let mut command = Command::new("apt-get");
        command.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
        // Security and others have labels of their own.
        sh::output(command.args(["Label: Debian"])).map(|text| text.lines().next().map(str::to_owned))
    };
    // The label is known only once the lists were fetched.
    if let Ok(Some(mirror)) = ask() {
        return Ok(mirror);
    }
    sh::run(&mut sh::command("apt-get", &["update", "--quiet=2"]))?;
    ask()?.ok_or_else(|| "apt on this machine names no Debian mirror, so there are no kernels".into())
}

pub(super) fn make(dir: &Path) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|e| format!("{} cannot be made: {e}", dir.display()))
}

/// What is in a folder, sorted.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let list = fs::read_dir(dir).map_err(|e| format!("{} cannot be read: {e}", dir.display()))?;
    let mut paths: Vec<PathBuf> = list.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// Key that sorts `6.12.9` before `6.12.107`: numbers as numbers, the rest as it is.
pub(super) fn natural(text: &str) -> Vec<(u64, String)> {
    let mut parts = vec![(0_u64, String::new())];
    let mut number = false;
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            if !number {
                parts.push((0, String::new()));
            }
            if let Some(last) = parts.last_mut() {
                last.0 = last.0.saturating_mul(10).saturating_add(u64::from(digit));
            }
        } else if let Some(last) = parts.last_mut() {
            last.1.push(c);
        }
        number = c.is_ascii_digit();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_by_their_numbers() {
        let check = |less: &str, more: &str| {
            assert!(natural(less) < natural(more), "{less} is not before {more}");
        };
        check("6.12.9+deb13", "6.12.107+deb13");
        check("5.10.0-8", "5.10.0-32");
        check("6.1.176-1", "6.12.1-1");
        check("7.3.4+deb13", "7.3.4+deb14");
        check("", "1");
        check("99999999999999999999999", "a");
        assert_eq!(natural("6.1"), natural("6.1"));
    }
}
