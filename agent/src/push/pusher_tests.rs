//! The task against a collector that is away, refuses or hangs, on a clock that runs as fast as it can.

use super::*;
use crate::time::{Now, SECOND};
use std::path::Path;
use std::sync::Mutex;

const BEGIN: i64 = 1_771_777_800;

/// Follows the clock of the paused runtime.
fn clock() -> Now {
    thread_local! { static START: Instant = later(Duration::ZERO) }
    let elapsed = START.with(|start| later(Duration::ZERO).duration_since(*start)).as_nanos() as u64;
    Now { mono_ns: SECOND + elapsed, wall_ns: BEGIN * SECOND as i64 + elapsed as i64 }
}

fn secs() -> i64 {
    clock().wall_ns / SECOND as i64 - BEGIN
}

/// What the collector answers now; `None`: nothing at all.
type Answer = Option<Result<(), SendError>>;

/// The collector.
struct Collector {
    /// Moments that the taken payloads tell of, seconds since the start.
    got: Mutex<Vec<i64>>,
    /// Moments of all tries.
    tries: Mutex<Vec<i64>>,
    /// By the moment that the payload tells of.
    answer: Mutex<Box<dyn Fn(i64) -> Answer + Send>>,
}

impl Collector {
    fn answers(&self, answer: impl Fn(i64) -> Answer + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    fn got(&self) -> Vec<i64> {
        self.got.lock().unwrap().clone()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "another answer is none")]
fn away(_: i64) -> Answer {
    Some(Err(SendError::retry("cannot connect to collector: refused")))
}

#[expect(clippy::unnecessary_wraps, reason = "another answer is none")]
fn takes(_: i64) -> Answer {
    Some(Ok(()))
}

/// A collector, the values of an agent that reads every ten seconds, and where it keeps backup files.
struct Scene {
    collector: Arc<Collector>,
    newest: watch::Receiver<Arc<Newest>>,
    terms: Terms,
}

fn scene(dir: &Path, most: usize) -> Scene {
    let (sender, newest) = watch::channel(Arc::default());
    tokio::spawn(async move {
        loop {
            let mut next = Newest::default();
            next.begin(clock());
            sender.send_replace(Arc::new(next));
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    });
    let collector =
        Collector { got: Mutex::default(), tries: Mutex::default(), answer: Mutex::new(Box::new(takes)) };
    let every = Duration::from_secs(10);
    let terms = Terms { every, most, dir: dir.join("backup"), limit: 1 << 20, envelope: true };
    Scene { collector: Arc::new(collector), newest, terms }
}

impl Scene {
    /// Runs the task for so long, and ends it in order.
    async fn run(&self, secs: u64, meanwhile: impl AsyncFnOnce()) -> Arc<State> {
        let collector = Arc::clone(&self.collector);
        let post: Post = Arc::new(move |body, now| {
            let whole: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(whole.pointer("/data/agent_id").unwrap(), "Agent-01");
            let told = whole["timestamp"].as_i64().unwrap() - BEGIN;
            let collector = Arc::clone(&collector);
            Box::pin(async move {
                collector.tries.lock().unwrap().push(now.wall_ns / SECOND as i64 - BEGIN);
                let answer = collector.answer.lock().unwrap()(told);
                let Some(answer) = answer else { return std::future::pending().await };
                if answer.is_ok() {
                    collector.got.lock().unwrap().push(told);
                }
                answer
            })
        });
        let about = About { agent_id: "Agent-01".into(), ..About::default() };
        let state = Arc::new(State::default());
        let stop = CancellationToken::new();
        let pusher =
            Pusher::open(self.terms.clone(), (post, about, Arc::clone(&state)), self.newest.clone(), clock);
        let task = tokio::spawn(pusher.await.run(stop.clone()));
        meanwhile().await;
        tokio::time::sleep(Duration::from_secs(secs)).await;
        stop.cancel();
        task.await.unwrap();
        state
    }

    fn files(&self) -> usize {
        std::fs::read_dir(&self.terms.dir).map_or(0, Iterator::count)
    }
}

async fn pass(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

/// Each in its turn, none twice, none left out.
fn check_whole(got: &[i64], from: i64, until: i64) {
    assert!(got.windows(2).all(|pair| pair[1] - pair[0] == 10), "{got:?}");
    assert!(got.first().is_some_and(|first| *first <= from), "{got:?}");
    assert!(got.last().is_some_and(|last| *last >= until), "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_the_collector_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let scene = scene(dir.path(), 30);
    let state = scene
        .run(60, async || {
            pass(100).await;
            scene.collector.answers(away);
            let before = scene.collector.got().len();
            pass(3600).await;
            assert_eq!(scene.collector.got().len(), before);
            assert!((12..=13).contains(&scene.files()), "360 payloads, 30 each, and the journal");
            let tries = scene.collector.tries.lock().unwrap().len() - before;
            assert!((60..=130).contains(&tries), "one a minute or two, not {tries}");
            scene.collector.answers(takes);
            pass(70).await;
            assert_eq!(scene.files(), 0, "all of it is sent");
        })
        .await;
    check_whole(&scene.collector.got(), 20, 3800);
    assert_eq!(state.dropped.load(Relaxed) + state.refused.load(Relaxed), 0);
    assert_eq!((state.metrics.up(), state.troubles().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_the_outage_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let scene = scene(dir.path(), 30);
    scene.collector.answers(away);
    scene.run(500, async || {}).await;
    assert_eq!(scene.files(), 2, "one full, and the rest at the end");
    // It comes back, and goes away in the middle of a file.
    scene.collector.answers(|told| if told == 150 { away(told) } else { takes(told) });
    scene.run(20, async || {}).await;
    let half = scene.collector.got();
    assert_eq!(half.last(), Some(&140));
    scene.collector.answers(takes);
    scene.run(30, async || {}).await;
    check_whole(&scene.collector.got(), 20, 540);
    assert_eq!(scene.files(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_kill_in_the_outage_loses_nothing_that_was_tried() {
    let dir = tempfile::tempdir().unwrap();
    let scene = scene(dir.path(), 30);
    scene.collector.answers(away);
    // A copy of the directory at one moment is what a kill then leaves.
    let copy = dir.path().join("copy");
    scene
        .run(0, async || {
            pass(500).await;
            std::fs::create_dir(&copy).unwrap();
            for entry in std::fs::read_dir(&scene.terms.dir).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
            }
        })
        .await;
    let mut after = Scene { terms: scene.terms.clone(), ..scene };
    after.terms.dir = copy;
    after.collector.answers(takes);
    after.run(30, async || {}).await;
    check_whole(&after.collector.got(), 20, 520);
    assert_eq!(after.files(), 0, "no journal is left either");
}

#[tokio::test(start_paused = true)]
async fn without_a_disk_the_newest_wait_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = scene(dir.path(), 30);
    std::fs::write(&scene.terms.dir, "a file").unwrap();
    scene.collector.answers(away);
    let state = scene
        .run(60, async || {
            pass(1000).await;
            scene.collector.answers(takes);
            pass(70).await;
        })
        .await;
    let dropped = state.dropped.load(Relaxed) as i64;
    assert!((65..=75).contains(&dropped), "{dropped}");
    check_whole(&scene.collector.got(), 10 * (dropped + 2), 1100);
    assert!(state.trouble().is_some_and(|why| why.contains("backup")), "{:?}", state.trouble());
    // The same where there is to be no backup.
    scene.terms.limit = 0;
    scene.collector.answers(away);
    let state = scene.run(1000, async || {}).await;
    assert!((65..=75).contains(&state.dropped.load(Relaxed)));
    assert_eq!((state.trouble(), state.waiting.load(Relaxed)), (None, 30));
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_is_refused_blocks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let scene = scene(dir.path(), 30);
    let refused = || Some(Err(SendError::refused("collector answered 400")));
    scene.collector.answers(move |told| if told == 200 { refused() } else { takes(told) });
    let state = scene.run(400, async || {}).await;
    let got = scene.collector.got();
    assert!(!got.contains(&200) && got.contains(&190) && got.contains(&210), "{got:?}");
    assert_eq!((state.refused.load(Relaxed), state.metrics.up()), (1, 1));
    // Refused all alike, none is given up.
    scene.collector.got.lock().unwrap().clear();
    scene.collector.answers(move |_| refused());
    let state = scene
        .run(100, async || {
            pass(600).await;
            scene.collector.answers(takes);
        })
        .await;
    check_whole(&scene.collector.got(), 430, 1050);
    assert_eq!((state.refused.load(Relaxed), scene.files()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_collector_says_when_to_come_back() {
    let check = async |error: SendError, least: i64, most: i64| {
        let dir = tempfile::tempdir().unwrap();
        let scene = scene(dir.path(), 300);
        scene.collector.answers(move |_| Some(Err(error.clone())));
        scene.run(1000, async || {}).await;
        let tries = scene.collector.tries.lock().unwrap().clone();
        let gaps = tries.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.clone().all(|gap| (least..=most).contains(&gap)), "{tries:?}");
        assert!(gaps.count() > 5, "{tries:?}");
    };
    let later = |secs| SendError::Retry { after: Some(Duration::from_secs(secs)), why: "429".into() };
    check(later(120), 119, 121).await;
    check(later(0), 0, 2).await;
    check(SendError::barred("401"), 59, 61).await;
    check(SendError::retry("500"), 0, 61).await;
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_hangs_does_not_hold_up_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let scene = scene(dir.path(), 30);
    scene.collector.answers(|_| None);
    let before = secs();
    let state = scene.run(205, async || {}).await;
    assert!(secs() - before <= 207, "{}", secs() - before);
    assert_eq!((scene.collector.tries.lock().unwrap().len(), scene.files()), (1, 1));
    assert_eq!(state.waiting.load(Relaxed), 20);
    scene.collector.answers(takes);
    scene.run(20, async || {}).await;
    check_whole(&scene.collector.got(), 20, 200);
}
