//! Temperatures and fans of `/sys/class/hwmon`; where it has no temperatures, `/sys/class/thermal`.
//!
//! Some sensors sit behind slow or broken buses, so all are read aside, found anew each time. Left out are the
//! readings of disks (`drivetemp`): some drives never go to standby when asked, and SMART tells the same.

use std::collections::HashSet;
use std::time::Duration;

use super::names::list;
use super::readings::{numbered, word};
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::aside::{Answer, Aside};
use crate::host::parse::signed;
use crate::metric::metrics;
use crate::sample::Samples;
use crate::text::clean;

metrics! {
    TEMPERATURE: Gauge Celsius "temperature_celsius" ["chip", "device", "sensor"]
        "Temperature.", "/sys/class/hwmon/hwmon*/temp*_input; else /sys/class/thermal/thermal_zone*/temp";
    CRITICAL: Gauge Celsius "temperature_critical_celsius" ["chip", "device", "sensor"]
        "Temperature at which the hardware is in danger.", "temp*_crit, or a trip point of type critical";
    MARGIN: Gauge Celsius "temperature_margin_celsius" ["chip", "device", "sensor"]
        "Degrees below the temperature at which the hardware is in danger.", "the two above";
    FAN: Gauge Count "fan_speed_rpm" ["chip", "device", "sensor"] "Turns a minute.", "fan*_input";
    FAN_FAILED: Gauge Count "fan_failed" ["chip", "device", "sensor"]
        "1 where a fan reports a fault, or has turned and is now below its least speed.", "fan*_fault, fan*_min, fan*_input";
}

/// Sensors told at most.
const MAX_SENSORS: usize = 256;
/// Longest name of a sensor, characters.
const MAX_NAME: usize = 64;
/// How long all sensors together are waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Limits beyond these, °C, are what a chip holds that nobody has set.
const SANE_LIMIT: std::ops::Range<f64> = 20.0..200.0;
/// Readings beyond these, °C, are of sensors that are not connected.
const SANE: std::ops::Range<f64> = -60.0..200.0;

/// Reads the sensors.
pub struct Hwmon {
    aside: Aside<Vec<Sensor>>,
    /// Fans that have turned.
    turned: HashSet<[String; 3]>,
}

#[derive(Debug)]
struct Sensor {
    labels: [String; 3],
    value: Value,
}

#[derive(Debug)]
enum Value {
    Temperature { celsius: f64, critical: Option<f64> },
    Fan { rpm: i64, min: i64, fault: bool },
}

impl Hwmon {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self { aside: Aside::new("hwmon", 1), turned: HashSet::new() }
    }
}

impl Default for Hwmon {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Hwmon {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let none = || CollectError::Absent { path: "/sys/class/hwmon/hwmon0".to_owned() };
        // To list them asks no hardware; a machine without sensors, as most virtual ones are, needs no other thread.
        if !has_any(host, "/sys/class/hwmon", "hwmon") && !has_any(host, "/sys/class/thermal", "thermal_zone")
        {
            return Err(none());
        }
        let shared = host.shared();
        let sensors = match self.aside.ask("all", out.at(), PATIENCE, move || read(&*shared)) {
            Answer::Done(sensors) => sensors,
            Answer::Stuck { .. } | Answer::NotAsked => {
                let error = format!("a sensor has not answered for {} s", PATIENCE.as_secs());
                return Err(CollectError::Read { path: "/sys/class/hwmon".to_owned(), error });
            }
        };
        if sensors.is_empty() {
            return Err(none());
        }
        self.turned.retain(|known| sensors.iter().any(|sensor| sensor.labels == *known));
        for sensor in sensors {
            self.put(sensor, out);
        }
        Ok(())
    }
}

impl Hwmon {
    fn put(&mut self, sensor: Sensor, out: &mut Samples) {
        let labels = &sensor.labels.each_ref().map(String::as_str);
        match sensor.value {
            Value::Temperature { celsius, critical } => {
                out.put(&TEMPERATURE, labels, celsius);
                if let Some(critical) = critical {
                    out.put(&CRITICAL, labels, critical);
                    out.put(&MARGIN, labels, critical - celsius);
                }
            }
            Value::Fan { rpm, min, fault } => {
                out.put(&FAN, labels, rpm as f64);
                let slow = rpm < min && self.turned.contains(&sensor.labels);
                out.put(&FAN_FAILED, labels, f64::from(u8::from(fault || slow)));
                if rpm > 0 {
                    self.turned.insert(sensor.labels);
                }
            }
        }
    }
}

fn has_any(host: &dyn Host, dir: &str, prefix: &str) -> bool {
    let mut found = false;
    // What cannot be listed has nothing in it.
    let _ = host.list(dir, &mut |name| found |= numbered(name, prefix).is_some());
    found
}

fn read(host: &dyn Host) -> Vec<Sensor> {
    let mut sensors = Vec::new();
    for name in list(host, "/sys/class/hwmon") {
        if numbered(&name, "hwmon").is_some() {
            read_chip(host, &name, &mut sensors);
        }
    }
    if !sensors.iter().any(|sensor| matches!(sensor.value, Value::Temperature { .. })) {
        for zone in list(host, "/sys/class/thermal") {
            sensors.extend(numbered(&zone, "thermal_zone").and_then(|_| read_zone(host, &zone)));
        }
    }
    sensors.truncate(MAX_SENSORS);
    sensors
}

