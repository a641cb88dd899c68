//! Files that `replay` is given: anything, as a user may name any file.

use sysops_agent::config::Config;
use sysops_agent::service::replay::{Options, Trouble, run};

/// Sentences about one file, at most.
const MAX_SAID: usize = 1200;

/// The same file twice gives the same lines; each is an alert with what is promised of it.
pub(crate) fn file(data: &[u8]) {
    let first = replay(data);
    assert_eq!(first, replay(data), "not the same again");
    for line in first.0.lines() {
        let alert: serde_json::Value = serde_json::from_str(line).expect("JSON");
        for key in ["timestamp", "severity", "metric", "analyzer", "message"] {
            assert!(alert[key].is_string(), "{key} in {line}");
        }
    }
    assert!(first.1.len() <= MAX_SAID, "{} sentences", first.1.len());
    for line in first.1.iter().chain(&first.2) {
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    }
}

fn replay(data: &[u8]) -> (String, Vec<String>, Option<String>) {
    let (mut out, mut said) = (Vec::new(), Vec::new());
    let options = Options { json: true, ends: true };
    let done = run(&Config::default(), data, options, &mut out, &mut |line| said.push(line.to_owned()));
    let problem = match done {
        Ok(_) => None,
        Err(Trouble::Input(problem)) => Some(problem),
        Err(Trouble::Output(error)) => panic!("a vector takes everything: {error}"),
    };
    (String::from_utf8(out).expect("text"), said, problem)
}
