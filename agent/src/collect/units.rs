//! Memory, CPU time and pressure of those systemd units, containers and pods that have series (`cgroup::choose`).

use super::cgroup::Place;
use crate::cgroup::memory::Memory;
use crate::cgroup::owner;
use crate::host::Host;
use crate::host::memcg::Hierarchy;
use crate::host::parse::{key, lines, number, words};
use crate::metric::{Metric, metrics};
use crate::sample::Samples;
use crate::text::clean;

metrics! {
    MEMORY: Gauge Bytes "cgroup_memory_bytes" ["cgroup", "kind", "name"]
        "Memory charged to a unit, container or pod, with its page cache.", "memory.current, memory.usage_in_bytes";
    WORKING: Gauge Bytes "cgroup_memory_working_set_bytes" ["cgroup", "kind", "name"]
        "The same without page cache that is dropped first, as Kubernetes counts.", "memory.stat inactive_file";
    LIMIT: Gauge Bytes "cgroup_memory_limit_bytes" ["cgroup", "kind", "name"]
        "Its own limit; nothing where it has none.", "memory.max, memory.limit_in_bytes";
    PERCENT: Gauge Percent "cgroup_memory_working_set_percent" ["cgroup", "kind", "name"]
        "Its working set as a share of its own limit.", "the above";
    OOM_KILLS: Counter Count "cgroup_oom_kills_total" ["cgroup", "kind", "name"]
        "Processes killed in it for lack of memory.", "memory.events, memory.oom_control";
    CPU: Counter Seconds "cgroup_cpu_seconds_total" ["cgroup", "kind", "name"] "CPU time it used.", "cpu.stat, cpuacct.usage";
    THROTTLED: Counter Seconds "cgroup_cpu_throttled_seconds_total" ["cgroup", "kind", "name"]
        "Time it was kept from a CPU by its own limit.", "cpu.stat throttled_usec, throttled_time";
    SOME: Counter Seconds "cgroup_pressure_some_seconds_total" ["cgroup", "kind", "name", "resource"]
        "Time at least one of its tasks waited for the resource; version 2 only.", "cpu.pressure, memory.pressure, io.pressure";
    FULL: Counter Seconds "cgroup_pressure_full_seconds_total" ["cgroup", "kind", "name", "resource"]
        "Time all of its tasks waited for the resource; version 2 only.", "cpu.pressure, memory.pressure, io.pressure";
    SHOWN: Gauge Count "cgroups_shown_count" [] "Units, containers and pods that have series.", "the above";
    LEFT_OUT: Gauge Count "cgroups_left_out_count" []
        "Units, containers and pods that have none: 64 others use more memory or CPU time or are at their limits.", "the above";
}

/// Longest path and name in a label, characters; of a longer path the end is kept.
const MAX_LABEL: usize = 200;

/// Buffers that are used again.
#[derive(Default)]
pub(super) struct Units {
    path: String,
    text: Vec<u8>,
}

/// What a group is called in its series.
pub(super) struct Label {
    cgroup: String,
    kind: &'static str,
    name: String,
}

impl Units {
    /// Puts out how many groups have series, and how many have not.
    pub(super) fn put_counts(shown: usize, left_out: usize, out: &mut Samples) {
        out.put(&SHOWN, &[], shown as f64);
        out.put(&LEFT_OUT, &[], left_out as f64);
    }

    /// Puts out a group, and notes what CPU time it used.
    pub(super) fn put(
        &mut self,
        host: &dyn Host,
        hierarchy: Hierarchy,
        group: &str,
        place: &mut Place,
        out: &mut Samples,
    ) {
        let Place { label: Some(label), memory: Some(memory), rate, .. } = place else { return };
        let mut files = Files { host, path: &mut self.path, text: &mut self.text, group };
        label.put_memory(*memory, hierarchy, &mut files, out);
        if let Some(used) = label.put_cpu(hierarchy, &mut files, out) {
            rate.note(used, out.at().mono_ns);
        }
        label.put_pressure(hierarchy, &mut files, out);
    }

