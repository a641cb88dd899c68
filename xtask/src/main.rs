//! The project's chores.

mod build_ebpf;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["build-ebpf"] => build_ebpf::run(false),
        ["build-ebpf", "--check"] => build_ebpf::run(true),
        _ => Err("usage: cargo xtask build-ebpf [--check]".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
