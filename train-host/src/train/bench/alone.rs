//! One model, trained as `train` does: how many images a second, how long it waits for data, and how much memory it
//! takes. Meant for a process of its own, because peak memory belongs to the process.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{StepTime, Subject, WARM_UP_STEPS, Workload, memory};
use crate::Result;
use crate::train::run::Progress;

/// What training one model costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alone {
    /// The model.
    #[serde(flatten)]
    pub subject: Subject,
    /// Training images a second, waiting for data included.
    pub images_per_second: f64,
    /// Time of a step.
    pub step: StepTime,
    /// Part of the time that was spent waiting for the loader, 0..1.
    pub waiting_share: f64,
    /// Most memory the process held at any time, libtorch itself included; `null` where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
    /// Memory of the process before the net was made.
    pub idle_memory_bytes: Option<u64>,
}

/// Trains `subject` for the steps of `workload` in this process.
///
/// # Errors
/// An unusable workload, dataset or model; libtorch's errors.
pub fn alone(subject: &Subject, workload: &Workload) -> Result<Alone> {
    let training = workload.prepare()?;
    let idle_memory_bytes = memory::resident_bytes();
    let mut learner = workload.learner(subject, &training.classes)?;
    let loader = workload.loader(&training);
    let (rates, weight_decay) = workload.rates(loader.batches());
    let mut progress = Progress::default();
    let bar = workload.bar(&subject.name);
    let mut totals = Totals::default();
    loader.serve(0..workload.epochs(loader.batches()), |batches| {
        for number in 0..WARM_UP_STEPS + workload.steps {
            let (batch, waited) = batches.next_batch()?;
            let started = Instant::now();
            learner.step(&batch, &rates, weight_decay, &mut progress)?;
            if number >= WARM_UP_STEPS {
                totals.add(batch.boxes.len(), waited, started.elapsed());
            }
            bar.inc(1);
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(Alone {
        subject: subject.clone(),
        images_per_second: totals.images_per_second(),
        step: StepTime::of(&totals.steps),
        waiting_share: totals.waiting_share(),
        peak_memory_bytes: memory::peak_bytes(),
        idle_memory_bytes,
    })
}

#[derive(Default)]
struct Totals {
    images: usize,
    waited: Duration,
    steps: Vec<Duration>,
}

impl Totals {
    fn add(&mut self, images: usize, waited: Duration, step: Duration) {
        self.images += images;
        self.waited += waited;
        self.steps.push(step);
    }

    fn seconds(&self) -> f64 {
        (self.waited + self.steps.iter().sum::<Duration>()).as_secs_f64()
    }

    #[expect(clippy::cast_precision_loss, reason = "image counts are far below 2^52")]
    fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds()
    }

    fn waiting_share(&self) -> f64 {
        self.waited.as_secs_f64() / self.seconds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_counts_against_speed_but_not_as_a_step() {
        let mut totals = Totals::default();
        totals.add(16, Duration::from_millis(100), Duration::from_millis(300));
        totals.add(4, Duration::ZERO, Duration::from_millis(100));
        assert!((totals.images_per_second() - 40.0).abs() < 1e-9);
        assert!((totals.waiting_share() - 0.2).abs() < 1e-9);
        let step = StepTime::of(&totals.steps);
        assert!((step.mean_ms - 200.0).abs() < 1e-9 && (step.median_ms - 200.0).abs() < 1e-9);
    }
}
