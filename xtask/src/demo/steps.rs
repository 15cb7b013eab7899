//! The steps of the main job as command lines of the product's programs, each timed and announced.
//! Programs write their results as JSON files into the output folder; nothing is parsed from what they print.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use signing::{KeyFiles, Protection};

use super::{BATCH, MODEL, PICTURES};
use crate::workspace::{Workspace, capture, display, run};

/// Runs steps and remembers how long each took.
pub struct Clock {
    times: Vec<(String, Duration)>,
}

impl Clock {
    /// A clock without steps.
    pub fn new() -> Self {
        Self { times: Vec::new() }
    }

    /// Announces, runs and times a step.
    ///
    /// # Errors
    /// Those of the step.
    pub fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("\n── {name}");
        let start = Instant::now();
        let result = work().with_context(|| format!("could not {name}"))?;
        let time = start.elapsed();
        eprintln!("── {name}: {:.1} s", time.as_secs_f64());
        self.times.push((name.to_owned(), time));
        Ok(result)
    }

    /// The steps so far with their times.
    pub fn times(&self) -> &[(String, Duration)] {
        &self.times
    }
}

/// The built programs.
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// The programs of the development profile.
    ///
    /// # Errors
    /// When cargo cannot tell where it builds.
    pub fn of(workspace: &Workspace) -> Result<Self> {
        Ok(Self { folder: workspace.target_folder()?.join("debug") })
    }

    /// Makes the embedded dataset and gives its description file.
    ///
    /// # Errors
    /// When the program fails.
    pub fn synthesize(&self, folder: &Path) -> Result<PathBuf> {
        run_shown(self.train_host().args(["data", "synth", "--out"]).arg(folder))?;
        Ok(folder.join("data.yaml"))
    }

    fn train_host(&self) -> Command {
        Command::new(self.folder.join("train-host"))
    }

    fn detect_image(&self) -> Command {
        Command::new(self.folder.join("detect-image"))
    }

    fn self_test(&self) -> Command {
        Command::new(self.folder.join("self-test"))
    }
}

/// The main job on a dataset.
pub struct Job {
    pub programs: Programs,
    pub data: PathBuf,
    pub out: PathBuf,
    /// Hyper-parameters of the training.
    pub hyper: PathBuf,
    pub epochs: usize,
    pub side_px: usize,
}

impl Job {
    /// Trains, fuses, evaluates, converts, runs and reports.
    ///
    /// # Errors
    /// When a step fails.
    pub fn run(&self, clock: &mut Clock) -> Result<()> {
        clock.step("train", || run_shown(&mut self.train()))?;
        clock.step("fuse", || run_shown(&mut self.fuse()))?;
        clock.step("evaluate the trained model", || {
            run_shown(&mut self.evaluate(&self.out, "trained.json"))
        })?;
        clock.step("make a key", || self.make_key())?;
        clock.step("convert to a signed bundle", || run_shown(&mut self.convert()))?;
        clock.step("evaluate the bundle", || run_shown(&mut self.evaluate(&self.bundle(), "fused.json")))?;
        let images = self.unseen_images()?;
        clock.step("run the bundle on unseen images", || run_shown(&mut self.detect(&images)))?;
        clock.step("test the bundle on this machine", || run_shown(&mut self.self_test()))?;
        clock.step("write the report", || run_shown(&mut self.report()))
    }

    fn train(&self) -> Command {
        let mut command = self.programs.train_host();
        command.args(["train", "--model", MODEL, "--data"]).arg(&self.data);
        let numbers =
            [("--epochs", self.epochs), ("--imgsz", self.side_px), ("--batch", BATCH), ("--nbs", BATCH)];
        for (flag, value) in numbers {
            command.arg(flag).arg(value.to_string());
        }
        command.arg("--hyp").arg(&self.hyper);
        command.arg("--out").arg(&self.out);
        command
    }

    fn fuse(&self) -> Command {
        let mut command = self.programs.train_host();
        command.arg("fuse").arg(&self.out).arg("--out").arg(self.out.join("fused.safetensors"));
        command.arg(self.json("fuse.json"));
        command
    }

    fn evaluate(&self, model: &Path, document: &str) -> Command {
        let mut command = self.programs.train_host();
        command.arg("eval").arg(model).arg("--data").arg(&self.data).arg(self.json(document));
        command
    }

    fn convert(&self) -> Command {
        let mut command = self.programs.train_host();
        command.arg("convert").arg(&self.out).args(["--target", "host", "--precision", "fp32", "--out"]);
        command.arg(self.bundle()).arg("--onnx").arg(self.out.join("demo.onnx"));
        command.arg("--sign").arg(self.key().private).arg("--check-images").arg(&self.data);
        command.arg(self.json("convert.json"));
        command
    }

    fn key(&self) -> KeyFiles {
        KeyFiles::of(&self.keys(), "demo")
    }

    fn keys(&self) -> PathBuf {
        self.out.join("keys")
    }

    /// A key of the demo's own, without a password, as nobody else is to trust it.
    fn make_key(&self) -> Result<()> {
        eprintln!("$ cargo xtask keys generate demo --dir {} --no-password", self.keys().display());
        Ok(self.key().generate(Protection::None)?)
    }

    /// Images of the part of the dataset that was kept from training.
    fn unseen_images(&self) -> Result<Vec<PathBuf>> {
        let mut command = self.programs.train_host();
        command.args(["data", "list"]).arg(&self.data).args(["--limit", &PICTURES.to_string()]);
        let images: Vec<_> = capture(&mut command)?.lines().map(PathBuf::from).collect();
        ensure!(!images.is_empty(), "{} has no test or val images", self.data.display());
        Ok(images)
    }

    fn detect(&self, images: &[PathBuf]) -> Command {
        let mut command = self.programs.detect_image();
        command.arg(self.bundle()).args(images).arg("--out").arg(self.out.join("pictures"));
        command.arg("--keys").arg(self.keys()).arg(self.json("detections.json"));
        command
    }

    fn self_test(&self) -> Command {
        let mut command = self.programs.self_test();
        command.arg(self.bundle()).args(["--board", "host", "--quick", "--keys"]).arg(self.keys());
        command.arg(self.json("self-test.json"));
        command
    }

    fn report(&self) -> Command {
        let mut command = self.programs.train_host();
        command.arg("report").arg(&self.out);
        let parts = ["trained", "fused", "fuse", "detections"];
        for part in parts {
            command.arg(format!("--{part}")).arg(self.out.join(format!("{part}.json")));
        }
        command.arg("--pictures").arg(self.out.join("pictures"));
        command.arg("--out").arg(self.out.join("report.html"));
        command
    }

    fn bundle(&self) -> PathBuf {
        self.out.join("demo.bundle")
    }

    fn json(&self, document: &str) -> String {
        format!("--json={}", self.out.join(document).display())
    }
}

/// Shows a command, so that the demo also teaches it, and runs it.
fn run_shown(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", display(command));
    run(command)
}
