//! A round as a file: checked as a whole, so that a torn one is seen. Pure.
//!
//! `SYSOPS-SPOOL 1 CRC\n`, then each message: length of the id, whether it is compressed, length of the body (little
//! endian), id, body. The CRC-32 covers all that follows the line.

use crate::publish::message::Message;

const HEAD: &str = "SYSOPS-SPOOL 1 ";
/// Bytes of the first line.
const HEAD_LEN: usize = HEAD.len() + 9;
/// Bytes before the id of a message.
const FRAME: usize = 7;
/// Largest file, bytes.
pub const MAX_FILE: usize = 16 << 20;

/// The content of a file; none for what does not fit in one.
pub fn encode(messages: &[Message]) -> Option<Vec<u8>> {
    let mut rest = Vec::new();
    for Message { id, zstd, body } in messages {
        rest.extend(u16::try_from(id.len()).ok()?.to_le_bytes());
        rest.push(u8::from(*zstd));
        rest.extend(u32::try_from(body.len()).ok()?.to_le_bytes());
        rest.extend(id.as_bytes());
        rest.extend(body);
    }
    let file = seal(&rest);
    (file.len() <= MAX_FILE).then_some(file)
}

/// The line that goes before `rest`, and `rest`.
pub fn seal(rest: &[u8]) -> Vec<u8> {
    let head = format!("{HEAD}{:08x}\n", crc32fast::hash(rest));
    [head.as_bytes(), rest].concat()
}

/// The way back; none for what is torn, damaged, empty or no such file.
pub fn decode(file: &[u8]) -> Option<Vec<Message>> {
    let (head, mut rest) = file.split_at_checked(HEAD_LEN)?;
    if head != format!("{HEAD}{:08x}\n", crc32fast::hash(rest)).as_bytes() {
        return None;
    }
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let (frame, behind) = rest.split_at_checked(FRAME)?;
        let id_len = usize::from(u16::from_le_bytes([frame[0], frame[1]]));
        let body_len = u32::from_le_bytes([frame[3], frame[4], frame[5], frame[6]]) as usize;
        let (id, behind) = behind.split_at_checked(id_len)?;
        let (body, behind) = behind.split_at_checked(body_len)?;
        let id = str::from_utf8(id).ok()?.to_owned();
        let zstd = match frame[2] {
            0 => false,
            1 => true,
            _ => return None,
        };
        messages.push(Message { id, zstd, body: body.to_vec() });
        rest = behind;
    }
    (!messages.is_empty()).then_some(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, zstd: bool, body: &[u8]) -> Message {
        Message { id: id.into(), zstd, body: body.to_vec() }
    }

    #[test]
    fn what_is_written_is_read() {
        let check = |messages: &[Message]| {
            let file = encode(messages).unwrap();
            assert_eq!(decode(&file).as_deref(), Some(messages));
        };
        check(&[message("a", true, b"body")]);
        check(&[message("", false, b""), message("é\n", true, &vec![0; 70_000]), message("c", false, b"{}")]);
        assert_eq!(decode(&encode(&[]).unwrap()), None, "an empty round is none");
        assert_eq!(encode(&[message("a", false, &vec![0; MAX_FILE])]), None);
        assert_eq!(encode(&[message(&"a".repeat(70_000), false, b"")]), None);
    }

    #[test]
    fn whatever_is_torn_or_changed_is_seen() {
        let file = encode(&[message("a", true, b"body"), message("b", false, b"other")]).unwrap();
        for cut in 0..file.len() {
            assert_eq!(decode(&file[..cut]), None, "cut at {cut}");
        }
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert_eq!(decode(&changed), None, "changed at {at}");
        }
        assert_eq!(decode(&[&file[..], b"x"].concat()), None);
        assert_eq!(decode(&vec![0; file.len()]), None);
    }

    #[test]
    fn lengths_that_lie_do_no_harm() {
        for frame in
            [[0xff; FRAME], [0, 0, 2, 0, 0, 0, 0], [0, 0, 0, 0xff, 0xff, 0xff, 0xff], [9, 0, 0, 0, 0, 0, 0]]
        {
            assert_eq!(decode(&seal(&frame)), None);
        }
    }
}
