//! Alerts to Prometheus Alertmanager: `POST /api/v2/alerts`, as a Prometheus server would send them.
//! <https://prometheus.io/docs/alerting/latest/alerts_api/>
//!
//! Alertmanager forgets what nobody repeats, so that a sender that died leaves nothing standing. One task owns what
//! stands and repeats it; a message is one more word to that task.

use super::backoff::Backoff;
use super::channel::{Channel, SendError, Sending};
use super::http::{self, Http};
use super::prometheus::{ended, labels, posted};
use super::routes::Made;
use super::terminal::Screen;
use super::{TIMEOUT, json_body};
use crate::alert::Alert;
use crate::config::Config;
use crate::host::clock;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Its section below `[alerting]`.
pub const NAME: &str = "alertmanager";
/// How often what stands is repeated; Prometheus does so every minute too.
pub const REPEAT: Duration = Duration::from_mins(1);
/// How many repetitions may be lost before Alertmanager takes the alert for over; Prometheus allows as many.
const MISSES: u32 = 4;
/// How long an event stands, which nothing ends.
const EVENT_STANDS: SignedDuration = SignedDuration::from_hours(1);
/// Alerts repeated. Beyond, the one that came first is repeated no more, and stands as long as an event.
const MAX_STANDING: usize = 256;
/// Messages noted before it is known what was told earlier; that is known at the start.
const MAX_HEARD: usize = 1024;

/// Made as the configuration says.
pub(super) fn make(config: &Config, _: Screen) -> Result<Option<Made>, String> {
    let section = &config.alerting.alertmanager;
    if !section.enabled {
        return Ok(None);
    }
    let made = Alertmanager::new(&section.url, &section.headers, REPEAT);
    let made = made.map_err(|why| format!("alerting.alertmanager: {why}"))?;
    Ok(Some(Made {
        channel: Arc::new(Alertmanager {
            template: config.alerting.templates.alertmanager.is_some(),
            ..made
        }),
        backoff: Backoff::default(),
    }))
}

/// The channel.
#[derive(Debug)]
pub struct Alertmanager {
    http: Arc<Http>,
    repeat: Duration,
    /// The template's text is the message of the alert.
    template: bool,
    /// The task, begun with the first message.
    keeper: OnceLock<mpsc::Sender<Word>>,
}

enum Word {
    /// Pass it on, and answer.
    Tell(Box<Alert>, oneshot::Sender<Result<(), SendError>>),
    /// These were told before this task began.
    Resume(Vec<Arc<Alert>>),
}

impl Alertmanager {
    /// Checks the options; connects to nothing. The URL is that of the server, without `/api/v2/alerts`.
    ///
    /// # Errors
    /// A sentence without secrets.
    pub fn new(
        url: &SecretString,
        headers: &BTreeMap<String, SecretString>,
        repeat: Duration,
    ) -> Result<Self, String> {
        let url = format!("{}/api/v2/alerts", url.expose_secret().trim_end_matches('/'));
        let mut http = Http::new(&url.into(), "POST", TIMEOUT)?;
        http.header("content-type", &http::JSON.into())?;
        for (name, value) in headers {
            http.header(name, value)?;
        }
        Ok(Self { http: Arc::new(http), repeat, template: false, keeper: OnceLock::new() })
    }

    fn keeper(&self) -> &mpsc::Sender<Word> {
        self.keeper.get_or_init(|| {
            let (words, inbox) = mpsc::channel(1);
            let keeper = Keeper {
                http: Arc::clone(&self.http),
                repeat: self.repeat,
                standing: Standing::default(),
                heard: HashSet::new(),
            };
            // Ends with the channel, whose sender is the only one.
            tokio::spawn(keeper.run(inbox));
            words
        })
    }
}

