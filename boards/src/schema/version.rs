//! Versions as libraries state them: two or three numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version, compared number by number. `2.5` and `2.5.0` are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number, 0 where none is stated.
    pub patch: u32,
}

impl Version {
    /// A version of two numbers.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor, patch: 0 }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)?;
        if self.patch == 0 { Ok(()) } else { write!(out, ".{}", self.patch) }
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[major, minor]) => Ok(Self::new(major, minor)),
            Ok(&[major, minor, patch]) => Ok(Self { major, minor, patch }),
            _ => Err(format!("no version: {text:?}, expected two or three numbers such as \"2.31\"")),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("2.9") < version("2.31"));
        assert_eq!(version("2.5"), version("2.5.0"));
        assert_eq!(version("2.3.2").to_string(), "2.3.2");
        assert_eq!(version("2.31").to_string(), "2.31");
        for wrong in ["", "2", "2.x", "1.2.3.4", "-1.2", "2."] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong}");
        }
    }
}
