//! The kernel's own description of its types (BTF): where a struct's members lie, and which arguments a
//! tracepoint has. Pure over [`Source`].
//!
//! `/sys/kernel/btf/vmlinux` has 3 to 6 MB and some 100,000 types, of which a few dozen matter here. So it is
//! read through one small window: once over the names, to learn where the wanted ones lie, once over
//! the types, to learn where every 64th begins, and then type by type. Nothing of it is kept.
//!
//! The format is that of `Documentation/bpf/btf.rst`. What is read is checked as if it were hostile.

mod index;
mod signature;
mod window;

use std::io;

use self::index::Index;
use self::window::Window;
use crate::host::HostFile;

/// Where the bytes come from.
pub trait Source {
    /// Reads from `offset` on; 0 at the end.
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
}

impl Source for &[u8] {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

impl Source for Box<dyn HostFile> {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        HostFile::read_at(&mut **self, offset, buf)
    }
}

/// Why BTF is of no use, as the end of a sentence about the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The system refused.
    #[error("it cannot be read: {0}")]
    Read(String),
    /// Not BTF, or of the other byte order.
    #[error("it does not begin as BTF of this machine")]
    NoBtf,
    /// It ends too early, or its header points beyond its end.
    #[error("it is cut or damaged at byte {at}")]
    Cut {
        /// Offset in the file.
        at: u64,
    },
    /// A kind of type that came after this agent; what follows it cannot be found.
    #[error("its type {id} is of kind {kind}, which this agent does not know")]
    UnknownKind {
        /// Number of the type.
        id: u32,
        /// Its kind.
        kind: u8,
    },
    /// Types that lead in circles, or more of them than any kernel has.
    #[error("its types lead nowhere")]
    Endless,
    /// The kernel has no such type.
    #[error("it has no type `{0}`")]
    NoType(String),
    /// The type has no such member.
    #[error("it has no `{0}`")]
    NoMember(String),
    /// The member is there but of another type than the program reads.
    #[error("its `{path}` is of another type than known ({found})")]
    OtherType {
        /// Which.
        path: String,
        /// What it is.
        found: String,
    },
}

impl From<io::Error> for BtfError {
    fn from(error: io::Error) -> Self {
        Self::Read(error.to_string())
    }
}

/// What lies at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An integer, an enumeration or a pointer of so many bytes.
    Number(u64),
    /// An array of so many bytes.
    Array(u64),
    /// A struct or union of so many bytes.
    Struct(u64),
    /// Some bits of a byte or word.
    Bits,
    /// Nothing that can be read.
    Other,
}

/// Where a member lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the start of the struct.
    pub offset: u64,
    /// What is there.
    pub shape: Shape,
}

/// Arguments of a tracepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Number of the type `btf_trace_NAME`, by which a program is attached.
    pub id: u32,
    /// Their types: `int`, `uid_t`, `*task_struct`.
    pub arguments: Vec<String>,
}

/// Arguments of one tracepoint at most; the kernel's own limit is 12 (`MAX_BPF_FUNC_ARGS`).
const MAX_ARGUMENTS: u32 = 16;
/// Types between a name and what it stands for at most: `const volatile __rcu foo_t *` …
const MAX_CHAIN: u32 = 32;
/// Anonymous structs within each other at most.
const MAX_NESTING: u32 = 8;
/// Types and members looked at on behalf of one question at most; the largest kernel struct has some 300.
const MAX_STEPS: u32 = 20_000;

/// The types of a kernel.
pub struct Btf<S> {
    window: Window<S>,
    index: Index,
    steps: u32,
}

