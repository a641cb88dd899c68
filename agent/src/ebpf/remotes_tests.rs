use super::*;

fn v4(last: u8) -> Remote {
    Remote { address: bytemuck::cast([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, last]) }
}

fn counts(retransmits: u64, sent: u64, received: u64) -> Counts {
    Counts { counts: [retransmits, sent, received] }
}

/// A pass over entries `(last byte, retransmits)`.
fn pass(ranking: &mut Ranking, total: u64, entries: &[(u8, u64)]) {
    let entries: Vec<_> = entries.iter().map(|&(last, n)| (v4(last), counts(n, 0, 0))).collect();
    ranking.pass(counts(total, 0, 0), &entries);
}

fn retransmits(ranking: &Ranking, name: &str) -> Option<u64> {
    ranking.told().find(|(n, _)| *n == name).map(|(_, counts)| counts.counts[0])
}

#[test]
fn addresses_are_written_as_people_do() {
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    assert_eq!(address(v4(7)).to_string(), "192.0.2.7");
    assert_eq!(address(Remote { address: bytemuck::cast(v6.octets()) }).to_string(), "2001:db8::1");
    assert_eq!(address(Remote { address: [0, 0] }).to_string(), "::");
}

#[test]
fn each_counts_for_itself_and_the_forgotten_for_other() {
    let mut ranking = Ranking::default();
    pass(&mut ranking, 12, &[(1, 5), (2, 3)]);
    assert_eq!(retransmits(&ranking, "192.0.2.1"), Some(5));
    assert_eq!(retransmits(&ranking, "other"), Some(4), "the kernel had no room for one");
    pass(&mut ranking, 15, &[(1, 2), (2, 4)]);
    assert_eq!(retransmits(&ranking, "192.0.2.1"), Some(7), "forgotten and made again");
    assert_eq!(retransmits(&ranking, "192.0.2.2"), Some(4));
    assert_eq!(retransmits(&ranking, "other"), Some(4));
    ranking.pass(counts(15, 2, 1), &[(v4(2), counts(4, 2, 1))]);
    let two = ranking.told().find(|(n, _)| *n == "192.0.2.2").map(|(_, c)| c);
    assert_eq!(two, Some(counts(4, 2, 1)));
}

#[test]
fn series_are_few_and_only_grow() {
    let mut ranking = Ranking::default();
    let mut before: HashMap<String, u64> = HashMap::new();
    let mut kernel = [0u64; 200];
    for step in 0..400usize {
        for (last, count) in kernel.iter_mut().enumerate() {
            *count += ((last * 7 + step * 13) % 50 / 45) as u64;
        }
        kernel[150] += if step > 100 { 30 } else { 0 };
        let entries: Vec<_> = kernel.iter().enumerate().map(|(i, &n)| (i as u8, n)).collect();
        let total = kernel.iter().sum();
        pass(&mut ranking, total, &entries);
        assert!(ranking.told().count() <= MAX_SERIES + 1);
        for (name, counts) in ranking.told() {
            let old = before.insert(name.to_owned(), counts.counts[0]).unwrap_or(0);
            let again = counts.counts[0] < old;
            assert!(!again || ranking.places.iter().any(|p| p.name == name && p.stayed < MIN_STAY), "{name}");
        }
    }
    assert!(retransmits(&ranking, "192.0.2.150").is_some_and(|n| n > 5000), "the worst one is named");
}

#[test]
fn a_quiet_remote_gives_way_after_its_time() {
    let mut ranking = Ranking::default();
    let first: Vec<_> = (0..MAX_SERIES as u8).map(|last| (last, 10)).collect();
    pass(&mut ranking, 160, &first);
    let mut all = first.clone();
    all.push((99, 100));
    pass(&mut ranking, 260, &all);
    assert_eq!(retransmits(&ranking, "192.0.2.99"), None, "too early");
    assert_eq!(retransmits(&ranking, "other"), Some(100));
    for step in 1..=u64::from(MIN_STAY) {
        all[MAX_SERIES].1 = 100 + step;
        pass(&mut ranking, 260 + step, &all);
    }
    assert!(retransmits(&ranking, "192.0.2.99").is_some_and(|n| n >= 1));
    let told: u64 = ranking.told().map(|(_, c)| c.counts[0]).sum();
    assert!(told >= 260 + u64::from(MIN_STAY) - 10, "{told}: only what the quiet one had is gone");
}

#[test]
fn each_trouble_has_its_metric() {
    let mut ranking = Ranking::default();
    ranking.pass(counts(12, 8, 5), &[(v4(1), counts(11, 7, 4))]);
    let mut samples = Samples::new(100);
    samples.begin("ebpf_tcp", crate::time::Now::default(), None);
    put(&ranking, &mut samples);
    let batch = samples.finish();
    for (metric, remote, rest) in [
        ("tcp_remote_retransmits_total", 11.0, 1.0),
        ("tcp_remote_resets_sent_total", 7.0, 1.0),
        ("tcp_remote_resets_received_total", 4.0, 1.0),
    ] {
        for (label, expect) in [("192.0.2.1", remote), ("other", rest)] {
            let is_it =
                |def: &&crate::sample::SeriesDef| def.metric.name == metric && &*def.labels[0] == label;
            let id = batch.defs.iter().find(is_it).expect(metric).id;
            assert!(batch.samples.contains(&(id, expect)), "{metric}{{{label}}}: {:?}", batch.samples);
        }
    }
}
