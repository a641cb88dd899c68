//! SIGHUP: the whole new file is judged first; then rules, limits, channels and words change at once, and nothing
//! that waits or stands is lost. A file with a problem changes nothing.

use std::path::PathBuf;

use tokio::sync::mpsc::Sender;

use super::control;
use super::pipeline::Message;
use crate::config::{Change, Config, changes};
use crate::edge;
use crate::engine::compose::Identity;
use crate::engine::control::{Answer, Order};
use crate::engine::incident::Witnesses;
use crate::host::clock;
use crate::notify::{self, Notifier};

/// Sections that take effect without a restart.
const LIVE: &[&str] = &["thresholds.", "alerting."];
/// Keys and sections in them that do not.
const NOT_LIVE: &[&str] = &["alerting.state_warmup_secs", "alerting.heartbeat."];
/// What every channel that speaks HTTP depends on.
const COMMON: &[&str] = &["alerting.proxy", "alerting.ca_file"];

/// What a reload changes.
pub(super) struct Reloader {
    pub(super) file: Option<PathBuf>,
    /// What is in effect.
    pub(super) config: Config,
    pub(super) identity: Identity,
    pub(super) witnesses: Witnesses,
    pub(super) inbox: Sender<Message>,
    pub(super) notifier: Notifier,
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
            Ok(changed) if changed.is_empty() => {
                tracing::info!("SIGHUP: {file} is as it was; secrets and files were read again");
            }
            Ok(changed) => {
                tracing::info!("SIGHUP: {file} is in effect, {} keys changed", changed.len());
                for change in changed {
                    if is_live(&change.key) {
                        tracing::info!("changed {change}");
                    } else {
                        tracing::warn!(
                            "changed {change}; this one needs a restart: systemctl restart sysops-agent"
                        );
                    }
                }
            }
        }
    }

    async fn apply(&mut self) -> Result<Vec<Change>, String> {
        let (mut new, warnings) = edge::load(self.file.as_deref().unwrap_or_else(|| "".as_ref()))?;
        let changed = changes(&self.config, &new);
        // Its heartbeats go over a connection of their own.
        new.nats = self.config.nats.clone();
        let (routes, problems) = edge::routes(&new);
        if !problems.is_empty() {
            return Err(problems.join("\n"));
        }
        let options = notify::Options::of(&new, &self.identity.hostname, clock::now().mono_ns)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let same =
            routes.iter().map(|route| route.channel.name()).filter(|name| is_same(name, &changed)).collect();
        self.config.thresholds = new.thresholds;
        let warmup = self.config.alerting.state_warmup_secs;
        self.config.alerting = new.alerting;
        self.config.alerting.state_warmup_secs = warmup;
        let settings = super::settings(&self.config, self.identity.clone(), self.witnesses.clone());
        match control::order(&self.inbox, Order::Reload(Box::new(settings))).await {
            Ok(Answer::Reloaded { rules, ended }) => {
                tracing::debug!("{rules} rules are in effect, {ended} alerts ended with theirs");
            }
            Ok(_) => {}
            Err(why) => return Err(why),
        }
        self.notifier.swap(options, routes, same).await;
        Ok(changed)
    }
}

fn is_live(key: &str) -> bool {
    LIVE.iter().any(|section| key.starts_with(section)) && !NOT_LIVE.iter().any(|not| key.starts_with(not))
}

/// Whether nothing that a channel is made of changed.
fn is_same(name: &str, changed: &[Change]) -> bool {
    let section = format!("alerting.{name}.");
    let template = format!("alerting.templates.{name}");
    let of_it = |change: &Change| {
        change.key.starts_with(&section) || change.key == template || COMMON.contains(&change.key.as_str())
    };
    !changed.iter().any(of_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_the_same_unless_its_own_keys_changed() {
        let changed = |keys: &[&str]| -> Vec<Change> {
            keys.iter().map(|key| Change { key: (*key).to_owned(), what: String::new() }).collect()
        };
        assert!(is_same("webhook", &changed(&["alerting.webhook2.url", "thresholds.cpu_percent"])));
        assert!(!is_same("webhook", &changed(&["alerting.webhook.headers.X"])));
        assert!(!is_same("webhook", &changed(&["alerting.proxy"])));
        assert!(!is_same("slack", &changed(&["alerting.templates.slack"])));
        assert!(is_live("alerting.webhook.url") && !is_live("alerting.state_warmup_secs"));
        assert!(!is_live("collector.enabled"));
    }
}
