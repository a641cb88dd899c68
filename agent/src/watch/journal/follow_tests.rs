//! The child and who looks after it, with a shell in the place of `journalctl`.

use super::*;
use crate::event::What;
use crate::host::fixture::FixtureHost;
use tokio::sync::mpsc::{Receiver, channel};

const OOMD: &str = "//- /sys/fs/cgroup/system.slice/systemd-oomd.service/cgroup.procs\n1\n";
const LIMIT: Duration = Duration::from_secs(20);

fn watch(host: &str, script: fn(&Wanted, &Place, &[String]) -> Vec<String>) -> (JournalWatch, FixtureHost) {
    let fixture = FixtureHost::parse(host).expect("valid");
    let host: Arc<dyn Host> = Arc::new(fixture.clone());
    let wanted = Wanted { folder: None, boot_id: "b".into(), kernel: false, programs: false };
    let mut watch = JournalWatch::new(&host, wanted, Reader::new(Place::Cursor("s=0".into()), None, None));
    (watch.program, watch.arguments) = ("sh".into(), script);
    (watch.look, watch.pause) = (Duration::from_millis(5), Duration::from_millis(1));
    (watch, fixture)
}

/// A kill at a place.
fn entry(place: &str) -> String {
    format!(
        r#"{{"__CURSOR":"{place}","__MONOTONIC_TIMESTAMP":"1","_SYSTEMD_UNIT":"systemd-oomd.service","MESSAGE":"Killed /{place} due to x"}}"#
    )
}

fn script(text: &str) -> Vec<String> {
    vec!["-c".into(), text.into()]
}

async fn next(events: &mut Receiver<Event>) -> String {
    let event = timeout(LIMIT, events.recv()).await.expect("an event in time").expect("an event");
    match event.what {
        What::Witness { is_up } => format!("up {is_up}"),
        What::UserKill(kill) => kill.victim.cgroup.unwrap_or_default(),
        What::JournalMark(mark) => format!("mark {}", mark.place),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_child_that_ends_is_started_again_where_it_stopped() {
    // Prints the entry it is told to begin with and the next one, then ends.
    let (watch, _) = watch(OOMD, |_, place, _| {
        let number: u32 = place.text().trim_start_matches("s=").parse().unwrap();
        let next = format!("s={}", number + 1);
        script(&format!("echo '{}'; echo '{}'; echo torn; exit 1", entry(&place.text()), entry(&next)))
    });
    let (tx, mut rx) = channel(64);
    let stop = CancellationToken::new();
    let task = tokio::spawn(watch.run(tx, stop.clone()));
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let event = next(&mut rx).await;
        if event.starts_with('/') {
            seen.push(event);
        }
    }
    assert_eq!(seen, ["/s=1", "/s=2", "/s=3", "/s=4"], "each once, the first one not at all");
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn nobody_to_be_heard_means_no_child() {
    let (watch, host) = watch("", |_, _, _| script(&format!("echo '{}'; exec sleep 1000", entry("s=1"))));
    let (tx, mut rx) = channel(64);
    let task = tokio::spawn(watch.run(tx.clone(), CancellationToken::new()));
    assert_eq!(next(&mut rx).await, "mark s=0", "where the next run begins");
    sleep(Duration::from_millis(50)).await;
    assert!(rx.try_recv().is_err());
    host.set("/sys/fs/cgroup/system.slice/systemd-oomd.service/cgroup.procs", "1");
    assert_eq!([next(&mut rx).await, next(&mut rx).await], ["/s=1", "mark s=1"]);
    // When the receiver is gone, so is the child.
    drop(rx);
    timeout(LIMIT, task).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn a_program_that_is_not_there_or_complains_is_no_end() {
    let (mut watch, _) = watch(OOMD, |_, _, _| script("echo 'No journal files were opened' >&2; exit 1"));
    watch.units = running(watch.host.as_ref());
    let (tx, _rx) = channel::<Event>(64);
    let End::Broken(why) = watch.child(&tx).await else { panic!("it ended well") };
    assert_eq!(why, "No journal files were opened");
    watch.program = "no-such-program".into();
    let End::Broken(why) = watch.child(&tx).await else { panic!("it ended well") };
    assert!(why.starts_with("it cannot be started"), "{why}");
}

#[tokio::test]
async fn it_is_a_witness_only_while_it_delivers() {
    // Ends at once, then lives without a word, then speaks and ends.
    let (mut watch, _) = watch("", |_, place, _| {
        let file = std::env::temp_dir().join(format!("journal-follow-{}", std::process::id()));
        let file = file.display();
        let _ = place;
        script(&format!(
            "echo x >> {file}; case $(wc -l < {file}) in 1) exit 1;; 2) sleep 0.3; exit 1;; 3) echo '{}'; exit 1;; \
             *) rm {file}; exec sleep 1000;; esac",
            entry("s=1")
        ))
    });
    watch.wanted.kernel = true;
    watch.alive = Duration::from_millis(100);
    let state = watch.state();
    let (tx, mut rx) = channel(64);
    let stop = CancellationToken::new();
    let task = tokio::spawn(watch.run(tx, stop.clone()));
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let event = next(&mut rx).await;
        seen.extend(Some(event).filter(|event| event.starts_with("up")));
    }
    assert_eq!(seen, ["up true", "up false", "up true", "up false", "up true"]);
    assert_eq!(
        (state.standing(), state.starts.load(Relaxed), state.entries.load(Relaxed)),
        (Standing::Up, 4, 1)
    );
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_kill_that_is_announced_is_told_although_nothing_follows() {
    let (watch, _) = watch(OOMD, |_, _, _| {
        let text = r#"{"__CURSOR":"s=1","__MONOTONIC_TIMESTAMP":"1","_SYSTEMD_UNIT":"systemd-oomd.service","MESSAGE":"Marked /m for killing due to x"}"#;
        script(&format!("echo '{text}'; exit 1"))
    });
    let (tx, mut rx) = channel(64);
    let task = tokio::spawn(watch.run(tx, CancellationToken::new()));
    let first = [next(&mut rx).await, next(&mut rx).await, next(&mut rx).await];
    assert_eq!(first, ["mark s=0", "/m", "mark s=1"], "the place stays before it until then");
    drop(rx);
    timeout(LIMIT, task).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn another_killer_is_heard_too() {
    let (watch, host) = watch(OOMD, |_, _, units| {
        script(&format!("echo '{}'; exec sleep 1000", entry(&format!("s={}", units.len()))))
    });
    let (tx, mut rx) = channel(64);
    let task = tokio::spawn(watch.run(tx, CancellationToken::new()));
    assert_eq!([next(&mut rx).await, next(&mut rx).await], ["mark s=0", "/s=1"]);
    host.set("/sys/fs/cgroup/system.slice/earlyoom.service/cgroup.procs", "1");
    let mut event = String::new();
    while event != "/s=2" {
        event = next(&mut rx).await;
    }
    drop(rx);
    timeout(LIMIT, task).await.expect("it ends").unwrap();
}
