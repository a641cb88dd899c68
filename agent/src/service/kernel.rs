//! The ways kernel events come in, and which stands in for which.

mod tasks;

use std::sync::Arc;

use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::features::Feature;
use super::journal;
use super::journal_health::{self, JournalHealth};
use super::pipeline::Message;
#[cfg(feature = "ebpf")]
use super::refusals::Refusals;
use super::syslog;
#[cfg(feature = "ebpf")]
use crate::collect;
use crate::collect::runner::Item;
use crate::config::{Config, Switch};
use crate::engine::incident::Witnesses;
use crate::event::{JournalMark, KmsgMark, Source, SyslogMark};
use crate::host::{Host, clock};
use crate::watch::journal::follow::JournalWatch;
use crate::watch::kmsg::{KmsgWatch, Raw};
use crate::watch::rules::{Choice, Custom, RuleSet};
use crate::watch::scan::{Resume, Scanner};
use crate::watch::syslog::follow::SyslogWatch;

/// Kernel-event sources, opened but not yet read.
pub(super) struct Kernel {
    #[cfg(feature = "ebpf")]
    ebpf: Option<crate::ebpf::Ebpf>,
    #[cfg(feature = "ebpf")]
    tasks: Option<crate::ebpf::tasks::TaskIter>,
    kmsg: Option<KmsgWatch>,
    journal: Option<JournalWatch>,
    syslog: Option<SyslogWatch>,
    /// The kernel's lines come by the journal.
    relays: bool,
    witnesses: Witnesses,
    features: Vec<Feature>,
}

/// Where reading goes on.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// In the kernel log.
    pub(super) kmsg: Option<KmsgMark>,
    /// In the journal.
    pub(super) journal: Option<JournalMark>,
    /// In the syslog file.
    pub(super) syslog: Option<SyslogMark>,
}

/// The watch on uninterruptible sleep needs no right; with some it tells more.
fn dstate(after_secs: u64, host: &dyn Host) -> Feature {
    const NAME: &str = "dstate_watch";
    if after_secs == 0 {
        return Feature::off(
            NAME,
            "switched off by ebpf.dstate_watch_secs = 0; the ends of hangs are told all the same",
        );
    }
    let what = format!("tasks in uninterruptible sleep for {after_secs} s are reported");
    if crate::host::read_text(host, "/proc/self/stack").is_ok_and(|stack| !stack.is_empty()) {
        return Feature::on(NAME, format!("{what}, with their kernel stacks"));
    }
    // The same question (`PTRACE_MODE_READ_FSCREDS`) guards `wchan` and `fd`. A container may have no process 2, and
    // process 1 may have rights that nobody else has.
    if [1, 2].iter().any(|pid| host.read_link(&format!("/proc/{pid}/ns/mnt")).is_ok()) {
        let reason = format!(
            "{what}, with function and mount they wait for, but without kernel stacks: /proc/PID/stack is closed"
        );
        return Feature::degraded(NAME, reason, "give the agent CAP_SYS_ADMIN, if the stacks are worth it");
    }
    let reason = format!(
        "{what}, but not where in the kernel nor for which mount: /proc/PID/wchan, fd and stack of others are closed"
    );
    let remedy = if super::doctor::in_user_namespace(host) {
        "run the agent outside of its user namespace, where its capabilities count"
    } else {
        "give the agent CAP_SYS_PTRACE for function and mount, CAP_SYS_ADMIN for stacks"
    };
    Feature::degraded(NAME, reason, remedy)
}

/// The rules as configured: the error names every pattern that cannot be used.
pub(super) fn rules(config: &Config) -> Result<RuleSet, String> {
    let section = &config.log_analyzer;
    let custom: Vec<Custom<'_>> = section
        .custom_patterns
        .iter()
        .map(|c| Custom { name: &c.name, pattern: &c.pattern, severity: c.severity })
        .collect();
    let choice = Choice {
        gpu: section.gpu_xid_monitoring,
        disabled: &section.disabled_rules,
        severity: Some(&section.severity),
    };
    RuleSet::chosen(&custom, choice)
}

