//! `nvidia-smi` beside ours, on a machine with an NVIDIA GPU. With the feature `gpu` ours come from NVML.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::bench;
use super::rows::{Allowed, Readings, Rows, Theirs};
use super::tools::printed;

const PROGRAM: &str = "nvidia-smi";
/// There while the driver is loaded.
const LOADED: &str = "/proc/driver/nvidia/version";
/// Looks at most; the first may only wake the driver.
const LOOKS: u32 = 5;
/// Passes of ours around a look, a pace apart: an answer that takes longer than a pass may wait comes with the next one.
const PASSES: u32 = 3;
const PACE: Duration = Duration::from_millis(1100);

const MOMENT: &str = "the moment differs: it changes from look to look";
const ROUNDED: &str = "nvidia-smi rounds to whole MiB";

/// Column, ours with `G` for the GPU, what one of theirs is of ours, and how far it may be off.
const COLUMNS: [(&str, &str, f64, Allowed, &str); 16] = [
    ("utilization.gpu", "gpu_utilization_percent{G,MODEL}", 1.0, Allowed::By(20.0), MOMENT),
    ("utilization.memory", "gpu_memory_utilization_percent{G}", 1.0, Allowed::By(20.0), MOMENT),
    ("memory.total", "gpu_memory_total_gb{G}", 1.0 / 1024.0, Allowed::By(0.001), ROUNDED),
    ("memory.used", "gpu_memory_used_gb{G}", 1.0 / 1024.0, Allowed::By(0.001), ROUNDED),
    ("temperature.gpu", "gpu_temperature_celsius{G}", 1.0, Allowed::By(2.0), MOMENT),
    ("power.draw", "gpu_power_watts{G}", 1.0, Allowed::Share(0.2), MOMENT),
    (
        "enforced.power.limit",
        "gpu_power_limit_watts{G}",
        1.0,
        Allowed::By(0.01),
        "nvidia-smi has two decimals",
    ),
    ("clocks.sm", "gpu_clock_mhz{G,sm}", 1.0, Allowed::Share(0.5), MOMENT),
    ("clocks.mem", "gpu_clock_mhz{G,mem}", 1.0, Allowed::Share(0.5), MOMENT),
    ("fan.speed", "gpu_fan_percent{G}", 1.0, Allowed::By(5.0), MOMENT),
    (
        "ecc.errors.corrected.volatile.total",
        "gpu_ecc_corrected_errors_total{G,volatile}",
        1.0,
        Allowed::Nothing,
        "",
    ),
    (
        "ecc.errors.uncorrected.volatile.total",
        "gpu_ecc_uncorrected_errors_total{G,volatile}",
        1.0,
        Allowed::Nothing,
        "",
    ),
    (
        "ecc.errors.uncorrected.aggregate.total",
        "gpu_ecc_uncorrected_errors_total{G,aggregate}",
        1.0,
        Allowed::Nothing,
        "",
    ),
    (
        "pcie.link.gen.current",
        "gpu_pcie_generation{G,now}",
        1.0,
        Allowed::By(4.0),
        "an idle link is slowed down",
    ),
    ("pcie.link.width.current", "gpu_pcie_width{G,now}", 1.0, Allowed::Nothing, ""),
    ("pcie.link.width.max", "gpu_pcie_width{G,best}", 1.0, Allowed::Nothing, ""),
];

/// Whether there is one to ask.
pub(crate) fn is_here() -> bool {
    Path::new(LOADED).exists()
}

/// Compares all GPUs, again while one is off.
pub(crate) fn compare(rows: &mut Rows) {
    let mut bench = bench();
    let mut ours = || {
        for _ in 0..PASSES {
            bench.pass_live();
            thread::sleep(PACE);
        }
        bench.readings()
    };
    let names: Vec<&str> = COLUMNS.iter().map(|(column, ..)| *column).collect();
    let query = format!("--query-gpu=index,name,{}", names.join(","));
    for _ in 0..LOOKS {
        let before = ours();
        let theirs = theirs(&printed(PROGRAM, &[&query, "--format=csv,nounits"]));
        let after = ours();
        rows.take(&before, theirs, &after);
        if rows.wrong(PROGRAM).is_empty() {
            return;
        }
    }
}

/// What a table says, with a line of names; cells that are no numbers say nothing.
fn theirs(text: &str) -> Vec<Theirs> {
    let cells = |line: &str| line.split(',').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut lines = text.lines().skip_while(|line| !line.starts_with("index")).map(cells);
    let names = lines.next().expect("a line of names");
    // Some are answered under another name than they were asked for.
    let place = |column: &str| {
        let other = column.replace("clocks.", "clocks.current.").replace("current.mem", "current.memory");
        names.iter().position(|name| [column, &*other].contains(&name.split(" [").next().unwrap_or_default()))
    };
    let mut all = Vec::new();
    for row in lines {
        let (index, model) = (&row[0], &row[place("name").expect("a name")]);
        for (column, ours, scale, allowed, why) in COLUMNS {
            let cell = place(column).and_then(|at| row.get(at)).and_then(|cell| cell.parse::<f64>().ok());
            all.extend(cell.map(|value| Theirs {
                tool: PROGRAM,
                what: format!("{column} of {index}"),
                ours: ours.replace("{G", &format!("{{{index}")).replace("MODEL", model),
                value: value * scale,
                allowed,
                why,
            }));
        }
    }
    all
}

/// The same text to both: without a GPU this is what can be shown of the comparison.
#[test]
fn recordings_are_read_alike() {
    for (text, least) in [
        (include_str!("../../src/collect/gpu/testdata/a100x8.host"), 60),
        (include_str!("../../src/collect/gpu/testdata/rtx2080s-595.host"), 10),
        (include_str!("../../src/collect/gpu/testdata/h100-mig-590.host"), 8),
        (include_str!("../../src/collect/gpu/testdata/t4-515.host"), 10),
    ] {
        let host = sysops_agent::host::fixture::FixtureHost::parse(text).expect("a host");
        let mut bench = bench::Bench::on(&host, &super::config());
        let mut ours = Readings::new();
        for secs in 0..100 {
            bench.pass(secs);
            ours = bench.readings();
            if ours.contains_key("gpu_memory_total_gb{0}") {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let table = text.split("//- command nvidia-smi --query-gpu\n").nth(1).expect("a table");
        let mut rows = Rows::default();
        rows.take(&ours, theirs(table.split("\n//-").next().expect("a table")), &ours);
        assert_eq!(rows.wrong(PROGRAM), Vec::<String>::new());
        assert!(rows.of(PROGRAM) >= least, "{}", rows.of(PROGRAM));
    }
}
