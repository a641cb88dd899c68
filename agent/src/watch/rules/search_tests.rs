//! What is there is found, and nothing else.

use aho_corasick::AhoCorasick;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::string::bytes_regex;
use proptest::test_runner::TestRunner;

use super::*;
use crate::watch::catalogue;
use crate::watch::hang_text::HangText;
use crate::watch::oom_text::OomText;
use crate::watch::rules::RuleSet;

fn search(literals: &[&str]) -> Search {
    Search::new(literals.iter().zip(0..).map(|(literal, owner)| (*literal, owner))).expect("long enough")
}

/// What an automaton finds.
fn truth(literals: &[&str], text: &[u8]) -> u128 {
    let automaton = AhoCorasick::builder().ascii_case_insensitive(true).build(literals).expect("few");
    automaton.find_overlapping_iter(text).fold(0, |all, hit| all | 1 << hit.pattern().as_usize())
}

#[test]
fn what_is_there_is_found() {
    for (literals, text, expect) in [
        (&["nvrm: "][..], &b"NVRM: Xid (PCI:0000:3b:00): 79"[..], 1),
        (&["nvrm: "], b"xNvRm: ", 1),
        (&["nvrm: "], b"nvr m: ", 0),
        (&["nvrm: "], b"nvrm:", 0),
        (&["nvrm: "], b"", 0),
        (&["nvrm: "], b"\xff\xfenvrm: \0", 1),
        (&["read-only", "link is up"], b"eth0: link is up", 2),
        (&["read-only", "link is up"], b"eth0: port was up", 0),
        (&["read-only", "only"], b"READ-ONLY", 3),
        (&["read-only", "only"], b"\rEAD-only", 2),
        (&["bug:"], b"a bug", 0),
        (&["bug:"], b"BUG:", 1),
        (&[], b"anything", 0),
    ] {
        assert_eq!(search(literals).owners(text), expect, "{literals:?} in {text:?}");
    }
    assert!(Search::new([("abc", 0)]).is_err());
}

#[test]
fn the_catalogue_is_fit_for_it() {
    let literals = || catalogue::rules().zip(0..).flat_map(|(r, n)| r.literals.iter().map(move |l| (*l, n)));
    let search = Search::new(literals()).expect("long enough");
    assert_eq!(search.stride, MAX_STRIDE, "a literal is too short: each text is searched at more places");
    for (rule, n) in catalogue::rules().zip(0..) {
        for line in rule.hits {
            assert!(search.owners(line.as_bytes()) & 1 << n != 0, "{} in {line:?}", rule.id);
        }
    }
    let taken: u32 = search.slots.iter().map(|word| word.count_ones()).sum();
    assert!(taken <= 1 << (SLOT_BITS - 7), "{taken} slots of {}", 1 << SLOT_BITS);
}

/// A pattern without what says where a match stands.
fn free(pattern: &str) -> String {
    let mut out = String::from("(?s-u)");
    let (mut escaped, mut class) = (false, false);
    for c in pattern.chars() {
        if escaped && c == 'b' && !class {
            out.pop();
        } else if escaped || class || !matches!(c, '^' | '$') {
            out.push(c);
        }
        class = if class { escaped || c != ']' } else { c == '[' && !escaped };
        escaped = c == '\\' && !escaped;
    }
    out
}

#[test]
fn whatever_a_rule_matches_holds_one_of_its_literals() {
    let mut runner = TestRunner::deterministic();
    let mut missed = Vec::new();
    for rule in catalogue::rules() {
        let pattern = free(rule.pattern);
        let lines = bytes_regex(&pattern).unwrap_or_else(|error| panic!("{}: {error}", rule.id));
        let search = Search::new(rule.literals.iter().map(|literal| (*literal, 0))).expect("long enough");
        let mut some = (0..300).map(|_| lines.new_tree(&mut runner).expect("a line").current());
        if let Some(line) = some.find(|line| search.owners(line) == 0) {
            missed.push(format!("{}: {:?}", rule.id, String::from_utf8_lossy(&line)));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// The kernel's words about kills and hangs, and what is near them.
const SAID: &str = "(.{0,9} invoked oom-killer: gfp_mask=0x1, order=0|oom-kill:constraint=CONSTRAINT_(NONE|MEMCG),\
     nodemask=.{0,9}|,(cpuset=|oom_memcg=/|global_oom|task_memcg=/|task=)[a-z]{0,9},pid=7,uid=0|Task in /[a-z]{0,5} killed.{0,9}|\
     Tasks in .{0,9} are going to be killed due to memory.oom.group set|(Memory cgroup out|Out) of memory: (Kill|Killed) process \
     [0-9]{1,5} .{0,9}|Killed process [0-9]{1,5} .{0,9}|memory: usage 1kB, limit 2kB, failcnt 0|INFO: task .{0,9}:[0-9]{1,5} \
     blocked for more than 120 seconds\\.|[0-9]{1,3} locks held by dd/7:|CPU: 1 PID: 2 Comm: x|Call Trace:)";

proptest! {
    #[test]
    fn it_finds_what_an_automaton_finds(
        literals in prop::collection::vec("[a-c :(]{4,12}", 1..40),
        at in prop::collection::vec((any::<prop::sample::Index>(), "[a-cA-C :(]{0,5}", any::<bool>()), 0..6),
    ) {
        let literals: Vec<&str> = literals.iter().map(String::as_str).collect();
        let mut text = Vec::new();
        for (index, between, upper) in at {
            let literal = index.get(&literals);
            text.extend(if upper { literal.to_uppercase() } else { (*literal).to_owned() }.into_bytes());
            text.extend(between.into_bytes());
        }
        prop_assert_eq!(search(&literals).owners(&text), truth(&literals, &text));
    }

    #[test]
    fn no_bytes_are_too_much(literals in prop::collection::vec("[a-z :(]{4,12}", 0..9), text: Vec<u8>) {
        let literals: Vec<&str> = literals.iter().map(String::as_str).collect();
        prop_assert_eq!(search(&literals).owners(&text), truth(&literals, &text));
    }

    #[test]
    fn what_begins_a_kill_or_a_hang_is_never_passed_over(text in SAID) {
        let (mut oom, mut hang) = (OomText::default(), HangText::default());
        let mut told = oom.line(1, &text).is_some();
        hang.line(1, &text, &mut |_, _| told = true);
        if told || oom.is_open() || hang.pending() {
            let rules = RuleSet::new(&[], false).expect("the catalogue");
            prop_assert!(rules.hits(text.as_bytes()).opens());
        }
    }
}
