//! NVML against a library made for the test (`host/gpu/testdata/fake_nvml.c`): the same boards through `nvidia-smi`'s texts
//! give the same readings.

use std::io;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::*;
use crate::collect::testing::Bench;
use crate::host::fixture::FixtureHost;
use crate::host::gpu::nvml::Library;
use crate::host::gpu::smi::Smi;
use crate::host::{FsStat, HostFile, NicDriver, Uname};

/// What `nvidia-smi` would print of the boards of the library.
const BOARDS: &str = include_str!("testdata/same-as-nvml.host");

/// The library, built with these switches; `None` where there is no compiler of C.
fn library(dir: &Path, switches: &[&str]) -> Option<PathBuf> {
    let path = dir.join("libnvidia-ml.so.1");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/host/gpu/testdata/fake_nvml.c");
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(&path).arg(source).args(switches);
    let Ok(status) = command.status() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no C compiler in CI");
        println!("SKIPPED: cc is missing: apt-get install gcc");
        return None;
    };
    assert!(status.success(), "the library is built");
    Some(path)
}

/// What the driver tells of all boards, in an order that does not matter.
fn read(driver: &mut dyn Driver) -> Vec<Gpu> {
    let mut gpus = driver.read().expect("it answers");
    for gpu in &mut gpus {
        gpu.readings.sort_by_key(|(metric, label, _)| (metric.name, *label));
    }
    gpus
}

#[test]
fn the_library_and_nvidia_smi_tell_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = library(dir.path(), &[]) else { return };
    let mut nvml = Library::open(path.as_os_str()).expect("it is loaded");
    let mut smi = Smi::new(FixtureHost::parse(BOARDS).unwrap().shared());
    let (ours, theirs) = (read(&mut nvml), read(&mut smi));
    assert_eq!((ours.len(), theirs.len()), (3, 3));
    for (nvml, smi) in ours.iter().zip(&theirs).take(2) {
        assert_eq!(nvml, smi);
        assert!(nvml.readings.len() > 25, "{}", nvml.readings.len());
    }
    let lost = |gpus: &[Gpu]| (gpus[2].index, gpus[2].uuid.clone(), gpus[2].lost.is_some());
    assert_eq!(lost(&ours), (2, "GPU-a2".to_owned(), true));
    assert_eq!(lost(&theirs), lost(&ours));
}

#[test]
fn a_library_that_cannot_serve_gives_way_to_nvidia_smi() {
    for switch in ["-DBROKEN", "-DOLD"] {
        let dir = tempfile::tempdir().unwrap();
        let Some(path) = library(dir.path(), &[switch]) else { return };
        assert!(Library::open(path.as_os_str()).is_none(), "{switch}");
    }
    assert!(Library::open("/nowhere/libnvidia-ml.so.1".as_ref()).is_none());
}

/// A host whose driver is asked through a library.
struct WithLibrary(FixtureHost, PathBuf);

impl Host for WithLibrary {
    fn open(&self, path: &str) -> io::Result<Box<dyn HostFile>> {
        self.0.open(path)
    }
    fn read(&self, path: &str, buf: &mut Vec<u8>) -> io::Result<()> {
        self.0.read(path, buf)
    }
    fn list(&self, path: &str, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        self.0.list(path, each)
    }
    fn read_link(&self, path: &str) -> io::Result<String> {
        self.0.read_link(path)
    }
    fn statvfs(&self, path: &Path) -> io::Result<FsStat> {
        self.0.statvfs(path)
    }
    fn nic_driver(&self, interface: &str) -> io::Result<NicDriver> {
        self.0.nic_driver(interface)
    }
    fn uname(&self) -> Uname {
        self.0.uname()
    }
    fn gpus(&self) -> Box<dyn Driver> {
        Box::new(Library::open(self.1.as_os_str()).expect("it is loaded"))
    }
    fn shared(&self) -> Arc<dyn Host> {
        Arc::new(Self(self.0.clone(), self.1.clone()))
    }
}

/// Boards that were given to other containers are not lost: the collector says that it may not read them.
#[test]
fn boards_of_others_are_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = library(dir.path(), &["-DFORBIDDEN"]) else { return };
    let host = WithLibrary(FixtureHost::parse("//- /proc/driver/nvidia/version\nNVRM\n").unwrap(), path);
    let mut bench = Bench::new("", Gpus { patience: Duration::from_secs(10), ..Gpus::new() });
    let error = bench.pass_on(&host).unwrap_err().to_string();
    assert!(error.starts_with("GPU 0, 2 may not be read: it needs its device file, /dev/nvidiaN"), "{error}");
    bench.expect(&[("gpu_count", 3.0), ("gpu_lost{1}", 0.0), ("gpu_memory_used_percent{1}", 75.0)]);
    assert!(!bench.has("gpu_lost{0}") && !bench.has("gpu_lost{2}"));
}

#[test]
fn a_call_that_never_returns_is_left_alone_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = library(dir.path(), &["-DHANG"]) else { return };
    let host = WithLibrary(FixtureHost::parse("//- /proc/driver/nvidia/version\nNVRM\n").unwrap(), path);
    let mut bench = Bench::new("", Gpus { patience: Duration::from_millis(20), ..Gpus::new() });
    let begin = Instant::now();
    let inside = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        tasks
            .filter(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|c| c == "gpu\n"))
            .count()
    };
    for stuck in [0.0, 0.0, 0.0, 1.0, 1.0, 1.0] {
        bench.pass_on(&host).unwrap();
        bench.expect(&[("gpu_driver_stuck", stuck)]);
        assert_eq!(bench.readings.len(), 1, "nothing is told of what nobody answered");
    }
    // Six passes waited once, and no second thread was sent after the first.
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!((1..=2).contains(&inside()), "{} threads", inside());
}
