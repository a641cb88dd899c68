use super::*;
use crate::host::fixture::FixtureHost;
use crate::host::read_text;

/// Everything on this host that is nobody else's business; none of it may be in a capture.
const SECRETS: &[&str] = &[
    "bigbank-db-7",
    "alice.smith",
    "hunter2",
    "S3R1AL",
    "4c4c4544-0042-3510-8052-b4c04f564432",
    "52:54:00:ab:cd:ef",
    "203.0.113.77",
    "2a00:1450:4001:81b::200e",
    "nfs.bigbank.example",
    "0123456789abcdef0123456789abcdef",
    "83c3e2e7b893f0a9d6f3f7c1b5a4e2d1c0b9a8f7e6d5c4b3a291807060504030",
    "--password",
    "GPU-a1b2c3d4-1111-2222-3333-444455556666",
    "payroll.xls",
    "CUSTOMER42",
    "S7HZNX0X140318",
    "5001b448b9db9490",
    "3f1c2a77",
    "payroll-db",
    "1324520012345",
    "1653420098765",
    "api-key",
];

fn host() -> FixtureHost {
    FixtureHost::parse(
        "\
//- uname bigbank-db-7.bigbank.example 5.15.0-91-generic x86_64
//- /etc/machine-id
0123456789abcdef0123456789abcdef
//- /etc/hostname
bigbank-db-7
//- /etc/passwd
root:x:0:0:root:/root:/bin/bash
alice.smith:x:1001:1001:Alice:/home/alice.smith:/bin/bash
//- /proc/stat
cpu  1 0 1 8 0 0 0 0 0 0
cpu0 1 0 1 8 0 0 0 0 0 0
//- /proc/1/mountinfo
22 1 253:0 / / rw,relatime shared:1 - xfs /dev/sda1 rw
23 22 0:40 / /home/alice.smith rw - cifs //203.0.113.77/share rw,username=alice.smith,password=hunter2
24 22 0:41 /export/payroll.xls /mnt/x rw - nfs4 nfs.bigbank.example:/export rw,addr=203.0.113.77
25 22 253:0 /var/payroll.xls /mnt/bind rw - xfs /dev/sda1 rw
//- statvfs / total=100 free=50 avail=50 inodes=10 ifree=5
//- statvfs /home/alice.smith total=100 free=50 avail=50 inodes=10 ifree=5
//- /proc/700/stat
700 (sshd) S 1 700 700 0 -1 4194560 100 0 0 0 10 10 0 0 20 0 1 0 500 10000000 1500 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0
//- /proc/700/comm
sshd
//- /proc/700/cmdline
mysql --password hunter2 alice.smith
//- /proc/700/cgroup
0::/user.slice/alice.smith.slice/docker-83c3e2e7b893f0a9d6f3f7c1b5a4e2d1c0b9a8f7e6d5c4b3a291807060504030.scope
//- /proc/700/fd/3 -> /home/alice.smith/payroll.xls
//- /proc/700/fd/4 -> socket:[1001]
//- tcp listen 203.0.113.77:22 max=128 inode=1001
//- tcp close_wait [2a00:1450:4001:81b::200e]:5000
//- /sys/fs/cgroup/cgroup.controllers
cpu memory
//- /sys/fs/cgroup/system.slice/docker-83c3e2e7b893f0a9d6f3f7c1b5a4e2d1c0b9a8f7e6d5c4b3a291807060504030.scope/memory.max
max
//- /sys/fs/cgroup/system.slice/docker-83c3e2e7b893f0a9d6f3f7c1b5a4e2d1c0b9a8f7e6d5c4b3a291807060504030.scope/memory.current
300000000
//- /sys/block/sda/size
1000
//- /sys/block/sda/device/vendor
ATA
//- /sys/block/sda/device/vpd_pg80
S3R1AL
//- /sys/block/nvme0n1/device/serial
S3R1AL
//- /sys/class/net/eth0/address
52:54:00:ab:cd:ef
//- /sys/class/net/eth0/operstate
up
//- /sys/class/dmi/id/product_serial
S3R1AL
//- /sys/class/dmi/id/product_name
PowerEdge R750
//- /proc/cpuinfo
processor : 0
Serial : S3R1AL
//- /proc/driver/nvidia/version
NVRM
//- command nvidia-smi --query-gpu
index, uuid, name
0, GPU-a1b2c3d4-1111-2222-3333-444455556666, NVIDIA A100
//- command nvidia-smi --query-compute-apps
gpu_uuid, pid, used_gpu_memory [MiB]
//- command nvidia-smi -q -x
<nvidia_smi_log>
	<cuda_version>12.2</cuda_version>
	<gpu id=\"00000000:07:00.0\">
		<product_name>NVIDIA A100</product_name>
		<serial>1324520012345</serial>
		<platformInfo>
			<chassis_serial_number>1653420098765</chassis_serial_number>
		</platformInfo>
		<pci>
			<replay_counter>7</replay_counter>
		</pci>
		<mig_devices>
			<mig_device>
				<index>0</index>
				<fb_memory_usage>
					<total>40448 MiB</total>
					<used>26 MiB</used>
				</fb_memory_usage>
			</mig_device>
		</mig_devices>
		<processes>
			<process_info>
				<pid>4242</pid>
				<process_name>python3 train.py --api-key=hunter2</process_name>
			</process_info>
		</processes>
	</gpu>
</nvidia_smi_log>
//- /run/systemd/system/.
//- command systemctl list-units
dev-disk-by\\x2did-nvme\\x2dSAMSUNG_MZVL81T0HELB\\x2d00BTW_S7HZNX0X140318.device loaded active plugged SAMSUNG MZVL81T0HELB-00BTW
dev-disk-by\\x2did-wwn\\x2d0x5001b448b9db9490\\x2dpart3.device loaded active plugged WDC 3
dev-disk-by\\x2duuid-3f1c2a77\\x2d9f5e\\x2d4b7e\\x2d8f0a\\x2d1c2d3e4f5a6b.swap loaded active active WDC swap
systemd-fsck@dev-disk-by\\x2duuid-3f1c2a77\\x2d9f5e\\x2d4b7e\\x2d8f0a\\x2d1c2d3e4f5a6b.service loaded active exited File System Check
mnt-customer42\\x2dpayroll.mount loaded active mounted /mnt/customer42-payroll
nightly-payroll-db.timer loaded active waiting Copies payroll-db
backup.service loaded failed failed Copies of CUSTOMER42
mnt-customer42.mount loaded failed failed /mnt/customer42
//- command systemctl show
Id=backup.service
ActiveState=failed
Result=exit-code
NRestarts=0
Description=Copies of CUSTOMER42

Id=mnt-customer42.mount
ActiveState=failed
Result=exit-code
//- /sys/fs/cgroup/system.slice/mnt-customer42.mount/memory.max
max
//- /sys/fs/cgroup/system.slice/mnt-customer42.mount/memory.current
400000000
//- hex /sys/firmware/dmi/tables/DMI
01 1b 0100 01 02 00 03 4c4c4544004235108052b4c04f564432 06 00 00 44656c6c00 506f7765724564676500 53335231414c00 00
11 1c 0200 000000000000000000000000000000000000000001000200000000 44494d4d5f413100 53335231414c00 00
80 06 0300 4142 435553544f4d4552343200 00
",
    )
    .unwrap()
}

