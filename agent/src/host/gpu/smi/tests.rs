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

#[test]
fn links_are_read() {
    let text = "GPU 0: A (UUID: GPU-1)\n\t Link 3: Replay Errors: 7\n\t Link 3: CRC FLIT Errors: 2\n\
                \t Link x: Replay Errors: 1\n\t Link 4: Recovery Errors: many\n\t Link 5: New Errors: 3\nGPU 1: B (UUID: GPU-2)\n";
    let three = Link { link: 3, replay: Some(7), recovery: None, crc: Some(2) };
    let five = Link { link: 5, ..Link::default() };
    assert_eq!(links(text), [("GPU-1".to_owned(), vec![three, five]), ("GPU-2".to_owned(), vec![])]);
    assert_eq!(links("NVML: nvlink is not supported\n"), []);
}

#[test]
fn busy_processes_are_read() {
    let text = "# gpu        pid  type    sm   mem\n# Idx          #   C/G     %     %\n    0  12  C  95  1\n    1  13  C   -  -\n    1   -  -   -  -\n    0  14  C  250  1\n";
    assert_eq!(busy(text), [(12, 95.0), (14, 100.0)]);
    // Newer drivers put columns between.
    assert_eq!(busy("# gpu pid type fb sm\n 0 5 C 100 7\n"), [(5, 7.0)]);
    assert_eq!(busy("0 5 C 7\n"), [], "no names, no numbers");
}

proptest! {
    #[test]
    fn no_text_makes_the_readers_panic(text in "(GPU 0: x \\(UUID: y\\)|Link [0-9]+: (Replay|CRC) Errors: [0-9]+|# gpu pid sm|<gpu id=\"[0-9:.]*\">|<mig_device>|<index>[0-9]*</index>|<fb_memory_usage>|<total>[0-9]{0,25} MiB</total>|</?[a-z_]*>|\n|\t|\\PC){0,80}") {
        let _ = (links(&text), busy(&text), detail::details(&text), unknown_column(&text));
    }
}
