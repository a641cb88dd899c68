use proptest::prelude::*;

use super::*;
use crate::ebpf::probes::{Hook, Mode, PROBES, Probe, lacking};

/// Writes BTF. Names are kept in order, types are numbered from 1.
struct Image {
    types: Vec<u8>,
    names: Vec<u8>,
    count: u32,
}

const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const TYPEDEF: u32 = 8;
const CONST: u32 = 10;
const FUNC_PROTO: u32 = 13;

impl Image {
    fn new() -> Self {
        Self { types: Vec::new(), names: vec![0], count: 0 }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self
            .names
            .windows(name.len() + 2)
            .position(|w| w[0] == 0 && w[1..] == *[name.as_bytes(), b"\0"].concat());
        at.map_or_else(
            || {
                self.names.extend_from_slice(name.as_bytes());
                self.names.push(0);
                (self.names.len() - name.len() - 1) as u32
            },
            |at| at as u32 + 1,
        )
    }

    fn words(&mut self, words: &[u32]) {
        self.types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    }

    fn add(&mut self, name: &str, kind: u32, vlen: usize, target: u32, rest: &[u32]) -> u32 {
        let name = self.name(name);
        self.words(&[name, kind << 24 | vlen as u32, target]);
        self.words(rest);
        self.count += 1;
        self.count
    }

    fn int(&mut self, name: &str, bytes: u32) -> u32 {
        self.add(name, INT, 0, bytes, &[bytes * 8])
    }

    /// Members by name, type and offset in bits.
    fn composite(&mut self, kind: u32, name: &str, members: &[(&str, u32, u32)]) -> u32 {
        let rest: Vec<u32> = members.iter().flat_map(|&(n, t, bits)| [self.name(n), t, bits]).collect();
        self.add(name, kind, members.len(), 64, &rest)
    }

    /// `btf_trace_NAME` with these arguments behind the first.
    fn tracepoint(&mut self, name: &str, arguments: &[u32]) -> u32 {
        let rest: Vec<u32> = [0].iter().chain(arguments).flat_map(|&t| [0, t]).collect();
        let function = self.add("", FUNC_PROTO, arguments.len() + 1, 0, &rest);
        let pointer = self.add("", PTR, 0, function, &[]);
        self.add(&format!("btf_trace_{name}"), TYPEDEF, 0, pointer, &[])
    }

    fn bytes(&self) -> Vec<u8> {
        let (types, names) = (self.types.len() as u32, self.names.len() as u32);
        let header = [u32::from_ne_bytes([0x9f, 0xeb, 1, 0]), 24, 0, types, types, names];
        let header = header.iter().flat_map(|word| word.to_ne_bytes());
        header.chain(self.types.iter().copied()).chain(self.names.iter().copied()).collect()
    }
}

/// A small kernel.
fn kernel() -> Image {
    let mut image = Image::new();
    let int = image.int("int", 4);
    let long = image.int("long", 8);
    let letter = image.int("char", 1);
    // Before the first mark and behind it: types that nobody wants.
    for _ in 0..200 {
        image.composite(STRUCT, "crowd", &[("a", int, 0), ("b", long, 64)]);
    }
    let counter = image.composite(STRUCT, "counter", &[("lock", int, 0), ("count", long, 64)]);
    let (counter_size, elements) = (64, 4);
    let array = image.add("", ARRAY, 0, 0, &[counter, int, elements]);
    let comm = image.add("", ARRAY, 0, 0, &[letter, int, 16]);
    let number = image.add("uid_t", TYPEDEF, 0, int, &[]);
    let frozen = image.add("", CONST, 0, number, &[]);
    let inner = image.composite(UNION, "", &[("pid", frozen, 0), ("tgid", int, 32)]);
    let outer = image.composite(STRUCT, "", &[("x", long, 0), ("", inner, 64)]);
    let bits = image.add("", INT, 0, 4, &[3]);
    let task = image.composite(
        STRUCT,
        "task",
        &[("", outer, 128), ("comm", comm, 320), ("stats", array, 448), ("flag", bits, 4), ("odd", int, 3)],
    );
    assert_eq!(counter_size * u64::from(elements), 256);
    let pointer = image.add("", PTR, 0, task, &[]);
    let frozen_pointer = image.add("", CONST, 0, pointer, &[]);
    image.composite(STRUCT, "holder", &[("task", frozen_pointer, 0)]);
    image.tracepoint("kill", &[pointer, number, long]);
    image
}

const NAMES: [&str; 12] = [
    "task.pid",
    "task.tgid",
    "task.comm",
    "task.stats[1].count",
    "task.flag",
    "task.odd",
    "holder.task",
    "btf_trace_kill",
    "btf_trace_int",
    "nobody.pid",
    "uid_t",
    "crowd.b",
];

fn check_place(path: &str, expect: Result<(u64, Shape), &str>) {
    let bytes = kernel().bytes();
    let mut btf = Btf::parse(&bytes[..], NAMES.into_iter().chain([path])).expect("well made");
    match (btf.place(path), expect) {
        (Ok(place), Ok((offset, shape))) => {
            assert_eq!((place.offset, place.shape), (offset, shape), "{path}");
        }
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{path}: {error}"),
        (got, _) => panic!("{path}: {got:?}"),
    }
}