fn shared(host: FixtureHost) -> Arc<dyn Host> {
    Arc::new(host)
}

fn captured() -> String {
    capture(&shared(host()), Duration::ZERO, MAX_PROCESSES)
}

#[test]
fn no_secret_is_in_a_capture() {
    let text = captured();
    let hex = |secret: &str| -> String {
        let digit = |half: u8| char::from_digit(u32::from(half), 16);
        secret.bytes().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).flatten().collect()
    };
    for secret in SECRETS {
        assert!(!text.to_lowercase().contains(&secret.to_lowercase()), "{secret} is in\n{text}");
        assert!(!text.contains(&hex(secret)), "{secret} is in, in hexadecimal");
    }
    // The UUID of SMBIOS, as bytes.
    assert!(!text.contains("4c4c4544004235108052b4c04f564432"), "{text}");
    for kept in [
        "PowerEdge R750",
        "NVIDIA A100",
        "sshd",
        "5.15.0-91-generic",
        "docker-0000",
        "192.0.2.",
        ".mount/memory.current\n400000000\n",
        "backup.service loaded failed failed\n",
        "Result=exit-code",
        ".swap loaded active active\n",
        "<replay_counter>7<",
        "<used>26 MiB<",
        "//- command systemctl show --no-pager --property=Id",
    ] {
        assert!(text.contains(kept), "{kept} is not in\n{text}");
    }
}

