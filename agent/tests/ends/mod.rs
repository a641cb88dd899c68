//! The other end of every channel on loopback, and a configuration that leads there. All of them take what comes.
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its part of it")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the other ends are the test's own: threads that end with it"
)]

use crate::e2e::agent::other_build;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Messages by channel, in the order in which they came.
type Taken = Arc<Mutex<BTreeMap<&'static str, Vec<String>>>>;

/// All of them.
pub(crate) struct Ends {
    taken: Taken,
    http: String,
    smtp: u16,
    syslog: String,
    nats: u16,
    dir: tempfile::TempDir,
}

/// Channels that speak HTTP, with the first part of their path.
const HTTP: [&str; 7] = ["webhook", "discord", "slack", "telegram", "pagerduty", "ntfy", "alertmanager"];

impl Ends {
    /// Servers on free ports.
    pub(crate) fn start() -> Self {
        let taken = Taken::default();
        let (http, smtp, nats) = (serve(&taken, http), serve(&taken, smtp), serve(&taken, nats));
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let syslog = socket.local_addr().expect("its address").to_string();
        let into = Arc::clone(&taken);
        thread::spawn(move || {
            let mut buf = vec![0; 65_536];
            while let Ok(n) = socket.recv(&mut buf) {
                note(&into, "syslog", String::from_utf8_lossy(&buf[..n]).into_owned());
            }
        });
        let dir = tempfile::tempdir().expect("a directory");
        Self { taken, http: format!("http://127.0.0.1:{http}"), smtp, syslog, nats, dir }
    }

    /// A configuration whose HTTP servers answer 401 to all.
    pub(crate) fn refusing() -> String {
        let mut ends = Self::start();
        ends.http = format!("http://127.0.0.1:{}", serve(&ends.taken, unauthorized));
        ends.config()
    }

    /// Sections that enable every channel (the terminal too), with `s3cret` in all that is secret.
    pub(crate) fn config(&self) -> String {
        let Self { http, smtp, syslog, nats, dir, .. } = self;
        let hook = dir.path().join("hook.sh");
        let out = dir.path().display();
        // One file an alert: two at once would mix.
        fs::write(&hook, format!("#!/bin/sh\nf={out}/exec.$$.$(date +%N)\ncat > $f && mv $f $f.done\n"))
            .expect("written");
        let nats = if speaks_nats() {
            format!(
                "[nats]\nenabled = true\nurl = \"nats://127.0.0.1:{nats}\"\nheartbeat_interval_secs = 3600"
            )
        } else {
            String::new()
        };
        format!(
            r#"
            [alerting.terminal]
            enabled = "on"
            [alerting.syslog]
            enabled = true
            address = "udp://{syslog}"
            [alerting.webhook]
            enabled = true
            url = "{http}/webhook/s3cret-hook"
            [alerting.discord]
            enabled = true
            webhook_url = "{http}/discord/12/s3cret-token"
            mention_roles = ["42"]
            [alerting.slack]
            enabled = true
            webhook_url = "{http}/slack/T0/s3cret-token"
            mention_users = ["U12345"]
            [alerting.telegram]
            enabled = true
            bot_token = "123456:s3cret-token"
            chat_id = -1
            api_url = "{http}/telegram"
            [alerting.email]
            enabled = true
            smtp_host = "127.0.0.1"
            smtp_port = {smtp}
            smtp_tls = "none"
            from = "sysops@example.com"
            to = ["ops@example.com"]
            [alerting.pagerduty]
            enabled = true
            routing_key = "s3cret-key"
            url = "{http}/pagerduty"
            [alerting.ntfy]
            enabled = true
            topic = "s3cret-topic"
            url = "{http}/ntfy"
            [alerting.alertmanager]
            enabled = true
            url = "{http}/alertmanager/s3cret-path"
            [alerting.exec]
            enabled = true
            command = ["/bin/sh", "{hook}"]
            {nats}
            "#,
            hook = hook.display(),
        )
    }

    /// The same with other values of some keys below `[alerting]`, written `channel.key`.
    pub(crate) fn config_but(&self, others: &[(&str, toml::Value)]) -> String {
        let mut config: toml::Table = toml::from_str(&self.config()).expect("TOML");
        for (path, value) in others {
            let (channel, key) = path.split_once('.').expect("channel.key");
            let section = config["alerting"][channel].as_table_mut().expect("a section");
            section.insert(key.to_owned(), value.clone());
        }
        config.to_string()
    }

