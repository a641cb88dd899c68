//! Whether the journal is followed, what is asked of it, and why not.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use super::features::Feature;
use super::syslog;
use crate::config::{Config, LogSource};
use crate::event::JournalMark;
use crate::host::{Host, command};
use crate::time::Now;
use crate::watch::journal::follow::{JournalWatch, PROGRAM};
use crate::watch::journal::place::Place;
use crate::watch::journal::programs::Programs;
use crate::watch::journal::read::Reader;
use crate::watch::journal::{FOLDERS, Wanted, folder, running};
use crate::watch::rules::RuleSet;
use crate::watch::scan::Scanner;

pub(super) const NAME: &str = "journal";

/// What is asked of the journal, if anything; and how that stands. `kernel`: `/dev/kmsg` is closed.
pub(super) fn plan(config: &Config, host: &dyn Host, kernel: bool) -> (Option<Wanted>, Feature) {
    let programs = !config.log_analyzer.custom_patterns.is_empty() && !syslog::is_there(config, host);
    let section = &config.log_analyzer;
    if !section.enabled || !section.sources.contains(&LogSource::Journal) {
        return (None, Feature::off(NAME, "not among log_analyzer.sources"));
    }
    let lost = if kernel { "; nothing of the kernel log is left" } else { "" };
    let folder = match folder(host) {
        Ok(folder) => folder,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let remedy = "give the agent CAP_DAC_READ_SEARCH, or its user the group systemd-journal";
            let [here, there] = FOLDERS;
            let reason = format!("the journal in {here} or {there} may not be read ({error}){lost}");
            return (None, Feature::broken(NAME, reason, remedy));
        }
        Err(_) => {
            let [here, there] = FOLDERS;
            let reason =
                format!("journald keeps none here: there is no system.journal in {here} or {there}{lost}");
            return (None, Feature::off(NAME, reason));
        }
    };
    if command::find(PROGRAM).is_none() {
        let reason = format!("there is no {PROGRAM} to read it with{lost}");
        let remedy = "install the package it is in (systemd); a container needs it in its image";
        return (None, Feature::broken(NAME, reason, remedy));
    }
    let boot_id = crate::host::read_text(host, "/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let root = config.agent.host_root.to_string_lossy();
    let folder = (root != "/").then(|| format!("{}{folder}", root.trim_end_matches('/')));
    let wanted = Wanted { folder, boot_id: boot_id.trim().to_owned(), kernel, programs };
    let patterns = if programs { config.log_analyzer.custom_patterns.len() } else { 0 };
    let feature = Feature::on(NAME, reason(kernel, patterns, &running(host)));
    (Some(wanted), feature)
}

/// Longest trial.
const TRIAL: Duration = Duration::from_secs(5);

/// Asks for one entry, which the running agent does by itself: what `doctor` knows is that it could be read now.
pub(super) fn tried(wanted: &Wanted, feature: Feature) -> Feature {
    let args = wanted.trial();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match command::try_out(PROGRAM, &args, TRIAL) {
        Ok(()) => Feature {
            reason: format!("{}; tried now, it reads. Of the running agent journal_up tells", feature.reason),
            ..feature
        },
        Err(why) => {
            let remedy = "run journalctl as the agent's user; give it the group systemd-journal or CAP_DAC_READ_SEARCH";
            Feature::broken(NAME, format!("{PROGRAM} was tried and does not read: {why}"), remedy)
        }
    }
}

fn reason(kernel: bool, patterns: usize, killers: &[String]) -> String {
    let who: Vec<&str> = killers.iter().map(|unit| unit.trim_end_matches(".service")).collect();
    let kills = (!who.is_empty()).then(|| format!("what {} kills", who.join(" and ")));
    let kernel = kernel.then(|| "the kernel's lines, since /dev/kmsg is closed".to_owned());
    let own = (patterns > 0).then(|| format!("{patterns} custom patterns, since there is no syslog file"));
    let all: Vec<String> = [kills, kernel, own].into_iter().flatten().collect();
    if all.is_empty() {
        return format!("neither systemd-oomd nor earlyoom runs here; {PROGRAM} starts when one does");
    }
    format!("{PROGRAM}: {}", all.join(", and "))
}

/// The journal as `wanted`, from `resume` on; without that, from `now` on.
pub(super) fn watch(
    host: &Arc<dyn Host>,
    wanted: Wanted,
    resume: Option<JournalMark>,
    scanner: Option<Scanner>,
    rules: &Arc<RuleSet>,
    now: Now,
) -> JournalWatch {
    let now_us = now.mono_ns / 1000;
    let place = match resume.and_then(|mark| Place::parse(&mark.place)) {
        // Earlier versions stored the time of day.
        Some(Place::Uptime(us)) => Place::Uptime(us.min(now_us)),
        Some(place) => place,
        None => Place::Uptime(now_us),
    };
    let programs = wanted.programs.then(|| Programs::new(Arc::clone(rules), std::process::id()));
    JournalWatch::new(host, wanted, Reader::new(place, scanner, programs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CustomPattern;
    use crate::host::fixture::FixtureHost;

    /// How the journal stands on a host.
    fn check(host: &str, kernel: bool, state: &str, reason: &str, remedy: &str) {
        let (wanted, feature) = plan(&Config::default(), &FixtureHost::parse(host).expect("valid"), kernel);
        assert_eq!(feature.state.name(), state, "{feature:?}");
        assert!(feature.reason.contains(reason), "{feature:?}");
        assert!(feature.remedy.as_deref().unwrap_or_default().contains(remedy), "{feature:?}");
        assert_eq!(wanted.is_some(), state == "on", "{feature:?}");
    }

    #[test]
    fn it_says_why_and_what_to_do() {
        const ID: &str = "//- /etc/machine-id\nabc\n";
        let there = format!("{ID}//- /run/log/journal/abc/system.journal\nx\n");
        let oomd = format!("{there}//- /sys/fs/cgroup/system.slice/systemd-oomd.service/cgroup.procs\n1\n");
        check("", false, "off", "journald keeps none here", "");
        check(ID, true, "off", "nothing of the kernel log is left", "");
        let denied = format!("{ID}//- denied /var/log/journal/abc/system.journal\n");
        check(&denied, false, "off", "may not be read", "group systemd-journal");
        if command::find(PROGRAM).is_none() {
            check(&there, false, "off", "there is no journalctl", "systemd");
            return;
        }
        check(&there, false, "on", "starts when one does", "");
        check(&oomd, false, "on", "what systemd-oomd kills", "");
        check(&oomd, true, "on", "kills, and the kernel's lines", "");
        // Patterns of the user are asked about its lines where no file has them.
        let pattern =
            CustomPattern { name: "denied".into(), pattern: "denied".into(), ..CustomPattern::default() };
        let mut config = Config::default();
        config.log_analyzer.custom_patterns = vec![pattern];
        let programs = |host: &str| {
            let (wanted, feature) = plan(&config, &FixtureHost::parse(host).expect("valid"), false);
            (wanted.expect("a journal").programs, feature.reason)
        };
        assert_eq!(
            programs(&there),
            (true, format!("{PROGRAM}: 1 custom patterns, since there is no syslog file"))
        );
        assert!(!programs(&format!("{there}//- /var/log/messages\nx\n")).0);
        let mut config = Config::default();
        config.log_analyzer.sources = vec![LogSource::Dmesg];
        let (wanted, feature) = plan(&config, &FixtureHost::parse(&oomd).expect("valid"), true);
        assert_eq!((wanted, feature.state.name()), (None, "off"));
    }
}
