//! The watch on tasks in uninterruptible sleep, and what `/proc` tells of those: `status`, `stat`, `wchan`, `stack`,
//! `syscall`, `mountinfo`, descriptors, on a machine written as text.

use std::collections::BTreeSet;
use std::sync::Arc;

use sysops_agent::event::{TaskId, What};
use sysops_agent::watch::dstate::DState;
use sysops_agent::watch::hang_facts::Facts;
use sysops_agent::watch::hang_text::MAX_FRAMES;

use super::machine;
use super::pipe::{NOW, tell};

/// Sleep that is reported, seconds.
const AFTER: u64 = 2;
/// Others have reported these: one whose start they know, and one whose start nobody could read.
const FOLLOWED: [TaskId; 2] =
    [TaskId { pid: 7, start_ticks: Some(99) }, TaskId { pid: 9, start_ticks: None }];

pub(crate) fn dstate(data: &[u8]) {
    let host = machine::host(data);
    let mut watch = DState::new(AFTER, None);
    for task in FOLLOWED {
        let _ = watch.follow(&host, task, NOW);
    }
    let mut events = Vec::new();
    for secs in 0..=4 * AFTER {
        watch.look(&host, NOW.plus_secs(secs), &mut events);
    }
    let mut facts = Facts::new(Arc::new(host));
    let mut told = BTreeSet::new();
    for event in &mut events {
        match &mut event.what {
            What::Hang(hang) => {
                assert!(hang.blocked_secs >= Some(AFTER), "{hang:?}");
                assert!(told.insert(hang.task.pid.expect("it was found by its number")), "twice: {hang:?}");
                facts.fill(hang, NOW);
                assert!(hang.stack.len() <= MAX_FRAMES, "{} lines of stack", hang.stack.len());
            }
            What::Released(tasks) => assert!(tasks.iter().all(|task| FOLLOWED.contains(task)), "{tasks:?}"),
            other => panic!("{other:?}"),
        }
    }
    tell(events);
}
