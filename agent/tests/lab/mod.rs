//! Real trouble on a real kernel, cleaned up after: memory cgroups, frozen filesystems, loop
//! devices, sysctls. Every guard undoes what it did when dropped, also when a test fails.
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its part of it")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "changes the machine and looks at it"
)]

pub(crate) mod fuse;
pub(crate) mod mounts;
pub(crate) mod ports;
pub(crate) mod vfork;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// One test of this sort at a time on the whole machine, which they change.
pub(crate) fn alone() -> Alone {
    static ONE: Mutex<()> = Mutex::new(());
    let here = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Other checkouts, other users: a lock needs no right to write.
    let path = std::env::temp_dir().join("sysops-agent-lab.lock");
    let file = File::open(&path).or_else(|_| File::create(&path)).expect("a lock file");
    file.lock().expect("the lock");
    Alone { _file: file, _here: here }
}

/// No other test of this sort runs.
pub(crate) struct Alone {
    _file: File,
    _here: MutexGuard<'static, ()>,
}

/// Whether this test can run. If not it says why; in CI (`CI=true`) that is a failure.
pub(crate) fn ready() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    skip("not root");
    false
}

/// Says why a test does not run; in CI that is a failure.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped in CI: {why}");
    eprintln!("SKIPPED: {why}");
}

/// Asks again and again until there is an answer, for so long.
pub(crate) fn wait_for<T>(at_most: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() > at_most {
            return None;
        }
        sleep(Duration::from_millis(10));
    }
}

