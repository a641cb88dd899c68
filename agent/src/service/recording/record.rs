//! `record`: the sources of this host, without engine and delivery, into a file. It keeps no places in logs and touches
//! nothing of an agent that runs beside it.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::out::Out;
use super::{Header, VERSION, write};
use crate::config::Config;
use crate::engine::compose::Identity;
use crate::engine::hangs::Follow;
use crate::event::{Event, Source, What};
use crate::host::clock;
use crate::sample::Batch;
use crate::service::hangs::{Ask, HangWatch};
use crate::service::kernel::{Kernel, Places};
use crate::service::pipeline::{INBOX, Message};
use crate::service::signals::Signals;
use crate::service::sources::Collectors;
use crate::text::{kib, span};
use crate::watch::kmsg::Raw;

/// How often what was heard is passed on to the file.
const FLUSH: Duration = Duration::from_secs(10);
/// How long sources may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Seconds after which it ends; `None`: when it is told to.
    pub secs: Option<u64>,
    /// Bytes of the file at which it ends.
    pub max_bytes: u64,
}

/// Records until time, size or a signal ends it. The error is a sentence.
pub fn run(config: &Config, file: &Path, wish: Wish) -> Result<(), String> {
    let out = Out::create(file, wish.max_bytes)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("the runtime cannot be started: {e}"))?;
    let result = runtime.block_on(record(config, file, wish, out));
    // A thread that waits for a dead disk does not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn record(config: &Config, file: &Path, wish: Wish, out: Out) -> Result<(), String> {
    let mut signals = Signals::install().map_err(|e| format!("signals cannot be handled: {e}"))?;
    crate::service::limits::raise_open_files();
    let host = crate::service::host(config);
    let mut kernel = Kernel::open(config, &host, Places::default())?;
    let (records, raw) = mpsc::channel(INBOX);
    let has_records = kernel.copy_records(records);
    let mut tape = Tape { out, text: String::new(), has_records, counts: Counts::default() };
    tape.begin(&header(crate::service::identity(config, host.as_ref()), &kernel))?;

    let stop = CancellationToken::new();
    let (inbox, messages) = mpsc::channel(INBOX);
    let (extra, tasks) = (kernel.collectors(config, host.as_ref()), kernel.sleepers(config, &host));
    let sources = kernel.start(&host, &inbox, &stop);
    let wrong =
        |what: &'static str| move |e: std::io::Error| format!("the thread {what} cannot be started: {e}");
    let hangs = HangWatch::start(config.ebpf.dstate_watch_secs, Arc::clone(&host), tasks, inbox.clone());
    let hangs = hangs.map_err(wrong("that watches hung tasks"))?;
    let collectors = Collectors::start(config, host, extra, inbox).map_err(wrong("of the collectors"))?;

    say(&format!("recording into {}{}; Ctrl-C ends it", file.display(), wish.within()));
    let listen = tape.listen(messages, raw, (&collectors, &hangs.asks));
    let ended = tokio::select! {
        biased;
        _ = signals.next() => Ok("it was told to end"),
        () = wish.time_is_up() => Ok("the time is up"),
        ended = listen => ended,
    };
    stop.cancel();
    drop((collectors.stop(), hangs.stop()));
    // Probes are taken off before the process ends.
    let _ = tokio::time::timeout(STOP_WITHIN, sources).await;
    let why = ended?;
    let told = tape.end(why)?;
    say(&format!("{told} in {}: {why}", file.display()));
    Ok(())
}

fn header(identity: Identity, kernel: &Kernel) -> Header {
    let at = clock::now();
    let stamp = Timestamp::from_nanosecond(i128::from(at.wall_ns)).unwrap_or(Timestamp::UNIX_EPOCH);
    Header {
        version: VERSION,
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        utc_offset_secs: identity.zone.to_offset(stamp).seconds(),
        hostname: identity.hostname,
        boot_id: identity.boot_id,
        witnesses: kernel.witnesses(),
        beside_journal: kernel.reads_journal(),
        at,
    }
}

