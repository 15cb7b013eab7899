//! Several models in one process, each trained on the same batches in turn, so that whatever slows the machine slows
//! all of them: the ratio of their times is what can be trusted.

use std::time::{Duration, Instant};

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{SEED, StepTime, Subject, WARM_UP_STEPS, Workload};
use crate::Result;
use crate::statistics::{Ratio, ratio};
use crate::train::keys::{Purpose, generator};
use crate::train::run::Progress;

/// Training time of one model beside the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Name of the model.
    pub name: String,
    /// Time of a step, taken in turn with the other models'.
    pub step: StepTime,
    /// Its step time over the first model's on the same batches.
    pub ratio: Ratio,
}

/// Trains all `subjects` in this process, each on every batch, in an order drawn anew for each.
///
/// # Errors
/// As [`super::alone`].
pub fn paired(subjects: &[Subject], workload: &Workload) -> Result<Vec<Paired>> {
    let training = workload.prepare()?;
    let mut learners = subjects
        .iter()
        .map(|subject| Ok((workload.learner(subject, &training.classes)?, Progress::default())))
        .collect::<Result<Vec<_>>>()?;
    let loader = workload.loader(&training);
    let (rates, weight_decay) = workload.rates(loader.batches());
    let mut times = vec![Vec::with_capacity(workload.steps); subjects.len()];
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    let bar = workload.bar("in turn");
    loader.serve(0..workload.epochs(loader.batches()), |batches| {
        for number in 0..WARM_UP_STEPS + workload.steps {
            let (batch, _) = batches.next_batch()?;
            order.shuffle(&mut generator(SEED, Purpose::Turn, 0, number));
            for &index in &order {
                let (learner, progress) = &mut learners[index];
                let started = Instant::now();
                learner.step(&batch, &rates, weight_decay, progress)?;
                if number >= WARM_UP_STEPS {
                    times[index].push(started.elapsed());
                }
            }
            bar.inc(1);
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(subjects.iter().zip(&times).map(|(subject, own)| compare(subject, own, &times[0])).collect())
}

fn compare(subject: &Subject, own: &[Duration], first: &[Duration]) -> Paired {
    let micros = |times: &[Duration]| -> Vec<f64> { times.iter().map(|t| t.as_secs_f64() * 1e6).collect() };
    Paired {
        name: subject.name.clone(),
        step: StepTime::of(own),
        ratio: ratio(&micros(own), &micros(first), SEED),
    }
}
