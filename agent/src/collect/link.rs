//! `/sys/class/net`: whether an interface has a link, how fast, and how often it was lost.

use std::time::Duration;

use super::kept::Kept;
use super::names::Names;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::aside::{Answer, Aside};
use crate::host::glob::Globs;
use crate::metric::metrics;
use crate::sample::Samples;
use crate::time::Now;

metrics! {
    UP: Gauge Count "network_up" ["interface"] "1 where an interface has a link.", "/sys/class/net/*/operstate";
    SPEED: Gauge Bytes "network_speed_bytes" ["interface"]
        "Bytes an interface can carry a second; nothing where it does not say.", "/sys/class/net/*/speed";
    CHANGES: Counter Count "network_carrier_changes_total" ["interface"]
        "Times the link came or went; from 3.15 on.", "/sys/class/net/*/carrier_changes";
    MTU: Gauge Bytes "network_mtu_bytes" ["interface"] "Largest packet.", "/sys/class/net/*/mtu";
}

const ROOT: &str = "/sys/class/net";
/// Interfaces read at most.
const MAX_INTERFACES: usize = 128;
/// Passes after which speed and size are read anew though the link did not change: reading the speed takes
/// the lock of all network settings, and asks the hardware. So it is read aside.
const SPEED_PASSES: u32 = 30;
/// How long one speed is waited for; a test waits for its own machine, however busy.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 10_000 } else { 200 });
/// Speeds that may be waited for in vain at once. The lock is one for all: with so many, no other is asked.
const MAX_STUCK: usize = 2;

/// Reads the links.
pub struct Link {
    exclude: Globs,
    names: Names,
    interfaces: Vec<Interface>,
    left_out: usize,
    aside: Aside<Option<u64>>,
    patience: Duration,
}

struct Interface {
    name: String,
    state: Kept,
    changes: Kept,
    /// State and count of changes at which the speed was read.
    seen: Option<(bool, Option<u64>)>,
    age: u32,
    speed: Option<u64>,
    mtu: Option<u64>,
}

impl Link {
    /// Leaves out interfaces whose names `exclude` fits.
    pub fn new(exclude: Globs) -> Self {
        Self {
            exclude,
            names: Names::new(ROOT),
            interfaces: Vec::new(),
            left_out: 0,
            aside: Aside::new("link", MAX_STUCK),
            patience: PATIENCE,
        }
    }
}

impl Collector for Link {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        if self.names.changed(host)? {
            let wanted = |name: &String| !self.exclude.matches(name) && name != "bonding_masters";
            let names: Vec<String> = self.names.list(host).into_iter().filter(wanted).collect();
            self.left_out = names.len().saturating_sub(MAX_INTERFACES);
            self.interfaces = names.into_iter().take(MAX_INTERFACES).map(Interface::new).collect();
        }
        for interface in &mut self.interfaces {
            interface.put(host, (&mut self.aside, self.patience), out);
        }
        match self.left_out {
            0 => Ok(()),
            more => Err(CollectError::Parse {
                path: ROOT.to_owned(),
                why: format!(
                    "there are {more} interfaces more than {MAX_INTERFACES}; set collector.exclude_interfaces"
                ),
            }),
        }
    }
}

impl Interface {
    fn new(name: String) -> Self {
        let state = Kept::at(format!("{ROOT}/{name}/operstate"));
        let changes = Kept::at(format!("{ROOT}/{name}/carrier_changes"));
        Self { name, state, changes, seen: None, age: 0, speed: None, mtu: None }
    }

    fn put(&mut self, host: &dyn Host, aside: (&mut Aside<Option<u64>>, Duration), out: &mut Samples) {
        // It went away, or another one got its name: then the next pass opens that one's files.
        let Ok(state) = self.state.read(host) else { return };
        // Tunnels and bridges of some kinds are `unknown` as long as they work.
        let up = matches!(state.trim_ascii(), b"up" | b"unknown");
        let changes = self.changes.number(host);
        if self.seen != Some((up, changes)) || self.age >= SPEED_PASSES {
            let answer = self.ask_speed(host, aside, out.at());
            // Until it is known, the question stands.
            self.seen = matches!(answer, Answer::Done(_)).then_some((up, changes));
            self.age = 0;
            self.speed = if let Answer::Done(speed) = answer { speed } else { None };
            let mtu = Kept::at(format!("{ROOT}/{}/mtu", self.name)).signed(host);
            self.mtu = mtu.and_then(|mtu| u64::try_from(mtu).ok());
        }
        self.age += 1;
        let labels = &[&*self.name];
        out.put(&UP, labels, f64::from(u8::from(up)));
        changes.inspect(|&changes| out.put(&CHANGES, labels, changes as f64));
        self.speed.inspect(|&speed| out.put(&SPEED, labels, speed as f64 * 125_000.0));
        self.mtu.inspect(|&mtu| out.put(&MTU, labels, mtu as f64));
    }

