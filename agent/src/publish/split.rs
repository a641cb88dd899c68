//! A message that the server does not take for its size, in two. Pure.

use serde_json::Value;

use super::message::Message;
use super::payload::pack;

/// Largest body that is taken apart, bytes of JSON.
const MAX_BODY: usize = 32 << 20;

/// Two messages with half of the metrics each; none where there is nothing to halve. Their ids are made of the old one,
/// so that they are the same at each try.
pub fn split(message: &Message) -> Option<[Message; 2]> {
    let plain;
    let json = if message.zstd {
        plain = zstd::bulk::decompress(&message.body, MAX_BODY).ok()?;
        &plain
    } else {
        &message.body
    };
    let mut body: Value = serde_json::from_slice(json).ok()?;
    let metrics = body.get_mut("metrics")?.as_array_mut().filter(|metrics| metrics.len() > 1)?;
    let second = metrics.split_off(metrics.len() / 2);
    let first = serde_json::to_vec(&body).ok()?;
    *body.get_mut("metrics")? = Value::Array(second);
    let second = serde_json::to_vec(&body).ok()?;
    let half = |json, n: char| pack(json, message.zstd, format!("{}{n}", message.id));
    Some([half(first, 'a'), half(second, 'b')])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn halves_make_the_whole() {
        let check = |count: usize, zstd: bool, expect: Option<(usize, usize)>| {
            let metrics: Vec<usize> = (0..count).collect();
            let body = serde_json::to_vec(&json!({ "hostname": "h", "metrics": metrics })).unwrap();
            let halves = split(&pack(body, zstd, "x-0".into()));
            let read = |message: &Message| {
                let plain = if message.zstd {
                    zstd::bulk::decompress(&message.body, MAX_BODY).unwrap()
                } else {
                    message.body.clone()
                };
                let body: Value = serde_json::from_slice(&plain).unwrap();
                assert_eq!(body["hostname"], "h");
                body["metrics"].as_array().unwrap().clone()
            };
            let sizes = halves.as_ref().map(|[a, b]| (read(a).len(), read(b).len()));
            assert_eq!(sizes, expect, "{count}");
            if let Some([a, b]) = halves {
                assert_eq!((a.id.as_str(), b.id.as_str(), a.zstd), ("x-0a", "x-0b", zstd));
                assert_eq!([read(&a), read(&b)].concat(), metrics);
            }
        };
        check(0, true, None);
        check(1, true, None);
        check(2, true, Some((1, 1)));
        check(101, false, Some((50, 51)));
    }

    #[test]
    fn what_is_no_such_message_is_left_alone() {
        for (body, zstd) in [(&b"{"[..], false), (b"{}", false), (b"[1,2]", false), (b"x", true), (b"", true)]
        {
            assert_eq!(split(&Message { id: "x".into(), zstd, body: body.to_vec() }), None, "{body:?}");
        }
    }
}
