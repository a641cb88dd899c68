use super::*;
use agent_common::{CMDLINE_LEN, PATH_CUT, PATH_LEN};
use bytemuck::{Zeroable, bytes_of};

const NOW: Now = Now { mono_ns: 5_000_000_000, wall_ns: 1_700_000_000_000_000_000 };

fn header<T>(kind: u32) -> Header {
    Header { kind, size: size_of::<T>() as u32, at_ns: 4_000_000_000 }
}

fn comm(text: &[u8]) -> [u8; 16] {
    let mut comm = [0; 16];
    comm[..text.len()].copy_from_slice(text);
    comm
}

fn cmdline(text: &[u8]) -> [u8; CMDLINE_LEN] {
    let mut cmdline = [0; CMDLINE_LEN];
    cmdline[..text.len()].copy_from_slice(text);
    cmdline
}

fn names(text: &[u8]) -> [u8; PATH_LEN] {
    let mut names = [0; PATH_LEN];
    names[..text.len()].copy_from_slice(text);
    names
}

/// A record that tells of a group: names, how much of them counts, whether more follow, and the level of the limit.
/// Expects the victim's group and that of the limit.
fn check_way(text: &[u8], cut: bool, level: u32, expect: (Option<&str>, Option<&str>)) {
    let record = OomRecord {
        cgroup_id: 4711,
        limit_level: level,
        path: names(text),
        path_len: text.len() as u32,
        flags: if cut { PATH_CUT } else { 0 },
        ..oom_record()
    };
    let What::Oom(oom) = decoded(bytes_of(&record)).expect("valid").what else { panic!("another") };
    let got = (oom.victim.cgroup.as_deref(), oom.oom_memcg.as_deref());
    assert_eq!(got, expect, "{:?} {cut} {level}", String::from_utf8_lossy(text));
}

#[test]
fn the_way_to_the_root_is_a_path() {
    const NONE: u32 = ABSENT_U32;
    let web = "/system.slice/web.service";
    check_way(b"web.service\0system.slice\0", false, NONE, (Some(web), None));
    check_way(b"web.service\0system.slice\0", false, 0, (Some(web), Some(web)));
    check_way(b"web.service\0system.slice\0", false, 1, (Some(web), Some("/system.slice")));
    check_way(b"web.service\0system.slice\0", false, 2, (Some(web), Some("/")));
    check_way(b"web.service\0system.slice\0", false, 3, (Some(web), None));
    check_way(b"", false, 0, (Some("/"), Some("/")));
    // More levels than are told, and a name whose end is not.
    check_way(b"d\0c\0b\0", true, 1, (Some("…/b/c/d"), Some("…/b/c")));
    check_way(b"d\0c\0b\0", true, 3, (Some("…/b/c/d"), None));
    check_way(b"d\0c\0torn", false, 0, (Some("…/c/d"), Some("…/c/d")));
    check_way(b"torn", true, 0, (None, None));
    check_way(b"", true, 0, (None, None));
    // Names are what somebody wanted.
    check_way(b"\x1b[31m\0a b\0", false, NONE, (Some("/a b/\x1b[31m"), None));
    check_way(b"\xff\xfe\0..\0", false, NONE, (Some("/../\u{fffd}\u{fffd}"), None));
    check_way(b"\0\0a\0", false, 1, (Some("/a//"), Some("/a/")));
    let full = [b'x'; PATH_LEN];
    check_way(&full, false, 0, (None, None));
    check_way(b"a\0", false, u32::MAX - 1, (Some("/a"), None));
}

#[test]
fn why_the_kernel_looked_for_a_victim_is_told() {
    let check = |number: u32, expect: Option<Constraint>| {
        let record = OomRecord { constraint: number, ..oom_record() };
        let What::Oom(oom) = decoded(bytes_of(&record)).expect("valid").what else { panic!("another") };
        assert_eq!(oom.constraint, expect, "{number}");
    };
    check(0, Some(Constraint::None));
    check(1, Some(Constraint::Cpuset));
    check(2, Some(Constraint::MemoryPolicy));
    check(3, Some(Constraint::Memcg));
    check(77, Some(Constraint::Other("77".into())));
    check(ABSENT_U32, None);
    let record = OomRecord { gfp_mask: ABSENT_U32, order: ABSENT_ORDER, start_ns: 0, ..oom_record() };
    let What::Oom(oom) = decoded(bytes_of(&record)).expect("valid").what else { panic!("another") };
    assert_eq!((oom.gfp_mask, oom.order, oom.victim.start_ticks), (None, None, None));
    let absurd = OomRecord { path_len: u32::MAX, cmdline_len: u32::MAX, limit_level: 7, ..oom_record() };
    assert!(decoded(bytes_of(&absurd)).is_ok());
}

