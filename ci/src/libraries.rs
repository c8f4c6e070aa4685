//! The native libraries the features verbs and ucx are built with: unpacked ones if this machine can have them, else
//! installed ones.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::guest::script::quoted;
use crate::guest::store::Store;
use crate::guest::tree::{LIBRARIES, Tree};
use crate::step::Failure;
use crate::ucx::newer::NewerUcx;
use crate::workspace::Workspace;

/// The environment in which `--features verbs,ucx` builds, and in which its programs find their libraries.
#[derive(Debug)]
pub(crate) struct Libraries {
    env: Vec<(&'static str, OsString)>,
    /// How a person gets this environment.
    by: &'static str,
    /// Keep the libraries where they are.
    _tree: Option<Tree>,
    _newer_ucx: Option<NewerUcx>,
}

impl Libraries {
    /// Those of the guest's packages, on the one system they are for; what is installed, on any other.
    pub(crate) fn find(workspace: &Workspace) -> Result<Libraries, Failure> {
        let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
        if !is_debian_12(&system) || std::env::consts::ARCH != "x86_64" {
            println!("    this is not Debian 12 on x86_64: building with the libraries that are installed");
            return Ok(Libraries::installed());
        }
        if let Some(odd) = split_by_pkg_config(workspace.root()) {
            return Err(Failure(format!(
                "pkg-config takes no {odd:?} in a path: move {}",
                workspace.root().display()
            )));
        }
        let tree = Tree::provide(&Store::of(workspace))?;
        let before = std::env::var_os("LD_LIBRARY_PATH");
        let env = environment(&tree.root(), before);
        Ok(Libraries { env, by: "cargo ci with -- ", _tree: Some(tree), _newer_ucx: None })
    }

    /// Whatever pkg-config and the linker find by themselves.
    pub(crate) fn installed() -> Libraries {
        Libraries { env: Vec::new(), by: "", _tree: None, _newer_ucx: None }
    }

    /// The same, but for UCX, which is a newer one that no system has yet: for the feature ucx without verbs.
    pub(crate) fn with_newer_ucx(mut self, workspace: &Workspace) -> Result<Libraries, Failure> {
        let newer = NewerUcx::provide(&Store::of(workspace))?;
        self.env = with_newer_ucx(&newer.prefix(), self.env, std::env::var_os("LD_LIBRARY_PATH"));
        Ok(Libraries { by: "cargo ci with --newer-ucx -- ", _newer_ucx: Some(newer), ..self })
    }

    /// What a person puts before a command to have it run in this environment.
    pub(crate) fn by(&self) -> &'static str {
        self.by
    }

    /// The variables to set.
    pub(crate) fn env(&self) -> &[(&'static str, OsString)] {
        &self.env
    }

    /// Runs any program in this environment. Its exit code.
    pub(crate) fn run(&self, words: &[String]) -> Result<u8, Failure> {
        let [program, arguments @ ..] = words else {
            return Err(Failure("there is no program to run".into()));
        };
        let status = Command::new(program).args(arguments).envs(self.env.iter().cloned()).status();
        let status = status.map_err(|e| Failure(format!("{program} did not start: {e}")))?;
        Ok(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(u8::MAX))
    }
}

fn is_debian_12(os_release: &str) -> bool {
    let has = |line: &str| os_release.lines().any(|l| l.replace('"', "") == line);
    has("ID=debian") && has("VERSION_ID=12")
}

/// A character of the path that pkg-config's answers are torn apart at.
fn split_by_pkg_config(path: &Path) -> Option<char> {
    path.to_string_lossy().chars().find(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | '#' | '$'))
}

/// Points pkg-config, bindgen and the loader into an unpacked tree.
fn environment(root: &Path, library_path: Option<OsString>) -> Vec<(&'static str, OsString)> {
    let libraries = root.join(LIBRARIES);
    // libclang looks for its own headers (stddef.h) where it would be installed.
    let headers = root.join("usr/lib/llvm-14/lib/clang/14.0.6");
    let path = ahead_of(&libraries, library_path);
    vec![
        ("PKG_CONFIG", root.join("usr/bin/pkgconf").into()),
        ("PKG_CONFIG_SYSROOT_DIR", root.into()),
        ("PKG_CONFIG_LIBDIR", libraries.join("pkgconfig").into()),
        ("LIBCLANG_PATH", root.join("usr/lib/llvm-14/lib").into()),
        ("BINDGEN_EXTRA_CLANG_ARGS", format!("-resource-dir {}", quoted(&headers.to_string_lossy())).into()),
        ("LD_LIBRARY_PATH", path),
    ]
}

