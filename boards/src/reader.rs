//! Reads the types of the schema out of a tree, so that what does not fit is named with its file, line and the nearest
//! word that would. Knows no key.

use std::collections::btree_map;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use crate::nearest::nearest;
use crate::tree::{Node, Value};
use crate::{Error, Place};

/// Reads a value of the schema.
///
/// # Errors
/// [`Error::Syntax`] at the first key or value that does not fit.
pub fn read<T: DeserializeOwned>(node: &Node) -> Result<T, Error> {
    T::deserialize(Reader(node)).map_err(|fault| Error::Syntax {
        place: fault.place.unwrap_or_else(|| node.place.clone()),
        found: fault.found,
        expected: fault.expected,
        help: fault.help,
    })
}

/// What does not fit.
#[derive(Debug)]
struct Fault {
    place: Option<Place>,
    found: String,
    expected: String,
    help: String,
}

impl Fault {
    /// The innermost place is the right one.
    fn at(mut self, place: &Place) -> Self {
        self.place.get_or_insert_with(|| place.clone());
        self
    }

    fn of_word(found: String, word: &str, expected: &[&str]) -> Self {
        let help = match nearest(word, expected.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "see boards/src/schema for what each key takes".into(),
        };
        Self { place: None, found, expected: format!("one of {}", expected.join(", ")), help }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.found)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        let (found, expected) =
            message.rsplit_once(", expected ").unwrap_or((&message, "what the schema says"));
        let help = "see boards/src/schema for what each key takes".into();
        Self { place: None, found: found.to_owned(), expected: expected.to_owned(), help }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::of_word(format!("unknown key `{field}`"), field, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::of_word(format!("unknown value {variant:?}"), variant, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            place: None,
            found: format!("no key `{field}`"),
            expected: format!("{field} = …"),
            help: "state it here or in the base this inherits".into(),
        }
    }
}

struct Reader<'a>(&'a Node);

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let read = match &self.0.value {
            Value::Text(text) => visitor.visit_str(text),
            Value::Integer(integer) => visitor.visit_i64(*integer),
            Value::Float(float) => visitor.visit_f64(*float),
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::List(nodes) => visitor.visit_seq(Items(nodes.iter())),
            Value::Table(entries) => visitor.visit_map(Entries { rest: entries.iter(), value: None }),
        };
        read.map_err(|fault| fault.at(&self.0.place))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Text(text) => {
                let word: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
                visitor.visit_enum(word).map_err(|fault| fault.at(&self.0.place))
            }
            _ => {
                let expected = format!("one of {}, in quotes", variants.join(", "));
                let help = format!("a {} is a word", name.to_lowercase());
                Err(Fault { place: Some(self.0.place.clone()), found: "no text".into(), expected, help })
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items<'a>(std::slice::Iter<'a, Node>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.0.next().map(|node| seed.deserialize(Reader(node))).transpose()
    }
}

struct Entries<'a> {
    rest: btree_map::Iter<'a, String, Node>,
    value: Option<&'a Node>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some((key, node)) = self.rest.next() else { return Ok(None) };
        self.value = Some(node);
        let word: StrDeserializer<'_, Fault> = key.as_str().into_deserializer();
        seed.deserialize(word).map(Some).map_err(|fault| fault.at(&node.place))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let node = self.value.take().ok_or_else(|| de::Error::custom("a value before its key"))?;
        seed.deserialize(Reader(node))
    }
}
