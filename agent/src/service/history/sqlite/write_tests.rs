use std::sync::Arc;

use tokio::sync::mpsc;

use super::super::super::{Message, Past};
use super::super::Question;
use super::*;
use crate::engine::look_back::Point;
use crate::metric::{Kind, Metric, Unit};

static USED: Metric = Metric {
    name: "test_used_percent",
    prometheus: "test_used_percent",
    kind: Kind::Gauge,
    unit: Unit::Percent,
    labels: &[],
    help: "How full.",
    source: "nowhere",
};

/// Minutes since 1970 in which the agent read, and now.
const READ: std::ops::Range<i64> = 29_000_000..29_000_010;
const NOW: Now = Now { mono_ns: 500_000 * SECOND, wall_ns: READ.end * MINUTE_NS + 20 * SECOND as i64 };

/// An engine that has one series, with a reading in each of these minutes.
fn engine() -> mpsc::Sender<Message> {
    let (inbox, mut asked) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Some(message) = asked.recv().await {
            let Message::Past(wish, done) = message else { continue };
            let ahead = NOW.wall_ns - NOW.mono_ns as i64;
            let at = READ.map(|minute| minute * MINUTE_NS - ahead);
            let points = at.filter(|at| (wish.from_ns..wish.to_ns).contains(at));
            let points =
                points.map(|at_ns| Point { at_ns, mean: 5.0, min: 5.0, max: 5.0, count: 6 }).collect();
            let track = Track { metric: &USED, labels: Arc::from([]), points };
            let _ = done.send(Tracks { now: NOW, tracks: vec![track], matching: 1, next: None });
        }
    });
    inbox
}

#[tokio::test]
async fn a_fresh_agent_writes_todays_minutes_at_its_end_and_not_hours_of_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.storage.sqlite_enabled = true;
    config.storage.sqlite_path = home.path().join("metrics.db");
    let past = Past { segments: None, store: None, trouble: None };
    let (mut keeper, troubles) = Keeper::new(&config, past, String::new(), NOW, engine());
    let minutes = keeper.minutes(NOW, true).await.expect("the end is due");
    // The ring would hold a day, the agent ran for ten minutes: one writing holds them all.
    assert!(!minutes.more, "until {}", minutes.until);
    keeper.write_minutes(Some(minutes), NOW).await;
    assert_eq!(troubles.borrow().sqlite, None);
    let question = Question {
        metric: USED.name.into(),
        labels: std::collections::BTreeMap::new(),
        step_secs: 0,
        since_secs: 0,
    };
    let lines = super::super::read(&config.storage.sqlite_path, &USED, &question, 0).unwrap();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].points.len(), READ.count());
    assert_eq!(lines[0].points[0], super::super::Dot((READ.start * 60) as f64, 5.0, 5.0, 5.0, 6));
}
