//! A message in the words of the configuration.

use std::collections::BTreeMap;

use super::{Identity, rfc3339};
use crate::alert::Severity;
use crate::config::{render, template_environment};
use crate::text::{clean, number};
use crate::time::Now;

/// Characters of such a message.
const MAX_MESSAGE: usize = 2000;

/// What a template of a rule may use.
pub(super) struct Words<'a> {
    pub severity: Severity,
    pub metric: &'a str,
    pub value: f64,
    pub threshold: Option<f64>,
    pub labels: &'a BTreeMap<String, String>,
    pub trend: Option<String>,
}

impl Words<'_> {
    /// The message; `None` where the template cannot be filled in: it was checked when the configuration was read,
    /// but not with these labels.
    pub(super) fn fill(&self, template: &str, identity: &Identity, now: Now) -> Option<String> {
        let env = template_environment();
        let template = env.template_from_str(template).ok()?;
        let values = BTreeMap::from([
            ("hostname", minijinja::Value::from(identity.hostname.as_str())),
            ("severity", self.severity.name().into()),
            ("metric", self.metric.into()),
            ("value", number(self.value).into()),
            ("threshold", self.threshold.map(number).unwrap_or_default().into()),
            ("timestamp", rfc3339(now, &identity.zone).into()),
            ("labels", minijinja::Value::from(self.labels.clone())),
            ("trend", self.trend.clone().unwrap_or_default().into()),
        ]);
        let text = render(&template, values).ok()?;
        Some(clean(&text, MAX_MESSAGE)).filter(|text| !text.is_empty())
    }
}
