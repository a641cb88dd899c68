//! Broken files: each message says where, what, and what to do.

use super::{env, load, outcome};
use sysops_agent::config::{self, LARGEST_FILE};

macro_rules! broken {
    ($($name:ident: $text:expr;)+) => { $(
        #[test]
        fn $name() {
            assert!(load($text).is_err(), "this file is not broken");
            insta::assert_snapshot!(outcome($text));
        }
    )+ };
}

broken! {
    unknown_key: "[thresholds]\ncpu_percnt = 90.0\n";
    unknown_key_of_another_section: "[alerting]\nfacility = \"daemon\"\n";
    unknown_key_without_likeness: "[alerting.grouping]\ncolour = \"blue\"\n";
    unknown_section: "[threshold]\ncpu_percent = 90\n[alerting.emial]\n";
    key_outside_of_a_section: "cpu_percent = 90\n";
    key_of_the_older_agent: "uuid = \"x\"\n[api]\nserver = \"https://example.com\"\n";
    key_with_control_characters: "[agent]\n\"host\\u001b[31mname\\nx\" = 1\n";
    section_that_is_a_value: "agent = 5\nalerting = [1]\n[collector]\ndocker = \"/var/run/docker.sock\"\n";
    section_that_is_a_list: "[[agent]]\nhostname = \"x\"\n";
    list_that_is_a_section: "[alerting.rules]\nname = \"x\"\n";
    wrong_types: "[agent]\nhostname = 5\ncollect_interval_secs = \"10\"\nlabels = []\n[inventory]\nenabled = \"true\"\n\
                  collect_interval_secs = 10.5\n[collector]\ndisabled = \"cpu\"\nexclude_devices = [\"a\", 1979-05-27]\n";
    out_of_range: "[agent]\ncollect_interval_secs = 0\n[collector]\nmax_series = -1\n[ebpf]\nperf_buffer_pages = 17\n\
                   [analyzer]\nema_alpha = 1.5\nzscore_threshold = nan\n[alerting.email]\nsmtp_port = 70000\n";
    huge_numbers: "[agent]\ncollect_interval_secs = 99999999999999999999999999\n[thresholds]\n\
                   cpu_percent = 1e999\nmemory_percent = inf\ndisk_percent = 99999999999999999999999999\n";
    bad_choice: "[agent]\nlog_level = \"inof\"\n[ebpf]\nenabled = \"maybe\"\n[log_analyzer]\nsources = [\"dmesg\", \"dmseg\"]\n";
    bad_pattern: "[collector]\ntrack_patterns = ['java', '(unclosed', 'a{1000}{1000}', '']\n\
                  [[log_analyzer.custom_patterns]]\nname = 'x'\npattern = '[z-a]'\n";
    too_many_patterns: &format!("[collector]\ntrack_patterns = [{}]\n", "'x', ".repeat(65));
    missing_parts_of_a_pattern: "[log_analyzer]\ncustom_patterns = [\n  { severity = 'warn', name = '' },\n]\n";
    bad_url: "[alerting.syslog]\naddress = 'http://host'\n[nats]\nurl = 'nats-server:4222'\n\
              urls = ['nats://']\n[push]\nmetrics_url = 'example.com/metrics'\n";
    bad_address: "[prometheus]\nbind = 'localhost:9100'\npath = 'metrics'\n[http]\nbind = ':6060'\n\
                  [collector.redis]\naddr = 'localhost'\n";
    bad_mail: "[alerting.email]\nenabled = true\nsmtp_host = 'mail server'\nfrom = 'ops'\nto = ['a@b', '@', 'A <a@b>']\n";
    bad_template: "[alerting.templates]\ndefault = '{{severty}}'\nsyslog = '{{ message'\nwebhook = '{{ message | shout }}'\n\
                   terminal = '{% for %}'\n";
    bad_rule: "[[alerting.rules]]\nname = 'a b'\nmetric = 'disk_used_percnt'\nwarn = 95\ncritical = 90\n\
               [[alerting.rules]]\nname = 'low'\nmetric = 'cpu_usage_percent'\nop = '<'\nwarn = 5\ncritical = 10\n\
               [[alerting.rules]]\nname = 'low'\nmetric = 'cpu_usage_percent'\nmessage = '{{message}}'\n\
               [[alerting.rules]]\nname = 'clear'\nmetric = 'cpu_usage_percent'\nwarn = 5\nclear = 6\nrunbook_url = 'wiki'\n";
    bad_threshold: "[thresholds]\ncpu_percent = 900\nmemory_percent = { warn = 95, critical = 90 }\n\
                    disk_full_hours = { warn = 6, critical = 24 }\nfd_percent = \"of\"\n\
                    swap_percent = { warn = 50, crit = 80, for_secs = -1 }\nsteal_percent = { critical = 30, clear = 31 }\n\
                    iowait_percent = { warn = 101 }\n";
    bad_schedule: "[[alerting.maintenance]]\nname = 'a'\nschedule = 'Sunday'\n[[alerting.maintenance]]\nname = 'a'\n\
                   schedule = 'Sun 25:00-26:00'\n";
    window_without_length: "[[alerting.maintenance]]\nname = 'a'\nschedule = 'Sun 04:00-04:00'\n";
    label_of_no_alert_in_a_message: "[[alerting.rules]]\nname = 'a'\nmetric = 'disk_used_percent'\nwarn = 1\n\
                   message = '{{ labels.mont }} {{ labels.device }}'\n[[alerting.rules]]\nname = 'b'\nop = 'absent'\n\
                   metric = 'disk_used_percent'\nlabels = { mount = '/x' }\nmessage = '{{ labels.mount }} {{ labels.device }}'\n";
    names_that_a_service_refuses: "[alerting.telegram]\nbot_token = 'bot123:abc'\n[alerting.discord]\nusername = 'My Discord'\n";
    bad_labels: "[agent]\nlabels = { 'data center' = 'x', env = 5, '' = 'y' }\n";
    endpoints_that_nobody_can_ask: "[prometheus]\nenabled = true\npath = '/metrics?x=1'\nauth_key = 'trail '\n\
                    [http]\nenabled = true\nauth_key = ' lead'\n";
    bad_log_rules: "[log_analyzer]\ndisabled_rules = ['oom_kill', 'segfalt']\nseverity = { hung_task = 'info' }\n\
                    [[log_analyzer.custom_patterns]]\nname = 'gpu_xid'\npattern = 'x'\n";
    bad_collector: "[collector]\nenabled = ['cpu', 'memroy']\ndisabled = ['gpus']\n";
    bad_window: "[alerting]\ndedup_window_secs = { warn = 1, warning = 2 }\n[alerting.grouping]\nwindow_secs = 0\n";
    unset_variable: "[alerting.webhook]\nurl = 'https://example.com/${WEBHOOK_KEY}'\n[agent]\nhostname = '${'\nlabels = { a = '${x y}' }\n";
    bad_log_files: "[log_shipper]\nenabled = true\n[log_shipper.x]\n[push]\nlog_url = 'collector'\n";
    log_files_without_a_root: "[log_shipper]\nfiles = ['/var/log/x', 'log/*.log']\n";
    enabled_without_what_it_needs: "[alerting.webhook]\nenabled = true\n[alerting.telegram]\nenabled = true\nbot_token = ''\n\
                                    [nats]\nenabled = true\n[alerting.email]\nenabled = true\nto = []\n";
    syntax_missing_value: "[agent]\nhostname =\n";
    syntax_no_quotes: "[agent]\nhostname = web-1\n";
    syntax_unclosed: "[agent\nhostname = \"web\n[thresholds\n";
    syntax_duplicate: "[agent]\nhostname = \"a\"\nhostname = \"b\"\n[agent]\n";
    syntax_control_character: "[agent]\nhostname = \"a\u{1}\u{1b}[31m\"\n";
    syntax_ends_early: "[collector]\nexclude_devices = [\"loop*\",";
    windows_line_ends: "[agent]\r\nhostname = 5\r\n";
    wide_and_tabs: "[agent]\n\t\"hôst\" = 5 # ← \u{202e}\n";
    long_line: &format!("[agent]\nlabels = {{ {}, bad-name = 'x', {} }}\n", many("a"), many("b"));
    several_at_once: "[agent]\nhostnme = \"web\"\ncollect_interval_secs = \"10\"\n\n[thresholds]\ncpu_percent = 900\n\n\
                      [alerting.webhook]\nenabled = true\nurl = \"ftp://example.com/s3cret\" # was s3cret\n\n\
                      [[alerting.rules]]\nname = \"data\"\nmetric = \"disk_usage_percent\"\nwarn = 95\n";
}

