//! No message and no `Debug` output holds a secret, however the file is damaged.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::{good, load};

const SECRETS: &str = r#"[alerting.webhook]
enabled = true
url = "https://s3cret@example.com/s3cret"
headers = { Authorization = "Bearer s3cret", X-Key = "s3cret" }
timeout_secs = 5
[alerting.discord]
webhook_url = "https://discord.com/api/webhooks/s3cret" # s3cret
[alerting.telegram]
bot_token = '''123:s3cret'''
[alerting.email]
password = "s3cret"
[nats]
urls = [
    "nats://user:s3cret@n1:4222",
    "nats://user:s3cret@n2:4222",
]
token = "s3cret"
[push]
auth_key = "s3cret"
metrics_url = "https://example.com/?key=s3cret"
[collector.redis]
password = "${TOKEN}"
"#;

#[test]
fn debug_output_is_redacted() {
    let shown = format!("{:?}", good(SECRETS));
    assert!(!shown.contains("s3cret"), "{shown}");
}

/// One damage: at a place, cut some characters and put others there.
fn damaged(at: usize, cut: usize, put: &str) -> String {
    let mut text = SECRETS.to_owned();
    let at = text.floor_char_boundary(at.min(text.len()));
    let end = text.floor_char_boundary((at + cut).min(text.len())).max(at);
    text.replace_range(at..end, put);
    text
}

fn check(text: &str) {
    if let Err(problems) = load(text) {
        let shown = problems.to_string();
        // What the damage itself made of a secret is not one any more.
        assert!(!shown.contains("s3cret"), "{shown}\nof\n{text}");
    }
}

#[test]
fn every_single_damage_keeps_secrets() {
    for at in 0..SECRETS.len() {
        for cut in 0..2 {
            for put in ["", "x", "\"", "\n", "=", "# "] {
                check(&damaged(at, cut, put));
            }
        }
    }
}

#[test]
fn any_damage_keeps_secrets() {
    let damage = (0..SECRETS.len(), 0usize..6, "[a-z=\"'\\[\\]{}\n .#$]{0,8}");
    // Cuts stay short, and cases the same: a damage that gives a secret to another key would be no failure of the agent.
    let mut runner = TestRunner::deterministic();
    let result = runner.run(&damage, |(at, cut, put)| {
        check(&damaged(at, cut, &put));
        Ok(())
    });
    assert!(result.is_ok(), "{result:?}");
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        check(&text);
    }
}
