//! Installs a package on a board over ssh and lets the board judge it: it goes back to the version before by itself when
//! its self-test or its unit fails, also when the cable is pulled meanwhile. Only then may the new one forbid older security
//! versions. Every error says which version runs.

mod board;
mod shell;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use boards::Board;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::bars;
use board::{Facts, PRELUDE, fields};
pub use shell::{Shell, Ssh};

/// Prints the folder that the package is copied to.
const MAKE_FOLDER: &str = "mktemp -d /var/tmp/repedge-flash.XXXXXX";
/// Reads the package from standard input and prints the digest of what is on the disk then.
const COPY: &str = r#"cat > "$folder/package.deb" && sync && sha256sum < "$folder/package.deb""#;
const CLEAN_UP: &str = r#"$as_root rm -rf "$folder""#;

/// Installs, puts the new version into service if the package's own scripts did not, and tells which runs.
const INSTALL: &str = r#"
trap '' HUP PIPE
runs >"$folder/before"
# The package commits a version whose service runs; here the whole self-test comes before that.
$as_root env DEBIAN_FRONTEND=noninteractive REPEDGE_FLASH_COMMITS=1 dpkg --install --force-confold "$folder/package.deb" >"$folder/log" 2>&1
code=$?
version="$(cat "$package/VERSION" 2>/dev/null)"
if [ "$code" = 0 ] && [ "$(runs)" != "$version" ]; then
    $as_root "$package/activate" >>"$folder/log" 2>&1
    code=$?
fi
# Below what the package's scripts say dpkg says that they failed.
tail -n 12 "$folder/log" >&2
printf 'code=%s\nversion=%s\nruns=%s\n' "$code" "$version" "$(runs)"
"#;

/// Judges the version in service, and goes back if it fails. It ends by itself when nobody listens any more. What forbids
/// older versions comes last, because a board that goes back needs one of them.
const TRY: &str = r#"
trap '' HUP PIPE
activate() { $as_root "$package/activate" "$@" >>"$folder/log" 2>&1 </dev/null; }
go_back() {
    before="$(cat "$folder/before")"
    if [ -z "$before" ]; then
        outcome=first
    elif [ "$before" = "$(runs)" ]; then
        outcome=same
    elif activate --rollback; then
        outcome=back
    else
        outcome=stuck
    fi
    $as_root systemctl restart "$unit" >>"$folder/log" 2>&1
}
: >"$folder/log"
outcome=passed
failed=
$as_root systemctl stop "$unit" >>"$folder/log" 2>&1
activate --self-test --json "$folder/report.json"
code=$?
if [ "$code" != 0 ]; then
    failed=self-test
    go_back
elif ! activate --start; then
    failed=unit
    go_back
elif ! activate --commit; then
    failed=commit
fi
$as_root chmod a+r "$folder/report.json" 2>/dev/null
tail -n 5 "$folder/log" >&2
printf 'code=%s\noutcome=%s\nfailed=%s\nruns=%s\n' "$code" "$outcome" "$failed" "$(runs)"
"#;

/// A package to install.
#[derive(Debug)]
pub struct Package {
    /// The `.deb`.
    pub file: PathBuf,
    bytes: u64,
    sha256: String,
}

/// What a board said of itself after a package was installed.
#[derive(Debug)]
pub struct Done {
    /// The version in service.
    pub version: String,
    /// The report of its self-test.
    pub report: Value,
}

impl Package {
    /// Reads a package to know its digest.
    ///
    /// # Errors
    /// When it cannot be read or is no Debian package.
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
        Ok(Self { file: file.to_owned(), bytes, sha256 })
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
}

/// Installs a package on a board and lets it judge itself.
///
/// # Errors
/// When it is another board, copying or installing fails, or the new version fails its self-test; says which version runs.
pub fn flash(board: &Board, package: &Package, shell: &mut dyn Shell) -> Result<Done> {
    let facts = board::ask(shell).context("nothing was changed")?;
    facts
        .expect(board)
        .with_context(|| format!("nothing was changed, the board runs {}", facts.running()))?;
    eprintln!("{} runs {}", board.name, facts.running());
    let mut visit = Visit { shell, before: facts, folder: String::new() };
    visit.copy(package).with_context(|| {
        format!(
            "nothing was installed, the board runs {} as before{}",
            visit.before.running(),
            visit.left_over()
        )
    })?;
    let done = visit.install().and_then(|()| visit.judge());
    visit.clean_up();
    done
}

/// A board that is being flashed.
struct Visit<'a> {
    shell: &'a mut dyn Shell,
    before: Facts,
    /// Our folder on the board; empty before it is made.
    folder: String,
}

