//! Files that hold a secret.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::bad::BadSetting;

/// Line ends and blanks that may follow a secret.
const BLANKS_MAX: u64 = 16;

/// The bytes of a file that nobody else can read, without the line's end that editors leave: `bytes_max` of them at most, or one more
/// where there are more, so that whoever judges them sees that.
///
/// # Errors
/// It cannot be read, is no regular file, or others may use it.
pub fn read_secret(setting: &'static str, path: &Path, bytes_max: usize) -> Result<Vec<u8>, BadSetting> {
    let bad = |why: String| BadSetting { setting, why: format!("{}: {why}", path.display()) };
    let file = File::open(path).map_err(|why| bad(why.to_string()))?;
    let metadata = file.metadata().map_err(|why| bad(why.to_string()))?;
    if !metadata.is_file() {
        return Err(bad("is no regular file".to_owned()));
    }
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(bad(format!("others may use it (mode {mode:04o}): chmod 0600 it")));
    }
    let mut bytes = Vec::new();
    let most = (bytes_max as u64).saturating_add(BLANKS_MAX);
    file.take(most).read_to_end(&mut bytes).map_err(|why| bad(why.to_string()))?;
    while bytes.last().is_some_and(u8::is_ascii_whitespace) {
        bytes.pop();
    }
    bytes.truncate(bytes_max.saturating_add(1));
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_read_only_from_a_file_that_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let read = |text: &str, mode: u32| {
            fs::write(&path, text).expect("it is ours");
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
            read_secret("key-file", &path, 16).map_err(|why| why.to_string())
        };
        assert_eq!(read("0123456789abcdef\r\n", 0o600).as_deref(), Ok(&b"0123456789abcdef"[..]));
        assert_eq!(read(&"x".repeat(500), 0o400).map(|bytes| bytes.len()), Ok(17));
        let why = read("0123456789abcdef", 0o640).expect_err("the group may read it");
        assert!(why.starts_with("key-file: ") && why.contains("0640") && why.contains("chmod 0600"), "{why}");
        let why = read_secret("key-file", folder.path(), 16).expect_err("a folder").to_string();
        assert!(why.contains("regular"), "{why}");
    }
}