impl Wish {
    async fn time_is_up(self) {
        match self.secs {
            Some(secs) => sleep(Duration::from_secs(secs)).await,
            None => std::future::pending().await,
        }
    }

    fn within(self) -> String {
        self.secs.map(|secs| format!(" for {}", span(secs))).unwrap_or_default()
    }
}

/// What was written.
#[derive(Debug, Default)]
struct Counts {
    samples: u64,
    events: u64,
    records: u64,
}

/// The recording as it grows.
struct Tape {
    out: Out,
    text: String,
    /// Records of the kernel log are kept themselves: what this agent makes of them is not.
    has_records: bool,
    counts: Counts,
}

/// Why it ends before its time.
const FULL: &str = "the file has the largest size that was wished for";

impl Tape {
    fn begin(&mut self, header: &Header) -> Result<(), String> {
        write::header(header, &mut self.text);
        self.out.append(&self.text)?;
        self.out.flush()
    }

    /// Takes what comes until the file is full; the answer says why it ends.
    async fn listen(
        &mut self,
        mut messages: Receiver<Message>,
        mut raw: Receiver<Raw>,
        (collectors, asks): (&Collectors, &SyncSender<Ask>),
    ) -> Result<&'static str, String> {
        let mut flush = interval(FLUSH);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.text.clear();
            tokio::select! {
                Some(message) = messages.recv() => match message {
                    Message::Round(batches) => {
                        for batch in batches {
                            self.batch(&batch);
                            // A full return queue drops the buffers: they are only a saving.
                            let _ = collectors.spares.try_send(batch);
                        }
                    }
                    Message::Event(event) => {
                        follow(&event, asks);
                        self.event(&event);
                    }
                    Message::Health(_) | Message::Order(..) | Message::Look(_) | Message::Past(..) => {}
                },
                Some((now, record)) = raw.recv() => {
                    self.counts.records += 1;
                    write::log(now, &record, &mut self.text);
                }
                _ = flush.tick() => self.out.flush()?,
                else => return Ok("all sources have ended"),
            }
            if !self.out.has_room(&self.text) {
                return Ok(FULL);
            }
            self.out.append(&self.text)?;
        }
    }

    fn batch(&mut self, batch: &Batch) {
        self.counts.samples += batch.samples.len() as u64;
        write::pass(batch, &mut self.text);
    }

    fn event(&mut self, event: &Event) {
        let is_mark = matches!(event.what, What::KmsgMark(_) | What::JournalMark(_) | What::SyslogMark(_));
        let is_record = self.has_records && matches!(event.source, Source::Kmsg | Source::UserLog);
        if is_mark || is_record || event.historic {
            return;
        }
        self.counts.events += 1;
        write::event(clock::now(), event, &mut self.text);
    }

    /// Ends the file; what it has, in words.
    fn end(mut self, why: &str) -> Result<String, String> {
        self.text.clear();
        write::end(why, &mut self.text);
        self.out.append(&self.text)?;
        let bytes = self.out.finish()?;
        let Counts { samples, events, records } = self.counts;
        Ok(format!(
            "{samples} samples, {events} events and {records} log lines, {}",
            kib(bytes.div_ceil(1024))
        ))
    }
}

/// Has a hang followed as the engine would, so that what is found of it and its end are in the recording.
fn follow(event: &Event, asks: &SyncSender<Ask>) {
    if let What::Hang(hang) = &event.what
        && hang.task.pid.is_some()
        && !event.historic
    {
        let follow = Follow { hang: (**hang).clone(), facts: event.source != Source::Watch };
        // What does not fit is not followed.
        let _ = asks.try_send(Ask::Follow(Box::new(follow)));
    }
}

/// A line for who started it.
fn say(line: &str) {
    // Nobody may be looking.
    let _ = writeln!(std::io::stderr(), "{line}");
}
