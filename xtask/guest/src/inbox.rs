//! A web server that takes the agent's alerts, and what became of each incident.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Largest alert that is read, bytes: the agent's own limit of a record.
const MAX_BODY: usize = 64 << 10;

/// The parts of an alert that are judged; docs of the agent name them all.
#[derive(Clone, Debug, Deserialize)]
pub struct Alert {
    /// Unique for the incident.
    pub id: String,
    /// Rule that judged.
    pub rule: String,
    /// `firing`, `updated` or `resolved`.
    pub status: String,
    /// One sentence.
    pub message: String,
    /// Who saw it.
    pub source: Vec<String>,
    /// Names and values.
    pub labels: BTreeMap<String, String>,
    /// Everything known.
    pub context: Map<String, Value>,
    /// When it came, `CLOCK_MONOTONIC` nanoseconds.
    #[serde(skip)]
    pub came_ns: u64,
}

impl Alert {
    /// The kernel's own time of the event, `CLOCK_MONOTONIC` nanoseconds, where the alert tells it.
    pub fn kernel_ns(&self) -> Option<u64> {
        let incident = self.context.get("incident").and_then(|i| i.get("kernel_time_ns"));
        incident.or_else(|| self.context.get("kernel_time_ns"))?.as_u64()
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// All alerts that came, in order. Clones show the same ones.
#[derive(Clone, Debug, Default)]
pub struct Inbox {
    shared: Arc<(Mutex<Vec<Alert>>, Condvar)>,
}

impl Inbox {
    /// Starts the server; the second value is its port.
    pub fn start() -> io::Result<(Self, u16)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (inbox, port) = (Self::default(), listener.local_addr()?.port());
        let keeper = inbox.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let keeper = keeper.clone();
                thread::spawn(move || keeper.serve(&stream));
            }
        });
        Ok((inbox, port))
    }

    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let body = request(&mut reader)?;
            let came_ns = now_ns();
            match serde_json::from_slice::<Alert>(&body) {
                Ok(alert) => {
                    println!("alert: {}", String::from_utf8_lossy(&body));
                    self.alerts().push(Alert { came_ns, ..alert });
                    self.shared.1.notify_all();
                }
                Err(error) => println!("alert that cannot be read ({error}): {body:?}"),
            }
            { stream }.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
        }
    }

    fn alerts(&self) -> std::sync::MutexGuard<'_, Vec<Alert>> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `find` finds what it looks for among all alerts so far; none after `limit`.
    pub fn wait<T>(&self, limit: Duration, mut find: impl FnMut(&[Alert]) -> Option<T>) -> Option<T> {
        let end = Instant::now() + limit;
        let mut alerts = self.alerts();
        loop {
            if let Some(found) = find(&alerts) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            alerts = self.shared.1.wait_timeout(alerts, left).map_or_else(|e| e.into_inner().0, |w| w.0);
        }
    }

    /// First messages of all incidents that nobody has claimed.
    pub fn unclaimed(&self, claimed: &BTreeSet<String>) -> Vec<Alert> {
        let mut seen = claimed.clone();
        self.alerts().iter().filter(|a| seen.insert(a.id.clone())).cloned().collect()
    }
}

/// The body of one HTTP request.
fn request(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().ok().filter(|n| *n <= MAX_BODY);
        }
    }
    let mut body = vec![0; length?];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_a_body_of_known_length_or_is_none() {
        let check = |text: &str, expect: Option<&str>| {
            let body = request(&mut text.as_bytes()).map(|b| String::from_utf8(b).expect("text"));
            assert_eq!(body.as_deref(), expect, "{text:?}");
        };
        check("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", Some("{}"));
        check("POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n", Some(""));
        check("POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\n{}", None);
        check("POST / HTTP/1.1\r\n\r\n{}", None);
        check("POST / HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n{}", None);
        check("POST / HTTP/1.1\r\ncontent-length: 2", None);
        check("", None);
    }
}
