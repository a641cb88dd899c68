#![expect(clippy::disallowed_methods, reason = "the disk is the test's own")]

use super::*;
use crate::alert::{Severity, Status};
use crate::notify::journal::Outbox;
use crate::notify::ledger::Set;
use crate::notify::tests::alert;
use std::fs;
use std::path::Path;
use std::time::Duration;

const NOW: Now = Now { mono_ns: 100_000_000_000, wall_ns: 1_771_745_400_000_000_000 };

fn open(dir: &Path) -> (Disk, Ledger) {
    let (Outbox { ledger, journal }, found) = Outbox::open(dir, NOW);
    (Disk::new(journal, found.torn, found.warning, NOW), ledger)
}

fn add(disk: &mut Disk, ledger: &mut Ledger, now: Now) -> oneshot::Receiver<bool> {
    let (done, heard) = oneshot::channel();
    let due = ledger.set(["webhook"].into_iter());
    let alert = Arc::new(alert("x", Severity::Warn, Status::Firing));
    let seq = ledger.push(Entry::new(alert, now, due));
    disk.write([seq].into_iter(), done);
    disk.start(now, ledger);
    heard
}

async fn visit(disk: &mut Disk, ledger: &mut Ledger, now: Now) -> usize {
    let visit = disk.visited().await;
    disk.finish(now, visit, ledger).len()
}

fn unstored(disk: &Disk, ledger: &Ledger) -> u64 {
    disk.stats(ledger).unstored
}

#[tokio::test]
async fn what_gathers_during_a_visit_shares_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (mut disk, mut ledger) = open(dir.path());
    let mut heard: Vec<_> = (0..9).map(|_| add(&mut disk, &mut ledger, NOW)).collect();
    visit(&mut disk, &mut ledger, NOW).await;
    assert_eq!(heard.remove(0).await, Ok(true));
    assert!(heard[0].try_recv().is_err(), "the others are not on disk yet");
    disk.start(NOW, &mut ledger);
    visit(&mut disk, &mut ledger, NOW).await;
    for heard in heard {
        assert_eq!(heard.await, Ok(true));
    }
    let stats = disk.stats(&ledger);
    assert_eq!((stats.accepted, stats.commits, stats.unstored, stats.trouble), (9, 2, 0, None));
    assert!(disk.is_idle());
}

#[tokio::test]
async fn a_disk_that_fails_is_tried_again_and_then_has_everything() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::write(&data, "in the way").unwrap();
    let (mut disk, mut ledger) = open(&data);
    assert_eq!(add(&mut disk, &mut ledger, NOW).await, Ok(false), "nobody waits for it");
    assert!(disk.is_idle());
    assert_eq!(disk.wake(), NOW.plus_secs(RETRY_SECS).mono_ns);

    let later = NOW.plus_secs(RETRY_SECS);
    let heard = add(&mut disk, &mut ledger, later);
    visit(&mut disk, &mut ledger, later).await;
    assert_eq!(heard.await, Ok(false), "still in the way");
    assert!(disk.stats(&ledger).trouble.unwrap().contains("cannot make"));

    fs::remove_file(&data).unwrap();
    let later = later.plus_secs(RETRY_SECS);
    disk.start(later, &mut ledger);
    visit(&mut disk, &mut ledger, later).await;
    assert_eq!((unstored(&disk, &ledger), disk.stats(&ledger).trouble), (0, None));
    assert_eq!(add_and_visit(&mut disk, &mut ledger, later).await, Ok(true));
    drop(disk);
    assert_eq!(open(&data).1.len(), 3);
}

async fn add_and_visit(
    disk: &mut Disk,
    ledger: &mut Ledger,
    now: Now,
) -> Result<bool, oneshot::error::RecvError> {
    let heard = add(disk, ledger, now);
    visit(disk, ledger, now).await;
    heard.await
}

#[tokio::test]
async fn a_file_that_vanishes_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (mut disk, mut ledger) = open(dir.path());
    assert_eq!(add_and_visit(&mut disk, &mut ledger, NOW).await, Ok(true));
    fs::remove_dir_all(dir.path().join("outbox")).unwrap();
    assert_eq!(add_and_visit(&mut disk, &mut ledger, NOW).await, Ok(false));
    assert_eq!(unstored(&disk, &ledger), 1);
    let later = NOW.plus_secs(RETRY_SECS);
    assert_eq!(add_and_visit(&mut disk, &mut ledger, later).await, Ok(true));
    assert_eq!(unstored(&disk, &ledger), 0);
    drop(disk);
    assert_eq!(open(dir.path()).1.len(), 3);
}

#[tokio::test]
async fn nobody_waits_for_a_disk_that_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let (mut disk, mut ledger) = open(dir.path());
    let journal = disk.journal.take().unwrap();
    disk.visit = Some(spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(200));
        self::super::visit(journal, &Job::default())
    }));
    let mut heard = add(&mut disk, &mut ledger, NOW);
    assert_eq!(disk.wake(), NOW.plus_secs(PATIENCE_SECS).mono_ns);
    disk.check_patience(NOW.plus_secs(PATIENCE_SECS - 1));
    assert!(heard.try_recv().is_err());
    disk.check_patience(NOW.plus_secs(PATIENCE_SECS));
    assert_eq!(heard.await, Ok(false));
    assert!(disk.stats(&ledger).trouble.unwrap().contains("has not answered for 2 s"));
    visit(&mut disk, &mut ledger, NOW).await;
    disk.start(NOW, &mut ledger);
    visit(&mut disk, &mut ledger, NOW).await;
    let stats = disk.stats(&ledger);
    assert_eq!((stats.unstored, stats.trouble), (0, None), "in the end it is on disk");
}

#[tokio::test]
async fn marks_are_written_and_compaction_keeps_the_file_small() {
    let dir = tempfile::tempdir().unwrap();
    let (mut disk, mut ledger) = open(dir.path());
    add_and_visit(&mut disk, &mut ledger, NOW).await.unwrap();
    let slot = ledger.slot("webhook").unwrap();
    for _ in 0..6000 {
        disk.mark(Seq(0), slot, Outcome::Delivered, &ledger);
    }
    ledger.settle(Seq(0), slot, Outcome::Delivered);
    for _ in 0..2 {
        add_and_visit(&mut disk, &mut ledger, NOW).await.unwrap();
    }
    let stats = disk.stats(&ledger);
    assert_eq!((stats.compactions, stats.alerts), (1, 3));
    assert!(stats.bytes < 5000, "{}", stats.bytes);
    drop(disk);
    let (_, ledger) = open(dir.path());
    let due: Vec<_> = ledger.iter().map(|(_, e)| e.due != Set::default()).collect();
    assert_eq!(due, [false, true, true]);
}
