//! From what a kernel says about a tracepoint to the constants of the programs.

use super::{Constant, FieldUse, Hook, MemberUse, Mode, Probe, Shape, lacking};
use crate::ebpf::btf::{self, Btf, BtfError, Source};
use crate::ebpf::format::{Field, Format, FormatError, Kind};

impl Hook {
    /// The constants that make the program read this kernel's records. A field that the program
    /// can do without and that is absent, or of a type not known, stays absent.
    pub fn constants(&self, format: &Format) -> Result<Vec<Constant>, FormatError> {
        let mut constants = Vec::new();
        for wanted in self.fields {
            match format.field(wanted.field) {
                Some(field) if wanted.shape.fits(field) => wanted.fill(field, &mut constants),
                _ if !wanted.required => {}
                Some(field) => {
                    return Err(FormatError::OtherType { field: wanted.field, found: field.describe() });
                }
                None => return Err(FormatError::NoField { field: wanted.field }),
            }
        }
        Ok(constants)
    }
}

impl FieldUse {
    fn fill(&self, field: &Field, constants: &mut Vec<Constant>) {
        constants.push(Constant::new(self.constant, field.offset.to_ne_bytes()));
        if let Shape::Name(by_reference) = self.shape {
            constants.push(Constant::new(by_reference, [u8::from(field.kind == Kind::DataLoc)]));
        }
    }
}

impl Shape {
    fn fits(self, field: &Field) -> bool {
        match self {
            Self::Number(size) => field.kind == Kind::Plain && field.size == size,
            Self::Low(least) => field.kind == Kind::Plain && field.size >= least,
            Self::Letters(least) => field.kind == Kind::Array && field.size >= least,
            Self::Text => field.kind == Kind::DataLoc && field.size == 4,
            Self::Name(_) => match field.kind {
                Kind::Array => field.size as usize == agent_common::COMM_LEN,
                Kind::DataLoc => field.size == 4,
                Kind::Plain => false,
            },
        }
    }
}

/// Why a probe cannot run in BTF mode, as the end of a sentence about the kernel's BTF.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfGap {
    /// The file is of no use, or lacks the tracepoint.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// Something that the programs cannot do without is missing or of another type.
    #[error("it does not tell the place of {0}")]
    Missing(&'static str),
}

impl BtfGap {
    /// Whether the kernel has no such tracepoint.
    pub fn is_no_tracepoint(&self) -> bool {
        matches!(self, Self::Btf(BtfError::NoType(name)) if name.starts_with("btf_trace_"))
    }
}

/// What the programs of a probe in BTF mode want to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BtfFacts {
    /// Programs and the types of their tracepoints or functions, without optional ones that this kernel does not have.
    pub tracepoints: Vec<(&'static str, u32)>,
    /// Where arguments and members lie.
    pub constants: Vec<Constant>,
}

impl Probe {
    /// Every name that [`Probe::facts`] will ask for.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let tracepoints = self.hooks.iter().map(|hook| {
            let before = if hook.is_function() { "" } else { "btf_trace_" };
            format!("{before}{}", hook.event)
        });
        let members = self.members.iter().flat_map(|m| m.paths).map(|&path| path.to_owned());
        tracepoints.chain(members)
    }

    /// Finds tracepoints, arguments and members of this kernel.
    pub fn facts<S: Source>(&self, btf: &mut Btf<S>) -> Result<BtfFacts, BtfGap> {
        let mut facts = BtfFacts::default();
        for hook in self.hooks {
            let program = hook.program(Mode::Btf);
            let found =
                if hook.is_function() { btf.function(hook.event) } else { btf.tracepoint(hook.event) };
            let signature = match found {
                Err(_) if lacking(program).is_some() => continue,
                signature => signature?,
            };
            facts.tracepoints.push((program, signature.id));
            for argument in hook.arguments {
                let mut places = signature.arguments.iter().enumerate().filter(|(_, of)| *of == argument.of);
                if let Some((place, _)) = places.nth(argument.nth) {
                    facts.constants.push(Constant::new(argument.constant, [place as u8 + 1]));
                }
            }
        }
        for member in self.members {
            if let Some(offset) = member.find(btf)? {
                facts.constants.push(Constant::new(member.constant, (offset + 1).to_ne_bytes()));
            }
        }
        self.check(facts)
    }

    fn check(&self, facts: BtfFacts) -> Result<BtfFacts, BtfGap> {
        let lacks = |set: &&[&'static str]| {
            set.iter().copied().find(|name| !facts.constants.iter().any(|constant| constant.name == *name))
        };
        let mut gaps = self.enough.iter().map(lacks);
        if self.enough.is_empty() || gaps.any(|gap| gap.is_none()) {
            return Ok(facts);
        }
        Err(BtfGap::Missing(self.enough.first().and_then(lacks).unwrap_or_default()))
    }
}

impl MemberUse {
    /// Offset by the first path that this kernel has; beyond 64 KiB no struct of interest reaches.
    pub(in crate::ebpf) fn find<S: Source>(&self, btf: &mut Btf<S>) -> Result<Option<u16>, BtfError> {
        for path in self.paths {
            match btf.place(path) {
                Ok(place) if self.shape.fits_member(place.shape) => {
                    return Ok(u16::try_from(place.offset).ok().filter(|&offset| offset < u16::MAX));
                }
                Ok(_) | Err(BtfError::NoType(_) | BtfError::NoMember(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

impl Shape {
    fn fits_member(self, found: btf::Shape) -> bool {
        match (self, found) {
            (Self::Number(size), btf::Shape::Number(found)) => found == u64::from(size),
            (Self::Low(least), btf::Shape::Number(found))
            | (Self::Letters(least), btf::Shape::Array(found)) => found >= u64::from(least),
            _ => false,
        }
    }
}
