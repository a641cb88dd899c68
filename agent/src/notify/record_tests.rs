use super::*;
use crate::alert::{Severity, Status};
use crate::notify::tests::gpu;
use proptest::prelude::*;
use serde_json::{Value, json};

fn stored(seq: u64, alert: Alert) -> Record<'static> {
    let due = vec!["webhook".into(), "syslog".into()];
    Record::Alert(Stored { seq: Seq(seq), at: 1_771_745_400, due, told: vec![], alert: Cow::Owned(alert) })
}

fn mark(seq: u64) -> Record<'static> {
    Record::Mark(Mark { seq: Seq(seq), channel: "webhook".into(), outcome: Outcome::Delivered })
}

fn file(records: &[Record<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        encode(record, &mut out);
    }
    out
}

fn read(bytes: &[u8]) -> (Vec<Record<'static>>, Scan) {
    let mut records = Vec::new();
    let scan = scan(bytes, |place, record| {
        let at = place.offset as usize;
        assert_eq!(decode(&bytes[at..at + place.len as usize]), Some(record.clone()), "places are right");
        records.push(record);
    });
    (records, scan)
}

fn check(bytes: &[u8], expect: &[Record<'_>], damaged: u64, clean_end: bool) {
    let (records, scan) = read(bytes);
    assert_eq!(records, expect);
    assert_eq!(scan, Scan { len: bytes.len() as u64, damaged, clean_end });
}

#[test]
fn the_format_is_stable() {
    let line = file(&[mark(7)]);
    let text = r#"{"mark":{"seq":7,"channel":"webhook","outcome":"delivered"}}"#;
    assert_eq!(String::from_utf8_lossy(&line), format!("0000003c bbbe9c58 {text}\n"));
    assert_eq!(text.len(), 0x3c);
}

#[test]
fn what_is_whole_is_read_and_the_rest_is_counted() {
    let (a, b, c) = (stored(1, gpu()), mark(1), stored(2, gpu()));
    let line = |record: &Record<'_>| file(std::slice::from_ref(record));
    let (la, lb, lc) = (line(&a), line(&b), line(&c));
    let join = |parts: &[&[u8]]| parts.concat();
    check(b"", &[], 0, true);
    check(&join(&[&la, &lb, &lc]), &[a.clone(), b.clone(), c.clone()], 0, true);
    // Torn at the end: inside the JSON, inside the head, before the line break.
    check(&join(&[&la, &lc[..200]]), std::slice::from_ref(&a), 1, false);
    check(&join(&[&la, &lc[..5]]), std::slice::from_ref(&a), 1, false);
    check(&join(&[&la, &lb[..lb.len() - 1]]), &[a.clone(), b.clone()], 0, false);
    // Going on after a torn record, with and without the line break that ends it.
    check(&join(&[&la, &lc[..200], b"\n", &lb]), &[a.clone(), b.clone()], 1, true);
    check(&join(&[&la[..la.len() - 1], &lb]), &[a.clone(), b.clone()], 0, true);
    check(&join(&[&la, b"\n\n\n", &lb]), &[a.clone(), b.clone()], 0, true);
    // What a filesystem leaves after a power cut, and what is no file of ours.
    check(&join(&[&la, &[0; 4096]]), std::slice::from_ref(&a), 1, false);
    check(&[0; 4096], &[], 1, false);
    check(b"hello\nworld\n", &[], 2, true);
    check(b"00000000 00000000 \n", &[], 1, true);
    check(b"ffffffff 00000000 {}\n", &[], 1, true);
    check(b"+000003c bbbe9c58 {}\n", &[], 1, true);
    let long = vec![b'x'; 400_000];
    check(&long, &[], 1, false);
    check(&join(&[&long, b"\n", &lb]), std::slice::from_ref(&b), 1, true);
}

#[test]
fn whole_records_that_mean_nothing_are_damage() {
    let mut bytes = Vec::new();
    for json in ["{}", "[]", "{\"alert\":{}}", "{\"mark\":{\"seq\":-1}}", "null"] {
        bytes.extend(format!("{:08x} {:08x} {json}\n", json.len(), crc32fast::hash(json.as_bytes())).bytes());
    }
    check(&bytes, &[], 5, true);
}

#[test]
fn what_json_cannot_carry_is_made_fit() {
    assert!(matches!(fit(&gpu()), Cow::Borrowed(_)));
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let alert = Alert { value, threshold: Some(value), ..gpu() };
        let expect = Alert { value: 0.0, threshold: None, ..gpu() };
        assert_eq!(fit(&alert).into_owned(), expect);
    }
}

