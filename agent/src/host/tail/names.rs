//! How rotated logs are called. Pure.

/// Endings of packed files: their bytes are no lines.
const PACKED: [&str; 8] = [".gz", ".xz", ".bz2", ".zst", ".lz4", ".lzma", ".zip", ".Z"];
/// Endings of a file that was put aside.
const ASIDE: [&str; 3] = [".old", ".bak", ".prev"];

/// Whether a file is packed, by its name.
pub fn is_packed(name: &str) -> bool {
    PACKED.iter().any(|ending| name.ends_with(ending))
}

/// What a file was called before it was rotated, if its name looks so: `log` for `log.1`, `log-20261122` and
/// `log.old`; `a.log` for `a-20261122.log` and `a.1.log`.
pub fn before_rotation(name: &str) -> Option<String> {
    if let Some(base) = ASIDE.iter().find_map(|ending| name.strip_suffix(ending)) {
        return (!base.is_empty()).then(|| base.to_owned());
    }
    if let Some(base) = without_number(name) {
        return Some(base.to_owned());
    }
    let (stem, ending) = name.rsplit_once('.')?;
    without_number(stem).map(|stem| format!("{stem}.{ending}"))
}

/// Whether `other` is a rotated file of the log `name`, by its name.
pub fn is_rotated_of(other: &str, name: &str) -> bool {
    before_rotation(other).is_some_and(|base| base == name)
}

/// Whether `other` may be a copy or an older file of the log `name`: what is in it has to say so, too.
pub fn is_akin(other: &str, name: &str) -> bool {
    let with = |begin: &str| other.strip_prefix(begin).is_some_and(|rest| rest.starts_with(['.', '-', '_']));
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    !is_packed(other) && (with(name) || (!stem.is_empty() && with(stem) && other.ends_with(ending)))
}

/// Without the number or date at the end, and what stands between.
fn without_number(name: &str) -> Option<&str> {
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '.' | '_' | ':' | 'T');
    let base = name.trim_end_matches(is_number);
    let cut = &name[base.len()..];
    let begins = cut.starts_with(['.', '-']);
    (begins && !base.is_empty() && cut.ends_with(|c: char| c.is_ascii_digit())).then_some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, base: Option<&str>) {
        assert_eq!(before_rotation(name).as_deref(), base, "{name}");
        assert_eq!(base.is_some_and(|base| is_rotated_of(name, base)), base.is_some());
    }

    #[test]
    fn names_of_rotated_files() {
        check("log.1", Some("log"));
        check("log.12", Some("log"));
        check("app.log.1", Some("app.log"));
        check("app.log-20261122", Some("app.log"));
        check("app.log-20261122-1795328516", Some("app.log"));
        check("app.log.2026-11-22", Some("app.log"));
        check("app-2026-11-22.log", Some("app.log"));
        check("app.1.log", Some("app.log"));
        check("app.log.old", Some("app.log"));
        check("app.log", None);
        check("app1.log", None);
        check("app2", None);
        check(".1", None);
        check("1", None);
        check(".old", None);
        check("log.1.gz", Some("log.gz"));
        check("log.", None);
        check("log-", None);
        check("", None);
        check("ü-1", Some("ü"));
        assert!(is_packed("log.1.gz") && is_packed("x.zst") && !is_packed("gz"));
    }

    #[test]
    fn names_that_may_be_copies() {
        let check = |other: &str, name: &str, expect: bool| {
            assert_eq!(is_akin(other, name), expect, "{other} {name}");
        };
        check("log.1", "log", true);
        check("log-copy", "log", true);
        check("log.1.gz", "log", false);
        check("logs", "log", false);
        check("app.1.log", "app.log", true);
        check("app-x.log", "app.log", true);
        check("app-x.txt", "app.log", false);
        check("apple.log", "app.log", false);
        check("log", "log", false);
    }
}
