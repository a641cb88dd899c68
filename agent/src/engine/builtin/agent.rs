//! What the agent watches of itself; its use of CPU and memory has keys in `[thresholds]`.

use super::super::condition::Policy;
use super::super::limits::Rule;
use super::states::{Own, State};
use crate::analyze::threshold::Op;

/// States, and the seconds for which each must stand.
const STATES: &[(State, u64)] = &[
    (
        State {
            metric: "collector_stuck",
            subject: "Collector",
            shown: &["collector"],
            bad: "has not come back for more than a minute; the other collectors wait for it",
            good: "came back",
            noun: "stuck collectors",
            is_critical: true,
            hint: "Levels are not judged until it does, kernel events are. /proc/PID/task/*/stack of the agent shows what \
                it waits for; leave it out (collector.disabled) and restart",
        },
        15,
    ),
    (
        State {
            metric: "series_limit_reached",
            subject: "The limit of series",
            shown: &[],
            bad: "is reached: readings are left out, and nobody watches them",
            good: "is kept",
            noun: "series alerts",
            is_critical: false,
            hint: "Raise collector.max_series, or leave out what you do not want (collector.exclude_*, collector.disabled, \
                collector.per_core); `sysops-agent doctor` counts what does not fit",
        },
        0,
    ),
    (
        State {
            metric: "agent_channel_failing",
            subject: "Channel",
            shown: &["channel"],
            bad: "does not take alerts",
            good: "takes alerts again",
            noun: "failing channels",
            is_critical: true,
            hint: "What waits for it is kept; `sysops-agent status` shows the last error and the next try",
        },
        30,
    ),
    (
        State {
            metric: "agent_channel_refusing",
            subject: "Channel",
            shown: &["channel"],
            bad: "refused alerts for good, and they are lost for it",
            good: "refuses nothing any more",
            noun: "refusing channels",
            is_critical: true,
            hint: "The agent's log names each with its rule and id. This ends when the channel takes an alert, or an hour \
                after the last refusal",
        },
        0,
    ),
    (
        State {
            metric: "agent_push_failing",
            subject: "The collector of pushed",
            shown: &["what"],
            bad: "does not take it",
            good: "is reached again",
            noun: "failing pushes",
            // Nobody is hurt, and what waits is kept.
            is_critical: false,
            hint: "`sysops-agent status` shows the last error; payloads wait in memory, then in push.backup_dir",
        },
        300,
    ),
    (
        State {
            metric: "agent_outbox_unsaved",
            subject: "The outbox",
            shown: &[],
            bad: "cannot be written: alerts are in memory only, and a restart would lose those that wait",
            good: "is written again",
            noun: "outbox alerts",
            // Whoever tries the agent without rights need not be woken.
            is_critical: false,
            hint: "`sysops-agent status` shows why; see to agent.data_dir",
        },
        30,
    ),
    (
        State {
            metric: "agent_history_unsaved",
            subject: "History",
            shown: &["store"],
            bad: "cannot be written: a restart would lose what is new",
            good: "is written again",
            noun: "history alerts",
            is_critical: false,
            hint: "The agent's log says why; see to agent.data_dir, or storage.sqlite_path",
        },
        30,
    ),
];

const VALUES: &[Own] = &[
    Own {
        metric: "agent_queue_used_percent",
        subject: "Use of the agent's queue",
        shown: &["queue"],
        op: Op::Above,
        warn: 80.0,
        critical: Some(95.0),
        unit: " %",
        noun: "queue alerts",
        hint: "inbox and outbound fill when the agent gets no CPU time or its disk hangs, and sources lose events then; \
            outbox fills when a channel takes nothing (`sysops-agent status`), and beyond its limit the oldest alerts of \
            least severity are given up",
    },
    Own {
        metric: "collector_duration_seconds",
        subject: "A pass of collector",
        shown: &["collector"],
        op: Op::Above,
        warn: 5.0,
        critical: None,
        unit: " s",
        noun: "slow collectors",
        hint: "The other collectors wait for it meanwhile: see to what it reads, give it a longer interval, or leave it out \
            (collector.disabled)",
    },
];

pub(super) fn rules() -> impl Iterator<Item = Rule> {
    let states = STATES.iter().map(|(state, for_secs)| {
        let rule = state.rule();
        Rule { policy: Policy { for_secs: *for_secs, ..rule.policy }, ..rule }
    });
    states.chain(VALUES.iter().map(Own::rule))
}

pub(super) fn judged() -> impl Iterator<Item = &'static str> {
    STATES.iter().map(|(state, _)| state.metric).chain(VALUES.iter().map(|own| own.metric))
}
