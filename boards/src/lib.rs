//! Board facts as data: the folder `NAME` with its `board.toml` is the board, and no other place knows its facts.
//! The files are embedded, so no path is needed at run time. Never talks to a board, never runs a model.

mod schema;
mod validate;

pub use schema::{Arch, Backend, Between, Board, Int8, Npu, Precision, Scales};

/// Folder name and text of every `board.toml`, in name order.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Why a board cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no board of this name.
    #[error(
        "unknown board {name:?}\n  expected: one of {known}\n  help: a folder boards/NAME with a board.toml is a board"
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// The boards there are, separated by commas.
        known: String,
    },
    /// A board file is not TOML of the schema.
    #[error(
        "boards/{name}/board.toml: {message}\n  expected: the fields of boards::Board and no others\n  \
         help: compare with boards/host/board.toml"
    )]
    Syntax {
        /// Folder of the board.
        name: String,
        /// What the TOML reader said.
        message: String,
    },
    /// A board file says something impossible.
    #[error(
        "boards/{name}/board.toml: {found}\n  expected: {expected}\n  help: the check that failed is {check:?}"
    )]
    Check {
        /// Folder of the board.
        name: String,
        /// Name of the check.
        check: &'static str,
        /// What the file says.
        found: String,
        /// What would be right.
        expected: String,
    },
}

/// Names of all boards, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

impl Board {
    /// The board called `name`, read from its embedded file and validated.
    ///
    /// # Errors
    /// [`Error::Unknown`] with the known names, or what [`Board::parse`] reports.
    pub fn find(name: &str) -> Result<Self, Error> {
        let known = || names().collect::<Vec<_>>().join(", ");
        let (folder, text) = FILES
            .iter()
            .find(|(folder, _)| *folder == name)
            .ok_or_else(|| Error::Unknown { name: name.to_owned(), known: known() })?;
        Self::parse(folder, text)
    }

    /// Reads and validates the text of `boards/folder/board.toml`.
    ///
    /// # Errors
    /// [`Error::Syntax`] when it is no TOML of the schema, [`Error::Check`] when it says something impossible.
    pub fn parse(folder: &str, text: &str) -> Result<Self, Error> {
        let board: Self = toml::from_str(text)
            .map_err(|e| Error::Syntax { name: folder.to_owned(), message: e.to_string() })?;
        board.validate(folder)?;
        Ok(board)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_file_is_valid() {
        assert!(names().count() > 0);
        for name in names() {
            assert_eq!(Board::find(name).unwrap().name, name);
        }
    }

    #[test]
    fn unknown_board_lists_the_known() {
        let error = Board::find("toaster").unwrap_err().to_string();
        assert!(error.contains("toaster") && error.contains("host"), "{error}");
    }

    #[test]
    fn scales_are_a_boards_own_unless_it_says_otherwise() {
        assert_eq!(Board::find("host").unwrap().int8, Int8::default());
        let (_, host) = FILES.iter().find(|(name, _)| *name == "host").unwrap();
        let text = format!("{host}\n[int8]\nconcat = \"shared\"\n");
        let int8 = Board::parse("host", &text).unwrap().int8;
        assert_eq!(int8, Int8 { concat: Scales::Shared, ..Int8::default() });
        assert!(Board::parse("host", &text.replace("shared", "mine")).is_err());
    }

    #[test]
    fn unknown_field_is_refused() {
        let text = format!("{}\ncolour = \"red\"\n", FILES[0].1);
        assert!(matches!(Board::parse(FILES[0].0, &text), Err(Error::Syntax { .. })));
    }
}
