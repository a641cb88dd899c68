//! A collector of log lines on loopback, writers of numbered lines, and a shipper in this process.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use sysops_agent::config::{Config, LogShipper};
use sysops_agent::host::clock;
use sysops_agent::push::poster::Poster;
use sysops_agent::ship::Shipper;
use sysops_agent::ship::view::View;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::PATIENCE;
use crate::lab::wait_for;

/// How bodies are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Answer(u16),
    Hang,
    AtMost(usize),
}

struct State {
    mood: Mood,
    taken: Vec<(Instant, Value)>,
}

/// The server. Its threads end with the connections.
#[derive(Clone)]
pub(crate) struct Collector {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its name").port();
        let collector =
            Self { port, state: Arc::new(Mutex::new(State { mood: Mood::Answer(200), taken: Vec::new() })) };
        let server = collector.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                thread::spawn(move || server.serve(&stream));
            }
        });
        collector
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/logs", self.port)
    }

    pub(crate) fn answer(&self, status: u16) {
        self.state().mood = Mood::Answer(status);
    }

    pub(crate) fn hang(&self) {
        self.state().mood = Mood::Hang;
    }

    /// Larger bodies are refused.
    pub(crate) fn take_at_most(&self, lines: usize) {
        self.state().mood = Mood::AtMost(lines);
    }

    /// Everything that was taken.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.state().taken.iter().map(|(_, body)| body.clone()).collect()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.bodies().iter().flat_map(lines).collect()
    }

    /// When each number came.
    pub(crate) fn numbers(&self) -> BTreeMap<u64, Vec<Instant>> {
        let mut numbers: BTreeMap<u64, Vec<Instant>> = BTreeMap::new();
        for (at, body) in &self.state().taken {
            for line in lines(body) {
                numbers.entry(numbered(&line).1).or_default().push(*at);
            }
        }
        numbers
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(body) = request(&mut reader) {
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            let status = {
                let mut state = self.state();
                let status = match state.mood {
                    Mood::Answer(status) => status,
                    Mood::AtMost(most) if lines(&body).len() > most => 413,
                    Mood::AtMost(_) => 200,
                    Mood::Hang => 0,
                };
                if status == 200 {
                    state.taken.push((Instant::now(), body));
                }
                status
            };
            if status == 0 {
                thread::sleep(Duration::from_secs(2));
                return;
            }
            let mut stream = stream;
            if write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    }
}

fn lines(body: &Value) -> Vec<String> {
    let lines = body["lines"].as_array().expect("lines");
    lines.iter().map(|line| line.as_str().expect("text").to_owned()).collect()
}

fn request(reader: &mut BufReader<&TcpStream>) -> Option<Vec<u8>> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let lower = line.trim().to_lowercase();
        if lower.is_empty() {
            break;
        }
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

/// A shipper in this process, and the folder that its files are in.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
    config: Config,
    pub(crate) collector: Collector,
    running: Option<Running>,
}

struct Running {
    stop: CancellationToken,
    view: watch::Receiver<View>,
    thread: thread::JoinHandle<()>,
}

impl Bench {
    /// Not started yet; `files` are below its folder.
    pub(crate) fn new(files: &[&str], change: impl FnOnce(&mut LogShipper)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("data")).expect("made");
        fs::create_dir(dir.path().join("logs")).expect("made");
        let collector = Collector::start();
        let mut config = Config::default();
        config.agent.data_dir = dir.path().join("data");
        config.push.log_url = collector.url().into();
        config.push.timeout_secs = 1;
        config.log_shipper.enabled = true;
        config.log_shipper.flush_interval_secs = 1;
        change(&mut config.log_shipper);
        let mut bench = Self { dir, config, collector, running: None };
        bench.config.log_shipper.files = files.iter().map(|file| bench.path(file)).collect();
        bench
    }

    pub(crate) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.dir.path().join("logs").join(Path::new(name.as_ref()))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn folder(&self, name: &str) {
        fs::create_dir(self.path(name)).expect("made");
    }

    /// Appends to a file.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).expect("writable");
        file.write_all(text.as_bytes()).expect("written");
    }

    /// Starts it; it has looked when this returns.
    pub(crate) fn started(mut self) -> Self {
        let poster = Poster::of(&self.config, "push.log_url", &self.config.push.log_url);
        let poster = poster.expect("well configured").expect("on");
        let (shipper, view) = Shipper::new(&self.config, poster, "id-7".into(), clock::now);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(shipper.run(stopped));
        });
        let mut seen = view.clone();
        self.running = Some(Running { stop, view, thread });
        wait_for(PATIENCE, || {
            seen.has_changed().is_ok_and(|changed| changed).then(|| drop(seen.borrow_and_update()))
        })
        .expect("it looks");
        self
    }

    /// Ends it as the agent does at SIGTERM.
    pub(crate) fn stop_in_place(&mut self) {
        let Running { stop, thread, .. } = self.running.take().expect("it runs");
        stop.cancel();
        thread.join().expect("it ends");
    }

    pub(crate) fn stop(mut self) {
        self.stop_in_place();
    }

    pub(crate) fn view(&self) -> View {
        self.running.as_ref().expect("it runs").view.borrow().clone()
    }

    /// Waits until it stands so.
    pub(crate) fn await_view(&self, what: &str, stands: impl Fn(&View) -> bool) {
        let done = wait_for(PATIENCE, || stands(&self.view()).then_some(()));
        assert!(done.is_some(), "{what}: {:#?}", self.view());
    }

    /// Waits for exactly these lines in this order.
    pub(crate) fn await_lines(&self, expect: &[&str]) {
        wait_for(PATIENCE, || (self.collector.lines().len() >= expect.len()).then_some(()));
        thread::sleep(Duration::from_millis(50));
        assert_eq!(
            self.collector.lines(),
            expect,
            "{:#?}",
            self.running.as_ref().map(|r| r.view.borrow().clone())
        );
    }

    /// The same in any order.
    pub(crate) fn await_sorted(&self, expect: &[&str]) {
        wait_for(PATIENCE, || (self.collector.lines().len() >= expect.len()).then_some(()));
        thread::sleep(Duration::from_millis(50));
        let mut lines = self.collector.lines();
        lines.sort();
        assert_eq!(lines, expect);
    }
}

