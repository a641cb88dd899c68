//! Control groups: who a path belongs to (unit, container, pod), and what the memory controller tells.

pub mod memory;

use crate::text::clean;

/// Longest name of a container shown, characters.
const MAX_NAME: usize = 64;

/// How the path of a group begins where the groups around it are too many to be told.
pub const CUT: &str = "…";

/// The owner of a control group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Innermost systemd unit (`.service`, `.scope`, …) that is not a container itself. Outside a container only
    /// where its group is directly around that of podman (`--cgroups=split`).
    pub unit: Option<String>,
    /// Innermost systemd slice.
    pub slice: Option<String>,
    /// Innermost container.
    pub container: Option<Container>,
    /// Kubernetes pod.
    pub pod_uid: Option<String>,
}

/// A container or virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `machine`; `container` when the path does not tell.
    pub runtime: &'static str,
    /// 64 hexadecimal digits; for `lxc` and `machine` the name.
    pub id: String,
}

impl Container {
    /// As the runtime's tools show it: the first 12 digits of an id, a name in full. A name is made harmless: an
    /// escape in a path may stand for any byte.
    pub fn short_id(&self) -> String {
        if is_id(&self.id) { self.id[..12].to_owned() } else { clean(&self.id, MAX_NAME) }
    }
}

/// Prefixes of container scopes and the runtimes that use them, the longer first.
const PREFIXES: [(&str, &str); 10] = [
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-conmon-", "cri-o"),
    ("crio-", "cri-o"),
    ("libpod-payload-", "podman"),
    ("libpod-conmon-", "podman"),
    ("libpod-", "podman"),
    ("podman-", "podman"),
];

/// Suffixes of systemd units that have a control group.
const UNITS: [&str; 5] = [".service", ".scope", ".mount", ".socket", ".swap"];

/// Reads a path of `/proc/PID/cgroup` or of the kernel log.
pub fn owner(path: &str) -> Owner {
    let mut owner = Owner::default();
    let mut parent = "";
    for part in path.split('/').filter(|part| !part.is_empty()) {
        owner.part(part, parent);
        parent = part;
    }
    owner
}

#[expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "suffixes of systemd units, which have one case"
)]
impl Owner {
    fn part(&mut self, part: &str, parent: &str) {
        if let Some(container) = container(part, parent) {
            self.container = Some(container);
            // Podman puts the processes of a unit into a group below it (Quadlet, `--cgroups=split`).
            let split = part.starts_with("libpod-payload-");
            self.unit = self.unit.take().filter(|unit| split && unit == parent);
            if let Some(slice) = part.split(':').next().filter(|name| name.ends_with(".slice")) {
                self.slice(slice);
            }
        } else if part.ends_with(".slice") {
            self.slice(part);
        } else if UNITS.iter().any(|unit| part.ends_with(unit)) {
            self.unit = Some(part.to_owned());
        } else if let Some(uid) = pod_uid(part) {
            self.pod_uid = Some(uid);
        }
    }

    fn slice(&mut self, slice: &str) {
        self.slice = Some(slice.to_owned());
        // `kubepods-burstable-podUID.slice`; of kind `kubelet-kubepods-…`.
        let pod = slice.strip_suffix(".slice").filter(|name| name.contains("kubepods"));
        let pod = pod.and_then(|name| name.rsplit_once("-pod"));
        if let Some((_, uid)) = pod.filter(|(_, uid)| is_uid(uid)) {
            self.pod_uid = Some(uid.replace('_', "-"));
        }
    }
}

fn container(part: &str, parent: &str) -> Option<Container> {
    if let Some(name) = machine(part, parent) {
        return Some(Container { runtime: name.0, id: name.1 });
    }
    let name = part.strip_suffix(".scope").or_else(|| part.strip_suffix(".service")).unwrap_or(part);
    // `SLICE:cri-containerd:ID`, when kubelet and runtime use different drivers.
    if let Some((rest, id)) = name.rsplit_once(':').filter(|(_, id)| is_id(id)) {
        let name = rest.rsplit(':').next().unwrap_or_default();
        return Some(Container { runtime: runtime_of(name), id: id.to_owned() });
    }
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = name.strip_prefix(prefix).filter(|id| is_id(id)) {
            return Some(Container { runtime, id: id.to_owned() });
        }
    }
    is_id(name).then(|| Container { runtime: runtime_of(parent), id: name.to_owned() })
}

