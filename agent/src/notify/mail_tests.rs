use super::*;
use crate::notify::samples::{hostile, huge, oom, resolved, update};

fn letter() -> Letter {
    Letter {
        from: "Sysops <sysops@example.com>".parse().unwrap(),
        to: vec!["ops@example.com".parse().unwrap(), "Boss <boss@example.org>".parse().unwrap()],
        subject_prefix: "[sysops]".into(),
    }
}

fn raw(alert: &Alert, text: Option<&str>) -> String {
    String::from_utf8(message(alert, text, &letter()).unwrap().formatted()).unwrap()
}

fn head(mail: &str) -> String {
    mail.split_once("\r\n\r\n").unwrap().0.to_owned()
}

fn line<'a>(mail: &'a str, name: &str) -> Option<&'a str> {
    mail.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn heads_and_templates_look_so() {
    insta::assert_snapshot!("mail_head_resolved", head(&raw(&resolved(), None)).replace('\r', ""));
    let mail = raw(&oom(), Some("mine <b>\n& yours")).replace("=\r\n", "").replace('\r', "");
    assert!(mail.contains("\nmine <b>\n& yours\n"), "{mail}");
    assert!(mail.contains(">mine &lt;b&gt;\n&amp; yours</pre>"), "{mail}");
}

#[test]
fn messages_about_one_incident_hang_together() {
    let first = raw(&oom(), None);
    let root = line(&first, "Message-ID").unwrap();
    assert!(root.starts_with("<sysops-agent.oom-1234-99.") && root.ends_with("@example.com>"), "{root}");
    assert_eq!((line(&first, "In-Reply-To"), line(&first, "References")), (None, None));
    let over = Alert { status: Status::Resolved, ..oom() };
    let mut ids = vec![root.to_owned()];
    for alert in [update(), over, Alert { message: "more".into(), ..update() }] {
        let mail = raw(&alert, None);
        assert_eq!((line(&mail, "In-Reply-To"), line(&mail, "References")), (Some(root), Some(root)));
        ids.push(line(&mail, "Message-ID").unwrap().to_owned());
    }
    assert_eq!(raw(&oom(), None), first, "the same alert is the same mail");
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "{ids:?}");
}

#[test]
fn ends_hang_below_the_summaries_that_told_of_the_begin() {
    let with = |id: &str, status, context: &[(&str, &[&str])]| {
        let context = context.iter().map(|(key, ids)| ((*key).to_owned(), (*ids).into())).collect();
        raw(&Alert { id: id.into(), status, context, ..oom() }, None)
    };
    let root = |id: &str| line(&with(id, Status::Firing, &[]), "Message-ID").unwrap().to_owned();
    let unfold = |mail: &str| mail.replace("\r\n ", " ");
    let check = |mail: &str, expect: &[String]| {
        let mail = unfold(mail);
        assert_eq!(line(&mail, "In-Reply-To"), Some(expect[0].as_str()));
        assert_eq!(line(&mail, "References").map(str::to_owned), Some(expect.join(" ")));
    };
    // The end of one that a summary told.
    let mail = with("a", Status::Resolved, &[("told_in", &["s-g"])]);
    check(&mail, &[root("s-g"), root("a")]);
    // The end of two of them together.
    let mail = with("e-g", Status::Resolved, &[("members", &["a", "b"]), ("told_in", &["s-g"])]);
    check(&mail, &[root("s-g"), root("a"), root("b")]);
    let mail = with("e-g", Status::Resolved, &[("members", &["a", "b"])]);
    check(&mail, &[root("a"), root("b")]);
}

#[test]
fn the_date_is_that_of_the_alert() {
    assert_eq!(line(&raw(&oom(), None), "Date"), Some("Sun, 22 Feb 2026 07:30:00 +0000"));
}

#[test]
fn no_name_adds_a_header_or_breaks_out_of_the_page() {
    let evil = Letter { subject_prefix: "x\r\nBcc: evil@example.com".into(), ..letter() };
    for alert in [hostile(), huge()] {
        let mail = String::from_utf8(message(&alert, None, &evil).unwrap().formatted()).unwrap();
        let head = head(&mail);
        let names: Vec<&str> = head
            .lines()
            .filter(|l| !l.starts_with([' ', '\t']))
            .map(|l| l.split(':').next().unwrap())
            .collect();
        for name in &names {
            let known = [
                "From",
                "Subject",
                "Auto-Submitted",
                "To",
                "Message-ID",
                "Importance",
                "MIME-Version",
                "Date",
                "Content-Type",
            ];
            assert!(known.contains(name), "{name} in {head}");
        }
        assert!(mail.lines().all(|line| line.len() <= 998), "a line is too long for SMTP");
        assert!(
            subject(&alert, "[s]").chars().count() <= 170 && !subject(&alert, "[s]").contains(['\r', '\n'])
        );
        let page = mail_html::page(&alert);
        assert!(!page.contains("<b ") && !page.contains("onclick=x>") && !page.contains('\x1b'), "{page}");
        assert!(page.len() < 400_000 && plain(&alert).len() < 200_000);
    }
    assert_eq!(subject(&oom(), ""), format!("CRITICAL web-1: {}", oom().message));
}
