//! Answers as a person reads them. All names come from outside and are made harmless.

use std::fmt::Write as _;

use super::protocol::{Alerts, Status};
use crate::engine::control::SilenceView;
use crate::notify::stats::ChannelStats;
use crate::service::features::State;
use crate::service::outlets::Outlet;
use crate::ship::view::View as Shipped;
use crate::text::{clean, kib, number, span};

/// Longest cell, characters.
const CELL: usize = 200;

/// `sysops-agent status`.
pub fn status(status: &Status) -> String {
    let mut out = format!(
        "sysops-agent {} on {}, pid {}, up {}, with {}\n",
        clean(&status.version, 40),
        clean(&status.hostname, CELL),
        status.pid,
        span(status.uptime_secs),
        clean(&status.config, CELL)
    );
    collectors(status, &mut out);
    sources(status, &mut out);
    channels(&status.channels, &mut out);
    status.log_shipper.iter().for_each(|view| shipper(view, &mut out));
    let outbox = &status.outbox;
    let _ = writeln!(
        out,
        "\noutbox    {} alerts, {} bytes, {} % full, {} dropped",
        outbox.alerts, outbox.bytes, outbox.used_percent, outbox.dropped
    );
    if let Some(trouble) = &outbox.trouble {
        let _ = writeln!(out, "  IN MEMORY ONLY: {}", clean(trouble, CELL));
    }
    outlets(&status.outlets, &mut out);
    let met: Vec<_> = status.limits.iter().filter(|(_, count)| **count > 0).collect();
    let _ = writeln!(out, "\nlimits    {} of {} were met", met.len(), status.limits.len());
    for (name, count) in met {
        let _ = writeln!(out, "  {} {count}", clean(name, CELL));
    }
    out
}

fn collectors(status: &Status, out: &mut String) {
    let all = &status.collectors;
    let well = all.iter().filter(|c| c.up).count();
    let _ = writeln!(out, "\ncollectors  {well} of {} read everything", all.len());
    let width = all.iter().map(|c| c.name.len()).max().unwrap_or(0);
    for c in all {
        let error = c.error.as_ref().map_or(String::new(), |error| format!("  {}", clean(error, CELL)));
        let (name, word) = (clean(&c.name, 60), if c.up { "ok" } else { "not all" });
        let _ = writeln!(
            out,
            "  {name:width$}  {:>9.2} ms  {:>6} ago  {word}{error}",
            c.took_ms,
            span(c.age_secs)
        );
    }
}

fn sources(status: &Status, out: &mut String) {
    let all = &status.features;
    let on = all.iter().filter(|f| f.state == State::On).count();
    let _ = writeln!(out, "\nsources   {on} of {} on (as at the start)", all.len());
    for f in all {
        let _ =
            writeln!(out, "  {:24}  {:8}  {}", clean(&f.name, 60), f.state.name(), clean(&f.reason, CELL));
    }
}

fn shipper(view: &Shipped, out: &mut String) {
    let Shipped { files, lines, bytes, unread_bytes, lost_bytes, .. } = view;
    let server = clean(&view.server, CELL);
    let _ = writeln!(
        out,
        "\nlog shipper  {files} files to {server}: {lines} lines ({bytes} bytes) taken, {unread_bytes} bytes not read yet, \
         {lost_bytes} bytes lost"
    );
    if view.failing > 0 {
        let why = view.last_error.as_deref().unwrap_or_default();
        let _ = writeln!(out, "  FAILING: {} times in a row: {}", view.failing, clean(why, CELL));
    }
    for (count, what) in [(view.unreadable, "cannot be read"), (view.left_out, "are left out: too many")] {
        if count > 0 {
            let _ = writeln!(out, "  {count} files {what}");
        }
    }
    if let Some(trouble) = &view.trouble {
        let _ = writeln!(out, "  PLACES NOT SAVED: {}", clean(trouble, CELL));
    }
}

