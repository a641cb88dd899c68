//! Tables of SMBIOS without what makes a machine one of a kind: serial numbers, asset tags, the UUID.

/// Kind of structure, and the places in it that number a string of that sort (DMTF DSP0134, chapter 7).
const SECRET: &[(u8, &[usize])] =
    &[(1, &[0x07, 0x19]), (2, &[0x07, 0x08]), (3, &[0x07, 0x08]), (4, &[0x20, 0x21]), (17, &[0x18, 0x19])];
/// Kinds whose other strings are names of models; strings of further kinds are nobody's business.
const PLAIN: &[u8] = &[0, 1, 2, 3, 4, 7, 8, 9, 16, 17, 19, 20];
/// Where the UUID of the machine is, in a structure of kind 1.
const UUID: std::ops::Range<usize> = 0x08..0x18;
/// Kinds from here on are the maker's own.
const OEM: u8 = 128;

/// The same tables, of the same length.
pub(super) fn scrub(tables: &mut [u8]) {
    let mut at = 0;
    while let Some(&[kind, length]) = tables.get(at..at + 2) {
        let strings = at + usize::from(length).max(4);
        let Some(end) = end_of_strings(tables, strings) else {
            // Cut short: who knows what it is.
            tables.get_mut(at + 4..).unwrap_or_default().fill(0);
            return;
        };
        let formatted = tables.get(at..strings).unwrap_or_default();
        let numbers = SECRET.iter().find(|(known, _)| *known == kind).map_or(&[][..], |(_, places)| places);
        let secret: Vec<usize> =
            numbers.iter().filter_map(|place| formatted.get(*place).map(|n| usize::from(*n))).collect();
        let mut number = 0;
        for string in tables.get_mut(strings..end).unwrap_or_default().split_mut(|&byte| byte == 0) {
            number += 1;
            if secret.contains(&number) || !PLAIN.contains(&kind) {
                string.fill(b'X');
            }
        }
        if kind == 1 {
            let range = at + UUID.start..strings.min(at + UUID.end);
            tables.get_mut(range).unwrap_or_default().fill(0);
        }
        if kind >= OEM {
            tables.get_mut(at + 4..strings).unwrap_or_default().fill(0);
        }
        at = end;
    }
}

/// Behind the two zeros that end the strings of a structure.
fn end_of_strings(tables: &[u8], from: usize) -> Option<usize> {
    let rest = tables.get(from..)?;
    rest.windows(2).position(|two| two == [0, 0]).map(|at| from + at + 2)
}
