//! What exporters write beside the graph: class names, anchors, image size, task. Class names come as the text of a
//! Python dict or list; reading it runs no Python.

use artifact::Spread;

use super::proto::Model;

/// Longest entry that is read, in bytes.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// For the box channels of each anchor of each output.
pub(super) type BoxSpread = Vec<Vec<[Spread; 4]>>;

/// The entries that are understood.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Metadata {
    /// Class names, or why they cannot be read.
    pub classes: Option<Result<Vec<String>, String>>,
    pub anchors_px: Option<Vec<Vec<[f32; 2]>>>,
    /// What box channels tell of their logits, as train-host writes it, or why it cannot be read.
    pub box_spread: Option<Result<BoxSpread, String>>,
    /// Height and width.
    pub imgsz: Option<[usize; 2]>,
    /// What ultralytics says the model is for.
    pub task: Option<String>,
}

impl Metadata {
    pub fn read(model: &Model) -> Self {
        let entry =
            |key: &str| model.metadata.iter().find(|(found, _)| *found == key).map(|(_, value)| *value);
        let short = |key: &str| entry(key).filter(|text| text.len() <= MAX_TEXT_BYTES);
        // `classes` is what train-host writes, `names` what ultralytics does.
        let classes = short("classes").and_then(|text| serde_json::from_str(text).ok()).map(Ok);
        Self {
            classes: classes.or_else(|| entry("names").map(names)),
            anchors_px: short("anchors_px").and_then(|text| serde_json::from_str(text).ok()),
            box_spread: short("box_spread")
                .map(|text| serde_json::from_str(text).map_err(|error| error.to_string())),
            imgsz: short("imgsz").and_then(|text| serde_json::from_str(text).ok()),
            task: entry("task").map(str::to_owned),
        }
    }
}

/// The names in a Python dict with keys 0, 1, … or in a list.
fn names(text: &str) -> Result<Vec<String>, String> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(format!("{} bytes", text.len()));
    }
    let mut cursor = Cursor { rest: text };
    let names = match cursor.next() {
        Some('{') => cursor.dict(),
        Some('[') => cursor.list(),
        _ => Err("neither a dict nor a list".to_owned()),
    }?;
    cursor.skip_blanks();
    if cursor.rest.is_empty() { Ok(names) } else { Err(format!("{:?} behind the end", head(cursor.rest))) }
}

struct Cursor<'t> {
    rest: &'t str,
}

