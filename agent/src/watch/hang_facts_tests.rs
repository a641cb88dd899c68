//! Hosts written as text.

use super::*;
use crate::event::Task;
use crate::host::fixture::FixtureHost;

const HOST: &str = "//- /proc/7/stack
[<0>] percpu_rwsem_wait+0x15f/0x1d0
[<0>] __percpu_down_read+0x88/0x150
[<0>] vfs_write+0x1/0x2
[<ffffffffffffffff>] 0xffffffffffffffff
//- /proc/7/ns/mnt -> mnt:[4026531840]
//- /proc/7/exe -> /usr/bin/dd
//- /proc/7/fd/0 -> /dev/zero
//- /proc/7/fd/1 -> /mnt/data/f
//- /proc/7/fd/2 -> pipe:[77]
//- /proc/7/mountinfo
1 0 254:0 / / rw - ext4 /dev/root rw
2 1 0:5 / /dev rw - devtmpfs devtmpfs rw
3 1 7:1 / /mnt/data rw - ext4 /dev/loop1 rw
4 1 0:44 / /net rw - nfs4 nas:/export rw
nonsense
//- /proc/diskstats
 254       0 vda 1 2 3
   7       1 loop1 1 2 3
   8      16 sdb 1 2 3
";

fn filled(host: &FixtureHost, comm: &str, change: impl FnOnce(&mut Hang)) -> Hang {
    let task = Task { pid: Some(7), comm: Some(comm.into()), ..Task::default() };
    let mut hang = Hang { task, ..Hang::default() };
    change(&mut hang);
    Facts::new(host.shared()).fill(&mut hang, Now::default());
    hang
}

/// Where `HOST`'s task waits after `change`.
fn check(change: &str, expect: &str) {
    let host = FixtureHost::parse(HOST).unwrap();
    host.apply(change).unwrap();
    let hang = filled(&host, "dd", |_| {});
    assert_eq!(hang.place.words().unwrap_or_default(), expect, "{change}");
}

#[test]
fn the_mount_of_an_open_file() {
    check("", "frozen filesystem: /mnt/data (loop1)");
    check("//- /proc/7/fd/1 -> /etc/passwd", "frozen filesystem: / (vda)");
    check("//- /proc/7/fd/9 -> /etc/passwd", "frozen filesystem");
    check("//- /proc/7/fd/1 -> /net/file", "frozen filesystem");
    check("//- /proc/7/fd/1 -> /mnt/dataectory", "frozen filesystem: / (vda)");
    let open = "//- /proc/7/stack\n[<0>] __sb_start_write+0x1/0x2\n[<0>] path_openat+0x1/0x2\n";
    check(open, "frozen filesystem");
    check(
        &format!("{open}//- /proc/7/mountinfo\n1 0 254:0 / / rw - ext4 /dev/root rw\n"),
        "frozen filesystem: / (vda)",
    );
}

#[test]
fn the_system_call_tells_the_file() {
    let two = "//- /proc/7/fd/9 -> /etc/passwd\n//- /proc/7/fd/200 -> /etc/shadow";
    let call = |text: &str| format!("{two}\n//- /proc/7/syscall\n{text}\n");
    let (write, fsync, open) = (libc::SYS_write, libc::SYS_fsync, libc::SYS_openat);
    check(
        &call(&format!("{write} 0x1 0x7ffe 0x200 0x0 0x0 0x0 0x7ffe 0x7f7e")),
        "frozen filesystem: /mnt/data (loop1)",
    );
    check(&call(&format!("{fsync} 0x9 0x0")), "frozen filesystem: / (vda)");
    check(&call(&format!("{fsync} 0xffffffff00000009 0x0")), "frozen filesystem: / (vda)");
    // Beyond those that are looked at otherwise.
    check(&call(&format!("{fsync} 0xc8 0x0")), "frozen filesystem: / (vda)");
    // On a path that the stack shows all the same: the call counts.
    let by_path = "//- /proc/7/stack\n[<0>] __sb_start_write+0x1/0x2\n[<0>] path_openat+0x1/0x2\n";
    check(&format!("{by_path}{}", call(&format!("{fsync} 0x9 0x0"))), "frozen filesystem: / (vda)");
    for unknown in [
        &format!("{open} 0x1 0x7ffe"),
        &format!("{write} 0x7f 0x0"),
        &format!("{write} 0xffffffff 0x0"),
        &format!("{write} 1"),
        &format!("{write}"),
        "running",
        "-1 0x7ffe 0x7f7e",
        "",
        "\u{fffd} 0x1",
    ] {
        check(&call(unknown), "frozen filesystem");
    }
}

