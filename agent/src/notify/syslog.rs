//! Alerts to the system log: `/dev/log` in the traditional form, a server over UDP or TCP in that of RFC 5424.

use super::backoff::Backoff;
use super::channel::{Channel, SendError, Sending};
use super::routes::Made;
use super::terminal::Screen;
use crate::alert::{Alert, Severity, Status};
use crate::config::Config;
use crate::text;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream};
use tokio::time::timeout;

/// Its section below `[alerting]`.
pub const NAME: &str = "syslog";
/// Longest message text, bytes; every syslogd takes 2 KiB lines (RFC 5424, 6.1).
const MAX_TEXT: usize = 1600;
/// Longest value of structured data, characters.
const MAX_PARAM: usize = 64;
/// Longest time for one message.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Structured data of this agent; 32473 is the number that RFC 5612 reserves for those without their own.
const SD_ID: &str = "alert@32473";

/// Made as the configuration says.
pub(super) fn make(config: &Config, _: Screen) -> Result<Option<Made>, String> {
    let section = &config.alerting.syslog;
    if !section.enabled {
        return Ok(None);
    }
    let target =
        Target::parse(&section.address, &section.socket).map_err(|why| format!("alerting.syslog: {why}"))?;
    let options = Options {
        facility: section.facility.code(),
        tag: section.tag.clone(),
        target,
        zone: TimeZone::system(),
        pid: std::process::id(),
    };
    Ok(Some(Made { channel: Arc::new(Syslog::new(options)), backoff: Backoff::default() }))
}

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A Unix socket, datagram or stream.
    Local(PathBuf),
    /// `host:port`, one datagram a message.
    Udp(String),
    /// `host:port`, messages preceded by their length.
    Tcp(String),
}

impl Target {
    /// `udp://host:port`, `tcp://host:port`, or empty for the socket. Without a port it is 514.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(address: &str, socket: &Path) -> Result<Self, String> {
        if address.is_empty() {
            return Ok(Self::Local(socket.to_owned()));
        }
        let wrong = || {
            let address = text::clean(address, 80);
            format!("address `{address}` is neither udp://host:port nor tcp://host:port")
        };
        let (scheme, host) = address.split_once("://").ok_or_else(wrong)?;
        let host = host.trim_end_matches('/');
        let port = host.rsplit_once(':').filter(|(name, _)| !name.contains(':') || name.ends_with(']'));
        let good = match port {
            Some((name, port)) => !name.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0),
            None => !host.is_empty() && (!host.contains(':') || host.ends_with(']')),
        };
        if !good || host.contains(['/', '@', ' ']) {
            return Err(wrong());
        }
        let host = if port.is_some() { host.to_owned() } else { format!("{host}:514") };
        match scheme {
            "udp" => Ok(Self::Udp(host)),
            "tcp" => Ok(Self::Tcp(host)),
            _ => Err(wrong()),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            Self::Udp(host) => format!("udp://{host}"),
            Self::Tcp(host) => format!("tcp://{host}"),
        }
    }
}

/// Where to and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of the facility in RFC 5424, 0-23.
    pub facility: u8,
    /// Name of the program.
    pub tag: String,
    /// Where to.
    pub target: Target,
    /// Zone of the traditional form's time.
    pub zone: TimeZone,
    /// Process id in the messages.
    pub pid: u32,
}

/// The channel.
#[derive(Debug)]
#[expect(
    clippy::disallowed_types,
    reason = "one message at a time is under way, so nobody waits for the lock"
)]
pub struct Syslog {
    options: Options,
    link: tokio::sync::Mutex<Option<Link>>,
}

impl Syslog {
    /// Connects with the first message.
    #[expect(clippy::disallowed_types, reason = "as above")]
    pub fn new(options: Options) -> Self {
        Self { options, link: tokio::sync::Mutex::new(None) }
    }

    /// Two tries: the first may only find out that the other end was restarted.
    async fn deliver(&self, message: &str) -> io::Result<()> {
        let mut link = self.link.lock().await;
        if let Some(old) = link.take()
            && old.is_alive()
            && let Ok(old) = old.write(message).await
        {
            *link = Some(old);
            return Ok(());
        }
        let fresh = Link::open(&self.options.target).await?;
        *link = Some(fresh.write(message).await?);
        Ok(())
    }
}

impl Channel for Syslog {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_local(&self) -> bool {
        matches!(self.options.target, Target::Local(_))
    }

    fn send<'a>(&'a self, alert: &'a Alert, text: &'a str) -> Sending<'a> {
        Box::pin(async move {
            let message = match self.options.target {
                Target::Local(_) => traditional(alert, text, &self.options),
                Target::Udp(_) | Target::Tcp(_) => rfc5424(alert, text, &self.options),
            };
            let name = || self.options.target.name();
            match timeout(TIMEOUT, self.deliver(&message)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(SendError::retry(format!("cannot write to {}: {error}", name()))),
                Err(_) => {
                    Err(SendError::retry(format!("{} took nothing within {} s", name(), TIMEOUT.as_secs())))
                }
            }
        })
    }
}