    /// CPU time that a group used, seconds.
    pub(super) fn cpu_used(&mut self, host: &dyn Host, hierarchy: Hierarchy, group: &str) -> Option<f64> {
        Files { host, path: &mut self.path, text: &mut self.text, group }.cpu_used(hierarchy)
    }
}

impl Label {
    /// `None` for a group that is neither a unit nor a container nor a pod but lies above or below one.
    pub(super) fn of(path: &str) -> Option<Self> {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let (own, above) = (owner(path), owner(parent));
        let (kind, name) = if own.container != above.container {
            ("container", own.container?.short_id())
        } else if own.container.is_some() {
            return None;
        } else if own.unit.is_some() && own.unit != above.unit {
            ("unit", own.unit?)
        } else if own.pod_uid.is_some() && own.pod_uid != above.pod_uid {
            ("pod", own.pod_uid?)
        } else {
            return None;
        };
        // Of a long path the end tells more.
        let cut = path.char_indices().rev().nth(MAX_LABEL - 1).map_or(0, |(at, _)| at);
        Some(Self { cgroup: clean(&path[cut..], MAX_LABEL), kind, name: clean(&name, MAX_LABEL) })
    }

    fn put(&self, metric: &'static Metric, value: f64, out: &mut Samples) {
        out.put(metric, &[&self.cgroup, self.kind, &self.name], value);
    }

    fn put_memory(&self, memory: Memory, hierarchy: Hierarchy, files: &mut Files<'_>, out: &mut Samples) {
        let bytes = |kb: u64| kb.saturating_mul(1024);
        memory.events.oom_kill.inspect(|&kills| self.put(&OOM_KILLS, kills as f64, out));
        memory.limit_kb.inspect(|&limit| self.put(&LIMIT, bytes(limit) as f64, out));
        let Some(usage) = memory.usage_kb.map(bytes) else { return };
        self.put(&MEMORY, usage as f64, out);
        let cache = if hierarchy.unified { &b"inactive_file"[..] } else { b"total_inactive_file" };
        let Some(cache) = files.line(hierarchy.root, "memory.stat", cache) else { return };
        let working = usage.saturating_sub(cache) as f64;
        self.put(&WORKING, working, out);
        if let Some(limit @ 1..) = memory.limit_kb.map(bytes) {
            self.put(&PERCENT, (100.0 * working / limit as f64).min(100.0), out);
        }
    }

    /// Returns the time that was used, seconds.
    fn put_cpu(&self, hierarchy: Hierarchy, files: &mut Files<'_>, out: &mut Samples) -> Option<f64> {
        let used = files.cpu_used(hierarchy);
        let throttled = if hierarchy.unified {
            // What was just read.
            line(files.text, b"throttled_usec").map(|time| time as f64 * 1e-6)
        } else {
            let time = files.line("/sys/fs/cgroup/cpu", "cpu.stat", b"throttled_time");
            time.map(|time| time as f64 * 1e-9)
        };
        used.inspect(|&used| self.put(&CPU, used, out));
        throttled.inspect(|&time| self.put(&THROTTLED, time, out));
        used
    }

    /// A hybrid host has it in its second hierarchy, for the groups that are there too.
    fn put_pressure(&self, hierarchy: Hierarchy, files: &mut Files<'_>, out: &mut Samples) {
        let root = if hierarchy.unified { hierarchy.root } else { "/sys/fs/cgroup/unified" };
        for (resource, file) in PRESSURE {
            let Some(text) = files.read(root, file) else { continue };
            for (kind, rest) in lines(text).map(key) {
                let metric = if kind == b"some" { &SOME } else { &FULL };
                let total = words(rest).find_map(|word| word.strip_prefix(b"total=")).and_then(number);
                let Some(total) = total.filter(|_| matches!(kind, b"some" | b"full")) else { continue };
                out.put(metric, &[&self.cgroup, self.kind, &self.name, resource], total as f64 * 1e-6);
            }
        }
    }
}

const PRESSURE: [(&str, &str); 3] =
    [("cpu", "cpu.pressure"), ("memory", "memory.pressure"), ("io", "io.pressure")];

