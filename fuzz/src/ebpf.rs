//! What eBPF programs write, and the `format` files that tell them where to read.

use agent_common::Header;
use sysops_agent::ebpf::decode::{DecodeError, decode};
use sysops_agent::ebpf::format::{Format, MAX_FIELDS, MAX_RECORD};
use sysops_agent::ebpf::probes::PROBES;

use super::pipe::{NOW, tell};

/// Longest name in a record: 16 bytes, of which each may become U+FFFD.
const MAX_NAME: usize = 3 * agent_common::COMM_LEN;

/// Records one after the other, each behind its length in 16 bits; the last may be cut short.
pub(crate) fn record(mut data: &[u8]) {
    let mut events = Vec::new();
    while let Some((length, rest)) = data.split_at_checked(2).filter(|_| events.len() < 256) {
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        let (bytes, rest) = rest.split_at(length.min(rest.len()));
        data = rest;
        let decoded = decode(bytes, NOW, 500.0, &mut |dev| (dev % 2 == 0).then(|| "sda\n".to_owned()));
        match (decoded, header(bytes)) {
            (Ok(event), Some(header)) => {
                assert!(header.size as usize <= bytes.len(), "{header:?}");
                assert_eq!(event.at.mono_ns, header.at_ns);
                // The padding that a perf buffer adds changes nothing.
                let padded = [bytes, &[0xaa; 7]].concat();
                let again =
                    decode(&padded, NOW, 500.0, &mut |dev| (dev % 2 == 0).then(|| "sda\n".to_owned()));
                assert_eq!(again.as_ref(), Ok(&event));
                assert!(!format!("{event:?}").contains("\\0"), "{event:?}");
                assert!(names(&event).all(|name| name.len() <= MAX_NAME), "{event:?}");
                events.push(event);
            }
            (Ok(event), None) => panic!("{event:?} of {bytes:?}"),
            (Err(DecodeError::Short(n)), _) => assert_eq!(n, bytes.len()),
            (Err(DecodeError::UnknownKind(kind) | DecodeError::WrongSize { kind, .. }), header) => {
                assert_eq!(Some(kind), header.map(|h| h.kind));
            }
            #[allow(unreachable_patterns, clippy::allow_attributes, reason = "kinds of errors to come")]
            (Err(other), _) => assert!(!other.to_string().is_empty()),
        }
    }
    tell(events);
}

fn header(bytes: &[u8]) -> Option<Header> {
    bytes.get(..size_of::<Header>()).map(bytemuck::pod_read_unaligned)
}

fn names(event: &sysops_agent::event::Event) -> impl Iterator<Item = &String> {
    use sysops_agent::event::What;
    let names = match &event.what {
        What::Oom(oom) => [oom.victim.comm.as_ref(), oom.trigger.comm.as_ref()],
        What::Hang(hang) => [hang.task.comm.as_ref(), None],
        What::SlowIo(io) => [io.issuer.comm.as_ref(), None],
        _ => [None, None],
    };
    names.into_iter().flatten()
}

/// A `format` file: whatever it says, no program is told to read outside its record.
pub(crate) fn format(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let format = match Format::parse(&text) {
        Ok(format) => format,
        Err(why) => return super::pipe::harmless("the reason", &why.to_string(), 256),
    };
    assert!(format.fields.len() <= MAX_FIELDS);
    for field in &format.fields {
        assert!(u32::from(field.offset) + u32::from(field.size) <= MAX_RECORD, "{field:?}");
        assert!(format.field(&field.name).is_some(), "{field:?}");
    }
    for hook in PROBES.iter().flat_map(|probe| probe.hooks) {
        match hook.constants(&format) {
            Ok(constants) => {
                for constant in constants.iter().filter(|c| c.bytes.len() == 2) {
                    let offset = u16::from_ne_bytes([constant.bytes[0], constant.bytes[1]]);
                    assert!(u32::from(offset) < MAX_RECORD, "{constant:?}");
                }
            }
            Err(why) => super::pipe::harmless("the reason", &why.to_string(), 256),
        }
    }
}
