//! What `journalctl` and `systemctl` print.

use std::sync::{Arc, LazyLock};

use serde_json::Value;
use sysops_agent::collect::systemd::text;
use sysops_agent::event::{Event, Source, What};
use sysops_agent::time::{Now, SECOND};
use sysops_agent::watch::journal::entry::{Entry, Said};
use sysops_agent::watch::journal::killer_of;
use sysops_agent::watch::journal::place::Place;
use sysops_agent::watch::journal::programs::Programs;
use sysops_agent::watch::journal::read::Reader;
use sysops_agent::watch::rules::RuleSet;
use sysops_agent::watch::scan::{Resume, Scanner};

use super::pipe::{NOW, tell};

/// A stream of entries, in two pieces. Nobody is believed but by journald's own fields, every alert is harmless, and the kill behind
/// it all is told.
pub(crate) fn entries(data: &[u8]) {
    static RULES: LazyLock<Arc<RuleSet>> =
        LazyLock::new(|| Arc::new(RuleSet::new(&[], true).expect("built-in rules")));
    for line in data.split(|&b| b == b'\n') {
        believed(line);
    }
    let scanner = Scanner::new(Arc::clone(&RULES), Resume::After { seq: 0 });
    let programs = Programs::new(Arc::clone(&RULES), 1);
    let mut reader = Reader::new(Place::Cursor("s=0".into()), Some(scanner), Some(programs));
    let mut events = Vec::new();
    let (head, tail) = data.split_at(data.len() / 2);
    for part in [head, tail, b"\n"] {
        reader.take(part, NOW, &mut events);
        reader.drained(false, NOW, &mut events);
    }
    let (before, before_last) = (events.len(), reader.place().clone());
    let last = br#"{"__CURSOR":"s=f","__MONOTONIC_TIMESTAMP":"1","_SYSTEMD_UNIT":"systemd-oomd.service","MESSAGE":"Killed /neighbour due to x"}"#;
    reader.take(&[&last[..], b"\n"].concat(), NOW, &mut events);
    // What waits is told in the end, and then nothing does.
    let later = Now { mono_ns: NOW.mono_ns + 60 * SECOND, ..NOW };
    reader.drained(false, later, &mut events);
    assert_eq!(reader.due_ns(), None);
    let told = |event: &Event| matches!(&event.what, What::UserKill(kill) if event.source == Source::Journal && kill.victim.cgroup.as_deref() == Some("/neighbour"));
    assert!(
        events[before..].iter().any(told) || before_last == Place::Cursor("s=f".into()),
        "the kill is lost"
    );
    reader.drained(true, NOW, &mut events);
    tell(events);
}

/// One line, and another reader's opinion of it.
fn believed(line: &[u8]) {
    let Ok(entry) = Entry::parse(line) else { return };
    let fields: Value = serde_json::from_slice(line).unwrap_or_default();
    let is = |name: &str, value: &str| {
        let field = &fields[name];
        let bytes =
            field.as_array().map(|list| list.iter().filter_map(Value::as_u64).map(|b| b as u8).collect());
        field.as_str().map(|text| text.as_bytes().to_vec()).or(bytes).is_some_and(|is| is == value.as_bytes())
    };
    match entry.said {
        // An array is a struct to serde, too; journalctl prints objects.
        _ if !fields.is_object() => {}
        Said::Killer { name, .. } => {
            let field = &fields["_SYSTEMD_UNIT"];
            // Bytes where it is no text.
            assert!(field.as_str().is_none_or(|unit| killer_of(unit) == Some(name)), "{fields}");
            assert!(field.is_string() || field.is_array(), "{fields}");
            assert!(fields["_COMM"].is_null() || is("_COMM", name), "{fields}");
        }
        Said::Systemd { .. } => assert!(is("_PID", "1"), "{fields}"),
        Said::Kernel { .. } => assert!(is("_TRANSPORT", "kernel") && is("SYSLOG_FACILITY", "0"), "{fields}"),
        Said::Kmsg { .. } => assert!(is("_TRANSPORT", "kernel"), "{fields}"),
        // The kernel's way is closed to programs.
        Said::Program(_) => assert!(!is("_TRANSPORT", "kernel"), "{fields}"),
        Said::Nothing => {}
    }
}

/// Lists of units, and blocks of properties: names and words that become labels are short and of one line.
pub(crate) fn systemctl(data: &[u8]) {
    let input = String::from_utf8_lossy(data);
    let short = |text: &str| assert!(text.chars().count() <= 256 && !text.contains('\n'), "{text}");
    for unit in text::list(&input) {
        for text in [&unit.name, &unit.active, &unit.sub] {
            short(text);
        }
    }
    for unit in text::shown(&input) {
        assert!(!unit.name.is_empty());
        for text in [&unit.name, &unit.active, &unit.result, &unit.started, &unit.cause()] {
            short(text);
        }
    }
}
