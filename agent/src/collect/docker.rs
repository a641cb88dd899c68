//! Containers, as the Docker daemon tells of them (podman's service speaks the same API).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::kept::failure;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::aside::{Answer, Aside};
use crate::metric::metrics;
use crate::sample::Samples;
use crate::text::clean;

mod details;

use details::Details;

metrics! {
    COUNT: Gauge Count "docker_containers_count" ["state"]
        "Containers by state: created, running, paused, restarting, removing, exited, dead.", "/containers/json";
    RUNNING: Gauge Count "docker_container_running" ["name", "image"] "1 where the container runs.", "/containers/json";
    RESTARTS: Counter Count "docker_container_restarts_total" ["name"]
        "How often the daemon restarted the container.", "/containers/ID/json RestartCount";
    UNHEALTHY: Gauge Count "docker_container_unhealthy" ["name"]
        "1 where the container's own check fails; nothing where it has none.", "/containers/ID/json State.Health";
    OOM_KILLED: Gauge Count "docker_container_oom_killed" ["name"]
        "1 where the container's memory limit led to a kill since its start.", "/containers/ID/json State.OOMKilled";
    INFO: Gauge Count "docker_container_info" ["name", "id", "image", "state"]
        "1; the labels tell what the container is: the first 12 digits of its id, and its state.", "/containers/json";
    START: Gauge Seconds "docker_container_start_time_seconds" ["name"]
        "When the container that runs was started, Unix time.", "/containers/ID/json State.StartedAt";
    END: Gauge Seconds "docker_container_end_time_seconds" ["name"]
        "When the container that runs no more ended, Unix time.", "/containers/ID/json State.FinishedAt";
    EXIT_CODE: Gauge Count "docker_container_exit_code" ["name"]
        "Exit code of the container that runs no more.", "/containers/ID/json State.ExitCode";
    STUCK: Gauge Count "docker_stuck" [] "1 where the daemon does not answer within 2 s.", "the agent";
}

/// Containers told of at most, running ones first; further ones are counted by state.
const MAX_CONTAINERS: usize = 256;
/// How long the daemon may take; other collectors wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest name, characters.
const MAX_NAME: usize = 128;
/// Digits of an id that are told.
const ID_DIGITS: usize = 12;
/// States, as the API has them; any other counts as `other`.
const STATES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

/// Asks the daemon.
pub struct Docker {
    socket: String,
    aside: Aside<Result<Found, CollectError>>,
    details: Details,
}

