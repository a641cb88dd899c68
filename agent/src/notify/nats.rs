//! Alerts and heartbeats to NATS: `{prefix}.{host}.alerts`, `{prefix}.{host}.heartbeat`, plain JSON.
//!
//! Core NATS acknowledges nothing. So each message is followed by a PING: the server answers it after it has dealt
//! with what came before.

use super::backoff::Backoff;
use super::channel::{Channel, Made, SendError, Sending};
use super::terminal::Screen;
use crate::alert::Alert;
use crate::config::Config;
use crate::host::state;
use crate::text;
use async_nats::{Client, ConnectOptions, Event, ServerAddr, ServerError};
use futures_util::StreamExt;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, watch};
use tokio::time::{sleep, timeout};

/// Name of the channel; its section is `[nats]`.
pub const NAME: &str = "nats";
/// Longest wait for a connection, and for the answer to a message.
const PATIENCE: Duration = Duration::from_secs(10);
/// The complaint of a server comes before its PONG, but by another task.
const COMPLAINT: Duration = Duration::from_millis(20);
/// Characters of an error that are shown.
const MAX_SHOWN: usize = 200;

/// Made as the configuration says.
pub(super) fn make(config: &Config, _: Screen) -> Result<Option<Made>, String> {
    let section = &config.nats;
    if !section.enabled || !section.include_alerts {
        return Ok(None);
    }
    let channel = Nats { link: Link::of(config)?, template: config.alerting.templates.nats.is_some() };
    Ok(Some(Made {
        channel: Arc::new(channel),
        backoff: Backoff::default(),
        min_severity: section.min_severity,
        severity_filter: section.severity_filter.clone(),
    }))
}

/// A host name as one token of a subject: a dot would split it.
pub fn token(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    if name.is_empty() { "unknown".to_owned() } else { name.chars().take(255).map(safe).collect() }
}

/// The channel.
#[derive(Debug)]
struct Nats {
    link: Link,
    template: bool,
}

impl Channel for Nats {
    fn name(&self) -> &'static str {
        NAME
    }

    fn send<'a>(&'a self, alert: &'a Alert, text: &'a str) -> Sending<'a> {
        Box::pin(async move {
            let worded = self.template.then(|| Alert { message: text.to_owned(), ..alert.clone() });
            let body = serde_json::to_vec(worded.as_ref().unwrap_or(alert));
            let body = body.map_err(|error| SendError::refused(format!("the alert is no JSON: {error}")))?;
            self.link.send(&alert.hostname, "alerts", body).await
        })
    }
}