    /// What came on a channel.
    pub(crate) fn on(&self, channel: &str) -> Vec<String> {
        if channel == "exec" {
            return self.hooked();
        }
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).get(channel).cloned().unwrap_or_default()
    }

    /// Every channel but the terminal.
    pub(crate) fn channels() -> Vec<&'static str> {
        let others = ["syslog", "email", "exec"].into_iter().chain(speaks_nats().then_some("nats"));
        HTTP.into_iter().chain(others).collect()
    }

    fn hooked(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).expect("the directory");
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|e| e == "done"));
        files.sort_by_key(|path| path.metadata().and_then(|m| m.modified()).ok());
        files.iter().map(|path: &std::path::PathBuf| read(path)).collect()
    }
}

/// Whether the agent under test does.
pub(crate) fn speaks_nats() -> bool {
    cfg!(feature = "nats") && other_build().is_none()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn note(taken: &Taken, channel: &'static str, message: String) {
    taken.lock().unwrap_or_else(PoisonError::into_inner).entry(channel).or_default().push(message);
}

/// A server, a thread for each connection; its port.
fn serve(taken: &Taken, each: fn(TcpStream, &Taken) -> Option<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let taken = Arc::clone(taken);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let taken = Arc::clone(&taken);
            thread::spawn(move || each(stream, &taken));
        }
    });
    port
}

/// A line without its end; `None` at the end of the connection.
fn line(from: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    (from.read_line(&mut line).ok()? > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}

fn http(stream: TcpStream, taken: &Taken) -> Option<()> {
    answer(stream, taken, "200 OK")
}

fn unauthorized(stream: TcpStream, taken: &Taken) -> Option<()> {
    answer(stream, taken, "401 Unauthorized")
}

fn answer(mut stream: TcpStream, taken: &Taken, status: &str) -> Option<()> {
    let mut from = BufReader::new(stream.try_clone().ok()?);
    loop {
        let request = line(&mut from)?;
        let mut length = 0;
        loop {
            let header = line(&mut from)?.to_lowercase();
            if header.is_empty() {
                break;
            }
            length = header.strip_prefix("content-length:").map_or(length, |n| n.trim().parse().unwrap_or(0));
        }
        let mut body = vec![0; length];
        from.read_exact(&mut body).ok()?;
        let path = request.split(' ').nth(1).unwrap_or_default();
        if let Some(channel) = HTTP.into_iter().find(|name| path.starts_with(&format!("/{name}"))) {
            note(taken, channel, String::from_utf8_lossy(&body).into_owned());
        }
        stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}").as_bytes()).ok()?;
    }
}

fn smtp(mut stream: TcpStream, taken: &Taken) -> Option<()> {
    let mut from = BufReader::new(stream.try_clone().ok()?);
    stream.write_all(b"220 mail.test\r\n").ok()?;
    loop {
        let command = line(&mut from)?.to_uppercase();
        let answer: &[u8] = match command.split([' ', ':']).next()? {
            "EHLO" => b"250-mail.test\r\n250 8BITMIME\r\n",
            "DATA" => b"354 go on\r\n",
            "QUIT" => b"221 bye\r\n",
            _ => b"250 fine\r\n",
        };
        stream.write_all(answer).ok()?;
        if command == "DATA" {
            let mut mail = String::new();
            loop {
                match line(&mut from)? {
                    end if end == "." => break,
                    more => mail.extend([more.as_str(), "\n"]),
                }
            }
            note(taken, "email", mail);
            stream.write_all(b"250 taken\r\n").ok()?;
        }
    }
}

fn nats(mut stream: TcpStream, taken: &Taken) -> Option<()> {
    let mut from = BufReader::new(stream.try_clone().ok()?);
    let info = r#"INFO {"server_id":"x","server_name":"x","version":"2.10.0","proto":1,"host":"127.0.0.1","port":1,"max_payload":1048576}"#;
    stream.write_all(format!("{info}\r\n").as_bytes()).ok()?;
    let mut heard = Vec::new();
    loop {
        let command = line(&mut from)?;
        let mut words = command.split(' ');
        match words.next()? {
            "SUB" => heard.push((words.next()?.to_owned(), words.next_back()?.to_owned())),
            "PING" => stream.write_all(b"PONG\r\n").ok()?,
            // The last word counts all that follows, headers too.
            "PUB" | "HPUB" => {
                let subject = words.next()?.to_owned();
                let mut payload = vec![0; words.next_back()?.parse().ok()?];
                from.read_exact(&mut payload).ok()?;
                line(&mut from)?;
                // Who listens to itself hears itself.
                if let Some((_, sid)) = heard.iter().find(|(to, _)| *to == subject) {
                    stream.write_all(format!("MSG {subject} {sid} 0\r\n\r\n").as_bytes()).ok()?;
                }
                if subject.ends_with(".alerts") {
                    note(taken, "nats", String::from_utf8_lossy(&payload).into_owned());
                }
            }
            _ => {}
        }
    }
}
