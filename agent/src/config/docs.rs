//! The manual page of the configuration, made from the table of keys.

use std::fmt::Write;

use super::Config;
use super::reader::MOVED;
use super::section::{Key, Spec};

const INTRO: &str = "\
<!-- Made by `cargo xtask docs` from agent/src/config; do not edit. -->
# Configuration

One TOML file, `/etc/sysops-agent/config.toml` unless `--config FILE` names another. Without a file every key has
its default: alerts go to the terminal and to syslog, and nothing leaves the host.

    sysops-agent --config FILE --validate

judges the file alone, prints all problems at once and exits with 0 when there are none, else with 64. An unknown
section or key is a problem. What depends on the host is for `sysops-agent doctor`.

**Variables and secrets.** A string may contain `${NAME}`: the value of that environment variable; `${file:/path}`: the
content of that file, without the line break at its end; `${credential:NAME}`: the same of a credential of systemd
(`LoadCredential=` in the unit). What is not there is a problem; `--validate`, which judges the file alone, only warns of
files, and at the start a channel in `[alerting]`, and `[nats]`, waits for its files; `doctor` names all that is lacking. They are read at the start and at each reload. A secret's file that everybody on the host can read is a warning.
`$${` stands for `${` itself. Keep passwords and tokens out of the file this way; the agent never prints the value of a
key marked *secret*.

**Reload.** `systemctl reload sysops-agent` (SIGHUP) puts `[thresholds]`, `[alerting]` (but for
`alerting.state_warmup_secs`) and, without NATS, `agent.labels` into effect; all other keys need a restart, and the log names those that changed. A file with a problem
changes nothing.

**Not built yet.** A key with this mark is accepted, with one warning for each feature, and has no effect in this
version. So is a key of a cargo feature that this build lacks.

**Limits** in `[thresholds]`. A number is the critical limit alone, without a warning. A table says more:

```toml
[thresholds]
memory_percent = 95
cpu_percent = { warn = 80, critical = 95, for_secs = 60, clear = 75 }
swap_percent = \"off\"
disk_percent = { for_secs = 300 }
```

`for_secs` is how long the value must be beyond the limit, 30 unless given. `clear` is the value at which the alert is
over; without it that is 5 % before the limit. A table that names a limit has just the limits it names; one that names
none keeps the built-in ones.

**Routing.** Each channel takes the severities of its default routing. `min_severity` and `severity_filter` replace
that; with both, an alert must meet both. Default: terminal, webhook, alertmanager, exec, syslog and nats take all;
discord, slack and ntfy warn and above; telegram, email and pagerduty critical and above.
";

/// `docs/CONFIGURATION.md`.
pub fn docs() -> String {
    let mut out = INTRO.to_owned();
    Config::KEYS.walk("", &mut |path, key, spec| section(&mut out, path, key, spec));
    out.push_str(
        "\n## Keys of the older agent\n\nFor who comes from the other agent of the same collector API:\n\n",
    );
    out.push_str("| there | here |\n|---|---|\n");
    for (old, new) in MOVED {
        line(&mut out, format_args!("| `{old}` | {new} |"));
    }
    out
}

fn section(out: &mut String, path: &str, key: &Key, spec: &Spec) {
    let title = if key.list { format!("[[{path}]]") } else { format!("[{path}]") };
    line(out, format_args!("\n## `{title}`\n\n{}", text(spec.doc)));
    if let Some(feature) = spec.later {
        line(out, format_args!("\n*Not built yet: {feature}.*"));
    } else if let Some(feature) = spec.feature {
        line(out, format_args!("\nNeeds the cargo feature `{feature}`."));
    }
    let keys: Vec<_> = spec.keys.iter().filter(|key| key.section.is_none()).collect();
    if keys.is_empty() {
        return;
    }
    out.push_str("\n| key | value | default | meaning |\n|---|---|---|---|\n");
    for key in keys {
        row(out, key, spec);
    }
}

fn row(out: &mut String, key: &Key, spec: &Spec) {
    let mut value = (key.form)(&key.must);
    if key.secret {
        value.push_str("; *secret*");
    }
    let default = match (key.default)() {
        _ if spec.needs.contains(&key.name) => "*needed*".to_owned(),
        default if default.is_empty() => String::new(),
        default => format!("`{default}`"),
    };
    let later = key.later.map_or_else(String::new, |feature| format!(" *Not built yet: {feature}.*"));
    let feature = key.feature.map_or_else(String::new, |feature| format!(" *Cargo feature `{feature}`.*"));
    let cells = [format!("`{}`", key.name), value, default, text(key.doc) + &later + &feature];
    let cells = cells.map(|cell| cell.replace('|', "\\|"));
    line(out, format_args!("| {} |", cells.join(" | ")));
}

/// A doc comment as running text.
fn text(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}
