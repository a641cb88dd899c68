//! The agent's own id: what tells two hosts of one name apart. Configured (`push.agent_id`), else made once and kept in
//! `data_dir/agent-id`. An image that hosts are cloned from must not hold that file.

use std::io;
use std::path::PathBuf;

use super::{Host, read_text, state};
use crate::config::Config;
use crate::text::clean;

/// Longest id, characters.
const MAX_ID: usize = 64;

fn path(config: &Config) -> PathBuf {
    config.agent.data_dir.join("agent-id")
}

/// What can be an id: it stands in subjects' payloads and in headers.
fn valid(id: &str) -> Option<String> {
    let id = id.trim();
    let fits = !id.is_empty() && id.len() <= MAX_ID && id.chars().all(|c| c.is_ascii_graphic());
    fits.then(|| id.to_owned())
}

/// The id, if there is one already.
pub fn known(config: &Config) -> Option<String> {
    let configured = &config.push.agent_id;
    if !configured.is_empty() {
        return Some(clean(configured, MAX_ID).replace(|c: char| !c.is_ascii_graphic(), "_"));
    }
    let stored = state::read(&path(config)).ok().flatten()?;
    valid(str::from_utf8(&stored).ok()?)
}

/// The id; makes and keeps one where there is none. The error says why it will be another one after the next start.
pub fn ensure(config: &Config, host: &dyn Host) -> (String, Option<String>) {
    if let Some(id) = known(config) {
        return (id, None);
    }
    // The kernel makes one for whoever reads it (drivers/char/random.c).
    let made = read_text(host, "/proc/sys/kernel/random/uuid").ok();
    let Some(id) = made.as_deref().and_then(valid) else {
        let name = clean(&host.uname().nodename, MAX_ID).replace(|c: char| !c.is_ascii_graphic(), "_");
        return (
            name,
            Some(
                "/proc/sys/kernel/random/uuid cannot be read; the host's name stands for the agent's id"
                    .into(),
            ),
        );
    };
    let path = path(config);
    let kept = state::usable_dir(&config.agent.data_dir)
        .and_then(|()| state::replace(&path, format!("{id}\n").as_bytes(), 0o644));
    let problem = kept.err().map(|error: io::Error| {
        format!(
            "the agent's id cannot be kept in {}: {error}; it will be another one after the next start. Set push.agent_id",
            path.display()
        )
    });
    (id, problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    #[test]
    fn an_id_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.agent.data_dir = dir.path().join("data");
        let host = |id: &str| {
            FixtureHost::parse(&format!(
                "//- uname h.x 6.1.0-28 x86_64\n//- /proc/sys/kernel/random/uuid\n{id}\n"
            ))
            .unwrap()
        };
        let first = "5f0c8a3e-3f0e-4f6c-9c55-0d8e1f3a2b4c";
        assert_eq!(known(&config), None);
        assert_eq!(ensure(&config, &host(first)), (first.to_owned(), None));
        assert_eq!(ensure(&config, &host("another")), (first.to_owned(), None));
        assert_eq!(known(&config).as_deref(), Some(first));
        for bad in ["", "\n", "a b", "a\nb", "\u{e9}", &"x".repeat(65)] {
            state::replace(&path(&config), bad.as_bytes(), 0o600).unwrap();
            assert_eq!(known(&config), None, "{bad:?}");
        }
        state::replace(&path(&config), &[0xff], 0o600).unwrap();
        assert_eq!(ensure(&config, &host("again")).0, "again");
        config.push.agent_id = "rack 7\r\nX: y".into();
        assert_eq!(known(&config).as_deref(), Some("rack_7??X:_y"));
    }

    #[test]
    fn where_it_cannot_be_kept_that_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.agent.data_dir = dir.path().join("file/data");
        state::replace(&dir.path().join("file"), b"", 0o600).unwrap();
        let host =
            FixtureHost::parse("//- uname h.x 6.1.0-28 x86_64\n//- /proc/sys/kernel/random/uuid\nid\n")
                .unwrap();
        let (id, problem) = ensure(&config, &host);
        assert_eq!(id, "id");
        assert!(problem.is_some_and(|p| p.contains("cannot be kept") && p.contains("push.agent_id")));
        let host = FixtureHost::parse("//- uname h.x 6.1.0-28 x86_64\n").unwrap();
        assert_eq!(ensure(&config, &host).0, "h.x");
    }
}
