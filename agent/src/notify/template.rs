//! The text of a message: the operator's template, filled in. A template that fails on some alert costs its
//! looks, not the alert.

use super::fit::{Markup, PLAIN};
use super::{discord, slack, telegram};
use crate::alert::Alert;
use crate::config::{
    Config, MAX_RENDERED, ParseMode, TEMPLATE_VARIABLES, render, template_environment, unbounded,
};
use crate::text;
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, Output, Value};
use std::collections::BTreeMap;

/// Longest text, characters; the rest is cut.
pub const MAX_TEXT: usize = 8000;
/// Most of a message that a template works with, bytes: what [`MAX_VALUE`] characters may take.
const MAX_MESSAGE: usize = 4 * MAX_VALUE;
/// Longest value filled in, characters.
const MAX_VALUE: usize = 2000;
/// Name of the template for channels without their own.
const DEFAULT: &str = "default";

/// All templates, compiled.
#[derive(Debug)]
pub struct Templates {
    env: Environment<'static>,
    telegram: ParseMode,
}

/// How a channel reads its own template's text.
fn markup(channel: &str, telegram: ParseMode) -> Markup {
    match channel {
        discord::NAME => discord::MARKUP,
        slack::NAME => slack::MARKUP,
        telegram::NAME => telegram::markup(telegram),
        _ => PLAIN,
    }
}

impl Templates {
    /// Compiles the default and those of single channels.
    ///
    /// # Errors
    /// A sentence for the first template that is none, or that uses an unknown variable.
    pub fn new(default: &str, per_channel: &BTreeMap<String, String>) -> Result<Self, String> {
        Self::with(default, per_channel, ParseMode::default())
    }

    fn with(
        default: &str,
        per_channel: &BTreeMap<String, String>,
        telegram: ParseMode,
    ) -> Result<Self, String> {
        let mut env = template_environment();
        env.set_formatter(move |out, state, value| format(out, markup(state.name(), telegram), value));
        let all = per_channel.iter().map(|(name, source)| (name.as_str(), source.as_str()));
        for (name, source) in all.chain([(DEFAULT, default)]) {
            add(&mut env, name, source).map_err(|why| format!("alerting.templates.{name} {why}"))?;
        }
        Ok(Self { env, telegram })
    }

    /// Those of the configuration.
    pub fn of(config: &Config) -> Result<Self, String> {
        let given = &config.alerting.templates;
        let of = [
            (super::terminal::NAME, &given.terminal),
            (super::syslog::NAME, &given.syslog),
            (super::webhook::NAME, &given.webhook),
            ("nats", &given.nats),
            (discord::NAME, &given.discord),
            (slack::NAME, &given.slack),
            (telegram::NAME, &given.telegram),
            (super::email::NAME, &given.email),
            (super::ntfy::NAME, &given.ntfy),
            (super::pagerduty::NAME, &given.pagerduty),
            (super::exec::NAME, &given.exec),
            (super::alertmanager::NAME, &given.alertmanager),
        ];
        let own = of.into_iter().filter_map(|(name, t)| Some((name.to_owned(), t.clone()?))).collect();
        Self::with(&given.default, &own, config.alerting.telegram.parse_mode)
    }

    /// The text for a channel, and why its template could not be filled in: then it is the built-in text.
    pub fn text(&self, channel: &str, alert: &Alert) -> (String, Option<String>) {
        let template = self.env.get_template(channel).or_else(|_| self.env.get_template(DEFAULT));
        match template.and_then(|template| render(&template, values(alert))) {
            Ok(text) => (cut(text), None),
            Err(error) => {
                (self.built_in(channel, alert), Some(format!("template of {channel}: {}", reason(&error))))
            }
        }
    }

    /// The text where there is no usable template.
    fn built_in(&self, channel: &str, alert: &Alert) -> String {
        let Alert { severity, hostname, message, metric, value, .. } = alert;
        let (severity, value) = (severity.name(), text::number(*value));
        let text = text::clean(&format!("[{severity}] {hostname}: {message} ({metric}={value})"), MAX_VALUE);
        cut(markup(channel, self.telegram).all(&text))
    }
}

