//! A hundred thousand findings in a minute.

use super::rules::with;
use super::*;

#[test]
fn a_storm_ends_in_few_messages_that_name_the_cause() {
    let mut r = with(|settings| settings.manners.group_secs = 30);
    let line = |rule: &str, n: usize| {
        What::Log(Box::new(LogMatch {
            rule: rule.into(),
            severity: Severity::Warn,
            meaning: "the link is down".into(),
            line: format!("port {n} failed"),
            fields: vec![("device".into(), format!("eth{}", n % 1000))],
            ..LogMatch::default()
        }))
    };
    for second in 0..60 {
        for n in 0..1667 {
            let rule = ["link_down", "scsi_error", "pcie_error"][n % 3];
            let event = Event {
                at: r.now,
                source: Source::Kmsg,
                historic: false,
                what: line(rule, second * 1667 + n),
            };
            r.engine.step(r.now, Input::Event(event), &mut r.out);
        }
        r.wait_ms(1000);
    }
    r.wait_ms(60_000);
    let told = r.told();
    assert!(told.len() <= 20, "{} messages: {told:#?}", told.len());
    let count = |a: &&Alert| a.context.get("grouped").and_then(serde_json::Value::as_u64).unwrap_or(1);
    let named: u64 = r.alerts().iter().map(count).sum();
    let view = r.engine.view(r.now);
    assert_eq!(
        named + view.suppressed.get("repeated").copied().unwrap_or(0),
        60 * 1667,
        "each finding is told, or counted as a repetition"
    );
    for rule in ["link_down", "scsi_error", "pcie_error"] {
        assert!(r.alerts().iter().any(|a| a.rule == rule), "{rule} is named");
    }
    let json = r.engine.snapshot(r.now).encode();
    assert!(json.len() <= snapshot::MAX_BYTES, "{}", json.len());
}

#[test]
fn a_storm_of_conditions_stays_bounded() {
    let mut r = with(|settings| settings.manners.group_secs = 30);
    let mounts: Vec<String> = (0..4900).map(|n| format!("/m{n}")).collect();
    for value in [1.0, 95.0, 95.0, 95.0, 95.0, 95.0, 95.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0] {
        let values: Vec<(&str, f64)> = mounts.iter().map(|m| (m.as_str(), value)).collect();
        r.disks(&values);
    }
    let told = r.told();
    assert!(
        told.len() <= 10,
        "{} messages: {:#?}",
        told.len(),
        told.iter().map(|t| &t[..80]).collect::<Vec<_>>()
    );
    assert!(told[1].contains("4899 more disk alerts within 30 s"), "{}", &told[1][..100]);
    assert!(r.engine.view(r.now).active.is_empty());
}
