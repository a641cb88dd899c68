//! Whether a server of core NATS has dealt with what was sent: it acknowledges nothing, and the library keeps its answers to PING to itself.
//!
//! ```text
//! messages, then one to an inbox of our own ─► the server deals with them in order ─► it comes back: so have the others been
//! ```
//!
//! A user who may not publish to its inbox hears that at once, which says the same.

use std::time::Duration;

use async_nats::Subscriber;
use async_nats::connection::State;
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::sleep;

use super::link::Made;

/// How often it is looked whether the connection still stands.
const LOOK: Duration = Duration::from_millis(100);

/// A message on its way to ourselves.
pub(super) struct Probe<'m> {
    made: &'m Made,
    inbox: String,
    echo: Subscriber,
    refusals: watch::Receiver<Option<String>>,
}

impl<'m> Probe<'m> {
    /// Before the messages that it is to follow.
    pub(super) async fn begin(made: &'m Made) -> Result<Self, async_nats::SubscribeError> {
        let (inbox, refusals) = (made.client.new_inbox(), made.refusals.subscribe());
        let echo = made.client.subscribe(inbox.clone()).await?;
        Ok(Self { made, inbox, echo, refusals })
    }

    /// Behind them: returns when the server has dealt with all. The error is the end of a sentence.
    pub(super) async fn answered(mut self, connection: u64) -> Result<(), String> {
        let client = &self.made.client;
        client.publish(self.inbox.clone(), Vec::new().into()).await.map_err(|e| e.to_string())?;
        client.flush().await.map_err(|e| e.to_string())?;
        let stands = || client.connection_state() == State::Connected && self.made.number() == connection;
        let inbox = self.inbox.as_str();
        let is_ours = |said: &Option<String>| said.as_deref().is_some_and(|said| said.contains(inbox));
        let gone = async {
            while stands() {
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            Some(_) = self.echo.next() => Ok(()),
            Ok(_) = self.refusals.wait_for(is_ours) => Ok(()),
            () = gone => Err("while messages were on their way".to_owned()),
        }
    }
}
