//! The alert of a host that is no longer made of what it was.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Context, Draft, fingerprint};
use crate::alert::Severity;
use crate::engine::events;
use crate::event::{Event, HostChange};
use crate::text::clean;

/// Rule of changes.
pub const RULE: &str = "inventory_changed";
/// Longest sentence of one change, characters.
const MAX_TEXT: usize = 400;
/// Changes in the message; all are in the context.
const SPOKEN: usize = 4;

/// The alert.
pub fn draft(event: &Event, change: &HostChange, id: String) -> Draft {
    let texts: Vec<String> = change.changes.iter().map(|c| clean(&c.text, MAX_TEXT)).collect();
    let more = texts.len().saturating_sub(SPOKEN) + change.left_out;
    let more = if more > 0 { format!("; and {more} more changes") } else { String::new() };
    let spoken = texts.iter().take(SPOKEN).map(String::as_str).collect::<Vec<_>>().join("; ");
    let listed = change.changes.iter().zip(&texts).map(|(c, text)| json!({ "part": c.part, "text": text }));
    let mut c = Context::default();
    c.put("changes", Some(listed.collect::<Vec<_>>()));
    c.put_if("changes_left_out", (change.left_out > 0).then_some(change.left_out));
    Draft {
        rule: RULE.to_owned(),
        noun: "changes of the inventory".into(),
        phrase: texts.first().cloned().unwrap_or_default(),
        severity: Severity::Info,
        metric: events::INVENTORY.name.into(),
        value: (change.changes.len() + change.left_out) as f64,
        message: format!("The host has changed: {spoken}{more}"),
        labels: BTreeMap::new(),
        fingerprint: fingerprint(["inventory_changed"].into_iter().chain(texts.iter().map(String::as_str))),
        context: c.done(),
        ..Draft::of(event, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Change, Source, What};
    use crate::time::Now;

    #[test]
    fn changes_are_told_in_words_and_listed_whole() {
        let change = |n: usize| Change { part: "disk", text: format!("disk sd{n} is gone\x1b[2J") };
        let all = HostChange { changes: (0..6).map(change).collect(), left_out: 3 };
        let what = What::HostChange(Box::new(all.clone()));
        let event = Event { at: Now::default(), source: Source::Inventory, historic: false, what };
        let draft = draft(&event, &all, "id".into());
        let expect = "The host has changed: disk sd0 is gone?[2J; disk sd1 is gone?[2J; disk sd2 is gone?[2J; \
                      disk sd3 is gone?[2J; and 5 more changes";
        assert_eq!((draft.message.as_str(), draft.value), (expect, 9.0));
        assert_eq!(draft.context["changes"].as_array().map(Vec::len), Some(6));
        assert_eq!(draft.context["changes_left_out"], 3);
        assert_eq!(draft.severity, Severity::Info);
    }
}
