//! A model's ONNX in tract. Built without the feature `compute`, which machines do without that are slow to compile tract
//! for, no ONNX can be opened, and only recordings are replayed.

use crate::model::Model;

#[cfg(feature = "compute")]
pub(crate) use with_tract::Network;

/// None can be opened.
#[cfg(not(feature = "compute"))]
pub(crate) enum Network {}

#[cfg(not(feature = "compute"))]
impl Network {
    pub(crate) fn open(_: &Model) -> Option<Self> {
        eprintln!("stand-in: built without the feature `compute`: only recordings are replayed");
        None
    }

    pub(crate) fn run(&self, _: Vec<f32>) -> Option<Vec<Vec<f32>>> {
        match *self {}
    }
}

#[cfg(feature = "compute")]
mod with_tract {
    use std::sync::Mutex;

    use artifact::{DType, Layout, Tensor, TensorData, TensorSpec};
    use repedge::backend::Session;
    use repedge::backend::tract::TractSession;

    use super::Model;

    pub(crate) struct Network(Box<Mutex<TractSession>>);

    impl Network {
        /// None where tract cannot run the ONNX; standard error says why.
        pub(crate) fn open(model: &Model) -> Option<Self> {
            let scenario = &model.scenario;
            let input = spec(&scenario.input.name, scenario.input.shape);
            let outputs = scenario.outputs.iter().map(|output| spec(&output.name, output.shape));
            let session = TractSession::from_onnx(&model.onnx, input, outputs.collect());
            let session = session.inspect_err(|error| eprintln!("stand-in: {error}")).ok()?;
            Some(Self(Box::new(Mutex::new(session))))
        }

        /// The real values of each output, channels outermost, for those of an input.
        pub(crate) fn run(&self, input: Vec<f32>) -> Option<Vec<Vec<f32>>> {
            let mut session = self.0.lock().ok()?;
            let input = Tensor { data: TensorData::F32(input), ..Tensor::zeroed(session.input()) };
            let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
            session.run(&input, &mut outputs).inspect_err(|error| eprintln!("stand-in: {error}")).ok()?;
            outputs.into_iter().map(reals).collect()
        }
    }

    fn reals(tensor: Tensor) -> Option<Vec<f32>> {
        match tensor.data {
            TensorData::F32(values) => Some(values),
            _ => None,
        }
    }

    fn spec(name: &str, shape: [usize; 4]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), dtype: DType::F32, layout: Layout::Nchw, shape, quant: None }
    }
}