/// Points pkg-config and the loader to another UCX. Its headers are found where they are, and below no system's root.
fn with_newer_ucx(
    prefix: &Path,
    mut env: Vec<(&'static str, OsString)>,
    library_path: Option<OsString>,
) -> Vec<(&'static str, OsString)> {
    let set = env.iter().find(|(n, _)| *n == "LD_LIBRARY_PATH").map(|(_, path)| path.clone());
    let path = ahead_of(&prefix.join("lib"), set.or(library_path));
    env.retain(|(n, _)| !["LD_LIBRARY_PATH", "PKG_CONFIG_SYSROOT_DIR"].contains(n));
    env.extend([("LD_LIBRARY_PATH", path), ("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig").into())]);
    env
}

/// A search path that begins with this folder.
fn ahead_of(folder: &Path, before: Option<OsString>) -> OsString {
    let mut path = folder.as_os_str().to_owned();
    // An empty entry would mean the current folder.
    if let Some(before) = before.filter(|p| !p.is_empty()) {
        path.push(":");
        path.push(before);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_12_is_told_from_its_neighbours() {
        assert!(is_debian_12(
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n"
        ));
        assert!(!is_debian_12("VERSION_ID=\"13\"\nID=debian\n"));
        assert!(!is_debian_12("VERSION_ID=\"12\"\nID=other\nID_LIKE=debian\n"));
        assert!(!is_debian_12(""));
    }

    #[test]
    fn a_path_that_pkg_config_cannot_say_is_found() {
        assert_eq!(split_by_pkg_config(Path::new("/home/me/wave tank")), Some(' '));
        assert_eq!(split_by_pkg_config(Path::new("/home/me/wave-tank_2.0+x")), None);
    }

    #[test]
    fn every_path_leads_into_the_tree() {
        for (name, value) in environment(Path::new("/tree"), None) {
            assert!(value.to_string_lossy().contains("/tree"), "{name}={value:?}");
        }
    }

    #[test]
    fn a_library_path_that_was_there_is_kept_behind() {
        let path = |before: &str| {
            let env = environment(Path::new("/tree"), Some(before.into()));
            env.into_iter()
                .find(|(n, _)| *n == "LD_LIBRARY_PATH")
                .map(|(_, v)| v.to_string_lossy().into_owned())
        };
        assert_eq!(path("/mine"), Some("/tree/usr/lib/x86_64-linux-gnu:/mine".into()));
        assert_eq!(path(""), Some("/tree/usr/lib/x86_64-linux-gnu".into()));
    }

    #[test]
    fn a_newer_ucx_is_found_before_that_of_the_tree_and_not_below_its_root() {
        let env = with_newer_ucx(Path::new("/newer"), environment(Path::new("/tree"), None), None);
        let value = |name| {
            let found: Vec<_> = env.iter().filter(|(n, _)| *n == name).collect();
            assert!(found.len() < 2, "{found:?}");
            found.first().map(|(_, v)| v.to_string_lossy().into_owned())
        };
        assert_eq!(value("LD_LIBRARY_PATH"), Some("/newer/lib:/tree/usr/lib/x86_64-linux-gnu".into()));
        assert_eq!(value("PKG_CONFIG_PATH"), Some("/newer/lib/pkgconfig".into()));
        assert_eq!(value("PKG_CONFIG_SYSROOT_DIR"), None);
        assert_eq!(value("LIBCLANG_PATH"), Some("/tree/usr/lib/llvm-14/lib".into()));
        // Beside installed libraries, a path of one's own is kept.
        let env = with_newer_ucx(Path::new("/newer"), Vec::new(), Some("/mine".into()));
        assert!(env.contains(&("LD_LIBRARY_PATH", "/newer/lib:/mine".into())), "{env:?}");
    }

    #[test]
    fn a_program_run_with_the_libraries_sees_them_and_keeps_its_exit_code() {
        let libraries = Libraries { env: vec![("LIBCLANG_PATH", "/tree".into())], ..Libraries::installed() };
        let run = |line: &str| libraries.run(&["sh".into(), "-c".into(), line.into()]);
        assert_eq!(run("test \"$LIBCLANG_PATH\" = /tree"), Ok(0));
        assert_eq!(run("exit 3"), Ok(3));
        assert!(libraries.run(&["no-such-program".into()]).is_err());
    }
}
