//! The shape of the code as a test: which module may know which, what the pure core may not name, and
//! how long a file may be. The order itself is explained in `docs/DESIGN.md`.
#![expect(clippy::disallowed_methods, reason = "reads the source files")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The types everything is made of.
const BASE: &[&str] = &["alert", "cgroup", "event", "metric", "sample", "text", "time"];

/// Module, and what it may use besides itself and [`BASE`].
const LAYERS: &[(&str, &[&str])] = &[
    ("alert", &[]),
    ("cgroup", &[]),
    ("event", &[]),
    ("metric", &[]),
    ("sample", &[]),
    ("text", &[]),
    ("time", &[]),
    ("config", &[]),
    ("analyze", &["config"]),
    ("history", &[]),
    ("engine", &["analyze", "config", "history"]),
    ("host", &["config"]),
    ("collect", &["config", "host"]),
    ("inventory", &["config", "host"]),
    ("watch", &["config", "host"]),
    // Gives histograms as an ordinary collector and records as ordinary events.
    ("ebpf", &["collect", "config", "host"]),
    ("notify", &["config", "host"]),
    // Its JSON is the object that is pushed.
    ("serve", &["config", "host", "push"]),
    // Metrics and inventory to a server; the connection is that of the alerts' channel.
    ("publish", &["config", "host", "inventory", "notify"]),
    // The newest values to an HTTP collector: the same requests as alerts, the same pace and visits to the disk as NATS.
    ("push", &["config", "host", "notify", "publish"]),
    // Log lines to the same collector by the same signed requests.
    ("ship", &["config", "host", "notify", "push"]),
    // The table of computed metrics: the engine's formulas over the collectors' metrics.
    ("formulas", &["collect", "engine"]),
];

/// Modules that tie the others together and may know everybody.
const TOP: &[&str] = &["capture", "cli", "command", "edge", "lib", "main", "service"];

/// File, module it may use against the table, and why. None is needed: what the engine has to know of
/// single metrics (formulas, rules) is data that `service` hands in.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// Modules, and words that are not theirs to use.
const FORBIDDEN: &[(&[&str], &[&str], &str)] = &[
    (
        &["analyze", "engine", "history", "alert", "cgroup", "event", "metric", "sample", "text", "time"],
        &[
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "std::thread",
            "std::io::",
            "rustix::",
            "tokio::",
            "async fn",
            ".await",
            "Instant::now",
            "SystemTime",
            "Timestamp::now",
            "Zoned::now",
            "Mutex",
            "RwLock",
            "println!",
            "tracing::",
        ],
        "the core is pure: no I/O, clock, thread, lock or log",
    ),
    (&["collect", "inventory"], &["async fn", ".await", "tokio::"], "a read of /proc never waits"),
];

/// Longest file without its tests, lines.
const MAX_LINES: usize = 400;
/// Longest main.rs, lines.
const MAX_MAIN_LINES: usize = 80;
/// File that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// `unwrap` and `expect` calls outside tests, per thousand lines: fewer than this.
const MAX_UNWRAPS_PER_THOUSAND: f64 = 2.0;

/// A source file without its tests and comments.
struct Source {
    /// Path below `agent/src`.
    name: String,
    /// Code lines; comments are blank.
    code: String,
}

