use super::*;
use crate::host::clock;
use crate::host::fixture::FixtureHost;
use crate::host::live::LiveHost;

const HOST: &str = "\
//- uname gpu-server-01 5.15.0-91-generic x86_64
//- /etc/os-release
NAME=\"Ubuntu\"
VERSION=\"22.04.4 LTS (Jammy Jellyfish)\"
ID=ubuntu
//- /proc/cpuinfo
processor : 0
model name : Test CPU
vendor_id : GenuineIntel
flags : avx512f
//- /proc/meminfo
MemTotal: 536870912 kB
//- /sys/devices/system/node/node0/cpulist
0
//- /sys/devices/system/node/node0/meminfo
Node 0 MemTotal: 536870912 kB
//- /sys/block/vda/size
7500000000
//- /sys/block/vda/device/vendor
x
//- /sys/class/net/eno1/mtu
9000
//- /sys/class/dmi/id/bios_vendor
SeaBIOS
//- denied /sys/class/dmi/id/product_serial
";

/// 2026-02-22T16:30:00Z
const NOW: Now = Now { mono_ns: 0, wall_ns: 1_771_777_800_123_456_789 };

#[test]
fn the_json_has_the_shape_of_the_contract() {
    let host = FixtureHost::parse(HOST).unwrap();
    let options = Options { bios: true, ..Options::default() };
    let json = serde_json::to_value(collect(&host, &options, NOW)).unwrap();
    let expect = serde_json::json!({
        "hostname": "gpu-server-01",
        "collected_at": "2026-02-22T16:30:00Z",
        "os": { "distro": "Ubuntu", "version": "22.04.4 LTS", "id": "ubuntu",
                "kernel": "5.15.0-91-generic", "arch": "x86_64" },
        "cpu": { "model": "Test CPU", "vendor": "GenuineIntel", "sockets": 1, "cores_per_socket": 1,
                 "threads_per_core": 1, "total_threads": 1, "flags": ["avx512f"] },
        "numa": { "nodes": 1, "topology": [ { "node": 0, "cpus": "0", "memory_mb": 524_288 } ] },
        "memory": { "total_gb": 512 },
        "gpu": [],
        "disks": [ { "name": "vda", "capacity_gb": 3840, "interface": "virtio" } ],
        "network": [ { "name": "eno1", "mtu": 9000 } ],
        "bios": { "vendor": "SeaBIOS" },
    });
    assert_eq!(json, expect);
}

#[test]
fn options_are_followed() {
    let host = FixtureHost::parse(HOST).unwrap();
    let options = Options { hostname: "other".into(), ..Options::default() };
    let inventory = collect(&host, &options, NOW);
    assert_eq!((&*inventory.hostname, inventory.bios), ("other", None));
}

#[test]
fn an_empty_host_has_an_inventory() {
    let options = Options { bios: true, ..Options::default() };
    let inventory = collect(&FixtureHost::default(), &options, Now { mono_ns: 0, wall_ns: i64::MIN });
    assert_eq!((inventory.numa, inventory.bios, inventory.disks), (None, None, Vec::new()));
}

#[test]
fn this_machine_has_an_inventory() {
    let options = Options::of(&Config::default());
    let inventory = collect(&LiveHost::default(), &options, clock::now());
    assert!(!inventory.hostname.is_empty() && inventory.collected_at.starts_with("20"));
    assert!(inventory.cpu.total_threads > 0 && inventory.cpu.sockets > 0);
    assert!(!inventory.os.kernel.is_empty());
}
