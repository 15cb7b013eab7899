//! One guest that was booted and judged: what a person reads of it, and the file that programs read.
//! A file that an earlier run left is never taken for this one's.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::bench::Bench;
use super::emulator;
use super::machine::Ended;
use super::scenario::Scenario;
use super::verdict::{self, Verdict};
use crate::debian::Used;

/// Lines of the serial log that are shown when something failed.
const SHOWN_LINES: usize = 25;
/// A guest takes no longer where all is well; the scenarios' own limits leave room for machines that are busy with other things.
const EXPECTED_S: f64 = 180.0;

/// A guest that was booted, and the judgement.
#[derive(Debug)]
pub struct Run {
    /// What it was asked.
    pub scenario: Scenario,
    /// How it ended, and what it said.
    pub ended: Ended,
    /// The judgement.
    pub verdict: Verdict,
    /// Where its serial line is kept.
    pub log: PathBuf,
    /// What of Debian's is in it, where that is known.
    pub packages: Vec<Used>,
    /// The emulator's version.
    pub emulator: String,
}

impl Run {
    /// Boots a guest that does what a scenario asks, and judges it.
    ///
    /// # Errors
    /// When it cannot be booted; a guest that fails is no error yet.
    pub fn of(scenario: Scenario, bench: &Bench) -> Result<Self> {
        let emulator = emulator::version()?;
        let ended = bench.run(&scenario)?;
        let verdict = verdict::judge(&scenario, &ended);
        Ok(Self { scenario, ended, verdict, log: bench.log(), packages: bench.packages.clone(), emulator })
    }

    /// What `--json` writes.
    pub fn document(&self) -> Value {
        json!({
            "verdict": self.verdict.word(),
            "boot_s": self.ended.boot_s,
            "total_s": self.ended.total_s,
            "report": self.verdict.report,
            "display": self.verdict.display,
            "scenario": self.scenario.description,
            "failures": self.verdict.failures,
            "packages": self.packages,
            "emulator": self.emulator,
        })
    }

    /// Tells how it went.
    ///
    /// # Errors
    /// When the guest did anything but pass.
    pub fn conclude(&self) -> Result<()> {
        eprintln!("{}", self.summary());
        if self.verdict.is_pass() {
            eprintln!("pass: {} steps, a passing report and a clean power-off", self.scenario.steps.len());
            return Ok(());
        }
        eprintln!("the end of {}:", self.log.display());
        let text = String::from_utf8_lossy(&self.ended.log);
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        for line in &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
            eprintln!("  | {line}");
        }
        bail!("{} failed:\n  {}", super::BOARD, self.verdict.failures.join("\n  "));
    }

    /// How long it took, for a person.
    fn summary(&self) -> String {
        let boot = self.ended.boot_s.map_or_else(|| "never".to_owned(), |s| format!("after {s:.1} s"));
        let (what, total_s) = (&self.scenario.description, self.ended.total_s);
        let summary = format!("{what}: user space began {boot}, all took {total_s:.1} s");
        if total_s <= EXPECTED_S {
            return summary;
        }
        format!(
            "{summary}\nnote: that is more than the {EXPECTED_S} s in which a guest should be done; this machine was busy with other \
             things, or something became slower"
        )
    }
}

/// Runs what boots a guest and writes the outcome into a file where one is asked for, also when no guest could be booted.
///
/// # Errors
/// When none could be booted, or the file cannot be removed or written.
pub fn recorded(json: Option<&Path>, boot: impl FnOnce() -> Result<Run>) -> Result<Run> {
    json.map_or(Ok(()), remove)?;
    let run = boot();
    if let Some(path) = json {
        let document = run.as_ref().map_or_else(document_of_none, Run::document);
        write(path, &document).with_context(|| match &run {
            Ok(run) => format!("the guest's verdict is {}", run.verdict.word()),
            Err(error) => format!("{error:#}"),
        })?;
    }
    run
}

/// The document where no guest could be booted, with the same keys.
fn document_of_none(error: &anyhow::Error) -> Value {
    json!({
        "verdict": "fail",
        "boot_s": null,
        "total_s": null,
        "report": null,
        "display": null,
        "scenario": null,
        "failures": [format!("{error:#}")],
        "packages": [],
        "emulator": null,
    })
}

/// Only a file is removed: a pipe or a terminal keeps nothing.
fn remove(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_ok_and(|data| data.is_file()) {
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

fn write(path: &Path, document: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(document)? + "\n";
    if path == Path::new("-") {
        print!("{text}");
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
