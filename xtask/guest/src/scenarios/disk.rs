//! Disks that are slow, fail or hold a damaged file system.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::inbox::now_ns;
use crate::lab::{Lab, Seen, Verdict};
use crate::machine;

/// The disk whose every request fails (`blkdebug`).
const FAILING: &str = "vdb";

/// A device that takes exactly 250 ms for each request.
pub(super) fn slow(lab: &mut Lab) -> Verdict {
    // irqmode 2: completion by timer; queue_mode 2: blk-mq.
    let parameters = "nr_devices=1 gb=1 queue_mode=2 irqmode=2 completion_nsec=250000000";
    machine::load("null_blk", parameters).map_err(|e| format!("null_blk: {e}"))?;
    let verdict = slow_read(lab);
    machine::unload("null_blk").map_err(|e| format!("null_blk stays: {e}"))?;
    verdict
}

fn slow_read(lab: &mut Lab) -> Verdict {
    wait_for("/dev/nullb0")?;
    let sector = 1 << 12;
    let begin = now_ns();
    machine::direct_read("/dev/nullb0", sector * 512).map_err(|e| format!("/dev/nullb0: {e}"))?;
    let done = now_ns();
    let found = lab.one("block_io_latency", "ebpf.block_io", false, |a| {
        a.labels.get("device").is_some_and(|d| d == "nullb0")
            && a.context.get("sector") == Some(&sector.into())
    })?;
    let Some(found) = found else { return Ok(Seen::default()) };
    // The kernel has looked for partitions, just as slowly.
    lab.also(|a| a.labels.get("device").is_some_and(|d| d == "nullb0"));
    found.label("op", "read")?.says("bytes", 4096)?.says("error", 0)?;
    let latency = found.alert.context.get("latency_ms").and_then(serde_json::Value::as_f64);
    // Not less than the device takes, not more than its reader had to wait.
    let waited = done.saturating_sub(begin) as f64 / 1e6;
    if !latency.is_some_and(|ms| (250.0..=waited).contains(&ms)) {
        return Err(format!("latency_ms is {latency:?}, expected 250 to {waited}"));
    }
    Ok(found.seen(done))
}

/// A request that the driver tries twice (`scsi_debug` reports a transport error, which the SCSI layer answers by
/// queueing the request once more): it takes as long as both tries, and is that of who asked for it.
pub(super) fn retried(lab: &mut Lab) -> Verdict {
    const TRY_NS: u64 = 160_000_000;
    /// `SDEBUG_OPT_TRANSPORT_ERR`, `drivers/scsi/scsi_debug.c`.
    const TRANSPORT_ERROR: &str = "0x10";
    let scsi = |e| format!("scsi_debug: {e}");
    machine::load("sd_mod", "").map_err(scsi)?;
    machine::load("scsi_debug", "dev_size_mb=8 delay=0 ndelay=1000").map_err(scsi)?;
    wait_for("/dev/sda")?;
    // The kernel has looked for partitions when it has a size to tell.
    sleep(Duration::from_secs(1));
    let knobs = [("ndelay", &*TRY_NS.to_string()), ("opts", TRANSPORT_ERROR), ("every_nth", "2")];
    let set = |(knob, value): (&str, &str)| {
        let path = format!("/sys/bus/pseudo/drivers/scsi_debug/{knob}");
        std::fs::write(&path, value).map_err(|e| format!("{path}: {e}"))
    };
    knobs.into_iter().try_for_each(set)?;
    // Every second command fails: of two requests one at least is tried twice.
    let sectors = [2048_u64, 4096];
    let begin = now_ns();
    let reads: Result<Vec<()>, _> =
        sectors.iter().map(|sector| machine::direct_read("/dev/sda", sector * 512)).collect();
    let done = now_ns();
    [("every_nth", "0"), ("ndelay", "1000")].into_iter().try_for_each(set)?;
    reads.map_err(|e| format!("/dev/sda: {e}"))?;
    let twice = |a: &crate::inbox::Alert| {
        let number = |name| a.context.get(name).and_then(serde_json::Value::as_f64);
        a.labels.get("device").is_some_and(|d| d == "sda")
            && number("latency_ms").is_some_and(|ms| (320.0..(done - begin) as f64 / 1e6).contains(&ms))
    };
    let found = lab.one("block_io_latency", "ebpf.block_io", false, twice)?;
    let Some(found) = found else { return Ok(Seen::default()) };
    lab.also(|a| a.labels.get("device").is_some_and(|d| d == "sda"));
    found.says("issuer_pid", std::process::id())?.says("error", 0)?;
    Ok(found.seen(done))
}

/// A disk that answers with EIO.
pub(super) fn failing(lab: &mut Lab) -> Verdict {
    match machine::direct_read(&format!("/dev/{FAILING}"), 0) {
        Err(error) if error.raw_os_error() == Some(libc::EIO) => {}
        other => return Err(format!("reading {FAILING} gave {other:?}, expected an I/O error")),
    }
    let done = now_ns();
    let device = |a: &crate::inbox::Alert| a.labels.get("device").is_some_and(|d| d == FAILING);
    let found = lab.one("io_error", "ebpf.block_io", true, device)?;
    Ok(found.ok_or("neither eBPF nor the kernel log works")?.seen(done))
}

/// A damaged file system, by the kernel's own test trigger (`fs/ext4/sysfs.c`).
pub(super) fn damaged(lab: &mut Lab) -> Verdict {
    machine::mount("/dev/vda", "/mnt", "ext4").map_err(|e| format!("/dev/vda: {e}"))?;
    let trigger = "/sys/fs/ext4/vda/trigger_fs_error";
    let triggered = std::fs::write(trigger, "1").map_err(|e| format!("{trigger}: {e}"));
    let done = now_ns();
    let device = |a: &crate::inbox::Alert| a.labels.get("device").is_some_and(|d| d == "vda");
    let found = triggered.and_then(|()| lab.one("filesystem_error", "", true, device));
    machine::unmount("/mnt").map_err(|e| format!("/mnt: {e}"))?;
    Ok(found?.ok_or("the kernel log does not work")?.seen(done))
}

fn wait_for(path: &str) -> Result<(), String> {
    let begin = Instant::now();
    while !std::fs::exists(path).unwrap_or(false) {
        if begin.elapsed() > Duration::from_secs(5) {
            return Err(format!("{path} does not come"));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
