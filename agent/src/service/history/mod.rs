//! History over a restart: read at the start, and what is new written every few minutes and at the end.
//!
//! ```text
//! start:        segments ─► Loader ─► Store ─► engine      (rows wait for their series)
//! every 5 min:  engine ─► points since the last time ─► chunk ─► segments
//! every hour:   engine ─► one-minute averages ─► SQLite     (feature `sqlite`)
//! ```

pub mod query;
pub mod segments;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::pipeline::Message;
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::look_back::{Tracks, Wish};
use crate::engine::store::Store;
use crate::history::Key;
use crate::history::chunk::{Chunk, Loader, Names};
use crate::host::{clock, state};
use crate::text::span;
use crate::time::{Now, SECOND};
use segments::{Found, Segments};

/// Longest time between two writings, seconds: what a `kill -9` may cost.
const PACE_SECS: u64 = 300;
/// What is that old has gone through the engine: a pass of a collector takes a while.
const LAG_NS: u64 = 5 * SECOND;
/// Of a longer time without a writing (full disk) only the end is written.
const MOST_NS: u64 = 3600 * SECOND;
/// Longest wait for the disk at the start; then the agent begins without history.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for the engine.
const ENGINE: Duration = Duration::from_secs(5);

/// Why what is new is not on disk, a sentence each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// The ring's files.
    pub ring: Option<String>,
    /// The database.
    pub sqlite: Option<String>,
}

/// The files, opened, with what was in them.
pub struct Past {
    segments: Option<Segments>,
    /// What an earlier run left; `None`: nothing.
    store: Option<Store>,
    trouble: Option<String>,
}

/// Reads what an earlier run left, aside; the boot and the moment are those of now.
pub fn open(config: &Config, boot_id: String, now: Now) -> JoinHandle<Past> {
    let dir = config.agent.data_dir.join(segments::DIR);
    let (capacity, kept) = (config.storage.ring_buffer_capacity, span_secs(config));
    spawn_blocking(move || read(&dir, capacity, kept, &boot_id, now))
}

fn read(dir: &Path, capacity: usize, span_secs: u64, boot_id: &str, now: Now) -> Past {
    let mut store = Store::with_past(capacity);
    let span_ns = span_secs.saturating_mul(SECOND);
    let mut loader = Loader::new(&mut store, boot_id, now, span_ns);
    let opened = Segments::open(dir, span_ns, &mut loader);
    let samples = loader.samples;
    match opened {
        Ok((segments, found)) => {
            tell(&found, samples, now, dir);
            Past { segments: Some(segments), store: (samples > 0).then_some(store), trouble: None }
        }
        Err(why) => Past { segments: None, store: None, trouble: Some(why) },
    }
}

fn tell(found: &Found, samples: usize, now: Now, dir: &Path) {
    if found.torn > 0 {
        tracing::warn!(
            "{} files of history in {} were torn, damaged or of another kind; what was whole in them is used",
            found.torn,
            dir.display()
        );
    }
    if samples > 0 {
        let age = u64::try_from(now.wall_ns.saturating_sub(found.newest)).unwrap_or(0) / SECOND;
        tracing::info!("history of an earlier run is back: {samples} readings, the newest {} old", span(age));
    }
}

/// What was read, if the disk answered in time; the engine gets it.
pub async fn opened(past: JoinHandle<Past>, engine: &mut Engine) -> Past {
    let why = match timeout(PATIENCE, past).await {
        Ok(Ok(mut past)) => {
            past.store.take().into_iter().for_each(|store| engine.take_past(store));
            return past;
        }
        Ok(Err(error)) => format!("history could not be read: {error}"),
        Err(_) => {
            format!(
                "the disk has not given the history within {} s; this run keeps its own",
                PATIENCE.as_secs()
            )
        }
    };
    Past { segments: None, store: None, trouble: Some(why) }
}

