//! `lscpu` beside the inventory, and the page.

use sysops_agent::config::Config;
use sysops_agent::host::live::LiveHost;
use sysops_agent::host::{Host, clock};
use sysops_agent::inventory::{self, Options};

use super::rows::{Allowed, Readings, Rows, Theirs};
use super::tools::printed;

/// Compares the processors of the inventory.
pub(crate) fn compare(rows: &mut Rows) {
    let cpu = inventory::collect(&LiveHost::default(), &Options::of(&Config::default()), clock::now()).cpu;
    let text = printed("lscpu", &["-B", "-J"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let field = |name: &str| -> Option<String> {
        let fields = json["lscpu"].as_array()?;
        let row = fields
            .iter()
            .find(|row| row["field"].as_str().is_some_and(|f| f.trim_end_matches(':') == name))?;
        row["data"].as_str().map(str::to_owned)
    };
    let number = |name: &str| field(name)?.split_whitespace().next()?.parse::<f64>().ok();
    let count = |value: usize| Some(value as f64);
    let sockets = cpu.sockets.max(1) as f64;
    let (mut ours, mut theirs) = (Readings::new(), Vec::new());
    for (name, key, value, scale) in [
        ("CPU(s)", "total_threads", count(cpu.total_threads), 1.0),
        ("Thread(s) per core", "threads_per_core", count(cpu.threads_per_core), 1.0),
        ("Core(s) per socket", "cores_per_socket", count(cpu.cores_per_socket), 1.0),
        ("Socket(s)", "sockets", count(cpu.sockets), 1.0),
        ("L1d cache", "cache_l1d_kb", cpu.cache_l1d_kb.map(|kib| kib as f64), 1.0 / 1024.0),
        ("L2 cache", "cache_l2_kb", cpu.cache_l2_kb.map(|kib| kib as f64), 1.0 / 1024.0),
        ("L3 cache", "cache_l3_mb", cpu.cache_l3_mb.map(|mib| mib as f64 * sockets), 1.0 / 1_048_576.0),
    ] {
        let Some(told) = number(name) else { continue };
        let key = format!("inventory cpu.{key}");
        if let Some(value) = value {
            ours.insert(key.clone(), value);
        }
        let allowed = if name == "L3 cache" { Allowed::By(1.0) } else { Allowed::Nothing };
        let why = "the inventory tells whole MiB";
        theirs.push(Theirs {
            tool: "lscpu",
            what: name.into(),
            ours: key,
            value: told * scale,
            allowed,
            why,
        });
    }
    rows.take(&ours, theirs, &ours);
    assert_eq!((cpu.model, cpu.vendor), (field("Model name"), field("Vendor ID")));
}

/// The page around the table.
pub(crate) fn page(table: &str) -> String {
    let versions: Vec<String> = [("free", "-V"), ("iostat", "-V"), ("ss", "-V"), ("lscpu", "-V")]
        .iter()
        .filter_map(|(program, flag)| printed(program, &[flag]).lines().next().map(str::to_owned))
        .collect();
    let release = LiveHost::default().uname().release;
    let release = release.split('-').next().unwrap_or_default();
    format!(
        "# Compared with other readers\n\n\
         Written by `cargo xtask compare`, which runs `agent/tests/compare`: a disk is written, packets go over the loopback,\n\
         connections stand in several states; each other reader is asked between two readings of all our collectors, and a\n\
         value that lies between them is the same. What lies outside is asked for again, since a moment that differs does not\n\
         differ each time and a wrong reading does. A difference over what is allowed fails the test. It is one of the live\n\
         tests of `cargo xtask test`.\n\n\
         Kernel {release}; {}; node_exporter 1.5 of Debian 12.\n\n{table}",
        versions.join(", ")
    )
}
