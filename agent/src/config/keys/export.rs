//! Ways out of the host for metrics, inventory and logs.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use toml::de::DeTable;

use super::DAY;
use crate::alert::Severity;
use crate::config::must::Must::{HttpPath, Socket, Url, Whole, Word};
use crate::config::reader::Reader;
use crate::config::section::section;
use crate::config::value::Node;

const NATS: &[&str] = &["nats", "tls", "ws", "wss"];
const WEB: &[&str] = &["http", "https"];

section! {
    /// Alerts and heartbeats to NATS; metrics and inventory are not built yet.
    pub struct Nats, feature "nats", check has_server {
        /// Whether it is used.
        enabled: bool = false;
        /// The server.
        url: SecretString = "" => Url(NATS);
        /// Several servers of one cluster, instead of `url`.
        urls: Vec<SecretString> = &[] => Url(NATS);
        /// Credentials file with an `NKey`. Empty: none.
        credential_file: PathBuf = "";
        /// Token. Empty: none.
        token: SecretString = "";
        /// User. Empty: none.
        user: String = "";
        /// Password of `user`.
        password: SecretString = "";
        /// File with certificates (PEM) of authorities to trust besides the system's. Empty: `alerting.ca_file`.
        tls_ca_file: PathBuf = "";
        /// First part of every subject.
        subject_prefix: String = "sysops" => Word;
        /// Seconds between two metric messages.
        metrics_interval_secs: u64 = 30 => Whole(1, DAY), later "metrics and inventory over NATS";
        /// Seconds between two inventory messages.
        inventory_interval_secs: u64 = 300 => Whole(1, DAY), later "metrics and inventory over NATS";
        /// Seconds between two heartbeats.
        heartbeat_interval_secs: u64 = 60 => Whole(1, DAY);
        /// Whether alerts are published.
        include_alerts: bool = true;
        /// Least severity that is published. Without it: info.
        min_severity: Option<Severity>;
        /// Severities that are published. Empty: all from the least.
        severity_filter: Vec<Severity> = &[];
        /// Most metrics in one message.
        batch_size: usize = 100 => Whole(1, 10_000), later "metrics and inventory over NATS";
        /// Whether metrics and inventory are compressed with zstd.
        compression: bool = true, later "metrics and inventory over NATS";
        /// Attempts to connect again. -1: for ever.
        max_reconnect_attempts: i64 = -1 => Whole(-1, 1_000_000);
        /// Seconds between two attempts.
        reconnect_delay_secs: u64 = 5 => Whole(1, DAY);
        /// Whether the server must acknowledge each message (`JetStream`).
        jetstream: bool = false, later "JetStream";
        /// Most disk space for messages that wait for the server, in MiB.
        spool_max_mb: u64 = 64 => Whole(0, 100_000), later "JetStream";
    }
}

fn has_server(nats: &Nats, node: &Node<'_>, table: &DeTable<'_>, cx: &mut Reader<'_>) {
    if nats.enabled && !table.contains_key("urls") && nats.url.expose_secret().is_empty() {
        cx.missing(&table.get("enabled").map_or_else(|| node.span(), toml::Spanned::span), "url");
    }
}

section! {
    /// Text endpoint for a Prometheus server.
    pub struct Prometheus, later "the Prometheus endpoint", feature "prometheus" {
        /// Whether it listens.
        enabled: bool = false;
        /// Address and port it listens on.
        bind: String = "127.0.0.1:9100" => Socket;
        /// Path of the page.
        path: String = "/metrics" => HttpPath;
        /// Whether metrics that `node_exporter` has too carry its names.
        node_exporter_names: bool = false;
    }
}

section! {
    /// JSON endpoint for collectors that ask.
    pub struct Http, later "the HTTP endpoint" {
        /// Whether it listens.
        enabled: bool = false;
        /// Address and port it listens on.
        bind: String = "127.0.0.1:6060" => Socket;
        /// Key every request must bear. Empty: none is asked for.
        auth_key: SecretString = "";
    }
}

section! {
    /// Metrics, heartbeats and log lines to an HTTP collector. An empty URL turns that push off.
    pub struct Push, later "HTTP push" {
        /// Seconds between two metric payloads.
        interval_secs: u64 = 10 => Whole(1, DAY);
        /// Where metrics go.
        metrics_url: SecretString = "" => Url(WEB);
        /// Where heartbeats go.
        heartbeat_url: SecretString = "" => Url(WEB);
        /// Where log lines go.
        log_url: SecretString = "" => Url(WEB);
        /// Key that signs every request.
        auth_key: SecretString = "";
        /// Name of this agent. Empty: a UUID is made once and kept.
        agent_id: String = "";
        /// Payloads that wait for the server before they go to a backup file.
        retry_count: usize = 300 => Whole(1, 100_000);
        /// Whether they go to a backup file at all.
        backup_enabled: bool = true;
        /// Directory of the backup files.
        backup_dir: PathBuf = "/var/lib/sysops-agent/backup";
        /// Seconds after which a request has failed.
        timeout_secs: u64 = 5 => Whole(1, 300);
        /// Whether metrics are wrapped in `{timestamp, data}`.
        envelope: bool = true;
    }
}

section! {
    /// Lines of log files, sent to `push.log_url`.
    pub struct LogShipper, later "the log shipper" {
        /// Whether they are sent.
        enabled: bool = false;
        /// The files; `*` stands for any characters.
        files: Vec<PathBuf> = &[];
        /// Lines after which they are sent.
        buffer_count: usize = 5 => Whole(1, 100_000);
        /// Seconds after which they are sent.
        flush_interval_secs: u64 = 20 => Whole(1, DAY);
        /// Whether a file seen for the first time is read from its beginning.
        from_start: bool = false;
    }
}