#[test]
fn a_network_filesystem_is_told_by_its_source() {
    let nfs = "//- /proc/7/stack\n[<0>] rpc_wait_bit_killable+0x1/0x2\n";
    check(&format!("{nfs}//- /proc/7/fd/1 -> /net/file"), "NFS: /net (nas:/export)");
    check(nfs, "NFS: /net (nas:/export)");
    let two = format!(
        "{nfs}//- /proc/7/mountinfo\n4 1 0:44 / /a rw - nfs nas:/a rw\n5 1 0:45 / /b rw - nfs nas:/b rw\n"
    );
    check(&two, "NFS");
    check(&format!("{two}//- /proc/7/exe -> /b/bin/x"), "NFS");
    let fault = "//- /proc/7/stack\n[<0>] nfs_wait+0x1/0x2\n[<0>] do_fault+0x1/0x2\n";
    check(&format!("{two}//- /proc/7/exe -> /b/bin/x\n{fault}"), "NFS: /b (nas:/b)");
}

#[test]
fn what_cannot_be_read_is_unknown() {
    check("//- denied /proc/7/stack", "");
    check("//- denied /proc/7/mountinfo", "frozen filesystem");
    check("//- /proc/7/stack\n[<0>] futex_wait+0x1/0x2\n", "");
    let nothing = filled(&FixtureHost::default(), "dd", |_| {});
    assert_eq!((nothing.place, nothing.stack.len()), (Place::default(), 0));
}

#[test]
fn a_kernel_thread_names_its_device() {
    let host = FixtureHost::parse(HOST).unwrap();
    host.remove("/proc/7");
    for (comm, expect) in
        [("kworker/u4:1-flush-8:16", "sdb"), ("kworker/u4:1-flush-9:9", "9:9"), ("jbd2/vda1-8", "vda1")]
    {
        assert_eq!(filled(&host, comm, |_| {}).place.device.as_deref(), Some(expect), "{comm}");
    }
}

#[test]
fn what_is_known_stays() {
    let host = FixtureHost::parse(HOST).unwrap();
    let hang = filled(&host, "dd", |hang| {
        hang.stack = vec!["nfs_wait+0x1/0x2".into()];
        hang.place.device = Some("known".into());
    });
    assert_eq!((hang.stack.len(), hang.place.words().as_deref()), (1, Some("NFS: known")));
    assert_eq!(hang.wchan.as_deref(), Some("nfs_wait"));
}

#[test]
fn mounts_are_read_once_for_tasks_that_hang_together() {
    let host = FixtureHost::parse(HOST).unwrap();
    let mut facts = Facts::new(host.shared());
    let mut told = |at: Now| {
        let mut hang = Hang { task: Task { pid: Some(7), ..Task::default() }, ..Hang::default() };
        facts.fill(&mut hang, at);
        hang.place.mount
    };
    assert_eq!(told(Now::default()).as_deref(), Some("/mnt/data"));
    host.set("/proc/7/mountinfo", "");
    assert_eq!(told(Now::default().plus_secs(9)).as_deref(), Some("/mnt/data"));
    assert_eq!(told(Now::default().plus_secs(11)), None);
}
