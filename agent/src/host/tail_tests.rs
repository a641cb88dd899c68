//! Rotation in every way that is known, with numbered lines: each is told once.

use super::*;
use std::fs::{OpenOptions, read_to_string, remove_file, rename, write};
use std::io::Write;

struct Log {
    dir: tempfile::TempDir,
    tail: Tail,
    told: Vec<String>,
    next: u32,
    written: Vec<String>,
}

impl Log {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let tail = Tail::new(dir.path().join("log"), None);
        let mut log = Self { dir, tail, told: Vec::new(), next: 0, written: Vec::new() };
        log.read();
        log
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn add(&mut self, name: &str, count: u32) -> &mut Self {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).expect("writable");
        for _ in 0..count {
            let line = format!("line {} {}", self.next, "x".repeat((self.next % 200) as usize));
            writeln!(file, "{line}").expect("written");
            self.written.push(line);
            self.next += 1;
        }
        self
    }

    fn read(&mut self) -> &mut Self {
        let told = &mut self.told;
        for _ in 0..1000 {
            let step = self.tail.step(&mut |lines| {
                assert_eq!(lines.last(), Some(&b'\n'));
                told.extend(String::from_utf8_lossy(lines).lines().map(str::to_owned));
            });
            if step.expect("readable") != Step::More {
                return self;
            }
        }
        panic!("it never ends")
    }

    /// Looks without reading.
    fn look(&mut self) -> &mut Self {
        self.tail.look().expect("readable");
        self
    }

    /// As after a restart of the agent, which kept what it had seen.
    fn restart_seen(&mut self) -> &mut Self {
        let terms = Terms { from_start: false, backlog: u64::MAX, split: true };
        self.tail = Tail::on(self.path("log"), terms, self.tail.resume_at());
        self
    }

    /// As after a restart of the agent.
    fn restart(&mut self) -> &mut Self {
        let mark = self.tail.mark().map(|mark| Mark::parse(&mark.text()).expect("a mark"));
        self.tail = Tail::new(self.path("log"), mark);
        self
    }

    fn rename(&mut self, to: &str) -> &mut Self {
        rename(self.path("log"), self.path(to)).expect("renamed");
        self
    }

    fn copy_and_cut(&mut self, to: &str) -> &mut Self {
        std::fs::copy(self.path("log"), self.path(to)).expect("copied");
        self.cut()
    }

    fn cut(&mut self) -> &mut Self {
        OpenOptions::new().write(true).truncate(true).open(self.path("log")).expect("cut");
        self
    }

    fn each_once(&mut self) {
        self.read();
        assert_eq!(self.told, self.written);
    }
}

#[test]
fn a_file_that_appears_later_is_read_from_its_start() {
    Log::new().add("log", 3).each_once();
}

#[test]
fn what_is_there_at_the_first_start_is_not_told() {
    let mut log = Log::new();
    log.add("log", 5);
    log.tail = Tail::new(log.path("log"), None);
    log.read();
    assert_eq!(log.told, [""; 0]);
    log.written.clear();
    log.add("log", 2).each_once();
}

#[test]
fn renamed_while_it_is_read() {
    let mut log = Log::new();
    log.add("log", 100).read().rename("log.1");
    // The writer goes on in the old one until it is told to open the new.
    log.add("log.1", 10).read();
    log.add("log", 10).each_once();
    log.rename("log.2").add("log", 1).add("log", 300).each_once();
    assert_eq!(log.tail.counts.rotations, 2);
}

#[test]
fn written_behind_the_last_look_and_renamed() {
    let mut log = Log::new();
    log.add("log", 10).read().add("log", 10).rename("log.1").add("log", 10).each_once();
    let mut log = Log::new();
    log.add("log", 10).read().add("log", 7).rename("log-20261122").read();
    write(log.path("log"), "").expect("created empty");
    log.read().add("log-20261122", 2).read().add("log", 2).each_once();
}

#[test]
fn copied_and_cut() {
    let mut log = Log::new();
    log.add("log", 50).read().copy_and_cut("log.1").add("log", 10).each_once();
    // What came behind the last look is in the copy, and the file has grown beyond the old place.
    log.add("log", 20).copy_and_cut("log.2").add("log", 90).each_once();
}

#[test]
fn cut_without_a_copy_loses_only_what_nobody_has() {
    let mut log = Log::new();
    log.add("log", 20).read().cut().add("log", 5).each_once();
    log.cut().read().add("log", 300).each_once();
}

#[test]
fn removed_and_made_anew() {
    let mut log = Log::new();
    log.add("log", 20).read();
    remove_file(log.path("log")).expect("removed");
    log.read().add("log", 5).each_once();
}

