//! Test programs side by side: most of their time they wait for agents and servers, not for a processor.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde_json::Value;

use crate::sh;

/// Programs at a time. Their tests run side by side anyway; more of them only make each other late.
const AT_A_TIME: usize = 3;

/// A test program that cargo has built.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    name: String,
    path: PathBuf,
    /// The folder of its package: where cargo runs it.
    home: PathBuf,
}

/// Builds the tests that these arguments of `cargo test` name, and runs all of their programs.
pub fn run(args: &[&str]) -> Result<(), String> {
    let programs = build(args)?;
    let count = programs.len();
    let queue = Mutex::new(VecDeque::from(programs));
    let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let worker = || {
        let mut failed = Vec::new();
        while let Some(program) = take() {
            failed.extend(one(&program).err());
        }
        failed
    };
    let failed: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(worker)).collect();
        let dead = || vec!["a worker has panicked".to_owned()];
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|_| dead())).collect()
    });
    println!("\n{count} test programs ran; {} failed", failed.len());
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

fn build(args: &[&str]) -> Result<Vec<Program>, String> {
    let json = ["--no-run", "--message-format=json-render-diagnostics"];
    let mut cargo = sh::cargo(&[&["test"], args, &json].concat());
    let told = sh::output(&mut cargo)?;
    let programs: Vec<_> = told.lines().filter_map(program).collect();
    if programs.is_empty() { Err("cargo has built no test program".into()) } else { Ok(programs) }
}

/// The test program that a line of cargo's messages tells of.
fn program(line: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let home = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    let target = &message["target"];
    let name = format!("{} {}", target["kind"][0].as_str()?, target["name"].as_str()?);
    Some(Program { name, path: message["executable"].as_str()?.into(), home })
}

/// Runs it; what it says is printed in one piece.
fn one(program: &Program) -> Result<(), String> {
    let mut command = Command::new(&program.path);
    command.current_dir(&program.home).env("CARGO_MANIFEST_DIR", &program.home).stdin(Stdio::null());
    let done = command.output().map_err(|e| format!("{} cannot be started: {e}", program.path.display()))?;
    let mut out = io::stdout().lock();
    // Whoever reads the output may have gone; the result is told by the exit code.
    let _ = writeln!(out, "     Running {} ({})", program.name, program.path.display());
    let _ = out.write_all(&done.stdout).and_then(|()| out.write_all(&done.stderr));
    if done.status.success() { Ok(()) } else { Err(format!("tests of {} failed", program.name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_programs_count() {
        let artifact = |test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/a/agent/Cargo.toml","target":{{"kind":["test"],"name":"hosts"}},"profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let hosts = Program { name: "test hosts".into(), path: "/t/hosts-1".into(), home: "/a/agent".into() };
        assert_eq!(program(&artifact(true, r#""/t/hosts-1""#)), Some(hosts));
        assert_eq!(program(&artifact(false, r#""/t/hosts-1""#)), None);
        assert_eq!(program(&artifact(true, "null")), None);
        assert_eq!(program(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(program("running 3 tests"), None);
    }
}
