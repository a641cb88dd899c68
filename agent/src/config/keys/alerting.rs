//! When alerts are made, held back, joined and put into words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;
use toml::de::{DeTable, DeValue};

use super::channels::{
    Alertmanager, Discord, Email, Exec, Ntfy, PagerDuty, Slack, Syslog, Telegram, Terminal, Webhook,
};
use super::thresholds::{Order, in_order};
use super::{DAY, WEEK};
use crate::alert::Severity;
use crate::config::must::Must::{self, Labels, Metric, Schedule, Template, Url, Whole, Word};
use crate::config::near;
use crate::config::reader::Reader;
use crate::config::section::{choice, section};
use crate::config::template::{self, RULE_VARIABLES, TEMPLATE_VARIABLES};
use crate::config::value::{Node, Value};
use crate::text::clean;

section! {
    /// Alerts: how often, how many, and where to. Emergencies pass every limit.
    pub struct Alerting, check distinct_names {
        /// Seconds between two messages about the same condition.
        min_interval_secs: u64 = 300 => Whole(0, WEEK);
        /// Most messages per minute of one channel.
        rate_limit_per_minute: u32 = 10 => Whole(1, 10_000);
        /// Most messages per hour of one channel.
        max_alerts_per_hour: u32 = 60 => Whole(1, 100_000);
        /// Most messages per hour of all channels together.
        max_alerts_per_hour_total: u32 = 100 => Whole(1, 100_000);
        /// Seconds for which a like alert is not repeated: one number, or a table by severity.
        dedup_window_secs: DedupWindows => Whole(0, WEEK);
        /// Whether emergencies pass the limits above.
        emergency_bypass_rate_limit: bool = true;
        /// Seconds after the start in which levels are learned: only events and emergencies speak.
        state_warmup_secs: u64 = 60 => Whole(0, DAY);
        /// Proxy for channels that speak HTTP: `http://user:password@host:3128`. Empty: as the environment variables
        /// `HTTPS_PROXY` and `HTTP_PROXY` say. `NO_PROXY` names what is reached without.
        proxy: SecretString = "" => Url(&["http", "https"]);
        /// File with certificates (PEM) of authorities to trust besides the system's, for all channels. Empty: none.
        ca_file: PathBuf = "";
        /// A sign of life for a service that alerts when it stays away.
        heartbeat: Heartbeat;
        /// Joining alerts that come together.
        grouping: Grouping;
        /// Messages about the end of an alert.
        recovery: Recovery;
        /// Raising the severity of what nobody mends.
        escalation: Escalation;
        /// Words of the messages.
        templates: Templates;
        /// Alerts of your own, on any metric.
        rules: Vec<Rule>;
        /// Times in which alerts are held back.
        maintenance: Vec<Maintenance>;
        /// Messages on the terminal the agent was started from.
        terminal: Terminal;
        /// Discord.
        discord: Discord;
        /// Slack.
        slack: Slack;
        /// Telegram.
        telegram: Telegram;
        /// Mail.
        email: Email;
        /// Any HTTP endpoint.
        webhook: Webhook;
        /// PagerDuty.
        pagerduty: PagerDuty;
        /// ntfy.
        ntfy: Ntfy;
        /// Prometheus Alertmanager.
        alertmanager: Alertmanager;
        /// A program of your own.
        exec: Exec;
        /// The system log.
        syslog: Syslog;
    }
}

fn distinct_names(_: &Alerting, _: &Node<'_>, table: &DeTable<'_>, cx: &mut Reader<'_>) {
    cx.distinct(table, "rules", "name");
    cx.distinct(table, "maintenance", "name");
}

section! {
    /// The table form of `dedup_window_secs`. A severity that is left out keeps its default.
    pub(super) struct DedupTable {
        /// Seconds for info.
        info: u64 = 600 => Whole(0, WEEK);
        /// Seconds for warnings.
        warn: u64 = 600 => Whole(0, WEEK);
        /// Seconds for critical alerts.
        critical: u64 = 600 => Whole(0, WEEK);
        /// Seconds for emergencies.
        emergency: u64 = 0 => Whole(0, WEEK);
    }
}

/// Seconds for which a like alert is not repeated, by severity.
#[derive(Clone, Debug, Default)]
pub struct DedupWindows(DedupTable);

impl DedupWindows {
    /// The window of one severity, seconds.
    pub const fn of(&self, severity: Severity) -> u64 {
        match severity {
            Severity::Info => self.0.info,
            Severity::Warn => self.0.warn,
            Severity::Critical => self.0.critical,
            Severity::Emergency => self.0.emergency,
        }
    }
}

