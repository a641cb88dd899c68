//! Which GPU a line of the kernel log means, and whose process it names.
//!
//! The driver names a board by its PCI address, people by its number: the order of the addresses, as NVML counts. The
//! driver's files are read through the driver, which may be in trouble just then; so they are read once at the start,
//! aside, and a board that is lost is known from before.

use std::time::Duration;

use crate::event::LogMatch;
use crate::host::aside::{Answer, Aside};
use crate::host::gpu::MAX_GPUS;
use crate::host::{Host, read_text};
use crate::text::clean;
use crate::time::Now;

/// One folder a board, named by its PCI address (`nv-procfs.c` of the open kernel modules).
const BOARDS: &str = "/proc/driver/nvidia/gpus";
/// Longest model or uuid.
const MAX_TEXT: usize = 64;

/// The boards, by number.
#[derive(Debug)]
pub(super) struct Boards {
    aside: Aside<Vec<Board>>,
    known: Vec<Board>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Board {
    bus: String,
    model: String,
    uuid: String,
}

impl Boards {
    /// Asks for the boards, and waits for nothing.
    pub(super) fn new(host: &dyn Host) -> Self {
        let mut boards = Self { aside: Aside::new("gpus", 1), known: Vec::new() };
        boards.ask(host, Now::default(), Duration::ZERO);
        boards
    }

    fn ask(&mut self, host: &dyn Host, at: Now, patience: Duration) {
        let host = host.shared();
        if let Answer::Done(boards) = self.aside.ask("gpus", at, patience, move || read(host.as_ref()))
            && !boards.is_empty()
        {
            self.known = boards;
        }
    }

    /// Adds number, model and uuid of the board that a line names.
    pub(super) fn fill(&mut self, host: &dyn Host, found: &mut LogMatch, at: Now, patience: Duration) {
        let named = found.fields.iter().find(|(name, _)| matches!(name.as_str(), "bus" | "bus2" | "device"));
        let Some(bus) = named.map(|(_, bus)| bus.to_ascii_lowercase()).filter(|bus| bus.len() >= 7) else {
            return;
        };
        if !self.known.iter().any(|board| board.bus.starts_with(&bus)) {
            self.ask(host, at, patience);
        }
        if let Some((number, board)) =
            self.known.iter().enumerate().find(|(_, board)| board.bus.starts_with(&bus))
        {
            let texts = [("gpu", &number.to_string()), ("model", &board.model), ("uuid", &board.uuid)];
            let new = texts.into_iter().filter(|(_, text)| !text.is_empty());
            found.fields.extend(new.map(|(name, text)| (name.to_owned(), text.clone())));
        }
    }
}

fn read(host: &dyn Host) -> Vec<Board> {
    let mut addresses = Vec::new();
    // Without the driver there is no such folder.
    let _ = host.list(BOARDS, &mut |name| {
        if addresses.len() < MAX_GPUS {
            addresses.push(name.to_ascii_lowercase());
        }
    });
    addresses.sort_unstable();
    let board = |bus: String| {
        let text = read_text(host, &format!("{BOARDS}/{bus}/information")).unwrap_or_default();
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.map(|value| clean(value.trim(), MAX_TEXT)).unwrap_or_default()
        };
        Board { model: value("Model"), uuid: value("GPU UUID"), bus }
    };
    addresses.into_iter().map(board).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;
    use crate::host::fixture::FixtureHost;

    const HOST: &str = "\
//- /proc/driver/nvidia/gpus/0000:86:00.0/information
Model: \t\t NVIDIA A100-SXM4-80GB
IRQ:   \t\t 183
GPU UUID: \t GPU-2
Bus Location: \t 0000:86:00.0
//- /proc/driver/nvidia/gpus/0000:3b:00.0/information
Model: \t\t NVIDIA A100-SXM4-80GB
GPU UUID: \t GPU-1
";

    fn line(bus: &str) -> LogMatch {
        LogMatch {
            rule: "gpu_xid".into(),
            severity: Severity::Critical,
            meaning: String::new(),
            line: String::new(),
            fields: vec![("bus".into(), bus.into())],
            ..LogMatch::default()
        }
    }

    fn filled(boards: &mut Boards, host: &FixtureHost, bus: &str) -> String {
        let mut found = line(bus);
        boards.fill(host, &mut found, Now::default(), Duration::from_secs(10));
        let fields: Vec<_> =
            found.fields.iter().skip(1).map(|(name, value)| format!("{name}={value}")).collect();
        fields.join(" ")
    }

    #[test]
    fn a_board_is_known_by_its_address_also_when_it_is_lost() {
        let host = FixtureHost::parse(HOST).unwrap();
        let mut boards = Boards::new(&host);
        while boards.known.is_empty() {
            boards.ask(&host, Now::default(), Duration::ZERO);
            std::thread::yield_now();
        }
        let first = "gpu=0 model=NVIDIA A100-SXM4-80GB uuid=GPU-1";
        for (bus, expect) in [
            ("0000:3B:00", first),
            ("0000:86:00.0", "gpu=1 model=NVIDIA A100-SXM4-80GB uuid=GPU-2"),
            ("0000:99:00", ""),
            ("0", ""),
        ] {
            assert_eq!(filled(&mut boards, &host, bus), expect, "{bus}");
        }
        host.remove("/proc");
        assert_eq!(filled(&mut boards, &host, "0000:3b:00"), first);
    }

    #[test]
    fn without_a_driver_nothing_is_added() {
        let host = FixtureHost::parse("").unwrap();
        assert_eq!(filled(&mut Boards::new(&host), &host, "0000:3b:00"), "");
    }
}
