//! Tests that documents name exist: `` `folder/file.rs::a_test` `` with a path from the root.

use std::path::Path;

use super::{Found, numbered};

/// References of a document to tests that are not there.
pub(super) fn dangling(root: &Path, path: &str, text: &str) -> Found {
    if !path.ends_with(".md") {
        return Found::new();
    }
    let read = |file: &str| std::fs::read_to_string(root.join(file)).ok();
    numbered(text).flat_map(|(n, line)| in_line(line, read).map(move |what| (n, what))).collect()
}

fn in_line(line: &str, read: impl Fn(&str) -> Option<String>) -> impl Iterator<Item = String> {
    // What stands between the first and second backtick, the third and fourth, and so on.
    line.split('`').skip(1).step_by(2).filter_map(move |quoted| {
        let (file, test) = quoted.split_once(".rs::")?;
        let file = format!("{file}.rs");
        match read(&file) {
            None => Some(format!("{file} is not there")),
            Some(code) if code.contains(&format!("fn {test}(")) => None,
            Some(_) => Some(format!("{file} has no function `{test}`")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_named_has_to_be_there() {
        let read = |file: &str| (file == "a/b.rs").then(|| "fn works() {}".to_owned());
        let wrong = |line| in_line(line, read).collect::<Vec<_>>();
        assert!(wrong("`a/b.rs::works` and `a/b.rs` and `x::y` and a/c.rs::z").is_empty());
        assert_eq!(wrong("see `a/b.rs::fails`"), ["a/b.rs has no function `fails`"]);
        assert_eq!(wrong("see `a/b.rs::works`, `a/c.rs::works`"), ["a/c.rs is not there"]);
    }
}
