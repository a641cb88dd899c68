//! What the files of a memory control group tell, of version 1 and 2.

use serde::{Deserialize, Serialize};

use super::CUT;

/// Limits from here on are none, kB: v1 shows `LONG_MAX` rounded down to pages.
const NO_LIMIT_KB: u64 = 1 << 50;
/// Ancestors of a control group looked at.
const MAX_DEPTH: usize = 16;

/// Figures of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Limit, kB; `None`: it has none.
    pub limit_kb: Option<u64>,
    /// Usage, kB.
    pub usage_kb: Option<u64>,
    /// Times the limit was hit: `memory.failcnt` (v1), `max` of `memory.events` (v2).
    pub failcnt: Option<u64>,
    /// Event counters.
    pub events: Events,
    /// All its processes die together (`memory.oom.group`, v2).
    pub oom_group: bool,
}

/// Counters of `memory.events` (v2: of the group and all below it); v1 has `oom_kill` only, of the
/// group alone, in `memory.oom_control`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Events {
    /// Reclaimed although below `memory.low`.
    pub low: Option<u64>,
    /// Throttled over `memory.high`.
    pub high: Option<u64>,
    /// About to go over `memory.max`.
    pub max: Option<u64>,
    /// An allocation was about to fail.
    pub oom: Option<u64>,
    /// Processes killed.
    pub oom_kill: Option<u64>,
}

impl Events {
    /// Reads lines `name number`.
    pub fn parse(text: &str) -> Self {
        let mut events = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.split_once(' ') else { continue };
            let place = match name {
                "low" => &mut events.low,
                "high" => &mut events.high,
                "max" => &mut events.max,
                "oom" => &mut events.oom,
                "oom_kill" => &mut events.oom_kill,
                _ => continue,
            };
            *place = value.trim().parse().ok();
        }
        events
    }

    /// Name and value of those that are known.
    pub fn known(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let Self { low, high, max, oom, oom_kill } = *self;
        [("low", low), ("high", high), ("max", max), ("oom", oom), ("oom_kill", oom_kill)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
    }

    /// Takes what `other` knows and this one does not.
    pub fn absorb(&mut self, other: Self) {
        let Self { low, high, max, oom, oom_kill } = other;
        self.low = self.low.or(low);
        self.high = self.high.or(high);
        self.max = self.max.or(max);
        self.oom = self.oom.or(oom);
        self.oom_kill = self.oom_kill.or(oom_kill);
    }
}

impl Memory {
    /// Out of bytes as the files have them.
    pub fn new(limit: Option<u64>, usage: Option<u64>, failcnt: Option<u64>, events: Events) -> Self {
        let kb = |bytes: u64| bytes / 1024;
        let limit_kb = limit.map(kb).filter(|&kb| kb < NO_LIMIT_KB);
        Self { limit_kb, usage_kb: usage.map(kb), failcnt, events, oom_group: false }
    }

    /// The limit was hit, and is still nearly used up.
    fn is_hit(&self) -> bool {
        let near = |limit: u64, usage: u64| usage >= limit - limit / 10;
        // Of a limit on memory and swap together newer kernels count no failure; the kill itself they do.
        [self.failcnt, self.events.oom_kill].into_iter().flatten().any(|n| n > 0)
            && self.limit_kb.zip(self.usage_kb).is_some_and(|(l, u)| near(l, u))
    }
}

/// Whether a path leads to a group within this view of the hierarchy: one outside begins with `/..`.
pub fn is_plain(path: &str) -> bool {
    path.starts_with('/') && path.split('/').all(|part| part != "..")
}

/// A group and the ones above it, without the root.
pub fn upwards(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(parent, _)| parent))
        .take_while(|path| path.len() > 1)
        .take(MAX_DEPTH)
}