/// A connection, made at the first message and kept.
pub struct Link {
    servers: Vec<ServerAddr>,
    prefix: String,
    credentials: Option<String>,
    token: SecretString,
    user: String,
    password: SecretString,
    ca_file: PathBuf,
    reconnects: Option<usize>,
    delay: Duration,
    client: OnceCell<(Client, watch::Receiver<Option<String>>)>,
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
        let section = &config.nats;
        let urls = if section.urls.is_empty() { std::slice::from_ref(&section.url) } else { &section.urls };
        let server = |url: &SecretString| {
            let address: Result<ServerAddr, _> = url.expose_secret().parse();
            // The error could quote the address, and a password in it.
            address.map_err(|_| "nats: a url is not the address of a server".to_owned())
        };
        let path = &section.credential_file;
        let read = || {
            state::read_user_file(path)
                .map_err(|error| format!("nats.credential_file {} cannot be read: {error}", path.display()))
        };
        let ca_file = if section.tls_ca_file.as_os_str().is_empty() {
            &config.alerting.ca_file
        } else {
            &section.tls_ca_file
        };
        let link = Self {
            servers: urls.iter().map(server).collect::<Result<_, _>>()?,
            prefix: section.subject_prefix.clone(),
            credentials: (!path.as_os_str().is_empty()).then(read).transpose()?,
            token: section.token.clone(),
            user: section.user.clone(),
            password: section.password.clone(),
            ca_file: ca_file.clone(),
            reconnects: usize::try_from(section.max_reconnect_attempts).ok(),
            delay: Duration::from_secs(section.reconnect_delay_secs),
            client: OnceCell::new(),
        };
        link.options().map(|_| link)
    }

    fn options(&self) -> Result<ConnectOptions, String> {
        let mut options = ConnectOptions::new().name("sysops-agent").connection_timeout(PATIENCE);
        if let Some(credentials) = &self.credentials {
            options = options
                .credentials(credentials)
                .map_err(|_| "nats.credential_file is not a file of credentials (JWT and NKey)".to_owned())?;
        }
        if !self.token.expose_secret().is_empty() {
            options = options.token(self.token.expose_secret().to_owned());
        }
        if !self.user.is_empty() {
            options = options.user_and_password(self.user.clone(), self.password.expose_secret().to_owned());
        }
        if !self.ca_file.as_os_str().is_empty() {
            options = options.add_root_certificates(self.ca_file.clone());
        }
        let delay = self.delay;
        Ok(options
            .max_reconnects(self.reconnects)
            .reconnect_delay_callback(move |tries| delay.min(Duration::from_millis(100 << tries.min(16)))))
    }

    /// Servers, without passwords.
    fn names(&self) -> String {
        let name = |server: &ServerAddr| format!("{}:{}", server.host(), server.port());
        self.servers.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    async fn connect(&self) -> Result<(Client, watch::Receiver<Option<String>>), SendError> {
        let (complaints, heard) = watch::channel(None);
        let complaints = Arc::new(complaints);
        let options = self.options().map_err(SendError::retry)?.event_callback(move |event| {
            let complaints = Arc::clone(&complaints);
            async move {
                if let Event::ServerError(ServerError::Other(what)) = event {
                    complaints.send_replace(Some(what));
                }
            }
        });
        let made = options.connect(self.servers.clone()).await;
        let client = made.map_err(|error| {
            SendError::retry(format!(
                "cannot connect to {}: {}",
                self.names(),
                self.harmless(&error.to_string())
            ))
        })?;
        Ok((client, heard))
    }

    /// Sends `body` to `{prefix}.{host}.{what}`; returns when the server has dealt with it.
    pub async fn send(&self, host: &str, what: &str, body: Vec<u8>) -> Result<(), SendError> {
        let subject = format!("{}.{}.{what}", self.prefix, token(host));
        let sent = timeout(PATIENCE, self.publish(subject, body)).await;
        sent.unwrap_or_else(|_| {
            Err(SendError::retry(format!("{} did not answer within {} s", self.names(), PATIENCE.as_secs())))
        })
    }

    async fn publish(&self, subject: String, body: Vec<u8>) -> Result<(), SendError> {
        let (client, heard) = self.client.get_or_try_init(|| self.connect()).await?;
        let mut heard = heard.clone();
        heard.mark_unchanged();
        let lost = |error: &dyn fmt::Display| {
            SendError::retry(format!(
                "lost the connection to {}: {}",
                self.names(),
                self.harmless(&error.to_string())
            ))
        };
        // The end of a subscription that is drained is the server's PONG.
        let mut pong = client.subscribe(client.new_inbox()).await.map_err(|e| lost(&e))?;
        client.publish(subject.clone(), body.into()).await.map_err(|e| lost(&e))?;
        pong.drain().await.map_err(|e| lost(&e))?;
        while pong.next().await.is_some() {}
        sleep(COMPLAINT).await;
        let complaint =
            heard.borrow_and_update().clone().filter(|what| what.to_lowercase().contains("publish"));
        match complaint {
            Some(what) => Err(SendError::refused(format!(
                "{} does not let this user publish to {subject}: {}",
                self.names(),
                self.harmless(&what)
            ))),
            None => Ok(()),
        }
    }

    fn harmless(&self, said: &str) -> String {
        let secrets = [&self.token, &self.password].map(|s| s.expose_secret().to_owned());
        let hidden = secrets
            .iter()
            .filter(|secret| secret.len() >= 4)
            .fold(said.to_owned(), |said, secret| said.replace(secret.as_str(), "***"));
        text::clean(hidden.trim(), MAX_SHOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_one_token() {
        let check = |name: &str, expect: &str| assert_eq!(token(name), expect);
        check("web-1", "web-1");
        check("web-1.example.com", "web-1_example_com");
        check("a b*>\u{e9}", "a_b___");
        check("", "unknown");
    }
}