#[test]
fn over_a_restart() {
    let mut log = Log::new();
    log.add("log", 20).read().add("log", 5).restart().each_once();
    log.add("log", 3).rename("log.1").add("log", 4).restart().each_once();
    log.add("log", 3).copy_and_cut("log.2").add("log", 4).restart().each_once();
    log.restart().each_once();
}

#[test]
fn a_line_that_is_not_complete_is_waited_for_and_read_again() {
    let mut log = Log::new();
    log.add("log", 1).read();
    let add = |text: &str, log: &Log| {
        OpenOptions::new()
            .append(true)
            .open(log.path("log"))
            .expect("there")
            .write_all(text.as_bytes())
            .expect("written");
    };
    add("half", &log);
    log.read();
    assert_eq!(log.told.len(), 1);
    log.restart().read();
    add(" and half\n", &log);
    log.written.push("half and half".into());
    log.each_once();
    // One whose end never comes is told when its file is left.
    add("torn", &log);
    log.read().rename("log.1");
    log.written.push("torn".into());
    log.add("log", 1).each_once();
}

#[test]
fn lines_too_long_are_passed_over_and_counted() {
    let mut log = Log::new();
    for len in [MAX_LINE + 2 * BLOCK, 3 * BLOCK] {
        let mut file = OpenOptions::new().create(true).append(true).open(log.path("log")).expect("writable");
        writeln!(file, "{}", "y".repeat(len)).expect("written");
        log.read();
    }
    log.add("log", 2).each_once();
    assert_eq!(log.tail.counts.too_long, 2);
    assert!(log.tail.buf.capacity() <= 2 * (BLOCK + MAX_LINE), "{}", log.tail.buf.capacity());
}

#[test]
fn what_is_no_file_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut tail = Tail::new(dir.path().to_owned(), None);
    assert_eq!(tail.step(&mut |_| {}).map_err(|e| e.kind()), Err(io::ErrorKind::InvalidInput));
}

#[test]
fn torn_marks_are_none() {
    for bad in ["", "1", "1 2", "1 2 3", "1 2 x/3", "1 2 3/999", "-1 2 3/4", "1 2 3/4 5"] {
        assert_eq!(Mark::parse(bad), None, "{bad}");
    }
    let mark = Mark::parse("7 9 00000000000000ff/12").expect("a mark");
    assert_eq!(mark.text(), "7 9 00000000000000ff/12");
}

#[test]
fn rotated_again_and_again_while_nobody_reads() {
    let mut log = Log::new();
    log.add("log", 10).read();
    for round in 0..10 {
        log.add("log", 3).rename(&format!("log.{round}")).add("log", 2).look();
        remove_file(log.path(&format!("log.{round}"))).expect("removed");
    }
    assert!(log.tail.unread() > 0);
    log.each_once();
    for round in 0..10 {
        log.add("log", 3).copy_and_cut(&format!("log.{round}")).add("log", 2).look();
        remove_file(log.path(&format!("log.{round}"))).expect("removed");
    }
    log.each_once();
    assert_eq!((log.tail.counts.lost_bytes, log.tail.files.len()), (0, 1));
}

#[test]
fn an_empty_file_between_two_holds_nothing_up() {
    let mut log = Log::new();
    log.add("log", 3).read().rename("log.2");
    write(log.path("log"), "").expect("created empty");
    log.look().rename("log.1");
    log.add("log.2", 2).add("log", 4).each_once();
}

#[test]
fn rotated_more_than_once_between_two_looks() {
    for seen in [true, false] {
        let mut log = Log::new();
        log.add("log", 10).read().add("log", 1);
        for round in [3, 2, 1] {
            std::thread::sleep(std::time::Duration::from_millis(10));
            log.rename(&format!("log.{round}")).add("log", 5);
            write(log.path("log.note"), "no log\n").expect("written");
            write(log.path("log.4.gz"), "packed\n").expect("written");
        }
        if seen {
            log.restart_seen();
        }
        log.each_once();
        assert_eq!(log.tail.counts.lost_bytes, 0);
    }
}

#[test]
fn written_copied_and_cut_before_anybody_looked() {
    let mut log = Log::new();
    write(log.path("log.7"), "of before\n").expect("written");
    std::thread::sleep(std::time::Duration::from_millis(20));
    write(log.path("log"), "").expect("created empty");
    log.read();
    std::thread::sleep(std::time::Duration::from_millis(20));
    log.add("log", 3).copy_and_cut("log.1").add("log", 5).each_once();
}

