//! An HTTPS server on loopback, with a certificate of an authority that nobody knows. It takes everything.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use super::certificates::Certificates;
use super::lab;

pub(crate) struct Https {
    child: Child,
    pub(crate) port: u64,
    /// Of each request: its path, and the rule of the alert in it.
    pub(crate) told: Receiver<Value>,
}

impl Https {
    pub(crate) fn start(certificates: &Certificates) -> Option<Self> {
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", include_str!("https.py")])
            .args([certificates.path("server.pem"), certificates.path("server.key")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .inspect_err(|_| lab::skip("python3 is missing: apt-get install python3"))
            .ok()?;
        let mut lines = BufReader::new(child.stdout.take()?).lines().map_while(Result::ok);
        let port = serde_json::from_str::<Value>(&lines.next()?).ok()?["port"].as_u64()?;
        let (sender, told) = channel();
        std::thread::spawn(move || {
            let mut each = lines.filter_map(|line| serde_json::from_str(&line).ok());
            each.try_for_each(|line| sender.send(line))
        });
        Some(Self { child, port, told })
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
