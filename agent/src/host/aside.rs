//! Work that may hang, aside on threads of its own.
//!
//! A question (`statvfs` of a dead NFS mount, say) is asked under a key and waited for a while. If
//! no answer comes, the thread is left alone with it: the question is never asked twice, the answer
//! is taken when it comes, and other questions go to another thread. In the normal case one
//! idle thread serves all.
//!
//! Who was waited for in vain is not waited for again until it has once answered in time: a daemon that says nothing
//! costs those who wait one wait, not one at each pass.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use super::clock;
use crate::time::Now;

mod turn;

pub use turn::{Patience, Work};

/// What became of a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// It was answered, maybe late: then to the question of an earlier pass.
    Done(T),
    /// It has been running since then.
    Stuck {
        /// When it was asked.
        since: Now,
    },
    /// It was not asked: every thread is held by a stuck question, or none could be started.
    NotAsked,
}

impl<T> Answer<T> {
    /// Whether it was waited for just now, in vain.
    pub fn is_stuck_since(&self, now: Now) -> bool {
        matches!(self, Self::Stuck { since } if *since == now)
    }
}

/// Threads for questions whose answers are `T`.
#[derive(Debug)]
pub struct Aside<T> {
    name: &'static str,
    max_threads: usize,
    stack: usize,
    idle: Vec<Worker<T>>,
    stuck: HashMap<Box<str>, Question<T>>,
    /// Keys whose newest question was waited for in vain.
    slow: HashSet<Box<str>>,
}

#[derive(Debug)]
struct Question<T> {
    since: Now,
    /// Longest wait it was worth.
    wait: Duration,
    worker: Worker<T>,
}

/// Gives one answer, or in [`turn`] several.
type Job<T> = Box<dyn FnOnce(&mut dyn FnMut(T)) + Send>;

#[derive(Debug)]
struct Worker<T> {
    jobs: SyncSender<Job<T>>,
    /// With how long they took.
    answers: Receiver<(T, Duration)>,
}

/// Stack of a thread, bytes: most questions are single system calls.
const STACK: usize = 128 << 10;
/// How long who was waited for in vain is waited for the next time.
const BRIEF: Duration = Duration::from_millis(50);
/// Those that are remembered; at more, all are forgotten, and waited for once more.
const MAX_SLOW: usize = 256;