fn oom_record() -> OomRecord {
    OomRecord {
        header: header::<OomRecord>(1),
        total_vm_kb: 221_368,
        anon_rss_kb: 32_512,
        file_rss_kb: 6540,
        shmem_rss_kb: 0,
        pgtables_kb: 136,
        group: 77,
        cgroup_id: 0,
        start_ns: 41_239_999_999,
        pid: 12_085,
        uid: 0,
        oom_score_adj: -7,
        trigger_tid: 12_086,
        trigger_pid: 12_085,
        trigger_uid: 1000,
        tgid: 12_085,
        cmdline_len: 14,
        constraint: 3,
        gfp_mask: 0xcc0,
        order: 0,
        limit_level: ABSENT_U32,
        path_len: 0,
        flags: 0,
        comm: comm(b"python3"),
        trigger_comm: comm(b"python3"),
        cmdline: cmdline(b"python3\0-c\0x y\0not counted"),
        path: names(b""),
    }
}

fn io_record() -> IoRecord {
    IoRecord {
        header: header::<IoRecord>(3),
        latency_ns: 696_500_000,
        queue_ns: ABSENT_U64,
        sector: 80,
        dev: 7 << 20 | 1,
        bytes: 4096,
        op: 1,
        error: -5,
        issuer_pid: 0,
        issuer_hierarchy: 1,
        issuer_cgroup: 77,
        issuer_comm: comm(b"kworker/u4:1"),
    }
}

fn decoded(bytes: &[u8]) -> Result<Event, DecodeError> {
    decode(bytes, NOW, 500.0, &mut |dev| (dev == 8 << 20).then(|| "sda".to_owned()))
}

#[test]
fn an_oom_kill_keeps_all_its_numbers() {
    let event = decoded(bytes_of(&oom_record())).expect("valid");
    assert_eq!(event.at, Now { mono_ns: 4_000_000_000, wall_ns: 1_699_999_999_000_000_000 });
    assert_eq!((event.source, event.historic), (Source::Ebpf, false));
    let What::Oom(oom) = event.what else { panic!("{:?}", event.what) };
    assert_eq!(oom.victim.pid, Some(12_085));
    assert_eq!(oom.victim.comm.as_deref(), Some("python3"));
    assert_eq!((oom.victim.uid, oom.trigger.uid), (Some(0), Some(1000)));
    assert_eq!(oom.rss_kb(), Some(39_052));
    assert_eq!((oom.pgtables_kb, oom.oom_score_adj, oom.count), (Some(136), Some(-7), 1));
    assert_eq!(oom.victim.cmdline.as_deref(), Some("python3 -c x y"));
    assert_eq!((oom.victim.start_ticks, oom.victim.cgroup), (Some(4123), None));
    assert_eq!((oom.gfp_mask.as_deref(), oom.order), (Some("0xcc0"), Some(0)));
    assert_eq!(oom.group, Some(KillGroup { serial: Some(77), ..KillGroup::default() }));
}

#[test]
fn a_command_line_is_what_its_length_says() {
    let check = |bytes: &[u8], length: u32, expect: Option<&str>| {
        let record = OomRecord { cmdline: cmdline(bytes), cmdline_len: length, ..oom_record() };
        let What::Oom(oom) = decoded(bytes_of(&record)).expect("valid").what else { panic!("kind") };
        assert_eq!(oom.victim.cmdline.as_deref(), expect, "{length}");
    };
    check(b"a\0b", 0, None);
    check(b"\0\0\0", 3, None);
    check(b"a\0\0b\0", 5, Some("a  b"));
    check(b"caf\xe9\0", 5, Some("caf\u{fffd}"));
    check(&[b'x'; CMDLINE_LEN], u32::MAX, Some(&"x".repeat(CMDLINE_LEN)));
}

#[test]
fn what_an_old_kernel_does_not_tell_is_unknown() {
    let record = OomRecord {
        total_vm_kb: ABSENT_U64,
        anon_rss_kb: ABSENT_U64,
        file_rss_kb: ABSENT_U64,
        shmem_rss_kb: ABSENT_U64,
        pgtables_kb: ABSENT_U64,
        group: ABSENT_U64,
        start_ns: 0,
        cmdline_len: 0,
        uid: ABSENT_U32,
        oom_score_adj: ABSENT_SCORE,
        comm: [0; 16],
        ..oom_record()
    };
    let What::Oom(oom) = decoded(bytes_of(&record)).expect("valid").what else { panic!("kind") };
    assert_eq!(oom.victim, Task { pid: Some(12_085), ..Task::default() });
    assert_eq!((oom.total_vm_kb, oom.rss_kb(), oom.pgtables_kb, oom.oom_score_adj), (None, None, None, None));
    assert_eq!(oom.group, None);
}

#[test]
fn a_slow_request_names_its_device() {
    let What::SlowIo(io) = decoded(bytes_of(&io_record())).expect("valid").what else { panic!("kind") };
    assert_eq!((io.device.as_str(), io.op, io.error), ("7:1", "write", -5));
    assert!((io.latency_ms - 696.5).abs() < 1e-9 && (io.threshold_ms - 500.0).abs() < 1e-9);
    assert_eq!((io.issuer.pid, io.issuer.comm.as_deref()), (None, Some("kworker/u4:1")));
    assert_eq!(io.queue_ms, None, "it was never queued");
    assert_eq!(io.issuer_group, GroupNumber { of_memory: true, id: 77 });
    let known = IoRecord { dev: 8 << 20, op: 99, queue_ns: 2_500_000, ..io_record() };
    let What::SlowIo(io) = decoded(bytes_of(&known)).expect("valid").what else { panic!("kind") };
    assert_eq!((io.device.as_str(), io.op, io.queue_ms), ("sda", "other", Some(2.5)));
}

