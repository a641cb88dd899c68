//! `${NAME}`, `${file:/path}` and `${credential:NAME}` in string values.

use std::borrow::Cow;
use std::fmt;

use super::must::Flaw;

/// Looks a variable up; the caller decides where.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces each `${NAME}`; `$${` stands for `${` itself. What was put in is not looked at again.
pub(super) fn expand<'t>(text: &'t str, env: Lookup<'_>) -> Result<Cow<'t, str>, Flaw> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            out.extend([before, "${"]);
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let (name, after) = rest[at + 2..].split_once('}').ok_or_else(unclosed)?;
        out.push_str(&value(name, env)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// A key whose value cannot be had now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Path of the key: `alerting.slack.webhook_url`.
    pub key: String,
    /// What stands for it: `file:/etc/slack`, or the name of a variable.
    pub from: String,
}

impl Lack {
    fn is_file(&self) -> bool {
        self.from.contains(':')
    }

    /// What to do, as a clause.
    pub fn remedy(&self) -> String {
        let from = &self.from;
        if let Some(name) = from.strip_prefix("credential:") {
            return format!(
                "add LoadCredential={name}:/path/of/the/secret to the unit, and look from within it"
            );
        }
        match from.strip_prefix("file:") {
            Some(path) => {
                format!("write the secret alone into {path}, readable for the agent's user (chmod 600)")
            }
            None => {
                format!("set {from} where the agent is started, for example by EnvironmentFile= of its unit")
            }
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_file() {
            write!(f, "{} needs {}, which cannot be read", self.key, self.from)
        } else {
            write!(f, "{} needs the environment variable {}, which is not set", self.key, self.from)
        }
    }
}

/// The first file that a text names and that cannot be read: that is the host's fault, not the text's. With
/// `variables`, the same of those that are not set.
pub(super) fn lacks<'t>(text: &'t str, env: Lookup<'_>, variables: bool) -> Option<&'t str> {
    let begins = text.match_indices("${").filter(|(at, _)| !text[..*at].ends_with('$'));
    let mut names = begins.filter_map(|(at, _)| Some(text[at + 2..].split_once('}')?.0));
    let stands = |name: &str| of_file(name).unwrap_or(variables && is_variable(name));
    names.find(|name| stands(name) && env(name).is_none())
}

/// Whether a name that stands for a file is well formed; none for any other name.
fn of_file(name: &str) -> Option<bool> {
    if let Some(path) = name.strip_prefix("file:") {
        return Some(path.starts_with('/') && !path.chars().any(char::is_control));
    }
    let name = name.strip_prefix("credential:")?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    Some(!name.is_empty() && name.chars().all(good) && !name.starts_with('.'))
}

fn is_variable(name: &str) -> bool {
    let letter = |c: char| c == '_' || c.is_ascii_alphanumeric();
    !name.is_empty() && name.chars().all(letter) && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn file(name: &str, good: bool, env: Lookup<'_>) -> Result<String, Flaw> {
    if !good {
        return Err(Flaw {
            what: "has a `${…}` that does not name a file.".to_owned(),
            fix: "Write `${file:/whole/path}`, or `${credential:NAME}` with a name of the unit's LoadCredential=."
                .to_owned(),
        });
    }
    env(name).ok_or_else(|| Flaw {
        what: format!("needs `{}`, which cannot be read.", crate::text::clean(name, 200)),
        fix: "Make the file, with the secret alone in it, readable for the agent's user; a credential comes with \
              LoadCredential= of the unit."
            .to_owned(),
    })
}

fn value(name: &str, env: Lookup<'_>) -> Result<String, Flaw> {
    if let Some(good) = of_file(name) {
        return file(name, good, env);
    }
    if !is_variable(name) {
        return Err(Flaw {
            what: "has a `${…}` that does not hold the name of a variable.".to_owned(),
            fix: "Use letters, digits and `_`; to write `${` itself, write `$${`.".to_owned(),
        });
    }
    env(name).ok_or_else(|| {
        let name = crate::text::clean(name, 60);
        Flaw {
            what: format!("needs the environment variable {name}, which is not set."),
            fix: format!(
                "Set {name} where the agent is started, for example in a file named by EnvironmentFile= of its unit."
            ),
        }
    })
}

fn unclosed() -> Flaw {
    Flaw {
        what: "has a `${` without its `}`.".to_owned(),
        fix: "Close it; to write `${` itself, write `$${`.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_once() {
        fn check(text: &str, expect: Result<&str, &str>) {
            let env = |name: &str| match name {
                "A" => Some("alpha".to_owned()),
                "_B2" | "file:/run/key" | "credential:key-1.txt" => Some("${A}".to_owned()),
                "EMPTY" => Some(String::new()),
                _ => None,
            };
            let got = expand(text, &env);
            assert_eq!(got.as_deref().map_err(|flaw| flaw.what.as_str()), expect, "{text:?}");
        }
        check("", Ok(""));
        check("plain $A {A}", Ok("plain $A {A}"));
        check("${A}", Ok("alpha"));
        check("<${A}${A}>", Ok("<alphaalpha>"));
        check("${_B2}", Ok("${A}"));
        check("[${EMPTY}]", Ok("[]"));
        check("$${A} ${A}", Ok("${A} alpha"));
        check("a${", Err("has a `${` without its `}`."));
        check("${A", Err("has a `${` without its `}`."));
        check("${}", Err("has a `${…}` that does not hold the name of a variable."));
        check("${1A}", Err("has a `${…}` that does not hold the name of a variable."));
        check("${A B}", Err("has a `${…}` that does not hold the name of a variable."));
        check("${${A}}", Err("has a `${…}` that does not hold the name of a variable."));
        check("<${file:/run/key}> ${credential:key-1.txt}", Ok("<${A}> ${A}"));
        check("${file:/gone}", Err("needs `file:/gone`, which cannot be read."));
        check("${credential:gone}", Err("needs `credential:gone`, which cannot be read."));
        for bad in
            ["file:", "file:key", "credential:", "credential:../key", "credential:a/b", "credential:.x"]
        {
            check(&format!("${{{bad}}}"), Err("has a `${…}` that does not name a file."));
        }
        check("é${GONE}", Err("needs the environment variable GONE, which is not set."));
    }
}