impl<T: Send + 'static> Aside<T> {
    /// At most `max_threads` threads, named `name`; they are started when needed.
    pub fn new(name: &'static str, max_threads: usize) -> Self {
        Self {
            name,
            max_threads,
            stack: STACK,
            idle: Vec::new(),
            stuck: HashMap::new(),
            slow: HashSet::new(),
        }
    }

    /// With so many bytes of stack a thread, for questions that are more than a system call.
    #[must_use]
    pub const fn with_stack(mut self, stack: usize) -> Self {
        self.stack = stack;
        self
    }

    /// Asks, and waits at most `wait`. While an earlier question with the same `key` runs, `work`
    /// is dropped and that one is looked after.
    pub fn ask(
        &mut self,
        key: &str,
        now: Now,
        wait: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Answer<T> {
        if let Some(question) = self.stuck.remove(key) {
            match question.worker.answers.try_recv() {
                Ok((answer, took)) => {
                    if took <= question.wait {
                        self.slow.remove(key);
                    }
                    self.idle.push(question.worker);
                    return Answer::Done(answer);
                }
                Err(TryRecvError::Empty) => {
                    let since = question.since;
                    self.stuck.insert(key.into(), question);
                    return Answer::Stuck { since };
                }
                // The thread ended without an answer: ask anew.
                Err(TryRecvError::Disconnected) => {}
            }
        }
        self.ask_new(key, now, wait, Box::new(|answer: &mut dyn FnMut(T)| answer(work())))
    }

    fn ask_new(&mut self, key: &str, now: Now, wait: Duration, work: Job<T>) -> Answer<T> {
        let Some(worker) = self.idle.pop().or_else(|| self.start()) else { return Answer::NotAsked };
        if worker.jobs.send(work).is_err() {
            return Answer::NotAsked;
        }
        let brief = if self.slow.contains(key) { wait.min(BRIEF) } else { wait };
        match worker.answers.recv_timeout(brief) {
            Ok((answer, _)) => {
                self.slow.remove(key);
                self.idle.push(worker);
                Answer::Done(answer)
            }
            Err(RecvTimeoutError::Timeout) => {
                self.leave_alone(key, Question { since: now, wait, worker });
                Answer::Stuck { since: now }
            }
            Err(RecvTimeoutError::Disconnected) => Answer::NotAsked,
        }
    }

    fn leave_alone(&mut self, key: &str, question: Question<T>) {
        if self.slow.len() >= MAX_SLOW {
            self.slow.clear();
        }
        self.slow.insert(key.into());
        self.stuck.insert(key.into(), question);
    }

    /// Questions that wait for an answer.
    pub fn stuck(&self) -> usize {
        self.stuck.len()
    }

    /// Whether the question with this key is one of those.
    pub fn is_stuck(&self, key: &str) -> bool {
        self.stuck.contains_key(key)
    }

    fn start(&mut self) -> Option<Worker<T>> {
        if self.stuck.len() >= self.max_threads {
            self.take_back();
        }
        if let Some(worker) = self.idle.pop() {
            return Some(worker);
        }
        if self.stuck.len() >= self.max_threads {
            return None;
        }
        let (jobs, todo) = sync_channel::<Job<T>>(1);
        let (done, answers) = sync_channel(turn::AT_ONCE);
        let work = move || {
            while let Ok(job) = todo.recv() {
                let mut begin = clock::now();
                job(&mut |answer| {
                    let now = clock::now();
                    // Nobody there any more: nor is there another question.
                    let _ = done.send((answer, Duration::from_nanos(now.since(begin))));
                    begin = now;
                });
            }
        };
        thread::Builder::new().name(self.name.into()).stack_size(self.stack).spawn(work).ok()?;
        Some(Worker { jobs, answers })
    }

    /// Frees threads whose late answer nobody asks for any more (the mount is gone).
    fn take_back(&mut self) {
        let ended =
            |question: &Question<T>| !matches!(question.worker.answers.try_recv(), Err(TryRecvError::Empty));
        self.idle.extend(self.stuck.extract_if(|_, question| ended(question)).map(|(_, q)| q.worker));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};

    const SOON: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(10);

    fn at(secs: u64) -> Now {
        Now::default().plus_secs(secs)
    }

    /// A question that hangs until the returned sender is dropped or used.
    pub(super) fn gate() -> (mpsc::Sender<()>, impl FnOnce() -> u32 + Send + 'static) {
        let (open, closed) = mpsc::channel();
        (open, move || {
            let _ = closed.recv();
            7
        })
    }

    #[test]
    fn answers_come_from_one_thread() {
        let mut aside = Aside::new("test", 4);
        let names: Vec<_> =
            (0..5).map(|i| aside.ask(&format!("{i}"), at(i), LONG, || thread::current().id())).collect();
        assert!(names.iter().all(|name| matches!(name, Answer::Done(_)) && *name == names[0]), "{names:?}");
    }

    #[test]
    fn a_stuck_question_is_asked_once_and_its_late_answer_taken() {
        let mut aside = Aside::new("test", 2);
        let asked = Arc::new(AtomicUsize::new(0));
        let (open, work) = gate();
        assert_eq!(aside.ask("/nfs", at(1), SOON, work), Answer::Stuck { since: at(1) });
        for pass in 2..5 {
            let asked = Arc::clone(&asked);
            let again = move || asked.fetch_add(1, Ordering::Relaxed) as u32;
            assert_eq!(aside.ask("/nfs", at(pass), LONG, again), Answer::Stuck { since: at(1) });
            assert_eq!(aside.ask("/", at(pass), LONG, || 1), Answer::Done(1), "others go on");
        }
        assert_eq!((asked.load(Ordering::Relaxed), aside.stuck()), (0, 1));
        drop(open);
        let answer = loop {
            match aside.ask("/nfs", at(9), LONG, || 8) {
                Answer::Stuck { .. } => thread::yield_now(),
                answer => break answer,
            }
        };
        assert_eq!((answer, aside.stuck()), (Answer::Done(7), 0));
        assert_eq!(aside.ask("/nfs", at(9), LONG, || 8), Answer::Done(8));
    }

    #[test]
    fn who_was_waited_for_in_vain_is_not_waited_for_again() {
        let mut aside = Aside::new("test", 4);
        let wait = Duration::from_millis(300);
        let slow = || {
            thread::sleep(Duration::from_millis(400));
            7
        };
        // Asks until the late answer is there; the longest time one question cost.
        let mut round = |secs: u64, work: fn() -> u32| {
            let mut longest = Duration::ZERO;
            loop {
                let begin = clock::now();
                let answer = aside.ask("docker", at(secs), wait, work);
                longest = longest.max(Duration::from_nanos(clock::now().since(begin)));
                if let Answer::Done(answer) = answer {
                    break (answer, longest);
                }
                thread::sleep(Duration::from_millis(5));
            }
        };
        let (answer, longest) = round(1, slow);
        assert!(answer == 7 && longest >= wait, "the first one is waited for: {longest:?}");
        let (answer, longest) = round(2, slow);
        assert!(answer == 7 && longest < wait, "the next one is not: {longest:?}");
        // It has come to its senses, and is waited for as at first.
        assert_eq!(round(3, || 8).0, 8);
        assert!(round(4, slow).1 >= wait);
    }

    #[test]
    fn threads_are_bounded_and_come_back() {
        let mut aside = Aside::new("test", 2);
        let (one, work_one) = gate();
        let (two, work_two) = gate();
        aside.ask("1", at(1), SOON, work_one);
        aside.ask("2", at(1), SOON, work_two);
        assert_eq!(aside.ask("3", at(1), LONG, || 3), Answer::NotAsked);
        drop((one, two));
        // Nobody asks for 1 and 2 any more: their threads serve others.
        let answer = loop {
            match aside.ask("3", at(2), LONG, || 3) {
                Answer::NotAsked => thread::yield_now(),
                answer => break answer,
            }
        };
        assert_eq!(answer, Answer::Done(3));
    }

    #[test]
    fn a_question_that_panics_is_asked_again() {
        let mut aside = Aside::new("test", 1);
        assert_eq!(aside.ask("1", at(1), LONG, || -> u32 { panic!("as the test wants") }), Answer::NotAsked);
        assert_eq!(aside.ask("1", at(2), LONG, || 2), Answer::Done(2));
    }
}
