//! Ways out of the host for metrics, inventory and logs.

use std::path::PathBuf;

use secrecy::SecretString;
use toml::de::DeTable;

use super::DAY;
use crate::alert::Severity;
use crate::config::must::Must::{AgentId, HttpPath, Socket, Url, Whole, Word};
use crate::config::reader::{Reader, is_empty};
use crate::config::section::section;
use crate::config::value::Node;

const NATS: &[&str] = &["nats", "tls", "ws", "wss"];
const WEB: &[&str] = &["http", "https"];

section! {
    /// Alerts, metrics, inventory and heartbeats to NATS; see docs/FLEET.md.
    pub struct Nats, feature "nats", check has_server {
        /// Whether it is used.
        enabled: bool = false;
        /// The server.
        url: SecretString = "" => Url(NATS);
        /// Several servers of one cluster, instead of `url`.
        urls: Vec<SecretString> = &[] => Url(NATS);
        /// File with credentials (JWT and `NKey`), or with the seed of an `NKey` alone. Empty: none.
        credential_file: PathBuf = "";
        /// Token. Empty: none.
        token: SecretString = "";
        /// User. Empty: none.
        user: String = "";
        /// Password of `user`.
        password: SecretString = "";
        /// File with certificates (PEM) of authorities to trust instead of the system's. Empty: `alerting.ca_file`.
        tls_ca_file: PathBuf = "";
        /// First part of every subject.
        subject_prefix: String = "sysops" => Word;
        /// Seconds between two metric messages.
        metrics_interval_secs: u64 = 30 => Whole(1, DAY);
        /// Seconds between two inventory messages.
        inventory_interval_secs: u64 = 300 => Whole(1, DAY);
        /// Seconds between two heartbeats.
        heartbeat_interval_secs: u64 = 60 => Whole(1, DAY);
        /// Whether alerts are published.
        include_alerts: bool = true;
        /// Least severity that is published. Without it: info.
        min_severity: Option<Severity>;
        /// Severities that are published. Empty: all from the least.
        severity_filter: Vec<Severity> = &[];
        /// Most metrics in one message.
        batch_size: usize = 100 => Whole(1, 10_000);
        /// Whether metrics and inventory are compressed with zstd.
        compression: bool = true;
        /// Attempts in a row to connect again. -1: for ever. After them metrics and inventory wait for the agent's next start.
        max_reconnect_attempts: i64 = -1 => Whole(-1, 1_000_000);
        /// Seconds between two attempts, less up to a half; the first ones come sooner.
        reconnect_delay_secs: u64 = 5 => Whole(1, DAY);
        /// Whether a stream (`JetStream`) must acknowledge each alert, metrics message and inventory.
        jetstream: bool = false;
        /// Most disk space for metrics and inventory that wait for the server, in MiB. 0: they wait in memory, 2 MiB.
        spool_max_mb: u64 = 64 => Whole(0, 100_000);
    }
}

fn has_server(nats: &Nats, node: &Node<'_>, table: &DeTable<'_>, cx: &mut Reader<'_>) {
    if nats.enabled && !table.contains_key("urls") && is_empty(table, "url") {
        cx.missing(&table.get("enabled").map_or_else(|| node.span(), toml::Spanned::span), "url");
    }
}

section! {
    /// Text endpoint for a Prometheus server; JSON for who asks for it. See docs/PROMETHEUS.md.
    pub struct Prometheus, feature "prometheus" {
        /// Whether it listens.
        enabled: bool = false;
        /// Address and port it listens on; may be those of `[http]`.
        bind: String = "127.0.0.1:9100" => Socket;
        /// Path of the page.
        path: String = "/metrics" => HttpPath;
        /// Whether what `node_exporter` reads too is told by its names as well.
        node_exporter_names: bool = false;
        /// Key every request must bear. Empty: none is asked for.
        auth_key: SecretString = "";
    }
}

section! {
    /// JSON endpoint for collectors that ask, at `/metrics`; text for Prometheus for who asks for it. See docs/PROMETHEUS.md.
    pub struct Http, feature "prometheus" {
        /// Whether it listens.
        enabled: bool = false;
        /// Address and port it listens on; may be those of `[prometheus]`.
        bind: String = "127.0.0.1:6060" => Socket;
        /// Key every request must bear. Empty: none is asked for.
        auth_key: SecretString = "";
    }
}

section! {
    /// Metrics, heartbeats and log lines to an HTTP collector. An empty URL turns that push off. See docs/PUSH.md.
    pub struct Push {
        /// Seconds between two metric payloads.
        interval_secs: u64 = 10 => Whole(1, DAY);
        /// Where metrics go.
        metrics_url: SecretString = "" => Url(WEB);
        /// Where heartbeats go.
        heartbeat_url: SecretString = "" => Url(WEB);
        /// Where log lines go.
        log_url: SecretString = "" => Url(WEB);
        /// Key that signs every request. Empty: none is signed.
        auth_key: SecretString = "";
        /// Name of this agent. Empty: a UUID is made once and kept.
        agent_id: String = "" => AgentId;
        /// Payloads that wait for the server before they go to a backup file.
        retry_count: usize = 300 => Whole(1, 100_000);
        /// Whether they go to a backup file at all.
        backup_enabled: bool = true;
        /// Directory of the backup files.
        backup_dir: PathBuf = "/var/lib/sysops-agent/backup";
        /// Most disk space of the backup files, in MiB; beyond it the oldest go.
        backup_max_mb: u64 = 64 => Whole(1, 100_000);
        /// Seconds after which a request has failed.
        timeout_secs: u64 = 5 => Whole(1, 300);
        /// Whether metrics are wrapped in `{timestamp, data}`.
        envelope: bool = true;
    }
}

section! {
    /// Lines of log files, sent to `push.log_url`; see docs/LOGS-SHIPPING.md.
    pub struct LogShipper, check has_files {
        /// Whether they are sent.
        enabled: bool = false;
        /// The files: whole paths. `*` stands for any characters and `?` for one, in any part of a path; packed files and
        /// rotated ones of another file found are left out then.
        files: Vec<PathBuf> = &[];
        /// Lines after which they are sent.
        buffer_count: usize = 5 => Whole(1, 100_000);
        /// Seconds after which fewer are sent, too.
        flush_interval_secs: u64 = 20 => Whole(1, DAY);
        /// Whether a file seen for the first time is read from its beginning.
        from_start: bool = false;
    }
}

fn has_files(shipper: &LogShipper, node: &Node<'_>, table: &DeTable<'_>, cx: &mut Reader<'_>) {
    if shipper.enabled && shipper.files.is_empty() {
        cx.missing(&table.get("enabled").map_or_else(|| node.span(), toml::Spanned::span), "files");
    }
    if let Some(path) = shipper.files.iter().find(|path| !path.has_root()) {
        cx.finding(
            table.get("files").map_or_else(|| node.span(), toml::Spanned::span),
            format!("`log_shipper.files` has {}, which does not begin with `/`.", path.display()),
            "Write the whole path, like \"/var/log/app/*.log\".",
        );
    }
}
