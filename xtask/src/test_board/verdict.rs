//! Whether a guest did what its scenario asks: every step with its exit code, a display that shows what it must, a passing
//! report, a clean power-off.
//! Anything that is not plainly good is a failure that says what was found and what was expected.

mod shown;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::machine::{End, Ended};
use super::picture::Picture;
use super::scenario::{Scenario, Shown, Step};
use super::serial::{Sent, StepRun, Transcript};
use shown::{Expected, Likeness};

/// Lines of a failed step's output that are shown.
const SHOWN_LINES: usize = 12;

/// The judgement.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What went wrong, in order; empty for a pass.
    pub failures: Vec<String>,
    /// The self-test's report, where it came whole.
    pub report: Option<Value>,
    /// How the display's picture compares with the page's, where both were there.
    pub display: Option<Value>,
}

impl Verdict {
    /// Whether everything went as it should.
    pub fn is_pass(&self) -> bool {
        self.failures.is_empty()
    }

    /// The word for reports.
    pub fn word(&self) -> &'static str {
        if self.is_pass() { "pass" } else { "fail" }
    }
}

/// Judges how a guest ended and what it told.
pub fn judge(scenario: &Scenario, ended: &Ended) -> Verdict {
    let transcript = Transcript::read(&ended.log);
    let mut failures: Vec<_> =
        transcript.panic.iter().map(|words| format!("the guest's kernel gave up: {words}")).collect();
    if !transcript.is_ready {
        failures
            .push("the guest's user space never began: expected `@repedge ready` on the serial line".into());
    }
    let mut display = None;
    for (number, step) in scenario.steps.iter().enumerate() {
        let failure = judge_step(step, transcript.steps.get(&number));
        // A step that failed has said why already.
        if let Some(shown) = step.display.as_ref().filter(|_| failure.is_none()) {
            let likeness = compare(shown, ended, &transcript);
            failures.extend(judge_display(step, &likeness));
            display = likeness.ok().map(|likeness| likeness.document());
        }
        failures.extend(failure);
    }
    let report = match report(scenario, &transcript) {
        Ok(report) => {
            failures.extend(judge_report(&report));
            Some(report)
        }
        Err(failure) => {
            failures.push(failure);
            None
        }
    };
    failures.extend(judge_end(scenario, ended, &transcript));
    Verdict { failures, report, display }
}

fn judge_step(step: &Step, run: Option<&StepRun>) -> Option<String> {
    let Step { name, exit, time_limit_s, .. } = step;
    let Some(run) = run else { return Some(format!("step \"{name}\" never began")) };
    let found = match run.exit {
        Some(found) if found == *exit => return None,
        Some(137) => format!("was killed, as after its {time_limit_s} s"),
        Some(found) => format!("ended with {found}"),
        None => "never ended".to_owned(),
    };
    let lines: Vec<_> = run.output.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
    let output: String = shown.iter().map(|line| format!("\n    {line}")).collect();
    Some(format!("step \"{name}\" {found}, expected {exit}{output}"))
}

/// How the display compares with what a step has sent.
fn compare(shown: &Shown, ended: &Ended, transcript: &Transcript) -> Result<Likeness> {
    let picture = match &ended.picture {
        Some(Ok(picture)) => picture,
        Some(Err(error)) => bail!("no picture of it can be taken: {error}"),
        None => bail!("the guest asked for no picture of it: expected a line `@repedge display`"),
    };
    let expected = Expected {
        page: Picture::of_jpeg(whole(transcript, &shown.page)?).with_context(|| shown.page.clone())?,
        boxes: boxes(whole(transcript, &shown.line)?).with_context(|| shown.line.clone())?,
    };
    Ok(Likeness::of(&Picture::of_ppm(picture)?, &expected))
}

fn judge_display(step: &Step, likeness: &Result<Likeness>) -> Option<String> {
    let name = &step.name;
    let failures = match likeness {
        Ok(likeness) => likeness.failures(),
        Err(error) => return Some(format!("step \"{name}\": the display cannot be judged: {error:#}")),
    };
    let listed: String = failures.iter().map(|failure| format!("\n    {failure}")).collect();
    let told =
        format!("step \"{name}\": the display shows something else, see display.ppm beside the log{listed}");
    (!failures.is_empty()).then_some(told)
}

/// A file that came as the guest had it.
fn whole<'a>(transcript: &'a Transcript, name: &str) -> Result<&'a [u8]> {
    match transcript.files.get(name) {
        Some(Sent::Whole(bytes)) => Ok(bytes),
        Some(Sent::Broken(how)) => Err(anyhow!("{name} did not come whole: {how}")),
        Some(Sent::Missing) | None => Err(anyhow!("the guest has no {name}")),
    }
}

/// Where something was found, as a JSON line of camera-demo tells.
fn boxes(line: &[u8]) -> Result<Vec<[f64; 4]>> {
    let line: Value = serde_json::from_slice(line).context("no JSON")?;
    let found = line["detections"].as_array().context("a line without detections")?;
    let read =
        |one: &Value| serde_json::from_value(one["box_px"].clone()).context("a detection without a box");
    found.iter().map(read).collect()
}

/// The report as JSON, or why there is none.
fn report(scenario: &Scenario, transcript: &Transcript) -> Result<Value, String> {
    let name = &scenario.report;
    match transcript.files.get(name) {
        Some(Sent::Whole(bytes)) => {
            serde_json::from_slice(bytes).map_err(|e| format!("the report {name} is no JSON: {e}"))
        }
        Some(Sent::Broken(how)) => Err(format!("the report {name} did not come whole: {how}")),
        Some(Sent::Missing) => Err(format!("the self-test wrote no report {name}")),
        None => Err(format!("the guest sent no report {name}")),
    }
}

/// The report's own verdict must be a pass, and accuracy must have been judged.
fn judge_report(report: &Value) -> Vec<String> {
    let places = [("verdict", "/verdict"), ("accuracy's verdict", "/accuracy/verdict")];
    let wrong = places.into_iter().filter(|(_, place)| report.pointer(place) != Some(&Value::from("pass")));
    wrong
        .map(|(name, place)| {
            let found = report.pointer(place).map_or_else(|| "nothing".to_owned(), Value::to_string);
            format!("the report's {name} is {found}, expected \"pass\"")
        })
        .collect()
}

fn judge_end(scenario: &Scenario, ended: &Ended, transcript: &Transcript) -> Option<String> {
    match &ended.end {
        End::TimedOut => {
            Some(format!("the guest was ended after {} s: it did not power off", scenario.time_limit_s))
        }
        End::Flooded => Some("the guest was ended: it printed without end".into()),
        End::Exited(status) if !status.success() => Some(format!("qemu failed ({status})")),
        // A guest that restarts also ends qemu with 0: the kernel's words tell.
        End::Exited(_) if !transcript.is_off => {
            Some("the guest stopped without a clean power-off: expected \"reboot: Power down\"".into())
        }
        End::Exited(_) => None,
    }
}

#[cfg(test)]
mod tests;