fn channels(all: &[ChannelStats], out: &mut String) {
    if all.is_empty() {
        *out += "\nchannels  NONE: nobody hears of an alert\n";
        return;
    }
    let _ = writeln!(
        out,
        "\n{:12}  {:>6}  {:>9}  {:>7}  {:>7}  {:>9}  {:>7}",
        "channel", "queued", "delivered", "retries", "refused", "held back", "expired"
    );
    for c in all {
        let ChannelStats { queued, delivered, retries, refused, limited, expired, .. } = c;
        let name = clean(&c.name, 40);
        let _ = writeln!(
            out,
            "{name:12}  {queued:>6}  {delivered:>9}  {retries:>7}  {refused:>7}  {limited:>9}  {expired:>7}"
        );
        if c.failing > 0 {
            let next = c.retry_in_secs.map_or(String::new(), |secs| format!(", next try in {}", span(secs)));
            let _ = writeln!(out, "  FAILING: {} times in a row{next}", c.failing);
        }
        let also =
            [(c.collapsed, "told together after an outage"), (c.superseded, "superseded"), (c.lost, "lost")];
        let also: Vec<String> =
            also.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if !also.is_empty() {
            let _ = writeln!(out, "  also: {}", also.join(", "));
        }
        if c.refusing > 0 {
            let _ = writeln!(
                out,
                "  REFUSED for good: {} in a row, lost for this channel; see the agent's log",
                c.refusing
            );
        }
        if let Some(error) = &c.last_error {
            let age = c.last_error_age_secs.map_or(String::new(), |secs| format!(", {} ago", span(secs)));
            let _ = writeln!(out, "  last error{age}: {}", clean(error, CELL));
        }
    }
}

fn outlets(all: &[Outlet], out: &mut String) {
    if all.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n{:12}  {:>7}  {:>9}  {:>10}  {:>7}  {:>7}",
        "way out", "waiting", "delivered", "on disk", "given up", "failures"
    );
    for o in all {
        let Outlet { waiting, sent, dropped, failures, .. } = o;
        let (name, disk) = (clean(&o.name, 40), kib(o.disk_bytes.div_ceil(1024)));
        let _ = writeln!(out, "{name:12}  {waiting:>7}  {sent:>9}  {disk:>10}  {dropped:>8}  {failures:>7}");
        for trouble in &o.troubles {
            let _ = writeln!(out, "  FAILING: {}", clean(trouble, CELL));
        }
        if let Some(error) = &o.last_error {
            let _ = writeln!(out, "  last error: {}", clean(error, CELL));
        }
    }
}

/// `sysops-agent alerts`.
pub fn alerts(alerts: &Alerts) -> String {
    let view = &alerts.view;
    let mut out = format!(
        "{} active, {} pending, {} told since the start\n",
        view.active.len(),
        view.pending.len(),
        view.told
    );
    if view.learning_secs > 0 {
        let _ =
            writeln!(out, "levels are learned for another {}: only events speak", span(view.learning_secs));
    }
    for a in &view.active {
        let _ = writeln!(
            out,
            "\n{:9}  {}  (for {})",
            a.severity.name().to_uppercase(),
            clean(&a.message, 400),
            span(a.secs)
        );
        let _ = writeln!(out, "           {}{}", clean(&a.rule, CELL), labels(&a.labels));
        if let Some(by) = &a.suppressed_by {
            let _ = writeln!(out, "           held back: {}", clean(by, CELL));
        }
    }
    if !view.pending.is_empty() {
        out += "\npending\n";
    }
    for p in &view.pending {
        let limit = p.limit.map_or(String::new(), |limit| format!(", limit {}", number(limit)));
        let _ = writeln!(
            out,
            "  {}{}  {}{limit}: {} in {}",
            clean(&p.rule, CELL),
            labels(&p.labels),
            number(p.value),
            p.severity.name(),
            span(p.to_go_secs)
        );
    }
    if !view.silences.is_empty() {
        out += "\nsilences\n";
        out += &silences(&view.silences);
    }
    for m in &view.maintenance {
        let _ = writeln!(
            out,
            "\nmaintenance {}{}, {} left",
            clean(&m.name, CELL),
            labels(&m.labels),
            span(m.left_secs)
        );
    }
    if !view.suppressed.is_empty() {
        out += "\nnot told since the start\n";
    }
    for (by, count) in &view.suppressed {
        let _ = writeln!(out, "  {:24} {count}", clean(by, CELL));
    }
    channels(&alerts.channels, &mut out);
    out
}