impl<S: Source> Btf<S> {
    /// Looks the file over. Only types and members of these names can be asked for later; a path
    /// (`request.q`, `mm_struct.rss_stat[1].count`) counts as the names in it.
    pub fn parse<'n>(source: S, names: impl IntoIterator<Item = &'n str>) -> Result<Self, BtfError> {
        let mut window = Window::new(source);
        let wanted = names.into_iter().flat_map(words).filter(|name| !name.is_empty()).collect();
        let index = Index::build(&mut window, &wanted)?;
        window.narrow();
        Ok(Self { window, index, steps: 0 })
    }

    /// Where a path leads: a struct, and members of members of it, with places in arrays.
    pub fn place(&mut self, path: &str) -> Result<Place, BtfError> {
        self.steps = 0;
        let no_member = || BtfError::NoMember(path.to_owned());
        let mut parts = path.split('.');
        let root = parts.next().unwrap_or_default();
        let roots = self.index.structs(root).to_vec();
        let path: Vec<Part<'_>> = parts.map(Part::parse).collect::<Option<_>>().ok_or_else(no_member)?;
        let mut result = Err(BtfError::NoType(root.to_owned()));
        // One name may stand for several types, in parts of the kernel that do not know each other.
        for id in roots {
            result = self.follow(id, &path).and_then(|place| place.ok_or_else(no_member));
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// `None`: there is no such member.
    fn follow(&mut self, root: u32, path: &[Part<'_>]) -> Result<Option<Place>, BtfError> {
        let (mut id, mut bits, mut bitfield) = (root, 0u64, false);
        for part in path {
            let Some(found) = self.member(id, part.name, 0)? else { return Ok(None) };
            (id, bitfield) = (found.id, found.bitfield);
            bits = bits.checked_add(found.bits).ok_or(BtfError::Endless)?;
            for &nth in &part.places {
                let array = self.strip(id)?;
                if array.kind != Kind::Array {
                    return Ok(None);
                }
                let [element, _, count] = self.window.words(array.rest)?;
                if nth >= count {
                    return Ok(None);
                }
                let before = self.size(element)?.and_then(|size| size.checked_mul(u64::from(nth) * 8));
                bits = before.and_then(|before| bits.checked_add(before)).ok_or(BtfError::Endless)?;
                id = element;
            }
        }
        let shape = if bitfield || !bits.is_multiple_of(8) { Shape::Bits } else { self.shape(id)? };
        Ok(Some(Place { offset: bits / 8, shape }))
    }

    /// Finds a member, also in the anonymous structs and unions within.
    fn member(&mut self, id: u32, name: &str, depth: u32) -> Result<Option<Member>, BtfError> {
        let of = self.strip(id)?;
        if !matches!(of.kind, Kind::Struct | Kind::Union) || depth > MAX_NESTING {
            return Ok(None);
        }
        for nth in 0..of.vlen {
            self.step()?;
            let [word, id, place] = self.window.words(of.rest + u64::from(nth) * 12)?;
            let (bits, width) = if of.flag { (place & 0xff_ffff, place >> 24) } else { (place, 0) };
            if self.index.is(word, name) {
                return Ok(Some(Member { id, bits: u64::from(bits), bitfield: width != 0 }));
            }
            if word == 0
                && let Some(inner) = self.member(id, name, depth + 1)?
            {
                return Ok(Some(Member { bits: inner.bits + u64::from(bits), ..inner }));
            }
        }
        Ok(None)
    }

    fn shape(&mut self, id: u32) -> Result<Shape, BtfError> {
        let of = self.strip(id)?;
        Ok(match of.kind {
            Kind::Int => {
                // Offset and width in bits, where compilers before `kind_flag` put bitfields.
                let [encoding] = self.window.words(of.rest)?;
                let whole = (encoding >> 16).trailing_zeros() >= 8
                    && u64::from(encoding & 0xff) == u64::from(of.target) * 8;
                if whole { Shape::Number(of.target.into()) } else { Shape::Bits }
            }
            Kind::Enum | Kind::Enum64 => Shape::Number(of.target.into()),
            Kind::Ptr => Shape::Number(POINTER),
            Kind::Array => self.size(id)?.map_or(Shape::Other, Shape::Array),
            Kind::Struct | Kind::Union => Shape::Struct(of.target.into()),
            _ => Shape::Other,
        })
    }

    /// Bytes of a value of this type, if it has a size.
    fn size(&mut self, id: u32) -> Result<Option<u64>, BtfError> {
        let (mut id, mut count) = (id, 1u64);
        for _ in 0..MAX_CHAIN {
            let of = self.strip(id)?;
            let one = match of.kind {
                Kind::Array => {
                    let [element, _, length] = self.window.words(of.rest)?;
                    count = count.checked_mul(length.into()).ok_or(BtfError::Endless)?;
                    id = element;
                    continue;
                }
                Kind::Int | Kind::Enum | Kind::Enum64 | Kind::Struct | Kind::Union | Kind::Float => {
                    u64::from(of.target)
                }
                Kind::Ptr => POINTER,
                _ => return Ok(None),
            };
            return count.checked_mul(one).map(Some).ok_or(BtfError::Endless);
        }
        Err(BtfError::Endless)
    }

    /// The type behind typedefs and qualifiers.
    fn strip(&mut self, mut id: u32) -> Result<Type, BtfError> {
        for _ in 0..MAX_CHAIN {
            let of = self.type_of(id)?;
            match of.kind {
                Kind::Qualifier | Kind::Typedef => id = of.target,
                _ => return Ok(of),
            }
        }
        Err(BtfError::Endless)
    }

    /// A type in words: its name, with `*` before it for a pointer.
    fn describe(&mut self, mut id: u32) -> Result<String, BtfError> {
        let mut stars = String::new();
        for _ in 0..MAX_CHAIN {
            let of = self.type_of(id)?;
            match of.kind {
                Kind::Qualifier => id = of.target,
                Kind::Ptr => {
                    stars.push('*');
                    id = of.target;
                }
                Kind::Void => return Ok(stars + "void"),
                _ => return Ok(stars + &self.index.text(&mut self.window, of.name)?),
            }
        }
        Err(BtfError::Endless)
    }

    fn type_of(&mut self, id: u32) -> Result<Type, BtfError> {
        self.step()?;
        if id == 0 { Ok(Type::VOID) } else { self.index.type_of(&mut self.window, id) }
    }

    fn step(&mut self) -> Result<(), BtfError> {
        self.steps += 1;
        if self.steps > MAX_STEPS { Err(BtfError::Endless) } else { Ok(()) }
    }
}

/// Bytes of a pointer: the kernels the programs run on have 64 bits.
const POINTER: u64 = 8;

/// The names in a path.
fn words(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').map(|part| part.split('[').next().unwrap_or_default())
}

/// One step of a path: `rss_stat[1]`.
struct Part<'p> {
    name: &'p str,
    places: Vec<u32>,
}

impl<'p> Part<'p> {
    fn parse(text: &'p str) -> Option<Self> {
        let mut pieces = text.split('[');
        let name = pieces.next()?;
        let places = pieces.map(|p| p.strip_suffix(']')?.parse().ok()).collect::<Option<_>>()?;
        Some(Self { name, places })
    }
}

/// A member as the struct describes it.
struct Member {
    id: u32,
    bits: u64,
    bitfield: bool,
}

/// What a type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Void,
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Enum64,
    Typedef,
    /// `const`, `volatile`, `restrict`, and the tags that mean as little here.
    Qualifier,
    Func,
    FuncProto,
    Float,
    /// Forward declarations, variables.
    Other,
}

/// One type.
#[derive(Clone, Copy, Debug)]
struct Type {
    /// Where its name lies.
    name: u32,
    kind: Kind,
    /// Members or parameters.
    vlen: u32,
    /// `kind_flag`: member offsets hold the width of bitfields.
    flag: bool,
    /// Its size, or the type it stands for or points to.
    target: u32,
    /// Where in the file its members or parameters lie.
    rest: u64,
    /// Bytes they take.
    rest_len: u64,
}

impl Type {
    const VOID: Self =
        Self { name: 0, kind: Kind::Void, vlen: 0, flag: false, target: 0, rest: 0, rest_len: 0 };
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
