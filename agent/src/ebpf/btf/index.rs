//! What one pass over the names and one over the types leave behind.

use std::collections::{BTreeSet, HashMap};

use super::window::Window;
use super::{BtfError, Kind, Source, Type};

/// `BTF_MAGIC`, `include/uapi/linux/btf.h`.
const MAGIC: u16 = 0xeb9f;
/// Types between two places that are remembered.
const STRIDE: u32 = 64;
/// Types read at most; kernels of distributions have 100,000 to 200,000.
const MAX_TYPES: u32 = 4 << 20;
/// Types of one name remembered at most.
const MAX_NAMESAKES: usize = 16;
/// Longest name that is read as text, bytes.
const MAX_NAME: usize = 128;

/// A section of the file.
#[derive(Clone, Copy)]
struct Section {
    start: u64,
    end: u64,
}

/// Where names and types lie.
pub(super) struct Index {
    names: Section,
    types: Section,
    /// Wanted names by where they lie in the section of names.
    wanted: HashMap<u32, Box<str>>,
    structs: HashMap<Box<str>, Vec<u32>>,
    typedefs: HashMap<Box<str>, u32>,
    functions: HashMap<Box<str>, u32>,
    /// Where every 64th type begins.
    marks: Vec<u64>,
    count: u32,
}

impl Index {
    pub(super) fn build<S: Source>(
        window: &mut Window<S>,
        wanted: &BTreeSet<&str>,
    ) -> Result<Self, BtfError> {
        let (types, names) = sections(window)?;
        let mut index = Self {
            names,
            types,
            wanted: HashMap::new(),
            structs: HashMap::new(),
            typedefs: HashMap::new(),
            functions: HashMap::new(),
            marks: Vec::new(),
            count: 0,
        };
        index.pass_names(window, wanted)?;
        index.pass_types(window)?;
        Ok(index)
    }

    /// Structs and unions of this name.
    pub(super) fn structs(&self, name: &str) -> &[u32] {
        self.structs.get(name).map_or(&[], |ids| ids)
    }

    /// The type defined by this name.
    pub(super) fn typedef(&self, name: &str) -> Option<u32> {
        self.typedefs.get(name).copied()
    }

    /// The function of this name.
    pub(super) fn function(&self, name: &str) -> Option<u32> {
        self.functions.get(name).copied()
    }

    /// Whether the name that lies there is this one, which must be a wanted one.
    pub(super) fn is(&self, place: u32, name: &str) -> bool {
        self.wanted.get(&place).is_some_and(|known| **known == *name)
    }

