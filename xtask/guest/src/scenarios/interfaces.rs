//! Network links, bonds and names that change. The adapters are those of `guest::large` on the host's side.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::own::Own;
use crate::lab::{Lab, Seen, Verdict};
use crate::readings::{Pass, Readings};
use crate::{machine, sys};

/// How fast the adapters say they are, bytes a second: 10 Gbit/s.
const SPEED: f64 = 1.25e9;

/// A link is lost and comes back, once and several times over.
pub(super) fn link(lab: &mut Lab) -> Verdict {
    let nic = by_address("01")?;
    set_up(&nic, true)?;
    let readings = Readings::start("link,network")?;
    let name = |metric: &str| format!("{metric}{{{nic}}}");
    let (up, changes) = (name("network_up"), name("network_carrier_changes_total"));
    let start =
        readings.until("a link", |pass| pass.is(&up, 1.0) && pass.is(&name("network_speed_bytes"), SPEED))?;
    let first = start.get(&changes).ok_or("its changes are not counted")?;
    for times in [1.0, 2.0] {
        lab.monitor("set_link nic0 off");
        readings
            .until("a lost link", |pass| pass.is(&up, 0.0) && pass.is(&changes, first + 2.0 * times - 1.0))?;
        lab.monitor("set_link nic0 on");
        readings
            .until("the link again", |pass| pass.is(&up, 1.0) && pass.is(&changes, first + 2.0 * times))?;
    }
    set_up(&nic, false)?;
    readings.end()?;
    Ok(Seen::default())
}

/// A bond of two adapters, of which one loses its link.
pub(super) fn bond(lab: &mut Lab) -> Verdict {
    machine::load("bonding", "mode=1 miimon=100 max_bonds=1").map_err(|e| format!("bonding: {e}"))?;
    let members = [by_address("02")?, by_address("03")?];
    for member in &members {
        set_up(member, false)?;
        write("/sys/class/net/bond0/bonding/slaves", &format!("+{member}"))?;
    }
    set_up("bond0", true)?;
    let readings = Readings::start("bonding,link,network")?;
    let down = |pass: &Pass, count| {
        pass.is("bond_links_count{bond0}", 2.0) && pass.is("bond_links_down_count{bond0}", count)
    };
    readings.until("a whole bond", |pass| down(pass, 0.0))?;
    let own = Own::start("[collector]\nenabled = [\"bonding\"]\nnetwork_interval_secs = 1")?;
    lab.monitor("set_link nic2 off");
    let logged = lab.one("network_down", "", true, |a| a.labels.get("interface") == Some(&members[1]))?;
    let told = own.told("bond_links_down_count", "firing")?;
    readings.until("a bond without a link", |pass| {
        down(pass, 1.0)
            && pass.is(&format!("network_up{{{}}}", members[1]), 0.0)
            && pass.is("network_up{bond0}", 1.0)
    })?;
    if told.message != MESSAGE {
        return Err(format!("it says: {}", told.message));
    }
    lab.monitor("set_link nic2 on");
    own.told("bond_links_down_count", "resolved")?;
    readings.until("a whole bond again", |pass| down(pass, 0.0))?;
    readings.end()?;
    set_up("bond0", false)?;
    for member in &members {
        write("/sys/class/net/bond0/bonding/slaves", &format!("-{member}"))?;
    }
    Ok(logged.ok_or("the kernel log does not work")?.seen_now())
}

const MESSAGE: &str =
    "Bond bond0 has lost a link. /proc/net/bonding names the interface; look at its cable and switch port";

/// Frames that one of two adapters has sent when both exchange their names.
const FRAMES: u32 = 2000;

/// One gets another name; two exchange theirs between two readings; one is pulled out.
pub(super) fn rename(lab: &mut Lab) -> Verdict {
    let (nic, busy, quiet) = (by_address("01")?, by_address("02")?, by_address("03")?);
    let readings = Readings::start("link,network")?;
    let names =
        |name: &str| [format!("network_up{{{name}}}"), format!("network_receive_bytes_total{{{name}}}")];
    sys::rename(&nic, "wan0").map_err(|e| format!("{nic} has no new name: {e}"))?;
    readings.until("the new name, not the old one", |pass| {
        names("wan0").iter().all(|name| !pass.lacks(name)) && names(&nic).iter().all(|name| pass.lacks(name))
    })?;
    // Much sent by one, nothing by the other; the first is up, the second is down.
    set_up(&busy, true)?;
    let mut sent = 0.0;
    for _ in 0..50 {
        drop(sys::stuff(&busy, FRAMES / 10).map_err(|e| format!("{busy}: {e}"))?);
        sleep(Duration::from_millis(50));
        sent = number(&busy, "statistics/tx_packets")?;
        if sent >= f64::from(FRAMES) {
            break;
        }
    }
    if sent < 500.0 {
        return Err(format!("{busy} has sent {sent} frames only"));
    }
    set_up(&busy, false)?;
    let rate = |name: &str| format!("network_transmit_packets_per_second{{{name}}}");
    readings.until("silence", |pass| pass.is(&rate(&busy), 0.0) && pass.is(&rate(&quiet), 0.0))?;
    let swap =
        |from: &str, to: &str| sys::rename(from, to).map_err(|e| format!("{from} is not called {to}: {e}"));
    swap(&busy, "between")?;
    swap(&quiet, &busy)?;
    swap("between", &quiet)?;
    // The name that one had with few frames is now that of one with many: nobody has sent any.
    for _ in 0..3 {
        let pass = readings.next()?;
        for name in [&busy, &quiet] {
            if pass.get(&rate(name)).is_some_and(|rate| rate > 50.0) {
                return Err(format!(
                    "{name} sends {:?} frames a second, and does not",
                    pass.get(&rate(name))
                ));
            }
        }
    }
    // What the files say that were opened under the old name would be the other's state.
    set_up(&quiet, true)?;
    readings.until("the state of the one that bears the name now", |pass| {
        pass.is(&format!("network_up{{{quiet}}}"), 1.0) && pass.is(&format!("network_up{{{busy}}}"), 0.0)
    })?;
    set_up(&quiet, false)?;
    lab.monitor("device_del nic1");
    readings.until("no such adapter", |pass| names(&quiet).iter().all(|name| pass.lacks(name)))?;
    if Path::new("/sys/class/net").join(&quiet).exists() {
        return Err(format!("{quiet} is there and has no readings"));
    }
    readings.end()?;
    Ok(Seen::default())
}

/// The interface whose hardware address ends so.
fn by_address(end: &str) -> Result<String, String> {
    let list = fs::read_dir("/sys/class/net").map_err(|e| format!("/sys/class/net: {e}"))?;
    let is_it = |entry: &fs::DirEntry| {
        let address = fs::read_to_string(entry.path().join("address")).unwrap_or_default();
        address.trim().ends_with(&format!("be:ef:{end}"))
    };
    let found =
        list.flatten().find(is_it).ok_or_else(|| format!("no adapter with an address …:be:ef:{end}"))?;
    Ok(found.file_name().to_string_lossy().into_owned())
}

fn number(interface: &str, file: &str) -> Result<f64, String> {
    let path = format!("/sys/class/net/{interface}/{file}");
    let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    text.trim().parse().map_err(|e| format!("{path}: {e}"))
}

fn set_up(interface: &str, up: bool) -> Result<(), String> {
    sys::interface(interface, up).map_err(|e| format!("{interface}: {e}"))
}

fn write(path: &str, value: &str) -> Result<(), String> {
    fs::write(path, value).map_err(|e| format!("{path}: {e}"))
}