/// The runtime whose name a directory bears.
fn runtime_of(name: &str) -> &'static str {
    match name {
        "docker" => "docker",
        "cri-containerd" | "containerd" => "containerd",
        "crio" => "cri-o",
        "libpod" | "libpod_parent" => "podman",
        _ => "container",
    }
}

/// LXC containers and machines of systemd and libvirt, which have names.
fn machine(part: &str, parent: &str) -> Option<(&'static str, String)> {
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return Some(("lxc", name.to_owned()));
    }
    if matches!(parent, "lxc" | "lxc.payload") {
        return Some(("lxc", part.to_owned()));
    }
    if let Some(name) = part.strip_prefix("systemd-nspawn@").and_then(|name| name.strip_suffix(".service")) {
        return Some(("machine", unescape(name)));
    }
    let name = part.strip_prefix("machine-")?.strip_suffix(".scope")?;
    Some(("machine", unescape(name)))
}

fn pod_uid(part: &str) -> Option<String> {
    part.strip_prefix("pod").filter(|uid| is_uid(uid)).map(|uid| uid.replace('_', "-"))
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A UUID, or the hash that static pods have.
fn is_uid(text: &str) -> bool {
    matches!(text.len(), 32 | 36)
        && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-' | b'_'))
}

/// Undoes `\x2d` of systemd names.
fn unescape(name: &str) -> String {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once("\\x") {
        out.extend_from_slice(before.as_bytes());
        let Some(byte) = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) else {
            out.extend_from_slice(b"\\x");
            rest = after;
            continue;
        };
        out.push(byte);
        rest = &after[2..];
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

/// Reads `/proc/PID/cgroup`: the path of the memory controller (v1 and hybrid), else of the unified hierarchy.
pub fn path_of(text: &str) -> Option<String> {
    let mut unified = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let path = || path.strip_suffix(" (deleted)").unwrap_or(path).to_owned();
        if controllers.split(',').any(|name| name == "memory") {
            return Some(path());
        }
        if controllers.is_empty() {
            unified = Some(path());
        }
    }
    unified
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "83c3e2e7b893f0a9d6f3f7c1b5a4e2d1c0b9a8f7e6d5c4b3a2918070605040302"; // 65: cut below

    fn id() -> &'static str {
        &ID[..64]
    }

    /// `unit slice runtime:short pod`, `-` for nothing; `ID` in the path stands for an id.
    fn check(path: &str, expect: &str) {
        let owner = owner(&path.replace("ID", id()));
        let container = owner.container.as_ref().map(|c| format!("{}:{}", c.runtime, c.short_id()));
        let show = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let is = [owner.unit, owner.slice, container, owner.pod_uid].map(show).join(" ");
        assert_eq!(is, expect, "{path}");
    }

    #[test]
    fn systemd() {
        check("/", "- - - -");
        check("", "- - - -");
        check("/init.scope", "init.scope - - -");
        check("/system.slice/nginx.service", "nginx.service system.slice - -");
        check(
            "/system.slice/system-getty.slice/getty@tty1.service",
            "getty@tty1.service system-getty.slice - -",
        );
        check("/user.slice/user-1000.slice/session-3.scope", "session-3.scope user-1000.slice - -");
        check(
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox\\x2dw-96379.scope",
            "app-firefox\\x2dw-96379.scope app.slice - -",
        );
        check("/system.slice/dev-disk-by\\x2duuid-1.swap", "dev-disk-by\\x2duuid-1.swap system.slice - -");
        check("/system.slice/snap.docker.dockerd.service", "snap.docker.dockerd.service system.slice - -");
        check("/lab_oom", "- - - -");
        check("relative/x.service", "x.service - - -");
    }

    #[test]
    fn docker() {
        check("/docker/ID", "- - docker:83c3e2e7b893 -");
        check("/system.slice/docker-ID.scope", "- system.slice docker:83c3e2e7b893 -");
        check(
            "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope",
            "- user.slice docker:83c3e2e7b893 -",
        );
        check("/docker/ID/system.slice/nginx.service", "nginx.service system.slice docker:83c3e2e7b893 -");
        check("/system.slice/docker.service", "docker.service system.slice - -");
        check("/docker/buildkit/xyz", "- - - -");
        check("/system.slice/docker-123.scope", "docker-123.scope system.slice - -");
        check("/ecs/task/ID", "- - container:83c3e2e7b893 -");
    }

    #[test]
    fn kubernetes() {
        let uid = "2d3b8e4f-1a2b-4c5d-8e9f-0a1b2c3d4e5f";
        let escaped = uid.replace('-', "_");
        for (qos, slice) in [
            ("-burstable", "kubepods-burstable-pod"),
            ("-besteffort", "kubepods-besteffort-pod"),
            ("", "kubepods-pod"),
        ] {
            check(
                &format!(
                    "/kubepods.slice/kubepods{qos}.slice/{slice}{escaped}.slice/cri-containerd-ID.scope"
                ),
                &format!("- {slice}{escaped}.slice containerd:83c3e2e7b893 {uid}"),
            );
        }
        check(
            &format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{escaped}.slice/crio-ID.scope/container"
            ),
            &format!("- kubepods-burstable-pod{escaped}.slice cri-o:83c3e2e7b893 {uid}"),
        );
        check(&format!("/kubepods/burstable/pod{uid}/ID"), &format!("- - container:83c3e2e7b893 {uid}"));
        check(&format!("/kubepods/pod{uid}/ID"), &format!("- - container:83c3e2e7b893 {uid}"));
        check(&format!("/kubepods/burstable/pod{uid}"), &format!("- - - {uid}"));
        check(
            &format!(
                "/system.slice/containerd.service/kubepods-burstable-pod{escaped}.slice:cri-containerd:ID"
            ),
            &format!("- kubepods-burstable-pod{escaped}.slice containerd:83c3e2e7b893 {uid}"),
        );
        check(
            "/kubepods/burstable/podd41d8cd98f00b204e9800998ecf8427e/ID",
            "- - container:83c3e2e7b893 d41d8cd98f00b204e9800998ecf8427e",
        );
        check(
            &format!("/docker/ID/kubelet/kubepods/besteffort/pod{uid}/ID"),
            &format!("- - container:83c3e2e7b893 {uid}"),
        );
        check(
            &format!(
                "/docker/ID/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{escaped}.slice/cri-containerd-ID.scope"
            ),
            &format!("- kubelet-kubepods-besteffort-pod{escaped}.slice containerd:83c3e2e7b893 {uid}"),
        );
        check(
            &format!("/kubepods.slice/kubepods-pod{escaped}.slice/crio-conmon-ID.scope"),
            &format!("- kubepods-pod{escaped}.slice cri-o:83c3e2e7b893 {uid}"),
        );
        check(
            &format!("/kubepods/besteffort/pod{escaped}/crio-ID"),
            &format!("- - cri-o:83c3e2e7b893 {uid}"),
        );
        check(
            &format!("/k3s.slice/kubepods-pod{uid}.slice/cri-containerd-ID.scope/nested/ID"),
            &format!("- kubepods-pod{uid}.slice container:83c3e2e7b893 {uid}"),
        );
        check("/kubepods.slice/kubepods-podnonsense.slice", "- kubepods-podnonsense.slice - -");
        check("/podinfo", "- - - -");
        check("/system.slice/kubelet.service", "kubelet.service system.slice - -");
    }

    #[test]
    fn containers_in_containers() {
        let inner = id().replace('8', "9");
        for path in [
            format!("/docker/ID/docker/{inner}"),
            format!("/system.slice/docker-ID.scope/docker/{inner}"),
            format!("/system.slice/docker-ID.scope/system.slice/docker-{inner}.scope"),
            format!("/user.slice/user-1000.slice/user@1000.service/app.slice/docker-ID.scope/docker/{inner}"),
        ] {
            let container = owner(&path.replace("ID", id())).container.unwrap();
            assert_eq!((container.runtime, container.id.as_str()), ("docker", inner.as_str()), "{path}");
        }
        check("/system.slice/docker-ID.scope/init.scope", "init.scope system.slice docker:83c3e2e7b893 -");
        check(
            "/machine.slice/libpod-ID.scope/system.slice/docker-ID.scope/kubepods/pod2d3b8e4f-1a2b-4c5d-8e9f-0a1b2c3d4e5f",
            "- system.slice docker:83c3e2e7b893 2d3b8e4f-1a2b-4c5d-8e9f-0a1b2c3d4e5f",
        );
    }

    #[test]
    fn names_that_only_look_like_it() {
        for (path, expect) in [
            ("/docker-.scope", "docker-.scope - - -"),
            ("/docker-ID.scope.scope", "docker-ID.scope.scope - - -"),
            ("/docker-ID0.scope", "docker-ID0.scope - - -"),
            ("/.scope/.slice/.service", ".service .slice - -"),
            ("/../../docker/ID", "- - docker:83c3e2e7b893 -"),
            ("/docker/ID\n/system.slice", "- system.slice - -"),
            ("/kubepods/pod--------/x", "- - - -"),
            ("/kubepods-pod.slice", "- kubepods-pod.slice - -"),
            ("/lxc/", "- - - -"),
            ("//docker//ID//", "- - docker:83c3e2e7b893 -"),
            ("/machine-.scope", "- - machine: -"),
            ("/\u{202e}evil.service", "\u{202e}evil.service - - -"),
        ] {
            let expect = expect.replace("ID", id());
            check(path, &expect);
        }
        check(&"/a.slice".repeat(5000), "- a.slice - -");
    }

    #[test]
    fn podman() {
        check("/machine.slice/libpod-ID.scope", "- machine.slice podman:83c3e2e7b893 -");
        check("/machine.slice/libpod-ID.scope/container", "- machine.slice podman:83c3e2e7b893 -");
        check("/machine.slice/libpod-conmon-ID.scope", "- machine.slice podman:83c3e2e7b893 -");
        check("/libpod_parent/libpod-ID", "- - podman:83c3e2e7b893 -");
        check("/libpod_parent/ID", "- - podman:83c3e2e7b893 -");
        check(
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
            "- user.slice podman:83c3e2e7b893 -",
        );
        check("/machine.slice/libpod-ID.scope/libpod-payload-ID", "- machine.slice podman:83c3e2e7b893 -");
        check(
            "/machine.slice/web.service/libpod-payload-ID",
            "web.service machine.slice podman:83c3e2e7b893 -",
        );
        check(
            "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service/libpod-payload-ID/container",
            "web.service app.slice podman:83c3e2e7b893 -",
        );
        check("/machine.slice/web.service/runtime", "web.service machine.slice - -");
        check("/machine.slice/web.service/x/libpod-payload-ID", "- machine.slice podman:83c3e2e7b893 -");
        check("/system.slice/docker.service/docker/ID", "- system.slice docker:83c3e2e7b893 -");
        check("/machine.slice/libpod-ID.scope/init.scope", "init.scope machine.slice podman:83c3e2e7b893 -");
    }

    #[test]
    fn lxc_and_machines() {
        check("/lxc/web1", "- - lxc:web1 -");
        check("/lxc/101/ns/system.slice/cron.service", "cron.service system.slice lxc:101 -");
        check("/lxc.payload.web1/system.slice/cron.service", "cron.service system.slice lxc:web1 -");
        check("/lxc.payload/web1", "- - lxc:web1 -");
        check("/lxc.monitor.web1", "- - - -");
        check(
            "/machine.slice/machine-qemu\\x2d1\\x2dvm1.scope/libvirt",
            "- machine.slice machine:qemu-1-vm1 -",
        );
        check(
            "/machine.slice/systemd-nspawn@web.service/payload/system.slice/cron.service",
            "cron.service system.slice machine:web -",
        );
        check("/machine.slice/systemd-nspawn@deb\\x2dtest.service", "- machine.slice machine:deb-test -");
    }

    #[test]
    fn paths_of_all_hierarchies() {
        for (text, expect) in [
            ("0::/system.slice/a.service\n", Some("/system.slice/a.service")),
            ("12:pids:/p\n4:memory:/docker/x\n1:name=systemd:/s\n0::/u\n", Some("/docker/x")),
            ("4:cpu,memory:/both\n", Some("/both")),
            ("1:name=systemd:/s\n0::/u\n", Some("/u")),
            ("0::/a:b (deleted)\n", Some("/a:b")),
            ("1:name=systemd:/s\n", None),
            ("nonsense\n::\n", Some("")),
            ("", None),
        ] {
            assert_eq!(path_of(text).as_deref(), expect, "{text:?}");
        }
    }

    #[test]
    fn bad_escapes_stay() {
        for (input, expect) in
            [("a\\x2db", "a-b"), ("a\\x2", "a\\x2"), ("\\xzz", "\\xzz"), ("\\x", "\\x"), ("\\xé", "\\xé")]
        {
            assert_eq!(unescape(input), expect);
        }
    }

    #[test]
    fn ids_are_ids() {
        let upper = id().to_uppercase();
        check(&format!("/docker/{upper}"), "- - - -");
        check(&format!("/docker/{}", &id()[..63]), "- - - -");
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(path in "(/|pod|docker-|\\.scope|\\.slice|kubepods-|:|[0-9a-f]{64}|machine-|\\\\x|\\PC){0,20}") {
            let owner = owner(&path);
            let _ = owner.container.map(|c| c.short_id().len());
        }
    }
}
