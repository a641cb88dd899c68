use super::*;
use crate::metric::{Kind, Metric as Definition, Unit};
use crate::time::Now;
use serde_json::{Value as Json, json};

static TEMPERATURE: Definition = Definition {
    name: "gpu_temperature_celsius",
    prometheus: "gpu_temperature_celsius",
    kind: Kind::Gauge,
    unit: Unit::Celsius,
    labels: &["gpu", "model"],
    help: "",
    source: "",
};
static LOAD: Definition = Definition { name: "load_1min", labels: &[], ..TEMPERATURE };

fn speaker(batch_size: usize, compression: bool) -> Speaker {
    Speaker {
        hostname: "gpu-server-01".into(),
        agent_id: "5f0c".into(),
        labels: [("env".to_owned(), "prod".to_owned())].into(),
        batch_size,
        compression,
    }
}

fn row(metric: &'static Definition, labels: &[&str], value: f64) -> Row {
    Row { metric, labels: labels.iter().map(|l| (*l).into()).collect(), value, at: Now::default() }
}

fn round(speaker: &Speaker, rows: &[Row]) -> Option<Round> {
    speaker.metrics(&rows.iter().collect::<Vec<_>>(), "2026-02-22T16:30:00+09:00", "5f0c-17")
}

fn json(message: &Message) -> Json {
    let plain = if message.zstd {
        zstd::bulk::decompress(&message.body, 1 << 20).unwrap()
    } else {
        message.body.clone()
    };
    serde_json::from_slice(&plain).unwrap()
}

#[test]
fn metrics_are_as_the_contract_has_them() {
    let rows = [row(&TEMPERATURE, &["0", "A100"], 87.0), row(&LOAD, &[], 0.35)];
    let round = round(&speaker(100, true), &rows).unwrap();
    assert_eq!((round.what, round.messages.len()), (What::Metrics, 1));
    assert_eq!(round.messages[0].id, "5f0c-17-0");
    assert!(round.messages[0].zstd && round.messages[0].body.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    assert_eq!(
        json(&round.messages[0]),
        json!({
            "hostname": "gpu-server-01", "agent_id": "5f0c", "timestamp": "2026-02-22T16:30:00+09:00",
            "labels": { "env": "prod" },
            "metrics": [
                { "name": "gpu_temperature_celsius", "value": 87, "labels": { "gpu": "0", "model": "A100" } },
                { "name": "load_1min", "value": 0.35, "labels": {} },
            ],
        })
    );
}

#[test]
fn batches_hold_no_more_than_they_may_and_nothing_that_is_no_number() {
    let check = |count: usize, batch: usize, expect: &[usize]| {
        let rows: Vec<Row> = (0..count).map(|n| row(&LOAD, &[], n as f64)).collect();
        let round = round(&speaker(batch, false), &rows);
        let sizes: Vec<usize> = round
            .iter()
            .flat_map(|round| &round.messages)
            .map(|message| json(message)["metrics"].as_array().unwrap().len())
            .collect();
        assert_eq!(sizes, expect, "{count} by {batch}");
    };
    check(0, 100, &[]);
    check(1, 100, &[1]);
    check(100, 100, &[100]);
    check(101, 100, &[100, 1]);
    check(5, 2, &[2, 2, 1]);
    check(2, 0, &[1, 1]);
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(|value| row(&LOAD, &[], value));
    assert_eq!(round(&speaker(100, false), &odd), None);
}

#[test]
fn values_keep_all_their_digits() {
    let check = |value: f64, expect: &str| {
        assert_eq!(serde_json::to_string(&Value(value)).unwrap(), expect);
        assert_eq!(serde_json::from_str::<f64>(expect).unwrap().to_bits(), (value + 0.0).to_bits());
    };
    check(0.0, "0");
    check(-3.0, "-3");
    check(9_007_199_254_740_991.0, "9007199254740991");
    check(1e300, "1e+300");
    check(0.1 + 0.2, "0.30000000000000004");
    check(f64::MIN_POSITIVE, "2.2250738585072014e-308");
}

#[test]
fn hostile_labels_stay_labels() {
    let evil = "a\"},{\"name\":\"x\u{0}\u{1b}[2J\u{202e}\n";
    let long = "é".repeat(1000);
    let round = round(&speaker(100, false), &[row(&TEMPERATURE, &[evil, &long], 1.0)]).unwrap();
    let body = json(&round.messages[0]);
    let metrics = body["metrics"].as_array().unwrap();
    assert_eq!(metrics.len(), 1);
    let labels = metrics[0]["labels"].as_object().unwrap();
    assert_eq!(labels.len(), 2);
    assert!(!labels["gpu"].as_str().unwrap().contains(|c: char| c.is_control()), "{labels:?}");
    assert!(labels["model"].as_str().unwrap().chars().count() <= MAX_LABEL + 1);
}

#[test]
fn the_inventory_says_whose_it_is() {
    let host = crate::host::fixture::FixtureHost::parse("//- uname h 6.1.0-28 x86_64\n").unwrap();
    let options = crate::inventory::Options::default();
    let inventory = crate::inventory::collect(&host, &options, Now::default());
    let round = speaker(1, true).inventory(&inventory, "5f0c-18").unwrap();
    let body = json(&round.messages[0]);
    assert_eq!((round.what, round.messages[0].id.as_str()), (What::Inventory, "5f0c-18-i"));
    assert_eq!((&body["hostname"], &body["agent_id"]), (&"h".into(), &"5f0c".into()));
    assert_eq!((&body["os"]["kernel"], &body["labels"]["env"]), (&"6.1.0-28".into(), &"prod".into()));
}
