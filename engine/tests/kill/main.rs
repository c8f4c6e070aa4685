//! Peers that die or stop, as processes: SIGKILL and SIGSTOP at each step of a connection's life, over UCX.
//!
//! `cargo test -p wavetank-engine --features ucx --test kill -- --nocapture` prints the table. Words after `--` choose cells by parts
//! of their names: `shm/rndv`, `put`, `kill`.

mod cell;
mod clock;
mod judge;
mod known;
mod lab;
mod node;
mod pattern;
mod peer;
mod scene;
mod steps;
mod supervisor;
mod survivor;
mod victim;

use std::process::ExitCode;

use node::Device;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let device =
        |transport: &str, protocol: &str| Device { transport: transport.into(), protocol: protocol.into() };
    let done = match args[..] {
        ["--victim", transport, protocol] => victim::run(&device(transport, protocol)),
        ["--survivor", transport, protocol, ref names @ ..] => {
            survivor::run(&device(transport, protocol), names)
        }
        _ => supervisor::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            clock::say(&format!("kill: {why}"));
            ExitCode::FAILURE
        }
    }
}
