//! What `--dry-run` prints: the steps that would be taken, from facts that were read already. It opens and asks nothing.

use std::path::Path;

use super::sd::Card;
use super::ssh::{Package, Unsigned};
use crate::bmap::Bmap;

/// The last line, which tells a plan from a report.
const NOTHING_DONE: &str = "nothing was done: this was --dry-run";

/// Prints steps, numbered.
pub fn print(steps: &[String]) {
    print!("{}", text(steps));
}

fn text(steps: &[String]) -> String {
    let lines: String = (1..).zip(steps).map(|(number, step)| format!("{number}. {step}\n")).collect();
    format!("{lines}{NOTHING_DONE}\n")
}

/// The steps of installing a package over ssh.
pub fn over_ssh(
    board: &str,
    destination: &str,
    package: &Package,
    unsigned: Unsigned,
    report: &Path,
) -> Vec<String> {
    let signature = match &package.signature {
        Some(signature) => format!("with its signature {}", signature.display()),
        None => "which has no signature beside it".into(),
    };
    vec![
        format!("ask {destination} over ssh what it is, and stop unless it is a {board}"),
        format!(
            "copy {} to /var/tmp there and compare digests, {signature}",
            package.file.display()
        ),
        "have the board do the rest by itself, also when the connection breaks:".into(),
        match unsigned {
            Unsigned::AsTheBoardSays => {
                "verify the package's signature with the keys that the board has; where nothing runs there and its owner has put no \
                 key into /etc/repedge/keys, a first version is trusted as it comes, on this first use; refuse what nobody signed unless \
                 the board has a file /etc/repedge/allow-unsigned"
            }
            Unsigned::Allow => {
                "make the file /etc/repedge/allow-unsigned: from then on the board runs what nobody signed, and judges no \
                 signature, until that file is removed"
            }
        }
        .into(),
        "install it: the package tests the new version before it switches to it".into(),
        "stop the demo, run the whole self-test, start the demo and see that it stays up".into(),
        "go back to the version before if the self-test or the demo fails".into(),
        "else accept no lower security version any more, if the bundle is signed".into(),
        format!("fetch the self-test's report to {}, good or bad", report.display()),
    ]
}

/// The steps of writing a card, with those of `writing` among them.
pub fn onto_card(card: &Card, writing: Vec<String>) -> Vec<String> {
    let first = format!("ask whether to overwrite {}, unless --yes says so", card.describe());
    [vec![first], writing].concat()
}

/// The steps that every disk image takes.
pub fn writing(file: &Path, map: &Bmap) -> Vec<String> {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    vec![
        format!("check {} against its block map", file.display()),
        format!("write the {} of {} MiB that matter", mib(map.mapped_bytes()), mib(map.image_bytes())),
        "read them back and compare digests".into(),
    ]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A card that cannot be opened: a plan that did would fail.
    #[test]
    fn the_plan_for_a_card_names_it_and_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.img");
        fs::write(&file, vec![1; 3 << 20]).unwrap();
        let map = Bmap::of(&file, &[(0, 1 << 20)]).unwrap();
        let card = Card {
            device: "/dev/no-such-card".into(),
            number: "8:16".into(),
            sequence: "1".into(),
            model: "Reader".into(),
            bytes: 8 << 30,
        };
        let plan = text(&onto_card(&card, writing(&file, &map)));
        let lines: Vec<_> = plan.lines().collect();
        assert_eq!(
            lines[0],
            "1. ask whether to overwrite /dev/no-such-card: Reader, 8.0 GiB, unless --yes says so"
        );
        assert_eq!(lines[2], "3. write the 1 of 3 MiB that matter");
        assert_eq!((lines.len(), lines[4]), (5, NOTHING_DONE));
    }
}
