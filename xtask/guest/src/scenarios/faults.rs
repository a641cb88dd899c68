//! Faults of the hardware, each reported by a tracepoint and, but for temperatures, by the kernel log: one alert, whose
//! sources are both.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::thread::sleep;
use std::time::Duration;

use crate::inbox::{Alert, now_ns};
use crate::lab::{Found, Lab, Verdict};
use crate::{machine, sys};

/// A corrected error of the cache, written by QEMU into bank 1 of the first processor.
pub(super) fn machine_check(lab: &mut Lab) -> Verdict {
    // A corrected error raises no exception, and no interrupt here: the kernel finds it when it looks.
    let interval = "/sys/devices/system/machinecheck/machinecheck0/check_interval";
    write(interval, "1")?;
    let begin = now_ns();
    // cpu bank status mcgstatus addr misc
    lab.monitor("mce 0 1 0x9c00000000000151 0x0 0x12345000 0x8c");
    let found = one(lab, "hardware_error", "ebpf.mce_record", true, |_| true);
    write(interval, "300")?;
    let found = found?;
    found.label("class", "CE")?.label("cpu", "0")?.label("bank", "1")?;
    let told = found.detail("mce:mce_record", "status", "0x9c00000000000151")?;
    told.detail("mce:mce_record", "address", "0x12345000")?;
    Ok(found.seen(begin))
}

/// A page that `madvise(MADV_HWPOISON)` declares broken.
pub(super) fn broken_page(lab: &mut Lab) -> Verdict {
    let poisoned = lab.kin(&["poison"])?;
    poisoned.end()?;
    let found = one(lab, "memory_failure", "ebpf.memory_failure", true, |_| true)?;
    found.detail("ras:memory_failure_event", "result", "recovered")?;
    Ok(found.seen_now())
}

/// A corrected error of the device behind the root port, told to the port's interrupt by `aer_inject`
/// (`drivers/pci/pcie/aer_inject.c`): QEMU 7.2's own `pcie_aer_inject_error` marks the device, and no interrupt comes.
pub(super) fn pcie(lab: &mut Lab) -> Verdict {
    let (device, injector) = ("0000:01:00.0", "/dev/aer_inject");
    machine::load("aer_inject", "").map_err(|e| format!("aer_inject: {e}"))?;
    let port = fs::canonicalize(format!("/sys/bus/pci/devices/{device}"));
    let port = port.ok().and_then(|path| Some(path.parent()?.display().to_string()));
    // A port that sleeps hears nothing.
    write(&format!("{}/power/control", port.ok_or(format!("there is no {device}"))?), "on")?;
    let begin = now_ns();
    // struct aer_error_inj: bus, device, function; uncorrectable and correctable status; header log; domain.
    let words: [u32; 8] = [1, 0, 1, 0, 0, 0, 0, 0];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    fs::write(injector, bytes).map_err(|e| format!("{injector}: {e}"))?;
    let is_it = |a: &Alert| a.labels.get("device").is_some_and(|d| d == device);
    let found = one(lab, "pcie_error", "ebpf.aer_event", true, is_it)?;
    found.detail("ras:aer_event", "severity", "corrected")?;
    found.detail("ras:aer_event", "errors", vec!["receiver error"])?;
    Ok(found.seen(begin))
}

/// An adapter whose frames nobody takes.
pub(super) fn transmit(lab: &mut Lab) -> Verdict {
    let interface = virtio_interface()?;
    let fail = |e| format!("{interface}: {e}");
    sys::interface(&interface, true).map_err(fail)?;
    let sockets = sys::stuff(&interface, FRAMES).map_err(fail)?;
    // The watchdog looks every 5 s.
    let is_it = |a: &Alert| a.labels.get("interface").is_some_and(|i| *i == interface);
    let found = one(lab, "nic_hang", "ebpf.net_tx_timeout", true, is_it);
    // Not again after 5 s.
    sys::interface(&interface, false).map_err(fail)?;
    drop(sockets);
    let found = found?;
    found.label("driver", "virtio_net")?;
    Ok(found.seen_now())
}

/// More than the queue of the adapter and QEMU's socket behind it hold.
const FRAMES: u32 = 4096;

/// A thermal zone (`xtask/src/vm/thermal.asl`) that passes its trip point `hot`.
pub(super) fn thermal(lab: &mut Lab) -> Verdict {
    heat(70)?;
    let found = one(lab, "thermal_critical", "ebpf.thermal", false, |_| true);
    heat(0)?;
    let found = found?;
    // Until the zone has been looked at again, it would tell it again: before 6.12 at each look.
    sleep(Duration::from_secs(2));
    lab.also(|a| a.rule == "thermal_critical");
    found.label("zone", "thermal_zone0")?.label("sensor", "acpitz")?;
    found.detail("thermal:thermal_zone_trip", "trip_type", "hot")?;
    Ok(found.seen_now())
}

/// The alert, which there must be.
fn one(
    lab: &mut Lab,
    rule: &str,
    probe: &str,
    logged: bool,
    is_it: impl Fn(&Alert) -> bool,
) -> Result<Found, String> {
    if !lab.is_on(probe) {
        return Err(format!("{probe} is not on"));
    }
    lab.one(rule, probe, logged, is_it)?.ok_or_else(|| format!("{rule}: nobody saw it"))
}

fn write(path: &str, value: &str) -> Result<(), String> {
    fs::write(path, value).map_err(|e| format!("{path}: {e}"))
}

/// Degrees above 27 °C.
fn heat(degrees: u8) -> Result<(), String> {
    config("0000:00:00.0", 0xf0, &[degrees])
}

/// Writes into a device's configuration space.
fn config(device: &str, offset: u64, bytes: &[u8]) -> Result<(), String> {
    let path = format!("/sys/bus/pci/devices/{device}/config");
    let set = || {
        let mut file = OpenOptions::new().write(true).open(&path)?;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(bytes)
    };
    set().map_err(|e: std::io::Error| format!("{path}: {e}"))
}

fn virtio_interface() -> Result<String, String> {
    let list = fs::read_dir("/sys/class/net").map_err(|e| format!("/sys/class/net: {e}"))?;
    let is_virtio = |entry: &fs::DirEntry| {
        let driver = fs::read_link(entry.path().join("device/driver"));
        driver.is_ok_and(|driver| driver.ends_with("virtio_net"))
    };
    let found = list.flatten().find(is_virtio);
    let found = found.ok_or("there is no interface of virtio_net")?;
    Ok(found.file_name().to_string_lossy().into_owned())
}
