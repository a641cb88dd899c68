//! Other ends for channels: an HTTP server that misbehaves as told, and alerts to send.

use secrecy::SecretString;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use sysops_agent::alert::{Alert, Severity, Status};
use sysops_agent::config::WebhookFormat;
use sysops_agent::host::clock;
use sysops_agent::notify::backoff::Backoff;
use sysops_agent::notify::webhook::{Options as WebhookOptions, Webhook};
use sysops_agent::notify::{Channel, Limits, Notifier, Options, Outbox, Recovered, Route, Templates};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How the server meets a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Status, further header lines, body.
    Say(u16, &'static str, &'static str),
    /// No answer at all.
    Hang,
    /// The connection is reset.
    Reset,
    /// No HTTP.
    Garbage,
    /// The beginning of an answer, then a reset.
    Half,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Request line and headers.
    pub(crate) head: String,
    /// Body.
    pub(crate) body: Vec<u8>,
    /// When it was complete.
    pub(crate) at: Instant,
    /// Whether it was answered with 200.
    pub(crate) taken: bool,
}

impl Request {
    /// The body as an alert.
    pub(crate) fn alert(&self) -> Alert {
        serde_json::from_slice(&self.body).expect("the body is an alert")
    }
}

/// A real HTTP/1.1 server on loopback that follows a script and then answers 200.
pub(crate) struct Server {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(script: Vec<Reply>) -> Self {
        Self::at("127.0.0.1:0", script).await
    }

    pub(crate) async fn at(address: &str, script: Vec<Reply>) -> Self {
        let script = Mutex::new(VecDeque::from(script));
        Self::answering(address, move |_| {
            script.lock().unwrap().pop_front().unwrap_or(Reply::Say(200, "", "ok"))
        })
        .await
    }

    pub(crate) async fn answering(
        address: &str,
        answer: impl Fn(&[u8]) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&requests), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                tokio::spawn(async move { serve(stream, &log, answer.as_ref()).await });
            }
        });
        Self { address, requests, task }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Requests that were answered with 200.
    pub(crate) fn taken(&self) -> Vec<Alert> {
        self.requests().iter().filter(|r| r.taken).map(Request::alert).collect()
    }

    pub(crate) async fn wait_for(&self, taken: usize) -> Vec<Alert> {
        eventually(&format!("{taken} alerts at the server"), || {
            let alerts = self.taken();
            (alerts.len() >= taken).then_some(alerts)
        })
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook/s3cret-token?key=s3cret-key", self.address)
    }
}

async fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(&[u8]) -> Reply + Send + Sync),
) {
    let mut buf = Vec::new();
    loop {
        let Some((head, body)) = read_request(&mut stream, &mut buf).await else { return };
        let reply = answer(&body);
        let taken = matches!(reply, Reply::Say(200, ..));
        log.lock().unwrap().push(Request { head, body, at: Instant::now(), taken });
        let bytes = match reply {
            Reply::Say(status, headers, text) => {
                format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{text}", text.len())
            }
            Reply::Hang => return std::future::pending().await,
            Reply::Reset => {
                // Closing with a linger of nothing sends RST.
                let _ = stream.set_zero_linger();
                return;
            }
            Reply::Garbage => "\0\u{1}\u{2} nonsense\r\n\r\n".to_owned(),
            Reply::Half => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await;
                let _ = stream.set_zero_linger();
                return;
            }
        };
        if stream.write_all(bytes.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream, buf: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = buf.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buf[..end]).into_owned();
            let length = head
                .lines()
                .find_map(|l| l.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            let all = end + 4 + length.unwrap_or(0_usize);
            if buf.len() >= all {
                let body = buf[end + 4..all].to_vec();
                buf.drain(..all);
                return Some((head, body));
            }
        }
        if stream.read_buf(buf).await.ok()? == 0 {
            return None;
        }
    }
}

/// Polls until there is something; fails after ten seconds.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(40), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn alert(id: &str, severity: Severity, status: Status) -> Arc<Alert> {
    Arc::new(Alert {
        hostname: "web-1".into(),
        timestamp: "2026-02-22T16:30:00+09:00".into(),
        severity,
        metric: "disk_used_percent".into(),
        value: 91.4,
        threshold: Some(90.0),
        message: format!("/ is full ({id})"),
        labels: [("mount".to_owned(), "/".to_owned())].into(),
        status,
        id: id.to_owned(),
        fingerprint: "f".into(),
        started_at: "2026-02-22T16:29:20+09:00".into(),
        ended_at: None,
        duration_secs: 40,
        rule: "disk_used_percent".into(),
        source: vec!["statvfs".into()],
        runbook_url: None,
        context: serde_json::Map::new(),
    })
}

pub(crate) fn firing(id: &str) -> Arc<Alert> {
    alert(id, Severity::Warn, Status::Firing)
}

pub(crate) fn webhook(url: &str) -> Arc<dyn Channel> {
    let options = WebhookOptions {
        url: url.into(),
        method: "POST",
        headers: BTreeMap::from([("X-Key".to_owned(), SecretString::from("s3cret-header"))]),
        timeout: Duration::from_millis(300),
        format: WebhookFormat::Alert,
        template: false,
    };
    Arc::new(Webhook::new(&options).unwrap())
}

/// A route whose retries are quick.
pub(crate) fn route(channel: Arc<dyn Channel>) -> Route {
    let backoff = Backoff { first: Duration::from_millis(10), slow: Duration::from_millis(50), quick: 3 };
    Route { backoff, ..Route::new(channel) }
}

pub(crate) fn options(limits: Limits) -> Options {
    let templates = Templates::new("[{{severity}}] {{message}}", &BTreeMap::new()).unwrap();
    Options { hostname: "web-1".into(), limits, templates: Arc::new(templates), seed: 1 }
}

pub(crate) fn start(dir: &Path, routes: Vec<Route>) -> Notifier {
    start_with(dir, routes, Limits::OFF)
}

/// Opens the outbox once nobody else holds it: a child that another test starts inherits the lock for the moment
/// between fork and exec.
pub(crate) fn reopen(dir: &Path) -> (Outbox, Recovered) {
    let begin = Instant::now();
    loop {
        let (outbox, found) = Outbox::open(dir, clock::now());
        if found.warning.is_none() || begin.elapsed() > Duration::from_secs(2) {
            return (outbox, found);
        }
        drop(outbox);
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn start_with(dir: &Path, routes: Vec<Route>, limits: Limits) -> Notifier {
    let (outbox, found) = reopen(dir);
    Notifier::start(options(limits), (outbox, &found), routes, clock::now).0
}
