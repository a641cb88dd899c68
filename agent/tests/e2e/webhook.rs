//! The other end of the webhook channel, on loopback: answers, hangs, refuses, or is not there at all.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
use sysops_agent::alert::Alert;
use sysops_agent::host::clock;

use crate::lab::wait_for;

/// How requests are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// With this status.
    Answer(u16),
    /// They are read and never answered.
    Hang,
    /// Connections break: before a request, and in the place of an answer.
    Gone,
}

/// A request that was read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    /// When, `CLOCK_MONOTONIC`, nanoseconds.
    pub(crate) at_ns: u64,
    /// What.
    pub(crate) alert: Alert,
    /// Whether it was answered with 200.
    pub(crate) taken: bool,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    arrived: Vec<Arrived>,
}

/// The server. Its threads end with the connections, that is with the agent.
pub(crate) struct Webhook {
    socket: Option<OwnedFd>,
    address: SocketAddrV4,
    state: Arc<Mutex<State>>,
}

impl Webhook {
    /// Has a port, and connections to it are refused until [`Webhook::open`].
    pub(crate) fn closed() -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = getsockname(&socket).expect("its name").try_into().expect("an IPv4 address");
        let state = State { mood: Mood::Answer(200), arrived: Vec::new() };
        Self { socket: Some(socket), address, state: Arc::new(Mutex::new(state)) }
    }

    /// Answers from the start.
    pub(crate) fn start() -> Self {
        let mut webhook = Self::closed();
        webhook.open();
        webhook
    }

    /// Begins to listen.
    pub(crate) fn open(&mut self) {
        let socket = self.socket.take().expect("it is closed");
        listen(&socket, 64).expect("listening");
        let (listener, state) = (TcpListener::from(socket), Arc::clone(&self.state));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if lock(&state).mood == Mood::Gone {
                    continue;
                }
                let state = Arc::clone(&state);
                thread::spawn(move || serve(&stream, &state));
            }
        });
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// How it meets requests from now on.
    pub(crate) fn set(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// Everything that came so far.
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.state().arrived.clone()
    }

    /// Alerts that it took and that pass `pick`.
    pub(crate) fn taken(&self, pick: impl Fn(&Alert) -> bool) -> Vec<Alert> {
        let taken = self.arrived().into_iter().filter(|a| a.taken).map(|a| a.alert);
        taken.filter(|alert| pick(alert)).collect()
    }

    /// The one alert that passes `pick`: comes within `at_most`, and no second one within `quiet` after it.
    pub(crate) fn exactly_one(
        &self,
        what: &str,
        at_most: Duration,
        quiet: Duration,
        pick: impl Fn(&Alert) -> bool,
    ) -> Alert {
        let come = wait_for(at_most, || (!self.taken(&pick).is_empty()).then_some(()));
        assert!(come.is_some(), "no alert about {what} within {at_most:?}; came: {:#?}", self.messages());
        thread::sleep(quiet);
        let mut alerts = self.taken(&pick);
        assert_eq!(alerts.len(), 1, "one alert about {what}, not {alerts:#?}");
        alerts.remove(0)
    }

    /// No alert that passes `pick` comes within `quiet`.
    pub(crate) fn nothing(&self, what: &str, quiet: Duration, pick: impl Fn(&Alert) -> bool) {
        thread::sleep(quiet);
        let alerts = self.taken(&pick);
        assert!(alerts.is_empty(), "{what}: {alerts:#?}");
    }

    /// What came, in short, for a failing test.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.arrived().into_iter().map(|a| format!("{} {}", a.alert.status.name(), a.alert.message)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    let mut from = BufReader::new(stream);
    while let Some(body) = request(&mut from) {
        let at_ns = clock::now().mono_ns;
        let alert = serde_json::from_slice(&body).expect("the body is an alert");
        let mood = {
            let mut state = lock(state);
            let (mood, taken) = (state.mood, state.mood == Mood::Answer(200));
            state.arrived.push(Arrived { at_ns, alert, taken });
            mood
        };
        let sent = match mood {
            Mood::Answer(status) => (&mut &*stream)
                .write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").as_bytes()),
            // Until the other side gives up.
            Mood::Hang => from.read_to_end(&mut Vec::new()).map(drop),
            Mood::Gone => return,
        };
        if sent.is_err() || mood == Mood::Hang {
            return;
        }
    }
}

/// The body of the next request.
fn request(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some(body)
}

/// A value of the context.
pub(crate) fn known(alert: &Alert, name: &str) -> serde_json::Value {
    alert.context.get(name).cloned().unwrap_or_default()
}

/// Alerts of the kill of `pid`, and those of kills that only the counter told.
pub(crate) fn kill_of(pid: u32) -> impl Fn(&Alert) -> bool + Copy {
    move |alert| {
        let victim = known(alert, "victim_pid");
        alert.rule == "oom_kill" && (victim == pid || victim.is_null())
    }
}

/// Alerts of a hang of `pid`.
pub(crate) fn hang_of(pid: u32) -> impl Fn(&Alert) -> bool + Copy {
    move |alert| alert.rule == "hung_task" && known(alert, "task_pid") == pid
}

/// Alerts of slow requests of a device.
pub(crate) fn slow(device: &str) -> impl Fn(&Alert) -> bool + Copy {
    move |alert| alert.rule == "block_io_latency" && alert.labels.get("device").is_some_and(|d| d == device)
}

/// Alerts that no test of this machine's other users can cause: not of a kill, a hang or a slow request.
pub(crate) fn unforeseen(alert: &Alert) -> bool {
    !matches!(alert.rule.as_str(), "oom_kill" | "hung_task" | "block_io_latency")
}
