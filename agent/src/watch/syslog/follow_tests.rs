//! A real file, written and rotated while it is followed.

use std::fs::{OpenOptions, rename};
use std::io::Write;
use std::sync::Arc;

use jiff::tz::TimeZone;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::timeout;

use super::*;
use crate::alert::Severity;
use crate::host::tail;
use crate::watch::rules::{Custom, RuleSet};

const OWN: Custom<'_> =
    Custom { name: "numbered", pattern: "number (?P<what>n\\d+)", severity: Severity::Warn };

struct Following {
    events: Receiver<Event>,
    stop: CancellationToken,
    mark: Option<tail::Mark>,
}

fn follow(path: &Path, resume: Option<tail::Mark>) -> Following {
    let rules = Arc::new(RuleSet::new(&[OWN], true).expect("patterns"));
    let watch = SyslogWatch::new(Tail::new(path.to_owned(), resume), Reader::new(rules, true, TimeZone::UTC));
    let (tx, events) = channel(64);
    let stop = CancellationToken::new();
    tokio::spawn(watch.run(tx, stop.clone()));
    Following { events, stop, mark: None }
}

impl Following {
    /// The next numbered line.
    async fn next(&mut self) -> String {
        loop {
            let event =
                timeout(Duration::from_secs(20), self.events.recv()).await.expect("in time").expect("open");
            match event.what {
                What::Log(found) => return found.fields[0].1.clone(),
                What::SyslogMark(mark) => self.mark = tail::Mark::parse(&mark.place),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The mark at the end of the file.
    async fn marked(&mut self, path: &Path) -> tail::Mark {
        use std::os::unix::fs::MetadataExt;
        let end = std::fs::metadata(path).map(|meta| (meta.ino(), meta.len())).expect("a file");
        loop {
            if let Some(mark) = self.mark.filter(|mark| (mark.inode, mark.offset) == end) {
                return mark;
            }
            let event =
                timeout(Duration::from_secs(20), self.events.recv()).await.expect("in time").expect("open");
            if let What::SyslogMark(mark) = event.what {
                self.mark = tail::Mark::parse(&mark.place);
            }
        }
    }
}

fn add(path: &Path, numbers: std::ops::Range<u32>) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("writable");
    for n in numbers {
        writeln!(file, "Nov 22 13:45:29 h app[1]: number n{n}").expect("written");
    }
}

#[tokio::test]
async fn a_file_that_appears_is_written_renamed_and_read_on_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("syslog");
    // Nothing that is there was told.
    let nowhere = tail::Mark::parse("0 0 0000000000000000/0");
    let mut one = follow(&path, nowhere);
    let mut expect = 0;
    for round in 1..=3 {
        add(&path, expect..expect + 20);
        for n in expect..expect + 20 {
            assert_eq!(one.next().await, format!("n{n}"));
        }
        expect += 20;
        if round == 2 {
            rename(&path, dir.path().join("syslog.1")).expect("renamed");
        }
    }
    let mark = one.marked(&path).await;
    one.stop.cancel();
    add(&path, expect..expect + 5);
    let mut two = follow(&path, Some(mark));
    for n in expect..expect + 5 {
        assert_eq!(two.next().await, format!("n{n}"));
    }
    two.stop.cancel();
}

#[test]
fn events_of_the_folder_are_told_from_new_bytes() {
    let event = |mask: u32, len: u32| {
        let mut bytes = Vec::new();
        for word in [1, mask, 0, len] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(vec![0; len as usize]);
        bytes
    };
    let (modify, create) = (WatchFlags::MODIFY.bits(), WatchFlags::CREATE.bits());
    assert!(!names(&[event(modify, 0), event(modify, 0)].concat()));
    assert!(names(&[event(modify, 0), event(create, 16)].concat()));
    assert!(!names(&event(modify, 16)[..20]));
    assert!(!names(&[]));
}

#[tokio::test]
async fn a_flood_is_told_as_far_as_it_came_at_a_stop() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("syslog");
    // Nothing that is there was told. Like ones: beyond a hundred they only count.
    (0..150).for_each(|_| add(&path, 7..8));
    let mut following = follow(&path, tail::Mark::parse("0 0 0000000000000000/0"));
    for _ in 0..100 {
        assert_eq!(following.next().await, "n7");
    }
    // Until the others are read, too: nothing tells of them.
    sleep(Duration::from_secs(1)).await;
    following.stop.cancel();
    let (mut held, mut last) = (0, None);
    while let Some(event) = following.events.recv().await {
        match event.what {
            What::Log(found) => held += found.repeats.map_or(1, |repeats| repeats.count),
            What::SyslogMark(mark) => last = tail::Mark::parse(&mark.place),
            other => panic!("{other:?}"),
        }
    }
    let end = path.metadata().expect("a file").len();
    assert_eq!((held, last.map(|mark| mark.offset)), (50, Some(end)));
}