impl Cursor<'_> {
    fn dict(&mut self) -> Result<Vec<String>, String> {
        let mut names: Vec<(usize, String)> = Vec::new();
        loop {
            if self.ends_with('}') {
                break;
            }
            let key = self.key()?;
            self.expect(':')?;
            names.push((key, self.string()?));
            if !self.comma('}')? {
                break;
            }
        }
        names.sort_by_key(|(key, _)| *key);
        match names.iter().enumerate().find(|(at, (key, _))| at != key) {
            None => Ok(names.into_iter().map(|(_, name)| name).collect()),
            Some((at, (key, _))) => Err(format!("class {key} where {at} is expected")),
        }
    }

    fn list(&mut self) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        while !self.ends_with(']') {
            names.push(self.string()?);
            if !self.comma(']')? {
                break;
            }
        }
        Ok(names)
    }

    /// An index, bare or in quotes.
    fn key(&mut self) -> Result<usize, String> {
        self.skip_blanks();
        let quoted = self.rest.starts_with(['\'', '"']);
        let text = if quoted {
            self.string()?
        } else {
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let (digits, rest) = self.rest.split_at(end);
            self.rest = rest;
            digits.to_owned()
        };
        text.parse().map_err(|_| format!("{text:?} as the number of a class"))
    }

    fn string(&mut self) -> Result<String, String> {
        let Some(quote @ ('\'' | '"')) = self.next() else {
            return Err(format!("no string at {:?}", head(self.rest)));
        };
        let mut text = String::new();
        loop {
            match self.take() {
                Some(c) if c == quote => return Ok(text),
                Some('\\') => text.extend(self.escaped()?),
                Some(c) => text.push(c),
                None => return Err("a string without an end".to_owned()),
            }
        }
    }

    /// What an escape stands for; nothing for one at the end of a line.
    fn escaped(&mut self) -> Result<Option<char>, String> {
        let digits = match self.take() {
            Some(c @ ('\\' | '\'' | '"')) => return Ok(Some(c)),
            Some('n') => return Ok(Some('\n')),
            Some('t') => return Ok(Some('\t')),
            Some('r') => return Ok(Some('\r')),
            Some('\n') => return Ok(None),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            other => return Err(format!("an escape {other:?}")),
        };
        let code = self.rest.get(..digits).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let c =
            code.and_then(char::from_u32).ok_or_else(|| format!("no character at {:?}", head(self.rest)))?;
        self.rest = self.rest.get(digits..).unwrap_or_default();
        Ok(Some(c))
    }

    /// Whether another entry may follow.
    fn comma(&mut self, end: char) -> Result<bool, String> {
        match self.next() {
            Some(',') => Ok(true),
            Some(c) if c == end => Ok(false),
            other => Err(format!("{other:?} behind an entry")),
        }
    }

    fn expect(&mut self, expected: char) -> Result<(), String> {
        let found = self.next();
        if found == Some(expected) {
            Ok(())
        } else {
            Err(format!("{found:?} where {expected:?} is expected"))
        }
    }

    fn ends_with(&mut self, end: char) -> bool {
        self.skip_blanks();
        let ends = self.rest.starts_with(end);
        if ends {
            self.take();
        }
        ends
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// The next character that is no blank.
    fn next(&mut self) -> Option<char> {
        self.skip_blanks();
        self.take()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }
}

/// The beginning of a text, for messages.
fn head(text: &str) -> String {
    text.chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_read_as_python_prints_them() {
        let read = |text| names(text).unwrap();
        assert_eq!(
            read("{0: 'person', 1: \"driver's cab\", 2: 'a\\\\b'}"),
            ["person", "driver's cab", "a\\b"]
        );
        assert_eq!(read("{1: 'b', 0: 'a',}"), ["a", "b"]);
        assert_eq!(read(" { '0' : \"a\" } "), ["a"]);
        assert_eq!(read("['a', 'b']"), ["a", "b"]);
        assert_eq!(read("['it\\'s \"x\"', '\\xe9\\u00e9', 'Öl']"), ["it's \"x\"", "éé", "Öl"]);
        assert_eq!(read("{}"), Vec::<String>::new());
        assert_eq!(read("[]"), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_list_of_names_is_refused() {
        for text in [
            "",
            "person",
            "{0: 'a'",
            "{0: 'a', 2: 'b'}",
            "{0: 'a', 0: 'b'}",
            "{0: a}",
            "['a' 'b']",
            "['a",
            "['\\q']",
            "['\\xé']",
            "['\\ud800']",
            "{-1: 'a'}",
            "{99999999999999999999: 'a'}",
            "__import__('os')",
            "['a'] + []",
            "{0: 'a', 1: print()}",
        ] {
            assert!(names(text).is_err(), "{text}");
        }
        assert!(names(&"[".repeat(MAX_TEXT_BYTES + 1)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_harms(text in "[\\[{]?['\"0-9a-zé:,\\\\xu \\]}]{0,40}") {
            let _ = names(&text);
        }

        #[test]
        fn any_name_survives(list in proptest::collection::vec(any::<String>(), 0..5)) {
            let quoted = list.iter().map(|name| {
                let escaped: String =
                    name.chars().flat_map(|c| if matches!(c, '\'' | '\\') { vec!['\\', c] } else { vec![c] }).collect();
                format!("'{escaped}'")
            });
            prop_assert_eq!(names(&format!("[{}]", quoted.collect::<Vec<_>>().join(", "))).unwrap(), list);
        }
    }
}
