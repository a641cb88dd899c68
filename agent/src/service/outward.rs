//! What is told to the outside besides alerts: signs of life, metrics, inventory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Start;
use super::heartbeat::{self, Pulse};
use super::newest::{Fares, Reader};
use super::outlets::Outlets;
#[cfg(feature = "nats")]
use super::publish::Publishing;
use super::push::{self, Pushing};
use super::ship::Shipping;
use crate::collect::runner::Item;
use crate::config::Config;
use crate::edge;
use crate::host::{Host, agent_id, agent_id_file};
use crate::inventory::Inventory;
use crate::notify::Notifier;
use crate::notify::heartbeat::{Heart, Whose};
#[cfg(feature = "nats")]
use crate::notify::nats::Later;
use crate::push::object::About;

/// All of it, not started yet.
pub(super) struct Outward {
    whose: Whose,
    /// The file to read again for a heartbeat that cannot be made yet.
    late: Option<PathBuf>,
    /// To `alerting.heartbeat.url`, if there is one; a reload may bring another.
    heart: watch::Sender<Option<Arc<Heart>>>,
    #[cfg(feature = "nats")]
    publishing: Option<Publishing>,
    pushing: Option<Pushing>,
    shipping: Option<Shipping>,
}

/// Its section.
const HEARTBEAT: &str = "alerting.heartbeat.";

/// How what `[nats]` lacks is asked for later.
#[cfg(feature = "nats")]
fn later(start: &Start) -> Option<Later> {
    start.file.clone().map(|file| -> Later { Arc::new(edge::once_complete(file, "nats.")) })
}

/// The id into the configuration, where that may be written; it is in the data directory all the same.
fn keep_id(file: Option<&Path>, id: &str) {
    match file.map(|file| agent_id_file::keep(file, id)) {
        Some(Ok(())) => tracing::info!("this agent's id is {id} (push.agent_id)"),
        Some(Err(why)) => tracing::info!("this agent's id is {id}, kept in agent.data_dir: {why}"),
        None => {}
    }
}

/// What it tells.
#[derive(Clone)]
pub(super) struct News {
    /// The newest values.
    pub(super) values: Reader,
    /// When they were handed on.
    pub(super) fares: Fares,
    /// The newest inventory; none until it was read.
    pub(super) inventory: watch::Receiver<Option<Arc<Inventory>>>,
}

impl Outward {
    /// As the configuration says. What is wrong with it is logged, and the rest goes on.
    pub(super) fn of(start: &Start, hostname: &str, host: &dyn Host) -> Self {
        let (config, file) = (&start.config, start.file.as_deref());
        let (agent_id, problem) = agent_id::ensure(config, host);
        if let Some(problem) = problem {
            tracing::warn!("{problem}");
        }
        if config.push.agent_id.is_empty() && agent_id_file::is_used(config) {
            keep_id(file, &agent_id);
        }
        let whose = Whose { hostname: hostname.to_owned(), agent_id };
        let web = Heart::web(config);
        if let Err(problem) = &web {
            tracing::error!("{problem}; it is tried again");
        }
        let waits = web.is_err() || start.lacks(HEARTBEAT);
        let web = web.unwrap_or_default();
        Self {
            late: start.file.clone().filter(|_| waits),
            #[cfg(feature = "nats")]
            publishing: Publishing::of(config, &whose, start.lacks("nats."), later(start)),
            pushing: Pushing::of(config, &whose, host),
            shipping: Shipping::of(config, &whose.agent_id),
            heart: watch::Sender::new(web.map(Arc::new)),
            whose,
        }
    }

    /// What a reload changes.
    pub(super) fn heart(&self) -> watch::Sender<Option<Arc<Heart>>> {
        self.heart.clone()
    }

    /// Its health as collectors.
    pub(super) fn collectors(&self) -> Vec<Item> {
        let items = self.pushing.iter().map(Pushing::collector);
        let items = items.chain(self.shipping.iter().map(Shipping::collector));
        #[cfg(feature = "nats")]
        let items = items.chain(self.publishing.iter().map(Publishing::collector));
        items.collect()
    }

    /// How each way out stands, from now on.
    pub(super) fn outlets(&self) -> Outlets {
        Outlets {
            #[cfg(feature = "nats")]
            published: self.publishing.as_ref().map(|publishing| Arc::clone(&publishing.state)),
            #[cfg(not(feature = "nats"))]
            published: None,
            pushed: self.pushing.as_ref().map(|pushing| Arc::clone(&pushing.state)),
            shipped: self.shipping.as_ref().map(|shipping| shipping.view.clone()),
        }
    }

    /// What the object of the collector API says of this agent.
    pub(super) fn about(&self, config: &Config, host: &dyn Host) -> About {
        push::about(config, &self.whose, host)
    }

    /// Tells until `stop`.
    pub(super) fn start(
        self,
        config: &Config,
        host: &Arc<dyn Host>,
        notifier: &Notifier,
        news: &News,
        stop: &CancellationToken,
    ) -> JoinSet<()> {
        let outlets = self.outlets();
        let pulse = Pulse {
            whose: self.whose,
            host: Arc::clone(host),
            notifier: notifier.clone(),
            fares: news.fares.clone(),
            outlets,
        };
        let mut tasks = JoinSet::new();
        if let Some(pushing) = self.pushing {
            pushing.start(config, news.values.clone(), &mut tasks, stop);
        }
        if let Some(shipping) = self.shipping {
            tasks.spawn(shipping.run(stop.clone()));
        }
        #[cfg(feature = "nats")]
        if let Some(publishing) = self.publishing {
            let heart = Heart::nats(config, Arc::clone(&publishing.link));
            tasks.spawn(publishing.run(config, news.clone(), stop.clone()));
            let (pulse, stop) = (pulse.clone(), stop.clone());
            tasks.spawn(async move { heartbeat::beat(&heart, &pulse, &stop).await });
        }
        #[cfg(not(feature = "nats"))]
        let _ = news.inventory;
        tasks.spawn(heartbeat::follow(self.heart.subscribe(), pulse, stop.clone()));
        if let Some(file) = self.late {
            tasks.spawn(heartbeat::make_late(edge::once_complete(file, HEARTBEAT), self.heart, stop.clone()));
        }
        tasks
    }
}
