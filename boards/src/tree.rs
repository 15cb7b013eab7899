//! A board file as values that know their line, and how a board's file is laid over its base. Knows no key but `inherit`.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::{Error, Place};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub value: Value,
    pub place: Place,
}

/// What TOML has, without times.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Node {
    /// Reads the text of `file`.
    ///
    /// # Errors
    /// [`Error::Syntax`] where it is no TOML.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let source = Source { file, text };
        let table = DeTable::parse(text).map_err(|error| Error::Syntax {
            place: source.place(error.span().unwrap_or_default()),
            found: error.message().replace('\n', ", "),
            expected: "TOML".into(),
            help: "look at the line named, and at the one before it".into(),
        })?;
        Ok(Self { value: source.table(table.get_ref())?, place: Place { file: file.into(), line: None } })
    }

    /// Takes the text at a key out of a table.
    ///
    /// # Errors
    /// [`Error::Syntax`] where there is something other than text.
    pub fn take_text(&mut self, key: &str) -> Result<Option<(String, Place)>, Error> {
        let Value::Table(entries) = &mut self.value else { return Ok(None) };
        match entries.remove(key) {
            None => Ok(None),
            Some(Self { value: Value::Text(text), place }) => Ok(Some((text, place))),
            Some(Self { place, .. }) => Err(Error::Syntax {
                place,
                found: format!("`{key}` is no text"),
                expected: format!("{key} = \"NAME\""),
                help: "put it into quotes".into(),
            }),
        }
    }

    /// Lays `self` over `base`: tables are merged key by key, everything else replaces what the base says.
    pub fn over(self, base: Self) -> Self {
        match (self.value, base.value) {
            (Value::Table(mine), Value::Table(mut merged)) => {
                for (key, node) in mine {
                    let node = match merged.remove(&key) {
                        Some(below) => node.over(below),
                        None => node,
                    };
                    merged.insert(key, node);
                }
                Self { value: Value::Table(merged), place: self.place }
            }
            (value, _) => Self { value, place: self.place },
        }
    }

    /// Where the value of a dotted key stands; where there is none, where its nearest table does.
    pub fn place_of(&self, key: &str) -> &Place {
        let (first, rest) = key.split_once('.').unwrap_or((key, ""));
        let next = match &self.value {
            Value::Table(entries) => entries.get(first),
            Value::List(nodes) => first.parse().ok().and_then(|index: usize| nodes.get(index)),
            _ => None,
        };
        match next {
            Some(node) if rest.is_empty() => &node.place,
            Some(node) => node.place_of(rest),
            None => &self.place,
        }
    }
}

struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX);
        Place { file: self.file.into(), line: Some(line) }
    }

    fn table(&self, table: &DeTable<'_>) -> Result<Value, Error> {
        let entries = table.iter().map(|(key, value)| {
            let node = Node { value: self.value(value)?, place: self.place(key.span()) };
            Ok((key.get_ref().to_string(), node))
        });
        Ok(Value::Table(entries.collect::<Result<_, _>>()?))
    }

    fn value(&self, value: &Spanned<DeValue<'_>>) -> Result<Value, Error> {
        let refused = |found: String, expected: &str| Error::Syntax {
            place: self.place(value.span()),
            found,
            expected: expected.into(),
            help: "see boards/src/schema for what each key takes".into(),
        };
        Ok(match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Integer(integer) => Value::Integer(
                i64::from_str_radix(integer.as_str(), integer.radix())
                    .map_err(|_| refused(format!("{integer} is out of range"), "an integer of 64 bits"))?,
            ),
            DeValue::Float(float) => Value::Float(
                float.as_str().parse().map_err(|_| refused(format!("{float} is no number"), "a number"))?,
            ),
            DeValue::Datetime(time) => {
                return Err(refused(format!("the time {time}"), "text, a number, a list or a table"));
            }
            DeValue::Array(array) => {
                let nodes = array
                    .iter()
                    .map(|item| Ok(Node { value: self.value(item)?, place: self.place(item.span()) }));
                Value::List(nodes.collect::<Result<_, Error>>()?)
            }
            DeValue::Table(table) => self.table(table)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(file: &str, text: &str) -> Node {
        Node::parse(file, text).unwrap()
    }

    fn place(file: &str, line: u32) -> Place {
        Place { file: file.into(), line: Some(line) }
    }

    #[test]
    fn values_know_their_lines() {
        let node = node("f", "a = 1\n\n[t]\nb = [\n  1,\n  2,\n]\n\n[[l]]\nc = 1\n");
        assert_eq!(node.place_of("a"), &place("f", 1));
        assert_eq!(node.place_of("t.b.1"), &place("f", 6));
        assert_eq!(node.place_of("l.0.c"), &place("f", 10));
        assert_eq!(node.place_of("t.absent"), &place("f", 3));
        assert_eq!(node.place_of("absent"), &Place { file: "f".into(), line: None });
    }

    #[test]
    fn a_board_lies_over_its_base() {
        let base = node("base", "a = 1\nlist = [1, 2]\n[t]\nb = 1\nc = 1\n");
        let merged = node("own", "list = [3]\n[t]\nc = 2\nd = 3").over(base);
        let expected = node("x", "a = 1\nlist = [3]\nt = { b = 1, c = 2, d = 3 }");
        let plain = |node: &Node| toml_of(node);
        assert_eq!(plain(&merged), plain(&expected));
        assert_eq!(merged.place_of("t.b"), &place("base", 4));
        assert_eq!(merged.place_of("t.c"), &place("own", 3));
    }

    /// The values without their places.
    fn toml_of(node: &Node) -> String {
        match &node.value {
            Value::Table(entries) => {
                entries.iter().map(|(key, node)| format!("{key}={{{}}}", toml_of(node))).collect()
            }
            Value::List(nodes) => nodes.iter().map(|node| format!("[{}]", toml_of(node))).collect(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn broken_toml_is_named_with_its_line() {
        let Err(Error::Syntax { place, .. }) = Node::parse("f", "a = 1\nb = \n") else { panic!("accepted") };
        assert_eq!(place.to_string(), "f:2");
        assert!(Node::parse("f", "a = 99999999999999999999").is_err());
        assert!(Node::parse("f", "a = 2026-01-01").is_err());
    }
}
