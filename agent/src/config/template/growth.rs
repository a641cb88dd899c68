//! What keeps the texts small that a template makes on its way: neither steps nor the size of the result bound them.
//! A name bound to `x ~ x`, thirty times over, is a text of gigabytes after thirty steps.

/// Tags without which no message can do. Others bind names to new texts.
const TAGS: [&str; 8] = ["if", "elif", "else", "endif", "for", "endfor", "raw", "endraw"];

/// Why a template could make texts of any size, as the end of a sentence about it; `None` if it cannot: then no text is
/// longer than its own characters times the longest value, and what one `*` may make (10 MB in minijinja).
pub(super) fn unbounded(text: &str) -> Option<String> {
    let mut tags = text.split("{%").skip(1).map(|rest| rest.split("%}").next().unwrap_or(rest));
    let values = text.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap_or(rest));
    let stars = |inside: &str| inside.matches('*').count();
    if tags.clone().chain(values).any(|inside| stars(inside) > 1) {
        return Some("multiplies twice in one place".to_owned());
    }
    tags.find_map(tag)
}

fn tag(inside: &str) -> Option<String> {
    let inside = inside.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
    let end = inside.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inside.len());
    let (name, rest) = inside.split_at(end);
    if !TAGS.contains(&name) {
        let name = crate::text::clean(name, 40);
        return Some(format!("has the tag `{name}`, which a message does not need"));
    }
    (name == "for" && !is_over_variable(rest)).then(|| "loops over something that is no variable".to_owned())
}

/// `NAME in labels if …`: what it binds is there already.
fn is_over_variable(rest: &str) -> bool {
    let mut words = rest.split_whitespace().skip_while(|word| *word != "in").skip(1).peekable();
    let plain = |word: &str| {
        word != "recursive" && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
    };
    words.peek().is_some() && words.take_while(|word| *word != "if").all(plain) && !rest.contains("recursive")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expect: &str) {
        let why = unbounded(template).unwrap_or_default();
        assert!(why.contains(expect) && why.is_empty() == expect.is_empty(), "{template:?}: {why:?}");
    }

    #[test]
    fn messages_may_choose_and_loop() {
        for template in [
            "",
            "{{ message }} 100 % of {{value * 100}} {# * * #}",
            "{% if labels.mount == '/' %}root{% elif value > 3 %}x{% else %}{{ labels.mount ~ ':' }}{% endif %}",
            "{%- for name in labels -%}{{ name }}={{ labels[name] }} {%+ endfor %}",
            "{% for name in labels if name != 'x' ~ 'y' %}{{ loop.index }}{% endfor %}",
            "{% raw %}{{{% endraw %}",
            "* a list *\n* of stars *",
        ] {
            check(template, "");
        }
    }

    #[test]
    fn what_grows_is_refused() {
        check(&format!("{{% set a = message %}}{}", "{% set a = a ~ a %}".repeat(30)), "`set`");
        check("{%set x%}{{ message }}{%endset%}", "`set`");
        check("{% with a = message %}{% endwith %}", "`with`");
        check("{%\n macro m(x) %}{% endmacro %}", "`macro`");
        check("{% \u{1b}[31m %}", "tag ``");
        check("{% for a in [message ~ message] %}{% for b in [a ~ a] %}{% endfor %}{% endfor %}", "loops");
        check("{% for a in[message] %}{% endfor %}", "loops");
        check("{% for a in labels recursive %}{{ loop(a ~ a) }}{% endfor %}", "loops");
        check("{% for a in labels if a recursive %}{% endfor %}", "loops");
        check("{% for a in\n(message ~ message)\n%}{% endfor %}", "loops");
        check("{% for", "loops");
        check("{{ message * 9999 ~ message * 9999 }}", "multiplies");
        check("{{ value ** 9 }}", "multiplies");
        check("{% if message * 99 * 99 %}{% endif %}", "multiplies");
    }
}
