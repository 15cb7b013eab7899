//! Learning rate, momentum and gradient accumulation over the iterations of a run: linear decay with warm-up.

use super::hyper::Hyper;

/// Shortest warm-up in iterations.
const MIN_WARMUP_ITERATIONS: f64 = 100.0;

/// The three parameter groups of YOLOv5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Convolution weights: decayed.
    Weight,
    /// Batch-norm scales: not decayed.
    Norm,
    /// Biases: not decayed, with a warm-up of their own.
    Bias,
}

/// How the learning rate falls from `lr0` to `lr0·lrf`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Straight line.
    #[default]
    Linear,
    /// Half a cosine.
    Cosine,
}

/// What holds at one iteration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Learning rate of weights and norms.
    pub lr: f64,
    /// Learning rate of biases.
    pub bias_lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// Batches whose gradients are added up before a step.
    pub accumulate: usize,
}

/// The plan of a run.
#[derive(Debug, Clone)]
pub struct Schedule {
    hyper: Hyper,
    decay: Decay,
    epochs: usize,
    batches: usize,
    batch: usize,
    nominal_batch: usize,
}

impl Schedule {
    /// A plan for `epochs` of `batches` batches of `batch` images, with steps sized for `nominal_batch` images.
    pub fn new(
        hyper: Hyper,
        decay: Decay,
        epochs: usize,
        batches: usize,
        batch: usize,
        nominal_batch: usize,
    ) -> Self {
        Self { hyper, decay, epochs, batches, batch, nominal_batch }
    }

    /// L2 penalty scaled to the images that make up a step.
    pub fn weight_decay(&self) -> f64 {
        let per_step = float(self.batch) * self.full_accumulate().round().max(1.0);
        self.hyper.weight_decay * per_step / float(self.nominal_batch)
    }

    /// Rates at global iteration `iteration` (batches since the start) in `epoch`.
    pub fn at(&self, epoch: usize, iteration: usize) -> Rates {
        let lr = self.hyper.lr0 * self.factor(epoch);
        let warmup = (self.hyper.warmup_epochs * float(self.batches)).round().max(MIN_WARMUP_ITERATIONS);
        let progress = float(iteration) / warmup;
        if self.hyper.warmup_epochs == 0.0 || progress > 1.0 {
            let accumulate = whole(self.full_accumulate());
            return Rates { lr, bias_lr: lr, momentum: self.hyper.momentum, accumulate };
        }
        let ramp = |from: f64, to: f64| from + (to - from) * progress;
        Rates {
            lr: ramp(0.0, lr),
            bias_lr: ramp(self.hyper.warmup_bias_lr, lr),
            momentum: ramp(self.hyper.warmup_momentum, self.hyper.momentum),
            accumulate: whole(ramp(1.0, self.full_accumulate())),
        }
    }

    fn full_accumulate(&self) -> f64 {
        float(self.nominal_batch) / float(self.batch)
    }

    fn factor(&self, epoch: usize) -> f64 {
        let done = float(epoch) / float(self.epochs.max(1));
        let lrf = self.hyper.lrf;
        match self.decay {
            Decay::Linear => (1.0 - done) * (1.0 - lrf) + lrf,
            Decay::Cosine => ((1.0 - (done * std::f64::consts::PI).cos()) / 2.0) * (lrf - 1.0) + 1.0,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of batches and epochs are far below 2^52")]
fn float(value: usize) -> f64 {
    value as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 1 and small")]
fn whole(value: f64) -> usize {
    value.round().max(1.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Schedule {
        Schedule::new(Hyper::default(), Decay::Linear, 100, 50, 16, 64)
    }

    #[test]
    fn warms_up_then_decays_linearly() {
        let start = plan().at(0, 0);
        assert_eq!((start.lr, start.bias_lr, start.momentum, start.accumulate), (0.0, 0.1, 0.8, 1));
        let end = plan().at(3, 150);
        assert!((end.lr - 0.01 * (0.97 * 0.99 + 0.01)).abs() < 1e-12);
        assert_eq!((end.momentum, end.accumulate), (0.937, 4));
        assert!((plan().at(99, 4999).lr - 0.01 * (0.01 * 0.99 + 0.01)).abs() < 1e-12);
    }

    #[test]
    fn cosine_ends_at_the_same_rate() {
        let plan = Schedule::new(Hyper::default(), Decay::Cosine, 10, 50, 64, 64);
        assert!((plan.factor(0) - 1.0).abs() < 1e-12);
        assert!((plan.factor(10) - 0.01).abs() < 1e-12);
    }

    #[test]
    fn decay_follows_the_images_of_a_step() {
        assert!((plan().weight_decay() - 5e-4).abs() < 1e-12);
        let large = Schedule::new(Hyper::default(), Decay::Linear, 1, 1, 128, 64);
        assert!((large.weight_decay() - 1e-3).abs() < 1e-12);
    }
}
