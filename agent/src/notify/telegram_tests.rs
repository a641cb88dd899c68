use super::*;
use crate::notify::samples::{hostile, huge, oom, show};

fn options(parse_mode: ParseMode) -> Options {
    Options {
        api_url: "https://api.telegram.org".into(),
        bot_token: "123456:s3cret-token_X".into(),
        chat_id: "-100123".into(),
        parse_mode,
        template: false,
    }
}

const MODES: [ParseMode; 3] = [ParseMode::Html, ParseMode::Markdown, ParseMode::MarkdownV2];

#[test]
fn the_other_markups_look_so() {
    for mode in [ParseMode::Markdown, ParseMode::MarkdownV2] {
        insta::assert_snapshot!(
            format!("telegram_oom_{}", mode.name()),
            show(&body(&oom(), None, &options(mode)))
        );
    }
}

/// What people see of it: without tags and escapes.
fn seen(text: &str, mode: ParseMode) -> String {
    if mode == ParseMode::Html {
        let text = text.replace("<b>", "").replace("</b>", "");
        assert!(!text.contains(['<', '>']), "{text}");
        return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    }
    let (mut out, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

#[test]
fn the_limit_is_kept_and_what_is_cut_is_said() {
    for mode in MODES {
        for alert in [huge(), hostile(), oom()] {
            let body = body(&alert, None, &options(mode));
            let text = body["text"].as_str().unwrap();
            let seen = seen(text, mode);
            assert!((1..=MAX_TEXT).contains(&utf16(&seen)), "{}", utf16(&seen));
        }
        let body = body(&huge(), None, &options(mode));
        let seen = seen(body["text"].as_str().unwrap(), mode);
        assert!(seen.contains(" characters cut)") && seen.contains(" more facts"), "{seen}");
    }
}

#[test]
fn a_template_too_long_to_cut_gives_the_built_in_form() {
    let html = options(ParseMode::Html);
    assert_eq!(body(&oom(), Some("<i>mine</i>"), &html)["text"], "<i>mine</i>");
    for text in ["<i>x</i>".repeat(1000), String::new(), " \n".into()] {
        assert!(
            body(&oom(), Some(&text), &html)["text"]
                .as_str()
                .unwrap()
                .starts_with("🔴 <b>CRITICAL web-1</b>\n")
        );
    }
    let plain = plain(&hostile(), &html);
    assert!(plain.get("parse_mode").is_none() && plain["text"].as_str().unwrap().contains("<!channel>"));
}

#[test]
fn chats_are_numbers_or_names() {
    let chat = |id: &str| {
        body(&oom(), None, &Options { chat_id: id.into(), ..options(ParseMode::Html) })["chat_id"].clone()
    };
    assert_eq!([chat("-100123"), chat("@ops"), chat("42")], [json!(-100_123), json!("@ops"), json!(42)]);
}

#[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
#[test]
fn tokens_are_judged_without_telling_them() {
    let check = |token: &str, good: bool| {
        let made = Telegram::new(Options { bot_token: token.into(), ..options(ParseMode::Html) });
        assert_eq!(made.is_ok(), good, "{token}");
        if let Err(why) = made {
            assert!(token.is_empty() || !why.contains(token), "{why}");
        }
    };
    check("123456:s3cret-token_X", true);
    check("", false);
    check("s3cret-token", false);
    check("123456:s3cret/../x", false);
    check("123456:s3cret token", false);
    let debug = format!("{:?}", Telegram::new(options(ParseMode::Html)).unwrap());
    assert!(!debug.contains("s3cret"), "{debug}");
}

#[test]
fn answers_are_read() {
    let check = |status, body: &str, after: Option<u64>, advice: &str| {
        let reading = read(status, body);
        assert_eq!(reading.after.map(|a| a.as_secs()), after, "{body}");
        assert!(
            reading.advice.unwrap_or_default().contains(advice)
                && reading.advice.is_none() == advice.is_empty(),
            "{body}"
        );
    };
    let say = |why: &str| format!(r#"{{"ok":false,"error_code":1,"description":"{why}"}}"#);
    check(
        429,
        r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 35","parameters":{"retry_after":35}}"#,
        Some(35),
        "too many",
    );
    check(400, &say("Bad Request: chat not found"), None, "write to the bot first");
    check(400, &say("Bad Request: group chat was upgraded to a supergroup chat"), None, "new id");
    check(401, &say("Unauthorized"), None, "@BotFather");
    check(404, &say("Not Found"), None, "@BotFather");
    check(403, &say("Forbidden: bot was blocked by the user"), None, "let it in again");
    check(400, &say("Bad Request: can't parse entities: x"), None, "mend the template");
    check(502, "<html>", None, "");
}

#[test]
fn what_is_wrong_with_the_chat_is_no_fault_of_a_message() {
    for (why, barred) in [
        ("chat not found", true),
        ("chat_id is empty", true),
        ("group chat was upgraded to a supergroup chat", true),
        ("not enough rights to send text messages to the chat", true),
        ("message is too long", false),
        ("can't parse entities: x", false),
    ] {
        let body = format!(r#"{{"ok":false,"description":"Bad Request: {why}"}}"#);
        assert_eq!((read(400, &body).barred, read(500, &body).barred), (barred, false), "{why}");
    }
}
