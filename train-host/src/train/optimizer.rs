//! Stochastic gradient descent with Nesterov momentum over named tensors, and the exponential moving average of all
//! weights. Our own, because tch does not expose the optimizer's state and a resumed run must continue bit for bit.

use std::collections::BTreeMap;

use tch::Tensor;

use super::net::Net;
use super::schedule::{Group, Rates};
use crate::Result;

/// Largest norm of all gradients together; larger ones are scaled down to it.
const MAX_GRADIENT_NORM: f64 = 10.0;
/// Final decay of the moving average, and how many steps it takes to get there.
const EMA_DECAY: f64 = 0.9999;
const EMA_RAMP_STEPS: f64 = 2000.0;

/// Momentum buffers by parameter name.
#[derive(Default)]
pub struct Sgd {
    /// One buffer a parameter that has been stepped.
    pub momentum: BTreeMap<String, Tensor>,
}

impl Sgd {
    /// Clips the gradients, moves every parameter, and clears the gradients.
    ///
    /// # Errors
    /// [`crate::Error::Backend`] when libtorch refuses.
    pub fn step(&mut self, net: &Net, rates: &Rates, weight_decay: f64) -> Result<()> {
        tch::no_grad(|| {
            let clip = clip_factor(net)?;
            for parameter in net.parameters() {
                let mut gradient = parameter.tensor.f_grad()?;
                if !gradient.defined() {
                    continue;
                }
                let _ = gradient.f_mul_(&clip)?;
                let mut update = gradient.shallow_clone();
                if parameter.group == Group::Weight {
                    update = update.f_add(&parameter.tensor.f_mul_scalar(weight_decay)?)?;
                }
                let buffer = match self.momentum.get_mut(parameter.name) {
                    Some(buffer) => {
                        let _ = buffer.f_mul_scalar_(rates.momentum)?.f_add_(&update)?;
                        buffer.shallow_clone()
                    }
                    None => {
                        let buffer = update.f_mul_scalar(1.0)?;
                        self.momentum.insert(parameter.name.to_owned(), buffer.shallow_clone());
                        buffer
                    }
                };
                let lr = if parameter.group == Group::Bias { rates.bias_lr } else { rates.lr };
                let step = update.f_add(&buffer.f_mul_scalar(rates.momentum)?)?.f_mul_scalar(lr)?;
                let _ = parameter.tensor.shallow_clone().f_sub_(&step)?;
                let _ = gradient.f_zero_()?;
            }
            Ok(())
        })
    }
}

/// `min(1, limit / norm)` as a tensor, so that the device is not waited for.
fn clip_factor(net: &Net) -> Result<Tensor> {
    let mut norms = Vec::new();
    for parameter in net.parameters() {
        let gradient = parameter.tensor.f_grad()?;
        if gradient.defined() {
            norms.push(gradient.f_norm()?);
        }
    }
    let total = Tensor::f_stack(&norms, 0)?.f_norm()?;
    Ok(total.f_add_scalar(1e-6)?.f_reciprocal()?.f_mul_scalar(MAX_GRADIENT_NORM)?.f_clamp_max(1)?)
}

/// Moving average of every tensor of a net, running statistics included; it is what gets evaluated and saved.
pub struct Ema {
    /// A net of its own with the averaged tensors.
    pub net: Net,
    /// Steps averaged so far.
    pub updates: u64,
}

impl Ema {
    /// Takes one step of `source` in: `d = 0.9999·(1 − e^(−updates/2000))`.
    ///
    /// # Errors
    /// [`crate::Error::Backend`] when libtorch refuses.
    pub fn update(&mut self, source: &Net) -> Result<()> {
        self.updates += 1;
        #[expect(clippy::cast_precision_loss, reason = "step counts are far below 2^52")]
        let decay = EMA_DECAY * (1.0 - (-(self.updates as f64) / EMA_RAMP_STEPS).exp());
        tch::no_grad(|| {
            for ((_, average), (_, latest)) in self.net.tensors().zip(source.tensors()) {
                let _ = average
                    .shallow_clone()
                    .f_mul_scalar_(decay)?
                    .f_add_(&latest.f_mul_scalar(1.0 - decay)?)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Conv, Graph, Op, Weights};
    use crate::train::net::{ConvFormat, Mode};
    use tch::{Device, Kind};

    fn one_weight(value: f32) -> Net {
        let mut graph = Graph::default();
        let input = graph.push("input", Op::Input { channels: 1 }, &[]);
        let conv =
            Conv { cin: 1, cout: 1, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1, bias: false };
        let conv = graph.push("c", Op::Conv(conv), &[input]);
        graph.outputs = vec![conv];
        let mut weights = Weights::default();
        weights.insert("c.weight", &[1, 1, 1, 1], vec![value]);
        Net::new(&graph, &weights, Device::Cpu, ConvFormat::F32).unwrap()
    }

    fn weight(net: &Net) -> f64 {
        net.tensors().next().unwrap().1.double_value(&[0, 0, 0, 0])
    }

    #[test]
    fn nesterov_with_decay_follows_the_recurrence() {
        let net = one_weight(2.0);
        let mut sgd = Sgd::default();
        let rates = Rates { lr: 0.1, bias_lr: 0.0, momentum: 0.9, accumulate: 1 };
        let (mut w, mut buffer) = (2.0f64, None);
        for _ in 0..3 {
            let x = Tensor::ones([1, 1, 1, 1], (Kind::Float, Device::Cpu)) * 3.0;
            net.forward(&x, Mode::Train).unwrap()[0].sum(Kind::Float).backward();
            sgd.step(&net, &rates, 0.01).unwrap();
            let update = 3.0 + 0.01 * w;
            let b = buffer.map_or(update, |b: f64| 0.9 * b + update);
            buffer = Some(b);
            w -= 0.1 * (update + 0.9 * b);
        }
        assert!((weight(&net) - w).abs() < 1e-5);
    }

    #[test]
    fn large_gradients_are_clipped_to_the_limit() {
        let net = one_weight(0.0);
        let x = Tensor::ones([1, 1, 1, 1], (Kind::Float, Device::Cpu)) * 1000.0;
        net.forward(&x, Mode::Train).unwrap()[0].sum(Kind::Float).backward();
        let rates = Rates { lr: 1.0, bias_lr: 0.0, momentum: 0.0, accumulate: 1 };
        Sgd::default().step(&net, &rates, 0.0).unwrap();
        assert!((weight(&net) + 10.0).abs() < 1e-3);
    }

    #[test]
    fn average_starts_close_to_the_latest_weights() {
        let mut ema = Ema { net: one_weight(0.0), updates: 0 };
        ema.update(&one_weight(1.0)).unwrap();
        let decay = 0.9999 * (1.0 - (-1.0f64 / 2000.0).exp());
        assert!((weight(&ema.net) - (1.0 - decay)).abs() < 1e-6);
    }
}
