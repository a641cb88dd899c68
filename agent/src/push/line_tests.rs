//! Order, refusals and limits of the line.

use super::*;

/// A line with the payloads of `old` and `new`, one letter each.
fn line(old: &str, new: &str, most: usize) -> Line {
    let mut line = Line::new(most);
    line.load(old.bytes().map(|byte| vec![byte]).collect());
    new.bytes().for_each(|byte| line.push(vec![byte]));
    line
}

/// Tries each as long as one is to be tried at once. `takes` tells what the server takes, `None` that it is not there.
/// Returns what it got and how many were given up.
fn drain(line: &mut Line, takes: impl Fn(u8) -> Option<bool>) -> (String, u64) {
    let (mut got, mut given_up) = (String::new(), 0);
    while let Some(payload) = line.next().map(|payload| payload[0]) {
        match takes(payload) {
            Some(true) => {
                got.push(char::from(payload));
                given_up += line.accepted();
            }
            Some(false) => {
                if !line.refused() {
                    break;
                }
            }
            None => {
                line.failed();
                break;
            }
        }
    }
    (got, given_up)
}

fn rest(line: &Line) -> String {
    line.old_ones().iter().chain(line.new_ones()).map(|payload| char::from(payload[0])).collect()
}

#[test]
fn what_waits_goes_in_order_and_only_the_refused_is_given_up() {
    let check = |old: &str, new: &str, refused: &str, got: &str, given_up: u64, left: &str| {
        let mut line = line(old, new, 100);
        let done = drain(&mut line, |payload| Some(!refused.contains(char::from(payload))));
        assert_eq!((done, rest(&line).as_str()), ((got.to_owned(), given_up), left), "{old} {new}");
    };
    check("", "", "", "", 0, "");
    check("ab", "cd", "", "abcd", 0, "");
    check("ab", "cd", "a", "bcd", 1, "");
    check("ab", "cd", "b", "acd", 1, "");
    check("ab", "cd", "bc", "ad", 2, "");
    // Nobody behind it shows whether it is the payload.
    check("ab", "cd", "d", "abc", 0, "d");
    check("", "a", "a", "", 0, "a");
    check("ab", "cd", "abcd", "", 0, "abcd");
    check("", "abcdefghX", "abcdefgh", "X", 8, "");
    check("", "abcdefghiX", "abcdefghi", "", 0, "abcdefghiX");
}

#[test]
fn a_lone_refused_one_waits_for_the_next() {
    let mut line = line("", "a", 100);
    assert!(!line.refused());
    assert_eq!(line.next(), None, "it was tried already");
    line.push(vec![b'b']);
    assert_eq!(line.next(), Some(&vec![b'b']));
    assert_eq!((line.accepted(), rest(&line)), (1, String::new()));
    // The second is refused, too: it is the server.
    line.push(vec![b'c']);
    assert!(!line.refused());
    line.push(vec![b'd']);
    assert!(!line.refused());
    assert_eq!((line.next(), rest(&line).as_str()), (Some(&vec![b'c']), "cd"));
}

#[test]
fn a_server_that_is_away_gets_all_of_it_later() {
    let mut line = line("ab", "cd", 100);
    assert_eq!(drain(&mut line, |payload| (payload != b'b').then_some(true)), ("a".to_owned(), 0));
    assert_eq!(drain(&mut line, |_| None), (String::new(), 0));
    assert_eq!(drain(&mut line, |_| Some(true)), ("bcd".to_owned(), 0));
    // A refusal before a failure says nothing any more.
    let mut line = self::line("", "ab", 100);
    assert_eq!(drain(&mut line, |payload| (payload == b'a').then_some(false)), (String::new(), 0));
    assert_eq!(drain(&mut line, |_| Some(true)), ("ab".to_owned(), 0));
}

#[test]
fn what_is_in_the_journal_is_known() {
    let mut line = line("x", "abc", 100);
    let unnoted = |line: &Line| line.unnoted().map(|payload| char::from(payload[0])).collect::<String>();
    assert_eq!(unnoted(&line), "abc");
    line.mark(true);
    line.push(vec![b'd']);
    assert_eq!(unnoted(&line), "d");
    assert_eq!(drain(&mut line, |payload| (payload < b'b' || payload == b'x').then_some(true)).0, "xa");
    assert_eq!((unnoted(&line).as_str(), rest(&line).as_str()), ("d", "bcd"));
    assert!(line.lose_first() && line.lose_first() && line.lose_first());
    line.push(vec![b'e']);
    assert_eq!(unnoted(&line), "e");
    line.mark(true);
    line.mark(false);
    assert_eq!(unnoted(&line), "e");
    line.mark(true);
    line.clear_new();
    line.push(vec![b'f']);
    assert_eq!(unnoted(&line), "f");
}

#[test]
fn the_queue_is_full_by_number_and_by_bytes() {
    let mut line = line("old", "ab", 3);
    assert!(!line.is_full());
    line.push(b"c".to_vec());
    assert!(line.is_full() && !line.is_over());
    line.push(b"d".to_vec());
    assert!(line.is_over());
    assert!(line.lose_first() && !line.is_over());
    assert_eq!(rest(&line), "oldbcd");
    line.clear_new();
    assert_eq!((rest(&line).as_str(), line.is_full()), ("old", false));
    line.push(vec![0; MAX_BYTES]);
    assert!(line.is_full() && !line.is_over());
    line.push(vec![0]);
    assert!(line.is_over() && line.lose_first() && !line.is_full());
    assert!(line.lose_first() && !line.lose_first(), "it is empty");
    assert_eq!(line.bytes, 0);
}
