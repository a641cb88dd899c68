//! `JetStream`'s answer to a message: it is stored, or why it is not. Pure.

use super::super::channel::SendError;
use crate::text::clean;
use serde::Deserialize;

/// `JSStreamMessageExceedsMaximumErr` of the server: more than the stream's `max_msg_size`.
const TOO_LARGE: u32 = 10054;
/// Characters of a reason.
const MAX_WHY: usize = 200;

#[derive(Deserialize)]
struct Answer {
    stream: Option<String>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

/// Judges the answer to a message for `subject`.
pub(super) fn judge(subject: &str, answer: &[u8]) -> Result<(), SendError> {
    match serde_json::from_slice(answer) {
        Ok(Answer { error: Some(Refusal { code, err_code, description }), .. }) => {
            let description = clean(&description, MAX_WHY);
            let why = format!("JetStream did not store a message for {subject}: {description} ({code})");
            // No later try is smaller.
            Err(if err_code == TOO_LARGE { SendError::refused(why) } else { SendError::retry(why) })
        }
        Ok(Answer { stream: Some(_), error: None }) => Ok(()),
        Ok(Answer { stream: None, error: None }) | Err(_) => Err(SendError::retry(format!(
            "who answers to {subject} is not JetStream: {}",
            clean(&String::from_utf8_lossy(answer), MAX_WHY)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stream_has_stored_it() {
        let check = |answer: &str, expect: &str| {
            let said =
                judge("s.h.alerts", answer.as_bytes()).err().map_or(String::new(), |e| e.why().to_owned());
            assert!(
                if expect.is_empty() { said.is_empty() } else { said.contains(expect) },
                "{answer}: {said}"
            );
        };
        check(r#"{"stream":"SYSOPS","seq":7}"#, "");
        check(r#"{"stream":"SYSOPS","domain":"x","seq":7,"duplicate":true}"#, "");
        check(
            r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"S","seq":0}"#,
            "maximum bytes exceeded (503)",
        );
        check(r#"{"error":{}}"#, "did not store");
        check("{}", "not JetStream");
        check("+OK\u{1b}[2J", "not JetStream: +OK");
        check("", "not JetStream");
    }
}
