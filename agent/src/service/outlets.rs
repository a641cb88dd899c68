//! What goes out besides alerts, as `status` tells it and `doctor` looks at it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::features::Feature;
use crate::config::Config;
use crate::host::state;
use crate::publish::state::State as Published;
use crate::push::poster::Poster;
use crate::push::state::State as Pushed;
use crate::ship::view::View;

/// One way out, as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlet {
    /// Its section in the configuration.
    pub name: String,
    /// Whether the last try succeeded.
    pub up: bool,
    /// Messages delivered since the start.
    pub sent: u64,
    /// Tries that failed since the start.
    pub failures: u64,
    /// What waits in memory or, for NATS, in all.
    pub waiting: u64,
    /// Bytes on disk that wait.
    pub disk_bytes: u64,
    /// What was given up since the start.
    pub dropped: u64,
    /// What does not work: short names of reasons.
    pub troubles: Vec<String>,
    /// The sentence of the last failure.
    pub last_error: Option<String>,
}

/// All ways out.
#[derive(Clone, Debug, Default)]
pub(super) struct Outlets {
    pub(super) published: Option<Arc<Published>>,
    pub(super) pushed: Option<Arc<Pushed>>,
    pub(super) shipped: Option<watch::Receiver<View>>,
}

impl Outlets {
    /// How they stand.
    pub(super) fn look(&self) -> Vec<Outlet> {
        let published = self.published.as_deref().map(published);
        published.into_iter().chain(self.pushed.as_deref().map(pushed)).collect()
    }

    /// What of them does not work.
    pub(super) fn troubles(&self) -> Vec<String> {
        let published = self.published.iter().flat_map(|state| state.troubles());
        let pushed = self.pushed.iter().flat_map(|state| state.troubles());
        let shipped = self.shipper().map_or(Vec::new(), |view| view.troubles());
        published.chain(pushed).chain(shipped).map(str::to_owned).collect()
    }

    /// How the log shipper stands.
    pub(super) fn shipper(&self) -> Option<View> {
        self.shipped.as_ref().map(|view| view.borrow().clone())
    }
}

fn words(troubles: Vec<&'static str>) -> Vec<String> {
    troubles.into_iter().map(str::to_owned).collect()
}

fn published(state: &Published) -> Outlet {
    Outlet {
        name: "nats".into(),
        up: state.up.load(Relaxed) == 1,
        sent: state.metrics.load(Relaxed) + state.inventory.load(Relaxed),
        failures: state.failures.load(Relaxed),
        waiting: state.waiting.load(Relaxed),
        disk_bytes: state.spool_bytes.load(Relaxed),
        dropped: state.dropped_metrics.load(Relaxed)
            + state.dropped_inventory.load(Relaxed)
            + state.too_large.load(Relaxed),
        troubles: words(state.troubles()),
        last_error: state.last_error(),
    }
}

fn pushed(state: &Pushed) -> Outlet {
    let flows = [&state.metrics, &state.heartbeat];
    let failing = flows.iter().find(|flow| flow.failing.load(Relaxed) > 0);
    Outlet {
        name: "push".into(),
        up: failing.is_none() && flows.iter().any(|flow| flow.up() == 1),
        sent: flows.iter().map(|flow| flow.taken.load(Relaxed)).sum(),
        failures: flows.iter().map(|flow| flow.failures.load(Relaxed)).sum(),
        waiting: state.waiting.load(Relaxed),
        disk_bytes: state.file_bytes.load(Relaxed),
        dropped: state.dropped.load(Relaxed) + state.refused.load(Relaxed),
        troubles: words(state.troubles()),
        last_error: state
            .trouble()
            .or_else(|| failing.or(flows.first()).and_then(|flow| flow.last_error()))
            .or_else(|| state.heartbeat.last_error()),
    }
}

/// How they would stand on this host.
pub(super) fn examine(config: &Config) -> Vec<Feature> {
    push(config).into_iter().chain(backup(config)).chain(spool(config)).collect()
}

fn push(config: &Config) -> Option<Feature> {
    const NAME: &str = "push";
    let section = &config.push;
    let urls: [(&str, &SecretString); 3] = [
        ("push.metrics_url", &section.metrics_url),
        ("push.heartbeat_url", &section.heartbeat_url),
        ("push.log_url", &section.log_url),
    ];
    let posters: Result<Vec<_>, String> =
        urls.iter().map(|(name, url)| Ok((*name, Poster::of(config, name, url)?))).collect();
    let posters = match posters {
        Ok(posters) => posters,
        Err(problem) => return Some(Feature::broken(NAME, problem, "mend the configuration")),
    };
    let to: Vec<String> = posters
        .iter()
        .filter_map(|(name, poster)| {
            Some(format!(
                "{} to {}",
                name.trim_start_matches("push.").trim_end_matches("_url"),
                poster.as_ref()?.host()
            ))
        })
        .collect();
    if to.is_empty() {
        return None;
    }
    let reason = to.join(", ");
    let is_open = |url: &SecretString| url.expose_secret().starts_with("http://");
    let has_key = !section.auth_key.expose_secret().is_empty();
    Some(if !has_key {
        Feature::degraded(
            NAME,
            format!("{reason}; nothing is signed"),
            "set push.auth_key to the collector's key",
        )
    } else if urls.iter().any(|(_, url)| is_open(url)) {
        Feature::degraded(
            NAME,
            format!("{reason}; the key travels without TLS, where anybody on the way can read it"),
            "use https",
        )
    } else {
        Feature::on(NAME, reason)
    })
}

