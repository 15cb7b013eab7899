//! libtorch behind the runtime's `Session`, so that evaluation during training runs the same code as on a device.

use repedge::backend::Session;
use repedge::{Tensor, TensorData, TensorSpec};

use super::net::{Mode, Net, to_i64, to_vec};
use crate::Error;

/// A net that answers like a backend.
pub struct TorchSession {
    net: Net,
    input: TensorSpec,
    outputs: Vec<TensorSpec>,
}

impl TorchSession {
    /// Wraps `net` (whose tensors it shares) with the specifications its bundle would carry.
    pub fn new(net: &Net, input: TensorSpec, outputs: Vec<TensorSpec>) -> Self {
        Self { net: net.share(), input, outputs }
    }

    fn execute(&self, input: &Tensor, outputs: &mut [Tensor]) -> crate::Result<()> {
        let TensorData::F32(pixels) = &input.data else {
            return Err(Error::backend(
                "an integer input",
                "f32 pixels",
                "this is a defect: please report it",
            ));
        };
        let images = tch::Tensor::f_from_slice(pixels)?
            .f_view(input.shape.map(to_i64))?
            .f_to_device(self.net.device())?;
        for (raw, out) in self.net.forward(&images, Mode::Eval)?.iter().zip(outputs) {
            out.data = TensorData::F32(to_vec(raw)?);
        }
        Ok(())
    }
}

impl Session for TorchSession {
    fn input(&self) -> &TensorSpec {
        &self.input
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn run(&mut self, input: &Tensor, outputs: &mut [Tensor]) -> Result<(), repedge::Error> {
        self.execute(input, outputs).map_err(|error| match error {
            Error::Backend(fault) => repedge::Error::Backend(fault),
            other => repedge::Error::Backend(artifact::Fault::new(other.to_string(), "a run", "see above")),
        })
    }
}
