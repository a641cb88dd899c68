//! What a value must be beyond its type, said once for the reader and for the documentation.

use regex::RegexBuilder;
use reqwest::Url;

use super::near;
use super::schedule::Schedule;
use super::template;

/// Compiled size one pattern of the configuration may have, bytes; who compiles it again uses the same.
pub const PATTERN_SIZE_LIMIT: usize = 1 << 20;

/// A condition on a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Must {
    /// Its type is enough.
    Anything,
    /// A whole number from … to ….
    Whole(i64, i64),
    /// A power of two up to ….
    PowerOfTwo(i64),
    /// A number from … to ….
    Real(f64, f64),
    /// A limit from … to …; `falling`: low values are the bad ones.
    Limit { from: f64, to: f64, falling: bool },
    /// A URL with one of these schemes.
    Url(&'static [&'static str]),
    /// Address and port to listen on.
    Socket,
    /// Host and port to connect to.
    HostPort,
    /// A regular expression.
    Regex,
    /// A message template with these variables.
    Template(&'static [&'static str]),
    /// Name of a metric.
    Metric,
    /// Name of a collector.
    Collector,
    /// Id of a kernel-log rule.
    LogRule,
    /// Times of a week.
    Schedule,
    /// One word.
    Word,
    /// A mail address.
    Mail,
    /// A path on an HTTP server.
    HttpPath,
    /// What can stand in a header: up to 64 printable characters of ASCII, no blanks.
    AgentId,
    /// A number or text that stays text.
    Id,
    /// A host to connect to.
    Host,
    /// Token of a Telegram bot.
    BotToken,
    /// Name of a sender that Discord takes.
    DiscordName,
    /// Names of labels, in a table.
    Labels,
    /// HTTP headers, in a table.
    Headers,
}

/// What is wrong with a text, and what to do.
pub(super) struct Flaw {
    /// Completes «`key` …».
    pub what: String,
    /// A whole sentence.
    pub fix: String,
}

fn flaw(what: impl Into<String>, fix: impl Into<String>) -> Flaw {
    Flaw { what: what.into(), fix: fix.into() }
}

const TIMES: &str =
    "Write days and hours like \"Sun 02:00-04:00\", \"Mon-Fri 22:00-06:00\" or \"daily 03:00-03:30\".";

/// Names the text is compared with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Metrics an alert rule may name; empty: not checked.
    pub metrics: &'a [&'a str],
    /// Collectors that can be switched; empty: not checked.
    pub collectors: &'a [&'a str],
    /// The text is judged for itself: that a file named in it cannot be read here is no problem of it.
    pub alone: bool,
    /// With `alone`: nor that a variable is not set here.
    pub variables: bool,
    /// Labels of these metrics, in the same order; empty: not checked.
    pub labels: &'a [&'a [&'a str]],
    /// Ids of kernel-log rules; empty: not checked.
    pub rules: &'a [&'a str],
    /// Those of them whose events do not come from the log alone.
    pub witnessed: &'a [&'a str],
}

impl Must {
    /// Whether a whole number fits.
    pub(super) fn takes_whole(self, number: i64) -> bool {
        match self {
            Self::Whole(from, to) => (from..=to).contains(&number),
            Self::PowerOfTwo(to) => (1..=to).contains(&number) && number.count_ones() == 1,
            _ => true,
        }
    }

    /// Whether a number fits.
    pub(super) fn takes_real(self, number: f64) -> bool {
        match self {
            Self::Real(from, to) | Self::Limit { from, to, .. } => (from..=to).contains(&number),
            _ => number.is_finite(),
        }
    }

    /// The condition on a number, in words.
    pub(super) fn number(self, kind: &str) -> String {
        match self {
            Self::Whole(from, i64::MAX) => format!("{kind} from {from} up"),
            Self::Whole(from, to) => format!("{kind} from {from} to {to}"),
            Self::PowerOfTwo(to) => format!("a power of two from 1 to {to}"),
            Self::Real(from, to) | Self::Limit { from, to, .. } => format!("{kind} from {from} to {to}"),
            _ => kind.to_owned(),
        }
    }

    /// The condition on a text, in words.
    pub(super) fn text(self) -> String {
        let words = match self {
            Self::Url(schemes) => return format!("a URL ({}://)", schemes.join("://, ")),
            Self::Socket => "an IP address and port",
            Self::HostPort => "a host and port",
            Self::Host => "a host",
            Self::Regex => "a regular expression",
            Self::Template(_) => "a message template",
            Self::Metric => "the name of a metric",
            Self::Collector => "the name of a collector",
            Self::LogRule => "the id of a kernel-log rule",
            Self::Schedule => "days and hours like \"Sun 02:00-04:00\"",
            Self::Word => "one word",
            Self::Mail => "a mail address",
            Self::HttpPath => "a path beginning with /",
            Self::AgentId => "an id without blanks",
            Self::Id => "a string or a whole number",
            Self::BotToken => "the token of a bot",
            _ => "a string",
        };
        words.to_owned()
    }

