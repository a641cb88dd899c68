//! Names for addresses in the kernel, from `/proc/kallsyms`.
//!
//! The file has 5 to 15 MB and is made while it is read, which takes some 50 ms: it is read in one go for many
//! addresses, away from those who must not wait, and of it only the names found are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::{Host, HostFile};

const PATH: &str = "/proc/kallsyms";
/// Bytes held of it.
const WINDOW: usize = 64 << 10;
/// Bytes read at most.
const MAX_READ: u64 = 64 << 20;
/// Addresses named in one go at most.
const MAX_ADDRESSES: usize = 4096;
/// Names kept at most; when there are more, all are forgotten.
const MAX_KNOWN: usize = 4096;
/// Longest function: an address farther from the last name belongs to something that has none.
const MAX_FUNCTION: u64 = 1 << 20;

/// Why addresses get no names.
#[derive(Debug, thiserror::Error)]
pub enum NoNames {
    /// Every address in the file is 0.
    #[error("/proc/kallsyms hides the addresses")]
    Hidden,
    /// It cannot be read.
    #[error("/proc/kallsyms cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// Names found so far.
#[derive(Debug, Default)]
pub struct Symbols {
    known: BTreeMap<u64, Box<str>>,
}

impl Symbols {
    /// Finds the names of return addresses that are not known yet. Names in modules are looked up each time: modules
    /// come and go.
    pub fn learn(
        &mut self,
        host: &dyn Host,
        addresses: impl IntoIterator<Item = u64>,
    ) -> Result<(), NoNames> {
        self.known.retain(|_, name| !name.ends_with(']'));
        let fresh =
            addresses.into_iter().filter(|address| *address != 0 && !self.known.contains_key(address));
        let wanted: BTreeSet<u64> = fresh.take(MAX_ADDRESSES).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut search = Search::new(wanted);
        read_lines(&mut *host.open(PATH)?, &mut |line| {
            search.line(line);
            !search.done
        })?;
        if search.hidden() {
            return Err(NoNames::Hidden);
        }
        if self.known.len() + search.finds.len() > MAX_KNOWN {
            self.known.clear();
        }
        self.known.extend(search.names());
        Ok(())
    }

    /// As `/proc/PID/stack` writes it: `function+0x15f/0x1d0 [module]`.
    pub fn name(&self, address: u64) -> Option<&str> {
        self.known.get(&address).map(|name| &**name)
    }

    /// Names of a whole stack; nothing if none of it is known, `?` for single ones.
    pub fn stack(&self, addresses: &[u64]) -> Vec<String> {
        if !addresses.iter().any(|address| self.known.contains_key(address)) {
            return Vec::new();
        }
        addresses.iter().map(|&address| self.name(address).unwrap_or("?").to_owned()).collect()
    }
}

/// Whether this process is shown addresses.
pub fn check(host: &dyn Host) -> Result<(), NoNames> {
    let mut shown = false;
    read_lines(&mut *host.open(PATH)?, &mut |line| {
        let code = parse(line).filter(|symbol| symbol.code);
        shown = code.as_ref().is_some_and(|symbol| symbol.start != 0);
        code.is_none()
    })?;
    if shown { Ok(()) } else { Err(NoNames::Hidden) }
}

/// One line, as far as every line has to be looked at.
struct Symbol<'a> {
    start: u64,
    /// Whether it is a function.
    code: bool,
    /// `ext4_map_blocks\t[ext4]`.
    rest: &'a [u8],
}

/// `ffffffffc0201000 t ext4_map_blocks\t[ext4]`; a hundred thousand of them, so nothing is done twice.
fn parse(line: &[u8]) -> Option<Symbol<'_>> {
    let digits = line.iter().position(|&b| b == b' ').filter(|digits| (1..=16).contains(digits))?;
    let start = line[..digits]
        .iter()
        .try_fold(0, |start: u64, &digit| Some(start << 4 | u64::from(char::from(digit).to_digit(16)?)))?;
    let [kind, b' ', rest @ ..] = &line[digits + 1..] else { return None };
    let code = matches!(kind, b't' | b'T' | b'w' | b'W');
    (!rest.is_empty()).then_some(Symbol { start, code, rest })
}

impl<'a> Symbol<'a> {
    fn in_module(&self) -> bool {
        self.rest.ends_with(b"]")
    }

