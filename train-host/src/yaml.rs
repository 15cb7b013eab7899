//! Reads YAML from outside: a plain file of bounded length whose aliases may not make it longer than that. Knows no key of
//! any file; what the values mean is for the callers.

use std::cell::Cell;
use std::fmt;
use std::path::Path;

use serde::de::{
    DeserializeOwned, DeserializeSeed, EnumAccess, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde_yaml_ng::Deserializer;

use crate::{Error, Result};

/// Longest file that is read, and most values and characters that its aliases may make of it.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// How serde calls our types, and what a person calls them.
const WORDS: [(&str, &str); 5] = [
    ("expected usize", "expected a whole number"),
    ("expected u64", "expected a whole number"),
    ("expected u32", "expected a whole number"),
    ("expected f32", "expected a number"),
    ("expected f64", "expected a number"),
];

/// The bytes of the YAML file at `path`.
///
/// # Errors
/// [`Error::Input`] when it is no plain file or longer than [`MAX_BYTES`], an I/O error when it cannot be read.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let metadata = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    let found = match metadata.len() {
        _ if metadata.is_dir() => "a folder".to_owned(),
        _ if !metadata.is_file() => "a pipe or a device".to_owned(),
        len if len > MAX_BYTES as u64 => format!("{len} bytes"),
        _ => return std::fs::read(path).map_err(|e| Error::io(path, e)),
    };
    Err(Error::input(
        format!("{}: {found}", path.display()),
        format!("a YAML file of at most {MAX_BYTES} bytes"),
        "check the path: this is no description, plan or list of settings",
    ))
}

/// Parses `bytes`.
///
/// # Errors
/// What is wrong and in which line, in words for people; also when aliases (`*name`) make more than [`MAX_BYTES`] values and
/// characters of the text.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> std::result::Result<T, String> {
    let left = Cell::new(MAX_BYTES);
    let counted = Counter(&left).deserialize(Deserializer::from_slice(bytes));
    counted.and_then(|()| T::deserialize(Deserializer::from_slice(bytes))).map_err(|error| in_words(&error))
}

fn in_words(error: &serde_yaml_ng::Error) -> String {
    WORDS.iter().fold(error.to_string(), |text, (ours, plain)| text.replace(ours, plain))
}

/// Counts values and characters as a reader of the whole text would meet them, and keeps none.
#[derive(Clone, Copy)]
struct Counter<'a>(&'a Cell<usize>);

impl Counter<'_> {
    fn take<E: serde::de::Error>(self, count: usize) -> std::result::Result<(), E> {
        let left = self.0.get().checked_sub(count);
        self.0.set(left.ok_or_else(|| {
            E::custom(format!("aliases that make more than {MAX_BYTES} values and characters of this text"))
        })?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Counter<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        self.take::<D::Error>(1)?;
        deserializer.deserialize_any(self)
    }
}

/// Methods that count nothing more for a scalar.
macro_rules! scalars {
    ($($method:ident($type:ty)),+ $(,)?) => {
        $(fn $method<E: serde::de::Error>(self, _: $type) -> std::result::Result<(), E> {
            Ok(())
        })+
    };
}

impl<'de> Visitor<'de> for Counter<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    scalars!(
        visit_bool(bool),
        visit_i64(i64),
        visit_i128(i128),
        visit_u64(u64),
        visit_u128(u128),
        visit_f64(f64)
    );

    fn visit_unit<E: serde::de::Error>(self) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_none<E: serde::de::Error>(self) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<(), E> {
        self.take(text.len())
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        while list.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while map.next_key_seed(self)?.is_some() {
            map.next_value_seed(self)?;
        }
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> std::result::Result<(), A::Error> {
        let (_, value) = tagged.variant::<IgnoredAny>()?;
        value.newtype_variant_seed(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_yaml_ng::Value;

    use super::*;

    #[test]
    fn values_are_those_of_the_text_with_its_aliases() {
        let text = "a: &x [1, -2, 0.5, ~, yes, 'text', !tag {k: v}]\nb: [*x, *x]\n";
        let value: Value = parse(text.as_bytes()).unwrap();
        assert_eq!(value, serde_yaml_ng::from_str::<Value>(text).unwrap());
        assert_eq!(value["b"][1], value["a"]);
    }

    #[test]
    fn aliases_do_not_make_a_small_text_large() {
        let list = format!("[&a [{}], [{}]]", "1,".repeat(100_000), "*a,".repeat(20_000));
        let text = format!("[&a '{}', {}]", "x".repeat(500_000), "*a,".repeat(100));
        let key = format!("[&a {{{}: 1}}, {}]", "x".repeat(1000), "*a,".repeat(2000));
        for bomb in [list, text, key] {
            assert!(bomb.len() < MAX_BYTES);
            let error = parse::<Value>(bomb.as_bytes()).unwrap_err();
            assert!(error.contains("aliases that make more"), "{error}");
        }
    }

    #[test]
    fn the_longest_text_without_aliases_fits() {
        let text = format!("[{}1]", "1,".repeat(MAX_BYTES / 2 - 2));
        assert_eq!(parse::<Vec<u8>>(text.as_bytes()).unwrap().len(), MAX_BYTES / 2 - 1);
        let text = format!("'{}'", "x".repeat(MAX_BYTES - 2));
        assert_eq!(parse::<String>(text.as_bytes()).unwrap().len(), MAX_BYTES - 2);
    }

    #[test]
    fn errors_name_line_and_kind_in_plain_words() {
        #[derive(Debug, serde::Deserialize)]
        struct Sizes {
            _count: usize,
        }
        let error = parse::<Sizes>(b"a: 1\n_count: two\n").unwrap_err();
        assert!(error.contains("expected a whole number") && error.contains("line 2"), "{error}");
        assert!(parse::<Value>(b"a: \xff\n").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn what_is_no_plain_short_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("a folder"));
        assert!(read(Path::new("/dev/zero")).unwrap_err().to_string().contains("a pipe or a device"));
        let long = dir.path().join("long.yaml");
        std::fs::write(&long, vec![b' '; MAX_BYTES + 1]).unwrap();
        assert!(read(&long).unwrap_err().to_string().contains("1048577 bytes"));
        assert!(matches!(read(&dir.path().join("none")), Err(Error::Artifact(_))));
    }
}
