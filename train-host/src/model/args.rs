//! Typed access to the arguments of a description row. Every wrong type, missing or surplus argument is a fault
//! that names the argument; nothing is guessed.

use artifact::Fault;
use serde_yaml_ng::Value;

use super::validate::{MAX_CHANNELS, Outcome};
use super::yaml::show;

/// The `args` column of a row of `module`.
pub(super) struct Args<'a> {
    module: &'a str,
    /// How the module's arguments are written, for errors.
    usage: &'a str,
    values: &'a [Value],
}

impl<'a> Args<'a> {
    /// `usage` lists the arguments; more than `most` of them are refused.
    pub fn new(module: &'a str, usage: &'a str, values: &'a [Value], most: usize) -> Outcome<Self> {
        let args = Self { module, usage, values };
        if values.len() > most {
            return Err(args.fault(format!("{} arguments", values.len())));
        }
        Ok(args)
    }

    /// A fault that names the module and how its arguments are written.
    pub fn fault(&self, found: impl std::fmt::Display) -> Fault {
        Fault::new(
            format!("{found} for {}", self.module),
            format!("args {}", self.usage),
            "correct this row of the model description",
        )
    }

    /// Argument `index` where it is written; `None` and null count as not written.
    pub fn value(&self, index: usize) -> Option<&'a Value> {
        self.values.get(index).filter(|value| !value.is_null() && value.as_str() != Some("None"))
    }

    /// The non-negative integer at `index`, no larger than any channel count may be.
    pub fn integer(&self, index: usize, name: &str) -> Outcome<usize> {
        self.optional_integer(index, name)?.ok_or_else(|| self.fault(format!("no {name}")))
    }

    /// As [`Args::integer`], with a value for where nothing is written.
    pub fn integer_or(&self, index: usize, name: &str, default: usize) -> Outcome<usize> {
        Ok(self.optional_integer(index, name)?.unwrap_or(default))
    }

    /// As [`Args::integer`], `None` where nothing is written.
    pub fn optional_integer(&self, index: usize, name: &str) -> Outcome<Option<usize>> {
        let Some(value) = self.value(index) else { return Ok(None) };
        self.as_integer(value, name).map(Some)
    }

    /// The list of non-negative integers at `index`.
    pub fn integers(&self, index: usize, name: &str) -> Outcome<Option<Vec<usize>>> {
        let Some(value) = self.value(index) else { return Ok(None) };
        let list = value.as_sequence().ok_or_else(|| self.fault(format!("{name} {}", show(value))))?;
        list.iter().map(|item| self.as_integer(item, name)).collect::<Outcome<_>>().map(Some)
    }

    /// The flag at `index`.
    pub fn flag(&self, index: usize, name: &str) -> Outcome<Option<bool>> {
        let Some(value) = self.value(index) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.fault(format!("{name} {}", show(value))))
    }

    /// The fraction at `index`, above 0 and at most 4.
    pub fn ratio_or(&self, index: usize, name: &str, default: f64) -> Outcome<f64> {
        let Some(value) = self.value(index) else { return Ok(default) };
        value
            .as_f64()
            .filter(|&ratio| ratio > 0.0 && ratio <= 4.0)
            .ok_or_else(|| self.fault(format!("{name} {}", show(value))))
    }

    /// Requires the word `word` at `index`.
    pub fn word(&self, index: usize, word: &str) -> Outcome<()> {
        match self.values.get(index) {
            Some(value) if value.as_str() == Some(word) => Ok(()),
            Some(value) => Err(self.fault(show(value))),
            None => Err(self.fault(format!("no {word}"))),
        }
    }

    fn as_integer(&self, value: &Value, name: &str) -> Outcome<usize> {
        value
            .as_u64()
            .and_then(|integer| usize::try_from(integer).ok())
            .filter(|&integer| integer <= MAX_CHANNELS)
            .ok_or_else(|| self.fault(format!("{name} {}", show(value))))
    }
}
