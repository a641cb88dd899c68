//! Takes a round to the server, in messages of a size that the server takes.

use std::sync::Arc;

use super::message::{Message, Round};
use super::split::split;
use super::state::State;
use crate::notify::SendError;
use crate::notify::nats::{Link, Outgoing};
use std::sync::atomic::Ordering::Relaxed;

/// Room for headers, which count for the server's limit: two of them, an id of some hundred bytes.
const HEADERS: usize = 512;

/// Knows the way.
#[derive(Debug)]
pub struct Courier {
    link: Arc<Link>,
    hostname: String,
    jetstream: bool,
    state: Arc<State>,
}

impl Courier {
    /// Over `link`, under the subjects of `hostname`.
    pub fn new(link: Arc<Link>, hostname: String, jetstream: bool, state: Arc<State>) -> Self {
        Self { link, hostname, jetstream, state }
    }

    /// Who it goes to, without secrets.
    pub fn names(&self) -> String {
        self.link.names()
    }

    /// Delivers a round. Any error is worth another try: what no try could ever help is left out, counted and said.
    pub async fn deliver(&self, round: &Round) -> Result<(), SendError> {
        let subject = self.link.subject(&self.hostname, round.what.name());
        let limit = self.link.max_payload(&subject).await?.saturating_sub(HEADERS);
        let mut messages = Vec::new();
        for message in &round.messages {
            let lost = fit(message.clone(), limit, &mut |message| messages.push(message));
            let why = || format!("it takes {limit} bytes (max_payload)");
            self.left_out(lost, &subject, why);
        }
        let outgoing = messages.iter().map(|message| self.outgoing(&subject, message)).collect();
        let (count, bytes) = match self.link.deliver(outgoing, self.jetstream).await {
            Ok(()) => (messages.len() as u64, messages.iter().map(|message| message.body.len() as u64).sum()),
            // One of them is too large for the stream: which?
            Err(SendError::Refused { .. }) => self.one_by_one(&subject, messages).await?,
            Err(error) => return Err(error),
        };
        self.state.delivered(round.what, count, bytes);
        Ok(())
    }

    /// Delivers each message for itself, what is too large for the stream (`max_msg_size`) in halves. What was stored before
    /// bears the same id. Returns number and bytes of what was delivered.
    async fn one_by_one(&self, subject: &str, mut messages: Vec<Message>) -> Result<(u64, u64), SendError> {
        messages.reverse();
        let (mut count, mut bytes) = (0, 0);
        while let Some(message) = messages.pop() {
            match self.link.deliver(vec![self.outgoing(subject, &message)], self.jetstream).await {
                Ok(()) => {
                    count += 1;
                    bytes += message.body.len() as u64;
                }
                Err(SendError::Refused { why }) => match split(&message) {
                    Some(halves) => messages.extend(halves.into_iter().rev()),
                    None => self.left_out(1, subject, || why),
                },
                Err(error) => return Err(error),
            }
        }
        Ok((count, bytes))
    }

    fn outgoing(&self, subject: &str, message: &Message) -> Outgoing {
        let Message { id, zstd, body } = message.clone();
        Outgoing { subject: subject.to_owned(), id: self.jetstream.then_some(id), zstd, body }
    }

    fn left_out(&self, count: u64, subject: &str, why: impl FnOnce() -> String) {
        if count > 0 {
            self.state.too_large.fetch_add(count, Relaxed);
            tracing::warn!(
                "{count} messages for {subject} are too large for {} and are left out: {}",
                self.names(),
                why()
            );
        }
    }
}

/// Passes on `message`, or its parts, none larger than `limit`. Returns how many could not be made so small.
fn fit(message: Message, limit: usize, pass: &mut impl FnMut(Message)) -> u64 {
    if message.body.len() <= limit {
        pass(message);
        return 0;
    }
    match split(&message) {
        Some(halves) => halves.into_iter().map(|half| fit(half, limit, pass)).sum(),
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_too_large_is_split_until_it_fits_or_cannot_be() {
        let metrics: Vec<_> =
            (0..64).map(|n| json!({ "name": format!("metric_{n:04}"), "value": n })).collect();
        let body = serde_json::to_vec(&json!({ "hostname": "h", "metrics": metrics })).unwrap();
        let message = Message { id: "x".into(), zstd: false, body };
        let check = |limit: usize, parts: usize, lost: u64| {
            let mut passed = Vec::new();
            assert_eq!(fit(message.clone(), limit, &mut |m| passed.push(m)), lost, "{limit}");
            assert_eq!(passed.len(), parts, "{limit}");
            assert!(passed.iter().all(|m| m.body.len() <= limit));
            let mut ids: Vec<_> = passed.iter().map(|m| m.id.clone()).collect();
            ids.dedup();
            assert_eq!(ids.len(), parts, "{ids:?}");
        };
        check(1 << 20, 1, 0);
        check(message.body.len(), 1, 0);
        check(message.body.len() - 1, 2, 0);
        check(200, 16, 0);
        check(80, 64, 0);
        check(20, 0, 64);
        check(0, 0, 64);
    }
}