/// Writes numbered lines until it is stopped.
pub(crate) struct Writer {
    name: String,
    shared: Arc<Shared>,
    /// One that goes on in its file although that is cut.
    copied: bool,
    thread: thread::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    count: AtomicU64,
    stop: AtomicBool,
    still: Mutex<()>,
    reopen: Mutex<()>,
}

impl Writer {
    /// Into the file at `path`; if it is not one that is `copied`, it goes on in a new one when it was renamed.
    pub(crate) fn start(path: PathBuf, copied: bool) -> Self {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let name = format!(
            "{}/{name}",
            path.parent().and_then(Path::file_name).expect("a folder").to_string_lossy()
        );
        let shared = Arc::new(Shared::default());
        let (own, tag) = (Arc::clone(&shared), name.clone());
        let thread = thread::spawn(move || write_lines(&path, &tag, &own));
        Self { name, shared, copied, thread }
    }

    /// Waits for so many lines more.
    pub(crate) fn await_more(&self, count: u64) {
        let goal = self.shared.count.load(SeqCst) + count;
        let done = wait_for(PATIENCE, || (self.shared.count.load(SeqCst) >= goal).then_some(()));
        assert!(done.is_some(), "{} does not write", self.name);
    }

    /// As long as this is held it writes nothing, if its file is copied; else it opens no new file, as a daemon does
    /// that waits for logrotate's signal.
    pub(crate) fn hold_still(&self) -> MutexGuard<'_, ()> {
        let held = if self.copied { &self.shared.still } else { &self.shared.reopen };
        held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name, and how many lines it wrote.
    pub(crate) fn stop(self) -> (String, u64) {
        self.shared.stop.store(true, SeqCst);
        self.thread.join().expect("it ends");
        (self.name, self.shared.count.load(SeqCst))
    }
}

fn write_lines(path: &Path, tag: &str, shared: &Shared) {
    let open = || -> File { OpenOptions::new().create(true).append(true).open(path).expect("writable") };
    let mut file = open();
    while !shared.stop.load(SeqCst) {
        {
            let _still = shared.still.lock().unwrap_or_else(PoisonError::into_inner);
            let number = shared.count.load(SeqCst);
            writeln!(file, "{tag} {number} {}", "x".repeat((number % 300) as usize)).expect("written");
            shared.count.store(number + 1, SeqCst);
        }
        if number_is(shared, 7)
            && let Ok(_free) = shared.reopen.try_lock()
        {
            // As after a signal, some lines late: until then it writes to the renamed one.
            let is_same = fs::metadata(path).is_ok_and(|meta| {
                file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (meta.dev(), meta.ino()))
            });
            if !is_same {
                file = open();
            }
        }
        thread::sleep(Duration::from_millis(3));
    }
}

fn number_is(shared: &Shared, every: u64) -> bool {
    shared.count.load(SeqCst).is_multiple_of(every)
}

/// The writer and the number of a line.
pub(crate) fn numbered(line: &str) -> (String, u64) {
    let mut words = line.split(' ');
    let name = words.next().expect("a name").to_owned();
    (name, words.next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number: {line}")))
}
