//! The four tensors of a batch norm as one value, and batch norms that do a known thing. Never trains one.

use super::weights::Weights;
use crate::Result;

/// Values of a batch norm.
pub(super) struct BatchNorm {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    pub mean: Vec<f32>,
    pub var: Vec<f32>,
}

impl BatchNorm {
    /// The batch norm of node `name`.
    pub fn read(weights: &Weights, name: &str) -> Result<Self> {
        let read = |suffix: &str| weights.get(&format!("{name}.{suffix}")).map(|tensor| tensor.data.clone());
        Ok(Self {
            gamma: read("weight")?,
            beta: read("bias")?,
            mean: read("running_mean")?,
            var: read("running_var")?,
        })
    }

    /// Gives 0 for every input.
    pub fn silent(channels: usize) -> Self {
        let zeros = vec![0.0; channels];
        Self { gamma: zeros.clone(), beta: zeros.clone(), mean: zeros, var: vec![1.0; channels] }
    }

    /// Gives back its input: γ = √(variance + eps).
    pub fn identity(channels: usize, eps: f64) -> Self {
        Self { gamma: vec![as_f32((1.0 + eps).sqrt()); channels], ..Self::silent(channels) }
    }

    /// The same function under another eps.
    pub fn with_eps(mut self, from: f64, to: f64) -> Self {
        if from != to {
            for (gamma, &var) in self.gamma.iter_mut().zip(&self.var) {
                let var = f64::from(var);
                *gamma = as_f32(f64::from(*gamma) * ((var + to) / (var + from)).sqrt());
            }
        }
        self
    }

    /// Puts it in the place of node `name`'s.
    pub fn write(self, weights: &mut Weights, name: &str) {
        let shape = [self.gamma.len()];
        weights.insert(format!("{name}.weight"), &shape, self.gamma);
        weights.insert(format!("{name}.bias"), &shape, self.beta);
        weights.insert(format!("{name}.running_mean"), &shape, self.mean);
        weights.insert(format!("{name}.running_var"), &shape, self.var);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "weights are stored as f32")]
fn as_f32(value: f64) -> f32 {
    value as f32
}