impl Docker {
    /// Asks behind this Unix socket.
    pub fn new(socket: &str) -> Self {
        Self { socket: socket.to_owned(), aside: Aside::new("docker", 1), details: Details::new() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    image: String,
    #[serde(default)]
    state: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Inspected {
    restart_count: u64,
    state: InspectedState,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct InspectedState {
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    exit_code: i64,
    started_at: String,
    finished_at: String,
    health: Option<InspectedHealth>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct InspectedHealth {
    status: String,
}

/// Containers by state, and the first of them.
type Found = (BTreeMap<&'static str, usize>, Vec<Listed>);

fn ask(host: &dyn Host, socket: &str) -> Result<Found, CollectError> {
    let mut list: Vec<Listed> = get(host, socket, "/containers/json?all=1")?;
    let mut count = BTreeMap::from(STATES.map(|state| (state, 0)));
    for container in &list {
        let state = STATES.into_iter().find(|state| *state == container.state).unwrap_or("other");
        *count.entry(state).or_default() += 1;
    }
    list.sort_by(|a, b| (a.state != "running", &a.names).cmp(&(b.state != "running", &b.names)));
    list.truncate(MAX_CONTAINERS);
    Ok((count, list))
}

/// It takes the question and says nothing.
fn silent(socket: &str) -> CollectError {
    CollectError::Read { path: socket.to_owned(), error: "the daemon does not answer".to_owned() }
}

/// Its socket is there, and nobody behind it.
fn refused(socket: &str) -> CollectError {
    CollectError::Read { path: socket.to_owned(), error: "nobody listens there".to_owned() }
}

fn get<T: for<'a> Deserialize<'a>>(host: &dyn Host, socket: &str, path: &str) -> Result<T, CollectError> {
    let body = host.http_get(socket, path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            CollectError::Denied { path: socket.to_owned(), needs: "the group of that socket (docker)" }
        }
        io::ErrorKind::ConnectionRefused => refused(socket),
        io::ErrorKind::TimedOut => silent(socket),
        _ => failure(socket, &error),
    })?;
    serde_json::from_slice(&body).map_err(|error| CollectError::Parse {
        path: socket.to_owned(),
        // Serde's words may quote what it read.
        why: clean(&error.to_string(), MAX_NAME),
    })
}

impl Collector for Docker {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let (shared, socket) = (host.shared(), self.socket.clone());
        let question = move || ask(Arc::as_ref(&shared), &socket);
        let found = match self.aside.ask("", out.at(), PATIENCE, question) {
            Answer::Done(found) => found,
            Answer::Stuck { .. } | Answer::NotAsked => Err(silent(&self.socket)),
        };
        // A socket without listener is what is left where it was stopped; systemd tells of one that died.
        let is_silent = found.as_ref().is_err_and(|error| *error == silent(&self.socket));
        out.put(&STUCK, &[], f64::from(u8::from(is_silent)));
        let (count, list) = found?;
        for (state, count) in count {
            out.put(&COUNT, &[state], count as f64);
        }
        let result = self.details.refresh(host, &self.socket, &list, out.at());
        self.put_all(list, out);
        result
    }
}

impl Docker {
    fn put_all(&self, list: Vec<Listed>, out: &mut Samples) {
        let mut told = std::collections::BTreeSet::new();
        for listed in list {
            let inspected = self.details.of(&listed.id, &listed.state);
            let id = clean(&listed.id, ID_DIGITS);
            let name = listed.names.unwrap_or_default().into_iter().next().unwrap_or(listed.id);
            let name = clean(name.trim_start_matches('/'), MAX_NAME);
            if told.insert(name.clone()) {
                let runs = f64::from(u8::from(listed.state == "running"));
                let (image, state) = (clean(&listed.image, MAX_NAME), clean(&listed.state, MAX_NAME));
                out.put(&RUNNING, &[&name, &image], runs);
                out.put(&INFO, &[&name, &id, &image, &state], 1.0);
                if let Some((inspected, _)) = inspected {
                    put(&name, inspected, out);
                }
                // How one ended that ran when it was asked of is not known yet.
                if let Some((inspected, true)) = inspected {
                    put_times(&name, &state, &inspected.state, out);
                }
            }
        }
    }
}

fn put(name: &str, Inspected { restart_count, state }: &Inspected, out: &mut Samples) {
    out.put(&RESTARTS, &[name], *restart_count as f64);
    out.put(&OOM_KILLED, &[name], f64::from(u8::from(state.oom_killed)));
    if let Some(health) = state.health.as_ref().filter(|health| !matches!(&*health.status, "" | "none")) {
        out.put(&UNHEALTHY, &[name], f64::from(u8::from(health.status == "unhealthy")));
    }
}

/// Since when it runs, or how and when it ended.
fn put_times(name: &str, state: &str, inspected: &InspectedState, out: &mut Samples) {
    // One that never was is in the year 1.
    let secs = |text: &str| {
        let at = text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
        at.filter(|secs| *secs > 0).map(|secs| secs as f64)
    };
    if matches!(state, "running" | "paused") {
        if let Some(at) = secs(&inspected.started_at) {
            out.put(&START, &[name], at);
        }
    } else if let Some(at) = secs(&inspected.finished_at) {
        out.put(&END, &[name], at);
        out.put(&EXIT_CODE, &[name], inspected.exit_code as f64);
    }
}

#[cfg(test)]
#[path = "docker_tests.rs"]
mod tests;
