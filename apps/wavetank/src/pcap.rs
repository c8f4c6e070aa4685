//! `--pcap`: the simulated wire, kept for Wireshark.

use std::path::{Path, PathBuf};

use clap::Args;
use wavetank_harness::pcap::{BYTES_MAX, Capture};
use wavetank_harness::workload::units::Bytes;
use wavetank_mock::Tap;

use crate::{files, say};

/// What is asked of a capture.
#[derive(Clone, Debug, Args)]
pub(crate) struct Asked {
    /// Write every packet of the simulated network to this file, as RoCE v2 in pcapng, for Wireshark. Packets are captured
    /// where they leave: what the network then loses is there too. Of two runs, the first.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// End the capture, not the run, at this size, as in 512MiB.
    #[arg(long, value_name = "SIZE", default_value_t = Bytes(BYTES_MAX), requires = "pcap")]
    pcap_max: Bytes,
}

/// A capture under way.
#[derive(Debug)]
pub(crate) struct Capturing {
    path: PathBuf,
    capture: Capture,
}

impl Asked {
    /// Begins the capture, if one is asked for: a long run should not end with a file that cannot be written.
    pub(crate) fn begin(&self, simulated: bool) -> Result<Option<Capturing>, String> {
        let Some(path) = &self.pcap else { return Ok(None) };
        if !simulated {
            return Err("--pcap captures the simulated network; packets of a device are seen by `tcpdump -i NETDEV -w FILE \
                        udp port 4791` (soft-RoCE) or by the adapter's own sniffer: leave --pcap out, or --backend"
                .into());
        }
        let out = Box::new(files::create(path)?);
        let capture =
            Capture::new(out, self.pcap_max.0).map_err(|error| unwritten(path, &error.to_string()))?;
        Ok(Some(Capturing { path: path.clone(), capture }))
    }

    /// The file, if there is to be one.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.pcap.as_deref()
    }
}

impl Capturing {
    /// What the network is to be tapped with.
    pub(crate) fn tap(&self) -> Box<dyn Tap> {
        self.capture.tap()
    }

    /// Ends the capture, and says if it is not whole.
    pub(crate) fn finish(&self) -> Result<(), String> {
        let path = self.path.display();
        let captured = self.capture.finish().map_err(|error| format!("{path}: {error}"))?;
        if captured.left_out > 0 {
            let size = Bytes(captured.bytes);
            say(&format!(
                "{path}: has the first {} packets and ends at {size}; {} more are not in it (raise --pcap-max)",
                captured.packets, captured.left_out
            ));
        }
        Ok(())
    }
}

fn unwritten(path: &Path, error: &str) -> String {
    format!("{}: cannot be written: {error}", path.display())
}
