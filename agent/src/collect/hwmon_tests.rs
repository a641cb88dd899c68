use super::*;
use crate::collect::testing::Bench;

const HOST: &str = "\
//- /sys/class/hwmon/hwmon0/name
coretemp
//- /sys/class/hwmon/hwmon0/device -> ../../../coretemp.0
//- /sys/class/hwmon/hwmon0/temp1_input
45000
//- /sys/class/hwmon/hwmon0/temp1_crit
100000
//- /sys/class/hwmon/hwmon0/temp1_label
Package id 0
//- /sys/class/hwmon/hwmon0/temp2_input
-128000
//- /sys/class/hwmon/hwmon1/device/name
nct6775
//- /sys/class/hwmon/hwmon1/device/temp1_input
41500
//- /sys/class/hwmon/hwmon1/device/temp1_crit
0
//- /sys/class/hwmon/hwmon1/device/temp3_input
42000
//- /sys/class/hwmon/hwmon1/device/temp3_label
temp1
//- /sys/class/hwmon/hwmon1/device/fan2_input
1200
//- /sys/class/hwmon/hwmon1/device/fan2_min
600
//- /sys/class/hwmon/hwmon1/device/in0_input
1200
//- /sys/class/hwmon/hwmon2/name
drivetemp
//- /sys/class/hwmon/hwmon2/temp1_input
30000
//- /sys/class/thermal/thermal_zone0/temp
99000
";

#[test]
fn sensors_are_read() {
    let mut bench = Bench::new(HOST, Hwmon::new());
    for _ in 0..2 {
        bench.pass().unwrap();
        bench.expect(&[
            ("temperature_celsius{coretemp,coretemp.0,Package id 0}", 45.0),
            ("temperature_critical_celsius{coretemp,coretemp.0,Package id 0}", 100.0),
            ("temperature_margin_celsius{coretemp,coretemp.0,Package id 0}", 55.0),
            ("temperature_celsius{nct6775,,temp1}", 41.5),
            ("temperature_celsius{nct6775,,temp3}", 42.0),
            ("fan_speed_rpm{nct6775,,fan2}", 1200.0),
            ("fan_failed{nct6775,,fan2}", 0.0),
            ("hwmon_stuck{coretemp,coretemp.0}", 0.0),
            ("hwmon_stuck{nct6775,}", 0.0),
        ]);
        assert_eq!(bench.readings.len(), 9);
    }
}

#[test]
fn chips_of_one_name_are_told_apart() {
    let chip = |n: u32| {
        format!(
            "//- /sys/class/hwmon/hwmon{n}/name\nacpitz\n//- /sys/class/hwmon/hwmon{n}/temp1_input\n{n}0000\n"
        )
    };
    let mut bench = Bench::new(&(chip(4) + &chip(7)), Hwmon::new());
    bench.pass().unwrap();
    bench.expect(&[
        ("temperature_celsius{acpitz,,temp1}", 40.0),
        ("temperature_celsius{acpitz,hwmon7,temp1}", 70.0),
    ]);
}

#[test]
fn a_fan_fails_that_has_turned() {
    let mut bench = Bench::new(HOST, Hwmon::new());
    let fan = "/sys/class/hwmon/hwmon1/device/fan2";
    for (rpm, fault, alarm, expect) in [
        ("0", "0", "1", 0.0),
        ("900", "0", "0", 0.0),
        ("0", "0", "0", 1.0),
        ("599", "0", "0", 1.0),
        ("700", "1", "0", 1.0),
        ("700", "0", "1", 0.0),
        ("700", "0", "0", 0.0),
    ] {
        bench.host.set(&format!("{fan}_input"), rpm);
        bench.host.set(&format!("{fan}_fault"), fault);
        bench.host.set(&format!("{fan}_alarm"), alarm);
        bench.pass().unwrap();
        bench.expect(&[("fan_failed{nct6775,,fan2}", expect)]);
    }
}

#[test]
fn a_chip_that_does_not_answer_costs_its_own_readings() {
    let mut bench = Bench::new(HOST, Hwmon { patience: Duration::from_millis(50), ..Hwmon::new() });
    bench.pass().unwrap();
    bench.host.apply("//- hang /sys/class/hwmon/hwmon1/device/temp1_input").unwrap();
    for _ in 0..3 {
        bench.pass().unwrap();
        bench.expect(&[
            ("hwmon_stuck{nct6775,}", 1.0),
            ("hwmon_stuck{coretemp,coretemp.0}", 0.0),
            ("temperature_celsius{coretemp,coretemp.0,Package id 0}", 45.0),
        ]);
        assert!(!bench.has("temperature_celsius{nct6775,,temp1}"));
        assert!(!bench.has("temperature_celsius{thermal,thermal_zone0,}"), "zones are no stand-in for it");
    }
    // A fan that had turned, and stood still meanwhile.
    bench.host.set("/sys/class/hwmon/hwmon1/device/fan2_input", "0");
    bench.host.release();
    let mut answers = || {
        std::thread::sleep(Duration::from_millis(5));
        bench.pass().unwrap();
        bench.has("fan_failed{nct6775,,fan2}") && bench.value("fan_failed{nct6775,,fan2}") > 0.0
    };
    assert!((0..1000).any(|_| answers()));
    bench.expect(&[("hwmon_stuck{nct6775,}", 0.0)]);
}

#[test]
fn thermal_zones_stand_in() {
    let text = "\
//- /sys/class/thermal/cooling_device0/type
Processor
//- /sys/class/thermal/thermal_zone1/temp
39000
//- /sys/class/thermal/thermal_zone1/type
x86_pkg_temp
//- /sys/class/thermal/thermal_zone1/trip_point_0_type
passive
//- /sys/class/thermal/thermal_zone1/trip_point_0_temp
80000
//- /sys/class/thermal/thermal_zone1/trip_point_1_type
critical
//- /sys/class/thermal/thermal_zone1/trip_point_1_temp
105000
";
    let mut bench = Bench::new(text, Hwmon::new());
    bench.pass().unwrap();
    bench.expect(&[
        ("temperature_celsius{thermal,thermal_zone1,x86_pkg_temp}", 39.0),
        ("temperature_margin_celsius{thermal,thermal_zone1,x86_pkg_temp}", 66.0),
    ]);
}

#[test]
fn bad_content_has_no_reading() {
    for content in [&b""[..], b"x", b"999999999999999999999", b"\xff", b"300000"] {
        let mut bench = Bench::new(HOST, Hwmon::new());
        bench.host.set("/sys/class/hwmon/hwmon0/temp1_input", content);
        bench.host.set("/sys/class/hwmon/hwmon1/device/fan2_input", "-5");
        bench.host.set("/sys/class/hwmon/hwmon1/device/temp4_input", "40000");
        bench.host.set("/sys/class/hwmon/hwmon1/device/temp4_fault", "1");
        bench.pass().unwrap();
        let told = bench.readings.keys().filter(|name| !name.starts_with("hwmon_stuck"));
        assert_eq!(told.count(), 2, "{content:?}");
    }
    assert!(matches!(Bench::new("", Hwmon::new()).pass(), Err(CollectError::Absent { .. })));
    let many = (0..300)
        .map(|n| {
            format!("//- /sys/class/hwmon/hwmon0/name\nx\n//- /sys/class/hwmon/hwmon0/temp{n}_input\n1000\n")
        })
        .collect::<Vec<_>>()
        .concat();
    let mut bench = Bench::new(&many, Hwmon::new());
    bench.pass().unwrap();
    assert_eq!(bench.readings.len(), MAX_SENSORS + 1);
}
