//! `sysops-agent doctor`: tries every feature on this host and says how it stands.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::features::Feature;
use super::kernel::{Kernel, Places};
use crate::collect::runner::{FULL, Health, Item, Runner, Sink};
use crate::collect::{CollectError, filesystem};
use crate::config::{Config, Lack};
use crate::host::aside::{Answer, Aside};
use crate::host::{Host, clock, gpu, read_text, state};
use crate::sample::Batch;

/// Every feature, tried now. Needs a tokio runtime to be entered.
pub fn examine(config: &Config, host: &Arc<dyn Host>, lacking: &[Lack]) -> Vec<Feature> {
    let mut features = vec![privileges(host.as_ref()), super::namespaces::feature(host.as_ref())];
    let mut extra = Vec::new();
    match Kernel::open(config, host, Places::default()) {
        Ok(mut kernel) => {
            kernel.try_journal();
            features.extend_from_slice(kernel.features());
            extra.extend(kernel.processes(config, host.as_ref()));
        }
        Err(problem) => features.push(Feature::broken("kernel_events", problem, "mend the configuration")),
    }
    features.extend(collectors(config, host, extra));
    features.extend(super::channels::examine(config, lacking));
    features.extend(super::outlets::examine(config));
    features.extend(super::endpoints::examine(config));
    features.extend(super::ship::examine(config));
    features.push(data_dir(&config.agent.data_dir));
    features.extend(super::history::examine(config));
    features
}

pub(super) fn privileges(host: &dyn Host) -> Feature {
    let status = read_text(host, "/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        status
            .lines()
            .find_map(|l| l.strip_prefix(name))
            .and_then(|v| v.split_whitespace().next())
            .unwrap_or("")
    };
    let (uid, caps) = (field("Uid:"), u64::from_str_radix(field("CapEff:"), 16).unwrap_or(0));
    let has: Vec<&str> = CAPABILITIES
        .iter()
        .chain([&SYS_ADMIN])
        .filter(|(bit, _)| caps >> bit & 1 == 1)
        .map(|(_, name)| *name)
        .collect();
    let lacks: Vec<&str> =
        CAPABILITIES.iter().filter(|(bit, _)| !covers(caps, *bit)).map(|(_, name)| *name).collect();
    let has = if has.is_empty() { "none".into() } else { has.join(" ") };
    let reason = format!("uid {uid}; capabilities: {has}");
    if in_user_namespace(host) {
        let remedy =
            "run the agent outside of it: the kernel's own features ask for capabilities of the host";
        Feature::degraded("privileges", format!("{reason}; but in a user namespace"), remedy)
    } else if lacks.is_empty() {
        Feature::on("privileges", reason)
    } else {
        let remedy = format!("install deploy/sysops-agent.service, or give: {}", lacks.join(" "));
        Feature::degraded("privileges", reason, remedy)
    }
}