    /// Whether a text fits. The answer never quotes the text where that may hold a secret.
    pub(super) fn judge(self, text: &str, known: Known<'_>) -> Result<(), Flaw> {
        match self {
            Self::Url(schemes) => url(text, schemes),
            Self::Socket => socket(text),
            Self::HostPort => host_port(text),
            Self::Regex => pattern(text),
            Self::Template(variables) => template::check(text, variables),
            Self::Metric => name_of("a metric", text, known.metrics, "docs/METRICS.md lists all metrics"),
            Self::Collector => {
                name_of("a collector", text, known.collectors, "`sysops-agent doctor` lists them")
            }
            Self::LogRule if known.witnessed.contains(&text) => Err(flaw(
                "is no matter of the log alone: eBPF and the kernel's counters tell of it too.",
                "Hold it back with `sysops-agent silence RULE --for 8h`, or with `min_severity` and `severity_filter` of a channel.",
            )),
            Self::LogRule => name_of("a kernel-log rule", text, known.rules, "docs/LOG-RULES.md lists them"),
            Self::Schedule => Schedule::parse(text).map(drop).map_err(|why| flaw(why, TIMES)),
            Self::Word | Self::Host => word(text),
            Self::Mail => mail(text),
            Self::BotToken => bot_token(text),
            Self::DiscordName => discord_name(text),
            Self::Headers if text.chars().any(char::is_control) => {
                Err(flaw("holds a control character.", "Write headers as one line of plain text."))
            }
            Self::AgentId if text.len() > 64 || !text.chars().all(|c| c.is_ascii_graphic()) => Err(flaw(
                "is no id that a header can carry.",
                "Write up to 64 letters, digits and signs of ASCII, without blanks.",
            )),
            Self::HttpPath if !text.starts_with('/') => {
                Err(flaw("does not begin with `/`.", "Write a path like \"/metrics\"."))
            }
            Self::HttpPath if text.chars().any(|c| !c.is_ascii_alphanumeric() && !"/-._~".contains(c)) => {
                Err(flaw(
                    "is a path that nobody can ask for.",
                    "Write letters, digits and `/-._~`, without a query.",
                ))
            }
            _ => Ok(()),
        }
    }
}

fn url(text: &str, schemes: &[&str]) -> Result<(), Flaw> {
    let want = format!("Write a whole URL beginning with {}://.", schemes.join(":// or "));
    let url = Url::parse(text).map_err(|why| flaw(format!("is not a URL: {why}."), &*want))?;
    if !schemes.contains(&url.scheme()) {
        return Err(flaw("has a scheme that cannot be used here.", want));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(flaw("is a URL without a host.", want));
    }
    if needs_tls(url.scheme()) && !HAS_TLS {
        return Err(flaw(
            "needs TLS, and this program was built without it.",
            "Use a build with the feature tls-rustls or tls-native, or a URL without TLS.",
        ));
    }
    Ok(())
}

/// Whether one of the TLS features is in this build.
const HAS_TLS: bool = cfg!(any(feature = "tls-rustls", feature = "tls-native"));

fn needs_tls(scheme: &str) -> bool {
    matches!(scheme, "https" | "tls" | "wss")
}

fn socket(text: &str) -> Result<(), Flaw> {
    text.parse::<std::net::SocketAddr>().map(drop).map_err(|_| {
        flaw(
            "is not an IP address and port.",
            "Write one like \"127.0.0.1:9100\", \"0.0.0.0:9100\" or \"[::1]:9100\"; host names are not looked up.",
        )
    })
}

fn host_port(text: &str) -> Result<(), Flaw> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    match parts {
        Some((host, 1..)) if !host.is_empty() && word(host).is_ok() => Ok(()),
        _ => Err(flaw("is not a host and port.", "Write one like \"localhost:6379\".")),
    }
}

fn pattern(text: &str) -> Result<(), Flaw> {
    if text.is_empty() {
        return Err(flaw("is empty and would match everything.", "Write a pattern, or remove it."));
    }
    let compiled = RegexBuilder::new(text).size_limit(PATTERN_SIZE_LIMIT).build();
    compiled.map(drop).map_err(|why| match why {
        regex::Error::CompiledTooBig(_) => flaw(
            "is a regular expression too large to run.",
            "Make its repetitions smaller: `{1000}` of a long part is what costs.",
        ),
        // The crate's text draws the pattern over several lines; its last one says what is wrong.
        other => {
            let text = other.to_string();
            let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            flaw(
                format!("is not a regular expression: {why}."),
                "Escape what is meant literally with `\\`, and write the TOML string in '…' so that `\\` stays.",
            )
        }
    })
}

fn name_of(what: &str, text: &str, known: &[&str], otherwise: &str) -> Result<(), Flaw> {
    if known.is_empty() || known.contains(&text) {
        return Ok(());
    }
    let near = near::nearest(text, known.iter().copied());
    let fix = near.map_or_else(|| format!("{otherwise}."), |name| format!("Did you mean \"{name}\"?"));
    Err(flaw(format!("is not the name of {what}."), fix))
}

