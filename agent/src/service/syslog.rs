//! Whether a syslog file is followed, which, and why not.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::features::Feature;
use crate::config::{Config, LogSource};
use crate::event::SyslogMark;
use crate::host::Host;
use crate::host::tail::{self, Mark, Tail};
use crate::watch::rules::RuleSet;
use crate::watch::syslog::follow::SyslogWatch;
use crate::watch::syslog::read::Reader;

pub(super) const NAME: &str = "syslog";

/// Where rsyslog of Debian and of Red Hat write.
const PATHS: [&str; 2] = ["/var/log/syslog", "/var/log/messages"];

/// The file as configured, from `resume` on; `kernel`: nobody else hands on the kernel's lines.
pub(super) fn open(
    config: &Config,
    host: &dyn Host,
    resume: Option<SyslogMark>,
    rules: &Arc<RuleSet>,
    kernel: bool,
) -> (Option<SyslogWatch>, Feature) {
    let section = &config.log_analyzer;
    if !section.enabled || !section.sources.contains(&LogSource::Syslog) {
        return (None, Feature::off(NAME, "not among log_analyzer.sources"));
    }
    if !kernel && section.custom_patterns.is_empty() {
        let reason = "not needed: the kernel's lines come another way, and there are no custom_patterns";
        return (None, Feature::off(NAME, reason));
    }
    let path = path(&section.syslog_path, host);
    let shown = path.display();
    let what = match (kernel, section.custom_patterns.len()) {
        (true, 0) => "the kernel's lines, which any program may forge there".to_owned(),
        (true, n) => {
            format!("the kernel's lines, which any program may forge there, and {n} custom patterns")
        }
        (false, n) => format!("{n} custom patterns"),
    };
    let root = &config.agent.host_root;
    let real = path.strip_prefix("/").map_or_else(|_| path.clone(), |below| root.join(below));
    let feature = match host.open(&path.to_string_lossy()) {
        Ok(_) if tail::is_no_file(&real) => {
            let remedy = "let log_analyzer.syslog_path name a file that the syslog daemon writes";
            Feature::broken(NAME, format!("{shown} is no file, but a pipe, a folder or a device"), remedy)
        }
        Ok(_) => Feature::on(NAME, format!("{shown}: {what}")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Feature::on(NAME, format!("{shown} is not there; it is read once it appears: {what}"))
        }
        Err(error) => {
            let remedy =
                "give the agent's user the group that owns the file (adm, syslog), or CAP_DAC_READ_SEARCH";
            Feature::broken(NAME, format!("{shown} may not be read ({error}); it is tried again"), remedy)
        }
    };
    let tail = Tail::new(real, resume.and_then(|mark| Mark::parse(&mark.place)));
    let reader = Reader::new(Arc::clone(rules), kernel, TimeZone::system());
    (Some(SyslogWatch::new(tail, reader)), feature)
}

/// Whether there is a file that is followed.
pub(super) fn is_there(config: &Config, host: &dyn Host) -> bool {
    let section = &config.log_analyzer;
    let path = path(&section.syslog_path, host);
    section.enabled
        && section.sources.contains(&LogSource::Syslog)
        && host.open(&path.to_string_lossy()).is_ok()
}

/// The configured path; where the default is missing, the other usual one.
fn path(configured: &Path, host: &dyn Host) -> PathBuf {
    let is_missing = |path: &str| matches!(host.open(path), Err(e) if e.kind() == ErrorKind::NotFound);
    let [debian, red_hat] = PATHS;
    if configured == Path::new(debian) && is_missing(debian) && !is_missing(red_hat) {
        return red_hat.into();
    }
    configured.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CustomPattern;
    use crate::host::fixture::FixtureHost;

    /// How the file stands on a host.
    fn check(host: &str, kernel: bool, patterns: usize, state: &str, reason: &str, is_read: bool) {
        let mut config = Config::default();
        let pattern = CustomPattern { name: "x".into(), pattern: "x".into(), ..CustomPattern::default() };
        config.log_analyzer.custom_patterns = vec![pattern; patterns];
        let host = FixtureHost::parse(host).expect("valid");
        let rules = Arc::new(RuleSet::new(&[], true).expect("rules"));
        let (watch, feature) = open(&config, &host, None, &rules, kernel);
        assert_eq!(feature.state.name(), state, "{feature:?}");
        assert!(feature.reason.contains(reason), "{feature:?}");
        assert_eq!(watch.is_some(), is_read);
    }

    #[test]
    fn it_says_what_is_read_and_why_not() {
        check("", false, 0, "off", "not needed", false);
        let there = "//- /var/log/syslog\nx\n";
        check(there, true, 0, "on", "/var/log/syslog: the kernel's lines, which any program may forge", true);
        check("//- /var/log/messages\nx\n", false, 2, "on", "/var/log/messages: 2 custom patterns", true);
        check("", true, 1, "on", "/var/log/syslog is not there", true);
        let mut config = Config::default();
        config.log_analyzer.syslog_path = "/dev/null".into();
        let host = FixtureHost::parse("//- /dev/null\n").expect("valid");
        let rules = Arc::new(RuleSet::new(&[], true).expect("rules"));
        assert!(open(&config, &host, None, &rules, true).1.reason.contains("/dev/null is no file"));
        check("//- denied /var/log/syslog\n", true, 0, "off", "may not be read", true);
    }
}
