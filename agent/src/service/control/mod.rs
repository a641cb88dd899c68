//! The control socket: who may ask, and how much.
//!
//! ```text
//! sysops-agent status ──► Unix socket ──► Desk ──► engine (Look, Order) and notifier (stats)
//! ```
//!
//! For root, the agent's own user and its group only: by the mode of the socket (0660), and by who the kernel says
//! the other side is. One JSON object a line, answered by one line.

pub mod client;
pub mod commands;
mod peer;
pub mod protocol;
pub mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::features::Feature;
use super::history::query;
use super::memory::Kept;
use super::outlets::Outlets;
use super::pipeline::{Look, Message};
use crate::engine::control::{Answer, Order};
use crate::host::{clock, state};
use crate::notify::Notifier;
use crate::time::{Now, SECOND};
use protocol::{Alerts, Reply, Request, Status};

/// Name of the socket in its directory.
pub const SOCKET: &str = "control.sock";
/// Where the unit's `RuntimeDirectory=` is.
pub const RUN_DIR: &str = "/run/sysops-agent";
/// Longest question, bytes.
const MAX_REQUEST: u64 = 16 << 10;
/// Connections at once; further ones are closed.
const MAX_CONNECTIONS: usize = 8;
/// Longest silence of the other side, and longest wait for it to take an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for the engine.
const ENGINE: Duration = Duration::from_secs(5);

/// Longest wait for the disk to take a silence.
const KEEP: Duration = Duration::from_secs(5);

/// What never changes.
pub(super) struct About {
    pub(super) hostname: String,
    pub(super) config: String,
    pub(super) features: Vec<Feature>,
    pub(super) start: Now,
}

/// Answers.
pub(super) struct Desk {
    pub(super) about: About,
    pub(super) inbox: Sender<Message>,
    pub(super) notifier: Notifier,
    pub(super) outlets: Outlets,
    /// To the task that keeps state: tells when all is on disk.
    pub(super) keeps: Sender<Kept>,
}

/// Listens in `dir`. An error is a sentence; the agent runs on without.
pub(super) fn listen(dir: &Path) -> Result<(UnixListener, Socket), String> {
    let path = dir.join(SOCKET);
    let failed = |error: std::io::Error| {
        format!(
            "the control socket {} cannot be used: {error}; status, alerts, silence and query will not work",
            path.display()
        )
    };
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        return Err(failed(std::io::ErrorKind::AddrInUse.into()));
    }
    // Left behind by an agent that was killed.
    state::remove(&path).map_err(failed)?;
    let listener = UnixListener::bind(&path).map_err(failed)?;
    state::set_mode(&path, 0o660).map_err(failed)?;
    Ok((listener, Socket(path.clone())))
}

/// The socket's file; removed at the end.
pub(super) struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // A new start takes it away, too.
        let _ = state::remove(&self.0);
    }
}

/// Answers until `stop`.
pub(super) async fn serve(
    desk: Arc<Desk>,
    (listener, _socket): (UnixListener, Socket),
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(_) = connections.join_next() => {}
            // A failed accept (too many open files) is the asker's loss only.
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                    connections.spawn(converse(Arc::clone(&desk), stream));
                }
                Ok(_) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
        }
    }
}

async fn converse(desk: Arc<Desk>, mut stream: UnixStream) {
    let by = match peer::admitted(&stream) {
        Ok(by) => by,
        Err(why) => {
            answer(&mut stream, &Reply::Error(why)).await;
            return;
        }
    };
    let mut from = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let mut within = (&mut from).take(MAX_REQUEST);
        match timeout(PATIENCE, within.read_until(b'\n', &mut line)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) | Err(_) => return,
        }
        let whole = line.ends_with(b"\n");
        let reply = match serde_json::from_slice(&line) {
            _ if !whole && line.len() as u64 >= MAX_REQUEST => {
                Reply::Error(format!("the question has more than {MAX_REQUEST} bytes"))
            }
            Ok(request) => desk.answer(request, &by).await,
            Err(error) => Reply::Error(format!("the question is not understood: {error}")),
        };
        let told = answer(from.get_mut(), &reply).await;
        if !told || !whole {
            return;
        }
    }
}

async fn answer(stream: &mut UnixStream, reply: &Reply) -> bool {
    let Ok(mut line) = serde_json::to_vec(reply) else { return false };
    line.push(b'\n');
    timeout(PATIENCE, stream.write_all(&line)).await.is_ok_and(|sent| sent.is_ok())
}

impl Desk {
    async fn answer(&self, request: Request, by: &str) -> Reply {
        let result = match request {
            Request::Status => self.status().await.and_then(json),
            Request::Alerts => self.alerts().await.and_then(json),
            Request::Silence(mut new) => {
                by.clone_into(&mut new.by);
                self.remembered(Order::Silence(new)).await.and_then(json)
            }
            Request::Query(question) => query::answer(&self.inbox, question).await.and_then(json),
            Request::Revoke { id } => self.remembered(Order::Revoke(id)).await.and_then(json),
        };
        result.map_or_else(Reply::Error, Reply::Ok)
    }

