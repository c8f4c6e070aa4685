//! Names: of a chunk, and of a write that must not be applied twice.

use core::fmt;

/// Which chunk of which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkKey {
    /// The file.
    pub inode: u64,
    /// Which of its chunks, from 0.
    pub index: u32,
}

impl fmt::Display for ChunkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chunk {} of inode {}", self.index, self.inode)
    }
}

/// Names one write for ever. A repeat has the same name; another write never has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId {
    /// Who writes: a number that no other client has, and that a client which has forgotten its sequences never takes again.
    pub writer: u64,
    /// Counted by the writer.
    pub sequence: u64,
}

/// What makes a write be applied once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// Its name.
    pub id: WriteId,
    /// The writer has seen an answer to all of its sequences below this, or has given them up; none is ever sent again.
    pub oldest_open: u64,
}
