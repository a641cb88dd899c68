//! Message templates: their variables, and the check before the first alert.

mod growth;

use std::collections::BTreeMap;
use std::io;

use minijinja::{Environment, Error, ErrorKind, Template, UndefinedBehavior, Value};

use super::must::Flaw;
use super::near;

/// What a template may use.
pub const TEMPLATE_VARIABLES: &[&str] =
    &["hostname", "severity", "metric", "value", "threshold", "message", "timestamp", "labels", "trend"];

/// The same for `message` of a rule, which makes the message.
pub(super) const RULE_VARIABLES: &[&str] =
    &["hostname", "severity", "metric", "value", "threshold", "timestamp", "labels", "trend"];

/// Longest template, characters.
const LONGEST: usize = 4096;

/// Steps of one rendering; a message takes some dozens. Loops over the characters of a text, one in another, have no
/// other end.
const MAX_STEPS: u64 = 20_000;

/// Longest text that a template may make, bytes. One that makes more fails: when it is checked, or when it is filled in.
pub const MAX_RENDERED: usize = 64 << 10;

/// Where templates are checked and rendered: no escaping, no files, an unknown name is an error.
pub fn template_environment() -> Environment<'static> {
    let mut env = Environment::empty();
    env.set_fuel(Some(MAX_STEPS));
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env
}

/// Fills in a template.
///
/// # Errors
/// That of the template, or that its text gets longer than [`MAX_RENDERED`].
pub fn render(template: &Template<'_, '_>, values: impl Into<Value>) -> Result<String, Error> {
    let mut text = Limited::default();
    let done = template.render_captured_to(values, &mut text);
    if text.is_full {
        let what = format!("it makes a text of more than {MAX_RENDERED} bytes");
        return Err(Error::new(ErrorKind::InvalidOperation, what));
    }
    done?;
    Ok(String::from_utf8_lossy(&text.bytes).into_owned())
}

#[derive(Default)]
struct Limited {
    bytes: Vec<u8>,
    is_full: bool,
}

impl io::Write for Limited {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + more.len() > MAX_RENDERED {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a template could make texts of any size on its way, as the end of a sentence about it; `None` if it cannot.
pub fn unbounded(text: &str) -> Option<String> {
    growth::unbounded(text)
}

/// Parses the template and renders it once with sample values.
pub(super) fn check(text: &str, variables: &[&str]) -> Result<(), Flaw> {
    let fix = || format!("Variables are {}.", variables.join(", "));
    if text.chars().count() > LONGEST {
        let fix = format!("Shorten it to at most {LONGEST} characters.");
        return Err(Flaw { what: "is a template too long for a message.".to_owned(), fix });
    }
    let env = template_environment();
    let broken = |why: &Error| Flaw {
        what: format!("is not a template: {}.", reason(why)),
        fix: format!("Write a variable as `{{{{message}}}}`. {}", fix()),
    };
    let template = env.template_from_str(text).map_err(|why| broken(&why))?;
    let mut used: Vec<_> = template.undeclared_variables(false).into_iter().collect();
    used.sort();
    if let Some(name) = used.iter().find(|name| !variables.contains(&name.as_str())) {
        let fix = match near::nearest(name, variables.iter().copied()) {
            Some(known) => format!("Did you mean `{{{{{known}}}}}`? {}", fix()),
            None => fix(),
        };
        let name = crate::text::clean(name, 40);
        return Err(Flaw { what: format!("uses `{{{{{name}}}}}`, which is not a variable."), fix });
    }
    if let Some(why) = growth::unbounded(text) {
        let fix = "Use variables, `{% if … %}` and `{% for name in labels %}`, and one `*` in one place.";
        return Err(Flaw { what: format!("{why}."), fix: fix.to_owned() });
    }
    match render(&template, samples()) {
        // A label that this sample does not have may be there in the alert.
        Err(why) if why.kind() != ErrorKind::UndefinedError => Err(broken(&why)),
        _ => Ok(()),
    }
}

/// Names of labels that a template uses, as `labels.name`; none if it is no template.
pub(super) fn labels_in(text: &str) -> Vec<String> {
    let env = template_environment();
    let Ok(template) = env.template_from_str(text) else { return Vec::new() };
    let used = template.undeclared_variables(true).into_iter();
    let labels = used.filter_map(|name| name.strip_prefix("labels.").map(str::to_owned));
    let mut names: Vec<String> = labels.filter(|name| !name.contains('.')).collect();
    names.sort();
    names
}

fn reason(why: &Error) -> String {
    let text = why.detail().map_or_else(|| why.kind().to_string(), str::to_owned);
    crate::text::clean(&text, 120)
}

fn samples() -> BTreeMap<&'static str, Value> {
    let sample = |&name: &&'static str| match name {
        "value" | "threshold" => (name, Value::from(1.5)),
        "labels" => (name, Value::from(BTreeMap::from([("mount", "/")]))),
        _ => (name, Value::from(name)),
    };
    TEMPLATE_VARIABLES.iter().map(sample).collect()
}
