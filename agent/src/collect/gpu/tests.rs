use super::*;
use crate::collect::testing::Bench;
use crate::host::gpu::smi::PROGRAM;

const A100X8: &str = include_str!("testdata/a100x8.host");
const T4: &str = include_str!("testdata/t4.host");

/// A collector that waits as long as the fixture needs.
fn bench(text: &str) -> Bench {
    Bench::new(text, Gpus { patience: Duration::from_secs(10), ..Gpus::new() })
}

#[test]
fn eight_gpus_are_read() {
    let mut bench = bench(A100X8);
    bench.pass().unwrap();
    bench.expect(&[
        ("gpu_count", 8.0),
        ("gpu_driver_stuck", 0.0),
        ("gpu_driver_failed", 0.0),
        ("gpu_utilization_percent{0,NVIDIA A100-SXM4-80GB}", 90.0),
        ("gpu_memory_utilization_percent{0}", 40.0),
        ("gpu_memory_total_gb{0}", 80.0),
        ("gpu_memory_used_gb{0}", 60.0),
        ("gpu_memory_used_percent{0}", 75.0),
        ("gpu_temperature_celsius{7}", 67.0),
        ("gpu_memory_temperature_celsius{7}", 77.0),
        ("gpu_power_watts{0}", 350.25),
        ("gpu_power_limit_watts{0}", 400.0),
        ("gpu_power_percent{0}", 87.5625),
        ("gpu_clock_mhz{0,sm}", 1410.0),
        ("gpu_clock_mhz{0,mem}", 1593.0),
        ("gpu_throttled{1,power_cap}", 1.0),
        ("gpu_throttled{1,sw_thermal}", 1.0),
        ("gpu_throttled{1,hw_thermal}", 0.0),
        ("gpu_throttled{0,power_cap}", 0.0),
        ("gpu_ecc_corrected_errors_total{5,volatile}", 5.0),
        ("gpu_ecc_corrected_errors_total{5,aggregate}", 15.0),
        ("gpu_ecc_uncorrected_errors_total{3,volatile}", 1.0),
        ("gpu_ecc_uncorrected_errors_total{3,aggregate}", 2.0),
        ("gpu_pcie_generation{0,now}", 4.0),
        ("gpu_pcie_width{2,now}", 8.0),
        ("gpu_pcie_width{2,best}", 16.0),
        ("gpu_pcie_replays_total{0}", 5.0),
        ("gpu_remapped_rows_count{1,corrected}", 1.0),
        ("gpu_remapped_rows_count{1,uncorrected}", 2.0),
        ("gpu_remap_pending{1}", 1.0),
        ("gpu_remap_failed{1}", 1.0),
        ("gpu_remap_failed{0}", 0.0),
        ("gpu_nvlink_errors_total{0,1,replay}", 1.0),
        ("gpu_nvlink_errors_total{1,0,crc}", 3.0),
        ("gpu_instance_memory_total_gb{1,0}", 39.25),
        ("gpu_instance_memory_used_gb{1,0}", 19.625),
        ("gpu_processes_count{0}", 2.0),
        ("gpu_process_memory_gb{0,4242,python3,83c3e2e7b893}", 61000.0 / 1024.0),
        ("gpu_process_utilization_percent{0,4242,python3,83c3e2e7b893}", 95.0),
        ("gpu_process_memory_gb{1,77,train,slurmd.service}", 40000.0 / 1024.0),
        ("gpu_lost{6}", 1.0),
        ("gpu_lost{5}", 0.0),
    ]);
    assert!(bench.has(
        "gpu_info{0,NVIDIA A100-SXM4-80GB,GPU-a1000000-1111-2222-3333-000000000000,0000:07:00.0,535.129.03}"
    ));
    for absent in ["gpu_fan_percent{0}", "gpu_temperature_celsius{6}", "gpu_retired_pages_count{0,corrected}"]
    {
        assert!(!bench.has(absent), "{absent}");
    }
}

