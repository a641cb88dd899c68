//! One message on its way: its text read back where it is not in memory, what only the worker knows added, sent.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::alert::{Alert, Severity};
use crate::notify::backlog::Backlog;
use crate::notify::channel::{Channel, SendError};
use crate::notify::facts;
use crate::notify::journal;
use crate::notify::ledger::Seq;
use crate::notify::record::Place;
use crate::notify::template::Templates;
use crate::text;
use crate::time::Now;

/// Longest that a channel may take for one message, whatever its own limits are …
const SEND_TIMEOUT: Duration = Duration::from_secs(90);
/// … twice as long at each further try of it, up to this: a mail server may take 10 min to say that it has a mail (RFC 5321,
/// 4.5.3.2.6), and one that is slow by habit would get the same one again and again.
const MAX_SEND_TIMEOUT: Duration = Duration::from_secs(630);
/// From this delay on a message says how late it is, seconds.
const LATE_SECS: u64 = 300;
/// Metric of the message that says how many were held back.
pub(in crate::notify) const HELD_BACK: &str = "notify_held_back";
/// Characters shown of the worst of them.
const MAX_WORST: usize = 200;
/// How a message fared.
pub(super) enum Sent {
    Done { result: Result<(), SendError>, template_error: Option<String> },
    Unreadable,
}

/// Where the text of an alert is.
pub(super) enum Text {
    Held(Arc<Alert>),
    File(Arc<File>, Seq, Place),
    Nowhere,
}

/// What a sending task is to tell.
pub(super) enum Source {
    One(Text),
    Backlog(Box<Waiting>),
}

/// What an outage held up, with the moments of acceptance.
pub(super) struct Waiting {
    pub(super) texts: Vec<(Text, i64)>,
    pub(super) hostname: String,
    pub(super) channel: String,
    /// Number of the first: the same message keeps its id.
    pub(super) first: u64,
    pub(super) now: Now,
    /// The rate limit held it up.
    pub(super) limited: bool,
}

impl Text {
    /// Reads it; blocks.
    pub(super) fn read(self) -> Option<Arc<Alert>> {
        match self {
            Self::Held(alert) => Some(alert),
            Self::File(file, seq, place) => journal::read(&file, seq, place).map(Arc::new),
            Self::Nowhere => None,
        }
    }
}

impl Waiting {
    /// One message for all; blocks. None if nothing can be read.
    fn gather(self) -> Option<Arc<Alert>> {
        let Self { texts, hostname, channel, first, now, limited } = self;
        let mut backlog = Backlog::limited(limited);
        for (text, born_ns) in texts {
            match text.read() {
                Some(alert) => backlog.add(&alert, born_ns),
                None => backlog.unreadable(),
            }
        }
        let id = format!("backlog-{channel}-{first}");
        (!backlog.is_empty()).then(|| Arc::new(backlog.alert(&hostname, &channel, id, now)))
    }
}

/// What a message says besides its alert.
#[derive(Default)]
pub(super) struct Addition {
    pub(super) held_back: u64,
    /// The worst of what was held back.
    pub(super) worst: Option<Text>,
    pub(super) late_secs: u64,
    /// That failed.
    pub(super) tries: u32,
}

pub(super) async fn deliver(
    channel: Arc<dyn Channel>,
    templates: Arc<Templates>,
    source: Source,
    addition: Addition,
) -> Sent {
    let alert = match source {
        Source::One(text) => read(text).await,
        Source::Backlog(waiting) => {
            tokio::task::spawn_blocking(move || waiting.gather()).await.ok().flatten()
        }
    };
    let Some(alert) = alert else { return Sent::Unreadable };
    let Addition { held_back, worst, late_secs, tries } = addition;
    let worst = match worst {
        Some(text) => read(text).await,
        None => None,
    };
    let alert = dress(alert, held_back, worst.as_deref(), late_secs);
    let (text, template_error) = templates.text(channel.name(), &alert);
    let patience = SEND_TIMEOUT.saturating_mul(1 << tries.min(3)).min(MAX_SEND_TIMEOUT);
    let late = |_| Err(SendError::retry(format!("no answer within {} s", patience.as_secs())));
    let result = timeout(patience, channel.send(&alert, &text)).await.unwrap_or_else(late);
    if let Err(SendError::Refused { why }) = &result {
        tracing::error!(
            channel = channel.name(), rule = %text::clean(&alert.rule, MAX_WORST), id = %alert.id,
            severity = alert.severity.name(), status = alert.status.name(), why = %text::clean(why, MAX_WORST),
            "an alert was refused for good; it is lost for this channel"
        );
    }
    Sent::Done { result, template_error }
}

async fn read(text: Text) -> Option<Arc<Alert>> {
    match text {
        Text::Held(alert) => Some(alert),
        text => tokio::task::spawn_blocking(move || text.read()).await.ok().flatten(),
    }
}

/// Adds to the alert what only the worker knows.
fn dress(mut alert: Arc<Alert>, held_back: u64, worst: Option<&Alert>, late_secs: u64) -> Arc<Alert> {
    let worst = worst.map_or(String::new(), |worst| {
        format!(", the worst: {}: {}", facts::badge(worst), text::clean(&worst.message, MAX_WORST))
    });
    if alert.metric == HELD_BACK {
        Arc::make_mut(&mut alert).message += &worst;
    } else if held_back > 0 {
        let alert = Arc::make_mut(&mut alert);
        alert.message = format!("{} ({held_back} more held back by the rate limit{worst})", alert.message);
        alert.context.insert("held_back".into(), held_back.into());
    }
    if late_secs >= LATE_SECS {
        let alert = Arc::make_mut(&mut alert);
        alert.message = format!("{} (sent {} late)", alert.message, text::span(late_secs));
        alert.context.insert("late_secs".into(), late_secs.into());
    }
    alert
}

/// The message that says how many were held back, when no other message could.
pub(super) fn held_back_alert(hostname: &str, held_back: u64, now: Now) -> Alert {
    let message = format!("{held_back} alerts were held back by the rate limit");
    let mut alert = crate::notify::own_alert(hostname, HELD_BACK, Severity::Warn, message, now);
    alert.value = held_back as f64;
    alert.context.insert("held_back".into(), held_back.into());
    alert
}
