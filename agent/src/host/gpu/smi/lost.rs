//! Boards that `nvidia-smi` tells of in a line instead of a row: the driver knows their address and nothing else. Pure.
//!
//! The form changed: `… for GPU 0000:0B:00.0: Unknown Error` (old ones; they print nothing else and end),
//! `… for GPU0000:65:00.0: Unknown Error` (525 to 560), `… for GPU1: 0000:34:00.0: Unknown Error` (610, before the table). Some name the number alone: `… for GPU1: Unknown Error`.

use super::{MAX_GPUS, bus_of, tame};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Board {
    /// Number, where the line has it.
    pub(super) index: Option<u32>,
    /// PCI address as sysfs writes it; empty where the line has the number only.
    pub(super) bus: String,
    /// The driver's words.
    pub(super) why: String,
}

const LINE: &str = "Unable to determine the device handle for GPU";

/// Takes such lines out of what was printed.
pub(super) fn set_aside(text: &str) -> (Vec<Board>, String) {
    let (mut lost, mut rest) = (Vec::new(), Vec::new());
    for line in text.lines() {
        match board(line) {
            Some(board) if lost.len() < MAX_GPUS => lost.push(board),
            Some(_) => {}
            None => rest.push(line),
        }
    }
    (lost, rest.join("\n"))
}

fn board(line: &str) -> Option<Board> {
    let (begin, rest) = line.trim_start().split_at_checked(LINE.len())?;
    if !begin.eq_ignore_ascii_case(LINE) {
        return None;
    }
    let rest = rest.trim_start();
    let (index, rest) = match rest.split_once(": ") {
        Some((number, rest)) if number.bytes().all(|b| b.is_ascii_digit()) => (number.parse().ok(), rest),
        _ => (None, rest),
    };
    let (bus, why) = rest.split_once(": ").unwrap_or((rest, ""));
    // Domain, bus, device and function.
    let is_address = bus.split([':', '.']).count() == 4
        && bus.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b));
    if is_address {
        return Some(Board { index, bus: bus_of(bus), why: tame(why) });
    }
    Some(Board { index: Some(index?), bus: String::new(), why: tame(rest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: Option<(Option<u32>, &str, &str)>) {
        let expect = expect.map(|(index, bus, why)| Board { index, bus: bus.into(), why: why.into() });
        let (lost, rest) = set_aside(&format!("{line}\nindex\n0\n"));
        assert_eq!(lost.first(), expect.as_ref(), "{line}");
        assert_eq!(rest.contains(line) && !line.is_empty(), expect.is_none() && !line.is_empty(), "{line}");
        assert!(rest.ends_with("index\n0"));
    }

    #[test]
    fn every_form_is_understood() {
        let begin = "Unable to determine the device handle for";
        let unknown = "Unknown Error";
        check(&format!("{begin} GPU 0000:0B:00.0: {unknown}"), Some((None, "0000:0b:00.0", unknown)));
        check(&format!("{begin} GPU0000:65:00.0: {unknown}"), Some((None, "0000:65:00.0", unknown)));
        check(&format!("{begin} GPU1: 0000:34:00.0: {unknown}"), Some((Some(1), "0000:34:00.0", unknown)));
        let long = "GPU is lost.  Reboot the system to recover this GPU";
        check(&format!("{begin} gpu 0000:02:00.0: {long}"), Some((None, "0000:02:00.0", long)));
        check(&format!("{begin} GPU1: {unknown}"), Some((Some(1), "", unknown)));
        check(&format!("{begin} GPU 0: {unknown}"), Some((Some(0), "", unknown)));
        check(&format!("{begin} GPU0"), None);
        for other in [
            "GPU1",
            "GPU: x",
            "GPU",
            "GPU 1: 2: 3",
            "GPU \u{1b}[31m:0.0.0: x",
            "GPU9999999999999999999: 0000:34:00.0",
        ] {
            let line = format!("{begin} {other}");
            let found = set_aside(&line).0;
            assert!(found.iter().all(|board| [0, 12].contains(&board.bus.len())), "{line}: {found:?}");
        }
        check("No devices were found", None);
        check("", None);
    }
}
