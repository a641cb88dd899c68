//! SIGHUP: the whole new file is judged first; then rules, limits, channels and words change at once, and nothing
//! that waits or stands is lost. A file with a problem changes nothing.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tokio::time::timeout;

use super::control;
use super::pipeline::Message;
use crate::config::{Change, Config, changes};
use crate::edge;
use crate::engine::Settings;
use crate::engine::compose::Identity;
use crate::engine::control::{Answer, Order};
use crate::engine::incident::Witnesses;
use crate::host::{agent_id, clock};
use crate::notify::heartbeat::Heart;
use crate::notify::{self, Notifier};

/// Sections that take effect without a restart.
const LIVE: &[&str] = &["thresholds.", "alerting."];
/// A key in them that does not.
const NOT_LIVE: &str = "alerting.state_warmup_secs";
/// What the engine tells in alerts; metrics to NATS keep those of the start.
const LABELS: &str = "agent.labels.";
/// Longest wait for the engine before it is said that it takes long.
const SOON: Duration = Duration::from_secs(5);

/// What a reload changes.
pub(super) struct Reloader {
    pub(super) file: Option<PathBuf>,
    /// What is in effect.
    pub(super) config: Config,
    pub(super) identity: Identity,
    pub(super) witnesses: Witnesses,
    pub(super) inbox: Sender<Message>,
    pub(super) notifier: Notifier,
    /// Takes the heartbeat to `alerting.heartbeat.url`.
    pub(super) heart: watch::Sender<Option<Arc<Heart>>>,
    /// `[nats]` lacked a secret at the start: what the file has by now is the first that is whole.
    pub(super) nats_is_late: bool,
}

impl Reloader {
    /// Reads the file again and says what came of it.
    pub(super) async fn reload(&mut self) {
        let Some(file) = self.file.clone() else {
            tracing::info!("SIGHUP: there is no configuration file to read again");
            return;
        };
        let file = file.display();
        match self.apply().await {
            Err(problem) => tracing::error!("SIGHUP: nothing changed. {problem}"),
            Ok(Applied { changed, renewed }) => {
                if changed.is_empty() {
                    tracing::info!("SIGHUP: {file} is as it was; secrets and files were read again");
                } else {
                    tracing::info!("SIGHUP: {file} is in effect, {} keys changed", changed.len());
                }
                self.tell(&changed);
                if !renewed.is_empty() {
                    tracing::info!("begun anew, with what waits for them: {}", renewed.join(", "));
                }
            }
        }
    }

    fn tell(&self, changed: &[Change]) {
        for change in changed {
            if is_live(&change.key) || change.key.starts_with(LABELS) && !self.config.nats.enabled {
                tracing::info!("changed {change}");
            } else {
                tracing::warn!("changed {change}; this one needs a restart: systemctl restart sysops-agent");
            }
        }
    }

    async fn apply(&mut self) -> Result<Applied, String> {
        let file = self.file.as_deref().unwrap_or_else(|| "".as_ref());
        let (mut new, warnings) = edge::load(file)?;
        // The agent writes its id into the file by itself, and it is the one that is in use.
        if self.config.push.agent_id.is_empty()
            && agent_id::known(&self.config).as_ref() == Some(&new.push.agent_id)
        {
            self.config.push.agent_id.clone_from(&new.push.agent_id);
        }
        let changed = changes(&self.config, &new);
        // Who writes a file in place has it empty for a moment, and on a full disk for longer.
        if edge::is_blank(file) && !changed.is_empty() {
            return Err(format!(
                "The configuration {} is empty. Write it again; for the built-in defaults restart the agent.",
                file.display()
            ));
        }
        // Metrics go over its connection, too.
        if !self.nats_is_late {
            new.nats = self.config.nats.clone();
        }
        let (routes, problems) = edge::routes(&new);
        if !problems.is_empty() {
            return Err(problems.join("\n"));
        }
        let heart = Heart::web(&new)?;
        let options = notify::Options::of(&new, &self.identity.hostname, clock::now().mono_ns)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let late = self.nats_is_late;
        let names = routes.iter().map(|route| route.channel.name());
        let same = names.filter(|name| is_same(name, &changed, late)).collect();
        let mut config = self.config.clone();
        let warmup = config.alerting.state_warmup_secs;
        (config.thresholds, config.alerting, config.agent.labels, config.nats) =
            (new.thresholds, new.alerting, new.agent.labels, new.nats);
        config.alerting.state_warmup_secs = warmup;
        let identity = Identity { labels: config.agent.labels.clone(), ..self.identity.clone() };
        self.order(super::settings(&config, identity.clone(), self.witnesses.clone())).await?;
        (self.config, self.identity, self.nats_is_late) = (config, identity, false);
        self.heart.send_replace(heart.map(Arc::new));
        let renewed = self.notifier.swap(options, routes, same).await;
        Ok(Applied { changed, renewed })
    }

    /// Waits until the engine has it: what was ordered cannot be taken back.
    async fn order(&self, settings: Settings) -> Result<(), String> {
        let mut ordered = pin!(control::carried_out(&self.inbox, Order::Reload(Box::new(settings))));
        let answer = if let Ok(answer) = timeout(SOON, &mut ordered).await {
            answer
        } else {
            tracing::warn!("SIGHUP: the engine is busy; the new configuration waits for it");
            ordered.await
        };
        if let Answer::Reloaded { rules, ended } = answer? {
            tracing::debug!("{rules} rules are in effect, {ended} alerts ended with theirs");
        }
        Ok(())
    }
}

/// What a reload led to.
struct Applied {
    changed: Vec<Change>,
    /// Channels that were made anew.
    renewed: Vec<&'static str>,
}

fn is_live(key: &str) -> bool {
    LIVE.iter().any(|section| key.starts_with(section)) && key != NOT_LIVE
}

/// Whether nothing that a channel is made of changed: nothing of `[nats]` does, unless it is `late`.
fn is_same(name: &str, changed: &[Change], late: bool) -> bool {
    let counts = |change: &&Change| late || !change.key.starts_with("nats.");
    !changed.iter().filter(counts).any(|change| notify::routes::is_of(name, &change.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_the_same_unless_its_own_keys_changed() {
        let changed = |keys: &[&str]| -> Vec<Change> {
            keys.iter().map(|key| Change { key: (*key).to_owned(), what: String::new() }).collect()
        };
        assert!(is_same("webhook", &changed(&["alerting.webhook2.url", "thresholds.cpu_percent"]), false));
        assert!(!is_same("webhook", &changed(&["alerting.webhook.headers.X"]), false));
        assert!(!is_same("webhook", &changed(&["alerting.proxy"]), false));
        assert!(!is_same("slack", &changed(&["alerting.templates.slack"]), false));
        assert!(is_same("nats", &changed(&["nats.url"]), false));
        assert!(!is_same("nats", &changed(&["nats.url"]), true));
        assert!(is_live("alerting.webhook.url") && is_live("alerting.heartbeat.url"));
        assert!(!is_live("alerting.state_warmup_secs"));
        for key in ["collector.enabled", "nats.url", "agent.labels.env", "ebpf.oom"] {
            assert!(!is_live(key), "{key}");
        }
    }
}
