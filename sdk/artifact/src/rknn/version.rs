//! Versions of Rockchip's toolkit and runtime, which are released together under one number.

use std::fmt;
use std::str::FromStr;

/// `major.minor.patch`, compared number by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToolkitVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number; 0 where it is not stated.
    pub patch: u32,
}

/// A text that is no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a version of the form 2.3.2")]
pub struct NoVersion;

impl FromStr for ToolkitVersion {
    type Err = NoVersion;

    /// Reads `2.3.2`, also with something behind a character that is neither digit nor dot, as in
    /// `2.3.2 (429f97ae6b@2025-04-09T09:09:27)` or `1.6.1+abc`.
    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let numbers: Vec<u32> =
            text[..end].split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| NoVersion)?;
        match numbers[..] {
            [major, minor] => Ok(Self { major, minor, patch: 0 }),
            [major, minor, patch] => Ok(Self { major, minor, patch }),
            _ => Err(NoVersion),
        }
    }
}

impl fmt::Display for ToolkitVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}
