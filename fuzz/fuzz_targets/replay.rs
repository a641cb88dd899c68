#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sysops_fuzz::run("replay", data));
