//! How a flash ended, as the board wrote it down while it installed and judged a version by itself, and what that means for a
//! person: what was wrong, and what the board runs now.

use std::collections::BTreeMap;
use std::io;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::board::{Facts, Flash, PRELUDE, fields, named};
use super::shell::Shell;

/// Waits until no flash is under way, and tells how the last one ended; what runs may have changed since.
const FOLLOW: &str = r#"
flock -s "$flash/lock" true && cat "$flash/outcome" || exit 1
printf 'runs=%s\n' "$(runs)"
# Below what the package's scripts say dpkg says that they failed.
tail -n 12 "$flash/log" >&2
"#;
/// The service of packages.
const UNIT: &str = "repedge-camera-demo.service";
const FORGET: &str = r#"$as_root rm -f "$flash/outcome""#;
const REPORT: &str = r#"cat "$flash/report.json""#;

/// How a flash ended.
#[derive(Debug)]
pub struct Outcome {
    said: BTreeMap<String, String>,
    /// The last lines of what the board's programs said.
    log: String,
}

/// Waits until the flash of a board has ended.
///
/// # Errors
/// When the connection breaks, or there was no flash.
pub fn follow(shell: &mut dyn Shell) -> Result<Outcome> {
    let answer = shell.run(&format!("{PRELUDE}{FOLLOW}"), &mut io::empty())?;
    ensure!(answer.code == 0, "the board does not say how the flash ended: {} {}", answer.out, answer.err);
    let said = fields(&answer.out).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(Outcome { said, log: answer.err })
}

/// The report of the self-test of the last flash.
///
/// # Errors
/// When the connection breaks, or there is none.
pub fn report(shell: &mut dyn Shell) -> Result<Value> {
    let answer = shell.run(&format!("{PRELUDE}{REPORT}"), &mut io::empty())?;
    ensure!(answer.code == 0, "the self-test left no report: {}", answer.err);
    serde_json::from_str(&answer.out).context("the self-test's report is no JSON")
}

/// Has the board forget how the last flash ended, once that was read. One that is read twice does no harm.
pub fn forget(shell: &mut dyn Shell) {
    let _ = shell.run(&format!("{PRELUDE}{FORGET}"), &mut io::empty());
}

/// How a flash ended whose connection broke, if there is one that nobody was told of; waits for it.
///
/// # Errors
/// When the connection breaks.
pub fn of_earlier(facts: &Facts, shell: &mut dyn Shell) -> Result<Option<String>> {
    match facts.flash {
        Flash::None => return Ok(None),
        Flash::UnderWay => eprintln!("an earlier flash is still under way on the board: waiting for it"),
        Flash::Ended => {}
    }
    let outcome = follow(shell)?;
    let report = report(shell).ok();
    let told = match outcome.judge(report.as_ref()) {
        Ok(version) => format!("version {version} passed and runs"),
        Err(error) => format!("{error:#}"),
    };
    forget(shell);
    Ok(Some(told))
}

impl Outcome {
    fn field(&self, name: &str) -> &str {
        self.said.get(name).map_or("", String::as_str)
    }

    /// Why the board took the package; nothing where it did not come so far.
    pub fn trust(&self) -> &str {
        self.field("trust")
    }

    /// Whether there may be a report of a self-test.
    pub fn is_tested(&self) -> bool {
        !matches!(self.field("ended"), "" | "refused" | "install")
    }

