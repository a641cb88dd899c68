//! Writes the mails about some alerts as HTML pages into a directory: `cargo xtask mail-picture` makes pictures of them.
#![expect(clippy::disallowed_methods, reason = "writes files")]

#[path = "../tests/rendered/alerts.rs"]
mod alerts;

use std::process::ExitCode;

use sysops_agent::notify::mail_html;

fn main() -> ExitCode {
    let Some(dir) = std::env::args().nth(1).map(std::path::PathBuf::from) else {
        eprintln!("usage: mail_pages DIRECTORY");
        return ExitCode::FAILURE;
    };
    for (n, (_, alert)) in alerts::all().into_iter().enumerate() {
        let page = dir.join(format!("{n}.html"));
        if let Err(error) = std::fs::write(&page, mail_html::page(&alert)) {
            eprintln!("{} cannot be written: {error}", page.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