#[test]
fn paths_lead_through_what_has_no_name() {
    for (path, expect) in [
        ("task.pid", Ok((24, Shape::Number(4)))),
        ("task.tgid", Ok((28, Shape::Number(4)))),
        ("task.x", Ok((16, Shape::Number(8)))),
        ("task.comm", Ok((40, Shape::Array(16)))),
        ("task.comm[3]", Ok((43, Shape::Number(1)))),
        ("task.stats", Ok((56, Shape::Array(256)))),
        ("task.stats[0].count", Ok((64, Shape::Number(8)))),
        ("task.stats[3].count", Ok((56 + 3 * 64 + 8, Shape::Number(8)))),
        ("task.stats[3]", Ok((56 + 3 * 64, Shape::Struct(64)))),
        ("holder.task", Ok((0, Shape::Number(8)))),
        ("task.flag", Ok((0, Shape::Bits))),
        ("task.odd", Ok((0, Shape::Bits))),
        ("task", Ok((0, Shape::Struct(64)))),
        ("crowd.b", Ok((8, Shape::Number(8)))),
        ("task.stats[4].count", Err("it has no `task.stats[4].count`")),
        ("task.stats.count", Err("it has no")),
        ("task.pid.deeper", Err("it has no")),
        ("task.pid[0]", Err("it has no")),
        ("task.stats[x]", Err("it has no")),
        ("task.stats[1", Err("it has no")),
        ("task.stats[-1]", Err("it has no")),
        ("task.nothing", Err("it has no `task.nothing`")),
        ("holder.task.pid", Err("it has no")),
        ("nobody.pid", Err("it has no type `nobody`")),
        ("uid_t.x", Err("it has no type `uid_t`")),
        (".", Err("it has no type ``")),
        ("", Err("it has no type ``")),
    ] {
        check_place(path, expect);
    }
}

#[test]
fn arguments_are_told_by_type() {
    let bytes = kernel().bytes();
    let mut btf = Btf::parse(&bytes[..], NAMES).expect("well made");
    let kill = btf.tracepoint("kill").expect("there");
    assert_eq!(kill.arguments, ["*task", "uid_t", "long"]);
    for name in ["int", "nothing", ""] {
        let error = btf.tracepoint(name).expect_err(name).to_string();
        assert_eq!(error, format!("it has no type `btf_trace_{name}`"));
    }
}

#[test]
fn bitfields_of_the_newer_sort_are_no_numbers() {
    let mut image = Image::new();
    let int = image.int("int", 4);
    let name = [image.name("whole"), image.name("part")];
    let rest = [name[0], int, 32, name[1], int, 3 << 24 | 64];
    let id = image.add("s", STRUCT | 0x80, 2, 16, &rest);
    assert_eq!(id, 2);
    let bytes = image.bytes();
    let mut btf = Btf::parse(&bytes[..], ["s.whole", "s.part"]).expect("well made");
    assert_eq!(btf.place("s.whole"), Ok(Place { offset: 4, shape: Shape::Number(4) }));
    assert_eq!(btf.place("s.part"), Ok(Place { offset: 8, shape: Shape::Bits }));
}

#[test]
fn the_first_namesake_that_has_the_member_counts() {
    let mut image = Image::new();
    let int = image.int("int", 4);
    image.composite(STRUCT, "request", &[("other", int, 0)]);
    image.composite(STRUCT, "request", &[("sector", int, 96)]);
    let bytes = image.bytes();
    let mut btf = Btf::parse(&bytes[..], ["request.sector"]).expect("well made");
    assert_eq!(btf.place("request.sector").map(|place| place.offset), Ok(12));
}

/// Types that lead to themselves, or grow beyond all bounds.
#[test]
fn circles_and_giants_end_in_an_error() {
    let mut image = Image::new();
    let circle = image.add("loop", TYPEDEF, 0, 1, &[]);
    let int = image.int("int", 4);
    image.composite(STRUCT, "s", &[("a", circle, 0)]);
    let own = image.count + 1;
    image.composite(STRUCT, "self", &[("", own, 0), ("", own, 0), ("", own, 0), ("", own, 0)]);
    let giant = image.add("", ARRAY, 0, 0, &[int, int, u32::MAX]);
    let giants = image.add("", ARRAY, 0, 0, &[giant, int, u32::MAX]);
    let most = image.add("", ARRAY, 0, 0, &[giants, int, u32::MAX]);
    let endless = image.count + 1;
    image.add("", ARRAY, 0, 0, &[endless, int, 2]);
    image.composite(STRUCT, "g", &[("a", giants, 0), ("b", most, 0), ("c", endless, 0), ("d", 9999, 0)]);
    let pointer = image.add("", PTR, 0, 0, &[]);
    image.add("btf_trace_none", TYPEDEF, 0, pointer, &[]);
    let bytes = image.bytes();
    let paths = ["s.a", "self.x", "g.a", "g.b", "g.c", "g.d", "g.b[4294967294]", "btf_trace_none"];
    let mut btf = Btf::parse(&bytes[..], paths).expect("well made");
    for path in &paths[..7] {
        match (*path, btf.place(path)) {
            ("g.a", Ok(place)) => assert_eq!(place.shape, Shape::Array(u64::from(u32::MAX).pow(2) * 4)),
            (_, got) => assert_eq!(got, Err(BtfError::Endless), "{path}"),
        }
    }
    assert!(btf.tracepoint("none").is_err());
}

