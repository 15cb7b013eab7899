//! What a guest is asked to do, as data: `tests/boards/NAME.toml` holds steps, each a few lines of shell with the exit code
//! that is expected. It writes the guest's side of the talk that [`super::serial`] reads; it never starts a guest.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::tree::{Content, Node, Tree};

/// Where the guest finds the steps.
pub const GUEST_FOLDER: &str = "run/scenario";
const RUNNER: &str = include_str!("guest/run");

/// One way through a guest, from its start to its power-off.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in a line.
    pub description: String,
    /// The guest is ended when it takes longer.
    pub time_limit_s: u32,
    /// Name of the sent file that is the self-test's report.
    pub report: String,
    /// Files beside the scenario's own that the guest finds beside the steps, in `/run/scenario`.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// In order. One that fails does not keep the later ones from running.
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it shows, in a few words.
    pub name: String,
    /// Shell, as busybox understands it.
    pub run: String,
    /// The exit code that is expected.
    #[serde(default)]
    pub exit: i32,
    /// It is killed when it takes longer.
    #[serde(default = "default_limit_s")]
    pub time_limit_s: u32,
    /// Files of the guest that are sent to the host afterwards, under the last part of their path.
    #[serde(default)]
    pub send: Vec<String>,
    /// What the display must show when the step prints `@repedge display`; it then reads `taken` from the console.
    pub display: Option<Shown>,
}

/// What a display is compared with: files that the step sends, by their names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// A JPEG of the same frame, with its overlay.
    pub page: String,
    /// A line of JSON with what was found on it.
    pub line: String,
}

impl Scenario {
    /// Whether a step looks at a display, without which the machine needs none.
    pub fn looks_at_display(&self) -> bool {
        self.steps.iter().any(|step| step.display.is_some())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or says something that cannot be done.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut scenario = Self::parse(&text).with_context(|| path.display().to_string())?;
        for file in &mut scenario.files {
            *file = path.with_file_name(&*file);
        }
        Ok(scenario)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// When it says something that cannot be done.
    pub fn parse(text: &str) -> Result<Self> {
        let scenario: Self = toml::from_str(text)?;
        scenario.validate()?;
        Ok(scenario)
    }

    /// How long the guest may take.
    pub fn time_limit(&self) -> Duration {
        Duration::from_secs(self.time_limit_s.into())
    }

    /// The guest's files: a script that runs the steps, the steps, and what they ask for.
    ///
    /// # Errors
    /// When a file that they ask for has a name that no guest can have.
    pub fn guest_tree(&self) -> Result<Tree> {
        let mut tree = Tree::default();
        let mut plan = String::new();
        for (number, step) in self.steps.iter().enumerate() {
            let text = Content::Bytes(step.run.clone().into());
            tree.put(&format!("{GUEST_FOLDER}/step-{number}"), Node::file(text, 0o644))?;
            plan.push_str(&format!("step {number} {}\n", step.time_limit_s));
            for path in &step.send {
                plan.push_str(&format!("send {} {path}\n", sent_name(path)));
            }
        }
        for file in &self.files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            tree.put(&format!("{GUEST_FOLDER}/{name}"), Node::file(Content::Path(file.clone()), 0o644))?;
        }
        let runner = Content::Bytes(format!("{RUNNER}\n{plan}say done\n").into());
        tree.put(&format!("{GUEST_FOLDER}/run"), Node::file(runner, 0o755))?;
        Ok(tree)
    }

    fn validate(&self) -> Result<()> {
        ensure!(!self.steps.is_empty(), "no [[step]]: nothing would be shown");
        ensure!(self.time_limit_s > 0, "time_limit_s is 0");
        let mut names = BTreeSet::new();
        for step in &self.steps {
            ensure!(step.time_limit_s > 0, "step {:?}: time_limit_s is 0", step.name);
            for path in &step.send {
                ensure!(
                    is_plain(path),
                    "step {:?} sends {path:?}: expected an absolute path without blanks",
                    step.name
                );
                let name = sent_name(path);
                ensure!(names.insert(name), "two files are sent as {name}: give them other names");
            }
            step.validate_display()?;
        }
        let displays = self.steps.iter().filter(|step| step.display.is_some()).count();
        ensure!(
            displays <= 1,
            "{displays} steps look at the display, expected one: only its last picture is kept"
        );
        let known = names.iter().copied().collect::<Vec<_>>().join(", ");
        ensure!(names.contains(&*self.report), "report {:?} is sent by no step, only: {known}", self.report);
        Ok(())
    }
}

impl Step {
    fn validate_display(&self) -> Result<()> {
        let sent: Vec<_> = self.send.iter().map(|path| sent_name(path)).collect();
        for name in self.display.iter().flat_map(|shown| [&shown.page, &shown.line]) {
            let known = sent.join(", ");
            ensure!(
                sent.contains(&&**name),
                "step {:?} compares with {name}, and sends only: {known}",
                self.name
            );
        }
        Ok(())
    }
}

const fn default_limit_s() -> u32 {
    300
}

/// The name under which the host gets a file.
pub fn sent_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether the shell and our lines take a path as it stands.
fn is_plain(path: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    path.starts_with('/') && !path.ends_with('/') && path.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Kind;

    const TEXT: &str = r#"
        description = "a test"
        time_limit_s = 60
        report = "report.json"
        [[step]]
        name = "self-test"
        run = "self-test --json /tmp/report.json"
        time_limit_s = 50
        send = ["/tmp/report.json"]
        [[step]]
        name = "refuses"
        run = "false"
        exit = 1
    "#;

    #[test]
    fn the_guest_gets_each_step_as_it_stands() {
        let tree = Scenario::parse(TEXT).unwrap().guest_tree().unwrap();
        let text = |path: &str| match tree.get(path).map(|node| &node.kind) {
            Some(Kind::File(Content::Bytes(bytes))) => String::from_utf8(bytes.clone()).unwrap(),
            other => panic!("{path} is {other:?}"),
        };
        assert_eq!(text("run/scenario/step-0"), "self-test --json /tmp/report.json");
        let plan = "\nstep 0 50\nsend report.json /tmp/report.json\nstep 1 300\nsay done\n";
        assert!(text("run/scenario/run").ends_with(plan));
    }

    #[test]
    fn files_lie_beside_the_scenario_and_beside_its_steps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let text = TEXT.replace("time_limit_s = 60", "time_limit_s = 60\nfiles = [\"x.bundle\"]");
        fs::write(&path, text).unwrap();
        let tree = Scenario::read(&path).unwrap().guest_tree().unwrap();
        let content = Content::Path(folder.path().join("x.bundle"));
        assert_eq!(tree.get("run/scenario/x.bundle"), Some(&Node::file(content, 0o644)));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for (from, to, message) in [
            ("/tmp/report.json\"]", "/tmp/other.json\"]", "is sent by no step, only: other.json"),
            ("\"/tmp/report.json\"]", "\"/tmp/a b\"]", "without blanks"),
            ("\"/tmp/report.json\"]", "\"/tmp/report.json\", \"/x/report.json\"]", "two files are sent"),
            ("time_limit_s = 60", "time_limit_s = 0", "time_limit_s is 0"),
            ("exit = 1", "exits = 1", "unknown field"),
            ("exit = 1", "display = { page = \"a\", line = \"b\" }", "compares with a, and sends only: "),
            ("time_limit_s = 50", "display = { page = \"report.json\", line = \"b\" }", "compares with b"),
        ] {
            let error = Scenario::parse(&TEXT.replace(from, to)).unwrap_err();
            assert!(format!("{error:#}").contains(message), "{error:#}");
        }
    }
}
