//! Where alerts go. Each channel has `min_severity` and `severity_filter`, which override its default routing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;

use toml::de::DeTable;

use super::agent::Switch;
use crate::alert::Severity;
use crate::config::must::Must::{BotToken, DiscordName, Headers, Host, Id, Mail, Url, Whole, Word};
use crate::config::reader::Reader;
use crate::config::section::{choice, section};
use crate::config::value::Node;

const WEB: &[&str] = &["http", "https"];

/// Whether a channel takes alerts of this severity: its `severity_filter` must name it, if it names any, and it
/// must not be below `min_severity`. With neither set, what its default routing takes counts.
pub fn passes(
    min_severity: Option<Severity>,
    severity_filter: &[Severity],
    routing: &[Severity],
    severity: Severity,
) -> bool {
    if min_severity.is_none() && severity_filter.is_empty() {
        return routing.contains(&severity);
    }
    let named = severity_filter.is_empty() || severity_filter.contains(&severity);
    named && min_severity.is_none_or(|least| severity >= least)
}

section! {
    /// Messages on the terminal the agent was started from.
    pub struct Terminal {
        /// auto: when there is no configuration file, or the output is a terminal; on: always; off: never.
        enabled: Switch = Switch::Auto;
        /// Least severity it shows. Without it: info.
        min_severity: Option<Severity>;
        /// Severities it shows. Empty: all from the least.
        severity_filter: Vec<Severity> = &[];
    }
}

section! {
    /// Messages to a Discord channel, through a webhook.
    pub struct Discord, needs ["webhook_url"] {
        /// Whether it is used.
        enabled: bool = false;
        /// Address of the webhook; whoever knows it can write there.
        webhook_url: SecretString = "" => Url(WEB);
        /// Name the messages appear under. Empty: the webhook's own. Discord allows no name with `discord` or `clyde`.
        username: String = "sysops-agent" => DiscordName;
        /// Roles to call from critical on, each by its id (right-click on the role, Copy Role ID), or `@here` and
        /// `@everyone`. Another name is shown, but calls nobody: `doctor` says so.
        mention_roles: Vec<String> = &[];
        /// Least severity it gets. Without it: warn.
        min_severity: Option<Severity>;
        /// Severities it gets. Empty: all from the least.
        severity_filter: Vec<Severity> = &[];
    }
}

section! {
    /// Messages to a Slack channel, through a webhook.
    pub struct Slack, needs ["webhook_url"] {
        /// Whether it is used.
        enabled: bool = false;
        /// Address of the webhook; whoever knows it can write there.
        webhook_url: SecretString = "" => Url(WEB);
        /// Channel, for webhooks of the old kind, which may choose it. Empty: the webhook's own.
        channel: String = "";
        /// Who is called from critical on: ids of members (`U…`) and user groups (`S…`), `here`, `channel`. Another name
        /// is shown, but calls nobody: `doctor` says so.
        mention_users: Vec<String> = &[];
        /// Least severity it gets. Without it: warn.
        min_severity: Option<Severity>;
        /// Severities it gets. Empty: all from the least.
        severity_filter: Vec<Severity> = &[];
    }
}

choice! {
    /// Markup of Telegram messages.
    pub enum ParseMode = Html {
        /// HTML.
        Html = "HTML";
        /// The older Markdown.
        Markdown = "Markdown";
        /// The newer Markdown.
        MarkdownV2 = "MarkdownV2";
    }
}

section! {
    /// Messages to a Telegram chat. Recoveries and infos come without a sound.
    pub struct Telegram, needs ["bot_token", "chat_id"] {
        /// Whether it is used.
        enabled: bool = false;
        /// Token of the bot.
        bot_token: SecretString = "" => BotToken;
        /// Number of the chat, or `@name` of a public channel.
        chat_id: String = "" => Id;
        /// Markup of the messages; a template is written in it.
        parse_mode: ParseMode = ParseMode::Html;
        /// Server of the Bot API, if it is your own.
        api_url: String = "https://api.telegram.org" => Url(WEB);
        /// Least severity it gets. Without it: critical.
        min_severity: Option<Severity>;
        /// Severities it gets. Empty: all from the least.
        severity_filter: Vec<Severity> = &[];
    }
}

choice! {
    /// How the connection to a mail server is protected.
    pub enum SmtpTls = Starttls, bool ("starttls", "none") {
        /// It begins in the clear and must switch to TLS.
        Starttls = "starttls";
        /// TLS from the first byte.
        Tls = "tls";
        /// Not at all.
        None = "none";
    }
}

