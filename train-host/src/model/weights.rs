//! Named parameter tensors, always f32 in memory, in a fixed order. Never touches files: see `checkpoint`.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// A dense f32 tensor.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WeightTensor {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub data: Vec<f32>,
}

/// Parameters and buffers of a graph by name (`NODE.weight`, `NODE.bias`, `NODE.running_mean`, `NODE.running_var`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weights(BTreeMap<String, WeightTensor>);

impl Weights {
    /// Adds or replaces a tensor.
    pub fn insert(&mut self, name: impl Into<String>, shape: &[usize], data: Vec<f32>) {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        self.0.insert(name.into(), WeightTensor { shape: shape.to_vec(), data });
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// [`Error::Model`] when there is none.
    pub fn get(&self, name: &str) -> Result<&WeightTensor> {
        self.0.get(name).ok_or_else(|| {
            Error::model(
                format!("no weight named {name:?} among {}", self.0.len()),
                "a weight for every node of the model",
                "the weights belong to another model: check --model and --weights",
            )
        })
    }

    /// The elements of the tensor called `name`, which has to be of `shape`.
    ///
    /// # Errors
    /// [`Error::Model`] when there is none, or of another shape.
    pub fn expect(&self, name: &str, shape: &[usize]) -> Result<&[f32]> {
        let tensor = self.get(name)?;
        if tensor.shape != shape || tensor.data.len() != shape.iter().product::<usize>() {
            return Err(Error::model(
                format!("weight {name:?} has shape {:?} and {} elements", tensor.shape, tensor.data.len()),
                format!("shape {shape:?}"),
                "the weights belong to another model: check --model and --weights",
            ));
        }
        Ok(&tensor.data)
    }

    /// Whether a tensor called `name` is there.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Names and tensors, in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &WeightTensor)> {
        self.0.iter()
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
