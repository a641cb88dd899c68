//! The task: makes rounds at their time, delivers them, and spools what cannot be delivered.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::courier::Courier;
use super::message::Round;
use super::pace;
use super::payload::Speaker;
use super::spool::Spool;
use super::state::State;
use crate::config::Config;
use crate::inventory::Inventory;
use crate::notify::backoff::Dice;
use crate::notify::{Clock, SendError};
use crate::sample::newest::Newest;

/// What the last round gets at the end; then it waits on disk.
const LAST_ROUND: Duration = Duration::from_secs(1);
/// Longest pause between two tries while the server lets nobody publish.
const REFUSED: Duration = Duration::from_mins(1);

/// Where the newest comes from.
#[derive(Debug)]
pub struct Sources {
    /// Values.
    pub newest: watch::Receiver<Arc<Newest>>,
    /// Inventory; none until it was read.
    pub inventory: watch::Receiver<Option<Arc<Inventory>>>,
}

/// What the configuration says of time and room.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Between two rounds of metrics.
    pub metrics_every: Duration,
    /// Between two inventories.
    pub inventory_every: Duration,
    /// Between two tries.
    pub retry_every: Duration,
    /// Tries in a row before it gives up; none: it never does.
    pub most_tries: Option<u64>,
    /// Directory of the spool.
    pub dir: PathBuf,
    /// Most bytes of it.
    pub limit: u64,
}

impl Terms {
    /// As the configuration says.
    pub fn of(config: &Config) -> Self {
        let section = &config.nats;
        Self {
            metrics_every: Duration::from_secs(section.metrics_interval_secs),
            inventory_every: Duration::from_secs(section.inventory_interval_secs),
            retry_every: Duration::from_secs(section.reconnect_delay_secs),
            most_tries: u64::try_from(section.max_reconnect_attempts).ok(),
            dir: config.agent.data_dir.join("spool"),
            limit: section.spool_max_mb << 20,
        }
    }
}

/// A round on its way, and its number in the spool if it comes from there.
struct Way {
    round: Arc<Round>,
    seq: Option<u64>,
    going: JoinHandle<Result<(), SendError>>,
}

/// When something is due next.
#[derive(Debug)]
struct Due {
    metrics: Instant,
    inventory: Instant,
    /// The next try.
    send: Instant,
}

/// The task.
pub struct Publisher {
    speaker: Speaker,
    courier: Arc<Courier>,
    state: Arc<State>,
    sources: Sources,
    clock: Clock,
    /// This host's place in the fleet's grid.
    place: u64,
    terms: Terms,
    spool: Spool,
    way: Option<Way>,
    due: Due,
    tries: u64,
    given_up: bool,
    dice: Dice,
    rounds: u64,
    /// The newest values that were told.
    told_ns: u64,
}

impl Publisher {
    /// Opens the spool; sends nothing yet.
    pub async fn open(
        terms: Terms,
        (speaker, courier, state): (Speaker, Courier, Arc<State>),
        sources: Sources,
        clock: Clock,
    ) -> Self {
        let place = pace::hash(&speaker.agent_id);
        let spool = Spool::open(&terms.dir, terms.limit).await;
        // What an earlier run left goes at once, but not of all hosts at one moment.
        let first = if spool.is_empty() { Duration::ZERO } else { pace::first(place, terms.metrics_every) };
        let due = Due {
            metrics: later(pace::until_next(place, terms.metrics_every, clock().wall_ns)),
            inventory: later(pace::first(place, terms.inventory_every)),
            send: later(first),
        };
        Self {
            dice: Dice(place ^ clock().mono_ns),
            speaker,
            courier: Arc::new(courier),
            state,
            sources,
            clock,
            place,
            terms,
            spool,
            way: None,
            due,
            tries: 0,
            given_up: false,
            rounds: 0,
            told_ns: 0,
        }
    }

