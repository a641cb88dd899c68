use super::*;
use crate::host::fixture::FixtureHost;
use proptest::prelude::*;

const T4: &str = include_str!("../../../collect/gpu/testdata/t4.host");

fn value(gpu: &Gpu, metric: &Metric, label: &str) -> Option<f64> {
    gpu.readings.iter().find(|(m, l, _)| *m == metric && *l == label).map(|&(.., value)| value)
}

#[test]
fn an_old_driver_that_does_not_know_a_column_is_asked_without_it() {
    let host = FixtureHost::parse(T4).unwrap();
    let mut smi = Smi::new(host.shared());
    // It refuses the question as it is asked first; its last column is the one that 535 renamed.
    let columns = smi.columns();
    assert!(columns.ends_with(",clocks_event_reasons.active"), "{columns}");
    let refusal = "Field \"clocks_event_reasons.active\" is not a valid field to query.\n\n";
    host.apply(&format!("//- command nvidia-smi --query-gpu={columns}\n{refusal}")).unwrap();
    for _ in 0..2 {
        let gpus = smi.read().unwrap();
        let [gpu] = &gpus[..] else { panic!("{gpus:?}") };
        assert_eq!((gpu.model.as_str(), gpu.bus.as_str(), &gpu.lost), ("Tesla T4", "0000:00:1e.0", &None));
        assert_eq!((gpu.cuda.as_str(), gpu.ecc), ("11.4", Some(true)));
        assert_eq!(value(gpu, &metrics::MEMORY_TOTAL, ""), Some(15109.0 / 1024.0));
        assert_eq!(value(gpu, &metrics::THROTTLED, "power_brake"), Some(1.0));
        assert_eq!(value(gpu, &metrics::PAGES_RETIRED, "corrected"), Some(4.0));
        assert_eq!(value(gpu, &metrics::MEMORY_TEMPERATURE, ""), None);
        assert_eq!(smi.refused, ["clocks_event_reasons.active"], "asked for once");
    }
}

#[test]
fn a_driver_that_refuses_everything_is_not_asked_for_ever() {
    let refusal = "//- command nvidia-smi\nField \"utilization.gpu\" is not a valid field to query.\n";
    let mut smi = Smi::new(FixtureHost::parse(refusal).unwrap().shared());
    let error = smi.read().unwrap_err().to_string();
    assert!(error.contains("not a valid field"), "{error}");
    assert_eq!(smi.refused.len(), 1);
}

/// Whole answers seen in public logs (`nvidia-smi` 470 to 610): the driver's own words are what is told.
#[test]
fn failures_are_told_in_the_drivers_words() {
    for (text, expect) in [
        (
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is \
          installed and running.\n\n",
            "couldn't communicate with the NVIDIA driver",
        ),
        (
            "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.173\n",
            "version mismatch",
        ),
        ("Unable to determine the device handle for GPU0\n", "Unable to determine the device handle"),
        ("Field \"clocks.applications.sm\" is not a valid field to query.\n\n", "clocks.applications.sm"),
    ] {
        let host = FixtureHost::parse(&format!("//- command nvidia-smi\n{text}")).unwrap();
        let error = Smi::new(host.shared()).read().unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }
    let host = FixtureHost::parse("//- command nvidia-smi\nNo devices were found\n").unwrap();
    assert_eq!(Smi::new(host.shared()).read(), Ok(vec![]));
}

/// A board that is told of by its number alone is the one that had this number.
#[test]
fn a_lost_board_is_known_by_its_number() {
    let row = |index: u32| format!("{index}, GPU-{index}, A, 00000000:0{index}:00.0\n");
    let head = "//- command nvidia-smi --query-gpu\n";
    let table = "index, uuid, name, pci.bus_id\n";
    let host = FixtureHost::parse(&format!("{head}{table}{}{}", row(0), row(1))).unwrap();
    let mut smi = Smi::new(host.shared());
    assert_eq!(smi.read().unwrap().len(), 2);
    let line = "Unable to determine the device handle for GPU1: Unknown Error\n";
    host.apply(&format!("{head}{line}{table}{}", row(0))).unwrap();
    let gpus = smi.read().unwrap();
    let told: Vec<_> = gpus.iter().map(|gpu| (gpu.index, gpu.bus.as_str(), gpu.lost.as_deref())).collect();
    assert_eq!(told, [(0, "0000:00:00.0", None), (1, "0000:01:00.0", Some("Unknown Error"))]);
}

/// A link with these errors.
fn link(number: u32, errors: &[(LinkError, u64)]) -> Link {
    let mut link = Link { link: number, ..Link::default() };
    for &(kind, count) in errors {
        link.errors[kind as usize] = Some(count);
    }
    link
}

