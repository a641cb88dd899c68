//! The task: looks, reads, sends one body at a time, and keeps the place.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::files::Files;
use super::flow::{Do, Flow, MAX_BYTES};
use super::keep::Keep;
use super::lines;
use super::view::View;
use super::wake::{Queues, Wake};
use crate::config::Config;
use crate::notify::{Clock, SendError};
use crate::push::poster::Poster;
use crate::time::SECOND;

/// How often it is looked without being woken: a folder may be made, a file be on a server.
const LOOK_NS: u64 = 10 * SECOND;
/// The same where nobody can wake us.
const POLL_NS: u64 = SECOND;
/// Pause behind a name: several come at once.
const PAUSE: Duration = Duration::from_millis(100);
/// The same behind a write: a log that is written all the time wakes us four times a second.
const WRITTEN: Duration = Duration::from_millis(250);
/// What the last body gets at the end.
const LAST: Duration = Duration::from_secs(1);

/// A body on its way: so many lines.
struct Way {
    lines: usize,
    going: JoinHandle<Result<(), SendError>>,
}

/// The task.
pub struct Shipper {
    /// None while they are looked at aside.
    files: Option<Files>,
    flow: Flow,
    keep: Option<Keep>,
    wake: Option<Wake>,
    way: Option<Way>,
    poster: Arc<Poster>,
    agent_id: String,
    view: watch::Sender<View>,
    clock: Clock,
    look_ns: u64,
    /// The places in the files may be others than those that are kept.
    moved: bool,
}

impl Shipper {
    /// To `poster`; reads and sends nothing yet.
    pub fn new(
        config: &Config,
        poster: Poster,
        agent_id: String,
        clock: Clock,
    ) -> (Self, watch::Receiver<View>) {
        let section = &config.log_shipper;
        let (keep, earlier) = Keep::open(&config.agent.data_dir);
        let files = Files::new(config, earlier);
        let (view, shown) = watch::channel(View { server: poster.host(), ..View::default() });
        let shipper = Self {
            files: Some(files),
            flow: Flow::new(section.buffer_count, section.flush_interval_secs, clock().mono_ns),
            keep: Some(keep),
            wake: None,
            way: None,
            poster: Arc::new(poster),
            agent_id,
            view,
            clock,
            look_ns: 0,
            moved: false,
        };
        (shipper, shown)
    }

