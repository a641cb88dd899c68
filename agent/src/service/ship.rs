//! Starts the log shipper; its health as metrics, and how it would do on this host.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::features::Feature;
use crate::collect::runner::Item;
use crate::collect::{CollectError, Collector};
use crate::config::Config;
use crate::host::tail::{self, find::find};
use crate::host::{Host, clock};
use crate::metric::metrics;
use crate::push::poster::Poster;
use crate::sample::Samples;
use crate::ship::Shipper;
use crate::ship::files::{MAX_FILES, REMEDY, paths};
use crate::ship::view::View;
use crate::text::clean;

metrics! {
    UP: Gauge Count "log_shipper_up" [] "1 while the server takes log lines, 0 before the first success and after a failure.", "the agent";
    LINES: Counter Count "log_shipper_lines_total" [] "Log lines that the server took.", "the agent";
    BYTES: Counter Bytes "log_shipper_sent_bytes_total" [] "Bytes of these lines.", "the agent";
    FAILURES: Counter Count "log_shipper_failures_total" [] "Tries to send log lines that failed.", "the agent";
    FILES: Gauge Count "log_shipper_files_count" [] "Log files that are followed.", "the agent";
    LEFT_OUT: Gauge Count "log_shipper_files_left_out_count" [] "Log files beyond the limit, which are not followed.", "the agent";
    UNREADABLE: Gauge Count "log_shipper_files_unreadable_count" [] "Log files that cannot be read.", "the agent";
    UNREAD: Gauge Bytes "log_shipper_unread_bytes" [] "Bytes of log files that are still to be sent, as of the last look.", "the agent";
    ROTATIONS: Counter Count "log_shipper_rotations_total" [] "Times a log file was renamed, cut or replaced.", "the agent";
    LOST: Counter Bytes "log_shipper_lost_bytes_total" [] "Bytes that were cut or deleted before the server took them.", "the agent";
    CHANGED: Counter Count "log_shipper_lines_changed_total" ["how"] "Log lines that were not sent as they are: split (too long), not_utf8, refused (a note is sent instead).", "the agent";
    UNKEPT: Gauge Count "log_shipper_places_unsaved" [] "1 while the places in the log files cannot be written to disk.", "the agent";
}

/// How often its health is told.
const PACE: Duration = Duration::from_secs(30);

/// What ships, not started yet.
pub(super) struct Shipping {
    shipper: Shipper,
    /// How it stands.
    pub(super) view: watch::Receiver<View>,
}

impl Shipping {
    /// As the configuration says; none if it is off.
    pub(super) fn of(config: &Config, agent_id: &str) -> Option<Self> {
        if !config.log_shipper.enabled {
            return None;
        }
        let poster = Poster::of(config, "push.log_url", &config.push.log_url);
        let poster = poster.unwrap_or_else(|problem| {
            tracing::error!("{problem}; no log lines are sent");
            None
        })?;
        let (shipper, view) = Shipper::new(config, poster, agent_id.to_owned(), clock::now);
        Some(Self { shipper, view })
    }

    /// Its health as a collector.
    pub(super) fn collector(&self) -> Item {
        ("log_shipper", PACE, Box::new(Health(self.view.clone())))
    }

    /// Runs until `stop`.
    pub(super) fn run(self, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        self.shipper.run(stop)
    }
}

struct Health(watch::Receiver<View>);

impl Collector for Health {
    fn collect(&mut self, _: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let view = self.0.borrow();
        let mut put = |metric, labels: &[&str], value: u64| out.put(metric, labels, value as f64);
        put(&UP, &[], u64::from(view.up));
        put(&LINES, &[], view.lines);
        put(&BYTES, &[], view.bytes);
        put(&FAILURES, &[], view.failures);
        put(&FILES, &[], view.files);
        put(&LEFT_OUT, &[], view.left_out);
        put(&UNREADABLE, &[], view.unreadable);
        put(&UNREAD, &[], view.unread_bytes);
        put(&ROTATIONS, &[], view.rotations);
        put(&LOST, &[], view.lost_bytes);
        put(&CHANGED, &["split"], view.split);
        put(&CHANGED, &["not_utf8"], view.not_utf8);
        put(&CHANGED, &["refused"], view.refused);
        put(&UNKEPT, &[], u64::from(view.trouble.is_some()));
        Ok(())
    }
}

