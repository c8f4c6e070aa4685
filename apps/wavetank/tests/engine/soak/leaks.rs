//! What whoever survives has afterwards.

use std::time::Duration;

use wavetank_client::Options;

use super::load::Rights;
use super::stage::Stage;
use crate::daemon::Daemon;
use crate::dice::Dice;
use crate::library::Right;
use crate::traces::{descriptors, resident_kib, settled};
use crate::voices::{Got, VOICES, Voice};
use crate::waiting::{PATIENCE, show, within};

/// Lives of the other side after which nothing grows any more.
const WARM: usize = 2;

/// Memory that may come and go, in KiB: allocators keep some.
const RESIDENT_KIB: u64 = 24 << 10;

/// Descriptors and memory of an engine at rest.
type Rest = (Vec<String>, u64);

fn at_rest(daemon: &Daemon) -> Rest {
    settled(daemon, PATIENCE).unwrap();
    let pid = daemon.process.pid();
    (descriptors(pid), resident_kib(pid))
}

/// Whether there is more of anything than there was.
pub(crate) fn grown(before: &Rest, after: &Rest) -> Result<(), String> {
    if after.0.len() > before.0.len() + 1 {
        let new: Vec<&String> = after.0.iter().filter(|name| !before.0.contains(name)).collect();
        return Err(format!("{} descriptors have become {}: {new:?}", before.0.len(), after.0.len()));
    }
    if after.1 > before.1 + RESIDENT_KIB {
        return Err(format!("{} KiB have become {}", before.1, after.1));
    }
    Ok(())
}

/// Every kind of client reads, however long it takes until the engines have found each other.
fn read_some(daemon: &Daemon, rights: &Rights, dice: &mut Dice) {
    for name in VOICES {
        let mut voice = Voice::connect(name, &daemon.socket, &Options::default()).unwrap();
        for _ in 0..20 {
            let (wanted, right) = rights.draw(dice);
            let good = within(PATIENCE, || match (voice.read(&wanted), &right) {
                (Got::Bytes(bytes, _), Right::Bytes(right)) => (bytes == *right).then_some(()),
                (Got::No(code), Right::No(right)) => (code == *right).then_some(()),
                _ => None,
            });
            assert!(good.is_some(), "{name}: {wanted:?} is not read");
        }
    }
}

/// One engine lives on while the other is killed and comes again, and then the other way round.
pub(crate) fn survivors(stage: &mut Stage, rights: &Rights, lives: u64) {
    let mut dice = Dice::new(lives);
    for survivor in ["reader", "exporter"] {
        let mut rests = Vec::new();
        for _ in 0..WARM as u64 + lives {
            match survivor {
                "reader" => stage.restart_exporter(true, Duration::ZERO),
                _ => stage.restart_reader(true, Duration::ZERO),
            }
            read_some(&stage.reader, rights, &mut dice);
            rests.push(at_rest(if survivor == "reader" { &stage.reader } else { &stage.exporter }));
        }
        let (warm, last) = (&rests[WARM - 1], &rests[rests.len() - 1]);
        let figures: Vec<_> = rests.iter().map(|(fds, kib)| (fds.len(), *kib)).collect();
        show(&format!("{survivor} survives: descriptors and KiB after each life of the other {figures:?}\n"));
        // What the other's last life left may take a moment to be noticed.
        let daemon = if survivor == "reader" { &stage.reader } else { &stage.exporter };
        let back = within(PATIENCE, || grown(warm, &at_rest(daemon)).ok());
        assert!(back.is_some(), "{survivor}: {:?}", grown(warm, last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twin.
    #[test]
    fn more_descriptors_or_memory_are_seen() {
        let names = |count| (0..count).map(|number| format!("socket:[{number}]")).collect::<Vec<_>>();
        let before = (names(10), 50_000);
        assert_eq!(grown(&before, &(names(10), 60_000)), Ok(()));
        let why = grown(&before, &(names(12), 50_000)).unwrap_err();
        assert!(why.contains("10 descriptors have become 12") && why.contains("socket:[11]"), "{why}");
        assert!(grown(&before, &(names(10), 50_001 + RESIDENT_KIB)).unwrap_err().contains("KiB"));
    }
}
