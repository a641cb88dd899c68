//! What `nvidia-smi --format=csv` prints: a line of column names, then a line a row. Pure.
//!
//! Columns are found by name, so neither their order nor the units behind them (`memory.total [MiB]`) matter. Values
//! that are no numbers (`[N/A]`, `[Not Supported]`, `[GPU requires reset]`) are none.

/// Rows read of one table.
const MAX_ROWS: usize = 1024;

/// A table as text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table<'a> {
    columns: Vec<&'a str>,
    rows: Vec<Vec<&'a str>>,
}

/// One row of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    columns: &'a [&'a str],
    cells: &'a [&'a str],
}

impl<'a> Table<'a> {
    /// Reads what was printed; `None` if there is no line of column names, of which this is the first. Lines before it are
    /// warnings (`WARNING: infoROM is corrupted at gpu 0000:3B:00.0`), as are some behind it.
    pub(super) fn read(text: &'a str, first: &str) -> Option<Self> {
        let mut lines = text.lines().skip_while(|line| !begins(line, first));
        let name = |cell: &'a str| cell.split_once(" [").map_or(cell, |(name, _)| name).trim();
        let columns: Vec<_> = lines.next()?.split(',').map(name).collect();
        let is_name = |name: &&str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if !columns.iter().all(is_name) {
            return None;
        }
        let row = |line: &'a str| -> Vec<&'a str> { line.split(',').map(str::trim).collect() };
        Some(Self { columns, rows: lines.take(MAX_ROWS).map(row).collect() })
    }

    /// All rows with as many cells as there are columns.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let whole = |cells: &&Vec<&str>| cells.len() == self.columns.len();
        self.rows.iter().filter(whole).map(|cells| Row { columns: &self.columns, cells })
    }
}

/// Whether a line has this name in its first column.
fn begins(line: &str, name: &str) -> bool {
    line.split(',').next().is_some_and(|cell| cell.trim() == name)
}

impl<'a> Row<'a> {
    /// The cell under the first of these names that is a column.
    pub(super) fn text(self, names: &[&str]) -> Option<&'a str> {
        let at = names.iter().find_map(|name| self.columns.iter().position(|column| column == name))?;
        self.cells.get(at).copied()
    }

    /// The same as a number; its unit, where there is one, is left out.
    pub(super) fn number(self, names: &[&str]) -> Option<f64> {
        let word = self.text(names)?.split_whitespace().next()?;
        word.parse::<f64>().ok().filter(|value| value.is_finite())
    }

    /// The same as the bits of a hexadecimal number.
    pub(super) fn bits(self, names: &[&str]) -> Option<u64> {
        u64::from_str_radix(self.text(names)?.strip_prefix("0x")?, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "\
index, name, memory.total [MiB], power.draw [W], clocks_event_reasons.active, ecc.mode.current
0, NVIDIA A100-SXM4-80GB, 81920, 61.25, 0x0000000000000024, Enabled
1, Tesla K80, [N/A], [Not Supported], 0xzz, [N/A]
short, row
";

    #[test]
    fn columns_are_found_by_name() {
        let table = Table::read(TEXT, "index").unwrap();
        let rows: Vec<_> = table.rows().collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].text(&["name"]), Some("NVIDIA A100-SXM4-80GB"));
        assert_eq!(rows[0].number(&["memory.total"]), Some(81920.0));
        assert_eq!(rows[0].number(&["none", "power.draw"]), Some(61.25));
        assert_eq!(
            rows[0].bits(&["clocks_throttle_reasons.active", "clocks_event_reasons.active"]),
            Some(0x24)
        );
        assert_eq!(rows[1].number(&["memory.total"]), None);
        assert_eq!(rows[1].bits(&["clocks_event_reasons.active"]), None);
        assert_eq!(rows[1].text(&["none"]), None);
    }

    #[test]
    fn warnings_are_no_rows() {
        let warning = "WARNING: infoROM is corrupted at gpu 0000:3B:00.0\n";
        let text = format!("{warning}\n{warning}{TEXT}{warning}");
        let table = Table::read(&text, "index").unwrap();
        let numbers: Vec<_> = table.rows().map(|row| row.number(&["index"])).collect();
        assert_eq!(numbers, [Some(0.0), Some(1.0)]);
        assert_eq!(Table::read(warning, "index"), None);
    }

    #[test]
    fn what_is_no_table_is_none() {
        for text in [
            "",
            "\n\n",
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
            "Field \"x\" is not a valid field to query.",
            "No devices were found",
            "index,,b\n1,2,3",
        ] {
            assert_eq!(Table::read(text, "index"), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(index|memory.total \\[MiB\\]|[0-9]+|, |\n|\\PC){0,60}") {
            if let Some(table) = Table::read(&text, "index") {
                for row in table.rows() {
                    let _ = (row.number(&["index"]), row.bits(&["index"]));
                }
            }
        }
    }
}
