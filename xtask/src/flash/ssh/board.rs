//! What a board says about itself over a shell, and whether it is the one that was meant.

use std::collections::BTreeMap;
use std::io;

use anyhow::{Context, Result, ensure};
use boards::Board;

use super::shell::Shell;

/// What all scripts begin with. `REPEDGE_ROOT` is how the package's own scripts are led elsewhere, in tests.
pub const PRELUDE: &str = r#"
root="${REPEDGE_ROOT:-}"
current="$root/var/lib/repedge/current"
flash="$root/var/lib/repedge/flash"
if [ "$(id -u)" = 0 ]; then as_root=; else as_root='sudo -n'; fi
runs() { basename "$(readlink "$current" 2>/dev/null)" 2>/dev/null; }
"#;

const QUESTIONS: &str = r#"
say() { printf '%s=%s\n' "$1" "$2"; }
say arch "$(dpkg --print-architecture 2>/dev/null)"
say compatible "$(tr '\0' ' ' < "$root/proc/device-tree/compatible" 2>/dev/null)"
say runs "$(runs)"
if [ -z "$as_root" ] || sudo -n true 2>/dev/null; then say root yes; else say root no; fi
if [ ! -e "$flash/outcome" ]; then
    say flash none
elif flock -n -s "$flash/lock" true; then
    say flash ended
else
    say flash under-way
fi
"#;

/// What a board is and runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Debian's name of its architecture; empty where it has no dpkg.
    arch: String,
    /// Its device tree's names of it.
    compatible: Vec<String>,
    /// The version in service; empty where there is none.
    pub runs: String,
    /// Whether we may install.
    may_install: bool,
    /// Whether a flash was begun that nobody was told the end of.
    pub flash: Flash,
}

/// A flash that was begun before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flash {
    /// There is none.
    None,
    /// The board is at it.
    UnderWay,
    /// It has ended.
    Ended,
}

/// Asks a board.
///
/// # Errors
/// When it cannot be reached or answers something else.
pub fn ask(shell: &mut dyn Shell) -> Result<Facts> {
    let answer = shell.run(&format!("{PRELUDE}{QUESTIONS}"), &mut io::empty())?;
    ensure!(answer.code == 0, "the board answers strangely: {} {}", answer.out, answer.err);
    let mut said = fields(&answer.out);
    let mut take =
        |name: &str| said.remove(name).with_context(|| format!("the board does not say its {name}"));
    Ok(Facts {
        arch: take("arch")?,
        compatible: take("compatible")?.split_whitespace().map(str::to_owned).collect(),
        runs: take("runs")?,
        may_install: take("root")? == "yes",
        flash: match take("flash")?.as_str() {
            "none" => Flash::None,
            "ended" => Flash::Ended,
            _ => Flash::UnderWay,
        },
    })
}

/// The `name=value` lines of an answer; a line of another form is left out.
pub fn fields(text: &str) -> BTreeMap<&str, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name, value.trim().to_owned())).collect()
}

impl Facts {
    /// Whether this is a board of that kind, on which we may install.
    ///
    /// # Errors
    /// Says what it is instead, or what it lacks.
    pub fn expect(&self, board: &Board) -> Result<()> {
        let target = board.target.as_ref();
        let target = target
            .with_context(|| format!("{} is built where it runs: nothing is flashed to it", board.name))?;
        ensure!(
            !self.arch.is_empty(),
            "the board has no dpkg: unpack repedge-{}-*.tar.gz there and run /usr/lib/repedge/package/activate",
            board.name
        );
        let expected = target.debian_arch();
        ensure!(self.arch == expected, "wrong device: it is {}, {} is {expected}", self.arch, board.name);
        ensure!(
            board.fits_names(self.compatible.iter().map(String::as_str)),
            "wrong device: its device tree says {}, that of {} says {}",
            self.compatible.join(" "),
            board.name,
            board.compatible.join(" or ")
        );
        ensure!(
            self.may_install,
            "the user may not install: log in as root, or allow `sudo` without a password for this user"
        );
        Ok(())
    }

    /// What runs, for a person.
    pub fn running(&self) -> String {
        named(&self.runs)
    }
}

/// A version that runs, for a person; an empty one is none.
pub fn named(version: &str) -> String {
    if version.is_empty() { "no version".into() } else { format!("version {version}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            arch: "arm64".into(),
            compatible: vec!["radxa,rock-5b".into(), "rockchip,rk3588".into()],
            runs: String::new(),
            may_install: true,
            flash: Flash::None,
        }
    }

    #[test]
    fn a_board_of_another_kind_is_refused() {
        let board = Board::find("rk3588").unwrap();
        facts().expect(&board).unwrap();
        Facts { compatible: vec![], ..facts() }.expect(&board).unwrap();
        let refusal = |facts: Facts| facts.expect(&board).unwrap_err().to_string();
        assert!(refusal(Facts { arch: "amd64".into(), ..facts() }).contains("wrong device: it is amd64"));
        assert!(
            refusal(Facts { compatible: vec!["rockchip,rk3568".into()], ..facts() })
                .contains("says rockchip,rk3568")
        );
        assert!(refusal(Facts { arch: String::new(), ..facts() }).contains("no dpkg"));
        assert!(refusal(Facts { may_install: false, ..facts() }).contains("may not install"));
        let pi = Board::find("rpi5").unwrap();
        let error = facts().expect(&pi).unwrap_err().to_string();
        assert!(
            error.contains("says radxa,rock-5b rockchip,rk3588, that of rpi5 says brcm,bcm2712"),
            "{error}"
        );
        let names = vec!["raspberrypi,5-model-b".into(), "brcm,bcm2712".into()];
        Facts { compatible: names, ..facts() }.expect(&pi).unwrap();
        assert!(facts().expect(&Board::find("host").unwrap()).is_err());
    }

    #[test]
    fn lines_that_are_no_fields_are_left_out() {
        let said = fields("Welcome to the board\narch=arm64\nruns=\n");
        assert_eq!(said.get("arch").unwrap(), "arm64");
        assert_eq!(said.get("runs").unwrap(), "");
        assert_eq!(said.len(), 2);
    }
}