#[test]
fn a_failed_request_tells_an_errno() {
    let record = |error| IoErrorRecord {
        header: header::<IoErrorRecord>(4),
        sector: 4656,
        dev: 8 << 20,
        bytes: 4096,
        op: 4,
        error,
    };
    for (told, expect) in [(-5, -5), (-61, -61), (10, -5), (7, -61), (2, -110), (255, -5), (i32::MIN, -4095)]
    {
        let event = decoded(bytes_of(&record(told))).expect("valid");
        let What::IoError(io) = event.what else { panic!("kind") };
        assert_eq!((io.device.as_str(), io.op, io.sector), ("sda", Some("flush"), 4656));
        assert_eq!((io.bytes, io.error, io.log), (Some(4096), Some(expect), None), "{told}");
    }
}

#[test]
fn a_hang_is_a_thread_and_a_name() {
    let record = HangRecord {
        header: header::<HangRecord>(2),
        pid: 14_415,
        comm: comm(b"dd"),
        ..HangRecord::zeroed()
    };
    let What::Hang(hang) = decoded(bytes_of(&record)).expect("valid").what else { panic!("kind") };
    assert_eq!(hang.task, Task { pid: Some(14_415), comm: Some("dd".into()), ..Task::default() });
    assert_eq!((hang.tgid, hang.addresses.len()), (None, 0));
}

#[test]
fn a_stack_is_as_long_as_the_record_says_and_has() {
    for (frames, expect) in [(0, 0), (2, 2), (3, 2), (24, 2), (25, 2), (u32::MAX, 2)] {
        let mut record =
            HangRecord { header: header::<HangRecord>(2), pid: 1, tgid: 7, frames, ..HangRecord::zeroed() };
        record.stack[..2].copy_from_slice(&[0xffff_ffff_8100_0001, 0xffff_ffff_8100_0002]);
        let What::Hang(hang) = decoded(bytes_of(&record)).expect("valid").what else { panic!("kind") };
        assert_eq!((hang.addresses.len(), hang.tgid), (expect, Some(7)), "{frames}");
    }
}

#[test]
fn a_status_becomes_the_errno_of_the_record() {
    for (error, expect) in [
        (0, 0),
        (-5, -5),
        (10, -libc::EIO),
        (7, -libc::ENODATA),
        (2, -libc::ETIMEDOUT),
        (255, -libc::EIO),
        (i32::MAX, -libc::EIO),
        (i32::MIN, -4095),
    ] {
        assert_eq!(errno(error), expect, "{error}");
    }
}

#[test]
fn names_of_any_bytes_become_text() {
    for (bytes, expect) in [
        (&b""[..], None),
        (b"a", Some("a")),
        (b"sixteen-bytes-ab", Some("sixteen-bytes-ab")),
        (b"a\0b", Some("a")),
        (b"\xff\xfe", Some("\u{fffd}\u{fffd}")),
        (b"\x1b[31m", Some("\u{1b}[31m")),
    ] {
        assert_eq!(name(&comm(bytes)).as_deref(), expect, "{bytes:?}");
    }
}

#[test]
fn records_cut_anywhere_are_errors() {
    let record = oom_record();
    let bytes = bytes_of(&record);
    for end in 0..bytes.len() {
        assert_eq!(decoded(&bytes[..end]), Err(DecodeError::Short(end)));
    }
    let mut padded = bytes.to_vec();
    padded.extend_from_slice(&[0xff; 7]);
    assert_eq!(decoded(&padded), decoded(bytes), "padding behind a record is not read");
}

#[test]
fn strange_headers_are_errors() {
    let with = |kind, size| {
        let mut record = io_record();
        (record.header.kind, record.header.size) = (kind, size);
        decoded(bytes_of(&record))
    };
    for kind in [0, 5, 15, 255, u32::MAX] {
        assert_eq!(with(kind, 80), Err(DecodeError::UnknownKind(kind)));
    }
    for size in [0, 16, 87, 89, u32::MAX] {
        assert_eq!(with(3, size), Err(DecodeError::WrongSize { kind: 3, size }));
    }
    let size = size_of::<OomRecord>() as u32;
    assert_eq!(with(1, size), Err(DecodeError::Short(88)));
}

#[test]
fn no_bytes_make_it_panic() {
    for seed in 0..=255u8 {
        let bytes: Vec<u8> = (0..128u32).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
        assert!(decoded(&bytes).is_err());
    }
    let mut wild =
        IoRecord { header: Header { at_ns: u64::MAX, ..header::<IoRecord>(3) }, ..IoRecord::zeroed() };
    wild.latency_ns = u64::MAX;
    wild.dev = u32::MAX;
    assert!(decoded(bytes_of(&wild)).is_ok());
}
