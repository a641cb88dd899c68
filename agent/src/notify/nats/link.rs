//! One connection to a server, or to a cluster of them: made at the first message and kept.

use super::super::backoff::Dice;
use super::super::channel::SendError;
use super::probe::Probe;
use super::terms::{Later, Terms, advice};
use super::{ack, token};
use crate::config::Config;
use crate::text;
use async_nats::connection::State;
use async_nats::{
    Client, ClientError, ConnectOptions, Event, HeaderMap, Request, RequestErrorKind, ServerAddr, ServerError,
};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{OnceCell, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

/// How the subjects begin at which a client hears answers.
const INBOX: &str = "_INBOX.";
/// Longest wait for a connection, and for the answer to messages.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a complaint about a message may take that the server has dealt with: the library hands it on aside.
const COMPLAINT: Duration = Duration::from_millis(20);
/// Characters of an error that are shown.
const MAX_SHOWN: usize = 200;
/// In place of the names of servers that are in a file.
const NOT_KNOWN: &str = "the server of [nats]";
/// Messages whose answers `JetStream` owes at once.
const MAX_UNANSWERED: usize = 64;

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub subject: String,
    /// `Nats-Msg-Id`.
    pub id: Option<String>,
    /// Whether the body is compressed, which a header then says.
    pub zstd: bool,
    /// The body.
    pub body: Vec<u8>,
}

impl Outgoing {
    /// A message without headers.
    pub fn plain(subject: String, body: Vec<u8>) -> Self {
        Self { subject, id: None, zstd: false, body }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.zstd {
            headers.insert("Content-Encoding", "zstd");
        }
        if let Some(id) = &self.id {
            headers.insert("Nats-Msg-Id", id.as_str());
        }
        headers
    }
}

/// The connection, and what the server says besides.
pub(super) struct Made {
    pub(super) client: Client,
    /// What the server said last and nobody has heard yet.
    complaints: Arc<watch::Sender<Option<String>>>,
    /// What it said last about an inbox.
    pub(super) refusals: Arc<watch::Sender<Option<String>>>,
    /// Why the newest try to connect again failed; `None` while the connection stands.
    trouble: watch::Receiver<Option<String>>,
    /// The library has given up (`nats.max_reconnect_attempts`).
    closed: Arc<AtomicBool>,
}

impl Made {
    fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Another one after each connecting again.
    pub(super) fn number(&self) -> u64 {
        self.client.statistics().connects.load(Relaxed)
    }
}

/// A connection, made at the first message and kept.
pub struct Link {
    prefix: String,
    /// Read at the start, or later where a file of them was not there.
    terms: OnceCell<Terms>,
    later: Option<Later>,
    /// They are being read, perhaps from a disk that hangs: one reading at a time.
    reading: Arc<AtomicBool>,
    reconnects: Option<usize>,
    delay: Duration,
    #[expect(clippy::disallowed_types, reason = "held for a moment to take a copy, never over an await")]
    made: std::sync::Mutex<Arc<OnceCell<Made>>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.names())
    }
}

impl Link {
    /// Reads the credentials; connects to nothing.
    ///
    /// # Errors
    /// A sentence without secrets.
    pub fn of(config: &Config) -> Result<Self, String> {
        Terms::of(config).map(|terms| Self::with(config, terms.into(), None))
    }

    /// The same before a secret or a certificate is there: they are read again at each try.
    pub fn later(config: &Config, later: Later) -> Self {
        Self::with(config, OnceCell::new(), Some(later))
    }

    #[expect(clippy::disallowed_types, reason = "as above")]
    fn with(config: &Config, terms: OnceCell<Terms>, later: Option<Later>) -> Self {
        let section = &config.nats;
        Self {
            prefix: section.subject_prefix.clone(),
            terms,
            later,
            reading: Arc::default(),
            reconnects: usize::try_from(section.max_reconnect_attempts).ok(),
            delay: Duration::from_secs(section.reconnect_delay_secs),
            made: std::sync::Mutex::default(),
        }
    }

