//! A message in the words of the configuration.

use std::collections::BTreeMap;

use minijinja::value::ValueKind;

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
        let mut env = template_environment();
        env.set_formatter(|out, _, value| format(out, value));
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

/// Labels as in the templates of channels, `a=b, c=d`; the rest as it is.
fn format(out: &mut minijinja::Output<'_>, value: &minijinja::Value) -> Result<(), minijinja::Error> {
    let text = match value.kind() {
        ValueKind::None | ValueKind::Undefined => return Ok(()),
        ValueKind::Map => {
            let pair = |key: minijinja::Value| value.get_item(&key).map(|value| format!("{key}={value}"));
            value.try_iter()?.map(pair).collect::<Result<Vec<_>, _>>()?.join(", ")
        }
        _ => value.to_string(),
    };
    Ok(out.write_str(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_told_as_in_the_templates_of_channels() {
        let labels =
            [("mount", "/"), ("kind", "{{message}}")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let (severity, trend) = (Severity::Warn, None);
        let words = Words { severity, metric: "m", value: 1.5, threshold: None, labels: &labels, trend };
        let (hostname, zone, boot_id) = ("h".to_owned(), jiff::tz::TimeZone::UTC, String::new());
        let identity = Identity { hostname, zone, boot_id, labels: BTreeMap::new() };
        let check = |template: &str, expect: Option<&str>| {
            assert_eq!(words.fill(template, &identity, Now::default()).as_deref(), expect, "{template}");
        };
        check("{{labels}} is {{value}}", Some("kind={{message}}, mount=/ is 1.5"));
        check("{{labels.mount}}{{trend}} {{threshold}}!", Some("/ !"));
        check("{{labels.gone}}", None);
    }
}