    /// Name, and `[ext4]` or nothing.
    fn names(&self) -> Option<(&'a str, &'a str)> {
        let mut words = str::from_utf8(self.rest).ok()?.split_ascii_whitespace();
        Some((words.next()?, words.next().unwrap_or("")))
    }
}

/// A search for many addresses at once. The file is in order only in parts.
struct Search {
    finds: Vec<Find>,
    seen: bool,
    /// All names are found; what follows need not be read.
    done: bool,
    /// The last line was below the highest address.
    below: bool,
}

/// The nearest symbols around one address.
struct Find {
    /// The return address, and the last byte of the call before it: a call that never returns may be the
    /// last of its function (`__sprint_symbol` with `-1`, `kernel/kallsyms.c`).
    address: u64,
    inside: u64,
    start: u64,
    end: u64,
    /// `ext4_map_blocks`, a line break (which no word of a line has), ` [ext4]`.
    name: String,
}

impl Find {
    fn is_enclosed(&self) -> bool {
        !self.name.is_empty() && self.end.checked_sub(self.start).is_some_and(|size| size <= MAX_FUNCTION)
    }
}

impl Search {
    fn new(wanted: BTreeSet<u64>) -> Self {
        let find = |address: u64| Find {
            address,
            inside: address - 1,
            start: 0,
            end: u64::MAX,
            name: String::new(),
        };
        Self { finds: wanted.into_iter().map(find).collect(), seen: false, done: false, below: true }
    }

    fn line(&mut self, line: &[u8]) {
        let Some(symbol) = parse(line).filter(|symbol| symbol.start != 0) else { return };
        self.seen = true;
        let first_behind = self.finds.partition_point(|find| find.inside < symbol.start);
        let (before, behind) = self.finds.split_at_mut(first_behind);
        for find in before.iter_mut().rev() {
            if find.end <= symbol.start || symbol.start - find.inside > MAX_FUNCTION {
                break;
            }
            find.end = symbol.start;
        }
        // The kernel's own symbols come first, by address (`scripts/kallsyms.c`): what is enclosed there, is it for good.
        let passed = behind.is_empty() && !symbol.in_module();
        if passed && self.below {
            self.done = before.iter().all(Find::is_enclosed);
        }
        self.below = !passed;
        if !symbol.code {
            return;
        }
        for find in behind {
            if find.inside - symbol.start > MAX_FUNCTION {
                break;
            }
            // Of several names for one place, the kernel takes the first.
            if symbol.start > find.start
                && let Some((name, module)) = symbol.names()
            {
                find.start = symbol.start;
                find.name.clear();
                let space = if module.is_empty() { "" } else { " " };
                find.name.extend([name, "\n", space, module]);
            }
        }
    }

    /// Whether there was not one address.
    fn hidden(&self) -> bool {
        !self.seen
    }

    fn names(self) -> impl Iterator<Item = (u64, Box<str>)> {
        self.finds.into_iter().filter_map(|find| {
            let (name, module) = find.name.split_once('\n')?;
            let (offset, size) = (find.address - find.start, find.end.checked_sub(find.start)?);
            let text = format!("{name}+{offset:#x}/{size:#x}{module}");
            (size <= MAX_FUNCTION).then(|| (find.address, text.into()))
        })
    }
}

/// Calls `each` with every line until it says no. Lines longer than the window are passed over.
fn read_lines(file: &mut dyn HostFile, each: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut window = vec![0; WINDOW];
    let (mut filled, mut at, mut whole) = (0, 0, true);
    while at < MAX_READ {
        let read = file.read_at(at, &mut window[filled..])?.min(WINDOW - filled);
        if read == 0 {
            break;
        }
        (at, filled) = (at + read as u64, filled + read);
        let mut done = 0;
        while let Some(length) = window[done..filled].iter().position(|&b| b == b'\n') {
            if whole && !each(&window[done..done + length]) {
                return Ok(());
            }
            (done, whole) = (done + length + 1, true);
        }
        if done == 0 && filled == WINDOW {
            (done, whole) = (filled, false);
        }
        window.copy_within(done..filled, 0);
        filled -= done;
    }
    if filled > 0 && whole {
        each(&window[..filled]);
    }
    Ok(())
}

#[cfg(test)]
#[path = "kallsyms_tests.rs"]
mod tests;
