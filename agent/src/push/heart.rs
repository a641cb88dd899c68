//! Signs of life to the collector. One that fails is tried again, and tells the moment of its last try: an old one says nothing.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::poster::Post;
use super::state::State;
use crate::notify::backoff::{Backoff, Dice};
use crate::notify::{Clock, SendError};
use crate::publish::pace;
use crate::time::SECOND;

/// Between two signs of life.
pub const EVERY: Duration = Duration::from_mins(1);

/// Beats until `stop`.
pub async fn beat(post: Post, agent_id: String, state: Arc<State>, clock: Clock, stop: CancellationToken) {
    let place = pace::hash(&agent_id);
    let (mut pause, mut failures) = (pace::first(place, EVERY), 0_u32);
    let mut dice = Dice(place ^ clock().mono_ns);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep(pause) => {}
        }
        let now = clock();
        let timestamp = now.wall_ns.div_euclid(SECOND as i64);
        let body = json!({ "agent_id": agent_id, "timestamp": timestamp }).to_string().into_bytes();
        let bytes = body.len();
        let done = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            done = post(body, now) => done,
        };
        let before = state.heartbeat.tried(bytes, &done);
        match &done {
            Ok(()) if before > 0 => tracing::info!("pushed heartbeats arrive again"),
            Err(error) if before == 0 => tracing::warn!("a pushed heartbeat did not arrive: {error}"),
            _ => {}
        }
        failures = if done.is_ok() { 0 } else { failures.saturating_add(1) };
        let next = pace::until_next(place, EVERY, clock().wall_ns);
        pause = match done {
            Err(SendError::Retry { after, .. }) => {
                let again = after.unwrap_or_default().max(Backoff::default().delay(failures, dice.roll()));
                if after.is_some() { again } else { again.min(next) }
            }
            _ => next,
        };
    }
}
