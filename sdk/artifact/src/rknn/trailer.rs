//! The JSON behind a `.rknn` payload: a list of tensors, and which of them are inputs and outputs.

use serde::Deserialize;

use super::{RknnInfo, RknnTensor, damaged};
use crate::Error;

/// The fields that are read; there are more.
#[derive(Debug, Deserialize)]
pub(super) struct Trailer {
    version: String,
    target_platform: Vec<String>,
    graph: Vec<Edge>,
    norm_tensor: Vec<Tensor>,
}

/// That the input or output `left_tensor_id` is the tensor `right_tensor_id`.
#[derive(Debug, Deserialize)]
struct Edge {
    left: String,
    left_tensor_id: usize,
    right_tensor_id: usize,
}

#[derive(Debug, Deserialize)]
struct Tensor {
    tensor_id: usize,
    url: String,
    size: Vec<usize>,
    #[serde(default)]
    dtype: DType,
}

#[derive(Debug, Default, Deserialize)]
struct DType {
    #[serde(default)]
    vx_type: String,
}

impl Trailer {
    pub(super) fn into_info(self, format_version: u64) -> Result<RknnInfo, Error> {
        let toolkit = self
            .version
            .parse()
            .map_err(|e| damaged(format!("a trailer with toolkit version {:?}: {e}", self.version)))?;
        if self.target_platform.is_empty() {
            return Err(damaged("a trailer that names no chip".into()));
        }
        let (inputs, outputs) = (self.side("input")?, self.side("output")?);
        Ok(RknnInfo { format_version, platforms: self.target_platform, toolkit, inputs, outputs })
    }

    /// The tensors of one side, by index; there must be one for each index up to the last.
    fn side(&self, side: &str) -> Result<Vec<RknnTensor>, Error> {
        let mut edges: Vec<&Edge> = self.graph.iter().filter(|edge| edge.left == side).collect();
        edges.sort_by_key(|edge| edge.left_tensor_id);
        let complete =
            !edges.is_empty() && edges.iter().enumerate().all(|(at, edge)| edge.left_tensor_id == at);
        if !complete {
            return Err(damaged(format!("a trailer whose {side}s are not numbered from 0")));
        }
        let tensors = edges.iter().map(|edge| self.tensor(edge.right_tensor_id));
        tensors
            .collect::<Option<_>>()
            .ok_or_else(|| damaged(format!("a trailer that lacks the tensor of an {side}")))
    }

    fn tensor(&self, id: usize) -> Option<RknnTensor> {
        let tensor = self.norm_tensor.iter().find(|tensor| tensor.tensor_id == id)?;
        let dtype = Some(&tensor.dtype.vx_type).filter(|name| !name.is_empty());
        Some(RknnTensor { name: tensor.url.clone(), shape: tensor.size.clone(), dtype: dtype.cloned() })
    }
}
