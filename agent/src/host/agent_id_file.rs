//! The agent's id into the configuration file: `push.agent_id`. All else in the file stays as it is, comments too.

use std::path::Path;

use secrecy::ExposeSecret;
use toml_edit::{DocumentMut, Item, Table, Value, value};

use super::state;
use crate::config::Config;

/// Whether somebody out there knows the agent by that id: the collector API in either direction.
pub fn is_used(config: &Config) -> bool {
    let push = &config.push;
    let urls = [&push.metrics_url, &push.heartbeat_url, &push.log_url];
    config.http.enabled || urls.iter().any(|url| !url.expose_secret().is_empty())
}

/// Writes `id` into the file, if there is none in it. An error is a sentence, and the file is as it was.
pub fn keep(file: &Path, id: &str) -> Result<(), String> {
    let failed = |why: String| format!("push.agent_id is not written into {}: {why}", file.display());
    let text = state::read_user_file(file).map_err(|error| failed(error.to_string()))?;
    let Some(new) = with_id(&text, id).map_err(|why| failed(why.to_owned()))? else { return Ok(()) };
    state::rewrite(file, new.as_bytes()).map_err(|error| failed(error.to_string()))
}

/// The text with `id` in it; none if an id is there. Nothing else of what the text says changes.
fn with_id(text: &str, id: &str) -> Result<Option<String>, &'static str> {
    let mut document: DocumentMut = text.parse().map_err(|_| "it is no TOML any more")?;
    let push = document.entry("push").or_insert_with(|| Item::Table(Table::new()));
    let push = push.as_table_like_mut().ok_or("`push` is no table in it")?;
    match push.get_mut("agent_id").and_then(Item::as_value_mut) {
        // As written, not as read: a variable that is empty today is not ours to replace.
        Some(old) if old.as_str() != Some("") => return Ok(None),
        Some(old) => {
            let around = old.decor().clone();
            *old = Value::from(id);
            *old.decor_mut() = around;
        }
        None => {
            push.insert("agent_id", value(id));
        }
    }
    let mut new = document.to_string();
    // The library knows one end of a line.
    if text.contains('\n') && text.matches('\n').count() == text.matches("\r\n").count() {
        new = new.replace('\n', "\r\n");
    }
    // Whoever reads it next must find what was there.
    let without = |text: &str| {
        let mut table: toml::Table = text.parse().ok()?;
        let push = table.entry("push").or_insert_with(|| toml::Table::new().into()).as_table_mut()?;
        let id = push.remove("agent_id");
        Some((table, id))
    };
    match (without(text), without(&new)) {
        (Some((before, _)), Some((after, Some(kept)))) if before == after && kept.as_str() == Some(id) => {
            Ok(Some(new))
        }
        _ => Err("it is written in a way that is not understood; set it yourself"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_goes_where_a_person_would_write_it() {
        let check = |text: &str, expect: &str| {
            assert_eq!(with_id(text, "5f0c"), Ok(Some(expect.to_owned())), "{text}");
        };
        check("", "[push]\nagent_id = \"5f0c\"\n");
        check(
            "# mine\n[agent]\nhostname = 'a'   # why\n\n[push] # to x\nmetrics_url = \"http://x\"\n\n# end\n[http]\nenabled = true\n",
            "# mine\n[agent]\nhostname = 'a'   # why\n\n[push] # to x\nmetrics_url = \"http://x\"\nagent_id = \"5f0c\"\n\n# end\n[http]\nenabled = true\n",
        );
        check(
            "[push]\n  agent_id =   \"\"  # made by the agent\n  interval_secs = 5\n",
            "[push]\n  agent_id =   \"5f0c\"  # made by the agent\n  interval_secs = 5\n",
        );
        check("push.metrics_url = 'http://x'\n", "push.metrics_url = 'http://x'\npush.agent_id = \"5f0c\"\n");
        check("push = { interval_secs = 5 }\n", "push = { interval_secs = 5 , agent_id = \"5f0c\" }\n");
        check("[http]\nenabled = true", "[http]\nenabled = true\n\n[push]\nagent_id = \"5f0c\"\n");
        check(
            "[[alerting.rules]]\r\nname = 'x'\r\n",
            "[[alerting.rules]]\r\nname = 'x'\r\n\r\n[push]\r\nagent_id = \"5f0c\"\r\n",
        );
    }

    #[test]
    fn what_is_there_stays() {
        for text in [
            "[push]\nagent_id = \"mine\"",
            "[push]\nagent_id = \"${ID}\"",
            "push = { agent_id = 'x' }",
            "[push]\nagent_id = 5",
        ] {
            assert_eq!(with_id(text, "5f0c"), Ok(None), "{text}");
        }
        for text in ["push = 5", "[[push]]\nagent_id = ''", "[push", "a = 1\na = 2"] {
            assert!(with_id(text, "5f0c").is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        assert!(keep(&file, "5f0c").unwrap_err().contains("config.toml"));
        std::fs::write(&file, "[push]\nauth_key = 's3cret'\n").unwrap();
        std::fs::hard_link(&file, dir.path().join("other")).unwrap();
        let why = keep(&file, "5f0c").unwrap_err();
        assert!(why.contains("several names") && !why.contains("s3cret"), "{why}");
        std::fs::remove_file(dir.path().join("other")).unwrap();
        keep(&file, "5f0c").unwrap();
        keep(&file, "another").unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, "[push]\nauth_key = 's3cret'\nagent_id = \"5f0c\"\n");
    }
}
