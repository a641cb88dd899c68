//! Alerts by mail. Each message has a connection of its own: alerts are rare, and a server that went away in between
//! costs nothing.

mod answers;
mod shares;

use super::TIMEOUT;
use super::backoff::Backoff;
use super::channel::{Channel, SendError, Sending};
use super::disguise;
use super::mail::{Letter, message};
use super::routes::Made;
use super::terminal::Screen;
use super::way::hash;
use crate::alert::Alert;
use crate::config::{Config, SmtpTls};
use crate::host::state;
use crate::text;
use answers::Fault;
use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
#[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
use lettre::transport::smtp::client::Tls;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{AsyncSmtpTransportBuilder, Error};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use shares::{Share, Shares};
use std::error::Error as _;
use std::path::PathBuf;
use std::sync::Arc;

/// Its section below `[alerting]`.
pub const NAME: &str = "email";
/// Answers to a login (RFC 4954, 6), which are about no recipient.
const LOGIN: [u16; 4] = [530, 534, 535, 538];
/// Characters shown of what the server says.
const MAX_SHOWN: usize = 200;

/// Made as the configuration says.
pub(super) fn make(config: &Config, _: Screen) -> Result<Option<Made>, String> {
    let section = &config.alerting.email;
    if !section.enabled {
        return Ok(None);
    }
    let mailbox = |key: &str, text: &str| {
        let wrong = |error| format!("{key} `{}` is not a mail address: {error}", text::clean(text, 100));
        text.parse::<Mailbox>().map_err(wrong)
    };
    let letter = || -> Result<Letter, String> {
        let to = section.to.iter().map(|to| mailbox("to", to)).collect::<Result<_, _>>()?;
        let subject_prefix = section.subject_prefix.clone();
        Ok(Letter { from: mailbox("from", &section.from)?, to, subject_prefix })
    };
    let made = letter().and_then(|letter| {
        Email::new(Options {
            host: section.smtp_host.clone(),
            port: section.smtp_port,
            tls: section.smtp_tls,
            ca_file: if section.tls_ca_file.as_os_str().is_empty() {
                config.alerting.ca_file.clone()
            } else {
                section.tls_ca_file.clone()
            },
            username: section.username.clone(),
            password: section.password.clone(),
            letter,
            template: config.alerting.templates.email.is_some(),
        })
    });
    Ok(Some(Made {
        channel: Arc::new(made.map_err(|why| format!("alerting.email: {why}"))?),
        backoff: Backoff::default(),
    }))
}

/// Where to and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// Certificates of authorities to trust besides the system's; empty: none.
    pub ca_file: PathBuf,
    /// User; empty: without login.
    pub username: String,
    /// Password.
    pub password: SecretString,
    /// From whom, to whom.
    pub letter: Letter,
    /// Send the template's text in place of the built-in form.
    pub template: bool,
}

/// The channel.
#[derive(Debug)]
pub struct Email {
    options: Options,
    /// Content of the file of certificates.
    authorities: Option<String>,
    #[expect(
        clippy::disallowed_types,
        reason = "one message at a time is under way, so nobody waits for the lock"
    )]
    shares: tokio::sync::Mutex<Shares>,
}

