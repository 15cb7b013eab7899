//! The first package of a board: no version runs there that could verify it, so where the board's owner has put keys there, whoever
//! flashes goes by those.

use std::io;

use anyhow::{Result, bail, ensure};
use artifact::trust::signer_of_file;
use artifact::{Error, KeyRing};

use super::board::PRELUDE;
use super::package::Package;
use super::shell::Shell;

/// Prints the owner's keys, each below a line with its name; none where the owner has nothing judged.
const KEYS: &str = r#"
$as_root sh -c '
[ ! -e "$1/etc/repedge/allow-unsigned" ] || exit 0
for key in "$1"/etc/repedge/keys/*.pub; do
    [ -f "$key" ] || continue
    printf "key %s\n" "${key##*/}" && cat "$key" && echo || exit 1
done' sh "$root"
"#;

/// Checks that a key of the board's owner has signed a package, where the owner has put any there.
///
/// # Errors
/// Says which keys there are, and every way out; when the board does not tell them, or one of them is none.
pub fn expect_signed(package: &Package, shell: &mut dyn Shell) -> Result<()> {
    let answer = shell.run(&format!("{PRELUDE}{KEYS}"), &mut io::empty())?;
    ensure!(answer.code == 0, "the board does not tell its owner's keys: {} {}", answer.out, answer.err);
    let keys = keys(&answer.out);
    if keys.is_empty() {
        return Ok(());
    }
    let mut ring = KeyRing::default();
    for (name, text) in &keys {
        ring.add(&format!("/etc/repedge/keys/{name} of the board"), text)?;
    }
    let Some(why) = objection(package, &ring)? else { return Ok(()) };
    let names: Vec<_> = keys.iter().map(|(name, _)| *name).collect();
    bail!(
        "no version runs on the board yet that could verify the package, and its owner's keys in /etc/repedge/keys ({}) do not: \
         {why}\n  help: sign it with one of them (`cargo xtask build-board BOARD --sign KEY`), put the signer's .pub file beside \
         them, or have the board run what nobody signed with --allow-unsigned",
        names.join(", ")
    )
}

/// Why none of these keys vouches for a package, if none does.
fn objection(package: &Package, ring: &KeyRing) -> Result<Option<&'static str>> {
    let Some(signature) = &package.signature else {
        return Ok(Some("it has no signature beside it (.minisig)"));
    };
    match signer_of_file(&package.file, signature, ring) {
        Ok(_) => Ok(None),
        Err(Error::Untrusted(_)) => Ok(Some("another key has signed it, or it was changed since")),
        Err(error) => Err(error.into()),
    }
}

/// Names and texts of keys; what a board says before them is none.
fn keys(told: &str) -> Vec<(&str, String)> {
    let mut keys: Vec<(&str, String)> = Vec::new();
    for line in told.lines() {
        if let Some(name) = line.strip_prefix("key ") {
            keys.push((name, String::new()));
        } else if let Some((_, text)) = keys.last_mut() {
            *text += &format!("{line}\n");
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::process::Command;

    use artifact::Signer as _;
    use signing::{KeyFiles, PrivateKey, Protection};

    use super::super::package::tests::deb;
    use super::super::shell::Answer;
    use super::*;

    /// A board in a folder, and two keys.
    struct Bench {
        folder: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let bench = Self { folder: tempfile::tempdir().unwrap() };
            for folder in ["bin", "root/etc/repedge/keys"] {
                fs::create_dir_all(bench.path(folder)).unwrap();
            }
            let sudo = bench.path("bin/sudo");
            fs::write(&sudo, "#!/bin/sh\nshift\nexec \"$@\"\n").unwrap();
            fs::set_permissions(sudo, fs::Permissions::from_mode(0o755)).unwrap();
            let control = "Package: repedge\nVersion: 1.0\nBoard: rk3588\n";
            fs::write(bench.path("a.deb"), deb(control, b"content")).unwrap();
            bench
        }

        fn path(&self, below: &str) -> PathBuf {
            self.folder.path().join(below)
        }

        /// Makes a key; the board's owner has its public half under this name.
        fn own(&self, name: &str) -> PrivateKey {
            let files = KeyFiles::of(&self.path("keys"), name);
            files.generate(Protection::None).unwrap();
            fs::copy(files.public, self.path(&format!("root/etc/repedge/keys/{name}.pub"))).unwrap();
            PrivateKey::read(&files.private, "test").unwrap()
        }

        fn sign(&self, key: &PrivateKey) {
            let signature = key.sign(&fs::read(self.path("a.deb")).unwrap()).unwrap();
            fs::write(self.path("a.deb.minisig"), signature).unwrap();
        }

        fn expect_signed(&mut self) -> Result<(), String> {
            let package = Package::open(&self.path("a.deb")).unwrap();
            expect_signed(&package, self).map_err(|error| format!("{error:#}"))
        }
    }

    impl Shell for Bench {
        fn run(&mut self, script: &str, _: &mut dyn Read) -> Result<Answer> {
            let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH")?);
            let mut command = Command::new("sh");
            command.args(["-c", script]).env("PATH", path).env("REPEDGE_ROOT", self.path("root"));
            let output = command.output()?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Ok(Answer {
                code: output.status.code().unwrap(),
                out: format!("Welcome to the board\n{}", text(&output.stdout)),
                err: text(&output.stderr),
            })
        }
    }

    #[test]
    fn the_owners_keys_are_asked_about_a_first_package() {
        let mut bench = Bench::new();
        bench.expect_signed().unwrap();
        let _others = bench.own("another");
        let ours = bench.own("ours");
        let error = bench.expect_signed().unwrap_err();
        for part in ["(another.pub, ours.pub)", "no signature beside it", "--sign KEY", "--allow-unsigned"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        bench.sign(&ours);
        bench.expect_signed().unwrap();
        fs::remove_file(bench.path("root/etc/repedge/keys/ours.pub")).unwrap();
        let error = bench.expect_signed().unwrap_err();
        assert!(error.contains("(another.pub)") && error.contains("another key has signed it"), "{error}");
        fs::write(bench.path("root/etc/repedge/allow-unsigned"), "").unwrap();
        bench.expect_signed().unwrap();
    }

    #[test]
    fn what_is_no_key_on_the_board_is_named() {
        let mut bench = Bench::new();
        fs::write(bench.path("root/etc/repedge/keys/odd.pub"), "odd").unwrap();
        let error = bench.expect_signed().unwrap_err();
        assert!(error.contains("/etc/repedge/keys/odd.pub of the board"), "{error}");
    }
}
