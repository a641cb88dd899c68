//! Network interfaces of `/sys/class/net`.

use super::Nic;
use super::read::{entries, number, tidy, value};
use crate::host::Host;
use crate::host::glob::Globs;

pub(super) fn interfaces(host: &dyn Host, exclude: &Globs) -> Vec<Nic> {
    let names = entries(host, "/sys/class/net");
    names.iter().filter(|name| !exclude.matches(name)).filter_map(|name| interface(host, name)).collect()
}

/// `None` for what is no interface (`bonding_masters`).
fn interface(host: &dyn Host, name: &str) -> Option<Nic> {
    let file = |file: &str| format!("/sys/class/net/{name}/{file}");
    let mtu = number(host, &file("mtu"));
    let mac = value(host, &file("address"));
    if mtu.is_none() && mac.is_none() {
        return None;
    }
    let driver = host.nic_driver(name).unwrap_or_default();
    // Without a link the speed is -1 or, on older kernels, 2^32 - 1.
    let speed = number(host, &file("speed")).filter(|&speed| speed > 0 && speed < u64::from(u32::MAX));
    Some(Nic {
        name: name.to_owned(),
        mac: mac.filter(|mac| mac.chars().any(|c| c != '0' && c != ':')),
        speed_mbps: speed,
        mtu,
        driver: tidy(&driver.driver).or_else(|| linked_driver(host, &file("device/driver"))),
        firmware: tidy(&driver.firmware).filter(|firmware| firmware != "N/A"),
    })
}

fn linked_driver(host: &dyn Host, path: &str) -> Option<String> {
    tidy(host.read_link(path).ok()?.rsplit('/').next()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    #[test]
    fn interfaces_are_read() {
        let host = FixtureHost::parse(
            "//- /sys/class/net/eno1/address
0c:42:a1:00:00:01
//- /sys/class/net/eno1/speed
25000
//- /sys/class/net/eno1/mtu
9000
//- nic eno1 mlx5_core 16.35.2000 (MT_0000000080)
//- /sys/class/net/eth1/address
00:00:00:00:00:00
//- /sys/class/net/eth1/speed
-1
//- /sys/class/net/eth1/mtu
1500
//- /sys/class/net/eth1/device/driver -> ../../bus/virtio/drivers/virtio_net
//- /sys/class/net/bonding_masters
bond0
//- /sys/class/net/lo/mtu
65536
",
        )
        .unwrap();
        let expect = [
            Nic {
                name: "eno1".into(),
                mac: Some("0c:42:a1:00:00:01".into()),
                speed_mbps: Some(25_000),
                mtu: Some(9000),
                driver: Some("mlx5_core".into()),
                firmware: Some("16.35.2000 (MT_0000000080)".into()),
            },
            Nic { name: "eth1".into(), mtu: Some(1500), driver: Some("virtio_net".into()), ..Nic::default() },
        ];
        assert_eq!(interfaces(&host, &Globs::new(&["lo"])), expect);
        host.set("/sys/class/net/eth1/speed", "4294967295\n");
        assert_eq!(interfaces(&host, &Globs::new(&["lo"]))[1].speed_mbps, None);
    }
}