impl Kernel {
    /// Opens what can be opened. An error only where the configuration insists (`ebpf.enabled = "on"`) or
    /// a pattern cannot be used.
    pub(super) fn open(config: &Config, host: &Arc<dyn Host>, places: Places) -> Result<Self, String> {
        let mut kernel = Self {
            #[cfg(feature = "ebpf")]
            ebpf: None,
            #[cfg(feature = "ebpf")]
            tasks: None,
            kmsg: None,
            journal: None,
            syslog: None,
            relays: false,
            witnesses: Witnesses::default(),
            features: Vec::new(),
        };
        kernel.open_logs(config, host, places)?;
        kernel.open_ebpf(config, host)?;
        kernel.open_tasks(config, host);
        kernel.features.push(dstate(config.ebpf.dstate_watch_secs, host.as_ref()));
        Ok(kernel)
    }

    fn open_logs(&mut self, config: &Config, host: &Arc<dyn Host>, places: Places) -> Result<(), String> {
        let section = &config.log_analyzer;
        // Whichever is named carries the kernel's lines, and this device tells them best.
        if !section.enabled || section.sources.is_empty() {
            let features = ["kernel_log", "journal", syslog::NAME]
                .map(|name| Feature::off(name, "switched off in [log_analyzer]"));
            self.features.extend(features);
            return Ok(());
        }
        let rules = Arc::new(rules(config)?);
        // Asked first whether there is a journal at all: then what processes write to the device is left to it.
        let has_journal = journal::plan(config, host.as_ref(), false).0.is_some();
        self.open_kmsg(config, host, places.kmsg, &rules, has_journal);
        self.open_journal(config, host, places.journal, &rules);
        let kernel = self.kmsg.is_none() && !self.relays;
        let (watch, feature) = syslog::open(config, host.as_ref(), places.syslog, &rules, kernel);
        self.syslog = watch;
        self.features.push(feature);
        Ok(())
    }

    fn open_journal(
        &mut self,
        config: &Config,
        host: &Arc<dyn Host>,
        resume: Option<JournalMark>,
        rules: &Arc<RuleSet>,
    ) {
        let kernel = self.kmsg.is_none();
        let (wanted, feature) = journal::plan(config, host.as_ref(), kernel);
        self.features.push(feature);
        let Some(wanted) = wanted else { return };
        // It begins where the journal does: all of it is news.
        let scanner = || Scanner::new(Arc::clone(rules), Resume::After { seq: 0 }).out_of(Source::Journal);
        let scanner = kernel.then(scanner);
        if kernel {
            // A witness from when it delivers on: it tells so itself.
            self.relays = true;
        }
        self.journal = Some(journal::watch(host, wanted, resume, scanner, clock::now()));
    }

    fn open_kmsg(
        &mut self,
        config: &Config,
        host: &Arc<dyn Host>,
        resume: Option<KmsgMark>,
        rules: &Arc<RuleSet>,
        has_journal: bool,
    ) {
        const NAME: &str = "kernel_log";
        let resume = resume.map_or(Resume::Fresh, |mark| Resume::After { seq: mark.seq });
        let scanner = Scanner::new(Arc::clone(rules), resume).beside_journal(has_journal);
        let path = config.agent.host_root.join("dev/kmsg").display().to_string();
        match KmsgWatch::open(&path, scanner, clock::now) {
            Ok(watch) => {
                self.kmsg = Some(watch.enriched_by(Arc::clone(host)));
                self.witnesses.oom.push(Source::Kmsg);
                self.witnesses.io_error.push(Source::Kmsg);
                self.features.push(Feature::on(
                    NAME,
                    format!("{path}: OOM kills, hung tasks and all kernel-log rules"),
                ));
            }
            Err(error) => {
                let remedy = error.remedy(super::doctor::has_syslog(host.as_ref()));
                tracing::warn!("kernel log: {error}; {remedy}");
                self.features.push(Feature::broken(NAME, error.to_string(), remedy));
            }
        }
    }

    #[cfg(not(feature = "ebpf"))]
    fn open_ebpf(&mut self, config: &Config, _: &Arc<dyn Host>) -> Result<(), String> {
        if config.ebpf.enabled == Switch::On {
            return Err(
                "ebpf.enabled = \"on\", but this build has no eBPF; use a build with the feature ebpf".into(),
            );
        }
        self.features.push(Feature::off("ebpf", "not in this build; the kernel log stands in"));
        Ok(())
    }

