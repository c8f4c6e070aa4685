//! Rust source without its comments and the insides of its literals: enough of a lexer to look for words.

/// The text with every comment, and every character inside a string or character literal, replaced by a space.
/// Line breaks stay, so line numbers hold; quotes stay, so an empty literal can be told from a full one.
pub(crate) fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let in_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let (len, kept) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), 0)
        } else if rest.starts_with("/*") {
            (block_comment(rest), 0)
        } else if let Some(len) = raw_string(rest).filter(|_| !in_word) {
            (len, 0)
        } else if first == '"' {
            (quoted(rest, '"'), 1)
        } else if let Some(len) = character(rest) {
            (len, 1)
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        blank(&rest[..len], kept, &mut code);
        rest = &rest[len..];
    }
    code
}

/// Appends spaces and line breaks for a token, but for `kept` bytes at either end.
fn blank(token: &str, kept: usize, code: &mut String) {
    let end = token.len().saturating_sub(kept).max(kept);
    code.push_str(&token[..kept]);
    code.extend(token[kept..end].chars().map(|c| if c == '\n' { c } else { ' ' }));
    code.push_str(&token[end..]);
}

/// Length of a block comment; they nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_u32;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Length of a raw string with its prefix, if one starts here.
fn raw_string(rest: &str) -> Option<usize> {
    let start = ["r", "br", "cr"].iter().find_map(|p| rest.strip_prefix(p))?;
    let hashes = start.len() - start.trim_start_matches('#').len();
    let body = start[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let tail = body.find(&end).map_or("", |at| &body[at + end.len()..]);
    Some(rest.len() - tail.len())
}

/// Length of a literal from its opening quote to its closing one.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Length of a character literal, if one starts here and not a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut inside = rest.strip_prefix('\'')?.chars();
    match (inside.next()?, inside.next()?) {
        ('\\', _) | (_, '\'') => Some(quoted(rest, '\'')),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_insides_of_literals_are_blanked_and_the_rest_stays() {
        let cases = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("f(\"x\\\"y\") z", "f(\"    \") z"),
            ("r#\"a\"b\"# c", "         c"),
            ("br\"\\\" c", "      c"),
            ("b\"x\" c", "b\" \" c"),
            ("'x' '\\'' 'a", "' ' '  ' 'a"),
            ("&'a str '\"' \"b\"", "&'a str ' ' \" \""),
            ("r#type x", "r#type x"),
            ("for\"x\"", "for\" \""),
            ("\"\" 'é' e", "\"\" ' ' e"),
            ("\"a\n//b\" c", "\" \n   \" c"),
        ];
        for (text, code) in cases {
            assert_eq!(code_only(text), code, "of {text:?}");
        }
    }

    #[test]
    fn an_unfinished_token_ends_with_the_file() {
        for text in ["\"abc", "/* abc", "r#\"abc", "'\\", "// abc", "\"", "'", "r#"] {
            assert_eq!(code_only(text).chars().count(), text.chars().count(), "of {text:?}");
        }
    }
}
