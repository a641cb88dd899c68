//! Temperatures and fans of `/sys/class/hwmon`; where it has no temperatures, `/sys/class/thermal`.
//!
//! Some sensors sit behind slow or broken buses, so each chip is read aside, found anew each time: one that does not
//! answer costs its own readings and an alert. Left out are the readings of disks (`drivetemp`): some drives never go to standby when asked, and SMART tells the same.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::kept::Absence;
use super::names::list;
use super::readings::{numbered, word};
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::aside::{Answer, Aside, Patience, Work};
use crate::host::parse::signed;
use crate::metric::metrics;
use crate::sample::Samples;
use crate::text::clean;
use crate::time::Now;

metrics! {
    TEMPERATURE: Gauge Celsius "temperature_celsius" ["chip", "device", "sensor"]
        "Temperature.", "/sys/class/hwmon/hwmon*/temp*_input; else /sys/class/thermal/thermal_zone*/temp";
    CRITICAL: Gauge Celsius "temperature_critical_celsius" ["chip", "device", "sensor"]
        "Temperature at which the hardware is in danger.", "temp*_crit, or a trip point of type critical";
    MARGIN: Gauge Celsius "temperature_margin_celsius" ["chip", "device", "sensor"]
        "Degrees below the temperature at which the hardware is in danger.", "the two above";
    FAN: Gauge Count "fan_speed_rpm" ["chip", "device", "sensor"] "Turns a minute.", "fan*_input";
    FAN_FAILED: Gauge Count "fan_failed" ["chip", "device", "sensor"]
        "1 where a fan reports a fault, or has turned and is now below its least speed, or stands and sounds its alarm.", "fan*_fault, fan*_alarm, fan*_min, fan*_input";
    STUCK: Gauge Count "hwmon_stuck" ["chip", "device"]
        "1 where a chip does not answer within 2 s.", "the agent";
}

/// Sensors told at most.
const MAX_SENSORS: usize = 256;
/// Longest name of a sensor, characters.
const MAX_NAME: usize = 64;
/// How long a chip may take, and all that do not answer together; other collectors wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);
/// Threads that hang on chips at most.
const MAX_STUCK: usize = 8;
/// Key of the thermal zones, which are asked as one.
const ZONES: &str = "thermal";
/// Limits beyond these, °C, are what a chip holds that nobody has set.
const SANE_LIMIT: std::ops::Range<f64> = 20.0..200.0;
/// Readings beyond these, °C, are of sensors that are not connected.
const SANE: std::ops::Range<f64> = -60.0..200.0;

/// Reads the sensors.
pub struct Hwmon {
    aside: Aside<Vec<Sensor>>,
    patience: Duration,
    /// Fans that have turned.
    turned: HashSet<[String; 3]>,
    absent: Absence,
}

/// A directory of sensors.
#[derive(Debug, Default)]
struct Chip {
    /// Name in `/sys/class/hwmon`.
    node: String,
    dir: String,
    /// What it calls itself, and what it sits on.
    labels: [String; 2],
}

#[derive(Debug)]
struct Sensor {
    labels: [String; 3],
    value: Value,
}

#[derive(Debug)]
enum Value {
    Temperature { celsius: f64, critical: Option<f64> },
    Fan { rpm: i64, min: i64, fault: bool, alarm: bool },
}

impl Hwmon {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self {
            aside: Aside::new("hwmon", MAX_STUCK),
            patience: PATIENCE,
            turned: HashSet::new(),
            absent: Absence::default(),
        }
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
        if self.absent.is_young(out.at()) {
            return Err(none());
        }
        let any =
            has_any(host, "/sys/class/hwmon", "hwmon") || has_any(host, "/sys/class/thermal", "thermal_zone");
        self.absent.note(!any, out.at());
        if !any {
            return Err(none());
        }
        let chips = chips(host);
        let mut patience = Patience { one: self.patience, all: self.patience };
        let mut found = Found::default();
        self.ask(host, (out.at(), &mut patience), &chips, &mut found);
        // A chip that does not answer may be the one with temperatures.
        if found.stuck.is_empty() && !found.sensors.iter().any(Sensor::is_temperature) {
            let zones = Chip { node: ZONES.into(), labels: [ZONES.into(), String::new()], ..Chip::default() };
            self.ask(host, (out.at(), &mut patience), &[zones], &mut found);
        }
        self.put_all(found, out).unwrap_or_else(|| Err(none()))
    }
}

/// What the chips answered.
#[derive(Default)]
struct Found {
    sensors: Vec<Sensor>,
    /// Labels of chips, and whether they do not answer.
    stuck: Vec<[String; 2]>,
    fine: Vec<[String; 2]>,
    not_asked: usize,
}

impl Found {
    fn take(&mut self, chip: &Chip, answer: Answer<Vec<Sensor>>) {
        match answer {
            Answer::Done(mut sensors) => {
                if !sensors.is_empty() {
                    self.fine.push(chip.labels.clone());
                }
                self.sensors.append(&mut sensors);
            }
            Answer::Stuck { .. } => self.stuck.push(chip.labels.clone()),
            Answer::NotAsked => self.not_asked += 1,
        }
    }
}

