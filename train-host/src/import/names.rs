//! Class names from a file of the user's: a data.yaml's `names`, or one name a line.

use std::path::Path;

use crate::dataset::yaml_names;
use crate::{Error, Result};

/// Longest file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Reads class names from `path`: `names` of a `.yaml` or `.yml` file, else the lines that are not blank.
///
/// # Errors
/// [`Error::Input`] when there are none, [`Error::Data`] when a YAML file is broken, an I/O error when it cannot be read.
pub fn read_names(path: &Path) -> Result<Vec<String>> {
    let length = std::fs::metadata(path).map_err(|e| Error::io(path, e))?.len();
    if length > MAX_BYTES {
        return Err(none(path, &format!("{length} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let is = |extension: &str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension));
    let names = if is("yaml") || is("yml") {
        yaml_names(text.as_bytes(), path)?.unwrap_or_default()
    } else {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    if names.is_empty() { Err(none(path, "no class names")) } else { Ok(names) }
}

fn none(path: &Path, found: &str) -> Error {
    Error::input(
        format!("{}: {found}", path.display()),
        "a data.yaml with `names`, or a text file with one name a line",
        "check --names",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_lines_and_from_yaml() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            read_names(&path)
        };
        assert_eq!(read("a.txt", "cat\n\n  guide dog \r\n").unwrap(), ["cat", "guide dog"]);
        assert_eq!(read("a.yaml", "names: [cat, dog]").unwrap(), ["cat", "dog"]);
        assert_eq!(read("b.YML", "names: {0: cat, 1: dog}\ntrain: nowhere").unwrap(), ["cat", "dog"]);
        for (name, text) in [("c.txt", "\n"), ("c.yaml", "train: images"), ("d.yaml", "names: 3")] {
            assert!(read(name, text).is_err(), "{text}");
        }
        assert!(read_names(&dir.path().join("none.txt")).is_err());
    }
}
