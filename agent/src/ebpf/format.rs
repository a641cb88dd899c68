//! Parser of tracepoint `format` files: where each field lies in the record of this very kernel.

/// Largest record (`PERF_MAX_TRACE_SIZE`, `include/linux/trace_events.h`); no field lies beyond.
pub const MAX_RECORD: u32 = 8192;
/// Fields read from one file at most.
pub const MAX_FIELDS: usize = 256;

/// Why a `format` file is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// No `ID:` line with a number.
    #[error("it has no line `ID: number`")]
    NoId,
    /// A `field:` line that does not follow the pattern.
    #[error("line {line} is not `field:…; offset:…; size:…; signed:…;` within a record of 8192 bytes")]
    BadField {
        /// Line number, from 1.
        line: usize,
    },
    /// More fields than any tracepoint has.
    #[error("it has more than 256 fields")]
    TooManyFields,
    /// A field the program cannot do without.
    #[error("it has no field `{field}`")]
    NoField {
        /// Its name.
        field: &'static str,
    },
    /// The field is there but of another type than the program reads.
    #[error("its field `{field}` is of another type than known ({found})")]
    OtherType {
        /// Its name.
        field: &'static str,
        /// What it is.
        found: String,
    },
}

/// How a field lies in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number.
    Plain,
    /// An array in place: `char comm[16]`.
    Array,
    /// A word that says where the data lies: `__data_loc char[] comm`.
    DataLoc,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name.
    pub name: String,
    /// Bytes from the start of the record, below [`MAX_RECORD`].
    pub offset: u16,
    /// Bytes.
    pub size: u16,
    /// How it lies there.
    pub kind: Kind,
    /// Whether a number is signed.
    pub signed: bool,
}

/// One tracepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Number for `perf_event_open`.
    pub id: u32,
    /// Fields in the order of the file.
    pub fields: Vec<Field>,
}

impl Format {
    /// Reads a `format` file.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut id = None;
        let mut fields = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(number) = line.strip_prefix("ID:") {
                id = number.trim().parse().ok();
            } else if let Some(rest) = line.strip_prefix("field:") {
                if fields.len() == MAX_FIELDS {
                    return Err(FormatError::TooManyFields);
                }
                fields.push(parse_field(rest).ok_or(FormatError::BadField { line: at + 1 })?);
            }
        }
        Ok(Self { id: id.ok_or(FormatError::NoId)?, fields })
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }
}

impl Field {
    /// Kind and size in words, for error messages.
    pub fn describe(&self) -> String {
        let kind = match self.kind {
            Kind::Plain => "number",
            Kind::Array => "array",
            Kind::DataLoc => "reference",
        };
        format!("{kind} of {} bytes", self.size)
    }
}

fn parse_field(text: &str) -> Option<Field> {
    let mut parts = text.split(';').map(str::trim);
    let declaration = parts.next()?;
    let mut number = |key: &str| parts.next()?.strip_prefix(key)?.parse::<u32>().ok();
    let (offset, size) = (number("offset:")?, number("size:")?);
    // Kernels before 2.6.33 have no such part; nothing here runs on them.
    let signed = number("signed:")? != 0;
    if offset.checked_add(size)? > MAX_RECORD {
        return None;
    }
    let (name, kind) = parse_declaration(declaration)?;
    Some(Field { name: name.to_owned(), offset: offset as u16, size: size as u16, kind, signed })
}

fn parse_declaration(text: &str) -> Option<(&str, Kind)> {
    let (of, last) = text.rsplit_once(char::is_whitespace)?;
    let (name, array) = match last.split_once('[') {
        Some((name, _)) => (name, true),
        None => (last.trim_start_matches('*'), false),
    };
    // `__rel_loc` counts from its own place; none of the fields in use has it, and its word read
    // as a number is refused by size or kind where it matters.
    let kind = match (of.starts_with("__data_loc "), array) {
        (true, _) => Kind::DataLoc,
        (false, true) => Kind::Array,
        (false, false) => Kind::Plain,
    };
    (!name.is_empty()).then_some((name, kind))
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
