use super::*;
use crate::host::fixture::FixtureHost;
use crate::inventory::{Cpu, Dimm, Memory, Os};

/// A server with two modules, two disks and a card; `/sys` as its links say it.
const HOST: &str = "\
//- /sys/block/nvme0n1/removable
0
//- /sys/block/sda/removable
0
//- /sys/block/sdb/removable
1
//- /sys/class/net/eno1 -> ../../devices/pci0000:3a/0000:3b:00.0/net/eno1
//- /sys/class/net/eno1/dev_port
0
//- /sys/class/net/vf0 -> ../../devices/pci0000:3a/0000:3b:00.2/net/vf0
//- /sys/class/net/vf0/device/physfn -> ../0000:3b:00.0
//- /sys/class/net/br0 -> ../../devices/virtual/net/br0
//- /sys/class/net/usb0 -> ../../devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/net/usb0
";

fn host() -> FixtureHost {
    FixtureHost::parse(HOST).unwrap()
}

fn disk(name: &str, serial: Option<&str>, interface: &'static str) -> Disk {
    Disk {
        name: name.into(),
        model: Some("MODEL".into()),
        serial: serial.map(Into::into),
        firmware: Some("F1".into()),
        capacity_gb: 3841,
        interface,
        smart_healthy: None,
    }
}

fn nic(name: &str, firmware: Option<&str>) -> Nic {
    Nic {
        name: name.into(),
        mac: Some("02:00:00:00:00:01".into()),
        speed_mbps: Some(25_000),
        mtu: Some(9000),
        driver: Some("mlx5_core".into()),
        firmware: firmware.map(Into::into),
    }
}

fn dimm(slot: &str, serial: &str) -> Dimm {
    let (slot, serial) = (Some(slot.to_owned()), Some(serial.to_owned()));
    Dimm { slot, serial, size_mib: 32_768, part_number: Some("M393".into()), ..Dimm::default() }
}

fn gpu(index: u32, bus: &str) -> Gpu {
    let (bus, uuid) = (Some(bus.to_owned()), Some(format!("GPU-{index}")));
    Gpu { index, bus, uuid, vram_gb: Some(80), driver: Some("535.1".into()), ..Gpu::default() }
}

fn server() -> Inventory {
    Inventory {
        hostname: "gpu-server-01".into(),
        collected_at: "2026-02-22T16:30:00Z".into(),
        os: Os {
            distro: "Ubuntu".into(),
            version: "22.04.4 LTS".into(),
            kernel: "5.15.0-91".into(),
            ..Os::default()
        },
        cpu: Cpu {
            model: Some("Xeon".into()),
            sockets: 2,
            total_threads: 112,
            mhz: Some(2600),
            microcode: Some("0x1".into()),
            ..Cpu::default()
        },
        numa: None,
        memory: Memory {
            total_gb: 63,
            dimm_count: Some(2),
            dimms: Some(vec![dimm("DIMM_A1", "S1"), dimm("DIMM_B1", "S2")]),
        },
        gpu: [(0, "0000:07:00.0"), (1, "0000:0a:00.0")].map(|(index, bus)| gpu(index, bus)).into(),
        disks: vec![
            disk("nvme0n1", Some("N1"), "NVMe"),
            disk("sda", None, "virtio"),
            disk("sdb", Some("R1"), "SATA"),
            disk("sdc", Some("U1"), "USB"),
        ],
        network: vec![nic("eno1", Some("16.35")), nic("vf0", None), nic("br0", None), nic("usb0", None)],
        bios: Some(crate::inventory::Bios { version: Some("2.1".into()), ..Default::default() }),
    }
}

fn parts(inventory: &Inventory) -> Parts {
    Parts::of(&host(), inventory, "default".into())
}

