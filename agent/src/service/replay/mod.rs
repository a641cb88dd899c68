//! `replay`: what was recorded, through the engine as it is configured, at full speed; prints what would have alerted.
//!
//! ```text
//! file ─► input (zstd, lines) ─► csv | json | log ─► drive (the engine's clock) ─► report
//!                                     └► notes: what could not be used, and in which line
//! ```
//!
//! No clock and no host is asked: times and names are those of the file, so that the same input gives the same output.

mod clock;
mod convert;
mod csv;
mod drive;
pub mod input;
mod json;
mod log;
mod notes;
mod report;
mod rules;
mod series;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::path::Path;

use crate::config::Config;
use input::{Input, Kind};
use notes::Notes;
use report::Report;
pub use rules::log as log_by_rules;

/// How it is printed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A JSON object a line.
    pub json: bool,
    /// The ends of alerts too.
    pub ends: bool,
}

/// What may go wrong, as a sentence; nothing if the reader of the output went away.
#[derive(Debug)]
pub enum Trouble {
    /// The input.
    Input(String),
    /// The output.
    Output(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Runs `file` through the engine and prints what it says. The error is a sentence.
#[expect(clippy::disallowed_methods, reason = "a file that the user names, read once")]
pub fn file(config: &Config, file: &Path, options: Options) -> Result<(), String> {
    let name = file.display().to_string();
    let wrong = |error: io::Error| format!("{name} cannot be read: {error}");
    let opened = File::open(file).map_err(wrong)?;
    let meta = opened.metadata().map_err(wrong)?;
    if meta.is_dir() {
        return Err(format!("{name} is a directory; name a recording, a CSV file or a log"));
    }
    let size = meta.is_file().then_some(meta.len());
    let (reader, progress) = input::Progress::of(opened, size.filter(|_| io::stderr().is_terminal()));
    let out = BufWriter::new(io::stdout().lock());
    match run(config, BufReader::with_capacity(1 << 18, reader), options, out, &mut |line| {
        // Nobody may be looking.
        let _ = writeln!(io::stderr(), "{line}");
    }) {
        // A reader that went away (`| head`) is no error.
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Trouble::Output(error)) => Err(format!("the output cannot be written: {error}")),
        Err(Trouble::Input(problem)) => Err(format!("{name}: {problem}")),
        Ok(inputs) => {
            progress.done(inputs, "readings and events");
            Ok(())
        }
    }
}

/// Runs `input` through an engine with this configuration: alerts to `out`, what could not be used to `say`. How many
/// readings and events it had.
pub fn run<'i>(
    config: &Config,
    input: impl BufRead + 'i,
    options: Options,
    out: impl Write,
    say: &mut dyn FnMut(&str),
) -> Result<u64, Trouble> {
    let mut input = Input::open(input).map_err(Trouble::Input)?;
    let mut notes = Notes::default();
    let mut report = Report::new(options, out);
    let done = match input.kind() {
        Kind::Json => json::run(config, &mut input, &mut report, &mut notes),
        Kind::Csv => csv::run(config, &mut input, &mut report, &mut notes),
        Kind::Log => log::run(config, &mut input, &mut report, &mut notes),
    };
    if let Some(torn) = input.torn() {
        notes.add("torn", input.number(), torn);
    }
    for line in notes.lines() {
        say(&line);
    }
    done?;
    let inputs = report.inputs();
    if inputs == 0 {
        return Err(Trouble::Input("there is nothing in it that could be replayed".to_owned()));
    }
    for line in report.finish()? {
        say(&line);
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests;