impl Value for DedupWindows {
    type Literal = ();

    fn form(must: &Must) -> String {
        format!("{}, or a table {{ info, warn, critical, emergency }}", must.number("a whole number"))
    }

    fn preset((): ()) -> Self {
        Self::default()
    }

    fn show(&self) -> String {
        let windows = Severity::ALL.map(|severity| format!("{} = {}", severity.name(), self.of(severity)));
        format!("{{ {} }}", windows.join(", "))
    }

    fn read(node: &Node<'_>, cx: &mut Reader<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => DedupTable::read(node, cx).map(Self),
            DeValue::Integer(_) => u64::read(node, cx)
                .map(|all| Self(DedupTable { info: all, warn: all, critical: all, emergency: all })),
            _ => cx.wrong_type(node),
        }
    }
}

section! {
    /// A sign of life, so that the silence of a dead host is noticed: a JSON object by POST, with `status` healthy,
    /// degraded or, when the agent ends in order, stopping.
    pub struct Heartbeat {
        /// Where it goes: healthchecks.io, Uptime Kuma, a collector of your own. Empty: nowhere.
        url: SecretString = "" => Url(&["http", "https"]);
        /// Seconds between two.
        interval_secs: u64 = 60 => Whole(5, DAY);
    }
}

section! {
    /// Alerts that come together become one message: the first goes at once, what follows is joined.
    pub struct Grouping {
        /// Whether they are joined.
        enabled: bool = true;
        /// Seconds for which followers are collected.
        window_secs: u64 = 30 => Whole(1, DAY);
    }
}

section! {
    /// Messages about the end of an alert.
    pub struct Recovery {
        /// Whether they are sent.
        enabled: bool = true;
        /// Whether ends that come together are told once, in one message that names them. false: each alert that was
        /// told has a message of its own at its end.
        notify_once: bool = true;
    }
}

section! {
    /// Raising the severity of what nobody mends.
    pub struct Escalation {
        /// Repeats in a row after which a warning is critical. 0: never; 5 is usual.
        warn_to_critical_after: u32 = 0 => Whole(0, 10_000);
        /// Minutes after which a critical alert is an emergency. 0: never; 30 is usual.
        critical_to_emergency_after_mins: u64 = 0 => Whole(0, 10_080);
    }
}

section! {
    /// Words of the messages, for all channels or for one.
    /// What a variable holds is escaped for the markup of the channel; the template itself is sent as it is.
    /// Variables: `hostname`, `severity`, `metric`, `value`, `threshold`, `message`, `timestamp`, `labels`, `trend`.
    pub struct Templates {
        /// For channels of plain text (syslog) without their own. The others have a form of their own, the
        /// webhook the whole alert object.
        default: String = "[{{severity}}] {{hostname}}: {{message}} ({{metric}}={{value}})" => ANY;
        /// For the terminal.
        terminal: Option<String> => ANY;
        /// For Discord, in its Markdown: the description of the message, in place of sentence and facts.
        discord: Option<String> => ANY;
        /// For Slack, in its mrkdwn: the sentence, without facts.
        slack: Option<String> => ANY;
        /// For Telegram, in the markup of its `parse_mode`: the whole message.
        telegram: Option<String> => ANY;
        /// For mail, plain text: the whole content; the subject stays.
        email: Option<String> => ANY;
        /// For ntfy: the message.
        ntfy: Option<String> => ANY;
        /// For PagerDuty: the summary.
        pagerduty: Option<String> => ANY;
        /// For webhooks: the `message` of the alert object.
        webhook: Option<String> => ANY;
        /// For syslog.
        syslog: Option<String> => ANY;
        /// For NATS: the `message` of the alert object.
        nats: Option<String> => ANY;
        /// For a program of your own: the `message` of the alert object.
        exec: Option<String> => ANY;
        /// For Alertmanager: the annotation `summary`.
        alertmanager: Option<String> => ANY;
    }
}

const ANY: Must = Template(TEMPLATE_VARIABLES);

choice! {
    /// How a value is compared with the limits of a rule.
    pub enum Op = Above {
        /// Greater than.
        Above = ">";
        /// Greater than or equal to.
        AtLeast = ">=";
        /// Less than.
        Below = "<";
        /// Less than or equal to.
        AtMost = "<=";
        /// Equal to.
        Equal = "==";
        /// Not equal to.
        NotEqual = "!=";
        /// There is no value at all.
        Absent = "absent";
    }
}