/// A unit has the same number in what systemctl says and in the path of its group.
#[test]
fn a_unit_is_the_same_everywhere() {
    let text = captured();
    let line = text.lines().find(|line| line.ends_with(".mount loaded failed failed")).expect("it is listed");
    let (unit, _) = line.split_once(' ').unwrap();
    assert!(text.contains(&format!("/system.slice/{unit}/memory.max")), "{text}");
    assert!(text.contains(&format!("Id={unit}\n")), "{text}");
    // `memory.swap.max` is no unit.
    let scrubber = Scrubber::of(&host(), 1);
    assert_eq!(scrubber.text("a.slice/memory.swap.max"), "a.slice/memory.swap.max");
}

#[test]
fn a_capture_is_a_host_again() {
    let text = captured();
    let (first, second) = text.split_once("//= later\n").expect("two halves");
    let host = FixtureHost::parse(first).unwrap();
    host.apply(second).unwrap();
    assert_eq!(host.uname().nodename, "host");
    assert_eq!(read_text(&host, "/sys/class/net/eth0/operstate").unwrap(), "up\n");
    assert_eq!(host.statvfs(std::path::Path::new("/home/user1")).unwrap().total_bytes, 100);
    // The same group under the same name, wherever it stands.
    let group = format!("docker-{:064x}.scope", 1);
    assert!(read_text(&host, "/proc/700/cgroup").map_or(true, |text| text.contains("docker-0")));
    assert!(
        first.contains(&format!("/sys/fs/cgroup/system.slice/{group}/memory.max"))
            || first.contains("docker-00")
    );
    assert!(read_text(&host, "/proc/700/cmdline").is_err(), "arguments are not kept");
    let again = capture(&shared(FixtureHost::parse(first).unwrap()), Duration::ZERO, MAX_PROCESSES);
    let lines = |text: &str| {
        text.split("//= ").next().unwrap_or_default().lines().filter(|l| l.starts_with("//- /sys")).count()
    };
    assert_eq!(lines(&again), lines(first), "a capture of the capture has the same files");
}

#[test]
fn processes_are_limited() {
    let host = host();
    for pid in 1000..1100 {
        host.set(
            &format!("/proc/{pid}/stat"),
            format!("{pid} (p) S 1 1 1 0 -1 0 1 0 0 0 1 1 0 0 20 0 1 0 5 1 1 1"),
        );
    }
    let text = capture(&shared(host), Duration::ZERO, 10);
    let processes = text
        .split("//= ")
        .next()
        .unwrap_or_default()
        .lines()
        .filter(|l| l.starts_with("//- /proc/1") && l.ends_with("/stat"));
    assert!(processes.count() <= 10, "{text}");
}

#[test]
fn hostile_content_stays_content() {
    let host = host();
    host.set("/proc/700/comm", "//- /etc/shadow\nroot\n");
    host.set("/proc/net/dev", "//= later\n//- statvfs / hang\n");
    host.set("/sys/class/dmi/id/product_name", "a\x1b[31mb\n//- uname evil 1 2\n");
    let text = capture(&shared(host), Duration::ZERO, MAX_PROCESSES);
    let again = FixtureHost::parse(text.split("//= ").next().unwrap_or_default()).unwrap();
    assert!(read_text(&again, "/etc/shadow").is_err());
    assert_eq!(again.uname().nodename, "host");
    assert_eq!(again.statvfs(std::path::Path::new("/")).unwrap().total_bytes, 100);
}
