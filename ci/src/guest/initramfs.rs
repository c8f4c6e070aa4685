//! The guest's first root: busybox, a few modules and the scripts, in the archive format the kernel unpacks.

use std::fs;
use std::path::Path;

use super::store::at;
use super::tree::Tree;
use crate::step::Failure;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// Builds it from the tree and the scripts of `ci/guest`.
pub(crate) fn build(tree: &Tree, scripts: &Path) -> Result<Vec<u8>, Failure> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "guest", "mnt", "modules", "proc", "sys"] {
        archive.add(folder, FOLDER, &[]);
    }
    archive.add("init", PROGRAM, &read(&scripts.join("first-stage.sh"))?);
    archive.add("bin/busybox", PROGRAM, &read(&tree.root().join("usr/bin/busybox"))?);
    for name in sorted(&tree.boot())?.iter().filter(|n| n.ends_with(".ko")) {
        archive.add(&format!("modules/{name}"), PROGRAM, &read(&tree.boot().join(name))?);
    }
    add_folder(&mut archive, scripts, "guest")?;
    Ok(archive.end())
}

fn add_folder(archive: &mut Archive, folder: &Path, place: &str) -> Result<(), Failure> {
    for name in sorted(folder)? {
        let (path, place) = (folder.join(&name), format!("{place}/{name}"));
        if path.is_dir() {
            archive.add(&place, FOLDER, &[]);
            add_folder(archive, &path, &place)?;
        } else {
            archive.add(&place, PROGRAM, &read(&path)?);
        }
    }
    Ok(())
}

fn sorted(folder: &Path) -> Result<Vec<String>, Failure> {
    let entries = fs::read_dir(folder).map_err(|e| at(folder, &e))?;
    let mut names: Vec<String> = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|e| at(path, &e))
}

/// An archive in cpio's "newc" format: headers of hexadecimal text, everything on a multiple of 4 bytes.
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    files: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.files += 1;
        let links = if mode == FOLDER { 2 } else { 1 };
        // Magic, then: inode, mode, owner, group, links, time, size, four device numbers, name's length, checksum.
        let (size, name_size) = (content.len(), name.len() + 1);
        let numbers = [self.files, mode, 0, 0, links, 0].map(|n| format!("{n:08x}")).concat();
        let header = format!("070701{numbers}{size:08x}{}{name_size:08x}{:08x}{name}\0", "0".repeat(32), 0);
        self.bytes.extend_from_slice(header.as_bytes());
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn end(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_laid_out_as_the_kernel_reads_it() {
        let mut archive = Archive::default();
        archive.add("init", PROGRAM, b"hello");
        let bytes = archive.end();
        let field = |n: usize| {
            let text = str::from_utf8(&bytes[6 + 8 * n..14 + 8 * n]).expect("hexadecimal text");
            u32::from_str_radix(text, 16).expect("a number")
        };
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!([field(1), field(6), field(11), field(12)], [PROGRAM, 5, 5, 0]);
        assert_eq!(&bytes[110..116], b"init\0\0");
        assert_eq!(&bytes[116..124], b"hello\0\0\0");
        assert_eq!(&bytes[124..130], b"070701");
        assert!(bytes.len().is_multiple_of(4) && bytes.windows(10).any(|w| w == b"TRAILER!!!"));
    }
}
