//! The status of a container in the words of `docker ps`. Pure.

/// What is known of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Container<'a> {
    /// As the API has it; hostile text.
    pub(super) state: &'a str,
    /// What its own check says; none where it has none.
    pub(super) unhealthy: Option<bool>,
    /// When it was started, Unix seconds.
    pub(super) started: Option<f64>,
    /// When it ended.
    pub(super) ended: Option<f64>,
    /// How it ended.
    pub(super) exit_code: Option<f64>,
}

impl Container<'_> {
    /// `Up 3 hours` at `now`, Unix seconds; where a moment is not known, the state alone.
    pub(super) fn words(&self, now: f64) -> String {
        let since = |at: f64| span((now - at).max(0.0) as u64);
        let ended = |word: &str| {
            let (at, code) = (self.ended?, self.exit_code.unwrap_or_default());
            Some(format!("{word} ({code}) {} ago", since(at)))
        };
        let up = || {
            let note = match (self.state, self.unhealthy) {
                ("paused", _) => " (Paused)",
                (_, Some(true)) => " (unhealthy)",
                (_, Some(false)) => " (healthy)",
                (_, None) => "",
            };
            Some(format!("Up {}{note}", since(self.started?)))
        };
        let words = match self.state {
            "running" | "paused" => up(),
            "exited" => ended("Exited"),
            "restarting" => ended("Restarting"),
            "removing" => Some("Removal In Progress".to_owned()),
            _ => None,
        };
        words.unwrap_or_else(|| {
            let mut letters = self.state.chars();
            letters
                .next()
                .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
        })
    }
}

/// As Docker tells spans.
fn span(secs: u64) -> String {
    let (minutes, hours) = (secs / 60, (secs + 1800) / 3600);
    match secs {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{secs} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", secs / 3600 / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_those_of_docker() {
        for (secs, expect) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86_400, "2 weeks"),
            (60 * 86_400, "2 months"),
            (730 * 86_400, "2 years"),
        ] {
            assert_eq!(span(secs), expect, "{secs}");
        }
    }

    #[test]
    fn a_status_is_as_docker_ps_has_it() {
        let check =
            |state: Container<'_>, expect: &str| assert_eq!(state.words(10_000.0), expect, "{state:?}");
        let running = Container { state: "running", started: Some(10.0), ..Container::default() };
        check(running, "Up 3 hours");
        check(Container { unhealthy: Some(true), ..running }, "Up 3 hours (unhealthy)");
        check(Container { unhealthy: Some(false), ..running }, "Up 3 hours (healthy)");
        check(Container { state: "paused", ..running }, "Up 3 hours (Paused)");
        check(Container { started: Some(99_999.0), ..running }, "Up Less than a second");
        check(Container { started: None, ..running }, "Running");
        let exited = Container {
            state: "exited",
            ended: Some(9_940.0),
            exit_code: Some(137.0),
            ..Container::default()
        };
        check(exited, "Exited (137) About a minute ago");
        check(Container { state: "restarting", ..exited }, "Restarting (137) About a minute ago");
        check(Container { ended: None, ..exited }, "Exited");
        check(Container { state: "created", ..Container::default() }, "Created");
        check(Container { state: "", ..Container::default() }, "");
    }
}
