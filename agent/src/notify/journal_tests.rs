use super::*;
use crate::alert::{Severity, Status};
use crate::notify::record::Outcome;
use crate::notify::tests::alert;
use std::os::unix::fs::{PermissionsExt, symlink};

const NOW: Now = Now { mono_ns: 5_000_000_000, wall_ns: 1_771_745_400_000_000_000 };

fn open(dir: &Path) -> (Outbox, Recovered) {
    Outbox::open(dir, NOW)
}

fn add(outbox: &mut Outbox, ids: &[&str]) -> Vec<Seq> {
    let due = outbox.ledger.set(["webhook", "syslog"].into_iter());
    let entry = |id: &&str| Entry::new(Arc::new(alert(id, Severity::Warn, Status::Firing)), NOW, due);
    let seqs: Vec<_> = ids.iter().map(|id| outbox.ledger.push(entry(id))).collect();
    let alerts = seqs.iter().filter_map(|seq| Keep::of(*seq, outbox.ledger.get(*seq)?)).collect();
    let job = Job { names: outbox.ledger.all_names().to_vec(), alerts, ..Job::default() };
    let places = outbox.journal.run(&job).unwrap();
    outbox.ledger.stored(&places);
    seqs
}

fn mark(outbox: &mut Outbox, seq: Seq, channel: &str, outcome: Outcome) {
    let marks = vec![Mark { seq, channel: channel.to_owned().into(), outcome }];
    outbox.journal.run(&Job { marks, ..Job::default() }).unwrap();
}

/// `id: due channels / told channels` of what a new start finds.
fn state(outbox: &Outbox) -> Vec<String> {
    let Outbox { ledger, journal } = outbox;
    let show = |(seq, e): (Seq, &Entry)| {
        let id = read(&journal.reader().unwrap(), seq, e.place.unwrap()).unwrap().id;
        let names = |set| ledger.names(set).collect::<Vec<_>>().join(" ");
        format!("{id}: {} / {}", names(e.due), names(e.told))
    };
    ledger.iter().map(show).collect()
}

#[test]
fn a_new_start_finds_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let (mut outbox, found) = open(dir.path());
    assert_eq!((found.undelivered, found.recent.len(), found.torn, found.warning), (0, 0, 0, None));
    let seqs = add(&mut outbox, &["a", "b", "c"]);
    mark(&mut outbox, seqs[0], "webhook", Outcome::Delivered);
    mark(&mut outbox, seqs[0], "syslog", Outcome::Refused);
    mark(&mut outbox, seqs[1], "syslog", Outcome::Delivered);
    mark(&mut outbox, Seq(77), "syslog", Outcome::Delivered);
    drop(outbox);
    let (mut outbox, found) = open(dir.path());
    assert_eq!(state(&outbox), ["a:  / webhook", "b: webhook / syslog", "c: webhook syslog / "]);
    let recent: Vec<_> = found.recent.iter().map(|a| a.id.as_str()).collect();
    assert_eq!((found.undelivered, recent), (2, vec!["a", "b", "c"]));
    assert_eq!(add(&mut outbox, &["d"]), [Seq(3)], "numbers go on");
}

#[test]
fn files_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, _) = open(dir.path());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&outbox.journal.path()), 0o600);
    assert_eq!(mode(&dir.path().join("outbox")), 0o700);
}

#[test]
fn a_torn_tail_is_cut_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (mut outbox, _) = open(dir.path());
    add(&mut outbox, &["a", "b"]);
    let path = outbox.journal.path();
    drop(outbox);
    let len = fs::metadata(&path).unwrap().len();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(len - 10).unwrap();
    let (mut outbox, found) = open(dir.path());
    assert_eq!((found.torn, found.warning), (1, None));
    assert_eq!(state(&outbox), ["a: webhook syslog / "]);
    add(&mut outbox, &["c"]);
    drop(outbox);
    let (outbox, found) = open(dir.path());
    assert_eq!((found.torn, state(&outbox).len()), (0, 2));
}

