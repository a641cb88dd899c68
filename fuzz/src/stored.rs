//! What the agent reads back from its own disk, which may be damaged, and what a server answers.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use sysops_agent::engine::Input;
use sysops_agent::event::JournalMark;
use sysops_agent::notify::Outbox;
use sysops_agent::notify::backoff::{MAX_RETRY_AFTER, retry_after as parse_retry_after};
use sysops_agent::notify::record::{Record, decode, encode, scan};
use sysops_agent::publish::spool::record::{decode as read_round, encode as write_round, seal};
use sysops_agent::service::position::{self, KmsgPlace, Mark};
use sysops_agent::ship::places;

use super::pipe::{BOOT, NOW, engine};

/// The outbox file: what can be read is read, damage is cut out once, and what stands behind it is kept.
pub(crate) fn outbox(data: &[u8]) {
    let mut records = Vec::new();
    let mut place = 0;
    let found = scan(data, |at, record| {
        assert!(at.offset >= place && at.offset + u64::from(at.len) <= data.len() as u64, "{at:?}");
        place = at.offset + u64::from(at.len);
        records.push(record);
    });
    assert_eq!(found.len, data.len() as u64);
    for record in &records {
        let mut bytes = Vec::new();
        encode(record, &mut bytes);
        assert_eq!(bytes.pop(), Some(b'\n'));
        assert_eq!(decode(&bytes).as_ref(), Some(record));
    }
    let alerts: Vec<_> = records
        .iter()
        .filter_map(
            |record| if let Record::Alert(stored) = record { Some(stored.alert.as_ref()) } else { None },
        )
        .collect();
    let mut engine = engine();
    engine.remember(alerts, NOW);
    engine.step(NOW, Input::Tick, &mut Vec::new());
    reopen(data);
}

/// The file as a new start of the agent finds it, twice: after the first there is no damage left.
fn reopen(data: &[u8]) {
    let dir = folder();
    fs::create_dir_all(dir.join("outbox")).expect("a folder");
    fs::write(dir.join("outbox/alerts.log"), data).expect("a file");
    let (outbox, first) = Outbox::open(&dir, NOW);
    assert!(outbox.ledger.len() <= data.len());
    let kept = outbox.ledger.len();
    drop(outbox);
    let (outbox, second) = Outbox::open(&dir, NOW);
    assert_eq!(
        (second.torn, second.undelivered),
        (0, first.undelivered),
        "after {} damaged places",
        first.torn
    );
    assert_eq!(outbox.ledger.len(), kept);
    assert_eq!((first.warning, second.warning), (None, None));
    drop(outbox);
    let _ = fs::remove_dir_all(&dir);
}

/// One folder for this process, in memory where the machine has such a place.
fn folder() -> PathBuf {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    let base = BASE.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let dir = if memory.is_dir() { memory } else { std::env::temp_dir() };
        dir.join(format!("sysops-fuzz-{}", std::process::id()))
    });
    base.clone()
}

/// A file of the spool, as it is and under a checksum that is right: what is read is all there is.
pub(crate) fn spool(data: &[u8]) {
    for file in [data.to_vec(), seal(data)] {
        if let Some(messages) = read_round(&file) {
            assert!(!messages.is_empty());
            assert_eq!(write_round(&messages), Some(file));
        }
    }
}

/// The log shipper's places: what is whole is read, and comes back as it was.
pub(crate) fn ship_places(data: &[u8]) {
    // As it is, and every line under a checksum that is right.
    let seal = |line: &[u8]| [places::sum(line).as_bytes(), b" ", line, b"\n"].concat();
    let sealed: Vec<u8> = data.split(|b| *b == b'\n').flat_map(seal).collect();
    for bytes in [data.to_vec(), sealed] {
        let read = places::decode(&bytes);
        assert!(read.files.len() <= places::MAX_PLACES);
        let again = places::decode(&places::encode(read.at_ns, &read.files));
        assert!(again.torn == 0 && again.at_ns == read.at_ns);
        assert!(read.files.starts_with(&again.files), "{read:?}");
    }
}

/// The stored places in the kernel log and in the journal.
pub(crate) fn position(data: &[u8]) {
    let read: Option<KmsgPlace> = position::parse(data, BOOT);
    assert!(read.is_none() || data.starts_with(BOOT.as_bytes()));
    if let Some(place) = read {
        assert_eq!(position::parse(format!("{BOOT} {}\n", place.text()).as_bytes(), BOOT), Some(place));
    }
    assert_eq!(position::parse::<KmsgPlace>(data, ""), None, "a boot without a name is nobody's");
    if let Some(JournalMark { place }) = position::parse(data, BOOT) {
        // It becomes an argument of a program.
        assert!(place.starts_with(['@', 's']) && !place.contains([' ', '-', '/']), "{place}");
    }
}

/// The header `Retry-After`.
pub(crate) fn retry_after(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(parse_retry_after(text, NOW).is_none_or(|wait| wait <= MAX_RETRY_AFTER));
    }
}
