use super::*;

/// What `include/uapi/linux/bpf_common.h` and `bpf.h` call the parts of an instruction.
mod isa {
    pub(super) const ALU32: u8 = 0x04;
    pub(super) const JMP32: u8 = 0x06;
    pub(super) const CALL: u8 = 0x85;
    pub(super) const ATOMIC_W: u8 = 0xc3;
    pub(super) const ATOMIC_DW: u8 = 0xdb;
}

fn object() -> Object {
    Object::parse(OBJECT).expect("the committed object parses")
}

#[test]
fn every_probe_finds_its_programs_maps_and_constants() {
    let mut object = object();
    for probe in PROBES {
        for program in probe.programs() {
            assert!(object.programs.contains_key(program), "{program}");
        }
        let (one, two) = ([0u8; 1], [0u8; 2]);
        let fields = probe.hooks.iter().flat_map(|hook| hook.fields).map(|field| field.constant);
        let offsets = fields.chain(probe.members.iter().map(|member| member.constant));
        let places = probe.hooks.iter().flat_map(|hook| hook.arguments).map(|a| a.constant);
        let values = offsets.map(|c| (c, (&two[..], true))).chain(places.map(|c| (c, (&one[..], true))));
        object.patch_map_data(values.collect()).expect(probe.name);
        for map in probe.maps {
            assert!(object.maps.contains_key(*map), "{map}");
        }
    }
    for map in [names::EVENTS, names::RING, names::STATS, names::TASKS_TOLD, CONSTANTS] {
        assert!(object.maps.contains_key(map), "{map}");
    }
    assert_eq!(object.maps.len(), 5 + PROBES.iter().map(|p| p.maps.len()).sum::<usize>());
    // Some serve in both modes; the iterator belongs to no probe.
    let programs: HashSet<_> = PROBES.iter().flat_map(Probe::programs).chain([names::LIST_TASKS]).collect();
    assert_eq!(object.programs.len(), programs.len());
}

#[test]
fn layouts_agree_with_agent_common() {
    let object = object();
    let hist = &object.maps[names::HIST];
    assert_eq!(hist.key_size() as usize, size_of::<agent_common::hist::HistKey>());
    assert_eq!(hist.value_size() as usize, size_of::<agent_common::hist::HistValue>());
    assert_eq!(hist.map_flags(), 0, "preallocated: no allocation in the path of an I/O");
    assert_eq!(object.maps[names::STATS].max_entries() as usize, agent_common::Stat::ALL.len());
}

/// 4.18 knows neither 32-bit jumps nor loops, and 5.12 was the first with atomics that return.
#[test]
fn programs_use_what_old_kernels_know() {
    let object = object();
    for (name, program) in &object.programs {
        let code = &object.functions[&program.function_key()].instructions;
        assert!(code.len() < 4096, "{name}: {} instructions", code.len());
        for (at, insn) in code.iter().enumerate() {
            let class = insn.code & 0x07;
            assert_ne!(class, isa::JMP32, "{name} {at}: 32-bit jump");
            assert!(class != isa::ALU32, "{name} {at}: 32-bit arithmetic");
            assert!(insn.code != isa::CALL || insn.src_reg() == 0, "{name} {at}: call of a BPF function");
            if [isa::ATOMIC_W, isa::ATOMIC_DW].contains(&insn.code) {
                assert_eq!(insn.imm, 0, "{name} {at}: atomic other than plain add");
            }
        }
    }
}

#[test]
fn the_object_is_small_and_names_no_path() {
    assert!(OBJECT.len() < 112 << 10, "{} bytes", OBJECT.len());
    for text in [&b".cargo"[..], b"/root", b"/home", b"agent-ebpf/src"] {
        assert!(!OBJECT.windows(text.len()).any(|w| w == text), "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn sizes_follow_the_host_within_limits() {
    for (cpus, disks, expect) in [
        (2, 1, (4096, 90, 2)),
        (2, 9, (4096, 170, 2)),
        (1, 0, (4096, 40, 1)),
        (3, 4, (4096, 240, 4)),
        (32, 24, (8192, 1280, 8)),
        (512, 60, (16_384, 1360, 4)),
        (512, 1000, (16_384, 2048, 1)),
        (u32::MAX, u32::MAX, (16_384, 2048, 1)),
        (0, 0, (4096, 40, 1)),
    ] {
        let got = Sizes::of(cpus, disks);
        assert_eq!((got.starts, got.histograms, got.shards), expect, "{cpus} processors, {disks} disks");
        assert!(got.shards.is_power_of_two());
    }
}

#[test]
fn the_verifiers_last_words_are_found() {
    for (log, expect) in [
        ("", ""),
        (
            "0: (bf) r6 = r1\nR1 invalid mem access 'scalar'\nprocessed 3 insns (limit 1000000)\n\0\0\0",
            "R1 invalid mem access 'scalar'",
        ),
        ("processed 3 insns\n", ""),
        ("cut in the mid", "cut in the mid"),
    ] {
        assert_eq!(last_line(log.as_bytes()), expect, "{log:?}");
    }
}
