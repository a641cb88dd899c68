use std::sync::Arc;

use super::*;
use crate::engine::look_back::Point;
use crate::metric::{Kind, Unit};

static USED: Metric = Metric {
    name: "test_used_percent",
    prometheus: "test_used_percent",
    kind: Kind::Gauge,
    unit: Unit::Percent,
    labels: &["mount"],
    help: "How full.",
    source: "nowhere",
};

const MINUTE: i64 = 60_000_000_000;

fn track(mount: &str, minutes: std::ops::Range<i64>) -> (Track, i64) {
    let point = |minute: i64| {
        let mean = minute as f64;
        let apart = f64::from(u8::from(minute % 2 == 0));
        Point { at_ns: minute * MINUTE, mean, min: mean - apart, max: mean + apart, count: 6 }
    };
    (Track { metric: &USED, labels: Arc::from([Box::from(mount)]), points: minutes.map(point).collect() }, 0)
}

fn ask(path: &Path, labels: &[(&str, &str)], step_secs: u64, begin_minute: i64) -> Vec<Line> {
    let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let question = Question { metric: USED.name.into(), labels, step_secs, since_secs: 0 };
    read(path, &USED, &question, begin_minute * 60).unwrap()
}

#[test]
fn minutes_are_written_once_and_read_by_labels() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("m.db");
    let (mut db, aside) = Database::open(&path).unwrap();
    assert_eq!((db.written_until().unwrap(), aside), (0, None));
    db.write(&[track("/", 1000..1010), track("/da\"ta\n", 1000..1005)], 1010).unwrap();
    // The last minute comes again, whole.
    db.write(&[track("/", 1009..1012)], 1012).unwrap();
    drop(db);
    let all = ask(&path, &[], 0, 0);
    assert_eq!(all.iter().map(|l| l.points.len()).collect::<Vec<_>>(), [12, 5]);
    assert_eq!(all[0].points[0], Dot(60_000.0, 1000.0, 999.0, 1001.0, 6));
    assert_eq!(all[0].points[1], Dot(60_060.0, 1001.0, 1001.0, 1001.0, 6));
    assert_eq!(ask(&path, &[("mount", "/da\"ta\n")], 0, 1003)[0].points.len(), 2);
    assert_eq!(ask(&path, &[("mount", "/nowhere")], 0, 0), []);
    let coarse = ask(&path, &[("mount", "/")], 300, 0);
    assert_eq!(coarse[0].points[0], Dot(60_000.0, 1002.0, 999.0, 1005.0, 30));
    let (db, _) = Database::open(&path).unwrap();
    assert_eq!(db.written_until().unwrap(), 1012);
}

#[test]
fn what_is_too_old_or_too_much_goes() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("m.db");
    let (mut db, _) = Database::open(&path).unwrap();
    db.write(&[track("/", 0..5 * DAY), track("/gone", 0..10)], 5 * DAY).unwrap();
    let settle = |db: &Database| {
        // The pragma gives a row.
        db.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    };
    settle(&db);
    let full = std::fs::metadata(&path).unwrap().len();
    assert_eq!(db.prune(5 * DAY, 3).unwrap(), 0);
    let kept = ask(&path, &[], 0, 0);
    assert_eq!((kept.len(), kept[0].points.len() as i64), (1, 3 * DAY), "the empty series is gone");
    let size = used(&db.connection).unwrap();
    let mut db = db.at_most(size / 2);
    let gone = db.prune(5 * DAY, 30).unwrap();
    assert!((1..3).contains(&gone), "{gone}");
    assert!(used(&db.connection).unwrap() <= size / 2);
    settle(&db);
    assert!(std::fs::metadata(&path).unwrap().len() < full / 2, "free pages are given back");
    // The newest day stays, however small the limit.
    let mut db = db.at_most(1);
    db.prune(5 * DAY, 30).unwrap();
    assert_eq!(ask(&path, &[], 0, 0)[0].points.len() as i64, DAY);
}

#[test]
fn a_damaged_file_is_moved_aside_and_another_begun() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("m.db");
    let check = |content: &[u8]| {
        std::fs::write(&path, content).unwrap();
        let (mut db, aside) = Database::open(&path).unwrap();
        let aside = aside.expect("moved aside");
        assert_eq!(std::fs::read(&aside).unwrap(), content);
        db.write(&[track("/", 7..9)], 9).unwrap();
        assert_eq!(ask(&path, &[], 0, 0)[0].points.len(), 2);
    };
    check(b"this is no database, but somebody wrote something here: it is long enough to be looked at.");
    // A database whose middle is overwritten.
    std::fs::remove_file(&path).unwrap();
    let (mut db, _) = Database::open(&path).unwrap();
    db.write(&[track("/", 0..3000)], 3000).unwrap();
    drop(db);
    let mut bent = std::fs::read(&path).unwrap();
    let len = bent.len();
    bent[100..len].fill(0xa5);
    check(&bent);
}

#[test]
fn damage_that_shows_while_writing_is_told_as_such() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("m.db");
    let (mut db, _) = Database::open(&path).unwrap();
    db.write(&[track("/", 0..20_000)], 20_000).unwrap();
    drop(db);
    let mut bent = std::fs::read(&path).unwrap();
    let len = bent.len();
    bent[8 * 4096..len].fill(0xff);
    std::fs::write(&path, &bent).unwrap();
    let outcome = Database::open(&path).and_then(|(mut db, aside)| {
        assert_eq!(aside, None, "its first pages are well");
        db.write(&[track("/", 0..20_000)], 20_001).map(|_| ())
    });
    let trouble = outcome.expect_err("it is damaged");
    assert!(trouble.damaged && trouble.why.contains("m.db"), "{trouble:?}");
}