/// Seconds that the ring holds at the default pace, and its files keep.
pub fn span_secs(config: &Config) -> u64 {
    let pace = config.agent.collect_interval_secs.max(1);
    (config.storage.ring_buffer_capacity as u64).saturating_mul(pace)
}

/// Asks the engine for what history has.
pub async fn ask(inbox: &Sender<Message>, wish: Wish) -> Result<Tracks, String> {
    let (done, answer) = oneshot::channel();
    let asked = async {
        inbox.send(Message::Past(Box::new(wish), done)).await.ok()?;
        answer.await.ok()
    };
    match timeout(ENGINE, asked).await {
        Ok(Some(tracks)) => Ok(tracks),
        Ok(None) => Err("the agent is ending".to_owned()),
        Err(_) => Err(format!("the engine has not answered within {} s", ENGINE.as_secs())),
    }
}

/// Begins to write what is new since `now`, in the boot of that id.
pub fn start(
    config: &Config,
    past: Past,
    (boot_id, now): (&str, Now),
    inbox: &Sender<Message>,
    stop: &CancellationToken,
) -> (JoinHandle<()>, watch::Receiver<Trouble>) {
    let (keeper, troubles) = Keeper::new(config, past, boot_id.to_owned(), now, inbox.clone());
    (keeper.start(stop), troubles)
}

/// Writes what is new.
pub struct Keeper {
    inbox: Sender<Message>,
    boot_id: String,
    pace: Duration,
    dir: PathBuf,
    span_ns: u64,
    segments: Option<Segments>,
    names: Names,
    /// What was read before is written, monotonic nanoseconds.
    written_ns: u64,
    trouble: watch::Sender<Trouble>,
    #[cfg(feature = "sqlite")]
    sqlite: Option<sqlite::Writer>,
}

impl Keeper {
    /// Of a run that began at `now`.
    pub fn new(
        config: &Config,
        past: Past,
        boot_id: String,
        now: Now,
        inbox: Sender<Message>,
    ) -> (Self, watch::Receiver<Trouble>) {
        let (trouble, troubles) = watch::channel(Trouble::default());
        let keeper = Self {
            inbox,
            boot_id,
            pace: Duration::from_secs((span_secs(config) / 4).clamp(1, PACE_SECS)),
            dir: config.agent.data_dir.join(segments::DIR),
            span_ns: span_secs(config).saturating_mul(SECOND),
            segments: past.segments,
            names: Names::default(),
            written_ns: now.mono_ns,
            trouble,
            #[cfg(feature = "sqlite")]
            sqlite: sqlite::Writer::of(config),
        };
        if let Some(why) = past.trouble {
            keeper.ring_fares(Err(why));
        }
        (keeper, troubles)
    }

    /// Writes until `stop`, and then once more.
    pub fn start(mut self, stop: &CancellationToken) -> JoinHandle<()> {
        let stop = stop.clone();
        tokio::spawn(async move {
            loop {
                let last = tokio::select! {
                    biased;
                    () = stop.cancelled() => true,
                    () = sleep(self.pace) => false,
                };
                self.write(last).await;
                if last {
                    return;
                }
            }
        })
    }

    async fn write(&mut self, last: bool) {
        let now = clock::now();
        self.write_ring(now, last).await;
        #[cfg(feature = "sqlite")]
        {
            let minutes = self.minutes(now, last).await;
            self.write_minutes(minutes, now).await;
        }
    }

    async fn write_ring(&mut self, now: Now, last: bool) {
        if self.segments.is_none() {
            self.reopen().await;
        }
        let Some(mut segments) = self.segments.take() else { return };
        let begin = segments.begins(now.wall_ns);
        if begin {
            self.names = Names::default();
        }
        let until = if last { now.mono_ns + 1 } else { now.mono_ns.saturating_sub(LAG_NS) };
        let chunk = match self.chunk(now, until).await {
            Ok(chunk) if chunk.samples() > 0 => chunk,
            Ok(_) => {
                self.segments = Some(segments);
                return;
            }
            Err(why) => {
                // Series may be named in what is not written: another file is begun.
                segments.end();
                self.segments = Some(segments);
                tracing::debug!("history is not written now: {why}");
                return;
            }
        };
        let written = spawn_blocking(move || {
            let bytes = chunk.bytes();
            let written = segments.append(&bytes, begin, now.wall_ns);
            (segments, written)
        });
        match written.await {
            Ok((segments, written)) => {
                if written.is_ok() {
                    self.written_ns = until;
                }
                self.segments = Some(segments);
                self.ring_fares(written.map(|_| ()));
            }
            Err(error) => self.ring_fares(Err(format!("history was not written: {error}"))),
        }
    }

