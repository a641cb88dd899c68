use super::*;
use crate::notify::samples::{hostile, huge, oom, texts};

fn options(users: &[&str], channel: &str) -> Options {
    let (calls, names) = calls(&users.iter().map(|u| (*u).to_owned()).collect::<Vec<_>>());
    Options {
        url: "https://hooks.slack.com/services/T0/B0/s3cret".into(),
        channel: channel.into(),
        calls,
        names,
        template: false,
    }
}

#[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
#[test]
fn only_ids_call_somebody() {
    let check = |entry: &str, expect: &str, named: bool| {
        let (calls, names) = calls(&[entry.to_owned()]);
        assert_eq!((calls.as_str(), names.len()), (expect, usize::from(named)), "{entry}");
    };
    check("U12345", "<@U12345>", false);
    check("<@W12345>", "<@W12345>", false);
    check("@here", "<!here>", false);
    check("channel", "<!channel>", false);
    check("S0123ABC", "<!subteam^S0123ABC>", false);
    check("@devops", "@devops", true);
    check("U12345> <!channel", "U12345&gt; &lt;!channel", true);
    check("", "", true);
    let doubt = Slack::new(options(&["@devops"], "")).unwrap().doubt().unwrap();
    assert!(doubt.contains("@devops") && doubt.contains("Copy member ID"), "{doubt}");
    let (many, _) = calls(&vec!["U12345678".to_owned(); 500]);
    assert!(many.len() <= MAX_CALLS);
}

#[test]
fn limits_are_kept() {
    for alert in [huge(), hostile(), oom()] {
        for text in [None, Some("<&😀".repeat(30_000))] {
            let body = body(&alert, text.as_deref(), &options(&["here"], ""));
            assert!(utf16(body["text"].as_str().unwrap()) <= 3000);
            let blocks = body["attachments"][0]["blocks"].as_array().unwrap();
            assert!(blocks.len() <= 50);
            for block in blocks {
                assert!(block["text"]["text"].as_str().is_none_or(|t| utf16(t) <= 3000));
                let fields = block["fields"].as_array().map_or(&[][..], Vec::as_slice);
                assert!(
                    fields.len() <= 10 && fields.iter().all(|f| utf16(f["text"].as_str().unwrap()) <= 2000)
                );
                let elements = block["elements"].as_array().map_or(&[][..], Vec::as_slice);
                assert!(
                    elements.len() <= 10
                        && elements.iter().all(|e| utf16(e["text"].as_str().unwrap()) <= 3000)
                );
            }
        }
    }
    assert!(body(&huge(), None, &options(&[], ""))["text"].as_str().unwrap().contains(" characters cut)"));
}

#[test]
fn hostile_text_is_only_text() {
    let body = body(&hostile(), None, &options(&["U777777"], ""));
    for text in texts(&body) {
        let rest = text.replace("<@U777777>", "");
        assert!(!rest.contains('<') && !rest.contains(['\x1b', '\r', '\0']), "{text:?}");
    }
}

#[test]
fn answers_are_read() {
    let check = |status, body: &str, advice: &str| {
        let reading = read(status, body);
        assert!(
            reading.advice.unwrap_or_default().contains(advice)
                && reading.advice.is_none() == advice.is_empty(),
            "{body}"
        );
        assert_eq!((reading.after, reading.retry), (None, None));
    };
    check(404, "no_service", "make a new one");
    check(403, "invalid_token", "make a new one");
    check(404, "channel_not_found", "mend `channel`");
    check(410, "channel_is_archived", "archived");
    check(403, "action_prohibited", "administrator");
    check(400, "invalid_payload\n", "mend it");
    check(429, "", "too many");
    check(500, "rollup_error", "");
}
