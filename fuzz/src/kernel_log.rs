//! `/dev/kmsg`: single records, and whole logs through all rules to the alerts.

use std::sync::{Arc, LazyLock};

use sysops_agent::event::{Event, MAX_LINE, What};
use sysops_agent::watch::record::Record;
use sysops_agent::watch::rules::{Custom, RuleSet};
use sysops_agent::watch::scan::{Resume, Scanner};

use super::pipe::{NOW, severity, tell};

/// Events that one record can make: a kill, a hang with and without its stack, a loss, a built-in rule, one for each
/// pattern, and as many again of a fragment that it ends.
const MAX_EVENTS: usize = 16;
/// Longest text in an event, bytes: what the kernel cuts names to is not certain, its record is.
const MAX_TEXT: usize = 3 * 8192;

/// One record: what it tells is what was written.
pub(crate) fn record(data: &[u8]) {
    let Ok(record) = Record::parse(data) else { return };
    assert!(record.priority < 8);
    let text = record.text();
    // Undone escapes are fewer bytes, but a byte that is no UTF-8 becomes three.
    assert!(text.len() <= data.len() * 3);
    for key in ["SUBSYSTEM", "DEVICE", ""] {
        assert!(record.value(key).is_none_or(|value| value.len() <= data.len() * 3));
    }
    let prefix = record.facility << 3 | u64::from(record.priority);
    let again = format!("{prefix},{},{},-;{}\n", record.seq, record.time_us, escaped(text.as_bytes()));
    let again = Record::parse(again.as_bytes()).expect("what was read can be written");
    assert_eq!(again.text(), text);
    assert_eq!((again.seq, again.time_us), (record.seq, record.time_us));
    assert_eq!((again.facility, again.priority), (record.facility, record.priority));
}

/// A text as the kernel writes it into a record.
fn escaped(text: &[u8]) -> String {
    let byte = |&b: &u8| match b {
        b' '..=b'[' | b']'..=b'~' => char::from(b).to_string(),
        _ => format!("\\x{b:02x}"),
    };
    text.iter().map(byte).collect()
}

/// A log: lines of text, which become records of the kernel, or whole records. Whatever stands in it, every alert is
/// harmless, and the kill, the hang and the error behind it are told.
pub(crate) fn log(data: &[u8]) {
    static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
        let custom = [
            Custom { name: "own", pattern: "own (?P<what>.*)", severity: severity(1) },
            Custom { name: "bytes", pattern: r"(?-u:\xff)|\x1b(?P<escape>.)", severity: severity(2) },
        ];
        Arc::new(RuleSet::new(&custom, true).expect("patterns"))
    });
    let mut scanner = Scanner::new(Arc::clone(&RULES), Resume::Fresh);
    let mut events = Vec::new();
    // What was there before is read: from here on everything is news.
    scanner.drained(true, NOW, &mut events);
    for (seq, bytes) in records(data) {
        let before = events.len();
        scanner.record(&bytes, NOW, &mut events);
        assert!(events.len() - before <= MAX_EVENTS, "{} events of one record", events.len() - before);
        if seq % 64 == 63 {
            scanner.drained(seq % 128 == 127, NOW, &mut events);
        }
    }
    neighbours(&mut scanner, data, &mut events);
    scanner.drained(true, NOW, &mut events);
    assert!(!scanner.pending());
    events.iter().for_each(check);
    tell(events);
}

/// Records of the input: a line with a head is one, any other becomes the text of one. A line break in a text is `\x0a`.
fn records(data: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    let lines = data.split(|&b| b == b'\n').take(2000).enumerate();
    lines.map(|(seq, line)| {
        let has_head = line.first().is_some_and(u8::is_ascii_digit) && line.contains(&b';');
        // NUL stands for the line break before a dictionary.
        let bytes = if has_head {
            line.iter().map(|&b| if b == 0 { b'\n' } else { b }).collect()
        } else {
            format!("3,{seq},{},-;{}", 1_000_000 + seq * 10, escaped(line)).into_bytes()
        };
        (seq, bytes)
    })
}

/// Three things that everybody must be told, however the log before them ended.
fn neighbours(scanner: &mut Scanner, data: &[u8], events: &mut Vec<Event>) {
    const PID: u32 = 4_190_017;
    if data.windows(7).any(|w| w == b"4190017") {
        return;
    }
    let lines = [
        format!("Memory cgroup out of memory: Killed process {PID} (neighbour) total-vm:1kB, anon-rss:1kB, file-rss:0kB"),
        format!("INFO: task neighbour:{PID} blocked for more than 120 seconds."),
        "EXT4-fs error (device neighbour1): ext4_find_entry:1455: inode #2: comm ls: reading directory lblock 0".into(),
    ];
    let before = events.len();
    for (i, line) in lines.iter().enumerate() {
        // Long after everything before.
        let record = format!("3,{},{},-;{line}", 5_000_000_000_u64 + i as u64, 90_000_000_000_u64 + i as u64);
        scanner.record(record.as_bytes(), NOW, events);
    }
    let new = &events[before..];
    let has = |is: &dyn Fn(&What) -> bool| new.iter().any(|e| !e.historic && is(&e.what));
    assert!(
        has(&|w| matches!(w, What::Oom(oom) if oom.victim.pid == Some(PID))),
        "the kill is lost: {new:#?}"
    );
    assert!(
        has(&|w| matches!(w, What::Hang(hang) if hang.task.pid == Some(PID))),
        "the hang is lost: {new:#?}"
    );
    assert!(
        has(&|w| matches!(w, What::Log(found) if found.rule == "filesystem_error")),
        "the error is lost: {new:#?}"
    );
}

/// No event is larger than what a record can hold.
fn check(event: &Event) {
    if let What::Log(found) = &event.what {
        assert!(found.line.len() <= MAX_LINE, "{} bytes", found.line.len());
        assert!(found.fields.len() <= 16, "{:?}", found.fields);
        assert!(found.fields.iter().all(|(_, value)| value.len() <= 256), "{:?}", found.fields);
    } else if let What::Hang(hang) = &event.what {
        assert!(hang.stack.len() <= 17 && hang.stack.iter().all(|frame| frame.len() <= 256), "{hang:?}");
    } else if let What::Oom(oom) = &event.what {
        let texts = [&oom.victim.comm, &oom.trigger.comm, &oom.oom_memcg, &oom.victim.cgroup, &oom.gfp_mask];
        assert!(texts.into_iter().flatten().all(|text| text.len() <= MAX_TEXT));
    }
}
