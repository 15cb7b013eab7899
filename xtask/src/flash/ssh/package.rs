//! The package file of a board as it is before it is sent: for which board, in which version, and who signed it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use boards::Board;
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

/// Where a Debian package says what it is.
const CONTROL: &str = "control.tar.gz";
/// Ours has some hundred bytes; what is much longer is none.
const MOST_CONTROL_BYTES: u64 = 1 << 20;

/// A package to install.
#[derive(Debug)]
pub struct Package {
    /// The `.deb`.
    pub file: PathBuf,
    /// Its signature, where one lies beside it.
    pub signature: Option<PathBuf>,
    /// Its version.
    pub version: String,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub sha256: String,
    board: String,
}

impl Package {
    /// Reads a package to know what it is.
    ///
    /// # Errors
    /// When it cannot be read, or is no package of ours.
    pub fn open(file: &Path) -> Result<Self> {
        let read = || -> io::Result<([u8; 21], String, u64)> {
            let mut input = File::open(file)?;
            let mut magic = [0; 21];
            input.read_exact(&mut magic)?;
            let mut hasher = Sha256::new_with_prefix(magic);
            let bytes = io::copy(&mut input, &mut hasher)? + magic.len() as u64;
            let digest = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            Ok((magic, digest, bytes))
        };
        let (magic, sha256, bytes) = read().with_context(|| format!("cannot read {}", file.display()))?;
        ensure!(&magic == b"!<arch>\ndebian-binary", "{} is no Debian package", file.display());
        let control = control(file).with_context(|| format!("cannot read {}", file.display()))?;
        let field = |name: &str| {
            let found = control.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            found.map(str::to_owned).with_context(|| {
                format!(
                    "{} does not say its {name}: it is no package of `cargo xtask build-board`",
                    file.display()
                )
            })
        };
        let (board, version) = (field("Board")?, field("Version")?);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '~' | '-');
        ensure!(
            !version.is_empty() && version.chars().all(is_plain),
            "{} has the version {version:?}: expected letters, digits and . + ~ -",
            file.display()
        );
        let signature = PathBuf::from(format!("{}.minisig", file.display()));
        let signature = signature.is_file().then_some(signature);
        Ok(Self { file: file.to_owned(), signature, version, bytes, sha256, board })
    }

    /// The package that `build-board` left in a board's folder.
    ///
    /// # Errors
    /// When there is none, or several.
    pub fn find(board: &Board, folder: &Path) -> Result<Self> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
        let packages: Vec<_> = entries.filter(is_package).collect();
        match &packages[..] {
            [one] => Self::open(one),
            [] => {
                bail!("no package in {}: `cargo xtask build-board {}` makes it", folder.display(), board.name)
            }
            _ => bail!("several packages in {}: choose one with `--package FILE`", folder.display()),
        }
    }

    /// Whether this is a package of that board.
    ///
    /// # Errors
    /// Names both boards when it is another's.
    pub fn expect(&self, board: &Board) -> Result<()> {
        ensure!(
            self.board == board.name,
            "{} is for {}, not for {}; nothing was changed\n  help: `cargo xtask build-board {}` makes the package of this \
             board",
            self.file.display(),
            self.board,
            board.name,
            board.name
        );
        Ok(())
    }
}

/// The text in which a Debian package says what it is.
fn control(file: &Path) -> Result<String> {
    let mut members = ar::Archive::new(File::open(file)?);
    while let Some(member) = members.next_entry() {
        let member = member?;
        if member.header().identifier() != CONTROL.as_bytes() {
            continue;
        }
        let mut files = tar::Archive::new(GzDecoder::new(member).take(MOST_CONTROL_BYTES));
        for entry in files.entries()? {
            let mut entry = entry?;
            if entry.path_bytes().as_ref() == b"./control" {
                let mut text = String::new();
                entry.read_to_string(&mut text)?;
                return Ok(text);
            }
        }
    }
    bail!("it has no {CONTROL} with a control file")
}

#[cfg(test)]
pub mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A package that says this of itself, with content after it.
    pub fn deb(control: &str, content: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_size(control.len() as u64);
        header.set_mode(0o644);
        let mut files = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        header.as_old_mut().name[..9].copy_from_slice(b"./control");
        header.set_cksum();
        files.append(&header, control.as_bytes()).unwrap();
        let control = files.into_inner().unwrap().finish().unwrap();
        let mut members = ar::Builder::new(Vec::new());
        for (name, bytes) in [("debian-binary", &b"2.0\n"[..]), (CONTROL, &control), ("data.tar", content)] {
            let header = ar::Header::new(name.into(), bytes.len() as u64);
            members.append(&header, bytes).unwrap();
        }
        members.into_inner().unwrap()
    }

    fn refusal(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.deb");
        fs::write(&file, bytes).unwrap();
        format!("{:#}", Package::open(&file).unwrap_err())
    }

    #[test]
    fn what_is_no_package_of_ours_is_refused() {
        assert!(refusal(b"!<arch>\nsomething else entirely").contains("is no Debian package"));
        assert!(refusal(b"!<arch>\ndebian-binary   ").contains("a.deb"));
        let error = refusal(&deb("Package: hello\nVersion: 2.10\n", b""));
        assert!(error.contains("does not say its Board") && error.contains("build-board"), "{error}");
        let error = refusal(&deb("Version: 1;reboot\nBoard: rk3588\n", b""));
        assert!(error.contains("\"1;reboot\""), "{error}");
        let board = Board::find("rk3588").unwrap();
        assert!(
            Package::find(&board, Path::new("/nonexistent"))
                .unwrap_err()
                .to_string()
                .contains("build-board rk3588")
        );
    }

    #[test]
    fn a_package_of_another_board_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.deb");
        fs::write(&file, deb("Package: repedge\nVersion: 1.0\nBoard: rk3568\n", b"")).unwrap();
        let package = Package::open(&file).unwrap();
        assert_eq!((package.version.as_str(), &package.signature), ("1.0", &None));
        package.expect(&Board::find("rk3568").unwrap()).unwrap();
        let error = package.expect(&Board::find("rk3588").unwrap()).unwrap_err().to_string();
        assert!(error.contains("a.deb is for rk3568, not for rk3588"), "{error}");
        fs::write(folder.path().join("a.deb.minisig"), "").unwrap();
        assert!(Package::open(&file).unwrap().signature.is_some());
    }
}