    /// Megabits a second; -1 where it is not known, and an error without a link.
    fn ask_speed(
        &self,
        host: &dyn Host,
        (aside, patience): (&mut Aside<Option<u64>>, Duration),
        now: Now,
    ) -> Answer<Option<u64>> {
        let (host, path) = (host.shared(), format!("{ROOT}/{}/speed", self.name));
        let read = move || {
            let speed = Kept::at(path).signed(&*host).and_then(|speed| u64::try_from(speed).ok());
            speed.filter(|speed| *speed > 0 && *speed < u64::from(u32::MAX))
        };
        aside.ask(&self.name, now, patience, read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    const HOST: &str = "\
//- /sys/class/net/bonding_masters

//- /sys/class/net/lo/operstate
unknown
//- /sys/class/net/eth0/operstate
up
//- /sys/class/net/eth0/speed
25000
//- /sys/class/net/eth0/carrier_changes
3
//- /sys/class/net/eth0/mtu
9000
//- /sys/class/net/tun0/operstate
unknown
//- /sys/class/net/tun0/speed
-1
";

    fn bench() -> Bench {
        Bench::new(HOST, Link::new(Globs::new(&["lo"])))
    }

    #[test]
    fn links_are_read_and_followed() {
        let mut bench = bench();
        for _ in 0..2 {
            bench.pass().unwrap();
            bench.expect(&[
                ("network_up{eth0}", 1.0),
                ("network_speed_bytes{eth0}", 3_125_000_000.0),
                ("network_carrier_changes_total{eth0}", 3.0),
                ("network_mtu_bytes{eth0}", 9000.0),
                ("network_up{tun0}", 1.0),
            ]);
            assert_eq!(bench.readings.len(), 5, "no speed of tun0, nothing of lo");
        }
        // The link is lost, and comes back slower.
        let eth0 =
            |file: &str, content: &str| bench.host.set(&format!("/sys/class/net/eth0/{file}"), content);
        eth0("operstate", "down\n");
        eth0("carrier_changes", "4\n");
        bench.host.apply("//- error /sys/class/net/eth0/speed 22").unwrap();
        bench.pass().unwrap();
        bench.expect(&[("network_up{eth0}", 0.0), ("network_carrier_changes_total{eth0}", 4.0)]);
        assert!(!bench.has("network_speed_bytes{eth0}"));
        for (file, content) in [("operstate", "up\n"), ("carrier_changes", "5\n"), ("speed", "100\n")] {
            bench.host.set(&format!("/sys/class/net/eth0/{file}"), content);
        }
        bench.pass().unwrap();
        bench.expect(&[("network_up{eth0}", 1.0), ("network_speed_bytes{eth0}", 12_500_000.0)]);
        // Negotiated anew so fast that nobody saw it.
        bench.host.set("/sys/class/net/eth0/speed", "1000\n");
        for _ in 0..=SPEED_PASSES {
            bench.pass().unwrap();
        }
        bench.expect(&[("network_speed_bytes{eth0}", 125_000_000.0)]);
    }

    #[test]
    fn a_driver_that_does_not_answer_costs_a_speed() {
        let mut bench =
            Bench::new(HOST, Link { patience: Duration::from_millis(20), ..Link::new(Globs::default()) });
        bench.host.apply("//- hang /sys/class/net/eth0/speed").unwrap();
        for _ in 0..3 {
            bench.pass().unwrap();
            bench.expect(&[("network_up{eth0}", 1.0), ("network_mtu_bytes{eth0}", 9000.0)]);
            assert!(!bench.has("network_speed_bytes{eth0}"));
        }
        bench.host.release();
        let mut told = || {
            std::thread::sleep(Duration::from_millis(5));
            bench.pass().unwrap();
            bench.has("network_speed_bytes{eth0}")
        };
        assert!((0..1000).any(|_| told()), "its late answer is taken");
    }

    #[test]
    fn interfaces_are_renamed_and_vanish() {
        let mut bench = bench();
        bench.pass().unwrap();
        bench.host.remove("/sys/class/net/eth0");
        bench.host.set("/sys/class/net/wan/operstate", "up\n");
        bench.pass().unwrap();
        bench.expect(&[("network_up{wan}", 1.0)]);
        assert!(!bench.has("network_up{eth0}"));
        bench.host.remove("/sys/class/net/wan/operstate");
        bench.host.set("/sys/class/net/wan/mtu", "5\n");
        bench.pass().unwrap();
        assert!(!bench.has("network_up{wan}"), "it vanishes while it is read");
    }

    #[test]
    fn bad_content_is_left_out_and_many_are_said() {
        for (speed, mtu) in
            [(&b""[..], &b"x"[..]), (b"4294967295", b"-5"), (b"\xff", b"99999999999999999999")]
        {
            let mut bench = bench();
            bench.host.set("/sys/class/net/eth0/speed", speed);
            bench.host.set("/sys/class/net/eth0/mtu", mtu);
            bench.host.set("/sys/class/net/eth0/operstate", b"\xff");
            bench.host.set("/sys/class/net/eth0/carrier_changes", b"-1");
            bench.pass().unwrap();
            bench.expect(&[("network_up{eth0}", 0.0)]);
            assert_eq!(bench.readings.len(), 2, "{speed:?}");
        }
        let many = (0..200)
            .map(|n| format!("//- /sys/class/net/ve{n}/operstate\nup\n"))
            .collect::<Vec<_>>()
            .concat();
        let mut bench = Bench::new(&many, Link::new(Globs::default()));
        assert!(bench.pass().unwrap_err().to_string().contains("72 interfaces more"));
        assert_eq!(bench.readings.len(), MAX_INTERFACES);
        assert!(matches!(
            Bench::new("", Link::new(Globs::default())).pass(),
            Err(CollectError::Absent { .. })
        ));
    }
}