/// What is told when the server becomes what `change` makes of it.
fn check(change: impl FnOnce(&mut Inventory), expect: &[&str]) {
    let mut inventory = server();
    change(&mut inventory);
    let (old, mut new) = (parts(&server()), parts(&inventory));
    let told = old.change_to(&mut new).unwrap_or_default();
    let texts: Vec<&str> = told.changes.iter().map(|c| c.text.as_str()).collect();
    assert_eq!((texts.as_slice(), told.left_out), (expect, 0));
    assert_eq!(new.change_to(&mut new.clone()), None, "told once");
}

#[test]
fn namespaces_of_one_controller_are_disks_of_their_own() {
    let host =
        FixtureHost::parse("//- /sys/block/nvme0n1/nsid\n1\n//- /sys/block/nvme0n3/nsid\n3\n").unwrap();
    let of = |inventory: &Inventory| Parts::of(&host, inventory, "default".into());
    let mut inventory = server();
    inventory.disks = ["nvme0n1", "nvme0n3"].map(|name| disk(name, Some("N1"), "NVMe")).into();
    let old = of(&inventory);
    inventory.disks.pop();
    let told = old.change_to(&mut of(&inventory)).unwrap_or_default();
    assert_eq!(told.changes.len(), 1);
    assert_eq!(told.changes[0].text, "disk nvme0n3 (MODEL, serial number N1, 3841 GB, firmware F1) is gone");
}

#[test]
fn what_counts_is_told_in_words() {
    check(|_| {}, &[]);
    let gone = "memory module DIMM_B1 (M393, serial number S2, 32.0 GiB) is gone";
    check(|i| drop(i.memory.dimms.as_mut().unwrap().pop()), &[gone]);
    check(
        |i| i.memory.dimms.as_mut().unwrap()[0].serial = Some("S9".into()),
        &["memory module DIMM_A1: serial number is S9, was S1"],
    );
    check(
        |i| i.disks[0].serial = Some("N9".into()),
        &[
            "disk nvme0n1 (MODEL, serial number N9, 3841 GB, firmware F1) is new",
            "disk nvme0n1 (MODEL, serial number N1, 3841 GB, firmware F1) is gone",
        ],
    );
    check(|i| i.disks[0].firmware = Some("F2".into()), &["disk nvme0n1: firmware is F2, was F1"]);
    check(|i| drop(i.disks.remove(1)), &["disk sda (MODEL, 3841 GB, firmware F1) is gone"]);
    check(|i| i.os.kernel = "5.15.0-92".into(), &["kernel: version is 5.15.0-92, was 5.15.0-91"]);
    check(
        |i| i.network[0].firmware = Some("16.36".into()),
        &["network card eno1: firmware is 16.36, was 16.35"],
    );
    check(|i| drop(i.network.remove(0)), &["network card eno1 (firmware 16.35, driver mlx5_core) is gone"]);
    let gone = "GPU 0 (0000:07:00.0) (serial number GPU-0, 80 GiB, driver 535.1) is gone";
    check(|i| drop(i.gpu.remove(0)), &[gone]);
    check(|i| i.gpu[0].driver = Some("550".into()), &["GPU 0 (0000:07:00.0): driver is 550, was 535.1"]);
    check(|i| i.gpu.clear(), &[]);
    check(|i| i.memory.total_gb = 31, &["memory: size is 31 GiB, was 63 GiB"]);
    check(
        |i| (i.cpu.total_threads, i.cpu.microcode) = (56, Some("0x2".into())),
        &["processors: threads is 56, was 112; microcode is 0x2, was 0x1"],
    );
    check(|i| i.bios.as_mut().unwrap().version = Some("2.2".into()), &["firmware: version is 2.2, was 2.1"]);
    check(
        |i| i.os.version = "24.04".into(),
        &["distribution: version is Ubuntu 24.04, was Ubuntu 22.04.4 LTS"],
    );
}

