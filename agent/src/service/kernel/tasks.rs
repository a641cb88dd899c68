//! The task iterator, and who makes use of it.

use std::sync::Arc;

use super::Kernel;
use crate::collect::process;
use crate::collect::runner::Item;
use crate::config::Config;
#[cfg(feature = "ebpf")]
use crate::config::Switch;
#[cfg(feature = "ebpf")]
use crate::ebpf::tasks::TaskIter;
use crate::host::Host;
use crate::host::tasks::Tasks;
#[cfg(feature = "ebpf")]
use crate::service::features::Feature;

impl Kernel {
    #[cfg(feature = "ebpf")]
    pub(super) fn open_tasks(&mut self, config: &Config, host: &Arc<dyn Host>) {
        const NAME: &str = "process_iterator";
        if config.ebpf.enabled == Switch::Off || !config.ebpf.process_iterator {
            let key =
                if config.ebpf.process_iterator { "enabled = \"off\"" } else { "process_iterator = false" };
            let reason = format!("switched off by ebpf.{key}; processes are read from /proc");
            self.features.push(Feature::off(NAME, reason));
            return;
        }
        match TaskIter::load(host.as_ref()) {
            Ok(tasks) => {
                self.tasks = Some(tasks);
                self.features.push(Feature::on(NAME, "all threads of the machine in a few system calls"));
            }
            Err(refused) => {
                let reason =
                    format!("{}; processes are read from /proc, at several times the cost", refused.why);
                self.features.push(Feature::degraded(NAME, reason, refused.remedy));
            }
        }
    }

    #[cfg(not(feature = "ebpf"))]
    #[expect(clippy::unused_self, reason = "the same call with and without eBPF")]
    pub(super) fn open_tasks(&mut self, _: &Config, _: &Arc<dyn Host>) {}

    /// A look at threads in uninterruptible sleep, for whoever looks for hung ones.
    #[cfg(feature = "ebpf")]
    pub(in crate::service) fn sleepers(
        &self,
        config: &Config,
        host: &Arc<dyn Host>,
    ) -> Option<Box<dyn Tasks>> {
        let plain = self.tasks().filter(|_| config.ebpf.dstate_watch_secs > 0)?;
        Some(TaskIter::load_asleep(host.as_ref()).map_or(plain, |tasks| Box::new(tasks)))
    }

    /// Another look at all threads, for whoever wants one.
    #[cfg(feature = "ebpf")]
    fn tasks(&self) -> Option<Box<dyn Tasks>> {
        self.tasks.as_ref().map(|tasks| -> Box<dyn Tasks> { Box::new(tasks.clone()) })
    }

    /// The same for whoever looks every few seconds.
    #[cfg(feature = "ebpf")]
    fn frequent_tasks(&self, host: &dyn Host) -> Option<Box<dyn Tasks>> {
        let plain = self.tasks()?;
        // Where there is no room for a second one, the one that runs already serves.
        Some(TaskIter::load_brief(host).map_or(plain, |tasks| Box::new(tasks)))
    }

    /// None without eBPF.
    #[cfg(not(feature = "ebpf"))]
    #[expect(clippy::unused_self, reason = "the same call with and without eBPF")]
    fn frequent_tasks(&self, _: &dyn Host) -> Option<Box<dyn Tasks>> {
        None
    }

    /// None without eBPF.
    #[cfg(not(feature = "ebpf"))]
    #[expect(clippy::unused_self, reason = "the same call with and without eBPF")]
    fn tasks(&self) -> Option<Box<dyn Tasks>> {
        None
    }

    /// None without eBPF.
    #[cfg(not(feature = "ebpf"))]
    #[expect(clippy::unused_self, reason = "the same call with and without eBPF")]
    pub(in crate::service) fn sleepers(&self, _: &Config, _: &Arc<dyn Host>) -> Option<Box<dyn Tasks>> {
        None
    }

    /// The collector of processes, where another one than that of the table serves.
    pub(in crate::service) fn processes(&self, config: &Config, host: &dyn Host) -> Option<Item> {
        let entry = crate::collect::enabled(config).find(|entry| entry.name == "process")?;
        let pace = (entry.pace)(config);
        let tasks = if pace < process::WHOLE { self.frequent_tasks(host) } else { self.tasks() };
        let collector = process::Process::new(&process::Options::of(config), Some(tasks?));
        Some((entry.name, pace, Box::new(collector)))
    }
}
