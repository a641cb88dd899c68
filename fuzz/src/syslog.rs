//! Lines of a syslog file: taken apart, and through the rules to the alerts.

use std::sync::{Arc, LazyLock};

use jiff::tz::TimeZone;
use sysops_agent::event::{MAX_LINE, Source, What};
use sysops_agent::watch::rules::{Custom, RuleSet};
use sysops_agent::watch::syslog::Line;
use sysops_agent::watch::syslog::read::Reader;

use super::pipe::{NOW, severity, tell};

/// Whatever stands in a line, its parts are parts of it; what comes of it says that it is not proven, and the error of
/// the kernel behind it is told.
pub(crate) fn lines(data: &[u8]) {
    static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
        let custom = [Custom { name: "own", pattern: "own (?P<what>.*)", severity: severity(1) }];
        Arc::new(RuleSet::new(&custom, true).expect("patterns"))
    });
    for line in String::from_utf8_lossy(data).lines() {
        let parsed = Line::parse(line);
        assert!(line.ends_with(parsed.text) && line.contains(parsed.program), "{line:?}: {parsed:?}");
        let (_, text) = parsed.kernel_time();
        assert!(parsed.text.ends_with(text));
        let _ = parsed.stamp.wall_ns(NOW.wall_ns, &TimeZone::UTC);
    }
    let mut reader = Reader::new(Arc::clone(&RULES), true, TimeZone::UTC);
    let mut events = Vec::new();
    let mut block = data.to_vec();
    block.push(b'\n');
    reader.take(&block, NOW, &mut events);
    reader.drained(false, NOW, &mut events);
    let before = events.len();
    let line =
        "Nov 22 13:45:29 h kernel: EXT4-fs error (device neighbour1): ext4_find_entry:1455: inode #2\n";
    reader.take(line.as_bytes(), NOW, &mut events);
    let told = events[before..]
        .iter()
        .any(|e| matches!(&e.what, What::Log(found) if found.rule == "filesystem_error"));
    // A hundred like ones before it: it is one of a flood.
    assert!(told || before >= 100, "the error is lost: {:#?}", &events[before..]);
    reader.drained(true, NOW, &mut events);
    assert!(!reader.pending());
    for event in &events {
        assert_eq!(event.source, Source::Syslog);
        if let What::Log(found) = &event.what {
            assert!(found.line.len() <= MAX_LINE && found.fields.len() <= 16, "{found:?}");
        }
    }
    tell(events);
}