    /// The version that passed and runs.
    ///
    /// # Errors
    /// Says why not, and what runs.
    pub fn judge(&self, report: Option<&Value>) -> Result<String> {
        let (version, log) = (self.field("version"), &self.log);
        let runs = named(self.field("runs"));
        match self.field("ended") {
            "refused" => {
                bail!("the board refused version {version} and runs {runs} as before: {log}")
            }
            "install" => bail!("version {version} was not put into service, the board runs {runs}: {log}"),
            "passed" => Ok(version.to_owned()),
            "self-test" | "service" | "commit" if self.field("way") == "other" => bail!(
                "while version {version} was judged another one was put into service: the board runs {runs}, which was not \
                 judged here: {log}"
            ),
            "commit" => bail!(
                "version {version} passed its self-test and runs, but lower security versions are accepted as before: {log}\n  \
                 help: run `/usr/lib/repedge/package/activate --commit {version}` on the board"
            ),
            "self-test" => {
                let found = report.map_or_else(
                    || format!("version {version}'s self-test ended with code {}", self.field("code")),
                    |report| format!("version {version} failed its self-test: {}", summary(report)),
                );
                bail!("{found}; {}: {log}", self.state())
            }
            "service" => bail!("version {version}'s service did not come up; {}: {log}", self.state()),
            _ => bail!(
                "the board was stopped while it installed and judged version {version}, by a power cut perhaps, or could not write \
                 on a full disk how that ended: it runs {runs}, and nobody has seen the end of the judgement: {log}\n  help: make \
                 room on the board's disk (`df /var/lib/repedge`), then flash it again"
            ),
        }
    }

    /// What the board runs after a version has failed, and why.
    fn state(&self) -> String {
        let version = self.field("version");
        let why_it_stays = match self.field("way") {
            "back" => return format!("the board went back and runs {}", named(self.field("runs"))),
            "down" => {
                return format!(
                    "the board went back to {}, whose service does not stay up either (`journalctl -u {UNIT}` there says why)",
                    named(self.field("runs"))
                );
            }
            "first" => "the board has no earlier version to go back to",
            "same" => "the board ran this version before",
            _ => "the board could not go back to the version before",
        };
        format!("{why_it_stays}; version {version} stays in service and is not to be trusted")
    }
}

/// A report in one line: its verdict, and what it measured.
pub fn summary(report: &Value) -> String {
    let verdict = report["verdict"].as_str().unwrap_or("no verdict");
    if let Some(error) = report["error"].as_str() {
        return format!("{verdict}: {error}");
    }
    let ran = report["backend"].as_str().unwrap_or("an unknown backend");
    let why = report["fallback"].as_str().map_or_else(String::new, |why| format!(" because {why}"));
    let fps = report["fps"].as_f64().map_or_else(String::new, |fps| format!(", {fps:.1} fps"));
    format!("{verdict} on {ran}{why}{fps}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let said = fields(text).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let outcome = Outcome { said, log: "why".into() };
        outcome.judge(None).map_or_else(|error| error.to_string(), |version| format!("{version} passed"))
    }

    #[test]
    fn a_summary_says_why_the_npu_did_not_run() {
        let report = serde_json::json!({"verdict": "fail", "backend": "tract", "fallback": "no runtime"});
        assert_eq!(summary(&report), "fail on tract because no runtime");
    }

    #[test]
    fn a_summary_says_why_nothing_ran() {
        let report = serde_json::json!({"board": "host", "verdict": "fail", "error": "no bundle"});
        assert_eq!(summary(&report), "fail: no bundle");
    }

    #[test]
    fn an_outcome_says_what_runs() {
        assert_eq!(said("ended=passed\nversion=2\nruns=2\n"), "2 passed");
        let other = said("ended=self-test\nversion=2\nruns=3\nway=other\n");
        assert!(other.contains("the board runs version 3, which was not judged"), "{other}");
        let cut = said("ended=\nversion=2\nruns=2\n");
        assert!(cut.contains("it runs version 2, and nobody has seen the end"), "{cut}");
        assert!(cut.contains("power cut") && cut.contains("full disk") && cut.contains("df "), "{cut}");
        let down = said("ended=self-test\nversion=2\nruns=1\ncode=1\nway=down\n");
        assert!(down.contains("went back to version 1, whose service does not stay up either"), "{down}");
        let refused = said("ended=refused\nversion=2\nruns=1\n");
        assert_eq!(refused, "the board refused version 2 and runs version 1 as before: why");
        assert!(said("ended=install\nversion=2\nruns=\n").contains("the board runs no version: why"));
    }
}