    #[cfg(feature = "ebpf")]
    fn open_ebpf(&mut self, config: &Config, host: &Arc<dyn Host>) -> Result<(), String> {
        use crate::config::Transport;
        use crate::ebpf::probes::ProbeState;
        use crate::ebpf::transport::Way;
        let section = &config.ebpf;
        if section.enabled == Switch::Off {
            self.features.push(Feature::off("ebpf", "switched off by ebpf.enabled = \"off\""));
            return Ok(());
        }
        let options = crate::ebpf::Options {
            oom: section.oom,
            hung_task: section.hung_task,
            block_io: section.block_io,
            ras: section.ras,
            net_tx_timeout: section.net_tx_timeout,
            thermal: section.thermal,
            tcp: section.tcp,
            memory_stalls: section.memory_stalls,
            run_queue: section.run_queue,
            io_latency_threshold_ms: section.io_latency_threshold_ms,
            max_io_events_per_sec: section.max_io_events_per_sec,
            issuer_window_secs: config.collector.disk_io_interval_secs,
            perf_buffer_pages: section.perf_buffer_pages,
            only_transport: match section.transport {
                Transport::Auto => None,
                Transport::Perf => Some(Way::PerfBuffer),
                Transport::Ring => Some(Way::Ring),
            },
            only_mode: None,
        };
        let (ebpf, reports) = crate::ebpf::Ebpf::load(host.as_ref(), &options);
        self.ebpf = ebpf;
        let log = self.relays || self.kmsg.is_some();
        let mut refusals = Refusals::default();
        for report in reports {
            let (name, probe) = (format!("ebpf.{}", report.probe.name), report.probe);
            match report.state {
                ProbeState::On { mode, lacks } => {
                    match probe.name {
                        "oom" => self.witnesses.oom.push(Source::Ebpf),
                        "block_io" => self.witnesses.io_error.push(Source::Ebpf),
                        _ => {}
                    }
                    self.features.push(match lacks {
                        None => Feature::on(name, mode),
                        Some(lack) => Feature::degraded(name, format!("{mode}; {}", lack.why), lack.remedy),
                    });
                }
                ProbeState::Off { reason } => self.features.push(Feature::off(name, reason)),
                ProbeState::Failed { why, remedy } => {
                    // What /proc tells needs no kernel log.
                    let replaced = log || !probe.fallback.contains("kernel log");
                    let stand_in =
                        if replaced { probe.fallback } else { "the kernel log cannot be read either" };
                    refusals.add(probe.name, probe.rare, &format!("{why}; to mend it: {remedy}"), stand_in);
                    let reason = format!("{why}; {stand_in}");
                    self.features.push(if replaced {
                        Feature::degraded(name, reason, remedy)
                    } else {
                        Feature::broken(name, reason, remedy)
                    });
                }
            }
        }
        for line in refusals.lines() {
            tracing::warn!("{line}");
        }
        if section.enabled == Switch::On && !refusals.is_empty() {
            return Err(format!("ebpf.enabled = \"on\", but {}", refusals.lines().join("; ")));
        }
        Ok(())
    }

    /// Sources that are up.
    pub(super) fn witnesses(&self) -> Witnesses {
        self.witnesses.clone()
    }

    /// How each source stands.
    pub(super) fn features(&self) -> &[Feature] {
        &self.features
    }

    /// Collectors that the sources bring along.
    #[cfg(feature = "ebpf")]
    pub(super) fn collectors(&mut self, config: &Config, host: &dyn Host) -> Vec<Item> {
        let processes = self.processes(config, host);
        let mut items: Vec<Item> = processes.into_iter().chain(self.journal_health()).collect();
        let Some(ebpf) = &mut self.ebpf else { return items };
        let pace = std::time::Duration::from_secs(config.collector.disk_io_interval_secs);
        let skip = crate::host::glob::Globs::new(&config.collector.exclude_devices);
        let look = crate::ebpf::hist::Look {
            skip: Box::new(move |device| skip.matches(device)),
            scene_from_ms: crate::engine::builtin::disk_policy(config).least_alert_ms(),
        };
        let collector = ebpf.collector(look);
        items.push(("ebpf", pace, Box::new(collector)));
        let network = std::time::Duration::from_secs(config.collector.network_interval_secs);
        let cpu = std::time::Duration::from_secs(config.collector.cpu_interval_secs);
        items.extend(ebpf.tcp_collector().map(|tcp| -> Item { ("ebpf_tcp", network, Box::new(tcp)) }));
        items.extend(ebpf.wait_collector().map(|waits| -> Item { ("ebpf_waits", cpu, Box::new(waits)) }));
        // In place of the one of the table, which knows of no maps.
        let maps = ebpf.map_bytes();
        let own = collect::enabled(config).find(|entry| entry.name == "agent");
        items.extend(own.map(|entry| -> Item {
            (entry.name, (entry.pace)(config), Box::new(collect::agent::Agent::beside(maps)))
        }));
        items
    }

