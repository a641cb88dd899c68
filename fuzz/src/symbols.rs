//! `/proc/kallsyms`: names for addresses, from a file that has any content.

use sysops_agent::host::fixture::FixtureHost;
use sysops_agent::host::kallsyms::{NoNames, Symbols, check};

/// Addresses asked for at most, besides those that every file is asked for.
const MAX_ASKED: usize = 64;
/// Longest function (`MAX_FUNCTION` of the parser), bytes.
const LONGEST: u64 = 1 << 20;
const ALWAYS: [u64; 5] = [0, 1, 0xffff_ffff_8100_0105, 0xffff_ffff_c020_1010, u64::MAX];

pub(crate) fn kallsyms(data: &[u8]) {
    let host = FixtureHost::default();
    host.set("/proc/kallsyms", data);
    // What the file itself names, and the bytes beside it: begins and ends of functions.
    let words = data.split(|b| !b.is_ascii_hexdigit()).filter_map(|word| str::from_utf8(word).ok());
    let named = words.filter_map(|word| u64::from_str_radix(word, 16).ok()).take(MAX_ASKED);
    let around = named.flat_map(|at| [at, at.wrapping_add(1), at.wrapping_sub(1)]);
    let asked: Vec<u64> = ALWAYS.into_iter().chain(around).collect();
    let mut symbols = Symbols::default();
    let learnt = symbols.learn(&host, asked.iter().copied());
    assert!(!matches!(learnt, Err(NoNames::Unreadable(_))), "{learnt:?}");
    if check(&host).is_ok() {
        assert!(learnt.is_ok(), "an address is shown: {learnt:?}");
    }
    let found = asked.iter().filter_map(|&address| Some((address, symbols.name(address)?)));
    for (address, name) in found {
        let (place, module) = name.split_once(' ').unwrap_or((name, ""));
        let (function, size) = place
            .rsplit_once("+0x")
            .and_then(|(f, rest)| Some((f, rest.split_once("/0x")?)))
            .expect("a place");
        let [offset, size] = [size.0, size.1].map(|hex| u64::from_str_radix(hex, 16).expect("hexadecimal"));
        assert!(!function.is_empty() && !function.contains(char::is_whitespace), "{name:?}");
        assert!(
            offset > 0 && offset <= size && size <= LONGEST && offset <= address,
            "{address:#x}: {name:?}"
        );
        assert!(!module.contains('\n'), "{name:?}");
    }
    let stack = symbols.stack(&asked);
    assert!(stack.is_empty() || stack.len() == asked.len(), "{} of {}", stack.len(), asked.len());
    let known: Vec<Option<String>> = asked.iter().map(|&a| symbols.name(a).map(str::to_owned)).collect();
    // Asked again it says the same.
    let again = symbols.learn(&host, asked.iter().copied());
    assert_eq!(again.is_ok(), learnt.is_ok());
    assert_eq!(known, asked.iter().map(|&a| symbols.name(a).map(str::to_owned)).collect::<Vec<_>>());
}