    /// The directory could not be used at the start; it may be well by now.
    async fn reopen(&mut self) {
        let (dir, span_ns) = (self.dir.clone(), self.span_ns);
        let opened = spawn_blocking(move || {
            // What is in it is of an earlier run and stays there, as far as it is young enough.
            let mut nowhere = Store::with_past(0);
            let mut loader = Loader::new(&mut nowhere, "", Now::default(), 0);
            Segments::open(&dir, span_ns, &mut loader).map(|(segments, _)| segments)
        });
        match opened.await {
            Ok(Ok(segments)) => self.segments = Some(segments),
            Ok(Err(why)) => self.ring_fares(Err(why)),
            Err(error) => self.ring_fares(Err(error.to_string())),
        }
    }

    /// What is new until that moment.
    async fn chunk(&mut self, now: Now, until_ns: u64) -> Result<Chunk, String> {
        let mut chunk = Chunk::new(now, &self.boot_id);
        let from_ns = self.written_ns.max(now.mono_ns.saturating_sub(MOST_NS)) as i64;
        let mut wish = Wish { from_ns, to_ns: until_ns as i64, ..Wish::default() };
        loop {
            let Tracks { tracks, next, .. } = ask(&self.inbox, wish.clone()).await?;
            for track in tracks {
                let key =
                    Key { metric: track.metric.name.into(), labels: track.labels.iter().cloned().collect() };
                let samples: Vec<_> = track.points.iter().map(|p| (p.at_ns.max(0) as u64, p.mean)).collect();
                chunk.add(&mut self.names, key, &samples);
            }
            let Some(next) = next else { return Ok(chunk) };
            wish.begin = next;
        }
    }

    fn ring_fares(&self, result: Result<(), String>) {
        let why = result.err();
        self.trouble.send_if_modified(|trouble| changed(&mut trouble.ring, why, "history in memory"));
    }
}

/// Says once what is wrong, and once that it is well again.
fn changed(known: &mut Option<String>, why: Option<String>, what: &str) -> bool {
    match (&known, &why) {
        (None, Some(why)) => {
            tracing::warn!(
                "{what} is not kept on disk: {why}; the agent goes on, a restart would lose what is new"
            );
        }
        (Some(_), None) => tracing::info!("{what} is kept on disk again"),
        _ => {}
    }
    let differs = *known != why;
    *known = why;
    differs
}

/// How it stands on this host, for `doctor`.
pub fn examine(config: &Config) -> Vec<super::features::Feature> {
    use super::features::Feature;
    let dir = config.agent.data_dir.join(segments::DIR);
    // Who asks may be another user than the agent: nothing is made that it could not write to.
    let usable = if state::is_there(&dir) { state::usable_dir(&dir) } else { Ok(()) };
    let ring = match usable {
        Ok(()) => Feature::on(
            "history",
            format!("{} in memory, kept over a restart in {}", span(span_secs(config)), dir.display()),
        ),
        Err(error) => Feature::degraded(
            "history",
            state::trouble("write to", &dir, &error),
            "in memory only: a restart begins anew; give the agent's user agent.data_dir",
        ),
    };
    #[cfg(feature = "sqlite")]
    let sqlite = sqlite::examine(config);
    #[cfg(not(feature = "sqlite"))]
    let sqlite = None;
    std::iter::once(ring).chain(sqlite).collect()
}