section! {
    /// Messages by mail.
    pub struct Email, needs ["smtp_host", "from", "to"] {
        /// Whether it is used.
        enabled: bool = false;
        /// The mail server.
        smtp_host: String = "" => Host;
        /// Its port.
        smtp_port: u16 = 587 => Whole(1, 65_535);
        /// How the connection is protected; true: "starttls", false: "none".
        smtp_tls: SmtpTls = SmtpTls::Starttls;
        /// File with certificates (PEM) of authorities to trust besides the system's. Empty: `alerting.ca_file`.
        tls_ca_file: PathBuf = "";
        /// User. Empty: without login.
        username: String = "";
        /// Password.
        password: SecretString = "";
        /// Sender.
        from: String = "" => Mail;
        /// Recipients.
        to: Vec<String> = &[] => Mail;
        /// Beginning of every subject.
        subject_prefix: String = "[sysops]";
        /// Least severity it gets. Without it: critical.
        min_severity: Option<Severity>;
        /// Severities it gets. Empty: all from the least.
        severity_filter: Vec<Severity> = &[];
    }
}

choice! {
    /// HTTP method of a webhook.
    pub enum Method = Post {
        /// POST.
        Post = "POST";
        /// PUT.
        Put = "PUT";
        /// PATCH.
        Patch = "PATCH";
    }
}

choice! {
    /// Body of a webhook.
    pub enum WebhookFormat = Alert {
        /// The alert object.
        Alert = "alert";
        /// What Alertmanager sends to webhooks, version 4.
        Alertmanager = "alertmanager";
    }
}

section! {
    /// Alerts as JSON to any HTTP endpoint.
    pub struct Webhook, needs ["url"] {
        /// Whether it is used.
        enabled: bool = false;
        /// The endpoint.
        url: SecretString = "" => Url(WEB);
        /// HTTP method.
        method: Method = Method::Post;
        /// Body: alert is the alert object; alertmanager is what Prometheus Alertmanager sends to its webhooks.
        format: WebhookFormat = WebhookFormat::Alert;
        /// Further headers.
        headers: BTreeMap<String, SecretString> => Headers;
        /// Seconds after which a request has failed.
        timeout_secs: u64 = 10 => Whole(1, 300);
        /// Quick attempts after the first; slower ones follow as long as the outbox keeps the alert.
        retry_count: u32 = 10 => Whole(0, 1000);
        /// Least severity it gets. Without it: info.
        min_severity: Option<Severity>;
        /// Severities it gets. Empty: all from the least.
        severity_filter: Vec<Severity> = &[];
    }
}

section! {
    /// Events to PagerDuty (Events API v2). An incident is opened, updated and resolved under one key.
    pub struct PagerDuty, needs ["routing_key"] {
        /// Whether it is used.
        enabled: bool = false;
        /// Integration key of the service.
        routing_key: SecretString = "" => Word;
        /// Where events go; in the EU region `https://events.eu.pagerduty.com/v2/enqueue`.
        url: String = "https://events.pagerduty.com/v2/enqueue" => Url(WEB);
        /// Least severity it gets. Without it: critical.
        min_severity: Option<Severity>;
        /// Severities it gets. Empty: all from the least.
        severity_filter: Vec<Severity> = &[];
    }
}

section! {
    /// Messages to a topic of ntfy.
    pub struct Ntfy, needs ["topic"] {
        /// Whether it is used.
        enabled: bool = false;
        /// The server.
        url: String = "https://ntfy.sh" => Url(WEB);
        /// The topic: letters, digits, `_` and `-`. Without access control on the server, whoever knows it can read it.
        topic: SecretString = "" => Word;
        /// Access token. Empty: none.
        token: SecretString = "";
        /// Least severity it gets. Without it: warn.
        min_severity: Option<Severity>;
        /// Severities it gets. Empty: all from the least.
        severity_filter: Vec<Severity> = &[];
    }
}

section! {
    /// Alerts to Prometheus Alertmanager. What stands is repeated every minute.
    pub struct Alertmanager, needs ["url"] {
        /// Whether it is used.
        enabled: bool = false;
        /// The server, without `/api/v2/alerts`.
        url: SecretString = "" => Url(WEB);
        /// Further headers, such as `Authorization`.
        headers: BTreeMap<String, SecretString> => Headers;
        /// Least severity it gets. Without it: info.
        min_severity: Option<Severity>;
        /// Severities it gets. Empty: all from the least.
        severity_filter: Vec<Severity> = &[];
    }
}

