//! What is committed is finished. Each check is a line of [`CHECKS`] with a test in which it fails.

mod code;
mod files;
mod references;

use std::fmt;

use crate::step::Failure;
use crate::workspace::Workspace;

/// The only files that may say `unsafe`: memory that devices touch, and what speaks to C.
const UNSAFE_FILES: [&str; 4] = [
    "engine/contract/src/region.rs",
    "engine/contract/src/shared.rs",
    "backends/verbs/src/sys.rs",
    "backends/ucx/src/sys.rs",
];

/// Folders of one machine. In pieces, so that this file does not hold what it looks for.
const MACHINE_FOLDERS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// A text file. `code` is the text with comments and the insides of literals blanked, and empty but for `.rs`.
#[derive(Debug)]
struct File<'a> {
    path: &'a str,
    text: &'a str,
    code: String,
}

/// Something to put right.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// What a check finds: line numbers from 1, and what to do.
type Found = Vec<(usize, String)>;

const CHECKS: [fn(&File<'_>) -> Found; 5] =
    [no_leftover_macros, ignored_tests_say_why, unsafe_has_its_place, files_introduce_themselves, plain_text];

/// Checks every file that is tracked, or would be after `git add --all`.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let root = workspace.root();
    let mut findings = Vec::new();
    let mut checked = 0;
    for path in files::committed(root)? {
        let bytes = std::fs::read(root.join(&path)).map_err(|e| Failure(format!("{path}: {e}")))?;
        // A NUL or a byte that is no UTF-8 makes it data, and data may look like anything.
        let Some(text) = str::from_utf8(&bytes).ok().filter(|t| !t.contains('\0')) else {
            continue;
        };
        findings.extend(inspect(&path, text));
        let dangling = references::dangling(root, &path, text).into_iter();
        findings.extend(dangling.map(|(line, what)| Finding { path: path.clone(), line, what }));
        checked += 1;
    }
    findings.iter().for_each(|f| println!("{f}"));
    match findings.len() {
        0 if checked == 0 => Err(Failure("no file was found to check".into())),
        0 => {
            println!("    {checked} text files are tidy");
            Ok(())
        }
        n => Err(Failure(format!("{n} finding(s) in {checked} text files, listed above"))),
    }
}

fn inspect(path: &str, text: &str) -> Vec<Finding> {
    let code = if path.ends_with(".rs") { code::code_only(text) } else { String::new() };
    let file = File { path, text, code };
    let found = CHECKS.iter().flat_map(|c| c(&file));
    found.map(|(line, what)| Finding { path: path.into(), line, what }).collect()
}

fn no_leftover_macros(file: &File<'_>) -> Found {
    let of =
        |word: &'static str| lines_with(&file.code, word).map(move |n| (n, format!("`{word}` is left over")));
    of("todo!").chain(of("dbg!")).collect()
}

fn ignored_tests_say_why(file: &File<'_>) -> Found {
    let unexplained = |line: &str| {
        line.split_once("#[ignore").is_some_and(|(_, rest)| {
            let reason = rest.trim_start().strip_prefix('=').and_then(|r| r.trim_start().strip_prefix('"'));
            reason.is_none_or(|r| r.starts_with('"'))
        })
    };
    numbered(&file.code)
        .filter(|(_, line)| unexplained(line))
        .map(|(n, _)| (n, "an ignored test gives its reason: `#[ignore = \"why\"]`".into()))
        .collect()
}

fn unsafe_has_its_place(file: &File<'_>) -> Found {
    if UNSAFE_FILES.contains(&file.path) {
        return Found::new();
    }
    lines_with(&file.code, "unsafe")
        .map(|n| (n, format!("`unsafe` is for {} alone", UNSAFE_FILES.join(", "))))
        .collect()
}

fn files_introduce_themselves(file: &File<'_>) -> Found {
    let introduced = file.text.lines().find(|l| !l.trim().is_empty()).is_some_and(|l| l.starts_with("//!"));
    if introduced || !file.path.ends_with(".rs") {
        return Found::new();
    }
    vec![(1, "a source file begins with a `//!` line that says what it is".into())]
}

fn plain_text(file: &File<'_>) -> Found {
    let mut found = Found::new();
    for (n, line) in numbered(file.text) {
        for folder in MACHINE_FOLDERS.iter().filter(|f| names_folder(line, f)) {
            found.push((n, format!("{folder} is a folder of one machine: use a relative path")));
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        found.push((file.text.lines().count(), "the last line has no line break".into()));
    }
    found
}

/// Whether the line holds the absolute path, not a relative one that ends alike.
fn names_folder(line: &str, folder: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '~' | '*' | '}');
    line.match_indices(folder).any(|(at, _)| !line[..at].ends_with(inside))
}

/// Numbers of the lines that hold the word as a word.
fn lines_with(code: &str, word: &'static str) -> impl Iterator<Item = usize> {
    let ident = |c: char| c.is_alphanumeric() || c == '_';
    let whole = move |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            let after = &line[at + word.len()..];
            !(line[..at].ends_with(ident) || word.ends_with(ident) && after.starts_with(ident))
        })
    };
    numbered(code).filter(move |(_, line)| whole(line)).map(|(n, _)| n)
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(i, line)| (i + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: &str = "//! A file.\n";

    /// What is found in a source file that begins well; lines are counted from the first of `rest`.
    fn found(rest: &str) -> Vec<(usize, String)> {
        let findings = inspect("engine/src/port.rs", &format!("{TOP}{rest}"));
        findings.into_iter().map(|f| (f.line - 1, f.what)).collect()
    }

    fn finds_only(rest: &str, line: usize, what: &str) {
        let found = found(rest);
        assert!(found.len() == 1 && found[0].0 == line && found[0].1.contains(what), "{found:?}");
    }

    #[test]
    fn a_finished_file_passes() {
        assert_eq!(found("#[ignore = \"needs a device\"]\nfn f<'a>(x: &'a str) {}\n"), []);
    }

    #[test]
    fn leftover_macros_are_found_in_code_and_only_there() {
        finds_only("fn f() {\n    todo!()\n}\n", 2, "`todo!`");
        finds_only("fn f() { g(dbg!(1)) }\n", 1, "`dbg!`");
        assert_eq!(found("// todo!(later)\nconst S: &str = \"dbg!(x)\";\nmy_todo!();\n"), []);
    }

    #[test]
    fn a_test_ignored_without_a_reason_is_found() {
        finds_only("#[test]\n#[ignore]\nfn f() {}\n", 2, "gives its reason");
        finds_only("#[ignore = \"\"]\n", 1, "gives its reason");
        assert_eq!(found("// #[ignore]\n"), []);
    }

    #[test]
    fn unsafe_outside_its_files_is_found() {
        finds_only("fn f() {\n    unsafe { g() }\n}\n", 2, "`unsafe`");
        assert_eq!(
            found("#![deny(unsafe_code)]\n/// Never unsafe.\nconst S: &str = r#\"unsafe \"x\"\"#;\n"),
            []
        );
        for path in UNSAFE_FILES {
            assert_eq!(inspect(path, "//! Memory.\nunsafe fn f() {}\n"), []);
        }
        let elsewhere = inspect("backends/ucx/src/device.rs", "//! A device.\nunsafe fn f() {}\n");
        assert!(
            elsewhere.len() == 1 && elsewhere[0].what.contains("backends/ucx/src/sys.rs"),
            "{elsewhere:?}"
        );
    }

    #[test]
    fn a_source_file_without_an_introduction_is_found() {
        for text in ["fn f() {}\n", "// A file.\n", "", "\nuse std::fmt;\n//! Late.\n"] {
            let findings = inspect("ci/src/x.rs", text);
            assert!(findings.len() == 1 && findings[0].what.contains("begins with"), "{findings:?}");
        }
        assert_eq!(inspect("README.md", "Wavetank\n"), []);
    }

    #[test]
    fn a_path_of_one_machine_is_found_in_any_text() {
        for folder in MACHINE_FOLDERS {
            finds_only(&format!("// see {folder}notes\n"), 1, "of one machine");
            let findings = inspect("a.toml", &format!("x = \"\"\nfile = \"{folder}x\"\n"));
            assert!(findings.len() == 1 && findings[0].line == 2, "{findings:?}");
            assert_eq!(inspect("a.md", &format!("see engine{folder}x and ..{folder}y\n")), []);
        }
    }

    #[test]
    fn a_last_line_without_a_line_break_is_found() {
        let findings = inspect("a.toml", "x = 1\ny = 2");
        assert!(findings.len() == 1 && findings[0].line == 2, "{findings:?}");
        assert_eq!(inspect("a.toml", ""), []);
    }

    #[test]
    fn a_finding_reads_as_file_line_and_what() {
        let finding = Finding { path: "a.rs".into(), line: 3, what: "odd".into() };
        assert_eq!(finding.to_string(), "a.rs:3: odd");
    }
}
