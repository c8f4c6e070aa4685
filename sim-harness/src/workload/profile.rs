//! Latency profiles by name, and from files.
//!
//! ```toml
//! name = "rxe-guest"
//! base_ns = 21000        # each way, apart from bytes: both NICs and the cable
//! packet_ns = 4000       # of each packet beside its bytes; default 0
//! byte_ps = 800          # of each byte: 80 is 100 Gb/s
//! jitter_ns = 60000      # largest extra delay of a packet
//! jitter_shape = 4       # how rare long delays are: 1 (default) is evenly drawn; see `Shaped`
//! ```
//!
//! `wavetank calibrate` writes such files. A workload names one as `profile = "rxe-guest.toml"`, relative to itself.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use wavetank_mock::Profile;

use super::document::{Document, Value};
use super::error::{WorkloadError, quote};
use super::limits::{MAX_JITTER_SHAPE, MAX_PROFILE_BYTE_PS, MAX_PROFILE_NS, MAX_TOML_BYTES};
use super::topology;

const KEYS: &[&str] = &["name", "base_ns", "packet_ns", "byte_ps", "jitter_ns", "jitter_shape"];

/// The profile of this name, if it is one that everybody has.
pub fn named_profile(name: &str) -> Option<Profile> {
    Profile::ALL.into_iter().find(|profile| profile.name == name).cloned()
}

/// Reads a profile from a file.
///
/// # Errors
/// [`WorkloadError`] with file, line and key.
pub fn load_profile(path: &Path) -> Result<Profile, WorkloadError> {
    let unreadable = |e| WorkloadError::unreadable(path, e);
    let mut text = Vec::new();
    File::open(path).map_err(unreadable)?.take(MAX_TOML_BYTES).read_to_end(&mut text).map_err(unreadable)?;
    let Ok(text) = str::from_utf8(&text) else {
        return Err(WorkloadError::invalid(path, 1, "syntax", "not UTF-8, so no profile"));
    };
    parse(path, text)
}

pub(crate) fn parse(path: &Path, text: &str) -> Result<Profile, WorkloadError> {
    let document = Document::new(path, text);
    let tree = document.tree()?;
    let top = document.top(&tree, KEYS)?;
    let name = topology::name(&top.need("name", "a profile needs a name, as in name = \"mine\"")?)?;
    let need = |key: &str, most| top.need(key, "a profile needs it")?.number(0..=most);
    let may = |key: &str, least, most| top.get(key).map_or(Ok(least), |value| value.number(least..=most));
    Ok(Profile {
        name: Cow::Owned(name),
        base_ns: need("base_ns", MAX_PROFILE_NS)?,
        packet_ns: may("packet_ns", 0, MAX_PROFILE_NS)?,
        byte_ps: need("byte_ps", MAX_PROFILE_BYTE_PS)?,
        jitter_ns: need("jitter_ns", MAX_PROFILE_NS)?,
        jitter_shape: may("jitter_shape", 1, MAX_JITTER_SHAPE)? as u32,
    })
}

/// The text of a profile's file, without comments.
pub fn profile_text(profile: &Profile) -> String {
    let Profile { name, base_ns, packet_ns, byte_ps, jitter_ns, jitter_shape } = profile;
    format!(
        "name = \"{name}\"\nbase_ns = {base_ns}\npacket_ns = {packet_ns}\nbyte_ps = {byte_ps}\n\
         jitter_ns = {jitter_ns}\njitter_shape = {jitter_shape}\n"
    )
}

/// The profile that a workload asks for: a name, or a file beside it.
pub(super) fn read(value: &Value<'_>, workload: &Path) -> Result<Profile, WorkloadError> {
    let asked = value.text()?;
    if let Some(profile) = named_profile(asked) {
        return Ok(profile);
    }
    if !asked.ends_with(".toml") {
        let names = Profile::ALL.map(|profile| &*profile.name).join(", ");
        return Err(value
            .error(format!("found {}; wanted one of {names}, or a file as in \"mine.toml\"", quote(asked))));
    }
    load_profile(&workload.parent().unwrap_or(Path::new("")).join(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(Path::new("p.toml"), text).expect_err("refused").to_string()
    }

    const GOOD: &str = "name = \"a\"\nbase_ns = 1\nbyte_ps = 2\njitter_ns = 3\n";

    #[test]
    fn a_profile_is_read_as_it_was_written() {
        for profile in Profile::ALL {
            assert_eq!(parse(Path::new("p.toml"), &profile_text(profile)).expect("its own text"), *profile);
        }
        let defaults = parse(Path::new("p.toml"), GOOD).expect("right");
        assert_eq!((defaults.packet_ns, defaults.jitter_shape), (0, 1));
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_key() {
        assert!(refused("base_ns = 1\n").contains("p.toml:1: name: missing"));
        assert!(refused(&GOOD.replace("byte_ps", "byte_px")).starts_with("p.toml:3: byte_px: unknown key"));
        assert!(refused(&GOOD.replace("= 3", "= -3")).starts_with("p.toml:4: jitter_ns: -3 is negative"));
        assert!(
            refused(&format!("{GOOD}jitter_shape = 65537\n"))
                .contains("p.toml:5: jitter_shape: found 65537; wanted 1 to 65536")
        );
        assert!(refused(&format!("{GOOD}packet_ns = 99999999999\n")).contains("p.toml:5: packet_ns: found"));
    }
}