    /// The name that lies there.
    pub(super) fn text<S: Source>(&self, window: &mut Window<S>, place: u32) -> Result<String, BtfError> {
        let at = self.names.start + u64::from(place);
        let room = self.names.end.saturating_sub(at).min(MAX_NAME as u64) as usize;
        let bytes = window.bytes(at, room)?;
        let length = bytes.iter().position(|&b| b == 0).unwrap_or(room);
        Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    /// The type of this number, from 1.
    pub(super) fn type_of<S: Source>(&self, window: &mut Window<S>, id: u32) -> Result<Type, BtfError> {
        let nth = id - 1;
        let mark = self.marks.get((nth / STRIDE) as usize).filter(|_| nth < self.count);
        let mut at = *mark.ok_or(BtfError::Endless)?;
        for before in id - nth % STRIDE..id {
            let of = read_type(window, at, before)?;
            at = of.rest + of.rest_len;
        }
        read_type(window, at, id)
    }

    fn pass_names<S: Source>(
        &mut self,
        window: &mut Window<S>,
        wanted: &BTreeSet<&str>,
    ) -> Result<(), BtfError> {
        let Section { start, end } = self.names;
        let mut at = start;
        while at < end {
            let (mut piece, mut done) = (limit(window.piece(at)?, end - at), 0);
            while let Some(length) = piece.iter().position(|&b| b == 0) {
                let name = str::from_utf8(&piece[..length]).ok().filter(|name| wanted.contains(name));
                if let Some(name) = name {
                    self.wanted.insert((at + done - start) as u32, name.into());
                }
                piece = &piece[length + 1..];
                done += length as u64 + 1;
            }
            if done == 0 {
                // No end in sight: either the window began late, or this is no name.
                window.fetch(at)?;
                if !limit(window.piece(at)?, end - at).contains(&0) {
                    return Err(BtfError::Cut { at });
                }
            }
            at += done;
        }
        Ok(())
    }

    fn pass_types<S: Source>(&mut self, window: &mut Window<S>) -> Result<(), BtfError> {
        let mut at = self.types.start;
        while at < self.types.end {
            if self.count == MAX_TYPES {
                return Err(BtfError::Endless);
            }
            if self.count.is_multiple_of(STRIDE) {
                self.marks.push(at);
            }
            self.count += 1;
            let of = read_type(window, at, self.count)?;
            self.note(&of);
            at = of.rest + of.rest_len;
        }
        if at == self.types.end { Ok(()) } else { Err(BtfError::Cut { at }) }
    }

    fn note(&mut self, of: &Type) {
        let Some(name) = self.wanted.get(&of.name) else { return };
        match of.kind {
            Kind::Struct | Kind::Union => {
                let ids = self.structs.entry(name.clone()).or_default();
                if ids.len() < MAX_NAMESAKES {
                    ids.push(self.count);
                }
            }
            Kind::Typedef => {
                self.typedefs.entry(name.clone()).or_insert(self.count);
            }
            Kind::Func => {
                self.functions.entry(name.clone()).or_insert(self.count);
            }
            _ => {}
        }
    }
}

fn limit(bytes: &[u8], length: u64) -> &[u8] {
    &bytes[..bytes.len().min(usize::try_from(length).unwrap_or(usize::MAX))]
}

/// Types and names, from the header (`struct btf_header`).
fn sections<S: Source>(window: &mut Window<S>) -> Result<(Section, Section), BtfError> {
    let [start, header, type_off, type_len, str_off, str_len] = window.words(0)?;
    // Magic, version and flags share the first word.
    if start.to_ne_bytes()[..2] != MAGIC.to_ne_bytes() || header < 24 {
        return Err(BtfError::NoBtf);
    }
    let section = |offset: u32, length: u32| {
        let start = u64::from(header) + u64::from(offset);
        Section { start, end: start + u64::from(length) }
    };
    Ok((section(type_off, type_len), section(str_off, str_len)))
}

fn read_type<S: Source>(window: &mut Window<S>, at: u64, id: u32) -> Result<Type, BtfError> {
    let [name, info, target] = window.words(at)?;
    let (vlen, number, flag) = (info & 0xffff, (info >> 24 & 0x1f) as u8, info >> 31 != 0);
    // `btf_kind` and what follows each of them, in the order of `include/uapi/linux/btf.h`.
    let (kind, rest_len) = match number {
        1 => (Kind::Int, 4),
        2 => (Kind::Ptr, 0),
        3 => (Kind::Array, 12),
        4 => (Kind::Struct, vlen * 12),
        5 => (Kind::Union, vlen * 12),
        6 => (Kind::Enum, vlen * 8),
        7 => (Kind::Other, 0),
        8 => (Kind::Typedef, 0),
        9..=11 | 18 => (Kind::Qualifier, 0),
        12 => (Kind::Func, 0),
        13 => (Kind::FuncProto, vlen * 8),
        14 | 17 => (Kind::Other, 4),
        15 => (Kind::Other, vlen * 12),
        16 => (Kind::Float, 0),
        19 => (Kind::Enum64, vlen * 12),
        kind => return Err(BtfError::UnknownKind { id, kind }),
    };
    let rest = at + 12;
    Ok(Type { name, kind, vlen, flag, target, rest, rest_len: rest_len.into() })
}
