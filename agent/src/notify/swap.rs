//! Other channels, limits and words while alerts wait: at the start those of the file, later those of a reload.
//!
//! A channel that stays as it was goes on undisturbed: its queue, its pause after a failure, what it counted. One
//! that changed keeps its queue and tries at once. What waits for a channel that is gone is given up there, but an
//! alert of which nobody was told goes to the channels that take its severity.

use super::Options;
use super::channel::Route;
use super::lane::Lane;
use super::ledger::Set;
use super::limit::Window;
use super::record::Outcome;
use super::worker::Worker;
use std::sync::Arc;

/// What comes in place of what there was.
pub(super) struct Swap {
    pub(super) options: Options,
    pub(super) routes: Vec<Route>,
    /// Names of channels that are as they were.
    pub(super) same: Vec<&'static str>,
}

impl Worker {
    /// Goes on with other channels. Returns which began anew.
    pub(super) fn swap(&mut self, Swap { options, routes, same }: Swap) -> Vec<&'static str> {
        if options.limits.total_per_hour != self.options.limits.total_per_hour {
            self.total = Window::new(options.limits.total_per_hour);
        }
        self.options = options;
        self.route(routes, &same)
    }

    /// Takes over the channels; those in `same` go on with the lane they have.
    /// Returns which began anew.
    pub(super) fn route(&mut self, routes: Vec<Route>, same: &[&str]) -> Vec<&'static str> {
        let limits = self.options.limits;
        let lanes = std::mem::take(&mut self.lanes).into_iter();
        let mut before: Vec<_> = lanes.zip(std::mem::take(&mut self.channels)).collect();
        let (mut unmade, mut renewed) = (Vec::new(), Vec::new());
        for route in routes {
            let name = route.channel.name();
            let Some(slot) = self.ledger.slot(name) else {
                tracing::error!(
                    channel = name,
                    "too many channel names in the outbox; this one gets no alerts"
                );
                continue;
            };
            let waits = self.unmade.iter().any(|(unmade, _)| *unmade == slot);
            let had = before.iter().position(|(lane, _)| lane.slot == slot).map(|at| before.swap_remove(at));
            let is_same = |lane: &Lane| same.contains(&name) && lane.files == route.files && !waits;
            let fresh = !had.as_ref().is_some_and(|(lane, _)| is_same(lane));
            let (mut lane, channel) = match had {
                Some((lane, channel)) if !fresh => (lane, channel),
                Some((mut lane, _)) => {
                    lane.renew(&route);
                    renewed.push(name);
                    (lane, route.channel)
                }
                None => (Lane::new(slot, &route, limits), route.channel),
            };
            lane.set_limits(limits);
            match route.unmade {
                Some(place) => {
                    lane.not_made((self.clock)(), &place.why);
                    unmade.push((slot, Arc::new(place)));
                }
                None if waits => lane.made(),
                None => {}
            }
            self.lanes.push(lane);
            self.channels.push(channel);
            if fresh {
                self.resume(self.lanes.len() - 1);
            }
        }
        // What is under way for a lane that is gone must not be taken for a message of one that comes in its place.
        self.tasks.retain(|_, slot| !before.iter().any(|(lane, _)| lane.slot == *slot));
        self.unmade = unmade;
        self.share();
        self.leave();
        renewed
    }

    /// Gives each channel that counts in the total its part of it.
    pub(super) fn share(&mut self) {
        let sharers = self.lanes.iter().filter(|lane| !lane.is_local());
        self.total.share_among(sharers.fold(Set::default(), |mut set, lane| {
            set.add(lane.slot);
            set
        }));
    }

    /// What becomes of alerts that wait for channels that are gone.
    fn leave(&mut self) {
        let known = self.lanes.iter().fold(Set::default(), |mut set, lane| {
            set.add(lane.slot);
            set
        });
        let takers = |severity| {
            let takes = self.lanes.iter().filter(|lane| lane.severities.has(severity));
            takes.fold(Set::default(), |mut set, lane| {
                set.add(lane.slot);
                set
            })
        };
        let (left, moved) = self.ledger.retain_channels(known, takers);
        for (seq, slot) in &left {
            self.disk.mark(*seq, *slot, Outcome::Gone, &self.ledger);
        }
        if !left.is_empty() {
            let mut names: Vec<&str> = left.iter().map(|(_, slot)| self.ledger.name(*slot)).collect();
            names.sort_unstable();
            names.dedup();
            tracing::warn!(
                alerts = left.len(),
                channels = names.join(", "),
                "alerts waited for channels that are no longer configured; they are given up there"
            );
        }
        if moved > 0 {
            tracing::warn!(
                alerts = moved,
                "alerts of which nobody was told, since their channel is no longer configured, go to the others"
            );
        }
    }
}

#[cfg(test)]
#[path = "swap_tests.rs"]
mod tests;