fn run(program: &str, args: &[&str]) -> io::Result<String> {
    let done = Command::new(program).args(args).output()?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        return Err(io::Error::other(format!("{program} {args:?}: {said}")));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

/// A sysctl set to a value for a while.
pub(crate) struct Sysctl {
    path: PathBuf,
    before: String,
}

impl Sysctl {
    /// Sets `/proc/sys/NAME`, with slashes.
    pub(crate) fn set(name: &str, value: &str) -> io::Result<Self> {
        let path = Path::new("/proc/sys").join(name);
        let before = fs::read_to_string(&path)?;
        fs::write(&path, value)?;
        Ok(Self { path, before })
    }

    /// Leaves it as it is, but puts it back to that later: for values the kernel counts down.
    pub(crate) fn keep(name: &str) -> io::Result<Self> {
        let before = fs::read_to_string(Path::new("/proc/sys").join(name))?;
        Self::set(name, before.trim())
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        let _ = fs::write(&self.path, self.before.trim());
    }
}

/// Lets the kernel report tasks that hang for 2 s, so many of them in its log. `None` if it cannot; it says why.
pub(crate) fn detect_hangs(warnings: u32) -> Option<Vec<Sysctl>> {
    let others = [
        ("kernel/hung_task_warnings", warnings.to_string()),
        ("kernel/hung_task_check_interval_secs", "0".into()),
    ];
    let mut set: Vec<_> = others.iter().filter_map(|(name, value)| Sysctl::set(name, value).ok()).collect();
    let Ok(timeout) = Sysctl::set("kernel/hung_task_timeout_secs", "2") else {
        skip("this kernel does not detect hung tasks");
        return None;
    };
    set.push(timeout);
    Some(set)
}

/// A memory cgroup with a limit, of version 1 or 2.
pub(crate) struct MemoryCgroup {
    path: PathBuf,
    version: u8,
    /// Parents that were made for it, outermost first.
    made: Vec<PathBuf>,
}

impl MemoryCgroup {
    /// Makes one below the root of the hierarchy.
    pub(crate) fn new(name: &str, limit_bytes: u64) -> io::Result<Self> {
        Self::at(&format!("/{name}-{}", std::process::id()), limit_bytes)
    }

    /// Makes one at this path, and the groups above it that are missing.
    pub(crate) fn at(path: &str, limit_bytes: u64) -> io::Result<Self> {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let (root, version) = if v1.is_dir() { (v1, 1) } else { (Path::new("/sys/fs/cgroup"), 2) };
        let mut group = Self { path: root.to_owned(), version, made: Vec::new() };
        let mut parts = path.trim_start_matches('/').split('/').peekable();
        while let Some(part) = parts.next() {
            if version == 2 {
                fs::write(group.path.join("cgroup.subtree_control"), "+memory")?;
            }
            let below = group.path.join(part);
            if parts.peek().is_none() || !below.is_dir() {
                fs::create_dir(&below)?;
                group.made.push(below.clone());
            }
            group.path = below;
        }
        let limit = limit_bytes.to_string();
        if version == 1 {
            fs::write(group.path.join("memory.limit_in_bytes"), &limit)?;
            let _ = fs::write(group.path.join("memory.memsw.limit_in_bytes"), &limit);
        } else {
            fs::write(group.path.join("memory.max"), &limit)?;
            let _ = fs::write(group.path.join("memory.swap.max"), "0");
        }
        Ok(group)
    }

    /// Path within the hierarchy, as the kernel log names it.
    pub(crate) fn name(&self) -> String {
        let root = if self.version == 1 { "/sys/fs/cgroup/memory" } else { "/sys/fs/cgroup" };
        self.path.to_string_lossy().trim_start_matches(root).to_owned()
    }

    /// The file that a process enters the group by.
    pub(crate) fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Starts a shell command in the group; it `exec`s its last part, so that the pid stays.
    pub(crate) fn spawn(&self, command: &str) -> io::Result<Child> {
        let procs = self.path.join("cgroup.procs");
        let script = format!("echo $$ > '{}' && exec {command}", procs.display());
        Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).spawn()
    }

    /// Lets a process grow until the kernel kills it; its pid. Its name is `tail`.
    pub(crate) fn oom_victim(&self) -> io::Result<u32> {
        self.oom_victim_with_adj(0)
    }

    /// The same with this `oom_score_adj`.
    pub(crate) fn oom_victim_with_adj(&self, adj: i32) -> io::Result<u32> {
        let procs = self.path.join("cgroup.procs");
        // `tail` waits for the end of a line that never comes, and keeps all of it.
        let script = format!(
            "echo {adj} > /proc/self/oom_score_adj && echo $$ > '{}' && exec tail /dev/zero",
            procs.display()
        );
        let mut child = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).spawn()?;
        let status: ExitStatus = child.wait()?;
        let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
        if killed { Ok(child.id()) } else { Err(io::Error::other(format!("not killed: {status}"))) }
    }
}

impl MemoryCgroup {
    /// As [`MemoryCgroup::oom_victim`], with the number of a process that has ended.
    pub(crate) fn oom_victim_numbered(&self, pid: u32) -> io::Result<()> {
        // Others start processes too, and may be faster.
        for _ in 0..500 {
            fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string())?;
            let script = format!("read go && echo $$ > '{}' && exec tail /dev/zero", self.procs().display());
            let mut command = Command::new("sh");
            let mut child =
                command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
            let stdin = child.stdin.take();
            if child.id() == pid {
                stdin.map(|mut stdin| stdin.write_all(b"go\n")).transpose()?;
                child.wait()?;
                return Ok(());
            }
            drop(stdin);
            child.wait()?;
        }
        Err(io::Error::other(format!("{pid} was not to be had")))
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        for pid in fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = run("kill", &["-9", pid]);
        }
        for path in self.made.iter().rev() {
            wait_for(Duration::from_secs(2), || fs::remove_dir(path).ok());
        }
    }
}

/// A file as a block device.
pub(crate) struct LoopDevice {
    /// `/dev/loopN`.
    pub(crate) path: String,
}

impl LoopDevice {
    /// Over an existing file.
    pub(crate) fn over(file: &Path) -> io::Result<Self> {
        run("losetup", &["-f", "--show", &file.to_string_lossy()]).map(|path| Self { path })
    }