    /// `{prefix}.{host}.{what}`.
    pub fn subject(&self, host: &str, what: &str) -> String {
        format!("{}.{}.{what}", self.prefix, token(host))
    }

    /// What is needed to connect, as soon as it is there.
    async fn terms(&self) -> Result<&Terms, SendError> {
        self.terms.get_or_try_init(|| self.read_terms()).await
    }

    async fn read_terms(&self) -> Result<Terms, SendError> {
        let Some(later) = self.later.clone() else { return Err(SendError::retry(NOT_KNOWN)) };
        if self.reading.swap(true, Relaxed) {
            return Err(SendError::retry("[nats]: its files are still being read"));
        }
        let reading = Arc::clone(&self.reading);
        let read = spawn_blocking(move || {
            let terms = later().and_then(|config| Terms::of(&config));
            reading.store(false, Relaxed);
            terms
        });
        read.await.map_err(|error| error.to_string()).and_then(|terms| terms).map_err(SendError::retry)
    }

    fn options(&self, terms: &Terms) -> Result<ConnectOptions, String> {
        let options = terms.options()?;
        let (delay, seed) = (self.delay, RandomState::new().hash_one(0));
        Ok(options.max_reconnects(self.reconnects).reconnect_delay_callback(move |tries| {
            // Quickly at first, and never all hosts of a fleet at one moment.
            let longest = delay.min(Duration::from_millis(100 << tries.min(16)));
            longest.mul_f64(1.0 - Dice(seed ^ tries as u64).roll() / 2.0)
        }))
    }

    /// Servers, without passwords.
    pub fn names(&self) -> String {
        let name = |server: &ServerAddr| format!("{}:{}", server.host(), server.port());
        let names = |terms: &Terms| terms.servers.iter().map(name).collect::<Vec<_>>().join(", ");
        self.terms.get().map_or_else(|| NOT_KNOWN.to_owned(), names)
    }

    async fn connect(&self, subject: &str) -> Result<Made, SendError> {
        let (troubled, trouble) = watch::channel(None);
        let (complaints, troubled) = (Arc::new(watch::Sender::new(None)), Arc::new(troubled));
        let refusals = Arc::new(watch::Sender::new(None));
        let (heard, refused) = (Arc::clone(&complaints), Arc::clone(&refusals));
        // Answers come to an inbox of the host's own, so that a server can keep agents from hearing each other's.
        let host = subject.rsplit('.').nth(1).unwrap_or_default();
        let terms = self.terms().await?;
        let options =
            self.options(terms).map_err(SendError::retry)?.custom_inbox_prefix(format!("{INBOX}{host}"));
        let closed = Arc::new(AtomicBool::new(false));
        let closing = Arc::clone(&closed);
        let options = options.event_callback(move |event| {
            let (heard, troubled) = (Arc::clone(&heard), Arc::clone(&troubled));
            let refused = Arc::clone(&refused);
            let closing = Arc::clone(&closing);
            async move {
                match event {
                    Event::ServerError(ServerError::Other(what)) if what.contains(INBOX) => {
                        drop(refused.send_replace(Some(what)));
                    }
                    Event::ServerError(ServerError::Other(what)) => drop(heard.send_replace(Some(what))),
                    Event::ClientError(ClientError::Other(why)) => drop(troubled.send_replace(Some(why))),
                    Event::Connected => drop(troubled.send_replace(None)),
                    // The next message makes a connection of its own, and hears in full what is wrong.
                    Event::ClientError(ClientError::MaxReconnects) | Event::Closed => {
                        closing.store(true, Relaxed);
                    }
                    _ => {}
                }
            }
        });
        let made = options.connect(terms.servers.clone()).await;
        let client = made.map_err(|error| {
            let why = error.to_string();
            let advice = advice(&why);
            SendError::retry(format!("cannot connect to {}: {}{advice}", self.names(), self.harmless(&why)))
        })?;
        Ok(Made { client, complaints, refusals, trouble, closed })
    }

