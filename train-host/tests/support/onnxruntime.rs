//! onnxruntime as an engine: a process of its own, fed through pipes.

use std::io::{Read, Write};
use std::process::{Child, Stdio};

use artifact::{Tensor, TensorData, TensorSpec};
use repedge::Error;
use repedge::backend::Session;
use tempfile::TempDir;

use super::python_command;

/// A model that runs in onnxruntime; floats in and out.
pub struct Onnxruntime {
    process: Child,
    input: TensorSpec,
    outputs: Vec<TensorSpec>,
    /// Where the model is.
    _folder: TempDir,
}

impl Onnxruntime {
    /// Loads `onnx`, which takes `input` and gives `outputs` in this order.
    pub fn start(onnx: &[u8], input: TensorSpec, outputs: Vec<TensorSpec>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, onnx).unwrap();
        let mut command = python_command("serve_onnx.py");
        let process = command.arg(path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Self { process, input, outputs, _folder: folder }
    }
}

impl Session for Onnxruntime {
    fn input(&self) -> &TensorSpec {
        &self.input
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn run(&mut self, input: &Tensor, outputs: &mut [Tensor]) -> Result<(), Error> {
        let TensorData::F32(values) = &input.data else { panic!("floats") };
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let stdin = self.process.stdin.as_mut().unwrap();
        stdin.write_all(&bytes).unwrap();
        stdin.flush().unwrap();
        for output in outputs {
            let TensorData::F32(values) = &mut output.data else { panic!("floats") };
            let mut bytes = vec![0; 4 * values.len()];
            self.process.stdout.as_mut().unwrap().read_exact(&mut bytes).unwrap();
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*bytes);
            }
        }
        Ok(())
    }
}

impl Drop for Onnxruntime {
    fn drop(&mut self) {
        // It ends where its images do.
        drop(self.process.stdin.take());
        _ = self.process.wait();
    }
}
