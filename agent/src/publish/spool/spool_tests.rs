use super::*;
use crate::publish::message::Message;
use std::fs;

fn round(what: What, name: &str, bytes: usize) -> Round {
    let message = Message { id: name.into(), zstd: true, body: vec![7; bytes] };
    Round { what, messages: vec![message] }
}

/// Takes everything out, in order.
async fn names(spool: &mut Spool) -> Vec<String> {
    let mut names = Vec::new();
    while let Some((seq, round)) = spool.oldest().await {
        names.push(round.messages[0].id.clone());
        spool.done(seq).await;
    }
    names
}

async fn filled(dir: &Path, limit: u64, rounds: &[(What, &str)]) -> Spool {
    let mut spool = Spool::open(dir, limit).await;
    for (what, name) in rounds {
        spool.push(round(*what, name, 5000)).await;
    }
    spool
}

/// Room of one such round on disk.
const ONE: u64 = 8192;
use What::{Inventory as I, Metrics as M};

#[tokio::test]
async fn rounds_outlive_a_kill_in_order_and_leave_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("spool");
    drop(filled(&dir, 100 * ONE, &[(M, "a"), (I, "b"), (M, "c")]).await);
    let mut spool = filled(&dir, 100 * ONE, &[(M, "d")]).await;
    assert_eq!(spool.stats(), Stats { waiting: 4, bytes: 4 * ONE, ..Stats::default() });
    let (first, _) = spool.oldest().await.unwrap();
    spool.done(first).await;
    drop(spool);
    let mut spool = Spool::open(&dir, 100 * ONE).await;
    assert_eq!(names(&mut spool).await, ["b", "c", "d"], "what was done stays done");
    assert!(spool.is_empty());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

#[tokio::test]
async fn a_full_spool_keeps_the_newest_metrics_and_every_inventory() {
    let check = async |limit: u64, rounds: &[(What, &str)], expect: &[&str], dropped: (u64, u64)| {
        let home = tempfile::tempdir().unwrap();
        let mut spool = filled(home.path(), limit, rounds).await;
        let stats = spool.stats();
        assert!(stats.bytes <= limit, "{stats:?}");
        assert_eq!((stats.dropped_metrics, stats.dropped_inventory), dropped, "{rounds:?}");
        let on_disk = fs::read_dir(home.path()).unwrap().count();
        assert_eq!(
            (on_disk, names(&mut spool).await),
            (expect.len(), expect.iter().map(|n| (*n).to_owned()).collect())
        );
    };
    let all = [(I, "a"), (M, "b"), (M, "c"), (I, "d"), (M, "e")];
    check(5 * ONE, &all, &["a", "b", "c", "d", "e"], (0, 0)).await;
    check(3 * ONE, &all, &["a", "d", "e"], (2, 0)).await;
    check(2 * ONE, &all, &["a", "d"], (3, 0)).await;
    check(ONE, &all, &["d"], (3, 1)).await;
    check(ONE - 1, &all, &[], (3, 2)).await;
}

#[tokio::test]
async fn a_smaller_limit_counts_for_what_is_there() {
    let home = tempfile::tempdir().unwrap();
    drop(filled(home.path(), 9 * ONE, &[(M, "a"), (I, "b"), (M, "c")]).await);
    let mut spool = Spool::open(home.path(), 2 * ONE).await;
    assert_eq!(spool.stats().dropped_metrics, 1);
    assert_eq!(names(&mut spool).await, ["b", "c"]);
}

#[tokio::test]
async fn torn_files_are_left_out_and_counted() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = filled(home.path(), 100 * ONE, &[(M, "a"), (M, "b"), (M, "c"), (M, "d")]).await;
    let path = |seq: u64| home.path().join(format!("{seq:016x}.metrics"));
    let whole = fs::read(path(2)).unwrap();
    fs::write(path(2), &whole[..whole.len() - 1]).unwrap();
    fs::write(path(3), b"").unwrap();
    fs::remove_file(path(4)).unwrap();
    assert_eq!(names(&mut spool).await, ["a"]);
    assert_eq!((spool.stats().torn, spool.stats().waiting), (3, 0));
    assert!(!path(2).exists(), "it would be in the way for ever");
}

