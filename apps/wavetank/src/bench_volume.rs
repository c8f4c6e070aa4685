//! The volume that benchmarks of needles read: some of each size, with bytes that everybody knows.

use std::error::Error;
use std::path::Path;

use wavetank_contract::{Choices as _, Seeded, Site};
use wavetank_volume::{Cookie, NeedleId, NewNeedle, VolumeWriter, WriterOptions};

/// Bytes of needles, if not asked otherwise.
pub(crate) const SIZES: [u32; 3] = [4 << 10, 64 << 10, 1 << 20];

/// The one volume.
pub(crate) const VOLUME: u32 = 1;
/// The cookie of every needle.
pub(crate) const COOKIE: u32 = 0x7a4e;

/// Different needles of a size, and bytes of them.
const NEEDLES_MAX: u32 = 64;
const NEEDLES_BYTES_MAX: u32 = 16 << 20;

/// A needle that everybody knows.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) id: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Writes the volume to a folder. Its needles, by size.
pub(crate) fn write(sizes: &[u32], folder: &Path) -> Result<Vec<Vec<Known>>, Box<dyn Error>> {
    let mut writer = VolumeWriter::new(WriterOptions::default());
    let mut choices = Seeded::new(1);
    let (mut all, mut id) = (Vec::new(), 0);
    for &bytes in sizes {
        let mut needles = Vec::new();
        for _ in 0..(NEEDLES_BYTES_MAX / bytes).clamp(1, NEEDLES_MAX) {
            id += 1;
            let words = (0..bytes.div_ceil(8)).flat_map(|_| {
                // All but the last of 2^64 words, which is nobody's loss.
                choices.choose(Site::WorkloadOp, u64::MAX).to_le_bytes()
            });
            let data: Vec<u8> = words.take(bytes as usize).collect();
            writer.put(&NewNeedle::new(NeedleId(id), Cookie(COOKIE), &data))?;
            needles.push(Known { id, bytes: data });
        }
        all.push(needles);
    }
    writer.write_to(folder, &VOLUME.to_string())?;
    Ok(all)
}

/// A size, as tables show it.
pub(crate) fn size(bytes: u32) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}
