//! What the daemon says of single containers.
//!
//! Each costs a question of its own, and a busy daemon takes 20 ms and more to answer one: in a pass those are asked who changed
//! or were not asked for longest, for half a second; the others keep what was last said of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Inspected, Listed, PATIENCE, get, silent};
use crate::collect::CollectError;
use crate::host::aside::{Answer, Aside};
use crate::host::{Host, clock};
use crate::time::Now;

/// After this no further container is asked of in a pass: other collectors wait meanwhile.
const LONG: Duration = Duration::from_millis(500);
/// What was said so many passes ago is told no more: 256 containers at 20 ms each have been asked of in eleven.
const MAX_AGE: u64 = 24;

pub(super) struct Details {
    aside: Aside<Told>,
    /// By id.
    known: HashMap<String, Known>,
    passes: u64,
}

#[derive(Default)]
struct Known {
    /// State it was in when it was asked of.
    state: String,
    /// Pass in which it was asked of, and in which it was answered.
    asked: u64,
    answered: u64,
    said: Option<Inspected>,
}

/// Answers by id and state, and whether the last one asked of had none in time.
struct Told {
    answers: Vec<(Id, Option<Inspected>)>,
    silent: Option<Id>,
}

/// Id of a container, and the state it was in when it was asked of.
type Id = (String, String);

impl Details {
    pub(super) fn new() -> Self {
        Self { aside: Aside::new("docker-inspect", 1), known: HashMap::new(), passes: 0 }
    }

    /// What was last said of it, and whether it was in this state then.
    pub(super) fn of(&self, id: &str, state: &str) -> Option<(&Inspected, bool)> {
        let known = self.known.get(id).filter(|known| self.passes - known.answered <= MAX_AGE)?;
        Some((known.said.as_ref()?, known.state == state))
    }

    /// Asks of these.
    pub(super) fn refresh(
        &mut self,
        host: &dyn Host,
        socket: &str,
        list: &[Listed],
        now: Now,
    ) -> Result<(), CollectError> {
        self.passes += 1;
        let (shared, path) = (host.shared(), socket.to_owned());
        let due = self.due(list);
        let answer = self.aside.ask("", now, PATIENCE, move || look(Arc::as_ref(&shared), &path, due));
        let Answer::Done(told) = answer else { return Err(silent(socket)) };
        // An answer that comes late may be of one that is gone.
        let here: HashSet<&str> = list.iter().map(|listed| listed.id.as_str()).collect();
        for ((id, state), said) in told.answers.into_iter().filter(|((id, _), _)| here.contains(id.as_str()))
        {
            let (asked, answered) = (self.passes, self.passes);
            self.known.insert(id, Known { state, asked, answered, said });
        }
        let Some((id, state)) = told.silent else { return Ok(()) };
        // The next pass begins with the others.
        if here.contains(id.as_str()) {
            let known = self.known.entry(id).or_default();
            (known.asked, known.state) = (self.passes, state);
        }
        Err(silent(socket))
    }

    /// Ids in the order in which they are asked of; forgets who is gone.
    fn due(&mut self, list: &[Listed]) -> Vec<Id> {
        let here: HashSet<&str> = list.iter().map(|listed| listed.id.as_str()).collect();
        self.known.retain(|id, _| here.contains(id.as_str()));
        // What is no id would be another question.
        let is_plain = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let mut due: Vec<_> = list.iter().filter(|listed| is_plain(&listed.id)).collect();
        // Who changes all the time is asked of every other time at most.
        let changed =
            |known: &Known, listed: &Listed| known.state != listed.state && known.asked + 1 < self.passes;
        due.sort_by_key(|listed| match self.known.get(&listed.id) {
            Some(known) if !changed(known, listed) => known.asked,
            _ => 0,
        });
        due.into_iter().map(|listed| (listed.id.clone(), listed.state.clone())).collect()
    }
}

fn look(host: &dyn Host, socket: &str, due: Vec<Id>) -> Told {
    let begin = clock::now();
    let mut told = Told { answers: Vec::new(), silent: None };
    for id in due {
        match get(host, socket, &format!("/containers/{}/json", id.0)) {
            Err(error) if error == silent(socket) => {
                told.silent = Some(id);
                break;
            }
            // One that is gone meanwhile is no error.
            answer => told.answers.push((id, answer.ok())),
        }
        if clock::now().since(begin) > LONG.as_nanos() as u64 {
            break;
        }
    }
    told
}