fn backup(config: &Config) -> Option<Feature> {
    const NAME: &str = "push.backup";
    let section = &config.push;
    if section.metrics_url.expose_secret().is_empty() {
        return None;
    }
    if !section.backup_enabled {
        return Some(Feature::off(NAME, "switched off: payloads beyond push.retry_count are given up"));
    }
    Some(directory(NAME, &section.backup_dir, "push.backup_dir", "payloads until the collector takes them"))
}

fn spool(config: &Config) -> Option<Feature> {
    if !config.nats.enabled || !cfg!(feature = "nats") {
        return None;
    }
    if config.nats.spool_max_mb == 0 {
        return Some(Feature::off(
            "nats.spool",
            "nats.spool_max_mb is 0: what waits for NATS waits in memory only",
        ));
    }
    let dir = config.agent.data_dir.join("spool");
    Some(directory("nats.spool", &dir, "agent.data_dir", "metrics and inventory until NATS takes them"))
}

fn directory(name: &'static str, dir: &Path, key: &str, what: &str) -> Feature {
    match state::usable_dir(dir) {
        Ok(()) => Feature::on(name, format!("{} keeps {what}", dir.display())),
        Err(error) => Feature::degraded(
            name,
            format!("{} cannot be written: {error}; what waits does so in memory only", dir.display()),
            if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
                format!("make room on its filesystem, or set {key}")
            } else {
                format!("create it for the agent's user, or set {key}")
            },
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(config: &Config) -> Vec<(String, &'static str, String)> {
        let row = |feature: Feature| {
            let remedy = feature.remedy.unwrap_or_default();
            (feature.name, feature.state.name(), format!("{} -> {remedy}", feature.reason))
        };
        examine(config).into_iter().map(row).collect()
    }

    #[test]
    fn doctor_says_what_is_pushed_and_what_is_wrong_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        assert_eq!(rows(&config), []);
        let check = |config: &Config, name: &str, state: &str, part: &str| {
            let rows = rows(config);
            let row = rows.iter().find(|row| row.0 == name).expect(name);
            assert!(row.1 == state && row.2.contains(part) && !row.2.contains("s3cret"), "{row:?}");
        };
        config.push.metrics_url = "http://collector:8080/s3cret".into();
        config.push.heartbeat_url = "http://other/".into();
        config.push.backup_dir = dir.path().join("backup");
        check(
            &config,
            "push",
            "degraded",
            "metrics to collector:8080, heartbeat to other; nothing is signed",
        );
        check(&config, "push.backup", "on", "backup keeps payloads");
        config.push.auth_key = "s3cret".into();
        check(&config, "push", "degraded", "without TLS");
        config.push.auth_key = "s3cret\n".into();
        check(&config, "push", "off", "push.auth_key");
        state::replace(&dir.path().join("file"), b"", 0o600).unwrap();
        config.push.backup_dir = dir.path().join("file/backup");
        check(&config, "push.backup", "degraded", "set push.backup_dir");
        config.push.backup_enabled = false;
        check(&config, "push.backup", "off", "given up");
    }

    #[test]
    #[cfg(feature = "nats")]
    fn doctor_looks_at_the_spool() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.nats.enabled = true;
        config.agent.data_dir = dir.path().join("data");
        let row = |config: &Config| rows(config).pop().expect("one");
        assert_eq!((row(&config).0.as_str(), row(&config).1), ("nats.spool", "on"));
        state::replace(&dir.path().join("file"), b"", 0o600).unwrap();
        config.agent.data_dir = dir.path().join("file");
        assert!(row(&config).1 == "degraded" && row(&config).2.contains("agent.data_dir"));
        config.nats.spool_max_mb = 0;
        assert_eq!(row(&config).1, "off");
    }

    #[test]
    fn each_way_out_is_told_as_it_stands() {
        let outlets =
            Outlets { published: Some(Arc::default()), pushed: Some(Arc::default()), shipped: None };
        let fresh = outlets.look();
        assert_eq!(
            fresh.iter().map(|o| (o.name.as_str(), o.up)).collect::<Vec<_>>(),
            [("nats", false), ("push", false)]
        );
        let why = || crate::notify::SendError::retry("nobody there");
        let (nats, push) = (outlets.published.clone().unwrap(), outlets.pushed.clone().unwrap());
        nats.failed(&why());
        push.metrics.tried(1, &Ok(()));
        push.heartbeat.tried(1, &Err(why()));
        let all = outlets.look();
        assert!(
            all.iter().all(|o| !o.up && o.failures == 1 && o.last_error.as_deref() == Some("nobody there")),
            "{all:?}"
        );
        assert_eq!(outlets.troubles(), ["metrics do not reach NATS", "pushed heartbeats are not taken"]);
        push.heartbeat.tried(1, &Ok(()));
        assert!(outlets.look()[1].up && outlets.troubles().len() == 1);
    }
}