impl Channel for Alertmanager {
    fn name(&self) -> &'static str {
        NAME
    }

    fn follows_incidents(&self) -> bool {
        true
    }

    fn http(&mut self) -> Option<&mut Http> {
        // The task that shares it begins with the first message.
        Arc::get_mut(&mut self.http)
    }

    fn resume(&self, standing: Vec<Arc<Alert>>) {
        let words = self.keeper().clone();
        // If the task has ended, so has the channel.
        tokio::spawn(async move { words.send(Word::Resume(standing)).await });
    }

    fn send<'a>(&'a self, alert: &'a Alert, text: &'a str) -> Sending<'a> {
        Box::pin(async move {
            let mut alert = Box::new(alert.clone());
            if self.template {
                text.clone_into(&mut alert.message);
            }
            let (done, result) = oneshot::channel();
            let gone = || SendError::retry("the task that speaks to Alertmanager has ended");
            self.keeper().send(Word::Tell(alert, done)).await.map_err(|_| gone())?;
            result.await.map_err(|_| gone())?
        })
    }
}

/// The task.
struct Keeper {
    http: Arc<Http>,
    repeat: Duration,
    standing: Standing,
    /// Ids of which it heard itself: what was told before knows less of them.
    heard: HashSet<String>,
}

impl Keeper {
    async fn run(mut self, mut inbox: mpsc::Receiver<Word>) {
        // Not a pause after each message: with one every few seconds nothing would ever be said again.
        let mut next = interval(self.repeat);
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                word = inbox.recv() => match word {
                    Some(Word::Resume(alerts)) => self.resume(&alerts),
                    Some(Word::Tell(alert, done)) => {
                        let result = self.tell(&alert).await;
                        // Who asked may have given up waiting.
                        let _ = done.send(result);
                    }
                    None => return,
                },
                _ = next.tick(), if !self.standing.0.is_empty() => {
                    let all = self.standing.all(now(), self.repeat);
                    // The next repetition comes soon; a message of its own tells of failures.
                    let _ = timeout(self.repeat, self.post(all)).await;
                }
            }
        }
    }

    async fn tell(&mut self, alert: &Alert) -> Result<(), SendError> {
        self.post(self.standing.with(alert, now(), self.repeat)).await?;
        self.standing.keep(alert);
        self.hear(alert);
        Ok(())
    }

    fn hear(&mut self, alert: &Alert) {
        if self.heard.len() < MAX_HEARD {
            self.heard.insert(alert.id.clone());
            self.heard.extend(alert.also_over().map(str::to_owned));
        }
    }

    fn resume(&mut self, alerts: &[Arc<Alert>]) {
        let since = std::mem::take(&mut self.standing);
        alerts.iter().filter(|alert| !self.heard.contains(&alert.id)).for_each(|a| self.standing.keep(a));
        since.0.iter().for_each(|alert| self.standing.keep(alert));
    }

    async fn post(&self, alerts: Vec<Value>) -> Result<(), SendError> {
        self.http.send(json_body(&alerts.into())?).await
    }
}

fn now() -> Timestamp {
    Timestamp::from_nanosecond(i128::from(clock::now().wall_ns)).unwrap_or_default()
}

/// What stands, the oldest first.
#[derive(Default)]
struct Standing(VecDeque<Alert>);

impl Standing {
    /// What tells Alertmanager of a message: the alert, and the end of what it was called before, since a new severity
    /// is a new label and so another alert.
    fn with(&self, alert: &Alert, now: Timestamp, repeat: Duration) -> Vec<Value> {
        let before =
            self.0.iter().find(|a| a.id == alert.id).filter(|before| labels(before) != labels(alert));
        before
            .map(|before| posted(before, now))
            .into_iter()
            .chain([posted(alert, until(alert, now, repeat))])
            .chain(self.ended_with(alert).map(|other| posted(other, now)))
            .collect()
    }

    /// What else is over with it.
    fn ended_with(&self, alert: &Alert) -> impl Iterator<Item = &Alert> {
        self.0.iter().filter(|a| alert.also_over().any(|id| id == a.id))
    }