    /// Runs until `stop`; what is not taken then stays in its file for the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.work() => {}
        }
        self.end().await;
    }

    async fn work(&mut self) {
        while self.turn().await.is_some() {}
    }

    /// One thing after the other. None: it cannot go on.
    async fn turn(&mut self) -> Option<()> {
        let now = (self.clock)().mono_ns;
        if now >= self.look_ns {
            self.look().await?;
        }
        self.settle().await?;
        let mut due = self.look_ns;
        let mut may_read = false;
        if self.way.is_none() {
            match self.flow.next(now, self.files.as_ref()?.is_dirty()) {
                Do::Read => return self.read().await,
                Do::Send(count) => self.send(count),
                Do::Wait(until) => {
                    due = due.min(until.unwrap_or(u64::MAX));
                    may_read = self.flow.failures() == 0;
                }
            }
        }
        due = due.min(self.keep.as_ref()?.due_ns().unwrap_or(u64::MAX));
        let wait = Duration::from_nanos(due.saturating_sub(now).max(SECOND / 1000));
        tokio::select! {
            answer = arrival(&mut self.way) => self.arrived(&answer),
            () = named(self.wake.as_ref()) => {
                sleep(PAUSE).await;
                self.wake.iter().for_each(Wake::forget_names);
                self.look_ns = 0;
            }
            () = written(self.wake.as_ref(), may_read) => {
                sleep(WRITTEN).await;
                let files = self.files.as_mut()?;
                self.wake.iter().for_each(|wake| wake.logs(&mut |log| files.written(log)));
            }
            () = sleep(wait) => {}
        }
        Some(())
    }

    /// Looks what became of the files, and watches what is there now.
    async fn look(&mut self) -> Option<()> {
        // What changes between a look and the watch is seen by the look after it.
        for _ in 0..3 {
            let before = self.wake.as_ref().map(Wake::watched);
            let looked = self.aside(move |files| {
                files.look();
                let watched = files.watched();
                (before.as_deref() != Some(&watched)).then(|| Queues::on(watched))
            });
            let Some(queues) = looked.await? else { break };
            self.wake = queues.and_then(Wake::by);
            if self.wake.is_none() {
                break;
            }
        }
        let pause = if self.wake.is_some() { LOOK_NS } else { POLL_NS };
        self.look_ns = (self.clock)().mono_ns.saturating_add(pause);
        self.show();
        Some(())
    }

    async fn read(&mut self) -> Option<()> {
        let enough = self.flow.wanted();
        let lines = self.aside(move |files| files.read(enough, MAX_BYTES)).await?;
        let now = (self.clock)().mono_ns;
        for line in lines {
            self.flow.push(line, now);
        }
        self.show();
        Some(())
    }

    fn send(&mut self, lines: usize) {
        let body = lines::body(&self.agent_id, self.flow.oldest(lines));
        let (poster, now) = (Arc::clone(&self.poster), (self.clock)());
        let going = tokio::spawn(async move { poster.post(body, now).await });
        self.way = Some(Way { lines, going });
    }

    fn arrived(&mut self, answer: &Result<(), SendError>) {
        let Some(Way { lines, .. }) = self.way.take() else { return };
        let failed_before = self.flow.failures();
        let sent = self.flow.answered(lines, answer.as_ref().copied(), (self.clock)().mono_ns);
        let server = self.poster.host();
        let failures = self.flow.failures();
        match answer {
            Ok(()) if failed_before > 0 => tracing::info!("log lines reach {server} again"),
            Err(error) if failed_before == 0 && failures > 0 => {
                tracing::warn!(
                    "log lines do not reach their server: {error}; they stay in their files and are sent later"
                );
            }
            _ => {}
        }
        if sent.refused > 0 {
            tracing::warn!("{server} refused a line of a log by itself; a note was sent in its place");
        }
        self.view.send_modify(|view| {
            view.up = failures == 0;
            view.failing = u64::from(failures);
            view.lines += sent.lines;
            view.bytes += sent.bytes;
            view.refused += sent.refused;
            view.failures += u64::from(failures > failed_before);
            if let Err(error) = answer {
                view.last_error = Some(error.to_string());
            }
        });
        self.show();
    }

    /// Keeps the places if everything that was read is taken.
    async fn settle(&mut self) -> Option<()> {
        let now = (self.clock)();
        let (keep, files) = (self.keep.as_mut()?, self.files.as_mut()?);
        if std::mem::take(&mut self.moved) {
            if self.flow.is_settled() {
                files.taken();
            }
            keep.reached(files.places());
        }
        if keep.due_ns().is_some_and(|due| due <= now.mono_ns) {
            let mut keep = self.keep.take()?;
            self.keep = spawn_blocking(move || {
                keep.write(now);
                keep
            })
            .await
            .ok();
            self.show();
        }
        Some(())
    }

    /// Where it may wait for a disk.
    async fn aside<T: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut Files) -> T + Send + 'static,
    ) -> Option<T> {
        let mut files = self.files.take()?;
        let (files, answer) = spawn_blocking(move || {
            let answer = ask(&mut files);
            (files, answer)
        })
        .await
        .ok()?;
        self.files = Some(files);
        Some(answer)
    }

    fn show(&mut self) {
        self.moved = true;
        self.view.send_modify(|view| {
            if let Some(files) = &self.files {
                files.view(view);
            }
            view.pending = self.flow.pending() as u64;
            view.trouble = self.keep.as_ref().and_then(|keep| keep.trouble.clone());
        });
    }

    /// What is read gets a moment if the server is well; then the place is kept.
    async fn end(&mut self) {
        if self.files.is_none() || self.keep.is_none() {
            return;
        }
        if self.way.is_none() && !self.flow.is_settled() && self.flow.failures() == 0 {
            self.send(self.flow.fits());
        }
        if self.way.is_some() {
            match timeout(LAST, arrival(&mut self.way)).await {
                Ok(answer) => self.arrived(&answer),
                Err(_) => self.way.take().into_iter().for_each(|way| way.going.abort()),
            }
        }
        if let (Some(files), Some(keep)) = (&mut self.files, &mut self.keep) {
            if self.flow.is_settled() {
                files.taken();
            }
            keep.reached(files.places());
            keep.write((self.clock)());
        }
    }
}

/// The end of what is on its way; waits for ever when there is nothing. May be dropped and called again.
async fn arrival(way: &mut Option<Way>) -> Result<(), SendError> {
    match way {
        Some(way) => (&mut way.going).await.unwrap_or_else(|_| {
            Err(SendError::retry("sending failed in an unforeseen way; restart the agent if it stays so"))
        }),
        None => pending().await,
    }
}

async fn named(wake: Option<&Wake>) {
    match wake {
        Some(wake) => wake.named().await,
        None => pending().await,
    }
}

async fn written(wake: Option<&Wake>, listen: bool) {
    match wake.filter(|_| listen) {
        Some(wake) => wake.written().await,
        None => pending().await,
    }
}
