//! Which tests failed, read from what `cargo test` prints: with `--nocapture` the word FAILED stands far from the name.

/// Reads the output, a line at a time.
#[derive(Debug, Default)]
pub struct Failures {
    program: String,
    in_list: bool,
    /// Program and name of each.
    pub names: Vec<String>,
}

impl Failures {
    /// Takes in a line.
    pub fn read(&mut self, line: &str) {
        if let Some(rest) = line.trim_start().strip_prefix("Running ") {
            // `Running tests/e2e_io.rs (target/debug/deps/e2e_io-0123)`.
            rest.split_whitespace().next().unwrap_or_default().clone_into(&mut self.program);
            self.in_list = false;
        }
        match line.strip_prefix("    ") {
            Some(name) if self.in_list && !name.trim().is_empty() => {
                let name = format!("{}: {name}", self.program);
                if !self.names.contains(&name) {
                    self.names.push(name);
                }
            }
            // The list comes twice, the first time with what each test printed.
            _ => self.in_list = line == "failures:" || self.in_list && line.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tests_are_named_with_their_program() {
        let mut failures = Failures::default();
        let text = "     Running tests/a.rs (target/a-1)\n\ntest x ... noise\nFAILED\n\nfailures:\n\nfailures:\n    x\n    m::y\n\n\
                    test result: FAILED. 1 passed\n    not a name\n     Running tests/b.rs (target/b-1)\ntest z ... ok\n";
        text.lines().for_each(|line| failures.read(line));
        assert_eq!(failures.names, ["tests/a.rs: x", "tests/a.rs: m::y"]);
    }
}