#[test]
fn all_logs_begin_alike() {
    let mut log = Log::new();
    let banner = format!("{}\n", "=".repeat(400));
    let begin = |log: &mut Log| {
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(log.path("log"))
            .expect("there")
            .write_all(banner.as_bytes())
            .expect("written");
        log.written.push(banner.trim_end().to_owned());
    };
    begin(&mut log);
    log.add("log", 20).read();
    for round in 0..5 {
        log.add("log", 3).copy_and_cut(&format!("log.{round}"));
        begin(&mut log);
        // Longer than it was: nothing but the bytes before the place tells.
        log.add("log", 60 * (round + 1));
        if round == 3 {
            log.restart();
        }
        log.read();
    }
    log.each_once();
}

#[test]
fn what_was_never_read_and_is_in_a_copy_is_not_lost() {
    let mut log = Log::new();
    log.add("log", 2).read().cut().look().add("log", 5).look();
    std::thread::sleep(std::time::Duration::from_millis(20));
    log.copy_and_cut("log.1").add("log", 3).each_once();
    assert_eq!(log.tail.counts.lost_bytes, 0);
}

#[test]
fn what_is_gone_before_it_was_read_is_counted() {
    let mut log = Log::new();
    log.add("log", 2).read().add("log", 5).look();
    let unread = log.tail.unread();
    log.cut().look();
    assert_eq!(log.tail.counts.lost_bytes, unread);
    // Too many that nobody reads.
    log.add("log", 1);
    for round in 0..80 {
        log.rename(&format!("log.{round}")).add("log", 1).look();
        assert!(log.tail.files.len() <= look::MAX_OPEN);
    }
    assert!(log.tail.counts.lost_bytes > unread);
    // Gone while the agent did not run.
    log.read().add("log", 3).look();
    let resume = log.tail.resume_at();
    let left = log.tail.unread();
    remove_file(log.path("log")).expect("removed");
    log.add("log", 2);
    log.tail = Tail::on(log.path("log"), Terms { from_start: false, backlog: u64::MAX, split: true }, resume);
    let told = log.told.len();
    log.read();
    assert_eq!((log.tail.counts.lost_bytes, log.told.len() - told), (left, 2));
    assert_eq!(log.tail.counts.lost_files, 1);
}

#[test]
fn a_deleted_file_is_let_go_once_nobody_writes_to_it() {
    let mut log = Log::new();
    log.add("log", 2).read();
    let mut writer = OpenOptions::new().append(true).open(log.path("log")).expect("there");
    remove_file(log.path("log")).expect("removed");
    writer.write_all(b"late\n").expect("written");
    log.written.push("late".into());
    log.look().each_once();
    for _ in 0..8 {
        log.look();
    }
    assert!(!log.tail.is_open());
    log.add("log", 2).each_once();
}

#[test]
fn long_lines_in_parts() {
    let mut log = Log::new();
    log.restart_seen().look();
    let endless = "ü".repeat(BLOCK);
    write(log.path("log"), format!("x{endless}\nend\n")).expect("written");
    log.read();
    let parts = log.told.len();
    assert!(parts > 2, "{parts}");
    assert_eq!(log.told[..parts - 1].concat(), format!("x{endless}"));
    assert_eq!((log.told[parts - 1].as_str(), log.tail.counts.too_long), ("end", parts as u64 - 2));
    for (bytes, at, expect) in [
        (&b"abc"[..], 3, 3),
        (b"abc", 9, 3),
        ("aü".as_bytes(), 2, 1),
        ("aü".as_bytes(), 3, 3),
        ("€€".as_bytes(), 5, 3),
        ("😀".as_bytes(), 3, 3),
        ("a😀".as_bytes(), 4, 1),
        (b"\x80\x80\x80\x80", 4, 4),
        (b"a\xff", 2, 2),
        (b"", 0, 0),
    ] {
        assert_eq!(char_boundary(bytes, at), expect, "{bytes:?} {at}");
    }
}

#[test]
fn many_rotations_at_random_moments() {
    let mut log = Log::new();
    log.add("log", 1).read();
    let mut dice = 7_u64;
    for round in 0..300 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        log.add("log", (dice >> 60) as u32 + 1);
        match dice >> 33 & 7 {
            0 => drop(log.rename(&format!("log.{}", round % 8))),
            1 => drop(log.copy_and_cut(&format!("log.{}", round % 8))),
            2 => drop(log.restart()),
            3 | 4 => drop(log.read()),
            _ => {}
        }
        // Two rotations behind one look leave a file that nobody knows of.
        if dice >> 33 & 7 < 2 {
            log.add("log", 1).read();
        }
    }
    log.each_once();
    assert!(log.written.len() > 1000 && read_to_string(log.path("log")).is_ok());
}
