//! A Rust source file split into its code and its comments, line by line, without a parser.
//! It never understands the code: strings and character literals are blanked, so that a rule looking for a word
//! finds it only where it is code.

/// One line of a source file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// The code; comments, and what is between quotes, are missing.
    pub code: String,
    /// The text of the comments on the line.
    pub comment: String,
    /// What stood between double quotes on the line.
    pub quoted: String,
}

/// Splits a source text into lines.
pub fn split(text: &str) -> Vec<Line> {
    let mut scanner = Scanner { lines: vec![Line::default()], state: State::Code };
    let characters: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < characters.len() {
        at += scanner.step(&characters[at..], at.checked_sub(1).map(|before| characters[before]));
    }
    scanner.lines
}

/// Whether `word` stands in `code` as a whole identifier.
pub fn has_word(code: &str, word: &str) -> bool {
    words(code).any(|found| found == word)
}

/// The identifiers and keywords of a line of code.
pub fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

enum State {
    Code,
    LineComment,
    /// Nesting depth.
    BlockComment(usize),
    /// Number of `#` that close it; `None` for a plain string, where a backslash escapes.
    Text(Option<usize>),
}

struct Scanner {
    lines: Vec<Line>,
    state: State,
}

impl Scanner {
    /// Consumes some characters and says how many.
    fn step(&mut self, rest: &[char], before: Option<char>) -> usize {
        if rest[0] == '\n' {
            if matches!(self.state, State::LineComment) {
                self.state = State::Code;
            }
            self.lines.push(Line::default());
            return 1;
        }
        match self.state {
            State::Code => self.code(rest, before),
            State::LineComment => self.comment(rest, 1),
            State::BlockComment(depth) => self.block_comment(rest, depth),
            State::Text(hashes) => self.text(rest, hashes),
        }
    }

    fn code(&mut self, rest: &[char], before: Option<char>) -> usize {
        let is_inside_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        if rest.starts_with(&['/', '/']) {
            self.state = State::LineComment;
            return self.comment(rest, 2);
        }
        if rest.starts_with(&['/', '*']) {
            self.state = State::BlockComment(1);
            return self.comment(rest, 2);
        }
        if !is_inside_word && let Some((length, hashes)) = raw_string_start(rest) {
            self.state = State::Text(Some(hashes));
            self.line().code.push('"');
            return length;
        }
        match rest[0] {
            '"' => {
                self.state = State::Text(None);
                self.line().code.push('"');
                1
            }
            '\'' => {
                self.line().code.push('\'');
                char_literal_length(rest).unwrap_or(1)
            }
            other => {
                self.line().code.push(other);
                1
            }
        }
    }

    fn comment(&mut self, rest: &[char], length: usize) -> usize {
        self.line().comment.extend(&rest[..length]);
        length
    }

    fn block_comment(&mut self, rest: &[char], depth: usize) -> usize {
        if rest.starts_with(&['/', '*']) {
            self.state = State::BlockComment(depth + 1);
            return self.comment(rest, 2);
        }
        if rest.starts_with(&['*', '/']) {
            self.state = if depth == 1 { State::Code } else { State::BlockComment(depth - 1) };
            return self.comment(rest, 2);
        }
        self.comment(rest, 1)
    }

    fn text(&mut self, rest: &[char], hashes: Option<usize>) -> usize {
        if hashes.is_none() && rest[0] == '\\' && rest.len() > 1 && rest[1] != '\n' {
            return self.quoted(rest, 2);
        }
        let closing = 1 + hashes.unwrap_or(0);
        let closes = rest[0] == '"'
            && rest.len() >= closing
            && rest[1..closing].iter().all(|character| *character == '#');
        if closes {
            self.state = State::Code;
            self.line().code.push('"');
            return closing;
        }
        self.quoted(rest, 1)
    }

    fn quoted(&mut self, rest: &[char], length: usize) -> usize {
        self.line().quoted.extend(&rest[..length]);
        length
    }

    #[expect(clippy::unwrap_used, reason = "starts with one line and only grows")]
    fn line(&mut self) -> &mut Line {
        self.lines.last_mut().unwrap()
    }
}

/// Length and number of `#` of `r"`, `r#"`, `br"`, `cr#"`, …
fn raw_string_start(rest: &[char]) -> Option<(usize, usize)> {
    let prefix = match rest {
        ['b' | 'c', 'r', ..] => 2,
        ['r', ..] => 1,
        _ => return None,
    };
    let hashes = rest[prefix..].iter().take_while(|character| **character == '#').count();
    (rest.get(prefix + hashes) == Some(&'"')).then_some((prefix + hashes + 1, hashes))
}

/// Length of `'x'` or `'\u{1F600}'`; `None` for a lifetime.
fn char_literal_length(rest: &[char]) -> Option<usize> {
    match rest {
        ['\'', '\\', _, tail @ ..] => {
            let end = tail.iter().position(|character| *character == '\'')?;
            Some(3 + end + 1)
        }
        ['\'', _, '\'', ..] => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        split(text).iter().map(|line| line.code.trim_end()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn comments_are_no_code() {
        assert_eq!(code("a // unsafe\nb /* unsafe /* x */ y */ c"), "a\nb  c");
        assert_eq!(split("a // why")[0].comment, "// why");
    }

    #[test]
    fn strings_are_blanked_and_kept_aside() {
        let lines = split("f(\"un\\\"safe // no\", r#\"a\"b\"#)");
        assert_eq!(lines[0].code, "f(\"\", \"\")");
        assert_eq!(lines[0].quoted, "un\\\"safe // noa\"b");
        assert_eq!(lines[0].comment, "");
    }

    #[test]
    fn strings_may_span_lines() {
        assert_eq!(code("\"a\nunsafe\" b"), "\"\n\" b");
    }

    #[test]
    fn lifetimes_are_not_characters() {
        assert_eq!(
            code("fn f<'a>(x: &'a str) {} '\"' 'x' '\\'' '\\u{41}' end"),
            "fn f<'a>(x: &'a str) {} ' ' ' ' end"
        );
    }

    #[test]
    fn an_identifier_ending_in_r_starts_no_raw_string() {
        assert_eq!(code("var\"x\""), "var\"\"");
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("use tch::nn;", "tch"));
        assert!(!has_word("let batch = patch;", "tch"));
    }
}