/// Whether the group `of` is `path` or lies below it.
pub fn contains(path: &str, of: &str) -> bool {
    of.strip_prefix(path.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The group of the tightest limit from `path` upwards, if that limit was hit and is still nearly used up. A limit is
/// hit by who lives below it, so the group that the memory was wanted from (`trigger`, where known) is below it too.
pub fn hit<'a>(
    path: &'a str,
    trigger: Option<&str>,
    look: impl Fn(&str) -> Option<Memory>,
) -> Option<(&'a str, Memory)> {
    let trigger = trigger.filter(|trigger| !trigger.starts_with(CUT));
    let groups = upwards(path).filter(|path| trigger.is_none_or(|trigger| contains(path, trigger)));
    let groups = groups.filter_map(|path| Some((path, look(path)?)));
    let limited = groups.filter(|(_, memory)| memory.limit_kb.is_some());
    limited.min_by_key(|(_, memory)| memory.limit_kb).filter(|(_, memory)| memory.is_hit())
}

/// The outermost group from `path` up to `top` (else the root) whose processes die together: the kernel takes
/// the highest (`mem_cgroup_get_oom_group`, `mm/memcontrol.c`).
pub fn dies_together<'a>(
    path: &'a str,
    top: Option<&str>,
    look: impl Fn(&str) -> Option<Memory>,
) -> Option<&'a str> {
    let within = |path: &&str| top.is_none_or(|top| contains(top, path));
    upwards(path).take_while(within).filter(|path| look(path).is_some_and(|memory| memory.oom_group)).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(limit_kb: u64, usage_kb: u64, failcnt: u64, oom_group: bool) -> Memory {
        let bytes = |kb| Some(kb * 1024);
        Memory {
            oom_group,
            ..Memory::new(bytes(limit_kb), bytes(usage_kb), Some(failcnt), Events::default())
        }
    }

    #[test]
    fn events_of_both_versions() {
        let check = |text: &str, expect: &[(&str, u64)]| {
            assert_eq!(Events::parse(text).known().collect::<Vec<_>>(), expect, "{text:?}");
        };
        let v2 = "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\nsock_throttled 7\n";
        check(v2, &[("low", 1), ("high", 2), ("max", 3), ("oom", 4), ("oom_kill", 5)]);
        check("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", &[("oom_kill", 5)]);
        check("oom_kill_disable 0\nunder_oom 0\n", &[]);
        for bad in ["", "low", "low x", "low -1", "oom_kill 99999999999999999999", "\0", "oom_kill"] {
            check(bad, &[]);
        }
    }

    #[test]
    fn limits_of_all_versions() {
        let limit = |bytes| Memory::new(Some(bytes), None, None, Events::default()).limit_kb;
        assert_eq!(limit(33_554_432), Some(32_768));
        assert_eq!((limit(9_223_372_036_854_771_712), limit(u64::MAX)), (None, None));
    }

    #[test]
    fn the_way_up_ends() {
        let way = |path| upwards(path).collect::<Vec<_>>();
        assert_eq!(way("/a/b/c"), ["/a/b/c", "/a/b", "/a"]);
        assert_eq!((way("/"), way("")), (vec![], vec![]));
        assert_eq!(upwards(&"/x".repeat(999)).count(), MAX_DEPTH);
        for (path, expect) in [
            ("/a", true),
            ("/", true),
            ("", false),
            ("a", false),
            ("/..", false),
            ("/a/../b", false),
            ("/a..b", true),
        ] {
            assert_eq!(is_plain(path), expect, "{path}");
        }
    }

    #[test]
    fn the_group_to_blame() {
        let full = |path: &str| match path {
            "/a" => Some(group(100, 99, 3, false)),
            "/a/b" => Some(group(200, 99, 0, false)),
            _ => None,
        };
        assert_eq!(hit("/a/b/gone", None, full).map(|(path, _)| path), Some("/a"));
        assert_eq!(hit("/a/b", None, |_| Some(group(100, 50, 3, false))), None, "it has room");
        assert_eq!(hit("/a/b", None, |_| None), None);
    }

    #[test]
    fn the_group_to_blame_is_around_the_trigger_too() {
        let full = |path: &str| match path {
            "/r" => Some(group(64, 64, 120, false)),
            "/r/a" => Some(group(48, 48, 7, false)),
            _ => None,
        };
        let check = |trigger, expect| {
            assert_eq!(hit("/r/a", trigger, full).map(|(path, _)| path), expect, "{trigger:?}");
        };
        check(None, Some("/r/a"));
        check(Some("/r/a/x"), Some("/r/a"));
        check(Some("/r/b"), Some("/r"));
        check(Some("/r/ab"), Some("/r"));
        check(Some("/q"), None);
        check(Some("/"), None);
        check(Some("…/b"), Some("/r/a"));
    }

    #[test]
    fn groups_that_die_together() {
        let look = |path: &str| Some(group(1, 1, 1, matches!(path, "/a" | "/a/b/c" | "/ab")));
        assert_eq!(dies_together("/a/b/c/d", None, look), Some("/a"));
        assert_eq!(dies_together("/a/b/c/d", Some("/a/b"), look), Some("/a/b/c"));
        assert_eq!(dies_together("/ab", Some("/a"), look), None);
        assert_eq!(dies_together("/a/b", Some("/a/b"), look), None);
    }
}