impl Source {
    /// The module of the first level it belongs to.
    fn module(&self) -> &str {
        let first = self.name.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// How many `super::` lead from here to the root of the crate.
    fn depth(&self) -> usize {
        let parts = self.name.split('/').count();
        if self.name.ends_with("/mod.rs") || !self.name.contains('/') { parts.max(2) - 1 } else { parts }
    }
}

#[test]
fn modules_know_only_the_layers_before_them() {
    let mut wrong = Vec::new();
    for source in sources() {
        let module = source.module();
        if TOP.contains(&module) {
            continue;
        }
        let Some((_, may)) = LAYERS.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}: module `{module}` has no row in LAYERS: give it its place", source.name));
            continue;
        };
        for used in uses(&source.code, source.depth()) {
            let fine = used == module || BASE.contains(&&*used) || may.contains(&&*used);
            let excepted = EXCEPTIONS.iter().any(|(file, what, _)| *file == source.name && *what == used);
            if !fine && !excepted {
                wrong.push(format!("{}: `{module}` may not know `{used}`", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_stays_pure() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (_, words, why) in FORBIDDEN.iter().filter(|(modules, ..)| modules.contains(&source.module())) {
            for word in *words {
                for (number, _) in
                    source.code.lines().enumerate().filter(|(_, line)| contains_word(line, word))
                {
                    wrong.push(format!("{}:{}: `{word}`: {why}", source.name, number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.code.lines().count();
        let limit = if source.name == "main.rs" { MAX_MAIN_LINES } else { MAX_LINES };
        if lines > limit && !LONG_FILES.iter().any(|(file, _)| *file == source.name) {
            wrong.push(format!("{}: {lines} lines without tests, {limit} are allowed", source.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_undone_and_little_can_panic() {
    let (mut lines, mut places) = (0, Vec::new());
    for source in sources() {
        for (number, line) in source.code.lines().enumerate() {
            lines += 1;
            for word in ["todo!", "unimplemented!"] {
                assert!(!contains_word(line, word), "{}:{}: `{word}`", source.name, number + 1);
            }
            if line.contains(".unwrap()") || line.contains(".expect(\"") {
                places.push(format!("{}:{}: {}", source.name, number + 1, line.trim()));
            }
        }
    }
    let rate = places.len() as f64 * 1000.0 / f64::from(lines);
    assert!(rate < MAX_UNWRAPS_PER_THOUSAND, "{rate:.1} per thousand lines:\n{}", places.join("\n"));
}

#[test]
fn exceptions_are_still_needed() {
    let sources = sources();
    for (file, what, _) in EXCEPTIONS {
        if let Some(source) = sources.iter().find(|s| s.name == *file) {
            let used = uses(&source.code, source.depth());
            assert!(used.contains(*what), "{file} no longer uses {what}: remove the exception");
        }
    }
    for (file, _) in LONG_FILES {
        let source = sources.iter().find(|s| s.name == *file);
        let lines = source.map_or(0, |s| s.code.lines().count());
        assert!(lines > MAX_LINES, "{file} has {lines} lines: remove the exception");
    }
}

/// Every file below `agent/src` but the ones that hold tests only.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    assert!(files.len() > 10, "the sources are in {}", root.display());
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file is text");
        let name = path.strip_prefix(&root).expect("walked from there").to_string_lossy().into_owned();
        Source { name, code: code(&text) }
    };
    files.into_iter().map(source).collect()
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a source folder can be listed") {
        let path = entry.expect("an entry of a source folder").path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "tests" {
            walk(&path, files);
        } else if name.to_string_lossy().ends_with(".rs") && !is_test_file(&name.to_string_lossy()) {
            files.push(path);
        }
    }
}

fn is_test_file(name: &str) -> bool {
    name == "tests.rs" || name == "testing.rs" || name.ends_with("_tests.rs")
}

/// The text up to its inline test module, which is the last thing in a file; whole-line comments blanked.
fn code(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_test_module = |i: usize| {
        let inline = |next: &&str| next.starts_with("mod ") && next.ends_with('{');
        lines[i] == "#[cfg(test)]" && lines.get(i + 1).is_some_and(inline)
    };
    let end = (0..lines.len()).find(|&i| is_test_module(i)).unwrap_or(lines.len());
    let blank = |line: &&str| if line.trim_start().starts_with("//") { "" } else { *line }.to_owned();
    lines[..end].iter().map(blank).collect::<Vec<_>>().join("\n")
}

/// Modules of the first level that the code names, through `crate::` or through `depth` times `super::`.
fn uses(code: &str, depth: usize) -> BTreeSet<String> {
    let ladder = "super::".repeat(depth);
    let mut found = BTreeSet::new();
    for prefix in ["crate::", &ladder] {
        for (at, _) in code.match_indices(prefix) {
            // `super::super::x` holds `super::` twice: only the whole ladder counts, from its first rung.
            let before = &code[..at];
            let part_of_word =
                before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$');
            if !part_of_word {
                found.extend(heads(&code[at + prefix.len()..]));
            }
        }
    }
    found.remove("super");
    // `super::*` and macros name nothing.
    found.remove("");
    found
}

/// The first names of `a::b`, or of each member of `{a::b, c::{d, e}}`, at the start of `rest`.
fn heads(rest: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = rest.strip_prefix('{') else { return vec![word(rest)] };
    let (mut nesting, mut names, mut start) = (0, vec![word(group)], 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => nesting += 1,
            '}' if nesting == 0 => break,
            '}' => nesting -= 1,
            ',' if nesting == 0 => start = at + 1,
            _ => {}
        }
        if start == at + 1 {
            names.push(word(&group[start..]));
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Whether `word` stands in the line and is not the end of a longer word.
fn contains_word(line: &str, word: &str) -> bool {
    let boundary = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| word.starts_with('.') || boundary(at))
}

#[test]
fn uses_are_found_however_they_are_written() {
    let check = |code: &str, depth: usize, expect: &[&str]| {
        let found: Vec<_> = uses(code, depth).into_iter().collect();
        assert_eq!(found, expect, "{code:?}");
    };
    check("use crate::engine::Step;", 1, &["engine"]);
    check("use crate::{engine, collect::{cpu, mem}, text::clean};", 1, &["collect", "engine", "text"]);
    check("use crate::{\n    engine::Step,\n    time::Now,\n};", 1, &["engine", "time"]);
    check("let x: crate::host::Uname = y;", 1, &["host"]);
    check("pub(crate) fn f() {}", 1, &[]);
    check("use super::Thing;", 1, &["Thing"]);
    check("use super::Thing;", 2, &[]);
    check("use super::super::notify::Outbox;", 2, &["notify"]);
    check("use super::super::Metric;", 1, &[]);
    check("use mycrate::engine;", 1, &[]);
    check("use agent_common::limits;", 1, &[]);
    check("", 1, &[]);
}

#[test]
fn tests_and_comments_are_no_code() {
    let check = |text: &str, expect: &str| assert_eq!(code(text), expect, "{text:?}");
    check("fn a() {}\n#[cfg(test)]\nmod tests {\n    use crate::x;\n}\n", "fn a() {}");
    check("// use crate::x;\nfn a() {}", "\nfn a() {}");
    check("#[cfg(test)]\nuse std::fs;\nfn a() {}", "#[cfg(test)]\nuse std::fs;\nfn a() {}");
    check("#[cfg(test)]\nmod tests;\nfn a() {}", "#[cfg(test)]\nmod tests;\nfn a() {}");
    check("", "");
}

#[test]
fn words_end_where_they_end() {
    for (line, word, expect) in [
        ("use std::fs::File;", "std::fs", true),
        ("x.await?", ".await", true),
        ("let a = MyMutex;", "Mutex", false),
        ("Mutex::new(1)", "Mutex", true),
        ("eprintln!(\"\")", "println!", false),
        ("", "Mutex", false),
    ] {
        assert_eq!(contains_word(line, word), expect, "{word:?} in {line:?}");
    }
}