    /// Runs until `stop`; what is not delivered then waits on disk.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.set_out().await;
            self.state.spooled(&self.spool.stats());
            let due = self.may_send();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                done = arrival(&mut self.way) => self.arrived(done).await,
                () = sleep_until(self.due.metrics) => self.tell_metrics().await,
                () = sleep_until(self.due.inventory) => self.tell_inventory().await,
                () = at(due) => {}
            }
        }
        self.end().await;
    }

    /// When the oldest round may be tried; never if there is none, or one is on its way.
    fn may_send(&self) -> Option<Instant> {
        (self.way.is_none() && !self.spool.is_empty() && !self.given_up).then_some(self.due.send)
    }

    async fn tell_metrics(&mut self) {
        let now = (self.clock)();
        self.due.metrics = later(pace::until_next(self.place, self.terms.metrics_every, now.wall_ns));
        let newest = Arc::clone(&self.sources.newest.borrow());
        // Nothing was read since: collectors are slower than this, or stand still.
        if newest.at().mono_ns <= self.told_ns {
            return;
        }
        self.told_ns = newest.at().mono_ns;
        let id = self.next_id();
        // A round of some thousand values is a millisecond of work or two.
        let round = self.speaker.metrics(&newest.sorted(), &timestamp(newest.at().wall_ns), &id);
        drop(newest);
        self.spool.settle().await;
        if let Some(round) = round {
            self.take(round).await;
        }
    }

    async fn tell_inventory(&mut self) {
        let Some(inventory) = self.sources.inventory.borrow().clone() else {
            // Reading it takes a moment, and a slow disk's firmware more than that.
            self.due.inventory = later(Duration::from_millis(500).min(self.terms.inventory_every));
            return;
        };
        let wall_ns = (self.clock)().wall_ns;
        self.due.inventory = later(pace::until_next(self.place, self.terms.inventory_every, wall_ns));
        let id = self.next_id();
        if let Some(round) = self.speaker.inventory(&inventory, &id) {
            self.take(round).await;
        }
    }

    /// Unlike that of any other round of any agent and run.
    fn next_id(&mut self) -> String {
        self.rounds += 1;
        format!("{}-{:x}-{}", self.speaker.agent_id, (self.clock)().wall_ns, self.rounds)
    }

    /// A new round: straight to the server if nothing waits, else behind what waits.
    async fn take(&mut self, round: Round) {
        if self.way.is_none() && self.spool.is_empty() && self.tries == 0 {
            self.send(Arc::new(round), None);
        } else {
            self.spool.push(round).await;
        }
    }

    /// Sends the oldest that waits, if it is time.
    async fn set_out(&mut self) {
        if self.may_send().is_none_or(|due| later(Duration::ZERO) < due) {
            return;
        }
        if let Some((seq, round)) = self.spool.oldest().await {
            self.send(Arc::new(round), Some(seq));
        } else {
            self.due.send = later(self.pause());
        }
    }

    fn send(&mut self, round: Arc<Round>, seq: Option<u64>) {
        let (courier, taken) = (Arc::clone(&self.courier), Arc::clone(&round));
        let going = tokio::spawn(async move { courier.deliver(&taken).await });
        self.way = Some(Way { round, seq, going });
    }

    async fn arrived(&mut self, done: Result<(), SendError>) {
        let Some(Way { round, seq, .. }) = self.way.take() else { return };
        match done {
            Ok(()) => {
                if let Some(seq) = seq {
                    self.spool.done(seq).await;
                }
                if self.tries > 0 {
                    tracing::info!("metrics and inventory reach {} again", self.courier.names());
                }
                self.tries = 0;
            }
            Err(error) => {
                if seq.is_none() {
                    self.spool.push(Arc::unwrap_or_clone(round)).await;
                }
                self.failed(&error);
            }
        }
    }

    fn failed(&mut self, error: &SendError) {
        self.state.failed(error);
        if self.tries == 0 {
            tracing::warn!(
                "metrics and inventory do not reach their server: {error}; they wait and are sent later"
            );
        }
        self.tries += 1;
        if self.terms.most_tries.is_some_and(|most| self.tries > most) {
            self.given_up = true;
            tracing::error!(
                "gave up {} after {} tries (nats.max_reconnect_attempts); metrics and inventory wait for the agent's next \
                 start: {error}",
                self.courier.names(),
                self.tries
            );
        }
        let pause = self.pause();
        self.due.send =
            later(if matches!(error, SendError::Refused { .. }) { pause.max(REFUSED) } else { pause });
    }

    /// `nats.reconnect_delay_secs`, less up to a half: a fleet does not come back in step.
    fn pause(&mut self) -> Duration {
        self.terms.retry_every.mul_f64(1.0 - self.dice.roll() / 2.0)
    }

    /// What is on its way gets a moment; else it waits on disk for the next start.
    async fn end(mut self) {
        if let Some(Way { round, seq, mut going }) = self.way.take() {
            let done = timeout(LAST_ROUND, &mut going).await;
            let delivered = matches!(done, Ok(Ok(Ok(()))));
            match seq {
                Some(seq) if delivered => self.spool.done(seq).await,
                None if !delivered => self.spool.push(Arc::unwrap_or_clone(round)).await,
                _ => {}
            }
            going.abort();
        }
        self.state.spooled(&self.spool.stats());
        let left = self.spool.stats().waiting;
        if left > 0 {
            tracing::info!("{left} rounds of metrics and inventory wait in the spool for the next start");
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The end of what is on its way; waits for ever when there is nothing. May be dropped and called again.
async fn arrival(way: &mut Option<Way>) -> Result<(), SendError> {
    match way {
        Some(way) => (&mut way.going).await.unwrap_or_else(|_| {
            Err(SendError::retry("sending failed in an unforeseen way; restart the agent if it stays so"))
        }),
        None => std::future::pending().await,
    }
}

#[expect(clippy::disallowed_methods, reason = "a deadline of the runtime; tests stop its clock")]
fn later(wait: Duration) -> Instant {
    Instant::now() + wait
}

fn timestamp(wall_ns: i64) -> String {
    let at = Timestamp::from_nanosecond(i128::from(wall_ns)).unwrap_or_default();
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}