/// Whether capabilities are those of a user namespace only.
pub(super) fn in_user_namespace(host: &dyn Host) -> bool {
    let map = read_text(host, "/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && !crate::host::parse::maps_all_users(&map)
}

/// Whether a capability is held, or the one that the kernel takes for it: `bpf_capable`, `perfmon_capable`
/// (`include/linux/capability.h`), `check_syslog_permissions` (`kernel/printk/printk.c`).
fn covers(caps: u64, bit: u32) -> bool {
    let instead = matches!(bit, 34 | 38 | 39) && caps >> SYS_ADMIN.0 & 1 == 1;
    caps >> bit & 1 == 1 || instead
}

/// Whether the agent holds `CAP_SYSLOG` of the host.
pub(super) fn has_syslog(host: &dyn Host) -> bool {
    let status = read_text(host, "/proc/self/status").unwrap_or_default();
    let caps = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let caps = caps.and_then(|caps| u64::from_str_radix(caps.trim(), 16).ok());
    caps.is_some_and(|caps| covers(caps, 34)) && !in_user_namespace(host)
}

/// Opens much; not asked for.
const SYS_ADMIN: (u32, &str) = (21, "CAP_SYS_ADMIN");

/// Capabilities that open features (`include/uapi/linux/capability.h`).
const CAPABILITIES: &[(u32, &str)] = &[
    (2, "CAP_DAC_READ_SEARCH"),
    (19, "CAP_SYS_PTRACE"),
    (34, "CAP_SYSLOG"),
    (38, "CAP_PERFMON"),
    (39, "CAP_BPF"),
];

/// How long a driver may take: `nvidia-smi` needs a second, and several on a machine with many boards.
const GPU_PATIENCE: Duration = Duration::from_secs(10);
const NVRM: &str = "see `nvidia-smi` and NVRM in the kernel log; after an update of the driver reboot: its module and its \
     libraries must be of one version";
/// The driver's library may want more stack than a system call.
const GPU_STACK: usize = 1 << 20;

#[derive(Default)]
struct Heard {
    health: Vec<Health>,
    /// Mounts that did not answer.
    dead: Vec<String>,
}

impl Sink for Heard {
    fn batch(&mut self, batch: Batch) -> Option<Batch> {
        let is_set = |id| batch.samples.iter().any(|(of, value)| *of == id && *value > 0.0);
        let stuck =
            batch.defs.iter().filter(|def| def.metric.name == filesystem::STUCK.name && is_set(def.id));
        self.dead.extend(stuck.filter_map(|def| def.labels.first()).map(ToString::to_string));
        Some(batch)
    }

    fn health(&mut self, health: Health) {
        self.health.push(health);
    }
}

fn collectors(config: &Config, host: &Arc<dyn Host>, extra: Vec<Item>) -> Vec<Feature> {
    let mut heard = Heard::default();
    let mut runner = Runner::new(config, Arc::clone(host), extra, clock::now());
    runner.pass(&mut clock::now, &mut heard);
    let full = too_many_series(runner.wanted(), config.collector.max_series);
    let Heard { health, dead } = heard;
    let told = health.into_iter().map(|health| {
        let name = format!("collector.{}", health.collector);
        match health.result {
            Ok(()) if health.collector == "filesystem" && !dead.is_empty() => dead_mounts(name, &dead),
            Ok(()) | Err(CollectError::Read { .. }) if health.collector == "gpu" => gpus(name, host),
            Ok(()) => Feature::on(name, "reads everything"),
            Err(CollectError::Absent { path }) => {
                absent(health.collector, name, &path, config, host.as_ref())
            }
            Err(error @ CollectError::Denied { needs, .. }) if health.collector == "redis" => {
                Feature::degraded(name, error.to_string(), format!("set {needs}"))
            }
            Err(error @ CollectError::Denied { needs, .. }) => {
                Feature::degraded(name, error.to_string(), format!("give the agent {needs}"))
            }
            // EMFILE, ENFILE.
            Err(CollectError::Read { path, error })
                if error.contains("(os error 24)") || error.contains("(os error 23)") =>
            {
                let reason = format!("{path} cannot be read: {error}");
                Feature::degraded(name, reason, "raise LimitNOFILE in the unit (`ulimit -n`)")
            }
            Err(error @ (CollectError::Read { .. } | CollectError::Parse { .. })) => {
                Feature::degraded(name, error.to_string(), remedy(health.collector))
            }
        }
    });
    let switched_off = crate::collect::COLLECTORS
        .iter()
        .filter(|entry| !crate::collect::enabled(config).any(|e| e.name == entry.name))
        .map(|entry| Feature::off(format!("collector.{}", entry.name), "switched off in [collector]"));
    told.chain(switched_off).chain(full).collect()
}

/// What to do where a source gives an error, or what nobody understands.
fn remedy(collector: &str) -> &'static str {
    match collector {
        "docker" => "see to the daemon (`systemctl status docker`, `journalctl -u docker`)",
        "redis" => "see to the server, and to collector.redis.addr",
        "systemd" => "see whether `systemctl` answers",
        _ => "look at the file; if the kernel is fine, report it as a bug",
    }
}

/// What is not there: because it is looked for in the wrong place, or because the kernel has none.
fn absent(collector: &str, name: String, path: &str, config: &Config, host: &dyn Host) -> Feature {
    let roots = [
        ("/proc", "/proc/stat", "agent.proc_root", &config.agent.proc_root),
        ("/sys", "/sys/kernel", "agent.sys_root", &config.agent.sys_root),
    ];
    for (below, sure, key, root) in roots {
        if path.starts_with(below) && !there(host, sure) {
            let reason = format!("{path} does not exist: {} is no {below}", root.display());
            let remedy = format!("mount {below} there, or set {key} to where the host's is");
            return Feature::broken(name, reason, remedy);
        }
    }
    let reason = format!("{path} does not exist on this host");
    if collector == "pressure" {
        return Feature::broken(name, reason, "a kernel from 4.20 on with CONFIG_PSI, started with psi=1");
    }
    if collector == "cgroup" {
        return no_groups(name, reason, host);
    }
    if crate::collect::COLLECTORS.iter().any(|entry| entry.name == collector && entry.optional) {
        return Feature::off(name, reason);
    }
    Feature::broken(name, reason, "nothing short of another kernel")
}