impl Email {
    /// Checks the options and reads the certificates; connects to nothing.
    ///
    /// # Errors
    /// A sentence without secrets.
    #[expect(
        clippy::disallowed_types,
        reason = "one message at a time is under way, so nobody waits for the lock"
    )]
    pub fn new(options: Options) -> Result<Self, String> {
        let path = &options.ca_file;
        let named = !path.as_os_str().is_empty() && options.tls != SmtpTls::None;
        let read = || {
            state::read_user_file(path)
                .map_err(|error| format!("tls_ca_file {} cannot be read: {error}", path.display()))
        };
        let email = Self {
            authorities: named.then(read).transpose()?,
            options,
            shares: tokio::sync::Mutex::default(),
        };
        email.builder()?;
        Ok(email)
    }

    #[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
    fn tls(&self) -> Result<Tls, String> {
        use lettre::transport::smtp::client::{Certificate, TlsParameters};
        let make = match self.options.tls {
            SmtpTls::Starttls => Tls::Required,
            SmtpTls::Tls => Tls::Wrapper,
            SmtpTls::None => return Ok(Tls::None),
        };
        let mut parameters = TlsParameters::builder(self.options.host.clone());
        if let Some(authorities) = &self.authorities {
            let path = self.options.ca_file.display();
            let wrong = || format!("tls_ca_file {path} holds no certificates in PEM form");
            let has = authorities.contains("-----BEGIN CERTIFICATE-----");
            let certificate = Certificate::from_pem(authorities.as_bytes()).ok().filter(|_| has);
            parameters = parameters.add_root_certificate(certificate.ok_or_else(wrong)?);
        }
        parameters.build().map(make).map_err(|error| format!("TLS cannot be set up: {}", root(&error)))
    }

    #[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
    fn protect(&self, builder: AsyncSmtpTransportBuilder) -> Result<AsyncSmtpTransportBuilder, String> {
        Ok(builder.tls(self.tls()?))
    }

    #[cfg(not(any(feature = "tls-rustls", feature = "tls-native")))]
    fn protect(&self, builder: AsyncSmtpTransportBuilder) -> Result<AsyncSmtpTransportBuilder, String> {
        match (self.options.tls, &self.authorities) {
            (SmtpTls::None, _) => Ok(builder),
            _ => Err("this build has no TLS: set smtp_tls = \"none\", or use a build with tls-rustls".into()),
        }
    }

    fn builder(&self) -> Result<AsyncSmtpTransportBuilder, String> {
        let Options { host, port, .. } = &self.options;
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host.clone());
        self.protect(builder.port(*port).timeout(Some(TIMEOUT)))
    }

    fn transport(&self, alert: &Alert) -> Result<AsyncSmtpTransport<Tokio1Executor>, SendError> {
        let Options { username, password, letter, .. } = &self.options;
        let mut builder = self
            .builder()
            .map_err(SendError::retry)?
            .hello_name(ClientId::Domain(hello(&alert.hostname, letter.from.email.domain())));
        if !username.is_empty() {
            builder =
                builder.credentials(Credentials::new(username.clone(), password.expose_secret().to_owned()));
        }
        Ok(builder.build())
    }

    /// One mail for all recipients; where one of them is refused, one for each, so that the others get theirs.
    async fn deliver(&self, alert: &Alert, text: &str) -> Result<(), SendError> {
        let text = self.options.template.then_some(text);
        let mail = message(alert, text, &self.options.letter).map_err(SendError::refused)?;
        let (transport, raw) = (self.transport(alert)?, mail.formatted());
        let mut shares = self.shares.lock().await;
        let mut share = shares.take(&format!("{} {} {}", alert.id, alert.status.name(), alert.timestamp));
        let to = mail.envelope().to();
        if share.is_empty() {
            let Err(error) = transport.send_raw(mail.envelope(), &raw).await else { return Ok(()) };
            let of_one = error.status().map(u16::from).is_some_and(|code| !LOGIN.contains(&code));
            if !of_one || to.len() < 2 {
                return Err(self.judge(&error));
            }
        }
        let mut failures = Vec::new();
        for recipient in to.iter().filter(|address| !share.has(address)).cloned().collect::<Vec<_>>() {
            let one = Envelope::new(mail.envelope().from().cloned(), vec![recipient.clone()]);
            let one = one.map_err(|error| SendError::refused(error.to_string()))?;
            match transport.send_raw(&one, &raw).await {
                Ok(_) => share.took(&recipient),
                // The server is gone: nothing of this is about a recipient.
                Err(error) if error.status().is_none() => {
                    shares.keep(share);
                    return Err(self.judge(&error));
                }
                Err(error) => failures.push(self.judge(&error)),
            }
        }
        settle(&mut shares, share, failures)
    }

    fn judge(&self, error: &Error) -> SendError {
        let Options { host, port, .. } = &self.options;
        let said = self.harmless(&root(error));
        let code = error.status().map(u16::from);
        let server = format!("{host}:{port}");
        if error.is_permanent() {
            let code = code.unwrap_or_default();
            let why = format!("{server} answered {code}{}: {said}", answers::meaning(code));
            return match answers::fault(code, &said) {
                Fault::Later => SendError::retry(why),
                Fault::Way => SendError::barred(why),
                Fault::Mail => SendError::refused(why),
            };
        }
        if error.is_transient() {
            return SendError::retry(format!("{server} does not take mail now: {said}"));
        }
        if error.is_timeout() {
            return SendError::retry(format!("{server} did not answer within {} s", TIMEOUT.as_secs()));
        }
        // A handshake that fails comes as a broken connection.
        let of_tls = ["corrupt message", "ertificate"].iter().any(|word| said.contains(word));
        let advice = if of_tls || is_tls(error) || error.is_client() || error.is_response() {
            " (check smtp_tls: usually \"starttls\" on port 587, \"tls\" on 465; and the server's certificate)"
        } else {
            ""
        };
        SendError::retry(format!("no mail through {server}{advice}: {said}"))
    }

    fn harmless(&self, said: &str) -> String {
        let password = self.options.password.expose_secret();
        let sent = disguise::mail(&self.options.username, password);
        let secrets = sent.iter().map(String::as_str).chain([password]).filter(|_| password.len() >= 4);
        let said = secrets.fold(said.to_owned(), |said, secret| said.replace(secret, "***"));
        text::clean(said.trim(), MAX_SHOWN)
    }
}

