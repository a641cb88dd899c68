use super::*;
use crate::host::fixture::FixtureHost;
use crate::inventory::{Options, collect};
use crate::time::Now;

fn parts(kernel: &str) -> Parts {
    let host = FixtureHost::parse(&format!("//- uname h {kernel} x86_64\n")).unwrap();
    Parts::of(&host, &collect(&host, &Options::default(), Now::default()), String::new())
}

/// What the readings lead to, a letter each: a change told, undecided, quiet.
fn outcomes(kept: &mut Kept, kernels: &[&str]) -> String {
    let letter = |outcome: Outcome| match outcome {
        Outcome { change: Some(_), .. } => 'T',
        Outcome { undecided: true, .. } => 'u',
        Outcome { problem: Some(_), .. } => 'p',
        _ => '.',
    };
    kernels.iter().map(|kernel| letter(kept.take(parts(kernel)))).collect()
}

#[test]
fn a_change_is_told_once_when_it_was_seen_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = Kept::open(dir.path());
    assert_eq!(outcomes(&mut kept, &["1", "1", "2", "2", "2", "3", "2", "3", "4", "4"]), "..uT.u.uuT");
    // The last one was told and not saved: a crash now tells it again.
    assert_eq!(outcomes(&mut Kept::open(dir.path()), &["4", "4", "4", "4"]), "uT..");
    assert_eq!(outcomes(&mut Kept::open(dir.path()), &["4", "1", "1", "1"]), ".uT.");
}

#[test]
fn a_torn_or_foreign_file_is_as_good_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inventory.json");
    outcomes(&mut Kept::open(dir.path()), &["1"]);
    let whole = std::fs::read_to_string(&path).unwrap();
    assert_eq!(outcomes(&mut Kept::open(dir.path()), &["2"]), "u", "it is read");
    for bad in [
        "",
        "null",
        "{}",
        "\0\0\0\0",
        &whole[..whole.len() - 1],
        &whole[..whole.len() / 2],
        &whole.replace("\"version\":1", "\"version\":2"),
        &whole.replace("kernel", "gremlin"),
        &"[".repeat(100_000),
    ] {
        std::fs::write(&path, bad).unwrap();
        assert_eq!(outcomes(&mut Kept::open(dir.path()), &["2", "2"]), "..", "{bad:.100}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_said_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("not/there");
    let mut kept = Kept::open(&missing);
    let problem = kept.take(parts("1")).problem.unwrap();
    assert!(problem.contains("inventory.json cannot be written"), "{problem}");
    assert_eq!(outcomes(&mut kept, &["1"]), "p");
    std::fs::create_dir_all(&missing).unwrap();
    assert_eq!(outcomes(&mut kept, &["1", "1"]), "..");
    assert!(missing.join("inventory.json").exists());
}
