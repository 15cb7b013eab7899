//! What training costs: speed and memory of each model alone, in a process of its own, and their step times beside each
//! other in one process. Runs real training steps through `train::bench`; keeps nothing that was trained.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::article::numbers::{dash, mebibytes};
use super::child;
use super::machine::Machine;
use crate::console::counted;
use crate::dataset::Broken;
use crate::model::keyword;
use crate::train::bench::{Alone, Paired, Subject, Workload, alone, paired};
use crate::{Error, Result};

/// What training several models costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Where it was measured.
    pub machine: Machine,
    /// What was done.
    pub workload: Workload,
    /// Each model in a process of its own.
    pub alone: Vec<Alone>,
    /// Each model in turn with the others; empty for a single one.
    pub paired: Vec<Paired>,
}

/// Measures `subjects` under `workload`; `program` is started for each when there are several.
///
/// # Errors
/// An unusable workload, dataset or model; libtorch's errors; [`Error::Backend`] when a child fails.
pub fn measure(program: &Path, subjects: &[Subject], workload: &Workload) -> Result<Cost> {
    let (solo, in_turn) = match subjects {
        [one] => (vec![alone(one, workload)?], Vec::new()),
        several => {
            let solo = several.iter().map(|subject| in_child(program, subject, workload));
            (solo.collect::<Result<_>>()?, paired(several, workload)?)
        }
    };
    Ok(Cost { machine: Machine::here(), workload: workload.clone(), alone: solo, paired: in_turn })
}

fn in_child(program: &Path, subject: &Subject, workload: &Workload) -> Result<Alone> {
    let mut command = child::command(program, "bench-train");
    command.args(["--model", &subject.model]).arg("--data").arg(&workload.data);
    for (flag, value) in [
        ("--imgsz", workload.imgsz),
        ("--batch", workload.batch),
        ("--nbs", workload.nominal_batch),
        ("--steps", workload.steps),
        ("--threads", workload.threads),
        ("--workers", workload.workers),
    ] {
        command.args([flag, &value.to_string()]);
    }
    for (flag, value) in [("--act", subject.act.map(keyword)), ("--block", subject.block.map(keyword))] {
        command.args(value.map(|value| [flag.to_owned(), value]).into_iter().flatten());
    }
    if workload.broken == Broken::Skip {
        command.arg("--skip-broken");
    }
    let cost: Cost = child::document(&mut command)?;
    let one = cost.alone.into_iter().next().ok_or_else(|| {
        Error::backend("a result without a model", "one", "this is a defect: please report it")
    })?;
    Ok(Alone { subject: subject.clone(), ..one })
}

impl std::fmt::Display for Cost {
    /// A line for each model; with several, their times beside the first model's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = self.alone.iter().map(|one| one.subject.name.chars().count()).max().unwrap_or(0).max(5);
        let Workload { imgsz, batch, steps, threads, workers, .. } = self.workload;
        writeln!(f, "{}", self.machine)?;
        let (threads, workers) = (counted(threads, "thread"), counted(workers, "worker"));
        writeln!(f, "{imgsz} px, batch {batch}, {threads} and {workers}, {}", counted(steps, "step"))?;
        write!(
            f,
            "{:<width$}{:>12}{:>14}{:>12}{:>18}{:>14}",
            "model", "images/s", "median step", "mean", "waiting for data", "peak memory"
        )?;
        for one in &self.alone {
            let memory = one.peak_memory_bytes.map_or_else(dash, |bytes| format!("{} MiB", mebibytes(bytes)));
            write!(
                f,
                "\n{:<width$}{:>12.2}{:>11.1} ms{:>9.1} ms{:>16.1} %{memory:>14}",
                one.subject.name,
                one.images_per_second,
                one.step.median_ms,
                one.step.mean_ms,
                one.waiting_share * 100.0
            )?;
        }
        for other in self.paired.iter().skip(1) {
            let first = &self.paired[0].name;
            write!(
                f,
                "\n{}: a step takes {:.3} of {first}'s time (95 %: {:.3} to {:.3}), in turn on the same batches",
                other.name, other.ratio.median, other.ratio.low, other.ratio.high
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ablate::document::tests::document;

    #[test]
    fn one_of_a_thing_is_not_told_as_several() {
        let cost = document(1.2, 1.0).cost;
        let workload = Workload { threads: 1, workers: 2, steps: 1, ..cost.workload.clone() };
        let text = Cost { workload, ..cost }.to_string();
        assert!(text.contains(", 1 thread and 2 workers, 1 step\n"), "{text}");
    }
}
