//! The vendor's simulator as a [`Session`]: what is measured with it goes through the same pre-processing and decode as
//! on a device, int8 outputs included. Slow, and for measuring only.

use artifact::{Quant, Tensor, TensorData, TensorSpec};
use repedge::Error as DeviceError;
use repedge::backend::Session;
use repedge::int8;

use super::compile::{Compiled, unexpected};
use super::protocol::{Answer, Frame};
use super::worker::Worker;
use crate::{Error, Result};

/// Farthest that a value may lie from a step of its scale, in steps: f32 tells them apart a thousand times better, and a
/// scale that is off by a thousandth is off by more at the ends.
const OFF_GRID: f32 = 0.02;

/// A compiled model in the simulator.
pub struct Simulator {
    worker: Worker,
    input: TensorSpec,
    outputs: Vec<TensorSpec>,
}

impl Simulator {
    /// Over a worker that has built `model`.
    pub(super) fn new(worker: Worker, model: &Compiled) -> Self {
        Self { worker, input: model.input.clone(), outputs: model.outputs.clone() }
    }

    fn frame(&mut self, pixels: &[u8]) -> Result<Vec<TensorData>> {
        self.worker.ask(&Frame { bytes: pixels.len(), shape: self.input.shape }, pixels)?;
        let message = self.worker.answer(|_| ())?;
        let expected: Vec<&[usize]> = self.outputs.iter().map(|output| output.shape.as_slice()).collect();
        match &message.answer {
            Answer::Outputs { shapes } if *shapes == expected => message
                .tensors
                .into_iter()
                .zip(&self.outputs)
                .map(|(values, spec)| stored(values, spec))
                .collect(),
            Answer::Outputs { shapes } => Err(Error::backend(
                format!("the simulator gave outputs of {shapes:?}"),
                format!("outputs of {expected:?}"),
                "report this model",
            )),
            other => Err(unexpected(other)),
        }
    }
}

impl Session for Simulator {
    fn input(&self) -> &TensorSpec {
        &self.input
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn run(&mut self, input: &Tensor, outputs: &mut [Tensor]) -> std::result::Result<(), DeviceError> {
        let TensorData::U8(pixels) = &input.data else {
            return Err(refused("an input of floats", "pixels in bytes"));
        };
        let values = self.frame(pixels).map_err(|error| match error {
            Error::Backend(fault) | Error::Input(fault) => DeviceError::Backend(fault),
            other => refused(&other.to_string(), "a simulator that runs"),
        })?;
        for (output, values) in outputs.iter_mut().zip(values) {
            output.data = values;
        }
        Ok(())
    }
}

/// The simulator tells real values; of an int8 output those are steps of its scale, which shows that it has that scale.
fn stored(values: Vec<f32>, spec: &TensorSpec) -> Result<TensorData> {
    let Some(quant) = spec.quant else { return Ok(TensorData::F32(values)) };
    match values.iter().find(|&&value| !is_step(value, quant)) {
        None => Ok(TensorData::I8(values.iter().map(|&value| int8::quantize(value, quant)).collect())),
        Some(value) => Err(Error::backend(
            format!("output {:?} has the value {value} in the simulator", spec.name),
            format!("steps of the scale {}, zero point {}", quant.scale, quant.zero_point),
            "the toolkit did not keep the model's scales: convert again, and report the model if that does not help",
        )),
    }
}

fn is_step(value: f32, quant: Quant) -> bool {
    let code = f64::from(value / quant.scale) + f64::from(quant.zero_point);
    let range = f64::from(int8::MIN)..=f64::from(int8::MAX);
    (code - code.round()).abs() <= f64::from(OFF_GRID) && range.contains(&code.round())
}

fn refused(found: &str, expected: &str) -> DeviceError {
    DeviceError::Backend(artifact::Fault::new(
        found,
        expected,
        "make tensors with Tensor::zeroed from the session",
    ))
}

#[cfg(test)]
mod tests {
    use artifact::{DType, Layout};

    use super::*;

    #[test]
    fn values_become_the_stored_ones_and_another_scale_is_seen() {
        let quant = Quant { scale: 0.04, zero_point: 90 };
        let spec = TensorSpec {
            name: "p3".into(),
            dtype: DType::I8,
            layout: Layout::Nchw,
            shape: [1, 1, 1, 3],
            quant: Some(quant),
        };
        let values = |scale: f32| vec![0.0, 37.0 * scale, -218.0 * scale];
        assert_eq!(stored(values(0.04), &spec).unwrap(), TensorData::I8(vec![90, 127, -128]));
        for wrong in [values(0.0401), values(0.08), vec![f32::NAN], vec![38.0 * 0.04]] {
            let error = stored(wrong, &spec).unwrap_err().to_string();
            assert!(error.contains("p3") && error.contains("0.04"), "{error}");
        }
        let floats = TensorSpec { dtype: DType::F32, quant: None, ..spec };
        assert_eq!(stored(vec![0.3], &floats).unwrap(), TensorData::F32(vec![0.3]));
    }
}