#[tokio::test]
async fn without_a_disk_a_little_waits_in_memory_and_goes_there_later() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("spool");
    fs::write(&dir, "a file, no directory").unwrap();
    let mut spool = filled(&dir, 1 << 30, &[(I, "a"), (M, "b"), (M, "c")]).await;
    let stats = spool.stats();
    assert_eq!((stats.waiting, stats.bytes), (3, 0));
    assert!(stats.trouble.is_some_and(|why| why.contains("spool")));
    // The limit of memory: metrics go first.
    for n in 0..5 {
        spool.push(round(M, &format!("big{n}"), 1 << 20)).await;
    }
    assert!(spool.held.values().map(Round::bytes).sum::<usize>() as u64 <= index::MAX_HELD);
    assert!(spool.stats().dropped_metrics >= 5);
    fs::remove_file(&dir).unwrap();
    spool.push(round(M, "late", 10)).await;
    while spool.index.held().next().is_some() {
        spool.settle().await;
    }
    assert_eq!((spool.held.len(), spool.stats().trouble), (0, None));
    drop(spool);
    let mut spool = Spool::open(&dir, 1 << 30).await;
    assert_eq!(names(&mut spool).await, ["a", "big4", "late"]);
}

#[tokio::test]
async fn a_limit_of_nothing_means_memory() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("spool");
    let mut spool = filled(&dir, 0, &[(M, "a"), (I, "b")]).await;
    assert_eq!(spool.stats().trouble, None, "it was asked for");
    spool.settle().await;
    assert_eq!(names(&mut spool).await, ["a", "b"]);
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_directory_that_is_removed_is_made_anew() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("spool");
    let mut spool = filled(&dir, 100 * ONE, &[(M, "a")]).await;
    fs::remove_dir_all(&dir).unwrap();
    spool.push(round(M, "b", 10)).await;
    assert_eq!(names(&mut spool).await, ["b"]);
    assert_eq!(spool.stats().torn, 1);
}

#[tokio::test]
async fn what_lies_in_a_directory_that_cannot_be_listed_at_first_is_not_replaced() {
    let home = tempfile::tempdir().unwrap();
    let (dir, away) = (home.path().join("spool"), home.path().join("away"));
    drop(filled(&dir, 100 * ONE, &[(M, "a"), (I, "b")]).await);
    fs::rename(&dir, &away).unwrap();
    fs::write(&dir, "a file, no directory").unwrap();
    let mut spool = filled(&dir, 100 * ONE, &[(M, "c"), (M, "d")]).await;
    assert!(spool.stats().trouble.is_some() && spool.stats().waiting == 2);
    fs::remove_file(&dir).unwrap();
    fs::rename(&away, &dir).unwrap();
    spool.settle().await;
    assert_eq!(spool.stats().waiting, 4);
    // By now all of it is on disk.
    spool.settle().await;
    assert_eq!((spool.held.len(), fs::read_dir(&dir).unwrap().count()), (0, 4));
    drop(spool);
    let mut spool = Spool::open(&dir, 100 * ONE).await;
    assert_eq!(names(&mut spool).await, ["a", "b", "c", "d"], "in order, none replaced");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

#[tokio::test]
async fn a_round_that_the_disk_took_after_all_goes_with_its_delivery() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(home.path(), 100 * ONE).await;
    // As after a write that was given up: the round is held, its file is there.
    let seq = spool.index.next();
    disk::write(home.path(), seq, M, b"late").unwrap();
    spool.held.insert(seq, round(M, "a", 10));
    spool.index.insert(seq, Waiting { what: M, bytes: 10, held: true });
    spool.trouble("the disk hung".into());
    assert_eq!(names(&mut spool).await, ["a"]);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    // And one that could not be removed then.
    disk::write(home.path(), 99, I, b"late").unwrap();
    spool.strays.push((99, I));
    spool.settle().await;
    assert_eq!((spool.strays.len(), fs::read_dir(home.path()).unwrap().count()), (0, 0));
}
