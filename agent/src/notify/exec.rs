//! Alerts to a program of the user's own: the alert object as JSON on standard input.

use super::backoff::Backoff;
use super::channel::{Channel, SendError, Sending};
use super::routes::Made;
use super::terminal::Screen;
use crate::alert::Alert;
use crate::config::Config;
use crate::host::{hook, state};
use crate::text;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Its section below `[alerting]`.
pub const NAME: &str = "exec";
/// Characters shown of what the program says.
const MAX_SHOWN: usize = 160;

/// Made as the configuration says.
#[expect(clippy::unnecessary_wraps, reason = "the form of every line of the table")]
pub(super) fn make(config: &Config, _: Screen) -> Result<Option<Made>, String> {
    let section = &config.alerting.exec;
    if !section.enabled {
        return Ok(None);
    }
    let limit = Duration::from_secs(section.timeout_secs);
    Ok(Some(Made {
        channel: Arc::new(Exec {
            template: config.alerting.templates.exec.is_some(),
            ..Exec::new(section.command.clone(), limit)
        }),
        backoff: Backoff::default(),
    }))
}

/// The channel.
#[derive(Debug)]
pub struct Exec {
    command: Vec<String>,
    limit: Duration,
    /// The template's text is the message of the alert.
    template: bool,
}

impl Exec {
    /// A program, its arguments, and the longest time it gets.
    pub fn new(command: Vec<String>, limit: Duration) -> Self {
        Self { command, limit, template: false }
    }

    fn name_of_it(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }

    async fn run(&self, alert: &Alert) -> Result<(), SendError> {
        let mut input = serde_json::to_vec(alert)
            .map_err(|error| SendError::refused(format!("the alert is no JSON: {error}")))?;
        input.push(b'\n');
        let name = text::clean(self.name_of_it(), 100);
        match hook::run(&self.command, &input, self.limit).await {
            Ok(Some(ended)) => judge(&name, &ended),
            Ok(None) => {
                let secs = self.limit.as_secs();
                Err(SendError::retry(format!("{name} did not end within {secs} s and was killed")))
            }
            Err(error) => Err(SendError::retry(format!("{name} cannot be started: {error}"))),
        }
    }
}

/// Numbers after `sysexits.h`: what no repetition changes is final, every other failure is tried again.
fn judge(name: &str, ended: &hook::Ended) -> Result<(), SendError> {
    let said = text::clean(ended.said.trim(), MAX_SHOWN);
    let said = if said.is_empty() { said } else { format!(": {said}") };
    match ended.code {
        Some(0) => Ok(()),
        Some(code @ (64 | 65 | 77 | 78)) => {
            Err(SendError::refused(format!("{name} refused the alert (exit status {code}){said}")))
        }
        Some(code) => Err(SendError::retry(format!("{name} failed (exit status {code}){said}"))),
        None => Err(SendError::retry(format!("{name} was ended by a signal{said}"))),
    }
}

impl Channel for Exec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn send<'a>(&'a self, alert: &'a Alert, text: &'a str) -> Sending<'a> {
        Box::pin(async move {
            let worded = self.template.then(|| Alert { message: text.to_owned(), ..alert.clone() });
            self.run(worded.as_ref().unwrap_or(alert)).await
        })
    }

    fn doubt(&self) -> Option<String> {
        let name = self.name_of_it();
        (!state::is_there(Path::new(name))).then(|| format!("there is no {}", text::clean(name, 200)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::samples::{hostile, oom};

    fn sh(script: &str) -> Exec {
        Exec::new(vec!["/bin/sh".into(), "-c".into(), script.into()], Duration::from_secs(20))
    }

    #[tokio::test]
    async fn a_template_words_the_message_of_the_object() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("got");
        for (template, expect) in [(true, "so it is"), (false, oom().message.as_str())] {
            let exec = Exec { template, ..sh(&format!("cat > {}", path.display())) };
            exec.send(&oom(), "so it is").await.unwrap();
            let got: Alert = serde_json::from_slice(&state::read(&path).unwrap().unwrap()).unwrap();
            assert_eq!(got.message, expect);
        }
    }

    #[tokio::test]
    async fn the_program_gets_the_alert_object_and_no_shell_sees_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("got").display().to_string();
        for alert in [oom(), hostile()] {
            sh(&format!("cat > {path}")).run(&alert).await.unwrap();
            let got: Alert =
                serde_json::from_slice(&state::read(Path::new(&path)).unwrap().unwrap()).unwrap();
            assert_eq!(got, alert);
        }
    }

    #[tokio::test]
    async fn ends_are_judged() {
        let check = async |script: &str, retry: bool, part: &str| {
            let error = sh(script).run(&oom()).await.unwrap_err();
            assert_eq!(matches!(error, SendError::Retry { .. }), retry, "{error:?}");
            assert!(error.why().contains(part), "{error:?}");
        };
        check("echo 'no\x1b[31m route' >&2; exit 7", true, "failed (exit status 7): no?[31m route").await;
        check("exit 75", true, "exit status 75").await;
        check("exit 65", false, "refused the alert (exit status 65)").await;
        check("kill -9 $$", true, "ended by a signal").await;
        let slow = Exec::new(vec!["/bin/sleep".into(), "60".into()], Duration::from_millis(50));
        let error = slow.run(&oom()).await.unwrap_err();
        assert!(error.why().contains("did not end within 0 s and was killed"), "{error:?}");
        let none = Exec::new(vec!["/no/such/hook".into()], Duration::from_secs(1));
        assert!(none.run(&oom()).await.unwrap_err().why().contains("cannot be started"));
        assert_eq!(none.doubt().as_deref(), Some("there is no /no/such/hook"));
        assert_eq!(sh("").doubt(), None);
    }
}
