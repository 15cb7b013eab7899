//! Installs a package on a board over ssh and lets the board judge it: from the first step on it needs nobody, goes back to the
//! version before when its self-test or its unit fails, and writes down how it ended for who comes next. Only a version that
//! passed may forbid older security versions. Every error says which version runs.

mod board;
mod first;
mod outcome;
mod package;
mod shell;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read};

use anyhow::{Context, Result, bail, ensure};
use boards::Board;
use serde_json::Value;

use super::bars;
use crate::wheels::sha256_of;
use board::{Facts, PRELUDE};
pub use outcome::summary;
pub use package::Package;
pub use shell::{Shell, Ssh};

/// Prints the folder that the package is copied to.
const MAKE_FOLDER: &str = "mktemp -d /var/tmp/repedge-flash.XXXXXX";
const CLEAN_UP: &str = r#"$as_root rm -rf "$folder""#;
/// What the board does by itself.
const JOB: &str = include_str!("job.sh");
/// Exit code with which it says that another one is under way.
const UNDER_WAY: i32 = 75;

/// What a board made of a version.
#[derive(Debug)]
pub struct Judged {
    /// The report of its self-test, whatever that says; none where it did not come so far.
    pub report: Option<Value>,
    /// The version that passed and runs, or why it does not.
    pub result: Result<String>,
}

/// Whether a board runs what nobody signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsigned {
    /// If it does already.
    AsTheBoardSays,
    /// From now on, until somebody removes the file that says so.
    Allow,
}

/// Installs a package on a board and lets it judge itself.
///
/// # Errors
/// When it is another board, or copying fails, or the connection breaks; says what runs, or what the board does by itself.
pub fn flash(board: &Board, package: &Package, unsigned: Unsigned, shell: &mut dyn Shell) -> Result<Judged> {
    package.expect(board)?;
    let mut facts = expected(board, shell)?;
    let earlier = outcome::of_earlier(&facts, shell);
    let earlier = earlier.context("nothing was changed; an earlier flash goes on on the board by itself")?;
    if let Some(told) = earlier {
        eprintln!("an earlier flash, whose connection broke, ended so: {told}");
        facts = expected(board, shell)?;
    }
    eprintln!("{} runs {}", board.name, facts.running());
    if facts.runs.is_empty() && unsigned == Unsigned::AsTheBoardSays {
        first::expect_signed(package, shell).context("nothing was changed")?;
    }
    let mut visit = Visit { shell, before: facts, folder: String::new() };
    visit.copy(package).with_context(|| {
        format!(
            "nothing was installed, the board runs {} as before{}",
            visit.before.running(),
            visit.left_over()
        )
    })?;
    visit.start(package, unsigned)?;
    visit.follow(package)
}

/// What a board says of itself, if it is the one that was meant.
fn expected(board: &Board, shell: &mut dyn Shell) -> Result<Facts> {
    let facts = board::ask(shell).context("nothing was changed")?;
    facts
        .expect(board)
        .with_context(|| format!("nothing was changed, the board runs {}", facts.running()))?;
    Ok(facts)
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
        self.store("package.deb", &mut bar.wrap_read(file), &package.sha256)?;
        bars::finish(&bar, "verified");
        if let Some(path) = &package.signature {
            let signature = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            self.store("package.deb.minisig", &mut &*signature, &sha256_of(&signature))?;
        }
        self.store("job", &mut JOB.as_bytes(), &sha256_of(JOB.as_bytes()))
    }

    /// Writes a file into our folder, and checks that what is on the disk then has the digest of what was sent.
    fn store(&mut self, name: &str, input: &mut dyn Read, sha256: &str) -> Result<()> {
        let script = format!(r#"cat > "$folder/{name}" && sync && sha256sum < "$folder/{name}""#);
        let answer = self.script(&script, input)?;
        if answer.code != 0 {
            self.clean_up();
            bail!("the board could not store {name}: {}", answer.err);
        }
        let found = answer.out.split_whitespace().next().unwrap_or_default();
        if found != sha256 {
            self.clean_up();
            bail!("the copy on the board has SHA-256 {found}, {name} has {sha256}");
        }
        Ok(())
    }

    /// Has the board begin; it needs us no more then.
    fn start(&mut self, package: &Package, unsigned: Unsigned) -> Result<()> {
        let version = &package.version;
        let allow = match unsigned {
            Unsigned::AsTheBoardSays => "",
            Unsigned::Allow => "allow-unsigned",
        };
        // The version was checked when the package was opened.
        let script = format!(r#"$as_root sh "$folder/job" start {version} {allow}"#);
        let answer = self.script(&script, &mut io::empty()).with_context(|| {
            format!(
                "the connection broke as the board was to begin: it runs {} as before, or installs and judges version {version} \
                 by itself. Flash it again: that waits for it and says how it ended",
                self.before.running()
            )
        })?;
        if answer.code == 0 {
            return Ok(());
        }
        self.clean_up();
        if answer.code == UNDER_WAY {
            bail!(
                "nothing was changed: another flash of this board has just begun. Flash it again: that waits for it"
            );
        }
        bail!("nothing was installed, the board runs {} as before: {}", self.before.running(), answer.err)
    }

    fn follow(&mut self, package: &Package) -> Result<Judged> {
        let version = &package.version;
        eprintln!("the board installs and judges version {version} by itself; this waits for it");
        let outcome = outcome::follow(self.shell).with_context(|| {
            format!(
                "the connection broke while the board installs and judges version {version}. It goes on by itself: it keeps \
                 the new version if that passes, and goes back to {} if not. Flash it again: that waits for it and says how it \
                 ended",
                self.before.running()
            )
        })?;
        if !outcome.trust().is_empty() {
            eprintln!("{}", outcome.trust());
        }
        let report = if outcome.is_tested() { Some(outcome::report(self.shell)) } else { None };
        let judged = outcome.judge(report.as_ref().and_then(|report| report.as_ref().ok()));
        outcome::forget(self.shell);
        Ok(Judged::of(judged, report))
    }

    /// Removes our folder; a failure leaves a file that the board's own clean-up of /var/tmp removes.
    fn clean_up(&mut self) {
        let _ = self.script(CLEAN_UP, &mut io::empty());
    }
}

impl Judged {
    /// A version that passed is in service, also where its report did not reach us.
    fn of(result: Result<String>, report: Option<Result<Value>>) -> Self {
        match (result, report) {
            (Ok(version), Some(Err(error))) => Self {
                report: None,
                result: Err(error.context(format!(
                    "version {version} passed its self-test, runs and is committed; only its report was not fetched"
                ))),
            },
            (result, report) => Self { report: report.and_then(Result::ok), result },
        }
    }
}