/// No memory groups: not mounted, or mounted without the controller.
fn no_groups(name: String, reason: String, host: &dyn Host) -> Feature {
    let mut entries = 0;
    let _ = host.list("/sys/fs/cgroup", &mut |_| entries += 1);
    if entries > 0 || !there(host, "/proc/cgroups") {
        let remedy = "a kernel with CONFIG_MEMCG, started without cgroup_disable=memory \
            (some boards want cgroup_enable=memory)";
        return Feature::broken(name, reason, remedy);
    }
    let remedy = "mount it: `mount -t cgroup2 cgroup2 /sys/fs/cgroup`; for a container, give it the host's";
    Feature::broken(name, "/sys/fs/cgroup is not mounted", remedy)
}

fn there(host: &dyn Host, path: &str) -> bool {
    host.open(path).is_ok() || host.list(path, &mut |_| ()).is_ok()
}

/// A look that had no room for everything.
fn too_many_series(wanted: u64, most: usize) -> Option<Feature> {
    let reason = format!(
        "{wanted} series were found, more than collector.max_series ({most}) allows: what is beyond is left out"
    );
    (wanted > most as u64).then(|| Feature::degraded("collector.series", reason, FULL))
}

/// The collector waits for nobody; here it counts what the driver says in the end.
fn gpus(name: String, host: &Arc<dyn Host>) -> Feature {
    let shared = Arc::clone(host);
    let ask = move || {
        let mut driver = shared.gpus();
        driver.read().map(|gpus| (gpus, driver.name()))
    };
    let mut aside = Aside::new("gpu", 1).with_stack(GPU_STACK);
    match aside.ask("", clock::now(), GPU_PATIENCE, ask) {
        Answer::Done(Ok((gpus, by))) => told_gpus(name, &gpus, by, host.as_ref()),
        Answer::Done(Err(error @ gpu::Error::NoTool)) => {
            Feature::degraded(name, error.to_string(), "install them, and restart the agent")
        }
        Answer::Done(Err(error)) => Feature::degraded(name, error.to_string(), NVRM),
        Answer::Stuck { .. } | Answer::NotAsked => Feature::broken(
            name,
            format!("the NVIDIA driver has not answered for {} s", GPU_PATIENCE.as_secs()),
            "look for NVRM and Xid in the kernel log; a driver that hangs wants a reboot",
        ),
    }
}

fn told_gpus(name: String, gpus: &[gpu::Gpu], by: &str, host: &dyn Host) -> Feature {
    let numbers = |is: &dyn Fn(&gpu::Gpu) -> bool| {
        let those = gpus.iter().filter(|gpu| is(gpu)).map(|gpu| gpu.index.to_string());
        Some(those.collect::<Vec<_>>().join(", ")).filter(|those| !those.is_empty())
    };
    if gpus.is_empty() && crate::collect::gpu::has_boards(host) == Some(true) {
        return Feature::degraded(
            name,
            "the NVIDIA driver knows no GPU, though boards are bound to it",
            NVRM,
        );
    }
    if let Some(lost) = numbers(&|gpu| gpu.lost.is_some()) {
        return Feature::degraded(name, format!("GPU {lost} is lost to the NVIDIA driver"), NVRM);
    }
    if let Some(denied) = numbers(&|gpu| gpu.forbidden) {
        let remedy = "give the agent its device file, /dev/nvidiaN, which this container was not given";
        return Feature::degraded(name, format!("GPU {denied} may not be asked"), remedy);
    }
    Feature::on(name, format!("{} GPUs, by {by}", gpus.len()))
}

fn dead_mounts(name: String, dead: &[String]) -> Feature {
    let reason = format!("reads everything but what does not answer: {}", dead.join(", "));
    let remedy = "mend or unmount it (`umount -l`), or name it in collector.exclude_mountpoints";
    Feature::degraded(name, reason, remedy)
}

