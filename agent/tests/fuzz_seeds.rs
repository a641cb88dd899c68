//! The fuzz targets (`fuzz/`) as ordinary tests: every committed seed, what the fuzzer found among them, goes through
//! the same functions; so does each of them cut short and with bytes changed.
#![expect(clippy::disallowed_methods, reason = "reads the seeds")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a crate of its own for the fuzzer")]
mod fuzz;

/// All seeds together, bytes.
const MAX_SEEDS: u64 = 200_000;
/// Changed copies of each seed.
const CHANGED: u32 = 24;

/// A seed and its name, or that of a folder with files for the same target.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    list(&root.join("../fuzz/seeds").join(target), &mut files);
    assert!(!files.is_empty(), "{target} has no seeds in fuzz/seeds");
    // Real texts that the parsers' own tests have.
    match target {
        "gpu_smi" => list(&root.join("src/collect/gpu/testdata"), &mut files),
        "kmsg_log" => list(&root.join("src/watch/testdata"), &mut files),
        "trace_format" => list(&root.join("src/ebpf/testdata"), &mut files),
        _ => {}
    }
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(&path).expect("a seed"))).collect()
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { list(&entry.path(), files) } else { files.push(entry.path()) }
    }
}

/// The seed cut at a place, or with some bytes changed; the same at every run.
fn changed(seed: &[u8], round: u32) -> Vec<u8> {
    const HOSTILE: &[u8] = b"\0\x1b\n\r \x7f\xff\x80\"'`\\@<>,;:/=()0129-%{}";
    let mut state = u64::from(round) << 32 | seed.len() as u64;
    let mut dice = |sides: usize| {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % sides.max(1) as u64) as usize
    };
    let mut bytes = seed.to_vec();
    if round.is_multiple_of(4) {
        bytes.truncate(dice(bytes.len()));
        return bytes;
    }
    for _ in 0..=dice(8) {
        let at = dice(bytes.len());
        let hostile = HOSTILE[dice(HOSTILE.len())];
        match dice(3) {
            0 if at < bytes.len() => bytes[at] = hostile,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.insert(at, hostile),
        }
    }
    bytes
}

fn run(target: &str, what: &str, bytes: &[u8]) {
    let done = catch_unwind(AssertUnwindSafe(|| fuzz::run(target, bytes)));
    assert!(done.is_ok(), "target {target}, {what}: {:?}", String::from_utf8_lossy(bytes));
}

fn run_seeds(target: &str) {
    for (path, seed) in seeds(target) {
        let name = path.display().to_string();
        run(target, &name, &seed);
        for round in 0..CHANGED {
            run(target, &format!("{name} changed ({round})"), &changed(&seed, round));
        }
    }
    run(target, "nothing", &[]);
}

macro_rules! replayed {
    ($($(#[$only:meta])? $target:ident),+ $(,)?) => {
        $($(#[$only])? #[test] fn $target() { run_seeds(stringify!($target)); })+
        /// Targets with a test here.
        const REPLAYED: &[&str] = &[$($(#[$only])? stringify!($target)),+];
    };
}

replayed!(
    #[cfg(feature = "ebpf")]
    btf,
    cgroup_path,
    config,
    disk_health,
    dstate,
    glob,
    gpu_smi,
    history,
    journal,
    kallsyms,
    kmsg_log,
    kmsg_record,
    mounts,
    numbers,
    outbox,
    pattern,
    position,
    proc_files,
    replay,
    retry_after,
    #[cfg(feature = "ebpf")]
    ring_record,
    ship_places,
    smbios,
    spool,
    syslog,
    systemctl,
    template,
    #[cfg(feature = "ebpf")]
    trace_format,
);

#[test]
fn every_target_has_a_program_a_test_and_seeds() {
    let targets: Vec<_> = fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(targets, REPLAYED);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("a manifest");
    for target in targets {
        let program = fs::read_to_string(root.join(format!("fuzz_targets/{target}.rs"))).expect(target);
        assert!(program.contains(&format!("run({target:?}, data)")), "{target}: {program}");
        assert!(
            manifest.contains(&format!("name = {target:?}\npath = \"fuzz_targets/{target}.rs\"")),
            "{target}"
        );
    }
}

#[test]
fn the_seeds_stay_small() {
    let mut files = Vec::new();
    list(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds"), &mut files);
    let bytes: u64 = files.iter().map(|file| file.metadata().expect("a file").len()).sum();
    assert!(bytes <= MAX_SEEDS, "the seeds have {bytes} bytes; keep what finds something, drop the rest");
}
