//! See the library; `init` is what the kernel starts, the other roles are its children.

use std::process::ExitCode;

use vm_guest::{init, roles};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if std::process::id() == 1 {
        init::run();
        return ExitCode::FAILURE;
    }
    match roles::play(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("vm-guest {}: {why}", args.join(" "));
            ExitCode::FAILURE
        }
    }
}
