use super::*;
use crate::collect::testing::Bench;

const HOST: &str = "\
//- /proc/1/mountinfo
22 27 0:21 / /proc rw,relatime - proc proc rw
23 27 0:40 / /run rw - tmpfs tmpfs rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
28 27 254:0 /var/lib/kubelet/x /k rw - ext4 /dev/vda rw
29 27 254:0 / /mnt/again rw - ext4 /dev/vda rw
30 27 8:17 / /data\\040one ro,relatime - xfs /dev/sdb1 rw
31 27 0:50 / /nfs rw - nfs4 server:/export rw
32 27 7:1 / /snap/x ro - ext4 /dev/loop1 ro
//- statvfs / total=1000 free=500 avail=300 inodes=200 ifree=50
//- statvfs /data\u{20}one total=100 free=100 avail=100
//- statvfs /nfs total=10 free=5 avail=5
";

fn filesystem() -> Filesystem {
    let options = Options {
        exclude_fstypes: Globs::new(&crate::config::Config::default().collector.exclude_fstypes),
        exclude_mountpoints: Globs::new(&["/mnt/*"]),
        exclude_devices: Globs::new(&["loop*"]),
    };
    Filesystem { patience: Duration::from_millis(100), ..Filesystem::new(options) }
}

/// The notation has no blanks in paths.
fn bench(text: &str) -> Bench {
    let bench = Bench::new(&text.replace("/data\u{20}one", "/data"), filesystem());
    let table = crate::host::read_text(&bench.host, "/proc/1/mountinfo").unwrap_or_default();
    bench.host.set("/proc/1/mountinfo", table.replace("/data\\040one", "/data"));
    bench
}

#[test]
fn filesystems_are_read_once_each() {
    let mut bench = bench(HOST);
    for _ in 0..2 {
        bench.pass().unwrap();
        bench.expect(&[
            ("disk_total_bytes{/,/dev/vda,ext4}", 1000.0),
            ("disk_used_bytes{/,/dev/vda,ext4}", 500.0),
            ("disk_free_bytes{/,/dev/vda,ext4}", 500.0),
            ("disk_available_bytes{/,/dev/vda,ext4}", 300.0),
            ("disk_used_percent{/,/dev/vda,ext4}", 62.5),
            ("disk_inodes_count{/,/dev/vda,ext4}", 200.0),
            ("disk_inodes_free_count{/,/dev/vda,ext4}", 50.0),
            ("disk_inode_used_percent{/,/dev/vda,ext4}", 75.0),
            ("disk_read_only{/,/dev/vda,ext4}", 0.0),
            ("disk_read_only{/data,/dev/sdb1,xfs}", 1.0),
            ("disk_used_percent{/nfs,server:/export,nfs4}", 50.0),
            ("filesystem_stuck{/}", 0.0),
            ("filesystem_device_error{/}", 0.0),
        ]);
        assert!(!bench.has("disk_inodes_count{/nfs,server:/export,nfs4}"), "no limit of inodes");
        let shown: Vec<_> = bench.readings.keys().filter(|name| name.starts_with("disk_total")).collect();
        assert_eq!(shown.len(), 3, "{shown:?}");
    }
}

#[test]
fn a_dead_mount_is_a_row_and_the_others_go_on() {
    let mut bench = bench(HOST);
    bench.host.apply("//- statvfs /nfs hang").unwrap();
    for _ in 0..3 {
        bench.pass().unwrap();
        bench.expect(&[("filesystem_stuck{/nfs}", 1.0), ("filesystem_stuck{/}", 0.0)]);
        assert!(bench.has("disk_used_percent{/,/dev/vda,ext4}"));
        assert!(!bench.has("disk_used_percent{/nfs,server:/export,nfs4}"));
    }
    bench.host.apply("//- statvfs /nfs total=10 free=1 avail=1").unwrap();
    while bench.value("filesystem_stuck{/nfs}") > 0.0 {
        std::thread::yield_now();
        bench.pass().unwrap();
    }
    bench.expect(&[("disk_used_percent{/nfs,server:/export,nfs4}", 90.0)]);
}

#[test]
fn a_device_that_fails_is_said() {
    let mut bench = bench(HOST);
    bench.host.apply("//- statvfs /nfs error=116\n//- statvfs / error=13").unwrap();
    bench.pass().unwrap();
    bench.expect(&[("filesystem_device_error{/nfs}", 1.0), ("filesystem_stuck{/nfs}", 0.0)]);
    assert!(!bench.has("filesystem_device_error{/}"), "want of rights is no fault of the device");
}

#[test]
fn mounts_come_and_go() {
    let mut bench = bench(HOST);
    bench.pass().unwrap();
    bench.host.set("/proc/1/mountinfo", "31 27 0:50 / /nfs rw - nfs4 server:/export rw\n");
    bench.pass().unwrap();
    assert!(bench.has("filesystem_stuck{/nfs}") && !bench.has("filesystem_stuck{/}"));
}

#[test]
fn the_own_table_is_the_second_choice() {
    let mut bench = bench(HOST);
    bench.host.remove("/proc/1");
    assert!(matches!(bench.pass(), Err(CollectError::Absent { .. })));
    bench.host.set("/proc/self/mountinfo", "27 1 254:0 / / rw - ext4 /dev/vda rw\n");
    bench.pass().unwrap();
    assert!(bench.has("disk_total_bytes{/,/dev/vda,ext4}"));
}

#[test]
fn bad_tables_are_an_error_and_good_lines_count() {
    for (bad, error) in [
        (&b""[..], true),
        (b"27", true),
        (b"27 1 254:0 /", true),
        (b"x 1 254:0 / / rw - ext4 /dev/vda rw", true),
        (b"27 1 254:0 / / rw ext4 /dev/vda rw", true),
        (b"31 27 0:50 / /\xff rw - nfs4 a:/b rw", false),
        (b"31 27 0:50 / /none rw - ext4  rw", false),
    ] {
        let mut bench = bench("//- statvfs / total=9\n");
        let good: &[u8] = if bad.is_empty() { b"" } else { b"\n27 1 9:0 / / rw - ext4 /dev/x rw" };
        bench.host.set("/proc/1/mountinfo", [bad, good].concat());
        let result = bench.pass();
        assert_eq!(matches!(result, Err(CollectError::Parse { .. })), error, "{bad:?} {result:?}");
        assert_eq!(bench.has("disk_total_bytes{/,/dev/x,ext4}"), !bad.is_empty());
    }
}

#[test]
fn mounts_are_bounded() {
    let mut bench = bench("");
    let line = |i: usize| format!("27 1 8:{i} / /m{i:04} rw - ext4 /dev/x{i} rw\n");
    bench.host.set("/proc/1/mountinfo", (0..MAX_MOUNTS + 2).map(line).collect::<String>());
    let error = bench.pass().unwrap_err().to_string();
    assert!(error.contains("2 filesystems more than 512"), "{error}");
}

#[test]
fn escapes_are_undone() {
    for (text, expect) in [
        ("/data\\040one", "/data one"),
        ("\\134\\011", "\\\t"),
        ("\\", "\\"),
        ("\\04", "\\04"),
        ("\\999", "\\999"),
        ("\\303\\244", "ä"),
        ("", ""),
    ] {
        assert_eq!(unescape(text), expect);
    }
}