#[test]
fn an_oversized_alert_loses_its_context_but_arrives() {
    // The character that JSON makes longest.
    let huge = "\u{1}".repeat(100_000);
    let mut big = Alert { message: huge.clone(), hostname: huge.clone(), ..gpu() };
    big.source = vec![huge.clone(); 100];
    big.runbook_url = Some(huge.clone());
    for n in 0..200 {
        big.labels.insert(format!("label{n}"), huge.clone());
    }
    big.labels.insert(huge.clone(), "x".into());
    big.context.insert("stack".into(), huge.into());
    let fitted = fit(&big).into_owned();
    assert_eq!(fitted.message.chars().count(), CUT_MESSAGE);
    assert!(fitted.context["shortened"].as_str().unwrap().starts_with("the alert had "));
    let record = stored(1, fitted);
    let bytes = file(std::slice::from_ref(&record));
    assert!(bytes.len() < HEAD + MAX_RECORD, "{}", bytes.len());
    check(&bytes, &[record], 0, true);
}

fn any_alert() -> impl Strategy<Value = Alert> {
    let texts = prop::collection::vec(any::<String>(), 4);
    let value = prop_oneof![any::<f64>(), Just(-0.0), Just(0.1 + 0.2)];
    let labels = prop::collection::btree_map(any::<String>(), any::<String>(), 0..3);
    (texts, value, any::<Option<f64>>(), labels, 0_usize..4, 0_usize..3, any::<u64>()).prop_map(
        |(texts, value, threshold, labels, severity, status, duration_secs)| Alert {
            message: texts[0].clone(),
            id: texts[1].clone(),
            value,
            threshold,
            labels,
            severity: Severity::ALL[severity],
            status: [Status::Firing, Status::Updated, Status::Resolved][status],
            duration_secs,
            context: [(texts[2].clone(), json!([value, texts[3], Value::Null, duration_secs]))]
                .into_iter()
                .collect(),
            ..gpu()
        },
    )
}

fn any_records() -> impl Strategy<Value = Vec<Record<'static>>> {
    let alert = |seq| any_alert().prop_map(move |alert| stored(seq, fit(&alert).into_owned()));
    prop::collection::vec(
        any::<u64>().prop_flat_map(move |seq| prop_oneof![alert(seq), Just(mark(seq))]),
        1..6,
    )
}

/// Bytes at which each record of the file is complete.
fn ends(records: &[Record<'_>]) -> Vec<usize> {
    (1..=records.len()).map(|n| file(&records[..n]).len() - 1).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(records in any_records()) {
        let bytes = file(&records);
        let (read, scan) = read(&bytes);
        prop_assert_eq!(scan, Scan { len: bytes.len() as u64, damaged: 0, clean_end: true });
        prop_assert_eq!(read, records);
    }

    #[test]
    fn a_cut_loses_only_what_it_cuts(records in any_records(), cut in any::<prop::sample::Index>()) {
        let mut bytes = file(&records);
        bytes.truncate(cut.index(bytes.len() + 1));
        let whole = ends(&records).iter().filter(|end| **end <= bytes.len()).count();
        let (read, scan) = read(&bytes);
        prop_assert_eq!(&read[..], &records[..whole]);
        prop_assert!(scan.damaged <= 1);
    }

    #[test]
    fn damage_never_makes_a_wrong_alert(
        records in any_records(), at in any::<prop::sample::Index>(), mask in 1_u8.., len in 1_usize..20
    ) {
        let mut bytes = file(&records);
        let at = at.index(bytes.len());
        let until = (at + len).min(bytes.len());
        bytes[at..until].iter_mut().for_each(|b| *b ^= mask);
        let before = ends(&records).iter().filter(|end| **end <= at).count();
        let (read, _) = read(&bytes);
        prop_assert_eq!(&read[..before], &records[..before], "all before the damage");
        prop_assert!(read.iter().all(|r| records.contains(r)), "nothing that was not written");
    }

    #[test]
    fn noise_is_no_record(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let (read, _) = read(&bytes);
        prop_assert!(read.is_empty());
    }
}
