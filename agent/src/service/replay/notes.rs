//! What could not be used, and in which line: each kind once, with the first line and how many there were.

use std::collections::BTreeMap;

/// Kinds told at most.
const MAX_KINDS: usize = 32;

#[derive(Debug)]
struct Note {
    line: u64,
    text: String,
    count: u64,
}

/// All that is to be said.
#[derive(Debug, Default)]
pub(super) struct Notes {
    kinds: BTreeMap<&'static str, Note>,
    /// Of kinds that found no room.
    others: u64,
}

impl Notes {
    /// Something of this kind in this line.
    pub(super) fn add(&mut self, kind: &'static str, line: u64, text: impl Into<String>) {
        self.add_with(kind, line, || text.into());
    }

    /// The same; the text is made for the first one only.
    pub(super) fn add_with(&mut self, kind: &'static str, line: u64, text: impl FnOnce() -> String) {
        if let Some(note) = self.kinds.get_mut(kind) {
            note.count += 1;
        } else if self.kinds.len() < MAX_KINDS {
            self.kinds.insert(kind, Note { line, text: text(), count: 1 });
        } else {
            self.others += 1;
        }
    }

    /// A sentence each, in the order of the lines.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut all: Vec<&Note> = self.kinds.values().collect();
        all.sort_by_key(|note| note.line);
        let more = |count: u64| if count > 1 { format!(" ({count} times in all)") } else { String::new() };
        let line = |note: &&Note| format!("line {}: {}{}", note.line, note.text, more(note.count));
        let mut lines: Vec<String> = all.iter().map(line).collect();
        lines.extend((self.others > 0).then(|| format!("{} further lines could not be used", self.others)));
        lines
    }
}
