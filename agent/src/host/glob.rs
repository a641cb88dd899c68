//! Name patterns of `exclude_*`: `*` stands for any text, `?` for one character, all else for itself.

/// Patterns of which one has to fit.
#[derive(Clone, Debug, Default)]
pub struct Globs(Box<[Box<str>]>);

impl Globs {
    /// Patterns as the configuration has them.
    pub fn new<P: AsRef<str>>(patterns: &[P]) -> Self {
        Self(patterns.iter().map(|p| p.as_ref().into()).collect())
    }

    /// Whether a pattern fits the whole name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, name))
    }
}

/// Linear in both but for the steps back to the last `*`: at most their product.
fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    let mut star = None;
    loop {
        let (p, n) = (pattern.clone().next(), name.clone().next());
        match (p, n) {
            (Some('*'), _) => {
                pattern.next();
                star = Some((pattern.clone(), name.clone()));
            }
            (None, None) => return true,
            (Some(p), Some(n)) if p == '?' || p == n => {
                pattern.next();
                name.next();
            }
            _ => {
                let Some((after_star, from)) = star.as_mut() else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pattern, name) = (after_star.clone(), from.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expect) in [
            ("lo", "lo", true),
            ("lo", "lo0", false),
            ("loop*", "loop12", true),
            ("loop*", "loop", true),
            ("loop*", "xloop1", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("ram?", "ram0", true),
            ("ram?", "ram10", false),
            ("*da*", "sda1", true),
            ("a*b*c", "axxbxxbc", true),
            ("a*b*c", "axxbxxb", false),
            ("/var/lib/docker/*", "/var/lib/docker/overlay2/x/merged", true),
            ("größe?", "größen", true),
            ("***a", "bbba", true),
        ] {
            assert_eq!(Globs::new(&[pattern]).matches(name), expect, "{pattern} {name}");
        }
        assert!(!Globs::default().matches(""));
        assert!(Globs::new(&["a", "b*"]).matches("bc"));
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        assert!(!Globs::new(&["*a".repeat(50)]).matches(&"a".repeat(2000).replace("aaaa", "ab")));
    }
}