#[test]
fn what_comes_and_goes_by_itself_is_not() {
    check(|i| i.hostname = "dhcp-7".into(), &[]);
    check(|i| i.collected_at = "later".into(), &[]);
    check(|i| i.cpu.mhz = Some(800), &[]);
    check(|i| i.network[0].speed_mbps = None, &[]);
    check(|i| i.network[0].mtu = Some(1500), &[]);
    check(|i| i.network[0].mac = Some("02:00:00:00:00:09".into()), &[]);
    // A USB stick, a card in a reader, a bridge, a virtual function, an adapter on USB.
    check(|i| i.disks.truncate(2), &[]);
    check(|i| i.network.truncate(1), &[]);
    // The kernel finds the disks in another order.
    check(|i| i.disks[0].name = "nvme1n1".into(), &[]);
    // A second path to the same disk.
    check(|i| i.disks.push(disk("nvme7n1", Some("N1"), "NVMe")), &[]);
    // Not told this time.
    check(|i| i.network[0].firmware = None, &[]);
    check(|i| i.cpu.model = None, &[]);
    check(|i| i.cpu.total_threads = 0, &[]);
}

#[test]
fn what_cannot_be_read_is_not_gone() {
    check(|i| i.memory.dimms = None, &[]);
    check(|i| i.bios = None, &[]);
    check(|i| i.memory.total_gb = 0, &[]);
    // Two readings later it can be read again, and a module is missing.
    let old = parts(&server());
    let mut blind = server();
    blind.memory.dimms = None;
    let mut between = Parts::of(&FixtureHost::default(), &blind, "default".into());
    assert_eq!(old.change_to(&mut between), None, "neither disks nor cards can be seen");
    let mut after = server();
    after.memory.dimms.as_mut().unwrap().remove(0);
    let told = between.change_to(&mut parts(&after)).unwrap();
    assert_eq!(told.changes.len(), 1, "{told:?}");
    assert_eq!(told.changes[0].part, "memory_module");
}

#[test]
fn another_choice_of_devices_is_no_change_of_the_host() {
    let old = parts(&server());
    let mut fewer = server();
    fewer.disks.clear();
    fewer.network.clear();
    fewer.os.kernel = "6".into();
    let mut new = Parts::of(&host(), &fewer, "no disks".into());
    let told = old.change_to(&mut new).unwrap();
    assert_eq!(told.changes.len(), 1, "only the kernel: {told:?}");
}

#[test]
fn memory_in_a_balloon_is_not_compared() {
    for device in ["/sys/bus/virtio/drivers/virtio_balloon/virtio3/x", "/sys/module/hv_balloon/refcnt"] {
        let host = host();
        host.set(device, "");
        let mut small = server();
        small.memory.total_gb = 8;
        let old = Parts::of(&host, &server(), String::new());
        assert_eq!(old.change_to(&mut Parts::of(&host, &small, String::new())), None, "{device}");
    }
    let bare = host();
    bare.set("/sys/bus/virtio/drivers/virtio_balloon/bind", "");
    assert!(!has_balloon(&bare), "the driver without a device");
}

#[test]
fn hostile_and_many_parts_stay_bounded() {
    let mut inventory = server();
    let dimms = inventory.memory.dimms.as_mut().unwrap();
    dimms.clear();
    dimms.extend((0..3 * MAX_PARTS).map(|n| dimm(&format!("{n} {}", "x".repeat(n)), "\x1b[31m\n")));
    let full = parts(&inventory);
    assert_eq!(full.by_name.len(), MAX_PARTS);
    assert!(!full.kinds.contains(&Kind::MemoryModule), "what is not known whole is not compared");
    assert!(serde_json::to_vec(&full).unwrap().len() < 1 << 20);
    let few = |n: usize| {
        let mut inventory = server();
        inventory.memory.dimms = Some((0..n).map(|_| dimm("SAME", "\x1b\n")).collect());
        parts(&inventory)
    };
    let told = few(2).change_to(&mut few(200)).unwrap();
    assert_eq!((told.changes.len(), told.left_out), (MAX_CHANGES, 198 - MAX_CHANGES));
    assert!(told.changes.iter().all(|c| !c.text.contains(char::is_control)), "{told:?}");
}