fn data_dir(path: &Path) -> Feature {
    let usable = state::usable_dir(path);
    let path = path.display();
    match usable {
        Ok(()) => Feature::on("outbox", format!("{path} keeps alerts until they are delivered")),
        Err(error) => Feature::degraded(
            "outbox",
            format!("{path} cannot be written: {error}; alerts wait in memory only"),
            match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    "make room on its filesystem, or set agent.data_dir"
                }
                _ => "create it for the agent's user, or set agent.data_dir",
            },
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    /// How a collector stands on a host.
    fn check(host: &str, config: &Config, name: &str, state: &str, reason: &str, remedy: &str) {
        let host: Arc<dyn Host> = Arc::new(FixtureHost::parse(host).expect("valid"));
        let features = collectors(config, &host, Vec::new());
        let feature = features.iter().find(|f| f.name == name).expect(name);
        assert_eq!(feature.state.name(), state, "{feature:?}");
        assert!(feature.reason.contains(reason), "{feature:?}");
        assert!(feature.remedy.as_deref().unwrap_or("").contains(remedy), "{feature:?}");
    }

    #[test]
    fn privileges_are_those_that_count() {
        let check = |caps: &str, map: &str, syslog: bool, state: &str, parts: &[&str]| {
            let text = format!(
                "//- /proc/self/status\nUid:\t7\t7\nCapEff:\t{caps}\n//- /proc/self/uid_map\n{map}\n"
            );
            let host = FixtureHost::parse(&text).expect("valid");
            let feature = privileges(&host);
            let told = format!("{} -> {}", feature.reason, feature.remedy.as_deref().unwrap_or(""));
            assert_eq!((feature.state.name(), has_syslog(&host)), (state, syslog), "{told}");
            for part in parts {
                assert!(told.contains(part), "{part}: {told}");
            }
        };
        let whole = "0 0 4294967295";
        check("0", whole, false, "degraded", &["none", "give: CAP_DAC_READ_SEARCH", "CAP_BPF"]);
        let admin = "0000000000200000";
        check(
            admin,
            whole,
            true,
            "degraded",
            &["capabilities: CAP_SYS_ADMIN", "give: CAP_DAC_READ_SEARCH CAP_SYS_PTRACE"],
        );
        check("000000c400080004", whole, true, "on", &["CAP_BPF"]);
        check("000000c400080004", "0 1000 1", false, "degraded", &["user namespace"]);
        check("nonsense", whole, false, "degraded", &["none"]);
    }

    #[test]
    fn what_a_collector_lacks_has_a_remedy() {
        const MOUNTS: &str = "//- /proc/1/mountinfo\n1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
            2 1 0:9 / /mnt/nfs rw - nfs4 far:/x rw\n//- statvfs / total=10 free=5 avail=5 inodes=0 ifree=0\n";
        let stat = "//- /proc/stat\ncpu 1 2 3 4 5 6 7 8 9 10\n";
        let dead = format!("{MOUNTS}//- statvfs /mnt/nfs hang\n");
        let alive = format!("{MOUNTS}//- statvfs /mnt/nfs total=10 free=5 avail=5 inodes=0 ifree=0\n");
        let plain = Config::default();
        check(&alive, &plain, "collector.filesystem", "on", "everything", "");
        check(&dead, &plain, "collector.filesystem", "degraded", "does not answer: /mnt/nfs", "umount -l");
        check(stat, &plain, "collector.load", "off", "/proc/loadavg does not exist", "another kernel");
        check(stat, &plain, "collector.pressure", "off", "does not exist on this host", "CONFIG_PSI");
        let able = format!("{stat}//- /proc/cgroups\nmemory 0 1 1\n");
        let v1 = format!("{able}//- /sys/fs/cgroup/cpu/cpu.shares\n2\n");
        let mount = "mount -t cgroup2 cgroup2 /sys/fs/cgroup";
        check(&able, &plain, "collector.cgroup", "off", "/sys/fs/cgroup is not mounted", mount);
        check(&v1, &plain, "collector.cgroup", "off", "the memory controller in", "cgroup_disable=memory");
        check(stat, &plain, "collector.cgroup", "off", "the memory controller in", "CONFIG_MEMCG");
        let mut few = Config::default();
        few.collector.max_series = 1;
        check(
            &alive,
            &few,
            "collector.series",
            "degraded",
            "what is beyond is left out",
            "collector.exclude_*",
        );
        let mut moved = Config::default();
        moved.agent.proc_root = "/host/proc".into();
        check("", &moved, "collector.load", "off", "/host/proc is no /proc", "agent.proc_root");
        let mut without = Config::default();
        without.collector.disabled = vec!["cpu".into()];
        check(stat, &without, "collector.cpu", "off", "switched off", "");
    }
}