    /// The present connection, or the place of the one to be made: a new place if the library has given up the old one.
    fn place(&self) -> Arc<OnceCell<Made>> {
        let mut place = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if place.get().is_some_and(Made::is_closed) {
            *place = Arc::default();
        }
        Arc::clone(&place)
    }

    /// Makes sure that the connection in `place` stands now. Messages to one that does not would wait in the library and
    /// go twice.
    async fn standing<'a>(&self, place: &'a OnceCell<Made>, subject: &str) -> Result<&'a Made, SendError> {
        let made = place.get_or_try_init(|| self.connect(subject)).await?;
        if made.client.connection_state() == State::Connected {
            return Ok(made);
        }
        let why = made.trouble.borrow().clone().unwrap_or_else(|| "it is tried again".to_owned());
        Err(self.lost(&format!("{why}{}", advice(&why))))
    }

    fn lost(&self, why: &dyn fmt::Display) -> SendError {
        let why = self.harmless(&why.to_string());
        SendError::retry(format!("lost the connection to {}: {why}", self.names()))
    }

    /// Largest message for `subject` that the server takes, bytes with its headers. Connects if need be.
    pub async fn max_payload(&self, subject: &str) -> Result<usize, SendError> {
        let place = self.place();
        let made = self.in_time(&place, self.standing(&place, subject)).await?;
        Ok(made.client.max_payload())
    }

    /// Delivers messages in order; returns when the server has dealt with all of them or, with `acknowledged`, when
    /// `JetStream` has stored each.
    pub async fn deliver(&self, messages: Vec<Outgoing>, acknowledged: bool) -> Result<(), SendError> {
        let Some(first) = messages.first() else { return Ok(()) };
        let (subject, place) = (first.subject.clone(), self.place());
        let sending = async {
            let made = self.standing(&place, &subject).await?;
            if acknowledged { self.store(made, messages).await } else { self.publish(made, messages).await }
        };
        self.in_time(&place, sending).await
    }

    async fn in_time<T>(
        &self,
        place: &OnceCell<Made>,
        doing: impl Future<Output = Result<T, SendError>>,
    ) -> Result<T, SendError> {
        if let Ok(done) = timeout(PATIENCE, doing).await {
            return done;
        }
        if let Some(made) = place.get() {
            // The other side may be gone without a word; a new connection shows it.
            let _ = made.client.force_reconnect().await;
        }
        let silence = format!("{} did not answer within {} s", self.names(), PATIENCE.as_secs());
        Err(SendError::retry(silence))
    }

    async fn publish(&self, made: &Made, messages: Vec<Outgoing>) -> Result<(), SendError> {
        let client = &made.client;
        let connection = made.number();
        let probe = Probe::begin(made).await.map_err(|e| self.lost(&e))?;
        let mut subjects = Vec::with_capacity(messages.len());
        for message in messages {
            let headers = message.headers();
            subjects.push(message.subject.clone());
            let (subject, body) = (message.subject, message.body.into());
            let published = if headers.is_empty() {
                client.publish(subject, body).await
            } else {
                client.publish_with_headers(subject, headers, body).await
            };
            published.map_err(|error| self.unpublished(&error))?;
        }
        probe.answered(connection).await.map_err(|e| self.lost(&e))?;
        sleep(COMPLAINT).await;
        // What was on its way in a connection is gone with it, and the next one may have answered in its place.
        if client.connection_state() != State::Connected || made.number() != connection {
            return Err(self.lost(&"while messages were on their way"));
        }
        self.judged(made, &subjects)
    }

    /// What the server said about publishing to one of `subjects`.
    fn judged(&self, made: &Made, subjects: &[String]) -> Result<(), SendError> {
        match complaint_about(&made.complaints, subjects) {
            Some(what) => Err(SendError::barred(format!(
                "{} does not let this user publish to {}: {}",
                self.names(),
                subjects.first().map_or("", String::as_str),
                self.harmless(&what)
            ))),
            None => Ok(()),
        }
    }

    fn unpublished(&self, error: &async_nats::PublishError) -> SendError {
        if error.kind() == async_nats::client::PublishErrorKind::MaxPayloadExceeded {
            return SendError::refused(format!("{} takes no message of that size: {error}", self.names()));
        }
        self.lost(error)
    }

    async fn store(&self, made: &Made, messages: Vec<Outgoing>) -> Result<(), SendError> {
        // Asked in the order in which they were put in: the stream gets them in order.
        let mut unanswered = FuturesUnordered::new();
        let subjects: Vec<String> = messages.iter().map(|message| message.subject.clone()).collect();
        let mut messages = messages.into_iter();
        loop {
            while unanswered.len() < MAX_UNANSWERED
                && let Some(message) = messages.next()
            {
                let (client, headers) = (made.client.clone(), message.headers());
                let request = Request::new().headers(headers).payload(message.body.into()).timeout(None);
                unanswered.push(async move {
                    let answer = client.send_request(message.subject.clone(), request).await;
                    (message.subject, answer)
                });
            }
            let answered = tokio::select! {
                answered = unanswered.next() => answered,
                () = complained(&made.complaints, &subjects) => {
                    // Or somebody else has heard it meanwhile.
                    return self.judged(made, &subjects).and_then(|()| Err(self.lost(&"a message was refused")));
                }
            };
            let Some((subject, answer)) = answered else { return Ok(()) };
            match answer {
                Ok(answer) => ack::judge(&subject, &answer.payload)?,
                Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                    return Err(SendError::retry(format!(
                        "no stream of JetStream on {} takes {subject}: make one, or set nats.jetstream = false",
                        self.names()
                    )));
                }
                Err(error) if error.kind() == RequestErrorKind::MaxPayloadExceeded => {
                    return Err(SendError::refused(format!(
                        "{} takes no message of that size",
                        self.names()
                    )));
                }
                Err(error) => return Err(self.lost(&error)),
            }
        }
    }

    fn harmless(&self, said: &str) -> String {
        let secrets = self.terms.get().into_iter().flat_map(|terms| terms.login.secrets());
        let hidden = secrets
            .filter(|secret| secret.len() >= 4)
            .fold(said.to_owned(), |said, secret| said.replace(secret, "***"));
        text::clean(hidden.trim(), MAX_SHOWN)
    }
}

