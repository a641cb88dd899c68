//! Every law of what explains what, through the whole engine: what follows is held back and joins its cause; the same
//! elsewhere, or what is worse, is told.

use super::rules::with;
use super::*;
use crate::engine::compose::oom;
use crate::engine::quiet::laws::{LAWS, Law, Same};

const CAUSE: Metric =
    Metric { name: "cause_count", labels: &["gpu", "mount", "device"], unit: Unit::Count, ..USED };
const UNIT: &str = "shop.service";

/// Where a law finds cause and consequence in common, and another such place.
fn places(same: Same) -> [Option<(&'static str, &'static str)>; 2] {
    match same {
        Same::Host | Same::Below => [None, None],
        Same::Label("gpu") => [Some(("gpu", "0")), Some(("gpu", "1"))],
        Same::Label("mount") => [Some(("mount", "/data")), Some(("mount", "/srv"))],
        Same::Label("unit") => [Some(("unit", UNIT)), Some(("unit", "other.service"))],
        Same::Label(other) => panic!("a law about {other}: say where it holds"),
        Same::Disk => [Some(("device", "sda1")), Some(("device", "sdb1"))],
    }
}

fn line(rule: &str, severity: Severity, place: Option<(&str, &str)>) -> What {
    What::Log(Box::new(LogMatch {
        rule: rule.trim_end_matches('*').into(),
        severity,
        meaning: "m".into(),
        line: format!("{rule} {place:?}"),
        fields: place.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        ..LogMatch::default()
    }))
}

/// A run in which the cause was told, by an event or by a reading that is over its limit.
fn after(law: &Law, cause: &str) -> Run {
    let mut r = with(|settings| {
        let rule = Rule { name: cause.to_owned(), metric: CAUSE.name.into(), ..settings.rules[0].clone() };
        settings.rules = vec![rule];
    });
    if cause == oom::RULE {
        let What::Oom(mut kill) = oom(1) else { unreachable!() };
        kill.victim.cgroup = Some(format!("/system.slice/{UNIT}"));
        (kill.constraint, kill.oom_memcg) = match law.same {
            Same::Host => (Some(Constraint::None), None),
            _ => (kill.constraint, kill.victim.cgroup.clone()),
        };
        let kill = What::Oom(kill);
        r.event(Source::Ebpf, kill.clone()).event(Source::Kmsg, kill).wait_ms(200);
    } else if law.secs > 0 {
        let disk = (law.same == Same::Disk).then_some(("device", "sda"));
        r.event(Source::Kmsg, line(cause, Severity::Critical, disk.or(places(law.same)[0]))).wait_ms(200);
    } else {
        for _ in 0..5 {
            r.samples.begin("cause", r.now, None);
            r.samples.put(&CAUSE, &["0", "/data", "sda"], 95.0);
            let mut batch = r.samples.finish();
            r.engine.step(r.now, Input::Batch(&mut batch), &mut r.out);
            r.drop_kept();
            r.wait_ms(10_000);
        }
    }
    assert_eq!(r.alerts().len(), 1, "{cause}: {:#?}", r.told());
    assert_eq!(r.alerts()[0].rule, cause);
    r
}

fn told_of(r: &Run, rule: &str) -> usize {
    r.alerts().iter().filter(|alert| alert.rule == rule.trim_end_matches('*')).count()
}

#[test]
fn what_follows_from_a_cause_joins_it() {
    for law in LAWS.iter().filter(|law| law.same != Same::Below) {
        for (cause, hidden) in
            law.causes.iter().flat_map(|cause| law.hidden.iter().map(move |rule| (cause, rule)))
        {
            let [here, there] = places(law.same);
            let mut r = after(law, cause);
            r.event(Source::Kmsg, line(hidden, Severity::Info, here)).wait_ms(200);
            assert_eq!(told_of(&r, hidden), 0, "{cause} does not hide {hidden}: {:#?}", r.told());
            let by = format!("inhibited by {cause}");
            assert_eq!(r.engine.view(r.now).suppressed.get(&by), Some(&1), "{cause}, {hidden}");
            r.wait_ms(40_000);
            assert!(
                r.told().iter().any(|told| told.contains("; with it: ")),
                "{cause} does not tell of {hidden}"
            );

            r.event(Source::Kmsg, line(hidden, Severity::Emergency, here)).wait_ms(200);
            assert_eq!(told_of(&r, hidden), 1, "{cause} hides {hidden}, which is worse");
            if let Some(there) = there {
                r.event(Source::Kmsg, line(hidden, Severity::Info, Some(there))).wait_ms(200);
                assert_eq!(told_of(&r, hidden), 2, "{cause} hides {hidden} of {there:?}");
            }
        }
    }
}

#[test]
fn an_event_explains_for_its_time_only() {
    for law in LAWS.iter().filter(|law| law.same != Same::Below && law.secs > 0) {
        let (cause, hidden, [here, _]) = (law.causes[0], law.hidden[0], places(law.same));
        let mut r = after(law, cause);
        r.wait_ms(law.secs * 1000).event(Source::Kmsg, line(hidden, Severity::Info, here)).wait_ms(200);
        assert_eq!(told_of(&r, hidden), 1, "{cause} still hides {hidden} after {} s", law.secs);
    }
}
