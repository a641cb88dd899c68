//! What an answer of a mail server means for what was to be told. Pure.

/// Whose fault a final answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Of this mail: no repetition changes anything.
    Mail,
    /// Of a mailbox that is full, of a server that wants a second try: it passes by itself.
    Later,
    /// Of an address, a right: no mail gets through until somebody sees to it, and then all do.
    Way,
}

/// What servers say that do not like the content.
const CONTENT: &[&str] = &["spam", "virus", "malware", "content", "blacklisted url", "attachment"];
/// What servers say of a mailbox that is full, and those that make who is unknown wait.
const LATER: &[&str] = &[
    "mailbox full",
    "mailbox is full",
    "quota",
    "storage allocation",
    "greylist",
    "graylist",
    "grey-list",
    "try again later",
];
/// What servers say of a mail, not a mailbox, that is too big.
const SIZE: &[&str] = &["too large", "too big", "message size", "size limit", "exceeds"];

/// Answers about an address, a mailbox, the login or TLS.
const WAY: [u16; 8] = [530, 534, 535, 538, 550, 551, 553, 554];

/// Judges a final answer by its enhanced code (RFC 3463, 3), else by its words and its code (RFC 5321, 4.2.3).
pub(super) fn fault(code: u16, said: &str) -> Fault {
    let lower = said.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    match (enhanced(&lower), code) {
        // Too long for this mailbox or for this server; something in the content.
        (Some((2, 3) | (3, 4) | (6, _)), _) => Fault::Mail,
        // The mailbox, or the disk of the server, is full.
        (Some((2, 2) | (3, 1)), _) => Fault::Later,
        (_, 550..=554) if says(LATER) => Fault::Later,
        // An address, a mailbox, the server itself, the way to it.
        (Some((1..=4, _)), _) => Fault::Way,
        // Policy: of relays and senders as well as of what one may write.
        (_, 550 | 551 | 553 | 554) if says(CONTENT) => Fault::Mail,
        (_, 552) if says(SIZE) => Fault::Mail,
        (_, 552) => Fault::Later,
        // Besides those the login, and TLS (RFC 4954, 6).
        (_, code) if WAY.contains(&code) => Fault::Way,
        _ => Fault::Mail,
    }
}

/// Subject and detail of `5.2.2 mailbox full`.
fn enhanced(said: &str) -> Option<(u16, u16)> {
    let mut parts = said.split_whitespace().next()?.split('.');
    let [class, subject, detail] = [parts.next()?, parts.next()?, parts.next()?];
    (class == "5" && parts.next().is_none()).then_some((subject.parse().ok()?, detail.parse().ok()?))
}

/// What a final answer of the server means: RFC 5321, 4.2.3, and RFC 4954, 6.
pub(super) fn meaning(code: u16) -> &'static str {
    match code {
        530 => " (it wants a login, or TLS first; check username and smtp_tls)",
        534 | 535 | 538 => " (the login was refused; check username and password)",
        550 | 551 | 553 => " (it refuses the sender or a recipient; check from and to)",
        552 | 523 => " (the mail is too large, or the mailbox is full)",
        554 => " (it takes no mail from this host; ask its administrator)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_can_mend_is_no_fault_of_the_mail() {
        for (code, said, expect) in [
            (550, "5.1.1 no such user", Fault::Way),
            (550, "No such user here", Fault::Way),
            (552, "5.2.2 mailbox full", Fault::Later),
            (550, "5.2.2 over quota", Fault::Later),
            (552, "Requested mail action aborted: exceeded storage allocation", Fault::Later),
            (552, "", Fault::Later),
            (554, "5.3.1 mail system full", Fault::Later),
            (550, "5.7.1 Greylisted, please try again later", Fault::Later),
            (550, "5.2.1 mailbox disabled", Fault::Way),
            (552, "5.2.3 message length exceeds the quota of this mailbox", Fault::Mail),
            (552, "5.3.4 Message size exceeds fixed limit", Fault::Mail),
            (552, "message too big", Fault::Mail),
            (554, "5.7.1 <ops@example.com>: Relay access denied", Fault::Way),
            (554, "5.7.1 Message contains spam or malicious content", Fault::Mail),
            (550, "5.7.26 unauthenticated mail is not accepted: SPF did not pass", Fault::Way),
            (554, "5.6.0 message content rejected", Fault::Mail),
            (535, "5.7.8 authentication failed", Fault::Way),
            (501, "5.5.4 syntax", Fault::Mail),
            (550, "", Fault::Way),
            (554, "5.x.y", Fault::Way),
        ] {
            assert_eq!(fault(code, said), expect, "{code} {said}");
        }
    }
}
