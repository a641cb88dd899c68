use super::*;
use crate::host::fixture::FixtureHost;

const FILE: &str = "0000000000000000 A fixed_percpu_data
0000000000001000 A cpu_debug_store
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000100 T schedule
ffffffff81000140 t __schedule
ffffffff81000140 t alias_of_schedule
ffffffff81000400 W weak
ffffffff81000480 D data
ffffffff82000000 T far
ffffffffc0201000 t ext4_map_blocks\t[ext4]
ffffffffc0201080 d ext4_table\t[ext4]
ffffffffc0201100 t ext4_sync_file\t[ext4]
ffffffffc0100000 t jbd2_commit\t[jbd2]
ffffffffc0100010 t jbd2_wait\t[jbd2]
";

fn names(file: &str, addresses: &[u64]) -> Result<Vec<Option<String>>, NoNames> {
    let host = FixtureHost::parse(&format!("//- {PATH}\n{file}")).expect("valid");
    let mut symbols = Symbols::default();
    symbols.learn(&host, addresses.iter().copied())?;
    Ok(addresses.iter().map(|&address| symbols.name(address).map(str::to_owned)).collect())
}

fn check_name(address: u64, expect: Option<&str>) {
    let got = names(FILE, &[address]).expect("readable");
    assert_eq!(got[0].as_deref(), expect, "{address:#x}");
}

#[test]
fn addresses_get_the_name_of_their_function() {
    for (address, expect) in [
        (0xffff_ffff_8100_0105, Some("schedule+0x5/0x40")),
        // A call that does not return ends its function: the return address is the next one's first byte.
        (0xffff_ffff_8100_0140, Some("schedule+0x40/0x40")),
        (0xffff_ffff_8100_0141, Some("__schedule+0x1/0x2c0")),
        (0xffff_ffff_8100_0401, Some("weak+0x1/0x80")),
        (0xffff_ffff_8100_0100, Some("_stext+0x100/0x100")),
        (0xffff_ffff_c020_1010, Some("ext4_map_blocks+0x10/0x80 [ext4]")),
        (0xffff_ffff_c010_0008, Some("jbd2_commit+0x8/0x10 [jbd2]")),
        // Behind everything, before everything, in a hole, nowhere.
        (0xffff_ffff_c030_0000, None),
        (0xffff_ffff_8200_0001, None),
        (0x1001, None),
        (1, None),
        (0, None),
        (u64::MAX, None),
    ] {
        check_name(address, expect);
    }
}

#[test]
fn one_reading_names_many() {
    let addresses = [0xffff_ffff_c020_1010, 0xffff_ffff_8100_0105, 0, 0xffff_ffff_8100_0105, 7];
    let got = names(FILE, &addresses).expect("readable");
    let named: Vec<_> = got.iter().map(|name| name.as_deref().unwrap_or("?")).collect();
    let schedule = "schedule+0x5/0x40";
    assert_eq!(named, ["ext4_map_blocks+0x10/0x80 [ext4]", schedule, "?", schedule, "?"]);
}

#[test]
fn hidden_addresses_are_said_to_be_hidden() {
    let hidden =
        "0000000000000000 A fixed_percpu_data\n0000000000000000 T _stext\n0000000000000000 t schedule\n";
    let host = |file: &str| FixtureHost::parse(&format!("//- {PATH}\n{file}")).expect("valid");
    assert!(matches!(names(hidden, &[5]), Err(NoNames::Hidden)));
    assert!(matches!(check(&host(hidden)), Err(NoNames::Hidden)));
    assert!(check(&host(FILE)).is_ok());
    assert!(matches!(check(&FixtureHost::parse("").expect("valid")), Err(NoNames::Unreadable(_))));
    assert!(names(hidden, &[]).is_ok(), "nothing is read for nothing");
}

#[test]
fn strange_lines_are_passed_over() {
    let long = "x".repeat(3 * WINDOW);
    let file = format!(
        "\n\nzz T a\nffff\nffff T\nffffffff81000000 T \u{fffd}\n{long}\nffffffff81000100 T good\n{long}\nffffffff81000200 T end"
    );
    let got = names(&file, &[0xffff_ffff_8100_0110]).expect("readable");
    assert_eq!(got[0].as_deref(), Some("good+0x10/0x100"));
}

#[test]
fn names_are_kept_within_a_limit() {
    let mut symbols = Symbols::default();
    let host = FixtureHost::parse(&format!("//- {PATH}\n{FILE}")).expect("valid");
    for round in 0..4u64 {
        let addresses = (0..2000).map(|i| 0xffff_ffff_8100_0150 + round * 2000 + i);
        symbols.learn(&host, addresses).expect("readable");
        assert!(symbols.known.len() <= MAX_KNOWN);
    }
}

#[test]
fn what_is_known_is_not_read_again_but_for_modules() {
    let mut symbols = Symbols::default();
    let host = FixtureHost::parse(&format!("//- {PATH}\n{FILE}")).expect("valid");
    let (core, module) = (0xffff_ffff_8100_0105, 0xffff_ffff_c020_1010);
    symbols.learn(&host, [core, module]).expect("readable");
    assert!(symbols.name(module).is_some());
    host.remove(PATH);
    symbols.learn(&host, [core]).expect("known");
    assert_eq!(symbols.name(core), Some("schedule+0x5/0x40"));
    assert!(matches!(symbols.learn(&host, [core, module]), Err(NoNames::Unreadable(_))));
    assert_eq!(symbols.name(module), None);
}

#[test]
fn reading_ends_where_all_is_found() {
    let read = |addresses: &[u64]| {
        let mut search = Search::new(addresses.iter().copied().collect());
        FILE.lines()
            .take_while(|line| {
                search.line(line.as_bytes());
                !search.done
            })
            .count()
    };
    let all = FILE.lines().count();
    assert_eq!(read(&[0xffff_ffff_8100_0105]), 5, "up to the next symbol");
    assert_eq!(read(&[0xffff_ffff_8100_0105, 0xffff_ffff_8100_0401]), 8);
    assert_eq!(read(&[0xffff_ffff_8100_0105, 0xffff_ffff_c010_0008]), all, "modules are in no order");
    assert_eq!(read(&[0xffff_ffff_8200_0001]), all, "followed by a module only");
}
