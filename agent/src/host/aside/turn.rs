//! Many questions in turn: one hand-over to another thread serves all of them, as long as none hangs.

#![expect(clippy::disallowed_types, reason = "what is left to ask may be taken back while the thread hangs")]

use std::collections::VecDeque;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Answer, Aside, Question, Worker};
use crate::time::Now;

/// Answers that may wait to be taken; at more the thread waits.
pub(super) const AT_ONCE: usize = 16;
/// The least one question is waited for.
const LEAST: Duration = Duration::from_millis(50);

/// A question.
pub type Work<T> = Box<dyn FnOnce() -> T + Send>;

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one answer.
    pub one: Duration,
    /// For all that do not come together.
    pub all: Duration,
}

impl Patience {
    /// For the next answer.
    pub fn next(&self) -> Duration {
        self.one.min(self.all).max(LEAST)
    }

    /// After one was waited for in vain.
    pub fn spend(&mut self, waited: Duration) {
        self.all = self.all.saturating_sub(waited);
    }
}

/// Questions that no thread has taken yet.
struct Left<T>(Arc<Mutex<VecDeque<Work<T>>>>);

impl<T: Send + 'static> Left<T> {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Work<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Work<T>> {
        self.lock().pop_front()
    }
}

impl<T: Send + 'static> Aside<T> {
    /// Whether a question with this key hangs, or did when it was last asked: to be asked by itself.
    pub fn doubts(&self, key: &str) -> bool {
        self.stuck.contains_key(key) || self.slow.contains(key)
    }

    /// Asks all, none of which is [doubted](Self::doubts), and hands out the answers in order. Behind one that hangs, another
    /// thread goes on.
    pub fn ask_all(
        &mut self,
        now: Now,
        patience: &mut Patience,
        questions: Vec<(&str, Work<T>)>,
        each: &mut dyn FnMut(usize, Answer<T>),
    ) {
        let (keys, works): (Vec<_>, VecDeque<_>) = questions.into_iter().unzip();
        let mut works = Some(works);
        let mut working = None;
        for (nth, key) in keys.iter().enumerate() {
            if let Some(works) = works.take() {
                working = self.hand_over(works);
            }
            let Some((worker, left)) = working.take() else {
                each(nth, Answer::NotAsked);
                continue;
            };
            let wait = patience.next();
            match receive(&worker, &left, keys.len() - nth - 1, wait) {
                Ok(answer) => {
                    working = Some((worker, left));
                    each(nth, Answer::Done(answer));
                }
                Err(rest) => {
                    patience.spend(wait);
                    self.leave_alone(key, Question { since: now, wait, worker });
                    each(nth, Answer::Stuck { since: now });
                    works = Some(rest);
                }
            }
        }
        self.idle.extend(working.map(|(worker, _)| worker));
    }

    fn hand_over(&mut self, works: VecDeque<Work<T>>) -> Option<(Worker<T>, Left<T>)> {
        let worker = self.idle.pop().or_else(|| self.start())?;
        let left = Arc::new(Mutex::new(works));
        let todo = Left(Arc::clone(&left));
        let job = move |answer: &mut dyn FnMut(T)| {
            while let Some(work) = todo.next() {
                answer(work());
            }
        };
        worker.jobs.send(Box::new(job)).ok()?;
        Some((worker, Left(left)))
    }
}

/// The next answer; or what is left to be asked behind it, which that thread does not ask any more.
fn receive<T: Send + 'static>(
    worker: &Worker<T>,
    left: &Left<T>,
    behind: usize,
    wait: Duration,
) -> Result<T, VecDeque<Work<T>>> {
    match worker.answers.recv_timeout(wait) {
        Ok((answer, _)) => return Ok(answer),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
    }
    let mut left = left.lock();
    // It came at the last moment: the thread has taken the next question already.
    if left.len() < behind
        && let Ok((answer, _)) = worker.answers.recv()
    {
        return Ok(answer);
    }
    Err(std::mem::take(&mut *left))
}

#[cfg(test)]
mod tests {
    use super::super::tests::gate;
    use super::*;
    use std::thread::{self, ThreadId};

    fn work(nth: u32) -> Work<(u32, ThreadId)> {
        Box::new(move || (nth, thread::current().id()))
    }

    fn at(secs: u64) -> Now {
        Now::default().plus_secs(secs)
    }

    #[test]
    fn one_thread_answers_all() {
        let mut aside = Aside::new("turn", 2);
        let keys: Vec<String> = (0..100).map(|nth| nth.to_string()).collect();
        let mut patience = Patience { one: Duration::from_secs(10), all: Duration::from_secs(10) };
        let mut answers = Vec::new();
        for _ in 0..3 {
            let questions = keys.iter().zip(0..).map(|(key, nth)| (key.as_str(), work(nth))).collect();
            aside.ask_all(at(0), &mut patience, questions, &mut |nth, answer| {
                answers.push((nth as u32, answer));
            });
        }
        let Answer::Done((_, thread)) = answers[0].1 else { panic!("no answer") };
        assert_eq!(answers.len(), 300);
        for (nth, answer) in answers {
            assert_eq!(answer, Answer::Done((nth, thread)));
        }
        aside.ask_all(at(0), &mut patience, Vec::new(), &mut |_, _| panic!("nothing was asked"));
    }

    #[test]
    fn what_hangs_holds_back_nobody_and_is_asked_once() {
        let mut aside: Aside<u32> = Aside::new("turn", 2);
        let (open, closed) = gate();
        let (open2, closed2) = gate();
        let mut patience = Patience { one: Duration::from_millis(20), all: Duration::from_secs(10) };
        let mut answers = Vec::new();
        let ready = |nth: u32| -> Work<u32> { Box::new(move || nth) };
        let questions = vec![
            ("a", ready(1)),
            ("b", Box::new(closed) as Work<u32>),
            ("c", ready(3)),
            ("d", Box::new(closed2)),
            ("e", ready(5)),
        ];
        aside.ask_all(at(4), &mut patience, questions, &mut |_, answer| answers.push(answer));
        let stuck = || Answer::Stuck { since: at(4) };
        // A busy machine may be late with what does not hang, too: its answer is there at the next look.
        assert_eq!((&answers[1], &answers[3], answers.len()), (&stuck(), &stuck(), 5));
        assert!(aside.doubts("b") && aside.doubts("d"));
        // Two threads hang, and there are no more than two.
        assert!(matches!(answers[4], Answer::NotAsked | Answer::Done(5)), "{answers:?}");
        assert!(patience.all < Duration::from_secs(10));
        drop((open, open2));
        let answer = |aside: &mut Aside<u32>, key: &str| {
            (0..1000).find_map(|_| {
                if let Answer::Done(answer) = aside.ask(key, at(5), Duration::ZERO, || 9) {
                    return Some(answer);
                }
                thread::sleep(Duration::from_millis(5));
                None
            })
        };
        assert_eq!((answer(&mut aside, "b"), answer(&mut aside, "d")), (Some(7), Some(7)));
    }
}