    /// `loopN`.
    pub(crate) fn name(&self) -> &str {
        self.path.trim_start_matches("/dev/")
    }

    /// Reads so many times 4096 bytes past the page cache.
    pub(crate) fn direct_reads(&self, count: u64) -> io::Result<()> {
        self.direct_reads_from(0, count)
    }

    /// The same from this byte on.
    pub(crate) fn direct_reads_from(&self, from: u64, count: u64) -> io::Result<()> {
        let file = self.direct(File::options().read(true))?;
        let mut block = Aligned([0; 4096]);
        (0..count).try_for_each(|i| file.read_exact_at(&mut block.0, from + i % 1024 * 4096))
    }

    /// Reads 8192 bytes past the page cache, as one request.
    pub(crate) fn direct_read_of_two(&self, offset: u64) -> io::Result<()> {
        let file = self.direct(File::options().read(true))?;
        file.read_exact_at(&mut Aligned([0; 8192]).0, offset)
    }

    /// Writes 4096 bytes past the page cache.
    pub(crate) fn direct_write(&self, offset: u64) -> io::Result<()> {
        let file = self.direct(File::options().write(true))?;
        file.write_all_at(&Aligned([7; 4096]).0, offset)
    }

    fn direct(&self, options: &mut fs::OpenOptions) -> io::Result<File> {
        options.custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32).open(&self.path)
    }
}

#[repr(align(4096))]
struct Aligned<const N: usize>([u8; N]);

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = run("losetup", &["-d", &self.path]);
    }
}

/// A small ext4 on a loop device that can be frozen: writers then hang in the kernel.
pub(crate) struct FreezableFs {
    dir: tempfile::TempDir,
    frozen: bool,
}

impl FreezableFs {
    /// Makes and mounts it.
    pub(crate) fn new() -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let image = dir.path().join("image");
        File::create(&image)?.set_len(64 << 20)?;
        run("mke2fs", &["-q", "-F", "-t", "ext4", &image.to_string_lossy()])?;
        let fs = Self { dir, frozen: false };
        fs::create_dir(fs.path())?;
        run("mount", &["-o", "loop", &image.to_string_lossy(), &fs.path().to_string_lossy()])?;
        Ok(fs)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    /// `loopN` that it is on.
    pub(crate) fn device(&self) -> io::Result<String> {
        let path = run("findmnt", &["-n", "-o", "SOURCE", "--mountpoint", &self.path().to_string_lossy()])?;
        Ok(path.trim_start_matches("/dev/").to_owned())
    }

    /// A file on it that a loop device can be made of: 16 MiB, allocated.
    pub(crate) fn backing_file(&self) -> io::Result<PathBuf> {
        let path = self.path().join("back");
        fs::write(&path, vec![1; 16 << 20])?;
        File::open(&path)?.sync_all()?;
        Ok(path)
    }

    /// Stops all writing.
    pub(crate) fn freeze(&mut self) -> io::Result<()> {
        run("fsfreeze", &["-f", &self.path().to_string_lossy()])?;
        self.frozen = true;
        Ok(())
    }

    /// Lets writers go on.
    pub(crate) fn thaw(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.frozen) {
            run("fsfreeze", &["-u", &self.path().to_string_lossy()])?;
        }
        Ok(())
    }

    /// Starts a process that hangs as soon as the filesystem is frozen; its name is `dd`.
    pub(crate) fn spawn_writer(&self) -> io::Result<Child> {
        let to = format!("of={}", self.path().join("written").display());
        Command::new("dd")
            .args(["if=/dev/zero", &to, "bs=4k", "count=1", "status=none"])
            .stderr(Stdio::null())
            .spawn()
    }
}

impl Drop for FreezableFs {
    fn drop(&mut self) {
        let _ = self.thaw();
        let mount = self.path();
        let mount = mount.to_string_lossy();
        wait_for(Duration::from_secs(5), || run("umount", &[&mount]).ok());
    }
}
