//! What is passed to tracepoints and functions.

use super::{Btf, BtfError, Kind, MAX_ARGUMENTS, Signature, Source, Type};

impl<S: Source> Btf<S> {
    /// The arguments of a tracepoint, the first one (`void *`, the registration's) left out.
    pub fn tracepoint(&mut self, name: &str) -> Result<Signature, BtfError> {
        self.steps = 0;
        let typedef = format!("btf_trace_{name}");
        let no_type = || BtfError::NoType(typedef.clone());
        let id = self.index.typedef(&typedef).ok_or_else(no_type)?;
        let pointer = self.strip(id)?;
        let function = if pointer.kind == Kind::Ptr { self.strip(pointer.target)? } else { pointer };
        let arguments = self.arguments(function, 1)?.ok_or_else(no_type)?;
        Ok(Signature { id, arguments })
    }

    /// A function and its arguments.
    pub fn function(&mut self, name: &str) -> Result<Signature, BtfError> {
        self.steps = 0;
        let no_type = || BtfError::NoType(name.to_owned());
        let id = self.index.function(name).ok_or_else(no_type)?;
        let of = self.type_of(id)?;
        let prototype = self.strip(of.target)?;
        let arguments = self.arguments(prototype, 0)?.ok_or_else(no_type)?;
        Ok(Signature { id, arguments })
    }

    /// Types of a function's arguments from this one on; `None`: it is no function, or has too many.
    fn arguments(&mut self, function: Type, from: u32) -> Result<Option<Vec<String>>, BtfError> {
        if function.kind != Kind::FuncProto || function.vlen > MAX_ARGUMENTS {
            return Ok(None);
        }
        let mut arguments = Vec::new();
        for nth in from..function.vlen {
            let [_, kind] = self.window.words(function.rest + u64::from(nth) * 8)?;
            arguments.push(self.describe(kind)?);
        }
        Ok(Some(arguments))
    }
}
