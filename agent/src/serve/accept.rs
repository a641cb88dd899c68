//! Which form of the page a client wants (`Accept`, RFC 9110, section 12.5.1). Pure.

/// A form of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The object of the HTTP collector API.
    Json,
    /// Prometheus' classic text, 0.0.4.
    Text,
    /// `OpenMetrics` 1.0.
    OpenMetrics,
}

/// Kinds of media looked at; further ones are not.
const MAX_KINDS: usize = 32;

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Json, Self::Text, Self::OpenMetrics];

    /// `Content-Type` of the page.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    fn of(kind: &str) -> Option<Self> {
        match kind {
            "application/json" => Some(Self::Json),
            "text/plain" => Some(Self::Text),
            "application/openmetrics-text" => Some(Self::OpenMetrics),
            _ => None,
        }
    }

    /// What `accept` likes best; `default` where it has no wish that can be met.
    pub fn wanted(accept: &str, default: Self) -> Self {
        let mut best = (default, 0.0);
        for part in accept.split(',').take(MAX_KINDS) {
            let mut parameters = part.split(';').map(str::trim);
            let kind = parameters.next().unwrap_or_default().to_ascii_lowercase();
            let likes = parameters.find_map(quality).unwrap_or(1.0);
            let format = match &*kind {
                "text/*" if default == Self::Json => Some(Self::Text),
                "*/*" | "text/*" => Some(default),
                kind => Self::of(kind),
            };
            if let Some(format) = format.filter(|_| likes > best.1) {
                best = (format, likes);
            }
        }
        best.0
    }
}

/// `q=0.5`; what is no number counts as nothing.
fn quality(parameter: &str) -> Option<f64> {
    let (name, value) = parameter.split_once('=')?;
    let is_quality = name.trim().eq_ignore_ascii_case("q");
    is_quality.then(|| value.trim().parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::Format::{self, Json, OpenMetrics, Text};

    #[test]
    fn who_asks_gets_what_it_asks_for() {
        let check = |accept: &str, default, expect| {
            assert_eq!(Format::wanted(accept, default), expect, "{accept:?} {default:?}");
        };
        // As Prometheus 2 and 3, curl and a browser ask.
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
            text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for default in [Json, Text] {
            check(prometheus, default, OpenMetrics);
            check("*/*", default, default);
            check("", default, default);
            check(browser, default, default);
            check("text/plain", default, Text);
            check("TEXT/Plain ; Q=0.3", default, Text);
            check("application/json", default, Json);
            check("text/plain;q=0.2, application/json;q=0.9", default, Json);
            check("text/plain;version=0.0.4;q=1,*/*;q=0.1", default, Text);
            check("application/openmetrics-text", default, OpenMetrics);
            // Nothing that can be met, or nonsense.
            for nonsense in
                ["image/png", "text/plain;q=0", "application/json;q=2", ";;;,,,=", "q=1", "text/plain;q=NaN"]
            {
                check(nonsense, default, default);
            }
            check(&"text/html,".repeat(1000), default, default);
        }
        check("text/*", Json, Text);
        check("text/*", Text, Text);
    }
}
