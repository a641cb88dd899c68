//! The task: makes a payload at its time, sends what waits in order, and saves what has waited too long.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::backup::Backup;
use super::line::{self, Line, Payload};
use super::object::{self, About};
use super::poster::Post;
use super::state::State;
use crate::config::Config;
use crate::notify::backoff::{Backoff, Dice};
use crate::notify::{Clock, SendError};
use crate::publish::pace;
use crate::sample::newest::Newest;

/// What the last payload gets at the end; then it waits on disk.
const LAST_PAYLOAD: Duration = Duration::from_secs(1);
/// Shortest pause where address or key are wrong: somebody has to mend that.
const BARRED: Duration = Duration::from_mins(1);

/// Bytes of the journal from which it is written anew, without those that were sent.
const MAX_JOURNAL: u64 = 2 * line::MAX_BYTES as u64;

/// What the configuration says of time, room and form.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Between two payloads.
    pub every: Duration,
    /// Payloads in memory before they go to a backup file.
    pub most: usize,
    /// Where those are.
    pub dir: PathBuf,
    /// Most bytes of them; 0: there are none.
    pub limit: u64,
    /// Whether the object has its envelope.
    pub envelope: bool,
}

impl Terms {
    /// As the configuration says.
    pub fn of(config: &Config) -> Self {
        let section = &config.push;
        Self {
            every: Duration::from_secs(section.interval_secs),
            most: section.retry_count,
            dir: section.backup_dir.clone(),
            limit: if section.backup_enabled { section.backup_max_mb << 20 } else { 0 },
            envelope: section.envelope,
        }
    }
}

/// The task.
pub struct Pusher {
    post: Post,
    about: About,
    newest: watch::Receiver<Arc<Newest>>,
    state: Arc<State>,
    clock: Clock,
    terms: Terms,
    /// This host's place in the fleet's grid.
    place: u64,
    line: Line,
    backup: Backup,
    /// The try that is under way.
    way: Option<JoinHandle<(usize, Result<(), SendError>)>>,
    next_payload: Instant,
    next_try: Instant,
    dice: Dice,
    /// Failures in a row.
    failures: u32,
    /// Payloads given up from the queue.
    dropped: u64,
    /// The newest values that were told.
    told_ns: u64,
}

impl Pusher {
    /// Finds what an earlier run left; sends nothing yet.
    pub async fn open(
        terms: Terms,
        (post, about, state): (Post, About, Arc<State>),
        newest: watch::Receiver<Arc<Newest>>,
        clock: Clock,
    ) -> Self {
        let (place, now) = (pace::hash(&about.agent_id), clock());
        let (backup, left) = Backup::open(&terms.dir, terms.limit, now).await;
        let mut line = Line::new(terms.most);
        line.take_back(left);
        Self {
            backup,
            line,
            next_payload: later(pace::until_next(place, terms.every, now.wall_ns)),
            // What an earlier run left goes at once, but not of all hosts at one moment.
            next_try: later(pace::first(place, terms.every)),
            dice: Dice(place ^ now.mono_ns),
            post,
            about,
            newest,
            state,
            clock,
            terms,
            place,
            way: None,
            failures: 0,
            dropped: 0,
            told_ns: 0,
        }
    }

