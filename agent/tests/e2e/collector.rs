//! A collector of the HTTP API in Python, which checks signatures by itself.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// The key it wants.
pub(crate) const KEY: &str = "k3y-s3cret";

/// The running server; killed when dropped.
pub(crate) struct Collector {
    child: Child,
    /// Where it listens.
    pub(crate) port: u64,
    mood: PathBuf,
    told: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    /// Starts one on `port` (0: any), over TLS with a certificate and its key. It keeps its mood in `dir`.
    pub(crate) fn start(dir: &Path, port: u64, tls: Option<(PathBuf, PathBuf)>) -> Option<Self> {
        let mood = dir.join("mood");
        fs::write(&mood, "").expect("written");
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", include_str!("../notify_support/collector.py"), &port.to_string()]);
        command.arg(&mood).arg(KEY).args(tls.into_iter().flat_map(|(certificate, key)| [certificate, key]));
        let Ok(mut child) = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn() else {
            crate::lab::skip("python3 is missing: apt-get install python3");
            return None;
        };
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let hello: Value = serde_json::from_str(&lines.next()?.ok()?).ok()?;
        let told = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&told);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let told = serde_json::from_str(&line).expect("JSON");
                noted.lock().expect("nobody panicked").push(told);
            }
        });
        Some(Self { child, port: hello["port"].as_u64()?, mood, told })
    }

    /// What it does from now on: a status, `hang`, or a form of 200 (`page`, `cut`, `endless`, `drip`); 200 where it is empty.
    pub(crate) fn mood(&self, mood: &str) {
        fs::write(&self.mood, mood).expect("written");
    }

    /// Bodies that it took at `path`.
    pub(crate) fn taken(&self, path: &str) -> Vec<Value> {
        let all = self.told.lock().expect("nobody panicked");
        all.iter()
            .filter(|told| told["path"] == path && told["status"] == 200)
            .map(|told| told["body"].clone())
            .collect()
    }

    /// How many requests came, and how many of them were not signed well.
    pub(crate) fn tries(&self) -> (usize, usize) {
        let all = self.told.lock().expect("nobody panicked");
        (all.len(), all.iter().filter(|told| told["valid"] != true).count())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