    /// Confirmed when it is on disk: a restart must not forget a silence that somebody relies on, nor bring one back.
    async fn remembered(&self, wish: Order) -> Result<Answer, String> {
        let mut answer = order(&self.inbox, wish).await?;
        if let Answer::Silenced { unkept, .. } | Answer::Revoked { unkept, .. } = &mut answer {
            *unkept = self.kept().await.err();
        }
        Ok(answer)
    }

    async fn kept(&self) -> Result<(), String> {
        let (kept, result) = oneshot::channel();
        self.keeps.send(kept).await.map_err(|_| ENDING.to_owned())?;
        let late = || Err(format!("the disk has not taken it within {} s", KEEP.as_secs()));
        timeout(KEEP, result).await.map_or_else(|_| late(), |result| result.unwrap_or_else(|_| late()))
    }

    async fn look(&self) -> Result<Look, String> {
        ask(&self.inbox, Message::Look).await
    }

    async fn status(&self) -> Result<Status, String> {
        let Look { counts, health, .. } = self.look().await?;
        let stats = self.notifier.stats().await;
        let mut collectors = counts.collectors;
        for view in &mut collectors {
            view.error = health.get(view.name.as_str()).cloned();
        }
        let mut limits = counts.limits;
        limits.insert("alerts_dropped_by_the_outbox".into(), stats.outbox.dropped);
        limits.insert("outbox_damaged_places".into(), stats.outbox.torn);
        limits.insert("alerts_lost_on_a_channel".into(), stats.channels.iter().map(|c| c.lost).sum());
        limits.insert("templates_not_filled_in".into(), stats.outbox.template_errors);
        limits.insert("messages_over_a_rate_limit".into(), stats.channels.iter().map(|c| c.limited).sum());
        limits.insert("alerts_given_up".into(), stats.channels.iter().map(|c| c.expired).sum());
        let About { hostname, config, features, start } = &self.about;
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            hostname: hostname.clone(),
            config: config.clone(),
            uptime_secs: clock::now().since(*start) / SECOND,
            collectors,
            features: features.clone(),
            channels: stats.channels,
            outbox: stats.outbox,
            outlets: self.outlets.look(),
            limits,
            events: counts.events,
            log_shipper: self.outlets.shipper(),
        })
    }

    /// The status as JSON, for endpoints.
    #[cfg(feature = "prometheus")]
    pub(super) async fn status_text(&self) -> Result<String, String> {
        let status = self.status().await?;
        serde_json::to_string(&status).map_err(|error| format!("the answer is no JSON: {error}"))
    }

    async fn alerts(&self) -> Result<Alerts, String> {
        let mut view = self.look().await?.view;
        let ids = view.active.iter().map(|alert| alert.id.clone()).collect();
        // What the engine has told may wait on the way.
        for (alert, by) in view.active.iter_mut().zip(self.notifier.limited(ids).await) {
            let limit = || (!by.is_empty()).then(|| format!("rate limit of {}", by.join(", ")));
            alert.suppressed_by = alert.suppressed_by.take().or_else(limit);
        }
        Ok(Alerts { view, channels: self.notifier.stats().await.channels })
    }
}

/// Gives the engine an order. An error is a sentence.
pub(super) async fn order(inbox: &Sender<Message>, order: Order) -> Result<Answer, String> {
    ask(inbox, |done| Message::Order(order, done)).await?
}

/// The same for as long as it takes.
pub(super) async fn carried_out(inbox: &Sender<Message>, order: Order) -> Result<Answer, String> {
    asked(inbox, |done| Message::Order(order, done)).await.unwrap_or_else(|| Err(ENDING.to_owned()))
}

/// Why there is no answer.
const ENDING: &str = "the agent is ending";

async fn asked<T>(inbox: &Sender<Message>, make: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
    let (done, result) = oneshot::channel();
    inbox.send(make(done)).await.ok()?;
    result.await.ok()
}

async fn ask<T>(
    inbox: &Sender<Message>,
    make: impl FnOnce(oneshot::Sender<T>) -> Message,
) -> Result<T, String> {
    match timeout(ENGINE, asked(inbox, make)).await {
        Ok(Some(result)) => Ok(result),
        Ok(None) => Err(ENDING.to_owned()),
        Err(_) => Err(format!(
            "the engine has not answered within {} s; an order may still be carried out; see the agent's log",
            ENGINE.as_secs()
        )),
    }
}

fn json(value: impl serde::Serialize) -> Result<serde_json::Value, String> {
    serde_json::to_value(value).map_err(|error| format!("the answer is no JSON: {error}"))
}