#[test]
fn a_driver_that_does_not_answer_blocks_nothing_and_is_said() {
    let mut bench = Bench::new(T4, Gpus { patience: Duration::from_millis(5), ..Gpus::new() });
    bench.host.apply("//- command nvidia-smi hang").unwrap();
    // Ten seconds from pass to pass.
    for stuck in [0.0, 0.0, 0.0, 1.0, 1.0] {
        bench.pass().unwrap();
        bench.expect(&[("gpu_driver_stuck", stuck)]);
        assert_eq!(bench.readings.len(), 1, "{:?}", bench.readings);
    }
    // It comes to itself: the late answer is told.
    bench.host.apply("//- command nvidia-smi\nnothing\n").unwrap();
    for _ in 0..1000 {
        if bench.pass().is_ok() && bench.has("gpu_count") {
            bench.expect(&[("gpu_driver_stuck", 0.0), ("gpu_count", 1.0)]);
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the late answer never came");
}

#[test]
fn a_driver_that_fails_is_said_after_half_a_minute() {
    let failed = "//- command nvidia-smi\nNVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n";
    let none = "//- command nvidia-smi\nNo devices were found\n";
    for (begins_with, then) in [(T4, failed), (T4, none), ("//- /proc/driver/nvidia/version\nNVRM\n", failed)]
    {
        let mut bench = bench(begins_with);
        // Without tools it is not known whether it does its work.
        let knows = bench.pass().is_ok();
        assert_eq!(bench.readings.get("gpu_driver_failed"), knows.then_some(&0.0));
        bench.host.remove("$ nvidia-smi --query-gpu");
        bench.host.apply(then).unwrap();
        // Ten seconds from pass to pass.
        for long in [None, None, None, Some(1.0), Some(1.0)] {
            bench.readings.remove("gpu_driver_failed");
            bench.pass().unwrap_err();
            assert_eq!(bench.readings.get("gpu_driver_failed").copied(), long);
        }
    }
    // One that never knew a GPU has lost none, unless one is bound to it.
    let mut idle = bench(&format!(
        "//- /proc/driver/nvidia/version\nNVRM\n{none}//- /sys/bus/pci/drivers/nvidia/bind\n"
    ));
    for _ in 0..5 {
        idle.pass().unwrap();
        idle.expect(&[("gpu_driver_failed", 0.0), ("gpu_count", 0.0)]);
    }
    idle.host.set("/sys/bus/pci/drivers/nvidia/0000:65:00.0/vendor", "0x10de");
    idle.pass().unwrap();
    idle.host.set("/dev/nvidia0", "");
    assert!(idle.pass().unwrap_err().to_string().contains("bound to it"));
}

#[test]
fn what_is_wrong_is_said() {
    let mut without = bench("");
    assert!(matches!(without.pass(), Err(CollectError::Absent { path }) if path == LOADED));
    without.expect_nothing();

    let version = "//- /proc/driver/nvidia/version\nNVRM\n";
    let error = bench(version).pass().unwrap_err().to_string();
    assert!(error.contains("neither libnvidia-ml.so.1 nor nvidia-smi is found"), "{error}");

    for (printed, expect) in [
        (
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
            "couldn't communicate",
        ),
        ("Failed to initialize NVML: Driver/library version mismatch", "version mismatch"),
        ("Field \"index\" is not a valid field to query.", "not a valid field"),
        ("\x1b[31m\u{7f}", "does not tell"),
        ("", "printed nothing"),
    ] {
        let mut bench = bench(&format!("{version}//- command {PROGRAM}\n{printed}\n"));
        let error = bench.pass().unwrap_err().to_string();
        assert!(error.contains(expect) && !error.contains('\x1b'), "{error}");
    }
    let mut none = bench(&format!("{version}//- command {PROGRAM} --query-gpu\nindex, uuid\n"));
    none.pass().unwrap();
    none.expect(&[("gpu_count", 0.0)]);
}

/// What was recorded on real machines is read, whatever the driver.
#[test]
fn recordings_are_read() {
    let check = |text: &str, absent: &[&str], expect: &[(&str, f64)]| {
        let mut bench = bench(text);
        bench.pass().unwrap();
        bench.expect(expect);
        for name in absent {
            assert!(!bench.has(name), "{name}: {:#?}", bench.readings);
        }
    };
    // A divided board has no utilisation of its own, and its processes none either.
    check(
        include_str!("testdata/h100-mig-590.host"),
        &[
            "gpu_utilization_percent{0,NVIDIA H100 80GB HBM3}",
            "gpu_remap_failed{0}",
            "gpu_instance_memory_total_gb{0,4}",
        ],
        &[
            ("gpu_memory_used_gb{0}", 11125.0 / 1024.0),
            ("gpu_memory_temperature_celsius{0}", 59.0),
            ("gpu_power_watts{0}", 433.78),
            ("gpu_instance_memory_total_gb{0,0}", 39.5),
            ("gpu_instance_memory_used_gb{0,0}", 26.0 / 1024.0),
            ("gpu_instance_memory_total_gb{0,3}", 9.75),
            ("gpu_processes_count{0}", 3.0),
            ("gpu_process_memory_gb{0,21198,,}", 7484.0 / 1024.0),
            ("gpu_pcie_replays_total{0}", 0.0),
            ("gpu_lost{0}", 0.0),
        ],
    );
    check(
        include_str!("testdata/a100-mig-535.host"),
        &["gpu_utilization_percent{0,NVIDIA A100-SXM4-80GB}", "gpu_ecc_corrected_errors_total{0,volatile}"],
        &[
            ("gpu_memory_total_gb{0}", 80.0),
            ("gpu_ecc_corrected_errors_total{0,aggregate}", 0.0),
            ("gpu_instance_memory_total_gb{0,3}", 19.5),
            ("gpu_instance_memory_used_gb{0,3}", 12.0 / 1024.0),
            ("gpu_throttled{0,power_cap}", 0.0),
        ],
    );
    check(
        include_str!("testdata/a100-mig-510.host"),
        &[
            "gpu_utilization_percent{0,NVIDIA A100-SXM4-40GB}",
            "gpu_ecc_corrected_errors_total{0,volatile}",
            "gpu_remap_pending{0}",
        ],
        &[
            ("gpu_memory_total_gb{0}", 40.0),
            ("gpu_memory_temperature_celsius{0}", 44.0),
            ("gpu_ecc_uncorrected_errors_total{0,aggregate}", 0.0),
            ("gpu_instance_memory_total_gb{0,1}", 19.5),
            ("gpu_instance_memory_used_gb{0,1}", 19.0 / 1024.0),
            ("gpu_throttled{0,power_cap}", 0.0),
        ],
    );
    check(
        include_str!("testdata/h200-mig-580.host"),
        &[
            "gpu_utilization_percent{0,NVIDIA H200}",
            "gpu_fan_percent{0}",
            "gpu_retired_pages_count{0,corrected}",
        ],
        &[
            ("gpu_memory_total_gb{0}", 143_771.0 / 1024.0),
            ("gpu_power_watts{0}", 89.93),
            ("gpu_clock_mhz{0,sm}", 345.0),
            ("gpu_pcie_generation{0,now}", 5.0),
            ("gpu_throttled{0,power_cap}", 0.0),
            ("gpu_processes_count{0}", 0.0),
            ("gpu_lost{0}", 0.0),
        ],
    );
    check(
        include_str!("testdata/rtx2080s-595.host"),
        &[
            "gpu_memory_temperature_celsius{0}",
            "gpu_ecc_corrected_errors_total{0,volatile}",
            "gpu_remap_pending{0}",
        ],
        &[
            ("gpu_utilization_percent{0,NVIDIA GeForce RTX 2080 SUPER}", 8.0),
            ("gpu_fan_percent{0}", 38.0),
            ("gpu_power_percent{0}", 44.6),
            ("gpu_process_utilization_percent{0,5267,,}", 7.0),
            ("gpu_process_memory_gb{0,5268,,}", 370.0 / 1024.0),
        ],
    );
    check(
        include_str!("testdata/t4-515.host"),
        &["gpu_fan_percent{0}", "gpu_memory_temperature_celsius{0}"],
        &[
            ("gpu_pcie_width{0,now}", 8.0),
            ("gpu_retired_pages_count{0,corrected}", 0.0),
            ("gpu_clock_mhz{0,mem}", 5000.0),
        ],
    );
}

/// Eight boards as a driver of 2021 told of them, all busy with one process.
#[test]
fn a_recording_of_eight_boards_is_read_to_the_figure() {
    let mut bench = bench(include_str!("testdata/v100x8-460.host"));
    bench.pass().unwrap();
    let utilization = [97.0, 75.0, 80.0, 23.0, 98.0, 98.0, 91.0, 99.0];
    let process_mib = [31683.0, 29539.0, 29533.0, 32093.0, 29511.0, 32135.0, 32151.0, 29495.0];
    let watts = [232.80, 152.03, 67.57, 198.41, 117.99, 85.80, 68.14, 61.47];
    for board in 0..8 {
        let of = |name: &str, more: &str| format!("{name}{{{board}{more}}}");
        let capped = f64::from(u8::from(board == 3 || board == 6));
        let process = of("gpu_process_memory_gb", ",37305,,");
        for (name, value) in [
            (of("gpu_utilization_percent", ",Tesla V100S-PCIE-32GB"), utilization[board]),
            // The driver takes 6 MiB of each.
            (of("gpu_memory_used_gb", ""), (process_mib[board] + 6.0) / 1024.0),
            (process, process_mib[board] / 1024.0),
            (of("gpu_power_watts", ""), watts[board]),
            (of("gpu_throttled", ",power_cap"), capped),
            (of("gpu_pcie_width", ",now"), 16.0),
            (of("gpu_retired_pages_count", ",uncorrected"), 0.0),
        ] {
            bench.expect(&[(name.as_str(), value)]);
        }
        for absent in ["gpu_fan_percent", "gpu_remap_pending"] {
            assert!(!bench.has(&of(absent, "")), "{absent}");
        }
    }
    bench.expect(&[
        ("gpu_count", 8.0),
        ("gpu_temperature_celsius{0}", 66.0),
        ("gpu_clock_mhz{6,sm}", 1597.0),
    ]);
}

/// A board that fell off the bus costs its own readings only, however the driver says so.
#[test]
fn a_lost_board_does_not_hide_the_others() {
    let mut bench = bench(include_str!("testdata/lost-610.host"));
    bench.pass().unwrap();
    bench.expect(&[
        ("gpu_count", 2.0),
        ("gpu_lost{0}", 0.0),
        ("gpu_lost{1}", 1.0),
        ("gpu_memory_used_gb{0}", 19818.0 / 1024.0),
    ]);
    assert!(!bench.has("gpu_temperature_celsius{1}"));

    // An older driver says that and nothing else; the number is the one that the board had before.
    let mut bench = bench_of_two();
    bench.host.apply("//- command nvidia-smi\nUnable to determine the device handle for GPU0000:0A:00.0: Unknown Error\n").unwrap();
    bench.pass().unwrap();
    bench.expect(&[("gpu_count", 1.0), ("gpu_lost{1}", 1.0)]);
}

fn bench_of_two() -> Bench {
    let mut bench = bench(A100X8);
    bench.pass().unwrap();
    bench.expect(&[("gpu_lost{1}", 0.0)]);
    for command in ["--query-gpu", "--query-compute-apps", "-q -x", "pmon", "nvlink -e"] {
        bench.host.remove(&format!("$ nvidia-smi {command}"));
    }
    bench
}