fn word(text: &str) -> Result<(), Flaw> {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) || text.is_empty() {
        return Err(flaw("is not one word.", "Leave out spaces and control characters."));
    }
    Ok(())
}

/// As `BotFather` gives it: the number of the bot, a colon, and the secret.
fn bot_token(text: &str) -> Result<(), Flaw> {
    let secret = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.split_once(':') {
        Some((bot, rest)) if number(bot) && !rest.is_empty() && secret(rest) => Ok(()),
        _ => Err(flaw(
            "has not the form of a bot's token.",
            "Write it as BotFather gave it: digits, a colon, letters and digits; without `bot` in front.",
        )),
    }
}

/// Discord refuses messages under such names.
fn discord_name(text: &str) -> Result<(), Flaw> {
    let lower = text.to_lowercase();
    if ["discord", "clyde"].iter().any(|word| lower.contains(word)) {
        return Err(flaw(
            "is a name that Discord refuses.",
            "Leave out `discord` and `clyde`, or write \"\" for the webhook's own.",
        ));
    }
    Ok(())
}

fn mail(text: &str) -> Result<(), Flaw> {
    let address = text.rsplit_once('<').map_or(text, |(_, rest)| rest.trim_end_matches('>'));
    match address.split_once('@') {
        Some((user, host)) if word(user).is_ok() && word(host).is_ok() && !host.contains('@') => Ok(()),
        _ => Err(flaw(
            "is not a mail address.",
            "Write one like \"ops@example.com\" or \"Operations <ops@example.com>\".",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_or_say_why_not() {
        fn check(must: Must, text: &str, expect: &str) {
            let metrics = &["cpu_usage_percent"];
            let (rules, witnessed) = (&["segfault", "oom_kill"], &["oom_kill"]);
            let known = Known { metrics, rules, witnessed, ..Known::default() };
            let got = must.judge(text, known).map_or_else(|flaw| flaw.what, |()| String::new());
            assert_eq!(got, expect, "{text:?}");
        }
        let web = Must::Url(&["http", "https"]);
        check(web, "http://host", "");
        check(web, "http://[::1]:8080/a?b#c", "");
        check(web, "http:///path", "");
        check(web, "http://", "is not a URL: empty host.");
        check(web, "http://host:99999", "is not a URL: invalid port number.");
        check(web, "file:///etc/passwd", "has a scheme that cannot be used here.");
        check(web, "", "is not a URL: relative URL without a base.");
        check(Must::Url(&["udp"]), "udp://log:514", "");
        check(Must::Url(&["udp"]), "udp:log", "is a URL without a host.");
        check(Must::Socket, "[::1]:80", "");
        check(Must::Socket, "127.0.0.1", "is not an IP address and port.");
        check(Must::HostPort, "[::1]:6379", "");
        check(Must::HostPort, "host:0", "is not a host and port.");
        check(Must::HostPort, ":6379", "is not a host and port.");
        check(Must::HostPort, "host:65536", "is not a host and port.");
        check(Must::Regex, "FATAL.*(database|disk)", "");
        check(Must::Regex, "", "is empty and would match everything.");
        check(Must::Regex, "*", "is not a regular expression: repetition operator missing expression.");
        check(Must::AgentId, "Agent-01@web", "");
        check(Must::AgentId, "", "");
        for id in ["Agent 01", "münchen", "서버-가"] {
            check(Must::AgentId, id, "is no id that a header can carry.");
        }
        check(Must::HttpPath, "/a/metrics-1.txt", "");
        check(Must::HttpPath, "metrics", "does not begin with `/`.");
        for path in ["/metrics?x=1", "/a b", "/mé", "/a#b"] {
            check(Must::HttpPath, path, "is a path that nobody can ask for.");
        }
        check(Must::LogRule, "segfault", "");
        check(Must::LogRule, "segfaults", "is not the name of a kernel-log rule.");
        check(
            Must::LogRule,
            "oom_kill",
            "is no matter of the log alone: eBPF and the kernel's counters tell of it too.",
        );
        check(Must::Metric, "cpu_usage_percent", "");
        check(Must::Metric, "cpu", "is not the name of a metric.");
        check(Must::Collector, "anything", "");
        check(Must::Word, "a\u{7}b", "is not one word.");
        check(Must::Mail, "Ops <ops@example.com>", "");
        check(Must::Mail, "ops@@example.com", "is not a mail address.");
        check(Must::Headers, "a\r\nb", "holds a control character.");
    }

    #[test]
    fn tls_is_needed_where_the_url_asks_for_it() {
        let got = Must::Url(&["https"]).judge("https://host", Known::default());
        assert_eq!(got.is_ok(), HAS_TLS);
        assert!(needs_tls("wss") && needs_tls("tls") && !needs_tls("nats"));
    }
}
