//! What importing complains about: the node, its operator, why it cannot be taken, and what to do.

use artifact::Fault;

use super::proto::Node;
use crate::Error;

/// A file that is no sound ONNX model.
pub(super) fn broken(found: impl Into<String>) -> Fault {
    Fault::new(found, "a sound ONNX model", "check it with onnx.checker, or export it again")
}

/// An operator, or a use of one, that our graph has no counterpart of.
pub(super) fn unsupported(found: impl Into<String>) -> Fault {
    Fault::new(
        found,
        "a YOLOv5, YOLOv8 or YOLO11 detector as their exporters print it",
        "export the model as plain float ONNX without NMS and without quantization",
    )
}

/// `fault` at a node.
pub(super) fn at_node(node: &Node, fault: Fault) -> Error {
    let name =
        if node.name.is_empty() { node.outputs.first().copied().unwrap_or_default() } else { node.name };
    Error::Model(Fault { found: format!("node {name:?} ({}): {}", node.op, fault.found), ..fault })
}
