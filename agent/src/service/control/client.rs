//! The side of the command line: finds the agent's socket, asks, waits for the answer.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::protocol::{Reply, Request};
use super::{RUN_DIR, SOCKET};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest answer, bytes.
const MAX_ANSWER: u64 = 16 << 20;

/// Asks the agent of this host. An error is a sentence.
pub fn ask<T: DeserializeOwned>(data_dir: &Path, request: &Request) -> Result<T, String> {
    let (stream, path) = connect(data_dir)?;
    let failed = |error: std::io::Error| match error.kind() {
        // What `read` says when its time is up.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("the agent has not answered within {} s on {}", PATIENCE.as_secs(), path.display())
        }
        _ => format!("the conversation with the agent on {} broke off: {error}", path.display()),
    };
    let line = exchange(stream, request).map_err(failed)?;
    match serde_json::from_slice(&line) {
        Ok(Reply::Ok(value)) => serde_json::from_value(value).map_err(|e| misunderstood(&e)),
        Ok(Reply::Error(why)) => Err(format!("the agent refused: {}", crate::text::clean(&why, 1000))),
        Err(_) if line.is_empty() => {
            Err("the agent closed the connection; it may be ending, or busy with others".into())
        }
        Err(error) => Err(misunderstood(&error)),
    }
}

/// Whether an agent can be asked; an error says why not, a sentence.
pub fn reach(data_dir: &Path) -> Result<(), String> {
    connect(data_dir).map(|_| ())
}

fn misunderstood(error: &serde_json::Error) -> String {
    format!("the agent's answer is not understood: {error}; are both of one version?")
}

fn exchange(mut stream: UnixStream, request: &Request) -> std::io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut question = serde_json::to_vec(request)?;
    question.push(b'\n');
    match stream.write_all(&question) {
        // Who is turned away may find the other end closed; the reason waits to be read.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written?,
    }
    let mut line = Vec::new();
    BufReader::new(stream).take(MAX_ANSWER).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// The agent with this `data_dir`, else the one systemd runs.
fn connect(data_dir: &Path) -> Result<(UnixStream, PathBuf), String> {
    let places = [data_dir, Path::new(RUN_DIR)].map(|dir| dir.join(SOCKET));
    let mut denied = false;
    for path in &places {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok((stream, path.clone())),
            Err(error) => denied |= error.kind() == ErrorKind::PermissionDenied,
        }
    }
    let [first, second] = places.each_ref().map(|path| path.display());
    Err(if denied {
        format!(
            "the agent's control socket may not be opened ({first}, {second}): ask as root, or as a member of the agent's group"
        )
    } else {
        format!(
            "no agent is running: nobody listens on {first} or {second}. Start it with: systemctl start sysops-agent"
        )
    })
}