#[test]
fn links_are_read() {
    let text = "GPU 0: A (UUID: GPU-1)\n\t Link 3: Replay Errors: 7\n\t Link 3: CRC FLIT Errors: 2\n\
                \t Link x: Replay Errors: 1\n\t Link 4: Recovery Errors: many\n\t Link 5: New Errors: 3\nGPU 1: B (UUID: GPU-2)\n";
    let three = link(3, &[(LinkError::Replay, 7), (LinkError::Crc, 2)]);
    let five = link(5, &[]);
    assert_eq!(links(text), [("GPU-1".to_owned(), vec![three, five]), ("GPU-2".to_owned(), vec![])]);
    assert_eq!(links("NVML: nvlink is not supported\n"), []);
}

/// The names are those of driver 595.91.07 on eight B300.
#[test]
fn links_of_blackwell_are_read() {
    let text = "GPU 0: NVIDIA B300 SXM6 AC (UUID: GPU-1)
\t Link 14: Malformed packet Errors: 1
\t Link 14: Buffer overrun Errors: 2
\t Link 14: Rx Errors: 3
\t Link 14: Rx remote Errors: 4
\t Link 14: Rx General Errors: 5
\t Link 14: Local link integrity Errors: 6
\t Link 14: Tx discards: 7
\t Link 14: Link recovery successful events: 505
\t Link 14: Link recovery failed events: 8
\t Link 14: Total link recovery events: 513
\t Link 14: Effective Errors: 9
\t Link 14: Symbol Errors: 10
\t Link 14: FEC Errors - 0: 36140749276
";
    let expect = link(
        14,
        &[
            (LinkError::Malformed, 1),
            (LinkError::Overrun, 2),
            (LinkError::Received, 3),
            (LinkError::Remote, 4),
            (LinkError::General, 5),
            (LinkError::Integrity, 6),
            (LinkError::Discarded, 7),
            (LinkError::Recovery, 505),
            (LinkError::RecoveryFailed, 8),
        ],
    );
    assert_eq!(links(text), [("GPU-1".to_owned(), vec![expect])]);
    assert_eq!(LinkError::NAMES[LinkError::RecoveryFailed as usize], "recovery_failed");
}

#[test]
fn busy_processes_are_read() {
    let of = |gpu, pid, percent| Busy { gpu, pid, percent };
    let text = "# gpu        pid  type    sm   mem\n# Idx          #   C/G     %     %\n    0  12  C  95  1\n    1  12  C  3  1\n    1  13  C   -  -\n    1   -  -   -  -\n    0  14  C  250  1\n";
    assert_eq!(busy(text), [of(0, 12, 95.0), of(1, 12, 3.0), of(0, 14, 100.0)], "a process on two boards");
    // Newer drivers put columns between.
    assert_eq!(busy("# gpu pid type fb sm\n 0 5 C 100 7\n"), [of(0, 5, 7.0)]);
    assert_eq!(busy("0 5 C 7\n"), [], "no names, no numbers");
}

/// One sensor with an error is no lost board; a board that was given to another container is none either.
#[test]
fn only_what_is_lost_is_told_as_lost() {
    let check = |row: &str, lost: bool| {
        let table = format!("index, temperature.gpu, utilization.gpu [%], memory.total [MiB]\n0, {row}\n");
        let table = Table::read(&table, "index").unwrap();
        let found = super::lost(table.rows().next().unwrap());
        assert_eq!(found.is_some(), lost, "{row}: {found:?}");
    };
    // As RTX A6000 and 3090 were seen to answer.
    check("[Unknown Error], 30, 49140", false);
    check("34, [Unknown Error], 49140", false);
    check("34, 30, [Unknown Error]", false);
    check("[N/A], [Unknown Error], 49140", false);
    check("[N/A], [N/A], [N/A]", false);
    check("[Unknown Error], [Unknown Error], [Unknown Error]", true);
    check("[N/A], ERR!, [N/A]", true);
    check("34, [GPU is lost], 49140", true);
    check("[GPU requires reset], 30, 49140", true);

    let row = "index, uuid, name, pci.bus_id\n1, GPU-1, A, 00000000:0A:00.0\n";
    let why = "Unable to determine the device handle for GPU0000:07:00.0: ";
    for (words, lost) in [("Insufficient Permissions", false), ("Unknown Error", true)] {
        let host =
            FixtureHost::parse(&format!("//- command nvidia-smi --query-gpu\n{why}{words}\n{row}")).unwrap();
        let gpus = Smi::new(host.shared()).read().unwrap();
        let told: Vec<_> = gpus.iter().map(|gpu| (gpu.index, gpu.lost.is_some(), gpu.forbidden)).collect();
        assert_eq!(told, [(0, lost, !lost), (1, false, false)], "{words}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_readers_panic(text in "(GPU 0: x \\(UUID: y\\)|Link [0-9]+: (Replay|CRC) Errors: [0-9]+|# gpu pid sm|<gpu id=\"[0-9:.]*\">|<mig_device>|<index>[0-9]*</index>|<fb_memory_usage>|<total>[0-9]{0,25} MiB</total>|</?[a-z_]*>|\n|\t|\\PC){0,80}") {
        let _ = (links(&text), busy(&text), detail::details(&text), unknown_column(&text));
    }
}