fn read_chip(host: &dyn Host, name: &str, sensors: &mut Vec<Sensor>) {
    // Drivers of before 3.14 have their files one level below.
    let mut dir = format!("/sys/class/hwmon/{name}");
    if word(host, &format!("{dir}/name")).is_none() {
        dir.push_str("/device");
    }
    let chip = clean(&word(host, &format!("{dir}/name")).unwrap_or_default(), MAX_NAME);
    if chip == "drivetemp" {
        return;
    }
    let device = host.read_link(&format!("/sys/class/hwmon/{name}/device")).unwrap_or_default();
    let device = device.rsplit('/').next().unwrap_or_default().to_owned();
    let first = sensors.len();
    for file in list(host, &dir) {
        let Some(sensor) = file.strip_suffix("_input") else { continue };
        let file = |suffix: &str| format!("{dir}/{sensor}_{suffix}");
        let value = if numbered(sensor, "temp").is_some() {
            temperature(host, &file("input"), || number(host, &file("crit")))
        } else if numbered(sensor, "fan").is_some() {
            fan(host, file)
        } else {
            continue;
        };
        let Some(value) = value else { continue };
        let label = word(host, &file("label")).map_or_else(|| sensor.to_owned(), |l| clean(&l, MAX_NAME));
        // Two sensors of a chip may bear one label.
        let taken = sensors[first..].iter().any(|known| known.labels[2] == label);
        let label = if taken { sensor.to_owned() } else { label };
        sensors.push(Sensor { labels: [chip.clone(), device.clone(), label], value });
    }
}

fn read_zone(host: &dyn Host, zone: &str) -> Option<Sensor> {
    let dir = format!("/sys/class/thermal/{zone}");
    let critical = || {
        let files = list(host, &dir);
        let trips = files.iter().filter_map(|file| file.strip_suffix("_type"));
        let mut critical =
            trips.filter(|trip| word(host, &format!("{dir}/{trip}_type")).is_some_and(|t| t == "critical"));
        number(host, &format!("{dir}/{}_temp", critical.next()?))
    };
    let value = temperature(host, &format!("{dir}/temp"), critical)?;
    let kind = clean(&word(host, &format!("{dir}/type")).unwrap_or_default(), MAX_NAME);
    Some(Sensor { labels: ["thermal".to_owned(), zone.to_owned(), kind], value })
}

/// Thousandths of a degree.
fn temperature(host: &dyn Host, path: &str, critical: impl Fn() -> Option<i64>) -> Option<Value> {
    let celsius = number(host, path)? as f64 / 1000.0;
    let critical = critical().map(|limit| limit as f64 / 1000.0).filter(|limit| SANE_LIMIT.contains(limit));
    SANE.contains(&celsius).then_some(Value::Temperature { celsius, critical })
}

fn fan(host: &dyn Host, file: impl Fn(&str) -> String) -> Option<Value> {
    let rpm = number(host, &file("input")).filter(|rpm| *rpm >= 0)?;
    let min = number(host, &file("min")).unwrap_or(0);
    let fault = number(host, &file("fault")) == Some(1);
    Some(Value::Fan { rpm, min, fault })
}

fn number(host: &dyn Host, path: &str) -> Option<i64> {
    signed(word(host, path)?.as_bytes())
}

#[cfg(test)]
mod tests {
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
            ]);
            assert_eq!(bench.readings.len(), 7);
        }
    }

    #[test]
    fn a_fan_fails_that_has_turned() {
        let mut bench = Bench::new(HOST, Hwmon::new());
        let fan = "/sys/class/hwmon/hwmon1/device/fan2";
        for (rpm, fault, expect) in [
            ("0", "0", 0.0),
            ("900", "0", 0.0),
            ("0", "0", 1.0),
            ("599", "0", 1.0),
            ("700", "1", 1.0),
            ("700", "0", 0.0),
        ] {
            bench.host.set(&format!("{fan}_input"), rpm);
            bench.host.set(&format!("{fan}_fault"), fault);
            bench.pass().unwrap();
            bench.expect(&[("fan_failed{nct6775,,fan2}", expect)]);
        }
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
            bench.pass().unwrap();
            assert_eq!(bench.readings.len(), 2, "{content:?}");
        }
        assert!(matches!(Bench::new("", Hwmon::new()).pass(), Err(CollectError::Absent { .. })));
        let many = (0..300)
            .map(|n| {
                format!(
                    "//- /sys/class/hwmon/hwmon0/name\nx\n//- /sys/class/hwmon/hwmon0/temp{n}_input\n1000\n"
                )
            })
            .collect::<Vec<_>>()
            .concat();
        let mut bench = Bench::new(&many, Hwmon::new());
        bench.pass().unwrap();
        assert_eq!(bench.readings.len(), MAX_SENSORS);
    }
}