#[test]
fn a_rewrite_keeps_the_state_and_drops_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (mut outbox, _) = open(dir.path());
    let seqs = add(&mut outbox, &["a", "b", "c"]);
    mark(&mut outbox, seqs[1], "webhook", Outcome::Delivered);
    let slot = outbox.ledger.slot("webhook").unwrap();
    outbox.ledger.settle(seqs[1], slot, Outcome::Delivered);
    outbox.ledger.get_mut(seqs[2]).unwrap().held = None;
    let old = (outbox.journal.reader().unwrap(), outbox.ledger.get(seqs[2]).unwrap().place.unwrap());
    let mut job = rewrite_job(&outbox.ledger);
    job.alerts.remove(0);
    let places = outbox.journal.run(&job).unwrap();
    outbox.ledger.get_mut(seqs[0]).unwrap().held = None;
    assert_eq!(outbox.ledger.moved(&places).len(), 1);
    assert_eq!(state(&outbox), ["b: syslog / webhook", "c: webhook syslog / "]);
    assert_eq!(read(&old.0, seqs[2], old.1).unwrap().id, "c", "who reads the old file goes on");
    assert!(
        read(&outbox.journal.reader().unwrap(), seqs[2], old.1).is_none(),
        "no wrong alert at an old place"
    );
    add(&mut outbox, &["d"]);
    drop(outbox);
    let (outbox, found) = open(dir.path());
    assert_eq!(state(&outbox), ["b: syslog / webhook", "c: syslog webhook / ", "d: syslog webhook / "]);
    assert_eq!(found.torn, 0);
    assert_eq!(fs::read_dir(dir.path().join("outbox")).unwrap().count(), 1, "nothing is left lying about");
}

#[test]
fn dead_bytes_are_compacted_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (mut outbox, _) = open(dir.path());
    let seq = add(&mut outbox, &["a"])[0];
    let marks = vec![Mark { seq, channel: "syslog".into(), outcome: Outcome::Delivered }; 5000];
    outbox.journal.run(&Job { marks, ..Job::default() }).unwrap();
    assert!(outbox.journal.wants_compaction(outbox.ledger.live_bytes()));
    drop(outbox);
    let (outbox, _) = open(dir.path());
    assert!(outbox.journal.len() < 2000, "{}", outbox.journal.len());
    assert_eq!(state(&outbox), ["a: webhook / syslog"]);
}

#[test]
fn a_file_that_was_deleted_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (mut outbox, _) = open(dir.path());
    add(&mut outbox, &["a"]);
    fs::remove_dir_all(dir.path().join("outbox")).unwrap();
    let why = outbox.journal.run(&Job::default()).unwrap_err();
    assert!(why.contains("it was deleted"), "{why}");
    assert!(outbox.journal.is_broken());
    let why = outbox.journal.run(&Job::default()).unwrap_err();
    assert!(why.contains("written anew"), "{why}");
    outbox.journal.run(&rewrite_job(&outbox.ledger)).unwrap();
    drop(outbox);
    assert_eq!(state(&open(dir.path()).0), ["a: webhook syslog / "]);
}

#[test]
fn a_second_agent_is_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, _) = open(dir.path());
    add(&mut first, &["a"]);
    let (mut second, found) = open(dir.path());
    assert!(found.in_use);
    assert!(found.warning.unwrap().contains("in use by another sysops-agent"));
    assert!(second.journal.run(&rewrite_job(&second.ledger)).is_err());
    drop(first);
    // It never read that file, so it does not replace it either.
    second.journal.run(&rewrite_job(&second.ledger)).unwrap();
    assert!(dir.path().join("outbox/alerts.unread").exists());
}

#[test]
fn without_a_directory_there_is_a_warning_and_later_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::write(&data, "a file").unwrap();
    let (mut outbox, found) = open(&data);
    let warning = found.warning.unwrap();
    assert!(warning.starts_with("cannot make ") && warning.contains("/data/outbox"), "{warning}");
    fs::remove_file(&data).unwrap();
    outbox.journal.run(&rewrite_job(&outbox.ledger)).unwrap();
    add(&mut outbox, &["a"]);
    drop(outbox);
    assert_eq!(state(&open(&data).0), ["a: webhook syslog / "]);
}

#[test]
fn a_link_in_place_of_the_file_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("outbox")).unwrap();
    let victim = dir.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, dir.path().join("outbox/alerts.log")).unwrap();
    symlink(&victim, dir.path().join("outbox/alerts.new")).unwrap();
    let (mut outbox, found) = open(dir.path());
    assert!(found.warning.is_some());
    outbox.journal.run(&rewrite_job(&outbox.ledger)).unwrap_or_default();
    assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
}

#[test]
fn a_full_disk_is_told_and_undone() {
    // /dev/full fails every write as a full disk does.
    let dir = tempfile::tempdir().unwrap();
    let (mut outbox, _) = open(dir.path());
    add(&mut outbox, &["a"]);
    let good =
        outbox.journal.file.replace(Arc::new(OpenOptions::new().write(true).open("/dev/full").unwrap()));
    let job = Job { alerts: rewrite_job(&outbox.ledger).alerts, ..Job::default() };
    let why = outbox.journal.run(&job).unwrap_err();
    assert!(why.contains("No space left") && why.ends_with("; free space on that filesystem"), "{why}");
    outbox.journal.file = good;
    outbox.journal.run(&rewrite_job(&outbox.ledger)).unwrap();
    assert_eq!(state(&outbox).len(), 1);
}