section! {
    /// A program of your own, with the alert object as JSON on standard input. No shell, an almost empty environment.
    /// Exit status 0: taken; 64, 65, 77 or 78 (`sysexits.h`): refused for good; any other: tried again.
    pub struct Exec, needs ["command"], check absolute {
        /// Whether it is used.
        enabled: bool = false;
        /// The program, with its whole path, and its arguments.
        command: Vec<String> = &[];
        /// Seconds after which it is killed.
        timeout_secs: u64 = 30 => Whole(1, 80);
        /// Least severity it gets. Without it: info.
        min_severity: Option<Severity>;
        /// Severities it gets. Empty: all from the least.
        severity_filter: Vec<Severity> = &[];
    }
}

fn absolute(exec: &Exec, node: &Node<'_>, _: &DeTable<'_>, cx: &mut Reader<'_>) {
    if exec.command.first().is_some_and(|program| !program.starts_with('/')) {
        let what = format!("`{}.command` does not begin with the whole path of a program.", cx.place());
        cx.finding(node.span(), what, "Write it like [\"/usr/local/bin/page-me\", \"--quick\"].");
    }
}

choice! {
    /// Syslog facility.
    pub enum Facility = Daemon {
        /// The kernel.
        Kern = "kern";
        /// Users.
        User = "user";
        /// Mail.
        Mail = "mail";
        /// System services.
        Daemon = "daemon";
        /// Security.
        Auth = "auth";
        /// The system log itself.
        Syslog = "syslog";
        /// Printing.
        Lpr = "lpr";
        /// News.
        News = "news";
        /// UUCP.
        Uucp = "uucp";
        /// Scheduled jobs.
        Cron = "cron";
        /// Security, private.
        Authpriv = "authpriv";
        /// FTP.
        Ftp = "ftp";
        /// Local use 0.
        Local0 = "local0";
        /// Local use 1.
        Local1 = "local1";
        /// Local use 2.
        Local2 = "local2";
        /// Local use 3.
        Local3 = "local3";
        /// Local use 4.
        Local4 = "local4";
        /// Local use 5.
        Local5 = "local5";
        /// Local use 6.
        Local6 = "local6";
        /// Local use 7.
        Local7 = "local7";
    }
}

impl Facility {
    /// Its number in RFC 5424, 0-23.
    pub const fn code(self) -> u8 {
        match self as u8 {
            // The numbers 12 to 15 have no agreed names.
            code @ 0..12 => code,
            local => local + 4,
        }
    }
}

section! {
    /// Messages to the system log. Locally in the traditional form, to `address` as RFC 5424.
    pub struct Syslog {
        /// Whether it is used.
        enabled: bool = true;
        /// Facility.
        facility: Facility = Facility::Daemon;
        /// Name of the program in the messages.
        tag: String = "sysops-agent" => Word;
        /// A server: `udp://host:514` or `tcp://host:514`. Empty: the local socket.
        address: String = "" => Url(&["udp", "tcp"]);
        /// The local socket.
        socket: PathBuf = "/dev/log";
        /// Least severity it gets. Without it: info.
        min_severity: Option<Severity>;
        /// Severities it gets. Empty: all from the least.
        severity_filter: Vec<Severity> = &[];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routing_is_overridden_by_what_is_set() {
        use Severity::{Critical, Emergency, Info, Warn};
        fn check(min: Option<Severity>, filter: &[Severity], expect: &[Severity]) {
            let routing = [Critical, Emergency];
            let got: Vec<_> =
                Severity::ALL.into_iter().filter(|&s| passes(min, filter, &routing, s)).collect();
            assert_eq!(got, expect, "{min:?} {filter:?}");
        }
        check(None, &[], &[Critical, Emergency]);
        check(Some(Warn), &[], &[Warn, Critical, Emergency]);
        check(Some(Info), &[], &Severity::ALL);
        check(None, &[Info], &[Info]);
        check(Some(Warn), &[Info, Critical], &[Critical]);
        check(Some(Emergency), &[Info], &[]);
    }

    #[test]
    fn facilities_have_their_numbers() {
        for (facility, code) in [
            (Facility::Kern, 0),
            (Facility::Daemon, 3),
            (Facility::Ftp, 11),
            (Facility::Local0, 16),
            (Facility::Local7, 23),
        ] {
            assert_eq!(facility.code(), code, "{facility:?}");
        }
    }
}
