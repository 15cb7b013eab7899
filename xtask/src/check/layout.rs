//! Rules about which files there are and what no file may say.
//! They look at names and plain text, whatever the language.

use std::collections::BTreeSet;

use super::{Tree, Violation};

type Rule = fn(&Tree) -> Vec<Violation>;

/// The rules of this file, by the name they are reported under.
pub const RULES: &[(&str, Rule)] = &[
    ("top-level names are those of ARCHITECTURE.md", top_level_names),
    ("the customer's folders are there", fixed_names_exist),
    ("no path of a machine, no registry's host name", no_places),
    ("board facts live in boards/NAME/board.toml", board_files),
];

/// Fixed by the customer.
const FIXED: [&str; 8] =
    ["Cargo.toml", "sdk", "boards", "train-host", "examples", "tests", "toolchains", "README.md"];
const ALSO: [&str; 5] = ["xtask", "Cargo.lock", "LICENSE", "CHANGELOG.md", "ARCHITECTURE.md"];

fn top_level_names(tree: &Tree) -> Vec<Violation> {
    let names: BTreeSet<_> = tree.files().map(|file| top_level(&file.path)).collect();
    let strange = names
        .into_iter()
        .filter(|name| !name.starts_with('.') && !FIXED.contains(name) && !ALSO.contains(name));
    strange.map(|name| Violation::new(name, "is not among the names of the top level")).collect()
}

fn fixed_names_exist(tree: &Tree) -> Vec<Violation> {
    let names: BTreeSet<_> = tree.files().map(|file| top_level(&file.path)).collect();
    let missing = FIXED.iter().filter(|name| !names.contains(**name));
    missing.map(|name| Violation::new(*name, "is missing")).collect()
}

fn no_places(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.files() {
        for (at, line) in file.text.lines().enumerate() {
            if let Some(found) = place_in(line) {
                violations
                    .push(Violation::new(format!("{}:{}", file.path, at + 1), format!("names {found}")));
            }
        }
    }
    violations
}

/// The machine's path or registry's host that a line names. The patterns are put together here, so that this file
/// holds none of them.
fn place_in(line: &str) -> Option<String> {
    let folders = ["work", "root", "home"].map(|name| format!("/{name}/"));
    let hosts =
        [("py", "pi.org"), ("pythonhost", "ed.org"), ("static.crat", "es.io"), ("index.crat", "es.io")];
    let more_hosts = [("npmjs", ".org"), ("deb.deb", "ian.org"), ("security.deb", "ian.org")];
    let folder = folders
        .into_iter()
        .find(|folder| line.match_indices(folder.as_str()).any(|(at, _)| !ends_in_path(&line[..at])));
    let host =
        || hosts.iter().chain(&more_hosts).map(|(a, b)| format!("{a}{b}")).find(|host| line.contains(host));
    folder.or_else(host)
}

/// Whether a path goes on before this point, so that what follows is no root folder.
fn ends_in_path(before: &str) -> bool {
    before
        .chars()
        .next_back()
        .is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '~' | '}' | ')'))
}

fn board_files(tree: &Tree) -> Vec<Violation> {
    let paths: BTreeSet<_> = tree.files().map(|file| file.path.as_str()).collect();
    let judge = |path: &str| match path.split('/').collect::<Vec<_>>()[..] {
        ["boards", "src" | "tests" | "bases", ..] | ["boards", _] => None,
        ["boards", board, ..] => {
            let is_whole = paths.contains(format!("boards/{board}/board.toml").as_str());
            (!is_whole).then_some("belongs to a board without a board.toml")
        }
        [.., "board.toml"] => Some("is a board outside of boards/NAME"),
        _ => None,
    };
    paths.iter().filter_map(|path| judge(path).map(|message| Violation::new(*path, message))).collect()
}

fn top_level(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strange_top_level_name_is_found() {
        let tree = Tree::of(&[("Cargo.toml", ""), (".ci/run", ""), ("docs/a.md", "")]);
        assert_eq!(top_level_names(&tree).len(), 1);
        assert_eq!(fixed_names_exist(&tree).len(), FIXED.len() - 1);
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        let path = ["see /", "work/main/x"].concat();
        assert_eq!(no_places(&Tree::of(&[("a.md", &path)])).len(), 1);
        let inside = ["target/", "root/x and net/", "work/y"].concat();
        assert_eq!(no_places(&Tree::of(&[("a.md", &inside)])), []);
    }

    #[test]
    fn hosts_of_registries_are_found() {
        let host = ["https://files.python", "hosted.org/x"].concat();
        assert_eq!(no_places(&Tree::of(&[("a.toml", &host)]))[0].place, "a.toml:1");
    }

    #[test]
    fn a_board_is_a_folder_with_its_file() {
        let good = Tree::of(&[
            ("boards/x86/board.toml", ""),
            ("boards/src/lib.rs", ""),
            ("boards/bases/arm.toml", ""),
        ]);
        assert_eq!(board_files(&good), []);
        let bad = Tree::of(&[("boards/rk3588/notes.md", ""), ("sdk/board.toml", "")]);
        assert_eq!(board_files(&bad).len(), 2);
    }
}
