use super::*;
use crate::collect::testing::Bench;
use crate::host::parse::unescape;

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
fn images_are_not_full_and_containers_are_no_disks() {
    let table = "\
27 1 254:0 / / rw - ext4 /dev/vda rw
30 27 8:1 / /usr ro,relatime - ext4 /dev/sda1 ro,seclabel
31 27 8:2 / /bind ro - ext4 /dev/sdb1 rw
32 27 0:50 / /snap/x/1 ro,nodev - fuse.snapfuse snapfuse ro,user_id=0
33 27 0:51 / /tmp/.mount_AbcXyz ro - fuse.Krita.AppImage Krita.AppImage ro,user_id=1000
34 27 0:52 / /media/dvd ro - udf /dev/dvd ro
35 27 8:3 / /media/again ro - iso9660 /dev/sdc1 ro
36 27 8:4 / /var/lib/docker rw - ext4 /dev/sdd1 rw
37 36 8:5 / /var/lib/docker/devicemapper/mnt/0123 rw - xfs /dev/dm-7 rw
38 27 8:6 / /var/lib/containers/storage/x rw - xfs /dev/dm-8 rw
39 27 8:7 /containers/1/hosts /etc/hosts rw - ext4 /dev/sde1 rw
40 27 8:7 /containers/1/resolv.conf /etc/resolv.conf rw - ext4 /dev/sde1 rw
41 27 8:7 /secrets/1 /run/secrets/kubernetes.io/serviceaccount rw - ext4 /dev/sde1 rw
42 27 8:8 / /var/lib/kubelet/pods/1/volumes/kubernetes.io~csi/pvc-1/mount rw - ext4 /dev/sdf1 rw
43 27 8:9 / /etc/hostname rw - ext4 /dev/sdg1 rw
44 27 8:10 / /var/lib/dockerish rw - ext4 /dev/sdh1 rw
";
    let mut bench = bench("");
    bench.host.set("/proc/1/mountinfo", table);
    for line in table.lines() {
        let point = line.split(' ').nth(4).unwrap();
        bench.host.apply(&format!("//- statvfs {point} total=100 free=0 avail=0 inodes=7 ifree=0")).unwrap();
    }
    bench.pass().unwrap();
    let of = |name: &str| {
        let points = bench.readings.keys().filter_map(|key| key.strip_prefix(name)?.split(['{', ',']).nth(1));
        points.map(str::to_owned).collect::<Vec<_>>()
    };
    let pvc = "/var/lib/kubelet/pods/1/volumes/kubernetes.io~csi/pvc-1/mount";
    let full = ["/", "/bind", "/etc/hostname", "/var/lib/docker", "/var/lib/dockerish", pvc];
    assert_eq!(of("disk_used_percent"), full);
    assert_eq!(of("disk_inode_used_percent"), full);
    let known =
        ["/", "/bind", "/etc/hostname", "/media/dvd", "/usr", "/var/lib/docker", "/var/lib/dockerish", pvc];
    assert_eq!(of("disk_total_bytes"), known, "types of images are left out by themselves");
    bench.expect(&[
        ("disk_read_only{/usr,/dev/sda1,ext4}", 1.0),
        ("disk_read_only{/bind,/dev/sdb1,ext4}", 1.0),
    ]);
}

/// Mounts of `server(n)`, all silent but the last, beside a disk.
fn silent(count: usize, server: impl Fn(usize) -> String) -> Bench {
    let line = |n: usize| format!("{} 27 0:{} / /m{n:02} rw - nfs4 {}:/e rw\n", 100 + n, 100 + n, server(n));
    let hang = |n: usize| format!("//- statvfs /m{n:02} hang\n");
    let bench = bench("//- statvfs / total=1000 free=500 avail=300\n");
    let table = (0..count).map(line).collect::<String>();
    bench.host.set("/proc/1/mountinfo", format!("27 1 254:0 / / rw - ext4 /dev/vda rw\n{table}"));
    bench.host.apply(&(0..count - 1).map(hang).collect::<String>()).unwrap();
    bench.host.apply(&format!("//- statvfs /m{:02} total=10 free=5 avail=5", count - 1)).unwrap();
    bench
}

#[test]
fn many_dead_mounts_take_nothing_from_the_others() {
    let mut bench = silent(13, |n| format!("server{n}"));
    for _ in 0..3 {
        bench.pass().unwrap();
        for n in 0..12 {
            bench.expect(&[(&format!("filesystem_stuck{{/m{n:02}}}"), 1.0)]);
        }
        bench.expect(&[
            ("disk_used_percent{/,/dev/vda,ext4}", 62.5),
            ("disk_used_percent{/m12,server12:/e,nfs4}", 50.0),
        ]);
    }
    // More than there are threads: it is said which were not asked.
    let mut bench = silent(60, |n| format!("server{n}"));
    for _ in 0..2 {
        let error = bench.pass().unwrap_err().to_string();
        assert!(error.starts_with("/m16 cannot be read: it and 43 others were not asked"), "{error}");
        bench.expect(&[("disk_used_percent{/,/dev/vda,ext4}", 62.5), ("filesystem_stuck{/m15}", 1.0)]);
    }
}

