//! Small files of `/sys`.

use crate::host::{Host, read_text};
use crate::text::clean;

/// Characters of a value; the longest real ones are model names.
const MAX_VALUE: usize = 256;

/// Content of a one-line file, made harmless; `None` where it cannot be read or says nothing.
pub(super) fn value(host: &dyn Host, path: &str) -> Option<String> {
    tidy(&read_text(host, path).ok()?)
}

/// A value without blanks around it and control characters in it; empty is `None`.
pub(super) fn tidy(text: &str) -> Option<String> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| clean(text, MAX_VALUE))
}

/// A one-line file with a number.
pub(super) fn number(host: &dyn Host, path: &str) -> Option<u64> {
    read_text(host, path).ok()?.trim().parse().ok()
}

/// Entries of a directory, sorted; none where it cannot be read.
pub(super) fn entries(host: &dyn Host, path: &str) -> Vec<String> {
    let mut names = Vec::new();
    // A directory that ends with an error gives what came before.
    let _ = host.list(path, &mut |name| {
        if names.len() < MAX_ENTRIES {
            names.push(name.to_owned());
        }
    });
    names.sort_unstable();
    names
}

/// Entries of one directory; further ones are left out of the inventory.
const MAX_ENTRIES: usize = 8192;

/// Numbers of the entries `prefixN`, in order.
pub(super) fn numbered(host: &dyn Host, path: &str, prefix: &str) -> Vec<u32> {
    let number = |name: &String| name.strip_prefix(prefix)?.parse().ok();
    let mut numbers: Vec<u32> = entries(host, path).iter().filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}
