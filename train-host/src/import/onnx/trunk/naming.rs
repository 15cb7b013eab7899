//! Names of nodes: the module paths that PyTorch's exporter leaves in a file, so that a model can be recognized after
//! the import (`model.2.m.0.cv1.conv`), and all of them different.

use std::collections::HashSet;

use super::super::inferred::Inferred;
use super::super::net::{Maker, Step, TensorId};

/// Longest name taken over, in bytes.
const MAX_BYTES: usize = 120;

/// Names given so far.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// `name`, or where it is taken the name with a number behind it.
    pub fn unique(&mut self, name: String) -> String {
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !self.0.contains(name));
        let free = free.unwrap_or(name);
        self.0.insert(free.clone());
        free
    }
}

/// After the node, or where it has no name after its first result.
pub(super) fn of_step(model: &Inferred, step: &Step) -> String {
    let result =
        || step.outputs.iter().copied().flatten().next().map_or("", |tensor| model.net.names[tensor]);
    let name = if step.node.name.is_empty() { result() } else { step.node.name };
    // The exporter's last component repeats the operator: "/model.2/cv1/conv/Conv".
    let path =
        name.rsplit_once('/').filter(|(path, last)| !path.is_empty() && last.starts_with(step.node.op));
    clean(path.map_or(name, |(path, _)| path), step.node.op)
}

/// After the weights it reads, which bear the module's own name; else as [`of_step`].
pub(super) fn of_weight(model: &Inferred, step: &Step, weight: TensorId) -> String {
    let stored = matches!(model.net.makers[weight], Maker::Stored(_));
    match model.net.names[weight].strip_suffix(".weight") {
        Some(path) if stored && !path.is_empty() => clean(path, step.node.op),
        _ => of_step(model, step),
    }
}

fn clean(name: &str, op: &str) -> String {
    let dotted = name.trim_matches('/').replace('/', ".");
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let clean: String = dotted.chars().map(plain).take(MAX_BYTES).collect();
    if clean.is_empty() { op.to_lowercase() } else { clean }
}