/// One file of one group after the other.
struct Files<'a> {
    host: &'a dyn Host,
    path: &'a mut String,
    text: &'a mut Vec<u8>,
    group: &'a str,
}

impl Files<'_> {
    fn read(&mut self, root: &str, file: &str) -> Option<&[u8]> {
        self.path.clear();
        self.path.extend([root, self.group, "/", file]);
        self.host.read(self.path, self.text).ok()?;
        Some(self.text)
    }

    /// Version 1 has CPU time in a hierarchy of its own, in nanoseconds.
    fn cpu_used(&mut self, hierarchy: Hierarchy) -> Option<f64> {
        if hierarchy.unified {
            return self.line(hierarchy.root, "cpu.stat", b"usage_usec").map(|used| used as f64 * 1e-6);
        }
        let used = number(self.read("/sys/fs/cgroup/cpuacct", "cpuacct.usage")?.trim_ascii())?;
        Some(used as f64 * 1e-9)
    }

    /// The number behind a name: `usage_usec 1234`.
    fn line(&mut self, root: &str, file: &str, name: &[u8]) -> Option<u64> {
        line(self.read(root, file)?, name)
    }
}

fn line(text: &[u8], name: &[u8]) -> Option<u64> {
    let (_, rest) = lines(text).map(key).find(|(known, _)| *known == name)?;
    number(rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::cgroup::Cgroup;
    use crate::collect::testing::Bench;

    const ID: &str = "83c3e2e7b893f0a9d6f3f7c1b5a4e2d1c0b9a8f7e6d5c4b3a291807060504030";

    fn v2() -> String {
        let web = "/sys/fs/cgroup/system.slice/web.service";
        let docker = format!("/sys/fs/cgroup/system.slice/docker-{ID}.scope");
        format!(
            "//- /sys/fs/cgroup/cgroup.controllers\ncpu memory\n\
             //- /sys/fs/cgroup/system.slice/memory.max\nmax\n\
             //- {web}/memory.max\n4096000\n//- {web}/memory.current\n2048000\n\
             //- {web}/memory.stat\nanon 5\ninactive_file 1024000\n\
             //- {web}/memory.events\nmax 3\noom_kill 2\n\
             //- {web}/cpu.stat\nusage_usec 2500000\nuser_usec 1\nthrottled_usec 500000\n\
             //- {web}/cpu.pressure\nsome avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n\
             //- {web}/worker/memory.max\nmax\n//- {web}/worker/memory.current\n5\n\
             //- {docker}/memory.max\nmax\n//- {docker}/memory.current\n8192\n\
             //- {docker}/init.scope/memory.max\nmax\n//- {docker}/init.scope/memory.current\n4096\n"
        )
    }

    #[test]
    fn units_and_containers_of_version_2() {
        let mut bench = Bench::new(&v2(), Cgroup::new());
        for _ in 0..2 {
            bench.pass().unwrap();
            let web = "/system.slice/web.service,unit,web.service";
            let docker = format!("/system.slice/docker-{ID}.scope,container,83c3e2e7b893");
            bench.expect(&[
                (&format!("cgroup_memory_bytes{{{web}}}"), 2_048_000.0),
                (&format!("cgroup_memory_working_set_bytes{{{web}}}"), 1_024_000.0),
                (&format!("cgroup_memory_limit_bytes{{{web}}}"), 4_096_000.0),
                (&format!("cgroup_memory_working_set_percent{{{web}}}"), 25.0),
                (&format!("cgroup_oom_kills_total{{{web}}}"), 2.0),
                (&format!("cgroup_cpu_seconds_total{{{web}}}"), 2.5),
                (&format!("cgroup_cpu_throttled_seconds_total{{{web}}}"), 0.5),
                (&format!("cgroup_pressure_some_seconds_total{{{web},cpu}}"), 1.5),
                (&format!("cgroup_pressure_full_seconds_total{{{web},cpu}}"), 0.5),
                (&format!("cgroup_memory_bytes{{{docker}}}"), 8192.0),
                ("cgroups_shown_count", 2.0),
                ("cgroups_left_out_count", 0.0),
            ]);
            assert!(!bench.has(&format!("cgroup_memory_limit_bytes{{{docker}}}")), "it has none");
        }
    }

    #[test]
    fn version_1_has_cpu_time_elsewhere_and_hybrid_pressure() {
        let text = "\
//- /sys/fs/cgroup/memory/memory.usage_in_bytes
5
//- /sys/fs/cgroup/memory/system.slice/db.service/memory.limit_in_bytes
9223372036854771712
//- /sys/fs/cgroup/memory/system.slice/db.service/memory.usage_in_bytes
8192
//- /sys/fs/cgroup/memory/system.slice/db.service/memory.stat
inactive_file 1
total_inactive_file 4096
//- /sys/fs/cgroup/cpuacct/system.slice/db.service/cpuacct.usage
3000000000
//- /sys/fs/cgroup/cpu/system.slice/db.service/cpu.stat
nr_periods 5
throttled_time 2000000000
//- /sys/fs/cgroup/unified/system.slice/db.service/memory.pressure
some avg10=0.00 avg60=0.00 avg300=0.00 total=7000000
";
        let mut bench = Bench::new(text, Cgroup::new());
        bench.pass().unwrap();
        let db = "/system.slice/db.service,unit,db.service";
        bench.expect(&[
            (&format!("cgroup_memory_bytes{{{db}}}"), 8192.0),
            (&format!("cgroup_memory_working_set_bytes{{{db}}}"), 4096.0),
            (&format!("cgroup_cpu_seconds_total{{{db}}}"), 3.0),
            (&format!("cgroup_cpu_throttled_seconds_total{{{db}}}"), 2.0),
            (&format!("cgroup_pressure_some_seconds_total{{{db},memory}}"), 7.0),
        ]);
        assert!(!bench.has(&format!("cgroup_memory_limit_bytes{{{db}}}")), "as good as none");
    }

    #[test]
    fn owners_are_units_containers_and_pods() {
        let uid = "0f7a3c1e-8b1d-4c58-9a55-7e4f1f0a2b3c";
        for (path, expect) in [
            ("/system.slice".to_owned(), None),
            ("/system.slice/a.service".to_owned(), Some(("unit", "a.service"))),
            ("/system.slice/a.service/x".to_owned(), None),
            (
                "/user.slice/user-1.slice/user@1.service/app.slice/b.service".to_owned(),
                Some(("unit", "b.service")),
            ),
            (format!("/kubepods/pod{uid}"), Some(("pod", uid))),
            (format!("/kubepods/pod{uid}/{ID}"), Some(("container", "83c3e2e7b893"))),
            (format!("/docker/{ID}/system.slice/a.service"), None),
            (format!("/docker/{ID}/docker/{}", ID.replace('8', "9")), Some(("container", "93c3e2e7b993"))),
            ("/a\u{1b}.service".to_owned(), Some(("unit", "a?.service"))),
        ] {
            let label = Label::of(&path);
            assert_eq!(label.as_ref().map(|l| (l.kind, &*l.name)), expect, "{path}");
        }
        let long = format!("/{}/a.service", "é".repeat(500));
        let label = Label::of(&long).unwrap();
        assert!(label.cgroup.ends_with("é/a.service") && label.cgroup.chars().count() == MAX_LABEL);
    }

    #[test]
    fn bad_content_is_left_out() {
        for content in [
            &b""[..],
            b"x",
            b"-1",
            b"usage_usec",
            b"usage_usec -5",
            b"\xff\xfe",
            b"some total=-1",
            b"some total=",
        ] {
            let mut bench = Bench::new(&v2(), Cgroup::new());
            for file in ["memory.stat", "cpu.stat", "cpu.pressure", "memory.current", "memory.events"] {
                bench.host.set(&format!("/sys/fs/cgroup/system.slice/web.service/{file}"), content);
            }
            bench.pass().unwrap();
            let web: Vec<_> = bench.readings.keys().filter(|name| name.contains("web.service")).collect();
            assert_eq!(web.len(), 1, "its limit is known still: {web:?}");
        }
    }
}