#[test]
fn what_is_no_btf_is_said_so() {
    let good = kernel().bytes();
    let with = |at: usize, bytes: &[u8]| {
        let mut image = good.clone();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        image
    };
    for (image, part) in [
        (Vec::new(), "damaged at byte 0"),
        (good[..20].to_vec(), "damaged at byte 0"),
        (with(0, &[0xeb, 0x9f]), "does not begin as BTF"),
        (with(4, &0u32.to_ne_bytes()), "does not begin as BTF"),
        (with(12, &u32::MAX.to_ne_bytes()), "damaged"),
        (with(20, &u32::MAX.to_ne_bytes()), "damaged at byte"),
        (with(8, &u32::MAX.to_ne_bytes()), "damaged at byte"),
        (with(16, &u32::MAX.to_ne_bytes()), "damaged at byte"),
        (with(12, &13u32.to_ne_bytes()), "damaged at byte"),
        (with(24 + 7, &[31]), "its type 1 is of kind 31, which this agent does not know"),
        (with(24 + 7, &[0]), "its type 1 is of kind 0"),
    ] {
        let error = Btf::parse(&image[..], NAMES).err().expect(part).to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
}

fn ask_everything(bytes: &[u8]) {
    if let Ok(mut btf) = Btf::parse(bytes, NAMES) {
        for path in NAMES {
            let _ = btf.place(path);
        }
        let _ = btf.tracepoint("kill");
    }
}

proptest! {
    #[test]
    fn any_bytes_behind_a_header_end(types in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut image = Image::new();
        NAMES.iter().flat_map(|path| words(path)).for_each(|name| _ = image.name(name));
        image.types = types;
        ask_everything(&image.bytes());
    }

    #[test]
    fn a_damaged_kernel_ends(at in 0usize..10_000, byte: u8, cut in 0usize..10_000) {
        let mut bytes = kernel().bytes();
        let length = bytes.len();
        bytes[at % length] = byte;
        ask_everything(&bytes);
        ask_everything(&bytes[..cut % length]);
    }
}

/// Reads in pieces of any size, as a file may.
struct Pieces<'a>(&'a [u8], usize);

impl Source for Pieces<'_> {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1 % 977 + 1;
        let length = buf.len().min(self.1);
        self.0.read_at(offset, &mut buf[..length])
    }
}

/// A file that may not be read.
struct Broken;
impl Source for Broken {
    fn read_at(&mut self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

#[test]
fn short_reads_change_nothing_and_errors_are_passed_on() {
    let bytes = kernel().bytes();
    let mut whole = Btf::parse(&bytes[..], NAMES).expect("whole");
    let mut pieces = Btf::parse(Pieces(&bytes, 0), NAMES).expect("pieces");
    for path in NAMES {
        assert_eq!(whole.place(path), pieces.place(path), "{path}");
    }
    assert!(matches!(Btf::parse(Broken, NAMES).err(), Some(BtfError::Read(_))));
}

/// What the programs need of the kernel that runs here, if it describes itself.
#[test]
fn this_kernel_serves_every_probe() {
    let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
        return eprintln!("SKIPPED: no BTF here");
    };
    let names: Vec<String> = PROBES.iter().flat_map(Probe::names).collect();
    let mut btf = Btf::parse(&bytes[..], names.iter().map(String::as_str)).expect("this kernel's");
    for probe in PROBES {
        let facts = match probe.facts(&mut btf) {
            Err(gap) if probe.rare && gap.is_no_tracepoint() => continue,
            facts => facts.expect(probe.name),
        };
        let arguments = probe.hooks.iter().flat_map(|hook| hook.arguments);
        let found = |constant: &str| facts.constants.iter().any(|c| c.name == constant);
        let missing: Vec<_> = arguments.map(|a| a.constant).filter(|constant| !found(constant)).collect();
        assert!(!probe.rare || probe.members.len() > 2 || missing.is_empty(), "{}: {missing:?}", probe.name);
        let needed = |hook: &&Hook| lacking(hook.program(Mode::Btf)).is_none();
        assert!(facts.tracepoints.len() >= probe.hooks.iter().filter(needed).count());
        assert!(facts.tracepoints.iter().all(|&(_, id)| id > 0));
    }
    // Facts that do not change: the name has 16 bytes, the queue is a request's first member.
    assert_eq!(btf.place("task_struct.comm").map(|place| place.shape), Ok(Shape::Array(16)));
    assert_eq!(btf.place("request.q"), Ok(Place { offset: 0, shape: Shape::Number(8) }));
}