#[test]
fn a_full_disk_is_told_and_costs_nothing() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("m.db");
    let (mut db, _) = Database::open(&path).unwrap();
    db.write(&[track("/", 0..10)], 10).unwrap();
    let pages = |db: &Database, most: i64| {
        db.connection.pragma_update_and_check(None, "max_page_count", most, |_| Ok(())).unwrap();
    };
    pages(&db, 10);
    let trouble = db.write(&[track("/", 10..5000)], 5000).unwrap_err();
    assert!(!trouble.damaged && trouble.why.contains("free space on that filesystem"), "{trouble:?}");
    assert_eq!(db.written_until().unwrap(), 10, "all or nothing");
    pages(&db, 1 << 20);
    db.write(&[track("/", 10..5000)], 5000).unwrap();
    assert_eq!(ask(&path, &[], 0, 0)[0].points.len(), 5000);
}

#[test]
fn a_database_of_somebody_else_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("theirs.db");
    let theirs = Connection::open(&path).unwrap();
    theirs.execute_batch("CREATE TABLE accounts (id INTEGER)").unwrap();
    drop(theirs);
    let before = std::fs::read(&path).unwrap();
    let trouble = Database::open(&path).unwrap_err();
    assert!(!trouble.damaged && trouble.why.contains("of another program"), "{trouble:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let path = home.path().join("newer.db");
    drop(Database::open(&path).unwrap());
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let trouble = Database::open(&path).unwrap_err();
    assert!(!trouble.damaged && trouble.why.contains("has the form 99 of a newer agent"), "{trouble:?}");
}

#[test]
fn an_older_form_becomes_the_newest_and_keeps_its_rows() {
    let mut db = Connection::open_in_memory().unwrap();
    let steps = [
        "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1);",
        "ALTER TABLE t ADD COLUMN b INTEGER DEFAULT 5;",
    ];
    schema::migrate(&mut db, 0, &steps[..1]).unwrap();
    schema::migrate(&mut db, 1, &steps).unwrap();
    let row = |db: &Connection| db.query_row("SELECT a, b FROM t", [], |r| Ok((r.get(0)?, r.get(1)?)));
    assert_eq!(row(&db).unwrap(), (1, 5));
    // A step that fails changes nothing.
    let bad = [steps[0], steps[1], "DELETE FROM t; SELECT nonsense;"];
    schema::migrate(&mut db, 2, &bad).unwrap_err();
    assert_eq!(row(&db).unwrap(), (1, 5));
    let version: i64 = db.pragma_query_value(None, "user_version", |r| r.get(0)).unwrap();
    assert_eq!(version, 2);
}

#[test]
fn a_directory_that_is_not_there_is_a_sentence() {
    let trouble = Database::open(Path::new("/nowhere/at/all/m.db")).unwrap_err();
    assert!(
        trouble.why.contains("/nowhere/at/all/m.db") && trouble.why.contains("storage.sqlite_path"),
        "{trouble:?}"
    );
    let why = read(Path::new("/nowhere/m.db"), &USED, &Question::default(), 0).unwrap_err();
    assert!(why.contains("there is no database /nowhere/m.db yet"), "{why}");
}

#[test]
fn strange_values_and_clocks_that_are_set_do_no_harm() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("m.db");
    let (mut db, _) = Database::open(&path).unwrap();
    let one = |mount: &str, minute: i64, mean: f64| {
        let point = Point { at_ns: minute * MINUTE, mean, min: mean, max: mean, count: 6 };
        (Track { metric: &USED, labels: Arc::from([Box::from(mount)]), points: vec![point] }, 0)
    };
    for minute in 1000..1010 {
        let tracks = [one("same", minute, 7.0), one("huge", minute, 1e308), one("none", minute, f64::NAN)];
        db.write(&tracks, minute + 1).unwrap();
    }
    // Ten years ahead, back again, and to the beginning of time.
    for minute in [5_256_000, 1010, 0, 1011] {
        db.write(&[one("same", minute, 8.0), one("huge", minute, f64::NEG_INFINITY)], minute + 1).unwrap();
    }
    db.prune(1012, 30).unwrap();
    drop(db);
    let (_, aside) = Database::open(&path).unwrap();
    assert_eq!(aside, None);
    for (mount, least) in [("same", 12), ("huge", 10)] {
        let lines = ask(&path, &[("mount", mount)], 0, 0);
        let points = lines.first().map_or(0, |line| line.points.len());
        assert!(points >= least, "{mount}: {points} points");
    }
}

#[test]
fn the_doctor_says_whose_a_file_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("m.db");
    let mut config = Config::default();
    config.storage.sqlite_enabled = true;
    config.storage.sqlite_path.clone_from(&path);
    let says = || examine(&config).expect("a feature").reason;
    std::fs::write(&path, "").expect("an empty file");
    assert!(says().contains("not written yet"), "{}", says());
    drop(Database::open(&path).expect("made"));
    assert!(!says().contains("not written yet"), "{}", says());
    let write = |what: &str| Connection::open(&path).and_then(|it| it.execute_batch(what)).expect("written");
    write("PRAGMA user_version = 99");
    assert!(says().contains("has the form 99 of a newer agent"), "{}", says());
    write("PRAGMA user_version = 0; PRAGMA application_id = 7");
    assert!(says().contains("another program"), "{}", says());
}