#[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
fn is_tls(error: &Error) -> bool {
    error.is_tls()
}

#[cfg(not(any(feature = "tls-rustls", feature = "tls-native")))]
fn is_tls(_: &Error) -> bool {
    false
}

/// What the host calls itself: its name if that could be one of a mail host, else the sender's domain.
fn hello(hostname: &str, domain: &str) -> String {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    let name = if hostname.contains('.') && hostname.len() < 254 && hostname.bytes().all(good) {
        hostname
    } else {
        domain
    };
    name.to_owned()
}

/// What becomes of a mail that not everybody took: nobody has it, and it is as with one recipient; or somebody has, and the others
/// have a while for theirs.
fn settle(shares: &mut Shares, mut share: Share, failures: Vec<SendError>) -> Result<(), SendError> {
    let may_pass = |failure: &SendError| matches!(failure, SendError::Retry { .. });
    if share.is_empty() {
        // What leaves it the best chance.
        let rank = |failure: &SendError| match failure {
            failure if may_pass(failure) => 0,
            SendError::Barred { .. } => 1,
            _ => 2,
        };
        return failures.into_iter().min_by_key(rank).map_or(Ok(()), Err);
    }
    if failures.is_empty() {
        return Ok(());
    }
    let whys: Vec<&str> = failures.iter().map(SendError::why).collect();
    let why = format!("some recipients have it, others do not: {}", whys.join("; "));
    let again = failures.iter().any(may_pass) && share.goes_on();
    if again {
        shares.keep(share);
    } else if shares.is_news(&why) {
        tracing::warn!("a recipient of alerting.email gets no mail: {why}");
    }
    Err(SendError::Partly { why, again })
}

fn root(error: &Error) -> String {
    let mut source = error.source();
    let mut text = error.to_string();
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}

impl Channel for Email {
    fn name(&self) -> &'static str {
        NAME
    }

    fn files(&self) -> u64 {
        self.authorities.as_deref().map_or(0, hash)
    }

    fn send<'a>(&'a self, alert: &'a Alert, text: &'a str) -> Sending<'a> {
        Box::pin(self.deliver(alert, text))
    }

    fn doubt(&self) -> Option<String> {
        let Options { tls, password, host, .. } = &self.options;
        let local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        let bare = *tls == SmtpTls::None && !password.expose_secret().is_empty() && !local;
        bare.then(|| {
            "the password crosses the network readable; set smtp_tls to \"starttls\" or \"tls\"".into()
        })
    }
}

#[cfg(test)]
#[path = "email_tests.rs"]
mod tests;