impl Hwmon {
    /// Asks those that have answered before in turn, all others one by one.
    fn ask(
        &mut self,
        host: &dyn Host,
        (now, patience): (Now, &mut Patience),
        chips: &[Chip],
        found: &mut Found,
    ) {
        let shared = host.shared();
        let (mut fine, mut in_turn) = (Vec::new(), Vec::new());
        for chip in chips {
            if !self.aside.doubts(&chip.node) {
                in_turn.push((chip.node.as_str(), chip.question(&shared)));
                fine.push(chip);
                continue;
            }
            let wait = patience.next();
            let answer = self.aside.ask(&chip.node, now, wait, chip.question(&shared));
            if answer.is_stuck_since(now) {
                patience.spend(wait);
            }
            found.take(chip, answer);
        }
        self.aside.ask_all(now, patience, in_turn, &mut |nth, answer| found.take(fine[nth], answer));
    }

    /// `None` where there is nothing to tell.
    fn put_all(&mut self, found: Found, out: &mut Samples) -> Option<Result<(), CollectError>> {
        for (chips, stuck) in [(&found.fine, 0.0), (&found.stuck, 1.0)] {
            for [chip, device] in chips {
                out.put(&STUCK, &[chip, device], stuck);
            }
        }
        if found.sensors.is_empty() && found.stuck.is_empty() {
            return None;
        }
        let gone = |known: &[String; 3]| {
            let silent = found.stuck.iter().any(|chip| chip[..] == known[..2]);
            !silent && !found.sensors.iter().any(|sensor| sensor.labels == *known)
        };
        self.turned.retain(|known| !gone(known));
        for sensor in found.sensors.into_iter().take(MAX_SENSORS) {
            self.put(sensor, out);
        }
        let error = format!(
            "{} chips were not asked: {MAX_STUCK} others do not answer (hwmon_stuck names them)",
            found.not_asked
        );
        let path = "/sys/class/hwmon".to_owned();
        Some(if found.not_asked == 0 { Ok(()) } else { Err(CollectError::Read { path, error }) })
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
            Value::Fan { rpm, min, fault, alarm } => {
                out.put(&FAN, labels, rpm as f64);
                // Where no fan is connected, many chips sound its alarm for ever, and others remember one that is over.
                let slow = (rpm < min || (alarm && rpm == 0)) && self.turned.contains(&sensor.labels);
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

/// Their names are constants of their drivers: nobody else is asked.
fn chips(host: &dyn Host) -> Vec<Chip> {
    let names = list(host, "/sys/class/hwmon").into_iter();
    let names = names.filter(|name| numbered(name, "hwmon").is_some());
    let mut chips: Vec<Chip> = Vec::new();
    for mut chip in names.filter_map(|name| Chip::new(host, name)) {
        // Some have no device; then their number has to tell them apart.
        if chips.iter().any(|known| known.labels == chip.labels) {
            chip.labels[1].clone_from(&chip.node);
        }
        chips.push(chip);
    }
    chips
}

impl Chip {
    fn new(host: &dyn Host, node: String) -> Option<Self> {
        // Drivers of before 3.14 have their files one level below.
        let mut dir = format!("/sys/class/hwmon/{node}");
        if word(host, &format!("{dir}/name")).is_none() {
            dir.push_str("/device");
        }
        let name = clean(&word(host, &format!("{dir}/name")).unwrap_or_default(), MAX_NAME);
        let device = host.read_link(&format!("/sys/class/hwmon/{node}/device")).unwrap_or_default();
        let device = device.rsplit('/').next().unwrap_or_default().to_owned();
        (name != "drivetemp").then_some(Self { node, dir, labels: [name, device] })
    }

    fn question(&self, host: &Arc<dyn Host>) -> Work<Vec<Sensor>> {
        let (host, dir, labels) = (Arc::clone(host), self.dir.clone(), self.labels.clone());
        if self.node == ZONES {
            return Box::new(move || read_zones(&*host));
        }
        Box::new(move || read_chip(&*host, &dir, &labels))
    }
}

impl Sensor {
    fn is_temperature(&self) -> bool {
        matches!(self.value, Value::Temperature { .. })
    }
}

fn read_zones(host: &dyn Host) -> Vec<Sensor> {
    let zones = list(host, "/sys/class/thermal").into_iter();
    zones
        .filter(|zone| numbered(zone, "thermal_zone").is_some())
        .filter_map(|zone| read_zone(host, &zone))
        .collect()
}

fn read_chip(host: &dyn Host, dir: &str, [chip, device]: &[String; 2]) -> Vec<Sensor> {
    let mut sensors: Vec<Sensor> = Vec::new();
    for file in list(host, dir) {
        let Some(sensor) = file.strip_suffix("_input") else { continue };
        let file = |suffix: &str| format!("{dir}/{sensor}_{suffix}");
        let value = if numbered(sensor, "temp").is_some() {
            // A diode that is torn off or shorted still reads something.
            if number(host, &file("fault")) == Some(1) {
                continue;
            }
            temperature(host, &file("input"), || number(host, &file("crit")))
        } else if numbered(sensor, "fan").is_some() {
            fan(host, file)
        } else {
            continue;
        };
        let Some(value) = value else { continue };
        let label = word(host, &file("label")).map_or_else(|| sensor.to_owned(), |l| clean(&l, MAX_NAME));
        // Two sensors of a chip may bear one label.
        let taken = sensors.iter().any(|known: &Sensor| known.labels[2] == label);
        let label = if taken { sensor.to_owned() } else { label };
        sensors.push(Sensor { labels: [chip.clone(), device.clone(), label], value });
    }
    sensors
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
    let [fault, alarm] = ["fault", "alarm"].map(|suffix| number(host, &file(suffix)) == Some(1));
    Some(Value::Fan { rpm, min, fault, alarm })
}

fn number(host: &dyn Host, path: &str) -> Option<i64> {
    signed(word(host, path)?.as_bytes())
}

#[cfg(test)]
#[path = "hwmon_tests.rs"]
mod tests;
