use super::*;
use crate::notify::samples::{hostile, huge, oom, texts};

fn options(roles: &[&str]) -> Options {
    let roles: Vec<_> = roles.iter().map(|r| (*r).to_owned()).collect();
    Options {
        url: "https://discord.com/api/webhooks/1/s3cret".into(),
        username: "sysops-agent".into(),
        mentions: Mentions::of(&roles),
        template: false,
    }
}

#[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
#[test]
fn only_configured_roles_are_called() {
    let check = |roles: &[&str], content: &str, allowed: Value| {
        let body = body(&oom(), None, &options(roles));
        assert_eq!(
            (body["content"].as_str().unwrap(), &body["allowed_mentions"]),
            (content, &allowed),
            "{roles:?}"
        );
    };
    check(&[], "", json!({ "parse": [], "roles": [] }));
    check(&["42", "<@&43>"], "<@&42> <@&43>", json!({ "parse": [], "roles": ["42", "43"] }));
    check(&["@here"], "@here", json!({ "parse": ["everyone"], "roles": [] }));
    check(&["@devops"], "@devops", json!({ "parse": [], "roles": [] }));
    check(&["<@42>"], "\\<@42\\>", json!({ "parse": [], "roles": [] }));
    let quiet = Alert { severity: crate::alert::Severity::Warn, ..oom() };
    assert_eq!(
        body(&quiet, None, &options(&["@everyone"]))["allowed_mentions"],
        json!({ "parse": [], "roles": [] })
    );
    let doubt = Discord::new(options(&["@devops", "42"])).unwrap().doubt().unwrap();
    assert!(doubt.contains("@devops") && doubt.contains("Copy Role ID"), "{doubt}");
    assert_eq!(Discord::new(options(&["42", "@here"])).unwrap().doubt(), None);
}

#[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
#[test]
fn names_that_discord_refuses_are_left_out() {
    for (name, expect) in
        [("sysops-agent", Some("sysops-agent")), ("", None), ("My Discord", None), ("Clyde", None)]
    {
        let options = Options { username: name.into(), ..options(&[]) };
        assert_eq!(body(&oom(), None, &options).get("username").and_then(Value::as_str), expect, "{name}");
        let doubts = Discord::new(options).unwrap().doubt().is_some();
        assert_eq!(doubts, expect.is_none() && !name.is_empty(), "{name}");
    }
}

fn assert_within_limits(body: &Value) {
    let embed = &body["embeds"][0];
    let length = |value: &Value| value.as_str().map_or(0, utf16);
    let fields = embed["fields"].as_array().cloned().unwrap_or_default();
    assert!(length(&embed["title"]) <= 256 && length(&embed["description"]) <= 4096);
    assert!(
        length(&embed["footer"]["text"]) <= 2048 && fields.len() <= 25 && length(&body["content"]) <= 2000
    );
    let mut sum = length(&embed["title"]) + length(&embed["description"]) + length(&embed["footer"]["text"]);
    for field in &fields {
        let (name, value) = (length(&field["name"]), length(&field["value"]));
        assert!((1..=256).contains(&name) && (1..=1024).contains(&value), "{field}");
        sum += name + value;
    }
    assert!(sum <= 6000, "{sum}");
}

#[test]
fn the_limits_are_kept_and_what_is_cut_is_said() {
    for alert in [huge(), hostile(), oom()] {
        assert_within_limits(&body(&alert, None, &options(&["@everyone"])));
        assert_within_limits(&body(&alert, Some(&"<&*😀".repeat(20_000)), &options(&["@everyone"])));
    }
    let body = body(&huge(), None, &options(&[]));
    assert!(body["embeds"][0]["description"].as_str().unwrap().contains(" characters cut)"));
    let fields = body["embeds"][0]["fields"].as_array().unwrap();
    assert!(fields.last().unwrap()["value"].as_str().unwrap().ends_with(" more facts"));
}

#[test]
fn hostile_text_is_only_text() {
    let body = body(&hostile(), None, &options(&["42"]));
    assert_eq!(body["content"], "<@&42>");
    assert_eq!(body["allowed_mentions"], json!({ "parse": [], "roles": ["42"] }));
    assert_eq!(body["embeds"][0].get("timestamp"), None);
    // Discord shows a footer as it is.
    for text in texts(&body["embeds"]).into_iter().filter(|text| !text.starts_with("seen by ")) {
        assert!(!text.replace("\\<", "").contains('<') && !text.contains(['\x1b', '\r', '\0']), "{text:?}");
    }
}

#[test]
fn a_template_is_the_description() {
    let body = body(&oom(), Some("**{{}}** mine"), &options(&[]));
    assert_eq!(body["embeds"][0]["description"], "**{{}}** mine");
    assert_eq!(body["embeds"][0].get("fields"), None);
}

#[test]
fn answers_are_read() {
    let check = |status, body: &str, after: Option<u64>, advice: &str| {
        let reading = read(status, body);
        assert_eq!(reading.after.map(|a| a.as_millis() as u64), after, "{body}");
        assert!(
            reading.advice.unwrap_or_default().contains(advice)
                && reading.advice.is_none() == advice.is_empty(),
            "{body}"
        );
    };
    check(
        429,
        r#"{"message":"You are being rate limited.","retry_after":0.529,"global":false}"#,
        Some(529),
        "too many",
    );
    check(429, r#"{"retry_after":-1}"#, None, "too many");
    check(429, r#"{"retry_after":1e300}"#, Some(86_400_000), "too many");
    check(404, r#"{"message":"Unknown Webhook","code":10015}"#, None, "make a new one");
    check(401, r#"{"message":"Invalid Webhook Token","code":50027}"#, None, "copy webhook_url again");
    check(400, r#"{"code":50035,"errors":{}}"#, None, "with a template");
    check(400, "<html>", None, "");
    check(500, "", None, "");
}