    /// Runs until `stop`; what is not delivered then waits on disk.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.set_out().await;
            self.make_room().await;
            self.note().await;
            self.stand();
            let due = self.may_send();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                done = arrival(&mut self.way) => self.arrived(done).await,
                () = sleep_until(self.next_payload) => self.tell().await,
                () = at(due) => {}
            }
        }
        self.end().await;
    }

    fn stand(&self) {
        let waiting = self.line.new_ones().len();
        self.state.stands(waiting, self.dropped, &self.backup.stats());
    }

    /// When the next try may be made; never if nothing is to be tried, or one is under way.
    fn may_send(&self) -> Option<Instant> {
        let is_waiting = self.line.next().is_some() || self.backup.is_waiting();
        (self.way.is_none() && is_waiting).then_some(self.next_try)
    }

    async fn tell(&mut self) {
        self.next_payload = later(pace::until_next(self.place, self.terms.every, (self.clock)().wall_ns));
        if self.backup.is_behind() && self.way.is_none() {
            let left = self.backup.catch_up((self.clock)()).await;
            self.line.take_back(left);
        }
        let newest = Arc::clone(&self.newest.borrow());
        // Nothing was read since: collectors are slower than this, or stand still.
        if newest.at().mono_ns <= self.told_ns {
            return;
        }
        self.told_ns = newest.at().mono_ns;
        let form = if self.terms.envelope { object::enveloped } else { object::flat };
        let payload = form(&newest, &self.about);
        self.line.push(payload.into_bytes());
    }

    /// Sends what is next, if it is time.
    async fn set_out(&mut self) {
        if self.may_send().is_none_or(|due| later(Duration::ZERO) < due) {
            return;
        }
        if self.backup.is_waiting()
            && let Some(payloads) = self.backup.load().await
        {
            self.line.load(payloads);
        }
        let Some(payload) = self.line.next().cloned() else {
            // The disk hangs; the newest go on without the older ones.
            self.next_try = later(self.pause(None));
            return;
        };
        let (post, now) = (Arc::clone(&self.post), (self.clock)());
        self.way = Some(tokio::spawn(async move {
            let bytes = payload.len();
            (bytes, post(payload, now).await)
        }));
    }

    async fn arrived(&mut self, (bytes, done): (usize, Result<(), SendError>)) {
        self.way = None;
        let before = self.state.metrics.tried(bytes, &done);
        let Err(error) = done else {
            self.taken(before).await;
            return;
        };
        if before == 0 {
            tracing::warn!("pushed metrics do not arrive: {error}; they wait and are sent later");
        }
        self.failures = self.failures.saturating_add(1);
        self.next_try = if matches!(error, SendError::Refused { .. }) && self.line.refused() {
            later(Duration::ZERO)
        } else {
            if !matches!(error, SendError::Refused { .. }) {
                self.line.failed();
            }
            later(self.pause(Some(&error)))
        };
    }

    async fn taken(&mut self, failures: u64) {
        let given_up = self.line.accepted();
        if given_up > 0 {
            self.state.refused.fetch_add(given_up, Relaxed);
            let why = self.state.metrics.last_error().unwrap_or_default();
            tracing::warn!(
                "{given_up} payloads are given up: the collector takes others, but not them: {why}"
            );
        } else if failures > 0 {
            tracing::info!("pushed metrics arrive again");
        }
        (self.failures, self.next_try) = (0, later(Duration::ZERO));
        if self.backup.is_loaded() && self.line.old_ones().is_empty() {
            self.backup.done().await;
        }
    }

    /// A full queue goes to a backup file; where there is none, the oldest of it go. Not while one of it is on its way.
    async fn make_room(&mut self) {
        if self.way.is_some() || !self.line.is_full() {
            return;
        }
        if self.backup.save(self.line.new_ones(), (self.clock)()).await {
            self.line.clear_new();
            self.backup.forget().await;
        }
        while self.line.is_over() && self.line.lose_first() {
            if self.dropped == 0 {
                tracing::warn!(
                    "more than push.retry_count ({}) payloads wait and no backup file takes them: the oldest are given up",
                    self.terms.most
                );
            }
            self.dropped += 1;
        }
    }

    /// While the collector is away, what waits in memory is in the journal as well.
    async fn note(&mut self) {
        if self.line.new_ones().is_empty() || self.backup.journal() > MAX_JOURNAL {
            self.backup.forget().await;
            self.line.mark(false);
        }
        let fresh: Vec<Payload> = self.line.unnoted().cloned().collect();
        if self.failures > 0 && !fresh.is_empty() && self.backup.note(fresh).await {
            self.line.mark(true);
        }
    }

    fn pause(&mut self, error: Option<&SendError>) -> Duration {
        let backoff = Backoff::default();
        let pause = backoff.delay(self.failures, self.dice.roll());
        match error {
            Some(SendError::Retry { after: Some(after), .. }) => (*after).max(backoff.first),
            Some(SendError::Barred { .. }) => pause.max(BARRED),
            _ => pause,
        }
    }

    /// What is on its way gets a moment; else it waits on disk for the next start.
    async fn end(mut self) {
        if let Ok(done) = timeout(LAST_PAYLOAD, arrival(&mut self.way)).await {
            self.arrived(done).await;
        }
        if let Some(way) = self.way.take() {
            way.abort();
        }
        if self.backup.is_loaded() {
            self.backup.keep(self.line.old_ones()).await;
        }
        let left = self.line.new_ones().len();
        if left > 0 && self.backup.save(self.line.new_ones(), (self.clock)()).await {
            self.backup.forget().await;
            tracing::info!("{left} payloads wait in {} for the next start", self.terms.dir.display());
        } else if left > 0 {
            tracing::warn!("{left} payloads were not delivered and are lost with this stop");
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The end of the try under way; waits for ever when there is none. May be dropped and called again.
async fn arrival(
    way: &mut Option<JoinHandle<(usize, Result<(), SendError>)>>,
) -> (usize, Result<(), SendError>) {
    match way {
        Some(way) => way.await.unwrap_or_else(|_| {
            (
                0,
                Err(SendError::retry(
                    "sending failed in an unforeseen way; restart the agent if it stays so",
                )),
            )
        }),
        None => std::future::pending().await,
    }
}

#[expect(clippy::disallowed_methods, reason = "a deadline of the runtime; tests stop its clock")]
pub(super) fn later(wait: Duration) -> Instant {
    Instant::now() + wait
}

#[cfg(test)]
#[path = "pusher_tests.rs"]
mod tests;