#[test]
fn a_dead_server_holds_few_threads() {
    let mut bench = silent(40, |n| if n < 39 { "dead".to_owned() } else { "alive".to_owned() });
    for _ in 0..2 {
        let error = bench.pass().unwrap_err().to_string();
        assert!(error.starts_with("/m04 cannot be read: it and 34 others"), "{error}");
        bench.expect(&[("filesystem_stuck{/m03}", 1.0), ("disk_used_percent{/m39,alive:/e,nfs4}", 50.0)]);
    }
    (0..4).for_each(|n| bench.host.apply(&format!("//- statvfs /m{n:02} total=9")).unwrap());
    let mut answers = || {
        std::thread::sleep(Duration::from_millis(5));
        bench.pass().is_err_and(|error| error.to_string().starts_with("/m08"))
    };
    assert!((0..100).any(|_| answers()), "when the first answer the next are asked");
}

#[test]
fn the_path_must_lead_to_the_mount() {
    let table = "\
27 1 254:0 / / rw - ext4 /dev/vda rw
30 27 8:1 / /a/b rw - ext4 /dev/sda1 rw
31 27 8:2 / /a rw - ext4 /dev/sdb1 rw
32 27 8:3 / /c rw - ext4 /dev/sdc1 rw
33 32 8:4 / /c rw - ext4 /dev/sdd1 rw
34 27 8:5 / /gone//deleted rw - ext4 /dev/sde1 rw
35 27 8:6 / /b\u{ff} rw - ext4 /dev/sdf1 rw
36 27 8:7 / /other rw - ext4 /dev/sdg1 rw
37 27 0:9 / /sub rw - btrfs /dev/sdh1 rw
38 27 8:9 / /absent rw - ext4 /dev/sdi1 rw
";
    let table: Vec<u8> = table.chars().map(|c| c as u8).collect();
    let mut bench = bench(
        "//- statvfs / total=1 dev=254:0\n//- statvfs /a total=2 dev=8:2\n//- statvfs /a/b total=2\n\
         //- statvfs /c total=4 dev=8:4\n//- statvfs /b\u{fffd} total=6\n\
         //- statvfs /other total=1 dev=254:0\n//- statvfs /sub total=9 dev=0:77\n",
    );
    bench.host.set("/proc/1/mountinfo", table);
    bench.pass().unwrap();
    let shown: Vec<_> = bench.readings.iter().filter(|(name, _)| name.starts_with("disk_total")).collect();
    let shown: Vec<_> = shown.iter().map(|(name, value)| format!("{name} {value}")).collect();
    assert_eq!(
        shown,
        [
            "disk_total_bytes{/,/dev/vda,ext4} 1",
            "disk_total_bytes{/a,/dev/sdb1,ext4} 2",
            "disk_total_bytes{/b\\xff,/dev/sdf1,ext4} 6",
            "disk_total_bytes{/c,/dev/sdd1,ext4} 4",
            "disk_total_bytes{/sub,/dev/sdh1,btrfs} 9",
        ]
    );
    for point in ["/a/b", "/other", "/absent", "/gone//deleted"] {
        assert!(!bench.has(&format!("filesystem_device_error{{{point}}}")), "{point}");
    }
    // Not seen twice: that is no mount that has just come or gone.
    let error = bench.pass().unwrap_err().to_string();
    assert!(error.starts_with("/absent cannot be read: init sees another filesystem"), "{error}");
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

#[test]
fn only_what_cannot_hang_is_asked_at_once() {
    use super::mounts::Reach::{Apart, Aside, AtOnce};
    let table = "\
27 1 254:0 / / rw - ext4 /dev/vda rw
23 27 0:40 / /run rw - tmpfs tmpfs rw
30 27 8:17 / /data rw - xfs /dev/sdb1 rw
31 30 8:18 / /data/in rw - ext4 /dev/sdb2 rw
32 27 8:19 / /quota rw - ext4 /dev/sdb3 rw,prjquota
33 27 0:50 / /nfs rw - nfs4 server:/export rw
34 33 8:20 / /nfs/in rw - ext4 /dev/sdc1 rw
35 27 0:51 / /fuse rw - fuse.sshfs a:/b rw
36 35 8:21 / /fuse/in rw - ext4 /dev/sdc2 rw
37 27 0:52 / /auto rw - autofs systemd-1 rw
38 37 8:22 / /auto rw - ext4 /dev/sdc3 rw
39 27 8:23 / /nfs2 rw - ext4 /dev/sdc4 rw
40 36 0:53 / /fuse/in/nfs rw - nfs4 server:/x rw
";
    let (found, bad) = mounts(table.as_bytes(), &Options::default());
    let mut found: Vec<_> = found.iter().map(|mount| (mount.point.as_str(), mount.reach)).collect();
    found.sort_unstable_by_key(|(point, _)| *point);
    let expect = [
        ("/", AtOnce),
        ("/auto", Aside),
        ("/data", Aside),
        ("/data/in", Aside),
        ("/fuse", Apart),
        ("/fuse/in", Apart),
        ("/fuse/in/nfs", Apart),
        ("/nfs", Aside),
        ("/nfs/in", Aside),
        ("/nfs2", AtOnce),
        ("/quota", Aside),
        ("/run", AtOnce),
    ];
    assert_eq!((found, bad), (expect.to_vec(), 0));
    // Below what is not known to answer.
    let (below, _) = mounts(
        b"27 1 0:9 / / rw - overlay overlay rw\n28 27 8:1 / /x rw - ext4 /dev/a rw\n",
        &Options::default(),
    );
    assert!(below.iter().all(|mount| mount.reach == Aside), "{below:?}");
}
