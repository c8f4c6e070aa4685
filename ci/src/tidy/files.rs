//! Which files are, or are about to be, committed.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::step::Failure;

/// Paths relative to the root, with forward slashes, sorted: tracked files and new ones that are not ignored.
///
/// A tree without `.git` (an unpacked archive) is walked instead, but for its `target`.
pub(crate) fn committed(root: &Path) -> Result<Vec<String>, Failure> {
    let mut paths = if root.join(".git").exists() { listed(root)? } else { walked(root)? };
    // A tracked file may be deleted already, and a link is judged where it leads to.
    paths.retain(|p| root.join(p).symlink_metadata().is_ok_and(|m| m.is_file()));
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn listed(root: &Path) -> Result<Vec<String>, Failure> {
    let git = Command::new("git")
        // Listing runs no code of the repository, so it may belong to somebody else: a container's volume does.
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| Failure(format!("`git ls-files` did not start: {e}")))?;
    if !git.status.success() {
        return Err(Failure(format!("`git ls-files` ended with {}", git.status)));
    }
    let names =
        String::from_utf8(git.stdout).map_err(|e| Failure(format!("a file name is not UTF-8: {e}")))?;
    Ok(names.split_terminator('\0').map(String::from).collect())
}

fn walked(root: &Path) -> Result<Vec<String>, Failure> {
    println!("    no .git here: every file outside target/ is checked");
    let mut paths = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let wrong = |e| Failure(format!("{folder}: {e}"));
        for entry in root.join(&folder).read_dir().map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let path = format!("{folder}{}", entry.file_name().to_string_lossy());
            match entry.file_type().map_err(wrong)? {
                kind if kind.is_dir() && path != "target" => folders.push(format!("{path}/")),
                kind if kind.is_file() => paths.push(path),
                _ => {}
            }
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in [
            ("a/b.rs", "x"),
            ("target/c", "x"),
            ("new", "x"),
            (".gitignore", "/target\n"),
            (".github/d", "x"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        root
    }

    const EXPECTED: [&str; 4] = [".github/d", ".gitignore", "a/b.rs", "new"];

    #[test]
    fn git_lists_tracked_and_new_files_and_no_ignored_or_deleted_one() {
        let root = tree();
        let git = |args: &[&str]| {
            let status = Command::new("git").args(args).current_dir(root.path()).status();
            assert!(status.is_ok_and(|s| s.success()), "git {args:?}");
        };
        git(&["init", "--quiet"]);
        fs::write(root.path().join("gone"), "x").expect("a file");
        git(&["add", "a/b.rs", "gone"]);
        fs::remove_file(root.path().join("gone")).expect("the file");
        assert_eq!(committed(root.path()), Ok(EXPECTED.map(String::from).to_vec()));
    }

    #[test]
    fn an_archive_is_walked_but_for_target() {
        let root = tree();
        assert_eq!(committed(root.path()), Ok(EXPECTED.map(String::from).to_vec()));
    }
}
