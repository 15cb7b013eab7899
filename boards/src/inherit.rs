//! What a board's file inherits: bases below it, read first. Knows no key but `inherit`.

use crate::Error;
use crate::nearest::nearest;
use crate::tree::Node;

/// How many bases may lie below each other; more is a circle.
const DEEPEST: usize = 8;

/// The text of `file` laid over everything it inherits.
///
/// # Errors
/// [`Error::Syntax`] for what is no TOML, for an unknown base and for bases that inherit in a circle.
pub fn resolve(file: &str, text: &str, bases: &[(&str, &'static str)]) -> Result<Node, Error> {
    let mut tree = None;
    walk(file, text, bases, |_, _, node| {
        tree = Some(match tree.take() {
            Some(above) => Node::over(above, node),
            None => node,
        });
    })?;
    tree.map_or_else(|| Node::parse(file, ""), Ok)
}

/// The files of the bases below `file`, the nearest first, with their texts.
///
/// # Errors
/// As [`resolve`].
pub fn bases_of(
    file: &str,
    text: &str,
    bases: &[(&str, &'static str)],
) -> Result<Vec<(String, &'static str)>, Error> {
    let mut names = Vec::new();
    walk(file, text, bases, |name, text, _| names.extend(text.map(|text| (name.to_owned(), text))))?;
    Ok(names)
}

/// Visits `file` and then each base below it: its path, its text where it is a base, its tree without `inherit`.
fn walk(
    file: &str,
    text: &str,
    bases: &[(&str, &'static str)],
    mut visit: impl FnMut(&str, Option<&'static str>, Node),
) -> Result<(), Error> {
    let mut node = Node::parse(file, text)?;
    let mut next = node.take_text("inherit")?;
    visit(file, None, node);
    for _ in 0..DEEPEST {
        let Some((name, place)) = next else { return Ok(()) };
        let known = || bases.iter().map(|(name, _)| *name);
        let Some((_, text)) = bases.iter().find(|(base, _)| *base == name) else {
            return Err(Error::Syntax {
                place,
                found: format!("inherit = {name:?}, which is no base"),
                expected: format!("one of {}", known().collect::<Vec<_>>().join(", ")),
                help: match nearest(&name, known()) {
                    Some(meant) => format!("did you mean {meant:?}?"),
                    None => "a base is a file boards/bases/NAME.toml".into(),
                },
            });
        };
        let file = format!("boards/bases/{name}.toml");
        let mut node = Node::parse(&file, text)?;
        next = node.take_text("inherit")?;
        visit(&file, Some(text), node);
    }
    match next {
        None => Ok(()),
        Some((name, place)) => Err(Error::Syntax {
            place,
            found: format!("inherit = {name:?}, {DEEPEST} bases deep"),
            expected: "bases that end".into(),
            help: "look for two bases that inherit each other".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASES: [(&str, &str); 4] = [
        ("low", "a = 1\nb = 1\n"),
        ("high", "inherit = \"low\"\nb = 2\nc = 2\n"),
        ("egg", "inherit = \"hen\"\n"),
        ("hen", "inherit = \"egg\"\n"),
    ];

    #[test]
    fn the_nearest_file_wins() {
        let tree = resolve("own", "inherit = \"high\"\nc = 3\n", &BASES).unwrap();
        let place = |key| tree.place_of(key).to_string();
        assert_eq!(place("a"), "boards/bases/low.toml:1");
        assert_eq!(place("b"), "boards/bases/high.toml:2");
        assert_eq!(place("c"), "own:2");
        let files = bases_of("own", "inherit = \"high\"\n", &BASES).unwrap();
        let files: Vec<_> = files.iter().map(|(file, _)| file.as_str()).collect();
        assert_eq!(files, ["boards/bases/high.toml", "boards/bases/low.toml"]);
    }

    #[test]
    fn circles_and_strangers_are_refused() {
        let error = resolve("own", "inherit = \"egg\"\n", &BASES).unwrap_err().to_string();
        assert!(error.contains("inherit each other"), "{error}");
        let error = resolve("own", "\ninherit = \"hihg\"\n", &BASES).unwrap_err().to_string();
        assert!(error.starts_with("own:2: ") && error.contains("did you mean \"high\"?"), "{error}");
        assert!(resolve("own", "inherit = 3\n", &BASES).is_err());
    }
}
