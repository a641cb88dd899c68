//! What is read, sent and waited for, as a script of moments.

use std::time::Duration;

use super::*;
use crate::time::SECOND;

fn flow(buffer: usize, lines: usize) -> Flow {
    let mut flow = Flow::new(buffer, 20, 1);
    (0..lines).for_each(|n| flow.push(format!("line {n}"), 100 * SECOND));
    flow
}

#[test]
fn enough_lines_or_old_ones_are_sent() {
    let check = |lines: usize, secs: u64, unread: bool, expect: Do| {
        assert_eq!(flow(5, lines).next(secs * SECOND, unread), expect, "{lines} {secs}");
    };
    check(0, 100, false, Do::Wait(None));
    check(0, 100, true, Do::Read);
    check(4, 100, true, Do::Read);
    check(4, 119, false, Do::Wait(Some(120 * SECOND)));
    check(4, 120, false, Do::Send(4));
    check(4, 120, true, Do::Send(4));
    check(5, 100, true, Do::Send(5));
    check(7, 100, true, Do::Send(7));
    check(2500, 100, true, Do::Send(1000));
    let mut large = flow(5, 0);
    large.push("x".repeat(2 * MAX_BYTES), 0);
    assert_eq!(large.next(0, true), Do::Send(1));
    let mut many = flow(100_000, 0);
    (0..5).for_each(|_| many.push("x".repeat(MAX_BYTES / 4), 0));
    assert_eq!(many.next(0, true), Do::Send(4));
}

#[test]
fn nothing_is_read_or_sent_while_the_server_is_away() {
    let mut flow = flow(5, 6);
    let mut now = 100 * SECOND;
    let mut last = 0;
    for round in 1..20 {
        assert_eq!(flow.next(now, true), Do::Send(6));
        flow.answered(6, Err(&SendError::retry("away")), now);
        assert_eq!(flow.failures(), round);
        let Do::Wait(Some(until)) = flow.next(now, true) else { panic!("it goes on at once") };
        last = until - now;
        assert!((SECOND / 2..=60 * SECOND).contains(&last), "{last}");
        now = until;
    }
    assert!(last >= 30 * SECOND);
    let asked = SendError::Retry { after: Some(Duration::from_mins(10)), why: String::new() };
    flow.answered(6, Err(&asked), now);
    assert_eq!(flow.next(now, true), Do::Wait(Some(now + 600 * SECOND)));
    now += 600 * SECOND;
    assert_eq!(flow.answered(6, Ok(()), now), Sent { lines: 6, bytes: 36, refused: 0 });
    assert!(flow.is_settled());
    assert_eq!((flow.failures(), flow.next(now, true)), (0, Do::Read));
}

/// Sends to a server that takes what `takes` says until nothing waits or it waits; what it took.
fn serve(flow: &mut Flow, takes: impl Fn(&[&str]) -> bool) -> (Vec<String>, u64) {
    let (mut accepted, mut refused) = (Vec::new(), 0);
    for _ in 0..10_000 {
        let Do::Send(count) = flow.next(100 * SECOND, false) else { break };
        let lines: Vec<_> = flow.oldest(count).collect();
        let answer = takes(&lines);
        if answer {
            accepted.extend(lines.iter().map(|line| (*line).to_owned()));
        }
        let result = if answer { Ok(()) } else { Err(SendError::refused("too large")) };
        refused += flow.answered(count, result.as_ref().copied(), 100 * SECOND).refused;
    }
    (accepted, refused)
}

#[test]
fn what_is_too_large_is_sent_in_parts_and_a_line_that_is_refused_is_noted() {
    let all: Vec<String> = (0..300).map(|n| format!("line {n}")).collect();
    let (taken, refused) = serve(&mut flow(5, 300), |lines| lines.len() <= 7);
    assert_eq!((taken, refused), (all.clone(), 0));

    let mut one = flow(5, 300);
    let (taken, refused) = serve(&mut one, |lines| !lines.contains(&"line 77"));
    assert!(one.is_settled());
    assert_eq!((taken.len(), refused), (300, 1));
    assert_eq!(taken[77], "sysops-agent: a line of 7 bytes was refused by the server and left out");
    assert_eq!((&taken[..77], &taken[78..]), (&all[..77], &all[78..]));
}

#[test]
fn a_server_that_refuses_everything_makes_nothing_lost() {
    let mut flow = flow(5, 300);
    assert_eq!(serve(&mut flow, |_| false), (vec![], 0));
    assert_eq!((flow.failures(), flow.pending()), (1, 300));
    assert_eq!(flow.oldest(1).next(), Some("line 0"));
    flow.not_before_ns = 0;
    let (taken, refused) = serve(&mut flow, |_| true);
    assert_eq!((taken.len(), refused), (300, 0));
    assert_eq!(taken[0], "line 0");
}
