//! A host as a fixture: everything the collectors and the inventory read of it, twice, without what is its owner's alone.
//!
//! It is the notation of [`crate::host::fixture`], so that a reading that is wrong somewhere can be looked at elsewhere. A second
//! half, after a line `//= …`, has what had changed by then.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::collect::runner::{Health, Runner, Sink};
use crate::config::Config;
use crate::host::recorder::{Record, Recorder};
use crate::host::{Host, clock};
use crate::inventory::{self, Options};
use crate::sample::Batch;

mod printed;
mod scrub;
mod smbios;
#[cfg(test)]
mod tests;
mod write;

pub use scrub::Scrubber;
pub use write::{fixture, line};

/// Processes kept, those with the lowest pids.
pub const MAX_PROCESSES: usize = 256;
/// Bytes of a fixture.
pub const MAX_FIXTURE: usize = 8 << 20;

/// Reads a host twice, with this between, and gives its fixture with at most so many processes.
pub fn capture(host: &Arc<dyn Host>, wait: Duration, processes: usize) -> String {
    let config = config();
    let recorder = Recorder::new(Arc::clone(host));
    let shared: Arc<dyn Host> = Arc::new(recorder.clone());
    let mut runner = Runner::new(&config, Arc::clone(&shared), Vec::new(), clock::now());
    runner.pass(&mut clock::now, &mut Nobody);
    let _ = inventory::collect(&*shared, &Options::of(&config), clock::now());
    let first = recorder.take();
    std::thread::sleep(wait);
    runner.pass(&mut clock::now, &mut Nobody);
    let second = recorder.take();
    let scrubber = Scrubber::of(host.as_ref(), processes);
    text(&scrubber.record(first), &scrubber.record(second), host.as_ref())
}

/// Everything, at a pace at which all is read again; nothing that belongs to somebody else is asked.
fn config() -> Config {
    let mut config = Config::default();
    let section = &mut config.collector;
    section.exclude_devices.clear();
    section.exclude_interfaces.clear();
    for pace in [
        &mut section.cpu_interval_secs,
        &mut section.memory_interval_secs,
        &mut section.disk_interval_secs,
        &mut section.disk_io_interval_secs,
        &mut section.network_interval_secs,
        &mut section.process_interval_secs,
        &mut section.fd_interval_secs,
        &mut section.gpu_interval_secs,
    ] {
        *pace = 1;
    }
    config.inventory.include_smart = true;
    config
}

/// Both halves.
pub fn text(first: &Record, second: &Record, host: &dyn Host) -> String {
    let uname = host.uname();
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "//- # A capture, scrubbed: names of the host and of users, addresses, serial numbers and arguments are not its own.\n\
         //- # {} entries had no room.\n//- uname host {} {}\n",
        first.left_out + second.left_out,
        line(&uname.release),
        line(&uname.machine)
    );
    text += &fixture(first);
    text += "//= later\n";
    text += &fixture(&changes(first, second));
    text.truncate(text.floor_char_boundary(MAX_FIXTURE));
    text
}

/// What differs from the first look. What is gone by then stays: a fixture cannot say it.
fn changes(first: &Record, second: &Record) -> Record {
    let mut changes = second.clone();
    changes.files.retain(|path, content| first.files.get(path) != Some(content));
    changes.links.retain(|path, target| first.links.get(path) != Some(target));
    changes.filesystems.retain(|path, stat| first.filesystems.get(path) != Some(stat));
    changes.printed.retain(|command, text| first.printed.get(command) != Some(text));
    changes.nics.clear();
    changes.dirs.clear();
    changes.subdirs.clear();
    // They would be there twice.
    changes.sockets.clear();
    changes
}

struct Nobody;

impl Sink for Nobody {
    fn batch(&mut self, batch: Batch) -> Option<Batch> {
        Some(batch)
    }

    fn health(&mut self, _: Health) {}
}
