use super::*;

fn options(tls: SmtpTls) -> Options {
    Options {
        host: "mail.example.com".into(),
        port: 587,
        tls,
        ca_file: PathBuf::new(),
        username: "u".into(),
        password: "s3cret-pass".into(),
        letter: Letter {
            from: "sysops@example.com".parse().unwrap(),
            to: vec!["ops@example.com".parse().unwrap()],
            subject_prefix: String::new(),
        },
        template: false,
    }
}

#[test]
fn hosts_greet_with_a_name_that_a_mail_server_takes() {
    for (host, expect) in [
        ("web-1.example.com", "web-1.example.com"),
        ("web-1", "example.com"),
        ("a.b\r\nDATA", "example.com"),
        ("", "example.com"),
    ] {
        assert_eq!(hello(host, "example.com"), expect, "{host:?}");
    }
}

#[test]
fn a_password_in_the_clear_is_doubted() {
    let doubt = |options: Options| Email::new(options).unwrap().doubt().is_some();
    assert!(doubt(options(SmtpTls::None)));
    assert!(!doubt(Options { password: "".into(), ..options(SmtpTls::None) }));
    assert!(!doubt(Options { host: "localhost".into(), ..options(SmtpTls::None) }));
}

#[test]
fn what_a_server_says_holds_no_password() {
    let email = Email::new(options(SmtpTls::None)).unwrap();
    assert_eq!(email.harmless("535 no s3cret-pass\x1b[0m\n"), "535 no ***?[0m");
    assert!(!format!("{email:?}").contains("s3cret"), "{email:?}");
}

#[test]
#[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
fn certificates_are_read_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let check = |content: Option<&[u8]>, part: &str| {
        let path = dir.path().join("ca.pem");
        state::remove(&path).unwrap();
        if let Some(content) = content {
            state::replace(&path, content, 0o600).unwrap();
        }
        let why = Email::new(Options { ca_file: path, ..options(SmtpTls::Tls) }).map(drop).unwrap_err();
        assert!(why.contains(part), "{why}");
    };
    check(None, "cannot be read");
    check(Some(b"nonsense"), "holds no certificates");
    check(Some(b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"), "");
}

#[test]
fn who_did_not_get_a_mail_has_a_while_for_it_and_holds_up_nobody() {
    let ops = "ops@example.com".parse().unwrap();
    let mut shares = Shares::default();
    let later = || vec![SendError::retry("451 later")];
    let barred = || vec![SendError::barred("550 who?")];
    let mut again = |failures: Vec<SendError>| {
        let share = shares.take("1");
        matches!(settle(&mut shares, share, failures), Err(SendError::Retry { .. }))
    };
    // Nobody has it: it waits as any message does, however often.
    assert!((0..1000).all(|_| again(later())));
    assert!(matches!(
        settle(&mut Shares::default(), Share::default(), barred()),
        Err(SendError::Barred { .. })
    ));
    let mut share = shares.take("1");
    share.took(&ops);
    shares.keep(share);
    let mut again = |failures: Vec<SendError>| {
        let share = shares.take("1");
        matches!(settle(&mut shares, share, failures), Err(SendError::Partly { again: true, .. }))
    };
    let tries = (0..1000).take_while(|_| again(later())).count();
    assert_eq!(tries as u32, shares::MAX_TRIES - 1);
    // An address that is wrong costs the others nothing.
    let mut share = shares.take("2");
    share.took(&ops);
    assert!(matches!(settle(&mut shares, share, barred()), Err(SendError::Partly { again: false, .. })));
}
