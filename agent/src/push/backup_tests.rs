//! Backup files: order, limits, and what is not ours.

use super::*;
use jiff::civil::datetime;
use std::fs;

fn queue(payloads: &[&str]) -> VecDeque<Payload> {
    payloads.iter().map(|payload| payload.as_bytes().to_vec()).collect()
}

const NOW: Now = Now { mono_ns: 1, wall_ns: 1_771_777_800_123_456_789 };

/// With nothing of a killed agent's.
async fn open(dir: &Path, limit: u64) -> Backup {
    let (backup, left) = Backup::open(dir, limit, NOW).await;
    assert!(left.is_empty());
    backup
}

/// Sends all of it.
async fn all(backup: &mut Backup) -> Vec<String> {
    let mut sent = Vec::new();
    while let Some(payloads) = backup.load().await {
        sent.extend(payloads.iter().map(|payload| String::from_utf8_lossy(payload).into_owned()));
        backup.done().await;
    }
    sent
}

#[test]
fn names_stay_in_order_whatever_the_clock_does() {
    let at = |secs: i8| datetime(2026, 2, 3, 4, 5, secs, 0);
    assert_eq!(next_stamp(at(1), None), at(1));
    assert_eq!(next_stamp(at(9), Some(at(1))), at(9));
    assert_eq!(next_stamp(at(1), Some(at(1))), at(2));
    assert_eq!(next_stamp(at(1), Some(at(8))), at(9));
    assert_eq!(next_stamp(at(1), Some(DateTime::MAX)), at(1), "nothing is behind it");
}

#[tokio::test]
async fn what_is_saved_comes_back_in_order_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup");
    let mut backup = open(&path, 1 << 20).await;
    assert!(!backup.is_waiting() && backup.load().await.is_none());
    for payloads in [queue(&["1", "2"]), queue(&["3"]), queue(&["4"])] {
        assert!(backup.save(&payloads, NOW).await);
    }
    // Half of the first is sent when the agent ends.
    let mut first = backup.load().await.unwrap();
    assert!(backup.is_loaded() && !backup.is_waiting());
    first.pop_front();
    backup.keep(&first).await;
    fs::write(path.join("retry_backup_20200101_000000.json"), "{\"not\":\"ours\"}").unwrap();
    fs::write(path.join("retry_backup_20200102_000000.json"), "[]").unwrap();
    let mut backup = open(&path, 1 << 20).await;
    assert_eq!(backup.stats().files, 5);
    assert_eq!(all(&mut backup).await, ["2", "3", "4"]);
    let stats = backup.stats();
    assert_eq!((stats.files, stats.bytes, stats.unreadable, stats.dropped), (0, 0, 1, 0));
    let left: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["retry_backup_20200101_000000.bad"], "what is not ours is kept");
}

#[tokio::test]
async fn beyond_the_limit_the_oldest_goes_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let payload = format!("\"{}\"", "x".repeat(98));
    let mut backup = open(dir.path(), 630).await;
    let two = queue(&[&payload, &payload]);
    for _ in 0..3 {
        assert!(backup.save(&two, NOW).await);
    }
    assert_eq!((backup.stats().files, backup.stats().dropped), (3, 0));
    // The one that is being sent is not the one to go.
    backup.load().await.unwrap();
    assert!(backup.save(&queue(&["\"new\""]), NOW).await);
    assert!(backup.save(&queue(&["\"newer\""]), NOW).await);
    assert_eq!((backup.stats().files, backup.stats().dropped), (4, 2));
    backup.done().await;
    let sent = all(&mut backup).await;
    assert_eq!(sent[sent.len() - 2..], ["\"new\"", "\"newer\""]);
    // A smaller limit after a restart.
    let mut backup = open(dir.path(), 650).await;
    for _ in 0..3 {
        backup.save(&two, NOW).await;
    }
    let mut backup = open(dir.path(), 250).await;
    assert_eq!((backup.stats().files, backup.stats().dropped), (1, 4));
    assert_eq!(all(&mut backup).await.len(), 2);
}

#[tokio::test]
async fn where_the_disk_does_not_serve_that_is_said_until_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup");
    fs::write(&path, "a file").unwrap();
    let mut backup = open(&path, 1 << 20).await;
    assert!(backup.stats().trouble.is_some_and(|why| why.contains("backup")));
    assert!(!backup.save(&queue(&["1"]), NOW).await);
    fs::remove_file(&path).unwrap();
    assert!(backup.save(&queue(&["1"]), NOW).await);
    assert_eq!((backup.stats().trouble, backup.stats().files), (None, 1));
    // Switched off.
    let mut off = open(&path, 0).await;
    assert!(!off.save(&queue(&["2"]), NOW).await && !off.is_waiting());
    assert_eq!(off.stats(), Stats::default());
    // Taken away by somebody.
    fs::remove_dir_all(&path).unwrap();
    assert!(backup.load().await.is_none() && !backup.is_waiting());
}

#[tokio::test]
async fn the_journal_of_a_killed_agent_goes_only_when_a_file_has_it() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("backup");
    let mut backup = open(&dir, 1 << 20).await;
    assert!(backup.note(vec![b"1".to_vec(), b"2".to_vec()]).await);
    drop(backup);
    // No file can be made: a directory has the name that it is written under first.
    let aside = path_of(&dir, local(NOW));
    fs::create_dir(&aside).unwrap();
    let (mut backup, left) = Backup::open(&dir, 1 << 20, NOW).await;
    assert_eq!(left, queue(&["1", "2"]));
    assert!(
        dir.join("retry_queue.jsonl").exists() && backup.journal() == 4 && backup.stats().trouble.is_some()
    );
    // The next kill.
    assert!(backup.note(vec![b"3".to_vec()]).await);
    drop(backup);
    fs::remove_dir(&aside).unwrap();
    let mut backup = open(&dir, 1 << 20).await;
    assert!(!dir.join("retry_queue.jsonl").exists());
    assert_eq!(all(&mut backup).await, ["1", "2", "3"]);
}

/// Where a file is written before it has its name.
fn path_of(dir: &Path, stamp: Stamp) -> PathBuf {
    dir.join(files::name(stamp)).with_extension("tmp")
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_is_left_alone_and_read_later() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("backup");
    let journal = dir.join("retry_queue.jsonl");
    // A directory in its place: opened, not read.
    fs::create_dir_all(&journal).unwrap();
    let (mut backup, left) = Backup::open(&dir, 1 << 20, NOW).await;
    assert!(left.is_empty() && backup.is_behind() && journal.exists());
    assert!(!backup.note(vec![b"9".to_vec()]).await);
    fs::remove_dir(&journal).unwrap();
    fs::write(&journal, "1\n2\n").unwrap();
    assert!(backup.catch_up(NOW).await.is_empty() && !backup.is_behind());
    assert!(!journal.exists());
    assert_eq!(all(&mut backup).await, ["1", "2"]);
}
