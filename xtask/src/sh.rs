//! Running other programs from the root of the project.

use std::env;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Everything that can be on at once (`tls-native` excludes `tls-rustls`).
pub const ALL_FEATURES: &str = "gpu,nats,prometheus,sqlite";

/// The folder of the workspace's Cargo.toml.
pub fn root() -> PathBuf {
    // At run time first: a target folder that moved along with a checkout carries the old path.
    let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&here).parent().unwrap_or(Path::new("/")).to_path_buf()
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// `program args…`, to be started in the root of the project.
pub fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// `cargo args…` with the cargo that started this program.
pub fn cargo(args: &[&str]) -> Command {
    command(&env::var("CARGO").unwrap_or_else(|_| "cargo".into()), args)
}

/// Runs it; its output goes to ours.
pub fn run(command: &mut Command) -> Result<(), String> {
    announce(command);
    let status = command.status().map_err(|e| cannot_start(command, &e))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", line(command))) }
}

/// Runs it, passes each line of its output on and shows it to `each`.
pub fn run_watched(command: &mut Command, mut each: impl FnMut(&str)) -> Result<(), String> {
    announce(command);
    let pipe = |e: io::Error| format!("no pipe for `{}`: {e}", line(command));
    let (reader, writer) = io::pipe().map_err(pipe)?;
    let err = writer.try_clone().map_err(pipe)?;
    let mut child = command.stdout(writer).stderr(err).spawn().map_err(|e| cannot_start(command, &e))?;
    // The command holds the writing ends; without letting go of them the reader never sees the end.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    for text in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
        let text = String::from_utf8_lossy(&text);
        println!("{text}");
        each(&text);
    }
    let status = child.wait().map_err(|e| cannot_start(command, &e))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", line(command))) }
}

/// Runs it and gives back what it printed.
pub fn output(command: &mut Command) -> Result<String, String> {
    let out =
        command.stderr(std::process::Stdio::inherit()).output().map_err(|e| cannot_start(command, &e))?;
    if !out.status.success() {
        return Err(format!("`{}` failed: {}", line(command), out.status));
    }
    String::from_utf8(out.stdout)
        .map_err(|_| format!("`{}` printed something that is no UTF-8", line(command)))
}

/// Whether a program of this name is on the PATH (or where root's programs are).
pub fn has(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .any(|dir| dir.join(program).is_file())
}

/// Whether this process is root.
pub fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| effective_uid(&status) == Some(0))
}

fn effective_uid(status: &str) -> Option<u32> {
    status.lines().find_map(|l| l.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

/// Whether this is a machine nobody watches: there a skipped test is a failed one.
pub fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|ci| !matches!(ci.to_str(), Some("" | "0" | "false")))
}

fn announce(command: &Command) {
    eprintln!("$ {}", line(command));
}

fn cannot_start(command: &Command, error: &io::Error) -> String {
    format!("`{}` cannot be started: {error}", line(command))
}

fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args()).map(OsStr::to_string_lossy);
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_uid_is_the_second_number() {
        assert_eq!(effective_uid("Name:\tx\nUid:\t1000\t0\t1000\t1000\n"), Some(0));
        assert_eq!(effective_uid("Uid:\t0\t65534\t0\t0\n"), Some(65534));
        assert_eq!(effective_uid("Name:\tUid\n"), None);
    }

    #[test]
    fn watched_runs_see_both_streams_and_the_failure() {
        let mut seen = Vec::new();
        let mut command = command("sh", &["-c", "echo out; echo err >&2; exit 3"]);
        let done = run_watched(&mut command, |l| seen.push(l.to_owned()));
        seen.sort();
        assert_eq!(seen, ["err", "out"]);
        assert!(done.is_err_and(|e| e.contains("exit status: 3")));
    }
}
