//! What was measured, as a table.

use crate::is_file;
use crate::measure::{Row, WHOLE};
use crate::syscalls::Counts;

/// Prints it.
pub(crate) fn print(size: usize, all: usize, rows: &[Row], calls: &Counts) {
    println!(
        "| {size} sleeping processes, {all} in all | warm µs | floor | ratio | swept µs | floor | ratio | system calls |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for row in rows {
        let count = if row.name == WHOLE {
            let files = calls.iter().filter(|(name, _)| is_file(name));
            (!calls.is_empty()).then(|| files.map(|(_, count)| count).sum())
        } else {
            calls.get(row.name).copied()
        };
        let count = count.map_or("?".to_owned(), |count: usize| count.to_string());
        let (warm, swept) = (cells(row.warm, row.warm_floor), cells(row.swept, row.swept_floor));
        println!("| {} | {warm} | {swept} | {count} |", row.name);
    }
    println!();
}

fn cells(ns: u64, floor: u64) -> String {
    let (us, floor) = (ns as f64 / 1e3, floor as f64 / 1e3);
    format!("{us:.1} | {floor:.1} | {:.2}", us / floor)
}