impl Visit<'_> {
    fn script(&mut self, script: &str, input: &mut dyn Read) -> Result<shell::Answer> {
        // The folder's name is mktemp's, checked when it came.
        self.shell.run(&format!("{PRELUDE}folder={}\n{script}", self.folder), input)
    }

    fn left_over(&self) -> String {
        if self.folder.is_empty() {
            String::new()
        } else {
            format!("; a partial copy may lie in {}", self.folder)
        }
    }

    fn copy(&mut self, package: &Package) -> Result<()> {
        let answer = self.script(MAKE_FOLDER, &mut io::empty())?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
        let folder = answer.out.lines().last().unwrap_or_default();
        ensure!(
            answer.code == 0 && folder.starts_with('/') && folder.chars().all(is_plain),
            "the board makes no folder in /var/tmp: {} {}",
            answer.out,
            answer.err
        );
        self.folder = folder.to_owned();
        let bar = bars::bytes("copying", package.bytes);
        let file =
            File::open(&package.file).with_context(|| format!("cannot open {}", package.file.display()))?;
        let answer = self.script(COPY, &mut bar.wrap_read(file))?;
        if answer.code != 0 {
            self.clean_up();
            bail!("the board could not store the package: {}", answer.err);
        }
        let found = answer.out.split_whitespace().next().unwrap_or_default().to_owned();
        if found != package.sha256 {
            self.clean_up();
            bail!(
                "the copy on the board has SHA-256 {found}, {} has {}",
                package.file.display(),
                package.sha256
            );
        }
        bars::finish(&bar, "verified");
        Ok(())
    }

    fn install(&mut self) -> Result<()> {
        eprintln!("installing; the board tests the new version before it runs it");
        let answer = self.script(INSTALL, &mut io::empty()).with_context(|| {
            format!(
                "the connection broke during the installation. The board switches versions in one step: it runs {} or the \
                 new one, whole. Flash it again",
                self.before.running()
            )
        })?;
        let said = fields(&answer.out);
        let field = |name: &str| said.get(name).cloned().unwrap_or_default();
        let (code, version, runs) = (field("code"), field("version"), field("runs"));
        ensure!(
            code == "0" && !version.is_empty() && runs == version,
            "version {version} was not put into service, the board runs {}: {}",
            if runs.is_empty() { "no version".into() } else { format!("version {runs}") },
            answer.err
        );
        Ok(())
    }

    fn judge(&mut self) -> Result<Done> {
        eprintln!("running the self-test");
        let answer = self.script(TRY, &mut io::empty()).with_context(|| {
            format!(
                "the connection broke during the self-test. The board ends it by itself: it keeps the new version if that \
                 passes, and goes back to {} if not",
                self.before.running()
            )
        })?;
        let said = fields(&answer.out);
        let field = |name: &str| said.get(name).map_or("", String::as_str);
        let report = self.report();
        let version = field("runs");
        let state = state_of(field("outcome"), version);
        match (field("failed"), report) {
            ("", report) if field("outcome") == "passed" => {
                Ok(Done { version: version.to_owned(), report: report? })
            }
            ("commit", _) => bail!(
                "version {version} passed its self-test and runs, but lower security versions are accepted as before: {}\n  \
                 help: run `/usr/lib/repedge/package/activate --commit` on the board",
                answer.err
            ),
            ("self-test", Ok(report)) => {
                bail!("the new version failed its self-test: {}; {state}: {}", summary(&report), answer.err)
            }
            ("self-test", Err(_)) => {
                bail!(
                    "the new version's self-test ended with code {}; {state}: {}",
                    field("code"),
                    answer.err
                )
            }
            _ => bail!("the new version's service did not come up; {state}: {}", answer.err),
        }
    }

    /// The report that the self-test left.
    fn report(&mut self) -> Result<Value> {
        let answer = self.script(r#"cat "$folder/report.json""#, &mut io::empty())?;
        ensure!(answer.code == 0, "the self-test left no report: {}", answer.err);
        serde_json::from_str(&answer.out).context("the self-test's report is no JSON")
    }

    /// Removes our folder; a failure leaves a file that the board's own clean-up of /var/tmp removes.
    fn clean_up(&mut self) {
        let _ = self.script(CLEAN_UP, &mut io::empty());
    }
}

/// What a board does after a version has failed, by the outcome that its script gives.
fn state_of(outcome: &str, version: &str) -> String {
    let why_it_stays = match outcome {
        "back" => return format!("the board went back and runs version {version}"),
        "first" => "the board has no earlier version to go back to",
        "same" => "the board ran this version before",
        _ => "the board could not go back to the version before",
    };
    format!("{why_it_stays}; version {version} stays in service and is not to be trusted")
}

/// A report in one line: its verdict, and what it measured.
pub fn summary(report: &Value) -> String {
    let verdict = report["verdict"].as_str().unwrap_or("no verdict");
    let backend = report["backend"].as_str().unwrap_or("an unknown backend");
    let fps = report["fps"].as_f64().map_or_else(String::new, |fps| format!(", {fps:.1} fps"));
    format!("{verdict} on {backend}{fps}")
}
