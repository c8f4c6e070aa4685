//! Says what is wrong with RDMA on this machine, and tries to open the device named as argument.

use wavetank_verbs::{VerbsConfig, VerbsDevice, doctor};

#[expect(clippy::print_stdout, reason = "an example for people")]
fn main() {
    let device = std::env::args().nth(1);
    for finding in doctor::examine(device.as_deref()) {
        println!("{finding}");
    }
    let Some(device) = device else { return };
    match VerbsDevice::open(&VerbsConfig::new(device)) {
        Ok(device) => println!("{:#?}", wavetank_contract::Backend::caps(&device)),
        Err(error) => println!("{error}"),
    }
}