/// An open way to the target.
#[derive(Debug)]
enum Link {
    Datagram(UnixDatagram),
    Stream(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Link {
    async fn open(target: &Target) -> io::Result<Self> {
        match target {
            Target::Local(path) => {
                let socket = UnixDatagram::unbound()?;
                match socket.connect(path) {
                    Ok(()) => Ok(Self::Datagram(socket)),
                    // EPROTOTYPE: a stream socket listens there.
                    Err(error) if error.raw_os_error() == Some(91) => {
                        Ok(Self::Stream(UnixStream::connect(path).await?))
                    }
                    Err(error) => Err(error),
                }
            }
            Target::Udp(host) => {
                let mut addresses = tokio::net::lookup_host(host).await?;
                let to = addresses.next().ok_or_else(|| io::Error::other("the name has no address"))?;
                let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(to).await?;
                Ok(Self::Udp(socket))
            }
            Target::Tcp(host) => Ok(Self::Tcp(TcpStream::connect(host).await?)),
        }
    }

    /// Whether the other end is still there. A stream takes one message more after that; it would be lost.
    fn is_alive(&self) -> bool {
        let mut byte = [0];
        let read = match self {
            Self::Datagram(_) | Self::Udp(_) => return true,
            Self::Stream(stream) => stream.try_read(&mut byte),
            Self::Tcp(stream) => stream.try_read(&mut byte),
        };
        match read {
            Ok(n) => n > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    /// Gives itself back only after a whole message: half a one would spoil the next.
    async fn write(mut self, message: &str) -> io::Result<Self> {
        match &mut self {
            Self::Datagram(socket) => drop(socket.send(message.as_bytes()).await?),
            Self::Udp(socket) => drop(socket.send(message.as_bytes()).await?),
            // A zero byte ends a message, as with the C library.
            Self::Stream(stream) => stream.write_all(format!("{message}\0").as_bytes()).await?,
            // RFC 6587, 3.4.1: octet counting.
            Self::Tcp(stream) => stream.write_all(format!("{} {message}", message.len()).as_bytes()).await?,
        }
        Ok(self)
    }
}

/// The traditional form: `<PRI>Mmm dd hh:mm:ss tag[pid]: text`
pub fn traditional(alert: &Alert, text: &str, options: &Options) -> String {
    let at: Timestamp = alert.timestamp.parse().unwrap_or_default();
    let at = at.to_zoned(options.zone.clone()).strftime("%b %e %H:%M:%S").to_string();
    let Options { tag, pid, .. } = options;
    format!("<{}>{at} {}[{pid}]: {}", priority(alert, options), name(tag, 32), line(text))
}

/// The form of RFC 5424: `<PRI>1 TIME HOST TAG PID METRIC [alert@32473 …] text`
pub fn rfc5424(alert: &Alert, text: &str, options: &Options) -> String {
    let at: Option<Timestamp> = alert.timestamp.parse().ok();
    let at = at.map_or("-".to_owned(), |at| at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string());
    let limit = alert.threshold.filter(|_| alert.reading().is_some());
    let params = [
        ("severity", alert.severity.name()),
        ("status", alert.status.name()),
        ("value", &alert.reading().map_or("absent".to_owned(), text::number)),
        ("threshold", &limit.map(text::number).unwrap_or_default()),
        ("rule", &alert.rule),
        ("id", &alert.id),
        ("fingerprint", &alert.fingerprint),
    ];
    let mut data = format!("[{SD_ID}");
    for (key, value) in params.iter().filter(|(_, value)| !value.is_empty()) {
        data.extend([" ", key, "=\"", &escape(&text::clean(value, MAX_PARAM)), "\""]);
    }
    data.push(']');
    format!(
        "<{}>1 {at} {} {} {} {} {data} \u{feff}{}",
        priority(alert, options),
        name(&alert.hostname, 255),
        name(&options.tag, 48),
        options.pid,
        name(&alert.metric, 32),
        line(text)
    )
}

fn priority(alert: &Alert, options: &Options) -> u32 {
    let level = match alert.severity {
        Severity::Info => 6,
        Severity::Warn => 4,
        Severity::Critical => 2,
        Severity::Emergency => 0,
    };
    // An end is "normal but significant" (NOTICE, RFC 5424): at the level of its begin that of an emergency would go to every
    // terminal of the machine.
    let is_end = alert.status == Status::Resolved && !alert.is_only_message();
    let level = if is_end { level.max(5) } else { level };
    u32::from(options.facility) * 8 + level
}

/// A header field: printable ASCII without spaces, `-` for nothing.
fn name(text: &str, max: usize) -> String {
    let text: String = text.chars().filter(char::is_ascii_graphic).take(max).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

/// One harmless line of at most [`MAX_TEXT`] bytes, cut between characters.
fn line(text: &str) -> String {
    let mut line = text::clean(text, MAX_TEXT);
    if line.len() > MAX_TEXT {
        line.truncate(line.floor_char_boundary(MAX_TEXT - '…'.len_utf8()));
        line.push('…');
    }
    line
}

fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
#[path = "syslog_tests.rs"]
mod tests;
