//! Arrays and disks that come and go.

use std::fs;
use std::path::Path;

use super::own::Own;
use crate::lab::{Lab, Seen, Verdict};
use crate::machine;
use crate::md::Mirror;
use crate::readings::Readings;

const DISKS: [&str; 2] = ["vda", "vdb"];
const RULE: &str = "md_degraded_disks_count";

/// A mirror loses a disk, which is told, gets it back, is rebuilt, and that is told too.
pub(super) fn mirror(lab: &mut Lab) -> Verdict {
    let fail = |what: &str, e| format!("{what}: {e}");
    machine::load("raid1", "").map_err(|e| fail("raid1", e))?;
    let array = Mirror::new(DISKS).map_err(|e| fail("md0", e))?;
    let own = Own::start("[collector]\nenabled = [\"md\"]\ndisk_interval_secs = 1")?;
    let readings = Readings::start("md,diskstats")?;
    readings.until("a whole array", |pass| {
        pass.is("md_disks_count{md0}", 2.0)
            && pass.is("md_degraded_disks_count{md0}", 0.0)
            && pass.is("md_inactive{md0}", 0.0)
    })?;
    array.fail(DISKS[1]).map_err(|e| fail(DISKS[1], e))?;
    let logged =
        lab.one("raid_degraded", "", true, |a| a.labels.get("device").is_some_and(|d| d == DISKS[1]))?;
    lab.also(|a| a.rule == "raid_degraded");
    let told = own.told(RULE, "firing")?;
    if told.message != MESSAGE {
        return Err(format!("it says: {}", told.message));
    }
    readings.until("an array without a disk", |pass| {
        pass.is("md_degraded_disks_count{md0}", 1.0) && pass.is("md_faulty_disks_count{md0}", 1.0)
    })?;
    array.remove(DISKS[1]).map_err(|e| fail(DISKS[1], e))?;
    // The rebuild takes some seconds, to be seen.
    for (file, value) in [("sync_speed_min", "1000"), ("sync_speed_max", "3000")] {
        let path = format!("/sys/block/md0/md/{file}");
        fs::write(&path, value).map_err(|e| fail(&path, e))?;
    }
    array.add(DISKS[1]).map_err(|e| fail(DISKS[1], e))?;
    readings.until("a rebuild", |pass| {
        let done = pass.get("md_sync_percent{md0}");
        pass.is("md_syncing{md0}", 1.0)
            && pass.is("md_degraded_disks_count{md0}", 1.0)
            && pass.is("md_faulty_disks_count{md0}", 0.0)
            && done.is_some_and(|percent| percent < 100.0)
    })?;
    let over = own.told(RULE, "resolved")?;
    if !over.message.starts_with("RAID array md0 has all its disks again after ") {
        return Err(format!("it says: {}", over.message));
    }
    readings.until("a whole array again", |pass| {
        pass.is("md_degraded_disks_count{md0}", 0.0)
            && pass.is("md_syncing{md0}", 0.0)
            && pass.lacks("md_sync_percent{md0}")
    })?;
    drop(array);
    readings.until("no array", |pass| pass.lacks("md_inactive{md0}") || pass.is("md_inactive{md0}", 0.0))?;
    readings.end()?;
    Ok(logged.ok_or("the kernel log does not work")?.seen_now())
}

const MESSAGE: &str = "RAID array md0 is degraded: a disk is missing. `mdadm --detail` names the disk; replace it \
    before another one fails";

/// Where a disk that is plugged in is seen.
const PLUGGED: &str = "vdc";
/// Requests made of it, each time.
const READS: u64 = 300;

/// Plugged in, used, pulled out, and another one plugged in that gets the same name and counts from zero.
pub(super) fn hotplug(lab: &mut Lab) -> Verdict {
    let readings = Readings::start("diskstats")?;
    let count = format!("disk_reads_completed_total{{{PLUGGED}}}");
    let rate = format!("disk_reads_per_second{{{PLUGGED}}}");
    for (round, reads) in [(1, READS), (2, READS / 2)] {
        lab.monitor("drive_add 0 if=none,id=plugged,driver=null-co,size=16M,read-zeroes=on");
        lab.monitor("device_add virtio-blk-pci,drive=plugged,bus=slot0,id=disk");
        let before = readings.until("the disk", |pass| !pass.lacks(&count))?;
        let at_first = before.get(&count).unwrap_or_default();
        for at in 0..reads {
            let device = format!("/dev/{PLUGGED}");
            machine::direct_read(&device, at % 1024 * 4096).map_err(|e| format!("{device}: {e}"))?;
        }
        readings.until("its reads", |pass| {
            pass.get(&count).is_some_and(|total| total >= at_first + reads as f64)
        })?;
        lab.monitor("device_del disk");
        readings.until("its end", |pass| pass.lacks(&count) && pass.lacks(&rate))?;
        if Path::new("/sys/block").join(PLUGGED).exists() {
            return Err(format!("{PLUGGED} is there and has no readings, in round {round}"));
        }
    }
    readings.end()?;
    Ok(Seen::default())
}