    fn keep(&mut self, alert: &Alert) {
        self.0.retain(|a| a.id != alert.id && alert.also_over().all(|id| id != a.id));
        if alert.stands() {
            self.0.push_back(alert.clone());
        }
        if self.0.len() > MAX_STANDING {
            self.0.pop_front();
        }
    }

    fn all(&self, now: Timestamp, repeat: Duration) -> Vec<Value> {
        self.0.iter().map(|alert| posted(alert, until(alert, now, repeat))).collect()
    }
}

fn until(alert: &Alert, now: Timestamp, repeat: Duration) -> Timestamp {
    if let Some(ended) = ended(alert) {
        // A clock that differs must not leave it standing.
        return ended.min(now);
    }
    let stands = if alert.stands() {
        SignedDuration::try_from(repeat * MISSES).unwrap_or(EVENT_STANDS)
    } else {
        EVENT_STANDS
    };
    now.checked_add(stands).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{HELD_SECS, Severity, Status};
    use crate::notify::samples::{oom, resolved};

    /// A reading over its limit, as the engine tells it.
    fn gpu() -> Alert {
        let mut alert = crate::notify::tests::gpu();
        alert.context.insert(HELD_SECS.into(), 40.into());
        alert
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn ends_are_those_of_readings_and_events() {
        let now = at("2026-02-22T08:00:00Z");
        let check = |alert: &Alert, expect: &str| assert_eq!(until(alert, now, REPEAT), at(expect));
        check(&gpu(), "2026-02-22T08:04:00Z");
        check(&oom(), "2026-02-22T09:00:00Z");
        check(&resolved(), "2026-02-22T07:30:00Z");
        check(&Alert { ended_at: Some("2030-01-01T00:00:00Z".into()), ..resolved() }, "2026-02-22T08:00:00Z");
    }

    #[test]
    fn readings_stand_until_they_are_over_and_a_new_severity_ends_the_old() {
        let (mut standing, now) = (Standing::default(), at("2026-02-22T08:00:00Z"));
        standing.keep(&oom());
        assert!(standing.0.is_empty());
        let warn = Alert { severity: Severity::Warn, ..gpu() };
        assert_eq!(standing.with(&warn, now, REPEAT).len(), 1);
        standing.keep(&warn);
        let both = standing.with(&gpu(), now, REPEAT);
        let told: Vec<_> = both.iter().map(|a| (&a["labels"]["severity"], &a["endsAt"])).collect();
        let expect = [("warn", "2026-02-22T08:00:00.000Z"), ("critical", "2026-02-22T08:04:00.000Z")];
        assert_eq!(
            told,
            expect
                .map(|(s, e)| (Value::from(s), Value::from(e)))
                .iter()
                .map(|(s, e)| (s, e))
                .collect::<Vec<_>>()
        );
        standing.keep(&gpu());
        assert_eq!(standing.all(now, REPEAT).len(), 1);
        standing.keep(&Alert { status: Status::Resolved, ..gpu() });
        assert!(standing.all(now, REPEAT).is_empty());
        for n in 0..2 * MAX_STANDING {
            standing.keep(&Alert { id: n.to_string(), ..gpu() });
        }
        assert_eq!(standing.all(now, REPEAT).len(), MAX_STANDING);
    }

    /// A hang has no limit, but an end that is told: an hour later it still stands.
    #[test]
    fn a_hang_is_repeated_until_its_end() {
        let mut hang = oom();
        hang.context.insert("incident".into(), serde_json::json!({ "kind": "hang" }));
        let mut standing = Standing::default();
        standing.keep(&hang);
        assert_eq!(standing.all(at("2026-02-22T18:00:00Z"), REPEAT).len(), 1);
        standing.keep(&Alert { status: Status::Resolved, ..hang });
        assert_eq!(standing.all(at("2026-02-22T18:00:00Z"), REPEAT).len(), 0);
        standing.keep(&oom());
        assert_eq!(standing.all(at("2026-02-22T18:00:00Z"), REPEAT).len(), 0, "a kill only happens");
    }
}