fn many(prefix: &str) -> String {
    let entries: Vec<_> = (0..60).map(|i| format!("{prefix}{i} = 'x'")).collect();
    entries.join(", ")
}

/// Hostile files: no panic, no endless work, and an answer that stays short.
#[test]
fn hostile_files_get_a_short_answer() {
    fn check(text: &str, expect: &str) {
        let outcome = outcome(text);
        assert!(outcome.contains(expect), "{}", outcome.chars().take(2000).collect::<String>());
        assert!(outcome.len() < 80_000, "the answer has {} bytes", outcome.len());
        assert!(!outcome.contains(['\u{1b}', '\u{202e}', '\r']));
    }
    let fill = |part: &str| part.repeat((LARGEST_FILE - 9) / part.len());
    check(&fill("["), "This is not TOML");
    check(&format!("a = {}", fill("[")), "This is not TOML");
    check(&format!("a{} = 1", ".a".repeat(100_000)), "recursion limit");
    check(&fill("x"), "This is not TOML");
    check(&fill("\n\u{1b}[31m"), "This is not TOML");
    check(&fill("é"), "This is not TOML");
    check(&fill("\""), "This is not TOML");
    check(
        &(0..20_000).fold(String::new(), |text, i| text + &format!("k{i} = 1\n")),
        "20000 problems in config.toml; 100 are shown",
    );
    check(&format!("[agent]\n{} = 1", "k".repeat(200_000)), "1 problem");
    check(&format!("[agent]\nhostname = [{}]", "1,".repeat(120_000)), "cannot be a list");
    check(&format!("[collector]\ndisabled = [{}]", "'cpu',".repeat(2000)), "has 2000 entries");
    check(&format!("[alerting.templates]\ndefault = '{}'", "{{value}}".repeat(1000)), "too long");
    check(
        "[alerting.templates]\ndefault = '{{message * 100000}}'",
        "it makes a text of more than 65536 bytes",
    );
}

#[test]
fn a_file_too_large_is_refused_unread() {
    let text = "#".repeat(LARGEST_FILE + 1);
    insta::assert_snapshot!(outcome(&text));
}

#[test]
fn a_file_name_cannot_forge_lines() {
    let problems = config::load("x", "a\nb\u{1b}[31m", &env, config::Known::default());
    assert!(problems.is_err_and(|p| p.to_string().starts_with("a?b?[31m:1:2: ")));
}