fn add(env: &mut Environment<'static>, name: &str, source: &str) -> Result<(), String> {
    let broken = |error: &Error| format!("is not a template: {}", reason(error));
    env.add_template_owned(name.to_owned(), source.to_owned()).map_err(|e| broken(&e))?;
    let template = env.get_template(name).map_err(|e| broken(&e))?;
    if let Some(why) = unbounded(source) {
        return Err(why);
    }
    let mut used: Vec<_> = template.undeclared_variables(false).into_iter().collect();
    used.sort();
    match used.iter().find(|name| !TEMPLATE_VARIABLES.contains(&name.as_str())) {
        Some(unknown) => Err(format!(
            "uses {{{{{}}}}}, which is not a variable; variables are {}",
            text::clean(unknown, 40),
            TEMPLATE_VARIABLES.join(", ")
        )),
        None => Ok(()),
    }
}

fn reason(error: &Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    text::clean(&what, 120)
}

fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(at);
        text.push('…');
    }
    text
}

fn values(alert: &Alert) -> Value {
    let value = |name: &&'static str| {
        let value = match *name {
            "hostname" => Value::from(alert.hostname.as_str()),
            "severity" => Value::from(alert.severity.name()),
            "metric" => Value::from(alert.metric.as_str()),
            "value" => alert.reading().map_or(Value::from("absent"), Value::from),
            "threshold" => Value::from(alert.threshold),
            // No longer than it is shown, so that no text made of it is either.
            "message" => Value::from(&alert.message[..alert.message.floor_char_boundary(MAX_MESSAGE)]),
            "timestamp" => Value::from(alert.timestamp.as_str()),
            "labels" => Value::from(alert.labels.clone()),
            "trend" => alert.context.get("trend").map_or(Value::from(()), trend),
            _ => Value::UNDEFINED,
        };
        (*name, value)
    };
    Value::from(TEMPLATE_VARIABLES.iter().map(value).collect::<BTreeMap<_, _>>())
}

fn trend(value: &serde_json::Value) -> Value {
    match (value.as_str(), value.as_f64()) {
        (Some(text), _) => Value::from(text),
        (None, Some(number)) => Value::from(number),
        (None, None) => Value::from(value.to_string()),
    }
}

