//! The way behind the parsers: events and samples through the engine to what a person would read.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::tz::TimeZone;
use sysops_agent::alert::{Alert, Severity};
use sysops_agent::config::Config;
use sysops_agent::engine::board::Escalation;
use sysops_agent::engine::compose::Identity;
use sysops_agent::engine::incident::Witnesses;
use sysops_agent::engine::speak::Manners;
use sysops_agent::engine::{Engine, Input, KnownLabels, Output, Settings, builtin};
use sysops_agent::event::Event;
use sysops_agent::formulas;
use sysops_agent::notify::template::Templates;
use sysops_agent::notify::{record, syslog, terminal};
use sysops_agent::text::clean;
use sysops_agent::time::{Now, SECOND};

/// When everything happens.
pub(crate) const NOW: Now = Now { mono_ns: 100_000 * SECOND, wall_ns: 1_771_777_800_000_000_000 };
/// Boot that the engine believes in.
pub(crate) const BOOT: &str = "5a0c";
/// Longest sentence of an alert, bytes.
const MAX_MESSAGE: usize = 4096;
/// Longest name or value of a label, bytes.
const MAX_LABEL: usize = 1024;
/// Labels of one alert at most.
const MAX_LABELS: usize = 24;

/// Alerts of one input that are looked at: more of them tell nothing new and take time.
const MAX_CHECKED: usize = 32;

/// An engine that tells everything at once.
pub(crate) fn engine() -> Engine {
    let identity = Identity {
        hostname: "fuzz".into(),
        zone: TimeZone::UTC,
        boot_id: BOOT.into(),
        labels: BTreeMap::new(),
    };
    let manners =
        Manners { min_interval_secs: 0, dedup_secs: [0; 4], group_secs: 0, recovery: true, join_ends: true };
    let settings = Settings {
        known: Vec::new(),
        labels: KnownLabels::default(),
        identity,
        rules: builtin::rules(&Config::default().thresholds),
        absences: Vec::new(),
        maintenance: Vec::new(),
        escalation: Escalation::default(),
        manners,
        witnesses: Witnesses::default(),
        warmup_secs: 0,
        history_capacity: 16,
        formulas: formulas::FORMULAS,
        analysis: builtin::analysis(&Config::default().analyzer),
        rooms: formulas::ROOMS,
        disks: builtin::disk_policy(&Config::default()),
        oom_counter: "",
    };
    Engine::new(settings, NOW)
}

/// Tells of events, and checks every alert that comes out.
pub(crate) fn tell(events: Vec<Event>) -> Vec<Alert> {
    let mut engine = engine();
    let mut out = Vec::new();
    for event in events {
        engine.step(NOW, Input::Event(event), &mut out);
    }
    let later = NOW.plus_secs(1);
    engine.step(later, Input::Tick, &mut out);
    engine.finish(later, &mut out);
    alerts(out)
}

/// The alerts among outputs, checked.
pub(crate) fn alerts(out: Vec<Output>) -> Vec<Alert> {
    let alert = |output| if let Output::Alert(alert) = output { Some(*alert) } else { None };
    let alerts: Vec<Alert> = out.into_iter().filter_map(alert).collect();
    alerts.iter().take(MAX_CHECKED).for_each(check);
    alerts
}

/// No line break, escape or override in a text, and no longer than `max` bytes.
pub(crate) fn harmless(what: &str, text: &str, max: usize) {
    assert_eq!(clean(text, usize::MAX), text, "{what} can forge lines or colours");
    assert!(text.len() <= max, "{what} has {} bytes: {text}", text.len());
}

static TEMPLATES: LazyLock<Templates> = LazyLock::new(|| {
    let text = "[{{severity}}] {{hostname}}: {{message}} {{labels}}";
    Templates::new(text, &BTreeMap::new()).expect("a template")
});

/// What every alert must be, whatever it is about: harmless where a person reads it, whole where a machine does.
fn check(alert: &Alert) {
    harmless("the message", &alert.message, MAX_MESSAGE);
    assert!(alert.labels.len() <= MAX_LABELS, "{:?}", alert.labels);
    for (name, value) in &alert.labels {
        harmless("a label's name", name, MAX_LABEL);
        harmless("a label's value", value, MAX_LABEL);
    }
    let json = serde_json::to_vec(alert).expect("an alert is JSON");
    let back: Alert = serde_json::from_slice(&json).expect("its JSON is an alert");
    assert_eq!(&back, alert, "JSON changes it");
    let kept = record::fit(alert);
    assert!(!kept.context.contains_key("shortened"), "{} bytes are too many for the outbox", json.len());

    for colour in [false, true] {
        let screen = terminal::render(alert, colour, 80);
        assert!(screen.lines().count() <= terminal::MAX_LINES && screen.ends_with('\n'), "{screen}");
        let text = if colour { unpainted(&screen) } else { screen };
        text.lines().for_each(|line| harmless("a line on the terminal", line, 80 * 4));
    }
    let (text, failed) = TEMPLATES.text("syslog", alert);
    assert_eq!(failed, None);
    let options = syslog::Options {
        facility: 1,
        tag: "fuzz".into(),
        target: syslog::Target::Udp("localhost:514".into()),
        zone: TimeZone::UTC,
        pid: 1,
    };
    harmless("a line of the system log", &syslog::traditional(alert, &text, &options), 2048);
    let line = syslog::rfc5424(alert, &text, &options);
    harmless("a line of RFC 5424", &line.replacen('\u{feff}', "", 1), 8192);
}

/// The text without the colours of the first line.
fn unpainted(screen: &str) -> String {
    let (before, rest) = screen.split_once("\x1b[").expect("a colour begins");
    let (_, rest) = rest.split_once('m').expect("which one");
    format!("{before}{}", rest.replacen("\x1b[0m", "", 1))
}

/// Severities in the order of badness, for inputs that choose one.
pub(crate) fn severity(byte: u8) -> Severity {
    Severity::ALL[usize::from(byte) % Severity::ALL.len()]
}
