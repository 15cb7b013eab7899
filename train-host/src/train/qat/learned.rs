//! What quantization-aware training moves, and how far: Adam whose steps are counted in what int8 can tell apart. Knows
//! nothing about graphs.

use tch::Tensor;

use crate::Result;

/// Decay of the mean gradient.
const MEAN_DECAY: f64 = 0.9;
/// Decay of the mean squared gradient: short, as trainings are.
const SQUARE_DECAY: f64 = 0.99;
/// Keeps channels without any gradient where they are.
const LEAST: f64 = 1e-20;

/// A tensor that is trained.
pub(super) struct Learned {
    /// The leaf.
    pub tensor: Tensor,
    /// What one step of int8 is for it: of the same shape, or broadcast to it.
    unit: Tensor,
    mean: Tensor,
    /// Mean squared gradient: one for each index of the first axis.
    square: Tensor,
}

impl Learned {
    /// `value` as a leaf, to be moved in parts of `unit`.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend) when libtorch refuses.
    pub fn new(value: &Tensor, unit: &Tensor) -> Result<Self> {
        let tensor = value.f_detach()?.f_mul_scalar(1.0)?.f_set_requires_grad(true)?;
        let mean = value.f_detach()?.f_zeros_like()?;
        let square = over_channels(&mean)?.f_zeros_like()?;
        Ok(Self { tensor, unit: unit.f_detach()?, mean, square })
    }

    /// Moves against the gradient and clears it. Steps are in proportion to gradients within an index of the first axis, an
    /// output channel, and their root mean square there is about `rate` units.
    fn step(&mut self, rate: f64, taken: i32) -> Result<()> {
        let mut gradient = self.tensor.f_grad()?;
        if !gradient.defined() {
            return Ok(());
        }
        let felt = gradient.f_mul(&self.unit)?;
        let _ = self.mean.f_mul_scalar_(MEAN_DECAY)?.f_add_(&felt.f_mul_scalar(1.0 - MEAN_DECAY)?)?;
        let squares = over_channels(&felt.f_square()?)?;
        let _ =
            self.square.f_mul_scalar_(SQUARE_DECAY)?.f_add_(&squares.f_mul_scalar(1.0 - SQUARE_DECAY)?)?;
        let [mean_part, square_part] = [MEAN_DECAY, SQUARE_DECAY].map(|decay| 1.0 - decay.powi(taken));
        let size = self.square.f_div_scalar(square_part)?.f_sqrt()?.f_add_scalar(LEAST)?;
        let step = self.mean.f_div(&size)?.f_mul(&self.unit)?.f_mul_scalar(rate / mean_part)?;
        let _ = self.tensor.f_sub_(&step)?;
        let _ = gradient.f_zero_()?;
        Ok(())
    }
}

/// The mean over all axes but the first.
fn over_channels(values: &Tensor) -> Result<Tensor> {
    let rest: Vec<i64> = (1..i64::try_from(values.dim()).unwrap_or(0)).collect();
    if rest.is_empty() {
        return Ok(values.shallow_clone());
    }
    Ok(values.f_mean_dim(rest.as_slice(), true, values.kind())?)
}

/// Moves all of `learned`; `taken` counts the steps, this one included.
///
/// # Errors
/// [`Error::Backend`](crate::Error::Backend) when libtorch refuses.
pub(super) fn step<'a>(learned: impl Iterator<Item = &'a mut Learned>, rate: f64, taken: i32) -> Result<()> {
    tch::no_grad(|| {
        for learned in learned {
            learned.step(rate, taken)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn first_steps_are_in_proportion_to_gradients_and_counted_in_units() {
        let value = Tensor::from_slice(&[1.0_f32, 1.0, 1.0, 1.0]).view([2, 2]);
        let unit = Tensor::from_slice(&[0.5_f32, 0.01]).view([2, 1]);
        let mut learned = Learned::new(&value, &unit).unwrap();
        let slopes = Tensor::from_slice(&[3.0_f32, -1.0, 1e-6, 1e-6]).view([2, 2]);
        (&learned.tensor * &slopes).sum(Kind::Float).backward();
        step(std::iter::once(&mut learned), 0.1, 1).unwrap();
        let moved: Vec<f32> = Vec::try_from((&learned.tensor - 1.0).view([4])).unwrap();
        let rms = 5.0_f32.sqrt();
        for (found, expected) in moved.iter().zip([-0.05 * 3.0 / rms, 0.05 / rms, -0.001, -0.001]) {
            assert!((found - expected).abs() < 1e-5, "{moved:?}");
        }
        assert_eq!(f64::try_from(learned.tensor.grad().abs().sum(Kind::Float)).unwrap(), 0.0);
    }

    #[test]
    fn what_has_no_gradient_stays() {
        let value = Tensor::from_slice(&[1.0_f32, 2.0]);
        let mut learned = Learned::new(&value, &value).unwrap();
        (&learned.tensor * 0.0).sum(Kind::Float).backward();
        step(std::iter::once(&mut learned), 0.1, 1).unwrap();
        assert_eq!(Vec::<f32>::try_from(learned.tensor.detach()).unwrap(), [1.0, 2.0]);
    }
}