/// How a value looks: numbers without needless digits, labels as `a=b, c=d`, nothing for nothing, and no text from
/// outside that could forge a line, or mean something to the channel.
fn format(out: &mut Output<'_>, markup: Markup, value: &Value) -> Result<(), Error> {
    let text = match value.kind() {
        ValueKind::None | ValueKind::Undefined => return Ok(()),
        ValueKind::Number => f64::try_from(value.clone()).map_or_else(|_| value.to_string(), text::number),
        ValueKind::Map => {
            let pair = |key: Value| value.get_item(&key).map(|value| format!("{key}={value}"));
            value.try_iter()?.map(pair).collect::<Result<Vec<_>, _>>()?.join(", ")
        }
        _ => value.to_string(),
    };
    // Cut it would look as if that were all.
    let text = if text.len() > MAX_RENDERED { text } else { text::clean(&text, MAX_VALUE) };
    Ok(out.write_str(&markup.all(&text))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::tests::gpu;

    fn check(template: &str, expect: &str) {
        let templates = Templates::new(template, &BTreeMap::new()).unwrap();
        assert_eq!(templates.text("syslog", &gpu()), (expect.to_owned(), None), "{template}");
    }

    #[test]
    fn variables_of_the_contract_are_filled_in() {
        check(
            "[{{severity}}] {{hostname}}: {{message}} ({{metric}}={{value}})",
            "[critical] gpu-server-01: GPU 0 temperature 87°C exceeds threshold 85°C (gpu_temperature_celsius=87)",
        );
        check("{{threshold}} {{timestamp}}", "85 2026-02-22T16:30:00+09:00");
        check("{{labels}}|{{labels.gpu}}|{{trend}}", "gpu=0, model=A100|0|rising");
        check("{% if value > 86 %}hot{% else %}warm{% endif %}", "hot");
        check("", "");
        check("plain {text}", "plain {text}");
    }

    #[test]
    fn hostile_values_and_long_texts_stay_harmless() {
        let mut alert = gpu();
        alert.message = "java\n<0>fake\x1b[31m".into();
        alert.labels.insert("model".into(), "x\ny".into());
        let templates = Templates::new("{{message}} {{labels}}", &BTreeMap::new()).unwrap();
        assert_eq!(templates.text("slack", &alert).0, "java?<0>fake?[31m gpu=0, model=x?y");
        let long = Templates::new(&"é".repeat(9000), &BTreeMap::new()).unwrap();
        assert_eq!(long.text("slack", &alert).0.chars().count(), MAX_TEXT + 1);
    }

    #[test]
    fn a_template_that_fails_gives_the_built_in_text() {
        let templates = Templates::new("{{labels.mount}}", &BTreeMap::new()).unwrap();
        let (text, why) = templates.text("slack", &gpu());
        assert!(text.starts_with("[critical] gpu-server-01: GPU 0"), "{text}");
        assert!(why.unwrap().starts_with("template of slack: "));
    }

    #[test]
    fn a_template_that_makes_too_much_gives_the_built_in_text() {
        for template in [
            "{{ message * 100000 }}",
            "{% for a in message %}{{ message * 100 }}{% endfor %}",
            &format!("{{% for a in message %}}{}{{% endfor %}}", "a".repeat(4000)),
        ] {
            let templates = Templates::new(template, &BTreeMap::new()).unwrap();
            let (text, why) = templates.text("slack", &gpu());
            assert!(text.starts_with("[critical] gpu-server-01: GPU 0"), "{template}: {text}");
            assert_eq!(
                why.unwrap(),
                "template of slack: it makes a text of more than 65536 bytes",
                "{template}"
            );
        }
    }

    #[test]
    fn a_threshold_that_is_not_there_is_nothing() {
        let alert = Alert { threshold: None, ..gpu() };
        let templates = Templates::new("<{{threshold}}>", &BTreeMap::new()).unwrap();
        assert_eq!(templates.text("slack", &alert), ("<>".to_owned(), None));
    }

    #[test]
    fn a_channel_has_its_own_template() {
        let own = BTreeMap::from([("slack".to_owned(), "S {{metric}}".to_owned())]);
        let templates = Templates::new("D", &own).unwrap();
        let text = |channel| templates.text(channel, &gpu()).0;
        assert_eq!([text("slack"), text("syslog")], ["S gpu_temperature_celsius", "D"]);
    }

    #[test]
    fn what_a_variable_holds_means_nothing_to_the_channel() {
        let all = ["discord", "slack", "telegram", "syslog"];
        let own = all.iter().map(|name| ((*name).to_owned(), "<b>{{message}}</b>".to_owned())).collect();
        let templates = Templates::new("", &own).unwrap();
        let alert = Alert { message: "<!channel> & <@&1> *x* @everyone".into(), ..gpu() };
        let text = |channel| templates.text(channel, &alert).0;
        assert_eq!(text("discord"), "<b>\\<!channel\\> & \\<@&1\\> \\*x\\* @everyone</b>");
        for channel in ["slack", "telegram"] {
            assert_eq!(text(channel), "<b>&lt;!channel&gt; &amp; &lt;@&amp;1&gt; *x* @everyone</b>");
        }
        assert_eq!(text("syslog"), "<b><!channel> & <@&1> *x* @everyone</b>");
        let broken = Templates::new("", &[("slack".to_owned(), "{{labels.no}}".to_owned())].into()).unwrap();
        assert!(broken.text("slack", &alert).0.contains("&lt;!channel&gt; &amp;"));
    }

    #[test]
    fn wrong_templates_are_told_at_load() {
        for (template, part) in [
            ("{{", "alerting.templates.default is not a template: "),
            ("{{ sevrity }}", "uses {{sevrity}}, which is not a variable; variables are hostname, "),
            ("{% for x in y %}", "is not a template"),
            ("{% include 'passwd' %}", "is not a template"),
        ] {
            let error = Templates::new(template, &BTreeMap::new()).unwrap_err();
            assert!(error.contains(part), "{template}: {error}");
        }
    }
}
