//! The program under test.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wavetank"))
}

pub(crate) fn wavetank(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ended {
    command().args(args).output().expect("the program starts").into()
}

/// `replay FILE ARGS`.
pub(crate) fn replay(file: &Path, args: &[&str]) -> Ended {
    wavetank([OsStr::new("replay"), file.as_os_str()].into_iter().chain(args.iter().map(OsStr::new)))
}

/// `replay --volume FILE ARGS`.
pub(crate) fn replay_volume(dat: &Path, args: &[&str]) -> Ended {
    let volume = [OsStr::new("replay"), OsStr::new("--volume"), dat.as_os_str()];
    wavetank(volume.into_iter().chain(args.iter().map(OsStr::new)))
}

/// A file of `workloads/`.
pub(crate) fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workloads").join(name)
}

impl Ended {
    /// All was right, and stderr was silent.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self.stdout
    }

    /// All was right, and stdout was one JSON document.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.good()).expect("stdout is one JSON document")
    }

    /// A check failed: the report is there and says so. Answers with it and what stderr says first.
    #[track_caller]
    pub(crate) fn missed(self) -> (Value, String) {
        assert_eq!(self.code, Some(1), "{self:?}");
        let report: Value = serde_json::from_str(&self.stdout).expect("stdout is one JSON document");
        assert_eq!(report["ok"], false, "{self:?}");
        (report, self.stderr.lines().next().expect("stderr says what").to_owned())
    }

    /// Bad input: nothing on stdout, one line on stderr that begins with `wavetank: START` and has all of `parts`.
    #[track_caller]
    pub(crate) fn refused(self, start: &str, parts: &[&str]) {
        self.has_no_panic();
        assert_eq!((self.code, self.stdout.as_str()), (Some(2), ""), "{self:?}");
        assert!(
            self.stderr.starts_with(&format!("wavetank: {start}")),
            "{self:?} should start with {start:?}"
        );
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{self:?} should say {part:?}");
        }
    }

    /// A wrong command line: nothing on stdout, and stderr has all of `parts` and points to the help.
    #[track_caller]
    pub(crate) fn misused(self, parts: &[&str]) {
        self.has_no_panic();
        assert_eq!((self.code, self.stdout.as_str()), (Some(2), ""), "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{self:?} should say {part:?}");
        }
        assert!(self.stderr.contains("--help"), "{self:?}");
    }

    #[track_caller]
    fn has_no_panic(&self) {
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }
}
