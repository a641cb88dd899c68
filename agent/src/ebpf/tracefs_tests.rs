use std::path::Path;

use super::*;
use crate::host::{FsStat, HostFile, NicDriver, Uname};

/// A host whose every path answers the same, but for those that exist.
#[derive(Clone)]
struct Answers {
    files: Vec<(&'static str, &'static str)>,
    otherwise: io::ErrorKind,
}

impl Host for Answers {
    fn open(&self, _: &str) -> io::Result<Box<dyn HostFile>> {
        Err(self.otherwise.into())
    }
    fn read(&self, path: &str, buf: &mut Vec<u8>) -> io::Result<()> {
        let (_, text) = self.files.iter().find(|(name, _)| *name == path).ok_or(self.otherwise)?;
        buf.clear();
        buf.extend_from_slice(text.as_bytes());
        Ok(())
    }
    fn list(&self, path: &str, _: &mut dyn FnMut(&str)) -> io::Result<()> {
        let known = self.files.iter().any(|(name, _)| name.starts_with(path));
        if known { Ok(()) } else { Err(self.otherwise.into()) }
    }
    fn read_link(&self, _: &str) -> io::Result<String> {
        Err(self.otherwise.into())
    }
    fn statvfs(&self, _: &Path) -> io::Result<FsStat> {
        Err(self.otherwise.into())
    }
    fn nic_driver(&self, _: &str) -> io::Result<NicDriver> {
        Err(self.otherwise.into())
    }
    fn uname(&self) -> Uname {
        Uname::default()
    }
    fn shared(&self) -> std::sync::Arc<dyn Host> {
        std::sync::Arc::new(self.clone())
    }
}

fn check(files: &[(&'static str, &'static str)], otherwise: io::ErrorKind, expect: Result<&str, &str>) {
    let host = Answers { files: files.to_vec(), otherwise };
    let got = Tracefs::open(&host).and_then(|t| t.format(&host, "oom", "mark_victim"));
    match (got, expect) {
        (Ok(text), Ok(expect)) => assert_eq!(text, expect),
        (Err(error), Err(part)) => {
            assert!(error.to_string().contains(part), "{error}");
            assert!(!error.remedy(&[]).is_empty());
        }
        (got, _) => panic!("{files:?}: {got:?}"),
    }
}

#[test]
fn a_mounted_tracefs_is_used_wherever_it_is() {
    use io::ErrorKind::{NotFound, Other, PermissionDenied};
    let own = ("/sys/kernel/tracing/events/oom/mark_victim/format", "own");
    let debug = ("/sys/kernel/debug/tracing/events/oom/mark_victim/format", "debug");
    let empty = ("/sys/kernel/tracing/events/enable", "0");
    check(&[own], NotFound, Ok("own"));
    check(&[debug], NotFound, Ok("debug"));
    check(&[debug], PermissionDenied, Ok("debug"));
    check(&[own, debug], NotFound, Ok("own"));
    check(&[empty], NotFound, Err("this kernel has no tracepoint oom:mark_victim"));
    check(
        &[empty],
        PermissionDenied,
        Err("/sys/kernel/tracing/events/oom/mark_victim/format may not be read"),
    );
    check(&[empty], Other, Err("cannot be read"));
    check(&[], PermissionDenied, Err("/sys/kernel/tracing may not be read"));
}

#[test]
fn the_remedy_is_all_that_is_to_be_done() {
    let check = |error: &TracefsError, besides: &[&str], expect: &str| {
        let besides: Vec<String> = besides.iter().map(ToString::to_string).collect();
        assert_eq!(error.remedy(&besides), expect);
    };
    let unmounted = TracefsError::NotMounted { why: "x".into() };
    let denied = TracefsError::Denied { path: "/sys/kernel/tracing".into() };
    let mount = "mount it: `mount -t tracefs tracefs /sys/kernel/tracing`";
    check(&unmounted, &[], mount);
    check(&unmounted, &["give A", "give B"], &format!("{mount}, and give A, and give B"));
    check(&denied, &["give A"], "give A");
    check(
        &TracefsError::Absent,
        &["give A"],
        "nothing short of another kernel (CONFIG_FTRACE, CONFIG_EVENT_TRACING)",
    );
}
