//! `wavetank make-volume`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use wavetank_harness::workload::units::Bytes;
use wavetank_volume::{Generator, Version, VolumeOnDisk, WriterOptions};

/// Writes a SeaweedFS volume of made-up needles, to try things with.
///
/// Some are compressed, named, empty, overwritten or deleted. The same arguments give the same bytes on every machine.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank make-volume /tmp/volumes
  wavetank make-volume /tmp/volumes --id 7 --needles 100000 --longest 64KiB

Exit status:
  0  DIR has ID.dat and ID.idx
  2  it has not: stderr says why")]
pub(crate) struct Args {
    /// Where to; made if it is not there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The volume's number. One that is there already is left alone.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    id: u32,
    /// Needles.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    needles: u64,
    /// The longest.
    #[arg(long, value_name = "SIZE", default_value = "256KiB")]
    longest: Bytes,
    /// What is drawn: contents, cookies and what becomes of each needle.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Layout of its records: 1, 2 or 3.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=3))]
    layout: u8,
}

/// Longest needle that is made up.
const LONGEST_MAX: u64 = 64 << 20;

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    std::fs::create_dir_all(&args.folder).map_err(|why| format!("{}: {why}", args.folder.display()))?;
    for end in ["dat", "idx"] {
        let path = args.folder.join(format!("{}.{end}", args.id));
        if path.exists() {
            return Err(
                format!("{}: is there already; choose another --id or directory", path.display()).into()
            );
        }
    }
    write_as(&args.folder, &args.id.to_string(), args.needles, args.longest, args.seed, args.layout)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes volume 1.
pub(crate) fn write(
    folder: &Path,
    needles: u64,
    longest: Bytes,
    seed: u64,
    layout: u8,
) -> Result<(), Box<dyn Error>> {
    write_as(folder, "1", needles, longest, seed, layout)
}

fn write_as(
    folder: &Path,
    name: &str,
    needles: u64,
    Bytes(longest): Bytes,
    seed: u64,
    layout: u8,
) -> Result<(), Box<dyn Error>> {
    if longest == 0 || longest > LONGEST_MAX {
        return Err(format!("--longest {longest}: 1 byte to 64MiB").into());
    }
    let version = match layout {
        1 => Version::V1,
        2 => Version::V2,
        _ => Version::V3,
    };
    let generator = Generator { seed, needles, len_max: longest as usize };
    let writer = generator.write(WriterOptions { version, ..WriterOptions::default() })?;
    VolumeOnDisk::create(writer, folder, name)?;
    Ok(())
}