fn is_about(what: &str, subjects: &[String]) -> bool {
    what.to_lowercase().contains("publish") && subjects.iter().any(|subject| what.contains(subject.as_str()))
}

/// Returns when the server has said something about publishing to one of `subjects`.
async fn complained(complaints: &watch::Sender<Option<String>>, subjects: &[String]) {
    let is_meant = |said: &Option<String>| said.as_deref().is_some_and(|what| is_about(what, subjects));
    // The sender is borrowed here, so that there is one.
    let _ = complaints.subscribe().wait_for(is_meant).await;
}

/// Takes what the server said about publishing to one of `subjects`. One that came too late for the messages it was about
/// stays for the next ones to the same subject, which fare no better.
fn complaint_about(complaints: &watch::Sender<Option<String>>, subjects: &[String]) -> Option<String> {
    let mut found = None;
    complaints.send_if_modified(|said| {
        found = said.take_if(|what| is_about(what, subjects));
        found.is_some()
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_complaint_is_heard_with_the_next_message_to_that_subject() {
        let complaints = watch::Sender::new(None);
        let about = |subject: &str| complaint_about(&complaints, &[subject.to_owned()]);
        assert_eq!(about("s.h.metrics"), None);
        let said = "Permissions Violation for Publish to \"s.h.metrics\"".to_owned();
        complaints.send_replace(Some(said.clone()));
        assert_eq!(about("s.h.alerts"), None, "another's");
        assert_eq!(about("s.h.metrics"), Some(said));
        assert_eq!(about("s.h.metrics"), None, "once");
        complaints.send_replace(Some("Slow Consumer on s.h.metrics".into()));
        assert_eq!(about("s.h.metrics"), None);
    }
}
