//! What a training step changes, and the step itself: forward, loss, backward, and an optimizer step once enough
//! batches have been added up. The same for training and for measuring its speed; never measures anything itself.

use tch::{Device, Kind, Tensor};

use super::hyper::Hyper;
use super::loader::Batch;
use super::loss::LossFunction;
use super::net::{ConvFormat, Mode, Net, to_i64};
use super::optimizer::{Ema, Sgd};
use super::run::Progress;
use super::schedule::Rates;
use crate::Result;
use crate::model::{Architecture, Weights};

/// A net in training.
pub struct Learner {
    /// The net that is trained.
    pub net: Net,
    /// The average that is evaluated and saved.
    pub ema: Ema,
    /// The optimizer.
    pub sgd: Sgd,
    loss: LossFunction,
    side_px: usize,
}

impl Learner {
    /// A learner that starts from `weights`, for square pictures of `side_px` pixels.
    ///
    /// # Errors
    /// As [`Net::new`], and [`crate::Error::Model`] when the head has no anchors.
    pub fn new(
        architecture: &Architecture,
        weights: &Weights,
        device: Device,
        format: ConvFormat,
        side_px: usize,
        hyper: Hyper,
    ) -> Result<Self> {
        let net = Net::new(&architecture.graph, weights, device, format)?;
        // The average is evaluated as it will ship: in f32.
        let average = Net::new(&architecture.graph, weights, device, ConvFormat::F32)?;
        let ema = Ema { net: average, updates: 0 };
        let loss = LossFunction::new(&architecture.head, side_px, hyper)?;
        Ok(Self { net, ema, sgd: Sgd::default(), loss, side_px })
    }

    /// Learns from one batch and counts it in `progress`; returns the parts of its loss.
    ///
    /// # Errors
    /// [`crate::Error::Backend`] when libtorch refuses or the loss is not finite.
    pub fn step(
        &mut self,
        batch: &Batch,
        rates: &Rates,
        weight_decay: f64,
        progress: &mut Progress,
    ) -> Result<[f64; 3]> {
        let side = to_i64(self.side_px);
        // Left with channels innermost: convolutions and norms then run a fifth to a third faster on a CPU.
        let images =
            Tensor::f_from_data_size(&batch.rgb, &[to_i64(batch.boxes.len()), side, side, 3], Kind::Uint8)?
                .f_to_device(self.net.device())?
                .f_permute([0, 3, 1, 2])?
                .f_to_kind(Kind::Float)?
                .f_div_scalar(255.0)?;
        let outputs = self.net.forward(&images, Mode::Train)?;
        let loss = self.loss.compute(&outputs, &batch.boxes)?;
        loss.total.f_backward()?;
        progress.iteration += 1;
        progress.pending += 1;
        if progress.pending >= rates.accumulate {
            self.sgd.step(&self.net, rates, weight_decay)?;
            self.ema.update(&self.net)?;
            progress.pending = 0;
        }
        Ok(loss.parts)
    }
}
