//! What nearly every live test begins with.

use super::agent::{Agent, Home};
use super::confine::Confine;
use super::webhook::Webhook;
use crate::lab::{Alone, alone, ready, skip};

/// The machine to oneself, and a home whose agent tells everything to the webhook. Taking it apart would let the
/// machine go: borrow its fields.
pub(crate) struct Scene {
    /// Where agents live.
    pub(crate) home: Home,
    /// What they tell.
    pub(crate) webhook: Webhook,
    // Last, as fields are dropped in order.
    _alone: Alone,
}

impl Scene {
    /// `more` as in [`Home::new`]. `None` where such a test cannot run; it says why.
    pub(crate) fn new(more: &str) -> Option<Self> {
        Self::with(Webhook::start(), more)
    }

    /// With a webhook of another sort.
    pub(crate) fn with(webhook: Webhook, more: &str) -> Option<Self> {
        let alone = alone();
        let home = Home::new(&webhook.url(), more);
        ready().then_some(Self { home, webhook, _alone: alone })
    }

    /// With an agent that has every right.
    pub(crate) fn running(more: &str) -> Option<(Self, Agent)> {
        let scene = Self::new(more)?;
        let agent = scene.home.start(&Confine::No);
        Some((scene, agent))
    }

    /// Whether an agent that has every right has all these features; if not it says why.
    pub(crate) fn has(&self, features: &[&str]) -> bool {
        let found = self.home.doctor(&Confine::No);
        let missing = features.iter().find(|name| !found.is_on(name));
        if let Some(name) = missing {
            skip(&format!("{name} does not work here: {}", found.get(name, "reason")));
        }
        missing.is_none()
    }
}
