//! `status`, `alerts` and `silence`: what is asked, and what is printed of the answer.

use std::path::Path;

use serde::Serialize;

use super::client::ask;
use super::protocol::{Alerts, Request, Status};
use super::table;
use crate::cli::{Command, Silence};
use crate::engine::control::{Answer, NewSilence};
use crate::text::{clean, span};

/// What to print; none for a command that does not ask the agent. An error is a sentence.
pub fn run(command: &Command, data_dir: &Path) -> Option<Result<String, String>> {
    Some(match command {
        Command::Status { json } => {
            ask(data_dir, &Request::Status).and_then(|answer: Status| show(&answer, *json, table::status))
        }
        Command::Alerts { json } => {
            ask(data_dir, &Request::Alerts).and_then(|answer: Alerts| show(&answer, *json, table::alerts))
        }
        Command::Silence(wish) => silence(wish, data_dir),
        _ => return None,
    })
}

fn show<T: Serialize>(answer: &T, json: bool, table: impl Fn(&T) -> String) -> Result<String, String> {
    if !json {
        return Ok(table(answer));
    }
    let text = serde_json::to_string_pretty(answer);
    text.map(|text| text + "\n").map_err(|error| format!("the answer is no JSON: {error}"))
}

/// A line about what is not on disk, if it is not.
fn until_restart(what: &str, why: Option<&str>) -> String {
    why.map_or(String::new(), |why| format!("{what}: {}\n", clean(why, 300)))
}

fn silence(wish: &Silence, data_dir: &Path) -> Result<String, String> {
    let request = match (wish.revoke, &wish.matcher) {
        (Some(id), _) => Request::Revoke { id },
        (None, Some(matcher)) => Request::Silence(NewSilence {
            matcher: matcher.clone(),
            labels: wish.label.iter().cloned().collect(),
            secs: wish.secs.unwrap_or_default(),
            reason: wish.reason.clone().unwrap_or_default(),
            by: String::new(),
            force: wish.force,
        }),
        (None, None) => {
            let answer: Alerts = ask(data_dir, &Request::Alerts)?;
            return show(&answer.view.silences, wish.json, |all| table::silences(all));
        }
    };
    let answer: Answer = ask(data_dir, &request)?;
    show(&answer, wish.json, |answer| match answer {
        Answer::Silenced { id, unkept } => {
            let what = clean(wish.matcher.as_deref().unwrap_or_default(), 200);
            let time = span(wish.secs.unwrap_or_default());
            let unkept = until_restart("it holds only until the agent is restarted", unkept.as_deref());
            format!(
                "silence {id}: {what} for {time}; end it with: sysops-agent silence --revoke {id}\n{unkept}"
            )
        }
        Answer::Revoked { silence: was, unkept } => {
            let what = clean(&was.matcher, 200);
            let unkept = until_restart("a restart of the agent may bring it back", unkept.as_deref());
            format!("silence {} of {what} is over; it held back {} alerts\n{unkept}", was.id, was.held)
        }
        Answer::Reloaded { .. } => String::new(),
    })
}
