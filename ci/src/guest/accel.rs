//! How a guest's processor is had: from the host's, or in software.
//!
//! That there is a `/dev/kvm` says little: on some hosts it is there and no guest boots. Only a guest that booted counts,
//! and what one said is remembered until the host itself is booted again.

use std::fs;
use std::time::Duration;

use clap::ValueEnum;

use super::machine::{Machine, Size};
use super::running::Ended;
use super::script::Script;
use super::store::at;
use crate::step::Failure;

/// An accelerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accel {
    /// The host's processor
    Kvm,
    /// Emulated: works everywhere, some ten times slower
    Tcg,
}

impl Accel {
    /// QEMU's words for it.
    pub(crate) fn arguments(self) -> [&'static str; 4] {
        match self {
            Accel::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Accel::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

/// A guest that boots in earnest is done in two seconds.
const PROBE: Size = Size { smp: 2, memory_mib: 1024, timeout: Duration::from_secs(5) };

/// KVM if a guest boots on it, else emulation.
pub(crate) fn choose(machine: &Machine) -> Result<Accel, Failure> {
    if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return Ok(Accel::Tcg);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let verdict = |word: &str| format!("{} {word}\n", boot.trim());
    let file = machine.folder().join("kvm");
    match fs::read_to_string(&file) {
        Ok(known) if known == verdict("works") => return Ok(Accel::Kvm),
        Ok(known) if known == verdict("fails") => return Ok(Accel::Tcg),
        _ => {}
    }
    println!("    trying whether a guest boots on /dev/kvm");
    let mut probe = machine.start_on(Accel::Kvm, &Script::of("true"), PROBE)?;
    probe.boots_within(Duration::from_secs(15));
    let ended = probe.finish(|_| ())?;
    let (accel, word) = if ended == Ended::Code(0) { (Accel::Kvm, "works") } else { (Accel::Tcg, "fails") };
    println!("    it {word}: guests run on {accel:?}");
    fs::write(&file, verdict(word)).map_err(|e| at(&file, &e))?;
    Ok(accel)
}