section! {
    /// An alert of your own, on any metric; docs/METRICS.md lists them. It replaces the built-in alert for the series
    /// it matches, and a rule with more labels replaces one with less. docs/ALERTING.md has examples.
    pub struct Rule, needs ["name", "metric"], check limits {
        /// Name of the rule in alerts.
        name: String = "" => Word;
        /// The metric it watches.
        metric: String = "" => Metric;
        /// Labels a series must have. Empty: every series of the metric.
        labels: BTreeMap<String, String> => Labels;
        /// How the value is compared with the limits.
        op: Op = Op::Above;
        /// Limit of a warning. With `absent` only its being there counts.
        warn: Option<f64>;
        /// Limit of a critical alert. With `absent`, any value makes the alert a critical one.
        critical: Option<f64>;
        /// Seconds for which it must hold.
        for_secs: u64 = 30 => Whole(0, WEEK);
        /// Value at which the alert is over. Without it: 5 % before the limit, of a count in whole numbers. A critical one is a
        /// warning again 5 % before its own limit.
        clear: Option<f64>;
        /// Message, a template. Empty: made from the metric.
        message: String = "" => Template(RULE_VARIABLES);
        /// Page to read when it fires.
        runbook_url: String = "" => Url(&["http", "https"]);
    }
}

fn limits(rule: &Rule, node: &Node<'_>, table: &DeTable<'_>, cx: &mut Reader<'_>) {
    labels(rule, table, cx);
    words(rule, table, cx);
    let given = table.contains_key("warn") || table.contains_key("critical");
    if !given && rule.op != Op::Absent {
        let what = format!("`{}` has no limit.", cx.place());
        cx.finding(node.span(), what, "Add `warn`, `critical` or both.");
    }
    let order = match rule.op {
        Op::Above | Op::AtLeast => Order::Rising,
        Op::Below | Op::AtMost => Order::Falling,
        Op::Equal | Op::NotEqual | Op::Absent => return,
    };
    in_order(order, (rule.warn, rule.critical, rule.clear), table, cx);
}

/// Labels that the metric does not have.
fn labels(rule: &Rule, table: &DeTable<'_>, cx: &mut Reader<'_>) {
    let Some(known) = cx.labels_of(&rule.metric) else { return };
    let given = table.get("labels").and_then(|node| node.get_ref().as_table());
    for name in given.into_iter().flat_map(|table| table.keys()) {
        if known.contains(&&**name.get_ref()) {
            continue;
        }
        let what = format!(
            "`{}.labels` names `{}`, which is no label of {}.",
            cx.place(),
            clean(name.get_ref(), 40),
            rule.metric
        );
        let near = near::nearest(name.get_ref(), known.iter().copied());
        let fix = match (near, known) {
            (Some(near), _) => format!("Did you mean `{near}`?"),
            (None, []) => "It has none: leave `labels` out.".to_owned(),
            (None, known) => format!("It has {}.", known.join(", ")),
        };
        cx.finding(name.span(), what, fix);
    }
}

/// Labels in the message that none of its alerts has.
fn words(rule: &Rule, table: &DeTable<'_>, cx: &mut Reader<'_>) {
    let Some(of_metric) = cx.labels_of(&rule.metric) else { return };
    // Of what is not there only the rule's own labels are known.
    let known: Vec<&str> = match rule.op {
        Op::Absent => rule.labels.keys().map(String::as_str).collect(),
        _ => of_metric.to_vec(),
    };
    let Some(node) = table.get("message") else { return };
    for name in template::labels_in(&rule.message).iter().filter(|name| !known.contains(&name.as_str())) {
        let what = format!(
            "`{}.message` uses `{{{{labels.{}}}}}`, which no alert of this rule has.",
            cx.place(),
            clean(name, 40)
        );
        let fix = match near::nearest(name, known.iter().copied()) {
            Some(near) => format!("Did you mean `{{{{labels.{near}}}}}`?"),
            None if known.is_empty() => "Its alerts have no labels.".to_owned(),
            None => format!("They have {}.", known.join(", ")),
        };
        cx.finding(node.span(), what, fix);
    }
}

section! {
    /// Times in which alerts are held back, in the host's local time.
    pub struct Maintenance, needs ["name", "schedule"] {
        /// Name of the window.
        name: String = "" => Word;
        /// Days and hours: `Sun 02:00-04:00`, `Mon-Fri 22:00-06:00`, `daily 03:00-03:30`.
        schedule: String = "" => Schedule;
        /// Labels an alert must have. Empty: every alert.
        labels: BTreeMap<String, String> => Labels;
    }
}