/// `sysops-agent silence --list`.
pub fn silences(all: &[SilenceView]) -> String {
    if all.is_empty() {
        return "no silence stands\n".to_owned();
    }
    let mut out = String::new();
    for s in all {
        let _ = writeln!(
            out,
            "  {:>4}  {}{}  {} left (until {}), held back {}: {} ({})",
            s.id,
            clean(&s.matcher, CELL),
            labels(&s.labels),
            span(s.left_secs),
            clean(&s.until, 40),
            s.held,
            clean(&s.reason, CELL),
            clean(&s.by, 60)
        );
    }
    out
}

fn labels(labels: &std::collections::BTreeMap<String, String>) -> String {
    let shown: Vec<_> = labels.iter().map(|(k, v)| format!("{}={}", clean(k, 60), clean(v, CELL))).collect();
    if shown.is_empty() { String::new() } else { format!(" {{{}}}", shown.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;
    use crate::engine::control::{ActiveView, View};

    #[test]
    fn hostile_names_do_not_reach_the_terminal() {
        let evil = "x\x1b[2J\u{202e}\ny";
        let active = ActiveView {
            id: evil.into(),
            fingerprint: evil.into(),
            rule: evil.into(),
            metric: evil.into(),
            labels: [(evil.to_owned(), evil.to_owned())].into(),
            severity: Severity::Warn,
            value: 1.0,
            limit: None,
            message: evil.into(),
            since: evil.into(),
            secs: 125,
            suppressed_by: Some(evil.into()),
        };
        let view =
            View { active: vec![active], suppressed: [(evil.to_owned(), 2)].into(), ..View::default() };
        let channel = ChannelStats {
            name: evil.into(),
            last_error: Some(evil.into()),
            last_error_age_secs: Some(125),
            failing: 3,
            refusing: 2,
            ..ChannelStats::default()
        };
        let shown = alerts(&Alerts { view, channels: vec![channel.clone()] });
        assert!(shown.contains("WARN       x?[2J??y  (for 2 min 5 s)"), "{shown}");
        let outlet = Outlet {
            name: evil.into(),
            troubles: vec![evil.into()],
            last_error: Some(evil.into()),
            disk_bytes: 5 << 20,
            ..Outlet::default()
        };
        let (channels, outlets) = (vec![channel], vec![outlet]);
        let log_shipper = Some(Shipped {
            server: evil.into(),
            failing: 7,
            last_error: Some(evil.into()),
            unreadable: 2,
            left_out: 3,
            trouble: Some(evil.into()),
            ..Shipped::default()
        });
        let status =
            status(&Status { hostname: evil.into(), channels, outlets, log_shipper, ..Status::default() });
        for part in [
            "log shipper  0 files to x?[2J??y: 0 lines",
            "  FAILING: 7 times in a row: x?",
            "  2 files cannot be read",
            "  3 files are left out",
            "  PLACES NOT SAVED: x?",
        ] {
            assert!(status.contains(part), "{part}: {status}");
        }
        assert!(
            status.contains("  FAILING: x?[2J??y\n  last error: x?") && status.contains("5.0 MiB"),
            "{status}"
        );
        for text in [shown, status] {
            assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
            assert!(text.contains("FAILING: 3 times in a row"), "{text}");
            assert!(text.contains("REFUSED for good: 2 in a row"), "{text}");
            assert!(text.contains("last error, 2 min 5 s ago: x?"), "{text}");
        }
    }

    #[test]
    fn nobody_to_hear_is_said() {
        assert!(status(&Status::default()).contains("channels  NONE: nobody hears of an alert"));
        assert_eq!(silences(&[]), "no silence stands\n");
    }
}
