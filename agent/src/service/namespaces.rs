//! Whether the agent lives among the host's processes and groups: in a container it sees its own, and the kernel's
//! numbers of processes are then not those of its `/proc`.

use super::features::Feature;
use crate::host::{Host, namespace, read_text};

const NAME: &str = "namespaces";

/// A kind of namespace, the inode of the host's (`include/linux/proc_ns.h`), what is missing in another one, and the
/// remedy.
struct Kind {
    file: &'static str,
    host: &'static str,
    lacks: &'static str,
    remedy: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind {
        file: "pid",
        host: namespace::FIRST_PID,
        lacks: "other processes of the host are not seen: of victims and hung tasks only what the kernel tells is known",
        remedy: "share the host's processes (docker run --pid=host, hostPID: true in a pod), or mount the host's /proc and \
                 set agent.proc_root",
    },
    Kind {
        file: "cgroup",
        host: "cgroup:[4026531835]",
        lacks: "limits and usage of other control groups are not seen",
        remedy: "share the host's control groups (docker run --cgroupns=host) with /sys/fs/cgroup of the host",
    },
    Kind {
        file: "net",
        host: "",
        lacks: "how many connections may wait at a port, limits of the network and what drivers say of interfaces are not the \
                host's; ports, sockets and counters are, and interfaces if /sys is",
        remedy: "share the host's network (docker run --network=host, hostNetwork: true in a pod)",
    },
];

/// How the agent sees the host.
pub(super) fn feature(host: &dyn Host) -> Feature {
    let own: Vec<&Kind> = KINDS.iter().filter(|kind| is_own(host, kind)).collect();
    // Every host has a process 1.
    if own.is_empty() && read_text(host, "/proc/1/stat").is_err() {
        let reason = "processes of other users are not seen: /proc is mounted with hidepid";
        let remedy = "give the agent CAP_SYS_PTRACE, or the group of the gid= option of /proc";
        return Feature::degraded(NAME, reason, remedy);
    }
    if own.is_empty() {
        return Feature::on(NAME, "processes, control groups and network of the whole host are seen");
    }
    let list =
        |part: fn(&Kind) -> &'static str| own.iter().map(|kind| part(kind)).collect::<Vec<_>>().join("; ");
    let files: Vec<&str> = own.iter().map(|kind| kind.file).collect();
    let reason = format!("in a {} namespace of its own: {}", files.join(" and a "), list(|kind| kind.lacks));
    Feature::degraded(NAME, reason, list(|kind| kind.remedy))
}

fn is_own(host: &dyn Host, kind: &Kind) -> bool {
    match kind.file {
        "pid" => return namespace::has_own_pids(host),
        "net" => return namespace::has_own_net(host),
        _ => {}
    }
    let link = host.read_link(&format!("/proc/self/ns/{}", kind.file));
    link.is_ok_and(|link| link != kind.host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;
    use crate::service::features::State;

    /// Links of a process, and its line `NSpid`. Expects the state and parts of reason and remedy.
    fn check(links: &[(&str, &str)], numbers: &str, state: State, parts: &[&str]) {
        let links = links.iter().map(|(file, link)| format!("//- /proc/self/ns/{file} -> {link}\n"));
        let status = format!("//- /proc/self/status\nName:\tx\nNSpid:\t{numbers}\n");
        let host = FixtureHost::parse(&links.chain([status]).collect::<String>()).expect("valid");
        host.set("/proc/1/stat", "1 (init) S");
        let Feature { state: got, reason, remedy, .. } = feature(&host);
        let told = format!("{reason} -> {}", remedy.unwrap_or_default());
        assert_eq!(got, state, "{told}");
        for part in parts {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn a_network_of_its_own_is_told() {
        let host = FixtureHost::parse("//- /proc/1/stat\n1 (init) S\n").expect("valid");
        for (own, first, state) in [(7, 7, State::On), (8, 7, State::Degraded)] {
            host.apply(&format!("//- inode /proc/self/net/dev {own}\n//- inode /proc/1/net/dev {first}\n"))
                .expect("valid");
            let told = feature(&host);
            assert_eq!(told.state, state, "{told:?}");
            let remedy = told.remedy.unwrap_or_default();
            assert_eq!(remedy.contains("--network=host"), state == State::Degraded, "{remedy}");
        }
    }

    #[test]
    fn a_container_is_told_from_the_host() {
        let (pid, cgroup) = (("pid", "pid:[4026531836]"), ("cgroup", "cgroup:[4026531835]"));
        let (own_pid, own_cgroup) = (("pid", "pid:[4026532201]"), ("cgroup", "cgroup:[4026532202]"));
        check(&[pid, cgroup], "7", State::On, &["whole host"]);
        check(&[], "7", State::On, &[]);
        check(&[own_pid, cgroup], "7", State::Degraded, &["in a pid namespace", "--pid=host"]);
        check(&[pid, own_cgroup], "7", State::Degraded, &["in a cgroup namespace", "--cgroupns=host"]);
        check(&[own_pid, own_cgroup], "7", State::Degraded, &["a pid and a cgroup", "--pid=host", "; share"]);
        // The host's `/proc` is at agent.proc_root.
        check(&[own_pid, cgroup], "4711\t7", State::On, &[]);
        check(&[own_pid, own_cgroup], "4711\t7", State::Degraded, &["in a cgroup"]);
        check(&[("pid", "nonsense")], "", State::Degraded, &[]);
        let hidden = feature(&FixtureHost::default());
        assert!(hidden.reason.contains("hidepid") && hidden.state == State::Degraded, "{hidden:?}");
    }
}
