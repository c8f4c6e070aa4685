//! `wavetank doctor`.

mod finding;
mod host;
mod simulated;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use wavetank_contract::finding::{Finding, Verdict};
use wavetank_engine::BackendKind;

use crate::{print, say};
use finding::{page, to_json};

/// Looks at everything that has to be right for a backend to work here, and says what is not and how to mend it.
///
/// Looking changes nothing: devices are opened and closed again, and nothing leaves them, but that those of UCX send each other a few
/// bytes within the program. A backend that is not in this build is
/// examined from outside, as far as that goes. Every check runs, whatever the ones before it found.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank doctor                                   what a simulated run needs
  wavetank doctor --backend verbs                   this machine and all of its RDMA devices
  wavetank doctor --backend verbs --device rxe0     one of them
  wavetank doctor --backend ucx                     what UCX can be used over, tried
  wavetank doctor --backend ucx --device tcp/lo     one transport, and what UCX chooses for it
  wavetank doctor --backend verbs --json | jq -r '.findings[] | select(.verdict == \"fail\") | .mend'

Exit status:
  0  usable: warnings cost speed or comfort, and stand in the table
  1  a check failed: stderr says first which, stdout has all of them
  2  the input is bad")]
pub(crate) struct Args {
    /// The backend: mock, verbs or ucx.
    #[arg(long, default_value = "mock")]
    backend: BackendKind,
    /// Only this device, by name.
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let device = args.device.as_deref();
    let findings = match (args.backend, device) {
        (BackendKind::Mock, Some(name)) => {
            let why = format!(
                "--device {name} names a real device, and --backend is mock; add --backend verbs or ucx"
            );
            return Err(why.into());
        }
        (BackendKind::Mock, None) => simulated::examine(),
        (kind, device) => examine(kind, device),
    };
    let failed = findings.iter().find(|finding| finding.verdict == Verdict::Fail);
    if let Some(Finding { check, says, .. }) = failed {
        say(&format!("{check}: {says}"));
    }
    if args.json {
        let json = json!({
            "ok": failed.is_none(),
            "backend": args.backend.name(),
            "device": device,
            "findings": findings.iter().map(to_json).collect::<Vec<_>>(),
        });
        print(&serde_json::to_string_pretty(&json)?)?;
    } else {
        print(&page(args.backend, &findings))?;
    }
    Ok(if failed.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A backend of devices: by its own doctor where it is built, from outside where it is not.
fn examine(kind: BackendKind, device: Option<&str>) -> Vec<Finding> {
    let mut findings = vec![built(kind)];
    match kind {
        #[cfg(feature = "verbs")]
        BackendKind::Verbs => {
            findings.extend(wavetank_verbs::doctor::examine(device));
        }
        #[cfg(feature = "ucx")]
        BackendKind::Ucx => findings.extend(wavetank_ucx::doctor::examine(device)),
        _ => findings.extend(host::examine(Path::new("/"), kind, device)),
    }
    findings
}

fn built(kind: BackendKind) -> Finding {
    match kind.require_built() {
        Ok(()) => Finding::ok("build", format!("the {kind} backend is in this build")),
        Err(error) => {
            let mend = format!("cargo build --release --features {}", error.feature);
            Finding::fail("build", error.to_string(), mend)
        }
    }
}
