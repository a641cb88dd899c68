//! What is to be said of `[prometheus]` and `[http]` together.

use std::net::SocketAddr;
use std::ops::Range;

use secrecy::{ExposeSecret, SecretString};
use toml::de::DeTable;

use crate::config::Config;
use crate::config::reader::Reader;
use crate::config::value::Node;

/// Paths of the endpoints that are no page of metrics.
const TAKEN: [&str; 2] = ["/healthz", "/status"];

/// Judges both: who listens beyond this host should ask for a key, and a page has a path of its own.
pub(in crate::config) fn endpoints(
    config: &Config,
    node: &Node<'_>,
    table: &DeTable<'_>,
    cx: &mut Reader<'_>,
) {
    let (text, json) = (&config.prometheus, &config.http);
    let shared = text.enabled && json.enabled && text.bind == json.bind;
    let has_key = |key: &SecretString| !key.expose_secret().is_empty();
    let both_have = shared && (has_key(&text.auth_key) || has_key(&json.auth_key));
    for (name, enabled, bind, key) in [
        ("prometheus", text.enabled, &text.bind, &text.auth_key),
        ("http", json.enabled, &json.bind, &json.auth_key),
    ] {
        let secret = key.expose_secret();
        if secret.trim() != secret {
            cx.finding(
                place(table, node, name, "auth_key"),
                format!("`{name}.auth_key` begins or ends with a blank, which no request can carry."),
                "Take it away; a file with the key may end with a line break.",
            );
        }
        let beyond = bind.parse::<SocketAddr>().is_ok_and(|bind| !bind.ip().is_loopback());
        if enabled && beyond && !has_key(key) && !both_have {
            let text = format!(
                "`{name}.bind` lets other hosts ask, and `{name}.auth_key` is empty: whoever reaches {bind} reads \
                 everything. Set a key, or bind to 127.0.0.1 behind a proxy that asks for one."
            );
            cx.advise(place(table, node, name, "bind").start, text);
        }
    }
    if config.log_shipper.enabled && config.push.log_url.expose_secret().is_empty() {
        let text =
            "`log_shipper.enabled` is true, and `push.log_url` is empty: no log line is sent.".to_owned();
        cx.advise(place(table, node, "log_shipper", "enabled").start, text);
    }
    if text.enabled && TAKEN.contains(&text.path.as_str()) {
        cx.finding(
            place(table, node, "prometheus", "path"),
            format!("`prometheus.path` is {}, where something else is.", text.path),
            "Write a path of its own, like \"/metrics\".",
        );
    }
}

/// Where a key stands, else its section, else the file.
fn place(table: &DeTable<'_>, node: &Node<'_>, section: &str, key: &str) -> Range<usize> {
    let Some(section) = table.get(section) else { return node.span() };
    let key = section.get_ref().as_table().and_then(|table| table.get(key));
    key.map_or_else(|| section.span(), toml::Spanned::span)
}