/// How it would do on this host, for `doctor`; nothing is sent.
pub(super) fn examine(config: &Config) -> Option<Feature> {
    const NAME: &str = "log_shipper";
    if !config.log_shipper.enabled {
        return None;
    }
    let server = match Poster::of(config, "push.log_url", &config.push.log_url) {
        Ok(Some(poster)) => poster.host(),
        Ok(None) => {
            return Some(Feature::broken(
                NAME,
                "push.log_url is empty: no log line is sent",
                "set push.log_url",
            ));
        }
        Err(why) => return Some(Feature::broken(NAME, why, "mend [push]")),
    };
    let found = find(&paths(config), MAX_FILES, &|_| false);
    let (mut there, mut absent, mut closed) = (0, 0, Vec::new());
    for path in &found.files {
        match tail::try_open(path) {
            Ok(()) => there += 1,
            Err(error) if error.kind() == ErrorKind::NotFound => absent += 1,
            Err(error) => closed.push(format!("{}: {error}", clean(&path.to_string_lossy(), 100))),
        }
    }
    let later = if absent > 0 { format!(", {absent} are read once they appear") } else { String::new() };
    let told = format!("{there} files to {server}{later}");
    Some(if let Some(first) = closed.first() {
        let more = if closed.len() > 1 { format!(" and {} more", closed.len() - 1) } else { String::new() };
        Feature::degraded(NAME, format!("{told}; cannot be read: {first}{more}"), REMEDY)
    } else if found.left_out > 0 {
        let remedy = "name fewer files, or narrower patterns, in log_shipper.files";
        Feature::degraded(
            NAME,
            format!("{told}; {} more are left out: {MAX_FILES} is the most", found.left_out),
            remedy,
        )
    } else if there + absent == 0 {
        Feature::on(NAME, format!("no file fits log_shipper.files yet; what appears is sent to {server}"))
    } else {
        Feature::on(NAME, told)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    #[test]
    fn each_count_is_told_under_its_own_name() {
        let view = View {
            up: true,
            files: 2,
            left_out: 3,
            unreadable: 4,
            unread_bytes: 5,
            lines: 6,
            bytes: 7,
            failures: 8,
            rotations: 9,
            lost_bytes: 10,
            split: 11,
            not_utf8: 12,
            refused: 13,
            trouble: Some("full".into()),
            ..View::default()
        };
        let (_keep, shown) = watch::channel(view);
        let mut bench = Bench::new("", Health(shown));
        bench.pass().unwrap();
        bench.expect(&[
            ("log_shipper_up", 1.0),
            ("log_shipper_files_count", 2.0),
            ("log_shipper_files_left_out_count", 3.0),
            ("log_shipper_files_unreadable_count", 4.0),
            ("log_shipper_unread_bytes", 5.0),
            ("log_shipper_lines_total", 6.0),
            ("log_shipper_sent_bytes_total", 7.0),
            ("log_shipper_failures_total", 8.0),
            ("log_shipper_rotations_total", 9.0),
            ("log_shipper_lost_bytes_total", 10.0),
            ("log_shipper_lines_changed_total{split}", 11.0),
            ("log_shipper_lines_changed_total{not_utf8}", 12.0),
            ("log_shipper_lines_changed_total{refused}", 13.0),
            ("log_shipper_places_unsaved", 1.0),
        ]);
    }

    /// What `doctor` says of some files.
    fn check(files: &[&str], url: &str, state: &str, reason: &str) {
        let mut config = Config::default();
        config.log_shipper.enabled = true;
        config.log_shipper.files = files.iter().map(Into::into).collect();
        config.push.log_url = url.into();
        let feature = examine(&config).expect("it is on");
        assert_eq!(feature.state.name(), state, "{feature:?}");
        assert!(feature.reason.contains(reason), "{feature:?}");
    }

    #[test]
    fn doctor_says_what_would_be_sent() {
        assert!(examine(&Config::default()).is_none());
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        std::fs::write(at("a.log"), "x\n").unwrap();
        let url = "http://collector:1/logs";
        check(&[], "", "off", "push.log_url is empty");
        check(&[&at("a.log")], "s3cret", "off", "push.log_url: url is not an address");
        check(
            &[&at("a.log"), &at("b.log")],
            url,
            "on",
            "1 files to collector:1, 1 are read once they appear",
        );
        check(&[&at("*.txt")], url, "on", "no file fits");
        check(&[&at("")], url, "degraded", "it is no file");
        (0..200).for_each(|n| std::fs::write(at(&format!("m{n}")), "").unwrap());
        check(&[&at("m*")], url, "degraded", "72 more are left out");
    }
}