    /// Collectors that the sources bring along.
    #[cfg(not(feature = "ebpf"))]
    pub(super) fn collectors(&mut self, _: &Config, _: &dyn Host) -> Vec<Item> {
        self.journal_health().into_iter().collect()
    }

    fn journal_health(&self) -> Option<Item> {
        let state = self.journal.as_ref()?.state();
        Some(("journal", journal_health::PACE, Box::new(JournalHealth(state))))
    }

    /// Tries what can only be known by trying: for `doctor`, which starts nothing.
    pub(super) fn try_journal(&mut self) {
        let Some(watch) = &self.journal else { return };
        for feature in self.features.iter_mut().filter(|feature| feature.name == journal::NAME) {
            *feature = journal::tried(watch.wanted(), feature.clone());
        }
    }

    /// Hands on the records of the kernel log themselves too; whether it is read at all.
    pub(super) fn copy_records(&mut self, to: Sender<Raw>) -> bool {
        self.kmsg = self.kmsg.take().map(|kmsg| kmsg.copied_to(to));
        self.kmsg.is_some()
    }

    /// Whether the journal is read.
    pub(super) fn reads_journal(&self) -> bool {
        self.journal.is_some()
    }

    /// Starts the tasks that read them.
    pub(super) fn start(
        self,
        host: &Arc<dyn Host>,
        inbox: &Sender<Message>,
        stop: &CancellationToken,
    ) -> tokio::task::JoinHandle<()> {
        let mut tasks = JoinSet::new();
        if let Some(kmsg) = self.kmsg {
            let (inbox, stop) = (inbox.clone(), stop.clone());
            tasks.spawn(async move {
                if let Err(error) = kmsg.run(inbox, stop).await {
                    tracing::error!("the kernel log is no longer followed: {error}");
                }
            });
        }
        if let Some(journal) = self.journal {
            tasks.spawn(journal.run(inbox.clone(), stop.clone()));
        }
        if let Some(syslog) = self.syslog {
            tasks.spawn(syslog.run(inbox.clone(), stop.clone()));
        }
        #[cfg(feature = "ebpf")]
        if let Some(ebpf) = self.ebpf {
            tasks.spawn(super::sources::ebpf::run(ebpf, Arc::clone(host), inbox.clone(), stop.clone()));
        }
        #[cfg(not(feature = "ebpf"))]
        let _ = host;
        tokio::spawn(async move {
            tasks.join_all().await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    /// How the D-state watch stands on a host.
    fn check(host: &str, after_secs: u64, state: &str, reason: &str, remedy: Option<&str>) {
        let feature = dstate(after_secs, &FixtureHost::parse(host).expect("valid"));
        assert_eq!(feature.state.name(), state, "{feature:?}");
        assert!(feature.reason.contains(reason), "{feature:?}");
        assert_eq!(feature.remedy.is_some(), remedy.is_some(), "{feature:?}");
        assert!(feature.remedy.unwrap_or_default().contains(remedy.unwrap_or_default()), "{host}");
    }

    #[test]
    fn what_the_watch_cannot_read_is_said() {
        const STACK: &str = "//- /proc/self/stack\n[<0>] proc_pid_stack+0x1/0x2\n";
        const FIRST: &str = "//- /proc/1/ns/mnt -> mnt:[1]\n";
        const SECOND: &str = "//- denied /proc/1/ns/mnt\n//- /proc/2/ns/mnt -> mnt:[1]\n";
        check(STACK, 0, "off", "dstate_watch_secs = 0", None);
        check(STACK, 30, "on", "sleep for 30 s are reported, with their kernel stacks", None);
        check(FIRST, 30, "degraded", "without kernel stacks", Some("CAP_SYS_ADMIN"));
        check(SECOND, 30, "degraded", "without kernel stacks", Some("CAP_SYS_ADMIN"));
        check("//- denied /proc/1/ns/mnt\n", 30, "degraded", "wchan", Some("CAP_SYS_PTRACE"));
        check("//- /proc/self/stack\n", 30, "degraded", "closed", Some("CAP_SYS_PTRACE"));
    }
}
