//! Endpoints: whoever asks, over HTTP, for what the agent knows. `[prometheus]` and `[http]`.
//!
//! ```text
//! engine ── newest values (watch) ──► press ──► page ┐
//! control desk ◄── Ask ── /status                    ├── server, one per address, limits on everything ──► client
//! age of the newest values ──► /healthz              ┘
//! ```
//!
//! A thread of its own, so that no client takes the engine's time.

pub mod accept;
mod auth;
pub mod node_names;
mod press;
pub mod prometheus;
mod server;
mod text;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::sample::newest::Newest;
use accept::Format;
use auth::Keys;
pub use press::Style;
use press::{Press, Wish};
pub use server::MAX_CONNECTIONS;

/// What answers say who answers.
pub const SERVER: &str = concat!("sysops-agent/", env!("CARGO_PKG_VERSION"));
/// Where JSON is.
const JSON_PATH: &str = "/metrics";
/// Questions that wait for the agent.
const MAX_ASKS: usize = 8;
/// A pipeline is dead when no reading went through it for so many of the shortest paces, and at least so long.
const PATIENCE_PACES: u64 = 3;
const LEAST_PATIENCE_SECS: u64 = 30;

/// A question to the agent.
#[derive(Debug)]
pub enum Ask {
    /// Its status as JSON, or a sentence.
    Status(oneshot::Sender<Result<String, String>>),
}

/// One address.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The address.
    pub bind: SocketAddr,
    /// Keys of the configuration that it comes from, for messages.
    pub name: &'static str,
    keys: Keys,
    /// Path, and its form where a client has no wish; the first fits.
    pages: Vec<(String, Format)>,
    patience_secs: u64,
}

impl Endpoint {
    /// Those that are switched on. `[prometheus]` and `[http]` with one address are one; then a key of either opens both.
    pub fn all(config: &Config) -> Vec<Self> {
        let (json, text) = (&config.http, &config.prometheus);
        let patience_secs = (config.collector.cpu_interval_secs * PATIENCE_PACES).max(LEAST_PATIENCE_SECS);
        let wanted = [
            (json.enabled, "http", &json.bind, JSON_PATH, Format::Json, &json.auth_key),
            (text.enabled, "prometheus", &text.bind, text.path.as_str(), Format::Text, &text.auth_key),
        ];
        let mut all: Vec<Self> = Vec::new();
        for (_, name, bind, path, format, key) in wanted.into_iter().filter(|(enabled, ..)| *enabled) {
            // Judged with the configuration.
            let Ok(bind) = bind.parse() else { continue };
            let known = all.iter().position(|endpoint| endpoint.bind == bind).unwrap_or(all.len());
            if known == all.len() {
                all.push(Self { bind, name, keys: Keys::default(), pages: Vec::new(), patience_secs });
            }
            all[known].pages.push((path.to_owned(), format));
            all[known].keys.add(key);
        }
        all
    }

    fn format_of(&self, path: &str) -> Option<Format> {
        self.pages.iter().find(|(known, _)| known == path).map(|(_, format)| *format)
    }

    fn directory(&self) -> String {
        let pages: Vec<&str> = self.pages.iter().map(|(path, _)| path.as_str()).collect();
        format!("there is: {} /healthz /status\n", pages.join(" "))
    }
}

/// Why an address cannot be had, and what to do.
pub fn refused(bind: SocketAddr, error: &io::Error) -> String {
    let what = match error.kind() {
        ErrorKind::AddrInUse => {
            "another program listens there (node_exporter has port 9100): stop it, or choose another port"
        }
        ErrorKind::AddrNotAvailable => {
            "this host has no such address: choose one of its own, or 0.0.0.0 for all"
        }
        ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one",
        _ => "choose another address",
    };
    format!("The endpoint cannot listen on {bind}: {error}; {what}.")
}

/// What endpoints are given.
pub struct Source {
    /// The newest values.
    pub newest: watch::Receiver<Arc<Newest>>,
    /// How pages look.
    pub style: Style,
}

/// The running endpoints.
pub struct Server {
    /// Questions to be answered.
    pub asks: mpsc::Receiver<Ask>,
    /// Connections that were closed because there were too many, of all addresses.
    pub turned_away: Arc<AtomicU64>,
    /// Ends after a stop.
    pub thread: JoinHandle<()>,
}

/// Starts the thread.
pub fn start(endpoints: Vec<Endpoint>, source: Source, stop: CancellationToken) -> io::Result<Server> {
    let (asks, asked) = mpsc::channel(MAX_ASKS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let turned_away = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&turned_away);
    let thread = std::thread::Builder::new().name("endpoints".into()).spawn(move || {
        runtime.block_on(run(endpoints, source, asks, count, stop));
    })?;
    Ok(Server { asks: asked, turned_away, thread })
}

async fn run(
    endpoints: Vec<Endpoint>,
    source: Source,
    asks: mpsc::Sender<Ask>,
    turned_away: Arc<AtomicU64>,
    stop: CancellationToken,
) {
    let Source { newest, style } = source;
    let (press, wishes) = mpsc::channel::<Wish>(MAX_CONNECTIONS);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(Press::new(newest.clone(), style).run(wishes));
    for endpoint in endpoints {
        let (newest, press, asks) = (newest.clone(), press.clone(), asks.clone());
        let (endpoint, turned_away) = (Arc::new(endpoint), Arc::clone(&turned_away));
        tasks.spawn(server::serve(server::Desk { endpoint, newest, press, asks, turned_away }));
    }
    stop.cancelled().await;
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
