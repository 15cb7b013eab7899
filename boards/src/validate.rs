//! What the schema alone cannot say about a board, as a chain of small named checks.

use crate::{Backend, Board, Error};

/// What a failed check found, and what would be right.
type Finding = (String, &'static str);
type Check = (&'static str, fn(&Board, &str) -> Result<(), Finding>);

const CHECKS: &[Check] = &[
    ("name is the folder", name_is_the_folder),
    ("name is plain", name_is_plain),
    ("description is one line", description_is_one_line),
    ("backends are listed once", backends_are_listed_once),
    ("precisions are listed once", precisions_are_listed_once),
    ("an NPU has a backend", an_npu_has_a_backend),
];

impl Board {
    /// Checks what the schema alone cannot say; `folder` is where the file was found.
    ///
    /// # Errors
    /// [`Error::Check`] naming the first check that failed.
    pub fn validate(&self, folder: &str) -> Result<(), Error> {
        for (check, holds) in CHECKS {
            holds(self, folder).map_err(|(found, expected)| Error::Check {
                name: folder.to_owned(),
                check,
                found,
                expected: expected.to_owned(),
            })?;
        }
        Ok(())
    }
}

fn require(holds: bool, found: impl FnOnce() -> String, expected: &'static str) -> Result<(), Finding> {
    if holds { Ok(()) } else { Err((found(), expected)) }
}

fn name_is_the_folder(board: &Board, folder: &str) -> Result<(), Finding> {
    require(board.name == folder, || format!("name = {:?}", board.name), "the name of the folder")
}

fn name_is_plain(board: &Board, _: &str) -> Result<(), Finding> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let holds = !board.name.is_empty() && board.name.chars().all(plain);
    require(holds, || format!("name = {:?}", board.name), "lowercase letters, digits and '-'")
}

fn description_is_one_line(board: &Board, _: &str) -> Result<(), Finding> {
    let holds = !board.description.trim().is_empty() && !board.description.contains('\n');
    require(holds, || format!("description = {:?}", board.description), "one line of text")
}

fn backends_are_listed_once(board: &Board, _: &str) -> Result<(), Finding> {
    let found = || format!("backends = {:?}", board.backends);
    require(is_listed_once(&board.backends), found, "at least one backend, none twice")
}

fn precisions_are_listed_once(board: &Board, _: &str) -> Result<(), Finding> {
    let found = || format!("precisions = {:?}", board.precisions);
    require(is_listed_once(&board.precisions), found, "at least one precision, none twice")
}

fn an_npu_has_a_backend(board: &Board, _: &str) -> Result<(), Finding> {
    let has_backend = board.backends.contains(&Backend::Rknn);
    let found = || format!("backends = {:?} and npu = {:?}", board.backends, board.npu);
    require(has_backend == board.npu.is_some(), found, "the backend rknn and [npu], or neither")
}

fn is_listed_once<T: PartialEq>(list: &[T]) -> bool {
    !list.is_empty() && list.iter().enumerate().all(|(i, item)| !list[..i].contains(item))
}

#[cfg(test)]
mod tests {
    use crate::{Backend, Board, Error};

    fn host() -> Board {
        Board::find("host").unwrap()
    }

    fn failed_check(board: &Board) -> &'static str {
        match board.validate("host") {
            Err(Error::Check { check, .. }) => check,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_check_catches_its_fault() {
        let twice = [host().precisions, host().precisions].concat();
        assert_eq!(failed_check(&Board { name: "other".into(), ..host() }), "name is the folder");
        assert_eq!(failed_check(&Board { description: "a\nb".into(), ..host() }), "description is one line");
        assert_eq!(failed_check(&Board { backends: vec![], ..host() }), "backends are listed once");
        assert_eq!(failed_check(&Board { precisions: twice, ..host() }), "precisions are listed once");
        let npu = Board { backends: vec![Backend::Rknn, Backend::Tract], ..host() };
        assert_eq!(failed_check(&npu), "an NPU has a backend");
        let shouting = Board { name: "HOST".into(), ..host() };
        assert!(matches!(shouting.validate("HOST"), Err(Error::Check { check: "name is plain", .. })));
    }
}
